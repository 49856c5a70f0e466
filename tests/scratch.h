/*
 * A folder of a test's own, with files in it, gone at the end.
 */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
	char dir[64];
};

static inline int scratch_remove_entry(
	const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static inline int scratch_setup(void **state)
{
	struct scratch *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	snprintf(s->dir, sizeof(s->dir), "/tmp/rig-test-XXXXXX");
	*state = s;
	return mkdtemp(s->dir) ? 0 : -1;
}

static inline int scratch_teardown(void **state)
{
	struct scratch *s = *state;

	nftw(s->dir, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	free(s);
	return 0;
}

/* dir/name in a buffer that the next four calls leave alone. */
static inline const char *scratch_path(const struct scratch *s, const char *name)
{
	static char paths[4][512];
	static unsigned n;
	char *path = paths[n++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", s->dir, name);
	return path;
}

/* Writes a file, with the folders it is in. */
static inline const char *scratch_write(const struct scratch *s, const char *name, const char *text)
{
	const char *path = scratch_path(s, name);
	char part[512];
	FILE *f;

	for (const char *p = path + strlen(s->dir) + 1; (p = strchr(p, '/')); p++) {
		snprintf(part, sizeof(part), "%.*s", (int)(p - path), path);
		mkdir(part, 0755);
	}
	f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
	return path;
}

#endif
