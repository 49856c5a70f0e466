/*
 * What the commands of `rig` share. One file per group of commands; the table of them all is in
 * main_rig.c.
 */
#ifndef RIG_CLI_H
#define RIG_CLI_H

#include "err.h"
#include "rpc.h"

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

/* Exit statuses, as docs and scripts rely on them. */
enum {
	EXIT_PASS = 0,
	EXIT_FAIL = 1,
	EXIT_USAGE = 2,
	EXIT_BENCH = 3,
	EXIT_BUSY = 4,
	EXIT_INCONCLUSIVE = 5,
	EXIT_INTERRUPTED = 130,
};

struct cli {
	const char *config_arg; /* --config, or NULL */
	char *config_path;
	json_t *config; /* config.h; after cli_load() */
	uv_loop_t loop;
};

struct command {
	const char *name;
	const char *args; /* as shown in help */
	const char *help; /* one line */
	/* argv[0] is "rig NAME". Returns an exit status. */
	int (*run)(struct cli *cli, int argc, char **argv);
	const char *more; /* its options, for its own help; or NULL */
};

extern const char cli_check_options[], cli_run_options[], cli_report_options[];

int cli_boards(struct cli *cli, int argc, char **argv);
int cli_cancel(struct cli *cli, int argc, char **argv);
int cli_check(struct cli *cli, int argc, char **argv);
int cli_console(struct cli *cli, int argc, char **argv);
int cli_drivers(struct cli *cli, int argc, char **argv);
int cli_flash(struct cli *cli, int argc, char **argv);
int cli_lock(struct cli *cli, int argc, char **argv);
int cli_plan(struct cli *cli, int argc, char **argv);
int cli_power(struct cli *cli, int argc, char **argv);
int cli_report(struct cli *cli, int argc, char **argv);
int cli_reset(struct cli *cli, int argc, char **argv);
int cli_run(struct cli *cli, int argc, char **argv);
int cli_runs(struct cli *cli, int argc, char **argv);
int cli_safe_state(struct cli *cli, int argc, char **argv);
int cli_show(struct cli *cli, int argc, char **argv);
int cli_unlock(struct cli *cli, int argc, char **argv);

/* Prints the error on standard error; returns the exit status for its code. */
int cli_fail(const struct err *e);

/* Prints a usage error with the way to the command's help; command is "rig NAME". Returns
 * EXIT_USAGE. */
int cli_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The drivers' catalogue, as `rig-keeper --drivers` prints it; a new reference. ERR_BENCH. */
int cli_catalogue(json_t **catalogue, struct err *e);

/* What the drivers find on this host, as `rig-keeper --scan` prints it (driver.h: driver_scan());
 * a new reference. ERR_BENCH. */
int cli_scan(json_t **found, struct err *e);

/* Finds and reads the bench's configuration. ERR_CONFIG, ERR_BENCH. */
int cli_load(struct cli *cli, struct err *e);

/* The board of that name, borrowed, or NULL with ERR_USAGE. After cli_load(). */
json_t *cli_board(struct cli *cli, const char *name, struct err *e);

/* The bench's state_dir; after cli_load(). */
const char *cli_state_dir(const struct cli *cli);

/* Calls and runs the loop until the answer is there. Steals params; *result (may be NULL) is a new
 * reference. */
int cli_call(struct cli *cli, struct rpc *rpc, const char *method, json_t *params,
	unsigned timeout_ms, json_t **result, struct err *e);

/*
 * A connection to the board's keeper: the one that lives, or one that is started for this command
 * under a lease by hand: it ends when the board is in its safe state and nobody uses it. ERR_BUSY,
 * ERR_BENCH.
 */
int cli_keeper(
	struct cli *cli, const char *board, const char *what, struct rpc **out, struct err *e);

/*
 * Starts a keeper under a lease by hand for ttl_ms. implicit: it ends when the board is in its safe
 * state and nobody uses it; else it stays until its time is up or it is told to end. Errors as
 * cli_keeper().
 */
int cli_keeper_spawn(struct cli *cli, json_t *board, const char *what, long long ttl_ms,
	bool implicit, struct rpc **out, struct err *e);

/* What every connection of the command line answers when it is called: that it takes no calls. */
void cli_refuse_call(void *arg, struct rpc_call *call, const char *method, json_t *params);

/* "90s", "10m", "2h", "500ms" → milliseconds, or -1. */
long long cli_duration_ms(const char *text);

/* A whole number in [min, max]; false when it is none. */
bool cli_number(const char *text, long long min, long long max, long long *out);

#endif
