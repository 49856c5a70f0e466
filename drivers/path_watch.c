#include "path_watch.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct path_watch {
	uv_fs_event_t event;
	char path[PATH_MAX];
	char folder[PATH_MAX]; /* that is watched; "": none */
	dev_t dev;             /* which folder that is: one of the same name may take its place */
	ino_t ino;
	void (*changed)(void *arg);
	void *arg;
};

/* The nearest folder above path that is there. */
static void nearest_folder(const char *path, char folder[PATH_MAX], struct stat *st)
{
	snprintf(folder, PATH_MAX, "%s", path);
	for (;;) {
		char *slash = strrchr(folder, '/');

		if (!slash) {
			snprintf(folder, PATH_MAX, ".");
			stat(folder, st);
			return;
		}
		slash[slash == folder] = '\0';
		if ((stat(folder, st) == 0 && S_ISDIR(st->st_mode)) || slash == folder)
			return;
	}
}

static void event_came(uv_fs_event_t *event, const char *name, int events, int status);

/* Watches the folder that is nearest now. Returns libuv's error, or 0. */
static int place(struct path_watch *w)
{
	char folder[PATH_MAX];
	struct stat st = {0};

	/* again when a folder between came or went while the watch was placed */
	for (int n = 0, tries = 0;; tries++) {
		nearest_folder(w->path, folder, &st);
		if (w->folder[0] && st.st_dev == w->dev && st.st_ino == w->ino &&
			strcmp(folder, w->folder) == 0)
			return 0;
		uv_fs_event_stop(&w->event);
		w->folder[0] = '\0';
		n = uv_fs_event_start(&w->event, event_came, folder, 0);
		if (n != 0 && (n != UV_ENOENT || tries > 100))
			return n;
		if (n == 0) {
			memcpy(w->folder, folder, sizeof(folder));
			w->dev = st.st_dev;
			w->ino = st.st_ino;
		}
	}
}

static void event_came(uv_fs_event_t *event, const char *name, int events, int status)
{
	struct path_watch *w = event->data;

	(void)name;
	(void)events;
	(void)status;
	place(w);
	w->changed(w->arg);
}

struct path_watch *path_watch_start(
	uv_loop_t *loop, const char *path, void (*changed)(void *arg), void *arg, struct err *e)
{
	struct path_watch *w = calloc(1, sizeof(*w));
	int n;

	if (!w) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	snprintf(w->path, sizeof(w->path), "%s", path);
	uv_fs_event_init(loop, &w->event);
	w->event.data = w;
	w->changed = changed;
	w->arg = arg;
	n = place(w);
	if (n == 0)
		return w;
	path_watch_stop(w);
	err_set(e, ERR_BENCH, "cannot watch the folder of %.300s: %s%s", path, uv_strerror(n),
		n == UV_EMFILE || n == UV_ENOSPC
			? " (raise fs.inotify.max_user_instances and max_user_watches)"
			: "");
	return NULL;
}

static void event_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void path_watch_stop(struct path_watch *watch)
{
	if (watch)
		uv_close((uv_handle_t *)&watch->event, event_closed);
}
