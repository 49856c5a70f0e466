/*
 * The side of `rig run --resume` that finds the run and says why it cannot be taken up again.
 */
#ifndef RIG_CLI_RESUME_H
#define RIG_CLI_RESUME_H

#include <jansson.h>
#include <stdbool.h>

struct cli;
struct err;

struct resume {
	char *id, *dir;
	json_t *run; /* the first record of its journal */
};

/*
 * Finds a run (an id, a part of one, or "last") that can be taken up again. ERR_USAGE: there
 * is none of that name, it is still running, or nothing is left of it to do; ERR_PROTOCOL: its
 * journal is damaged. What it holds lives until resume_finish(), also after an error.
 */
int resume_find(struct cli *cli, const char *name, struct resume *r, struct err *e);
void resume_finish(struct resume *r);

/*
 * What the run was begun with, from its journal: the names of its boards, its options, its
 * scenario's path and how that was given; new references, borrowed texts.
 */
json_t *resume_boards(const struct resume *r);
json_t *resume_options(const struct resume *r);
const char *resume_scenario(const struct resume *r);

/* Makes a job (run.h) one that takes the run up again. ERR_USAGE says what is another than it was.
 */
int resume_job(const struct resume *r, json_t *job, struct err *e);

/*
 * Whether the boards of a job that found one busy come free by themselves, within moments: none is
 * held by anybody but a keeper of this very run, which makes it safe and ends.
 */
bool resume_comes_free(const struct cli *cli, const struct resume *r, const json_t *job);

#endif
