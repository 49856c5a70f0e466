/*
 * The queue of the driver openocd: operations one after another, each a chain of Tcl scripts, and
 * the one OpenOCD that runs them, started when needed and started again when lost.
 */
#ifndef DRIVERS_OPENOCD_JOBS_H
#define DRIVERS_OPENOCD_JOBS_H

#include "driver.h"
#include "flash_plan.h"

struct openocd_session;
struct openocd_until;
struct openocd;
struct job;

/* What happens next in the active job: at first with text NULL, then with what a script said. */
typedef void step_fn(struct openocd *oc, struct job *job, const char *text);

struct job {
	struct job *next;
	uint64_t serial;
	struct op *op;
	step_fn *start; /* may run a second time, on a new OpenOCD */
	step_fn *step;
	bool without_dut;  /* needs OpenOCD, but neither adapter nor DUT */
	bool only_running; /* there is nothing to do when no OpenOCD has the DUT */
	bool gdb;          /* needs an OpenOCD that serves gdb */
	bool once;         /* must not be begun a second time */
	bool retried;      /* was begun a second time: an adapter, or OpenOCD, had failed */
	bool endless;      /* nobody knows how long its script may take */
	bool hold_port;    /* check: leaves the debug port taken */
	bool given_up;     /* nobody waits for it any more; it is to end soon */
	unsigned more_ms;  /* that its next script may take longer than others */
	/* what it works on; not every job has all */
	char *script, *path, *data;
	uint32_t address, size, value;
	int hold; /* 1: holds the reset line when it is done, -1: frees it */
	struct flash_plan plan;
	bool patch;   /* of the page, only the word at address changes, to value */
	json_t *worn; /* program: pages erased, of every time it was begun; or NULL */
	struct openocd_until *until;
	unsigned read_back; /* program: the scratch file where reading back begins */
	unsigned files;     /* scratch files it may have left */
};

enum session_state { DOWN, STARTING, UP /* adapter not opened */, READY, STOPPING };

struct openocd {
	struct device dev;
	struct driver_env env;
	json_t *options;
	char *log_path;
	char *scratch;                   /* files are named "<scratch><n>" */
	struct openocd_session *session; /* NULL while DOWN and STOPPING */
	enum session_state state;
	bool proven;                  /* this OpenOCD has had the DUT at least once */
	bool held;                    /* the reset line */
	bool taken;                   /* the debug port, by this OpenOCD or one before it */
	unsigned gdb_port;            /* kept over restarts; 0: nobody wants one */
	bool serving;                 /* this OpenOCD was started to serve gdb */
	struct job *jobs, **jobs_end; /* the first one is active */
	bool working;                 /* the first job was started */
	uint64_t last_serial;
	struct op *safe_op;
	uint64_t safe_serial; /* jobs after it wait until the board was made safe */
	struct err safe_err;
	bool closing;
	unsigned answer_ms; /* that OpenOCD may take for a script */
	uv_timer_t stall;
	struct err failed; /* of the active job's script, while the adapter is asked */
	uv_timer_t closer; /* never started: close is never done at once */
	int open_handles;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* An option's text, or NULL. */
const char *openocd_option(const struct openocd *oc, const char *name);

/* How the reset line is wired, in OpenOCD's words, or NULL. */
const char *openocd_wiring(const struct openocd *oc);

/* A job at the end of the queue. NULL: op was failed. What the job needs is filled in before
 * jobs_start(). */
struct job *job_enqueue(struct openocd *oc, struct op *op, step_fn *start);
void jobs_start(struct openocd *oc);

/* Ends the active job. result is stolen. */
void job_done(struct openocd *oc, json_t *result);
void job_fail(struct openocd *oc, const struct err *e);

/*
 * Runs a script for the active job, which goes on with step, or fails with what OpenOCD said. what
 * names it in messages. Steals script; NULL: memory ran out.
 */
void job_run(struct openocd *oc, const char *what, char *script, step_fn *step);

/* Ends the OpenOCD that serves gdb; the active job is not touched. The next job starts another,
 * which does not. */
void jobs_end_gdb(struct openocd *oc);

/* What run_until keeps for its job (openocd_until.c). NULL is accepted. */
void openocd_until_free(struct openocd_until *until);

/* make_safe and close of driver.h. */
void jobs_make_safe(struct openocd *oc, struct op *op);
void jobs_close(struct openocd *oc, void (*closed)(void *arg), void *arg);

/* Sets up an instance whose dev, env and options are filled in. */
int jobs_init(struct openocd *oc, struct err *e);

#endif
