/*
 * What makes a run that is taken up again the same run.
 */
#ifndef RIG_RUN_RESUME_H
#define RIG_RUN_RESUME_H

#include <jansson.h>

struct err;

/* A board (config.h) as the journal's "run" record has it; a new object. */
json_t *run_board(const json_t *conf);

/*
 * Whether a job (run.h) has the scenario, boards and releases that a "run" record has; both are
 * borrowed. ERR_USAGE says what differs; ERR_IO.
 */
int run_resume_check(const json_t *run, const json_t *job, struct err *e);

#endif
