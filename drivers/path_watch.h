/*
 * Hearing that a path may be there again: inotify on the folder it is in, or, while that is not
 * there itself, on the nearest folder above that is.
 */
#ifndef DRIVERS_PATH_WATCH_H
#define DRIVERS_PATH_WATCH_H

#include "../rig/err.h"

#include <uv.h>

struct path_watch;

/*
 * From now on changed() is called, from the loop, after something changed in the folder of path; it
 * may be for another file's sake. A symbolic link at path itself is not followed. The caller looks
 * at path once after this returned. NULL: ERR_BENCH or ERR_NOMEM.
 */
struct path_watch *path_watch_start(
	uv_loop_t *loop, const char *path, void (*changed)(void *arg), void *arg, struct err *e);

/* Ends it; the memory goes in a later turn of the loop. NULL is accepted. */
void path_watch_stop(struct path_watch *watch);

#endif
