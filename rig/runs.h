/*
 * The folders of runs below state_dir: made, listed, found, summed up, cleared away. All that is
 * said about a run is read from its journal.
 */
#ifndef RIG_RUNS_H
#define RIG_RUNS_H

#include <jansson.h>
#include <stdio.h>

struct err;

/*
 * Creates the folder of a new run, with state_dir when that is missing, and gives its id, such as
 * "20261121-101502-3f2a-upgrade-matrix" (UTC, the second's fraction in four hexadecimal digits, the
 * scenario's name: ids in the order of text are the runs as they began). scenario may be a path:
 * its base name without .lua is taken, '_' as '-'. *id is the caller's to free. ERR_IO, ERR_NOMEM.
 */
int runs_create(const char *state_dir, const char *scenario, char **id, struct err *e);

/*
 * All runs, the oldest first, as a new array of
 *
 *   {"id", "scenario": name, "state": "running"|"finished"|"died"|"unreadable",
 *    "verdict": string or null while running, "started", "ended": t_wall or null,
 *    "seconds": number, "boards": [names], "totals": {…} (docs/journal.md), "reason": string}
 *
 * A run that died, or whose journal cannot be read, has verdict "error". A state_dir that does not
 * exist holds no runs. ERR_IO, ERR_NOMEM.
 */
int runs_list(const char *state_dir, json_t **runs, struct err *e);

/* One run in the shape of runs_list(); id must be whole. ERR_USAGE when there is none. */
int runs_info(const char *state_dir, const char *id, json_t **info, struct err *e);

/*
 * The id that part stands for: a whole id, a part of exactly one, or "last".
 * *id is the caller's to free. ERR_USAGE names what matches.
 */
int runs_find(const char *state_dir, const char *part, char **id, struct err *e);

/* Prints a summary of one run for people: what ran, on what, each item's verdict, findings. */
int runs_show(const char *state_dir, const char *id, FILE *out, struct err *e);

/*
 * Removes the oldest runs that have ended until at most keep of those are left. Running ones are
 * neither counted nor touched. ERR_IO.
 */
int runs_prune(const char *state_dir, unsigned keep, struct err *e);

/* Removes one run's folder, also one that never came to run. ERR_IO, ERR_NOMEM. */
int runs_remove(const char *state_dir, const char *id, struct err *e);

/* state_dir/id[/file], the caller's to free; file may be NULL. NULL: out of memory. */
char *runs_path(const char *state_dir, const char *id, const char *file);

#endif
