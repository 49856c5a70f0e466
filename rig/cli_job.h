/*
 * What `rig run` and `rig plan` share: what they are asked for, the job that follows from it, and
 * the worker that gets it.
 */
#ifndef RIG_CLI_JOB_H
#define RIG_CLI_JOB_H

#include "cli_resume.h"

#include <jansson.h>
#include <stdbool.h>

#define CLI_JOB_START_MS 120000 /* by then a worker has answered "run" */

struct cli;
struct err;
struct rpc;
struct rpc_handlers;
struct spawned;

/* With cli set and all else zero before cli_job_parse(). Lives until the process ends. */
struct cli_job {
	struct cli *cli;
	const char *name;         /* of the command, as in its usage errors */
	json_t *boards, *options; /* names; the job's options */
	const char *scenario;
	long long wait_ms, keep;
	bool quiet, json;

	json_t *manifest;
	const char *resume_name; /* as given; or NULL */
	struct resume resume;    /* with id: this run is taken up again */
};

/* Reads the command line. Returns -1 to go on, else the exit status: what is wrong was said. */
int cli_job_parse(struct cli_job *ask, int argc, char **argv);

/*
 * With --resume: scenario, boards and options become those of the run. Does nothing without it.
 * After cli_load(). Errors as resume_find().
 */
int cli_job_take_up(struct cli_job *ask, struct err *e);

/*
 * The job (run.h), a new reference, without run_id and run_dir. After cli_load(). ERR_USAGE: the
 * command line names something that does not exist; ERR_CONFIG: rig.conf, the manifest or an image
 * is wrong.
 */
int cli_job_make(struct cli_job *ask, bool plan_only, json_t **job, struct err *e);

/*
 * Starts a worker, which logs to dir (NULL: to standard error), and the connection to it. The
 * caller destroys both, also after an error. ERR_BENCH, ERR_IO, ERR_NOMEM.
 */
int cli_job_worker(struct cli *cli, const char *dir, const struct rpc_handlers *handlers, void *arg,
	struct spawned **child, struct rpc **worker, struct err *e);

#endif
