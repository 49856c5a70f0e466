/*
 * Whole files in and out.
 */
#ifndef RIG_FILE_H
#define RIG_FILE_H

#include <stddef.h>

struct err;

/*
 * Reads a regular file of at most limit_bytes. *data is allocated, has a 0 byte after its *len
 * bytes, and is the caller's to free; both are untouched on failure. ERR_IO names the path and the
 * reason.
 */
int file_read(const char *path, size_t limit_bytes, char **data, size_t *len, struct err *e);

/*
 * Creates or replaces path with len bytes, through a temporary file beside it, so that nobody ever
 * sees half of it. ERR_IO names the path and the reason, and leaves what was there before.
 */
int file_write(const char *path, const void *data, size_t len, struct err *e);

#endif
