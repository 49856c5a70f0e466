/*
 * Evidence: a folder for each failed trial with what a person needs to understand it
 * (docs/journal.md, "Evidence").
 */
#ifndef RIG_EVIDENCE_H
#define RIG_EVIDENCE_H

#include <jansson.h>
#include <limits.h>
#include <stdint.h>

struct err;

#define EVIDENCE_LOG_MAX ((uint64_t)1 << 20) /* bytes kept of each raw log */

/*
 * Makes the folder of a trial below run_dir, "evidence/<item>/<trial>", where characters that do
 * not belong into a file's name are replaced. rel gets that path, without run_dir. ERR_IO,
 * ERR_USAGE when the names are too long.
 */
int evidence_create(char rel[PATH_MAX], const char *run_dir, const char *item, const char *trial,
	struct err *e);

/*
 * Copies a file from its byte from on into run_dir/rel/name; of what is more than limit bytes
 * (0: no limit) the last. ERR_IO, ERR_NOMEM.
 */
int evidence_copy(const char *run_dir, const char *rel, const char *name, const char *path,
	uint64_t from, uint64_t limit, struct err *e);

/* Writes text into run_dir/rel/name. ERR_IO. */
int evidence_write(
	const char *run_dir, const char *rel, const char *name, const char *text, struct err *e);

/*
 * Completes the folder: trial.json (record, which is borrowed, with the SHA-256 of every file that
 * lies there) and replay.txt (the command, unless NULL). ERR_IO, ERR_NOMEM.
 */
int evidence_describe(const char *run_dir, const char *rel, const json_t *record,
	const char *replay, struct err *e);

#endif
