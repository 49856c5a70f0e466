#include "cli.h"

#include "cli_plan.h"
#include "cli_resume.h"
#include "config.h"
#include "cuts.h"
#include "flash_files.h"
#include "journal.h"
#include "keeper_client.h"
#include "progress.h"
#include "run_replay.h"
#include "runs.h"
#include "spawn.h"

#include "../reports/report.h"

#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define START_MS 120000
#define DYING_MS 60000 /* by then the keepers of a run that was killed have ended */

#ifndef RIG_VERSION
#define RIG_VERSION "0.1.0"
#endif

const char cli_run_options[] =
	"\n"
	"  --board B        a board to run on; may be repeated; default: the first of rig.conf\n"
	"  --only FROM:TO   only these transitions; FROM or TO may be *; may be repeated\n"
	"  --cuts N|all     how many cuts to land in each transition (default 22)\n"
	"  --cut CUT        exactly this cut: OP[:TEAR[:SEED]][,…] or end; may be repeated\n"
	"  --seed N         what is drawn by chance follows from it (default 1)\n"
	"  --budget TIME    end in that time, as 90s, 30m or 8h: each transition gets its share\n"
	"  --fail-fast      stop at the first failure\n"
	"  --hold-on-fail[=TIME]  stop at the first failure and leave that board on, leased for\n"
	"                   TIME (default 8h), with a port for gdb; says how to reach it\n"
	"  --tap 13|14      version line of the TAP documents (default 13)\n"
	"  --wait TIME      wait that long for busy boards: 90s, 10m, 2h\n"
	"  --keep N         afterwards remove the oldest ended runs, but N\n"
	"  --quiet          no progress\n"
	"  --resume RUN     go on with a run that was cut short: an id, its beginning or end, or\n"
	"                   last. Scenario, boards and what is run are those it was begun with.\n\n"
	"Exit status: 0 passed, 1 a test failed, 2 usage or configuration, 3 the bench failed,\n"
	"4 busy, 5 inconclusive, 130 interrupted.\n";

struct run_command {
	struct cli *cli;
	const char *name;
	json_t *boards, *options; /* names; the job's options */
	const char *scenario;
	long long wait_ms, keep;
	bool quiet;

	json_t *manifest;
	struct resume resume; /* with id: this run is taken up again */
	const char *resume_name;
	char *id, *dir;
	struct rpc *worker;
	struct spawned *child;
	struct report *tap;
	struct progress *progress;
	json_int_t first_seq, last_seq; /* first: of this stretch of a run taken up again */
	bool started, failed_to_start, closed, worker_gone;
	int exit_status; /* as the worker said; negative: it said nothing */
	int interrupts;
	bool unseen; /* standard output took not all of the TAP */
	bool json;
	struct err error;
	uv_signal_t signals[3];
};

enum {
	OPT_BOARD = 1000,
	OPT_ONLY,
	OPT_CUTS,
	OPT_CUT,
	OPT_SEED,
	OPT_BUDGET,
	OPT_FAIL_FAST,
	OPT_HOLD_ON_FAIL,
	OPT_TAP,
	OPT_WAIT,
	OPT_KEEP,
	OPT_QUIET,
	OPT_JSON,
	OPT_RESUME,
};

static const struct option long_options[] = {
	{"board", required_argument, NULL, OPT_BOARD},
	{"only", required_argument, NULL, OPT_ONLY},
	{"cuts", required_argument, NULL, OPT_CUTS},
	{"cut", required_argument, NULL, OPT_CUT},
	{"seed", required_argument, NULL, OPT_SEED},
	{"budget", required_argument, NULL, OPT_BUDGET},
	{"fail-fast", no_argument, NULL, OPT_FAIL_FAST},
	{"hold-on-fail", optional_argument, NULL, OPT_HOLD_ON_FAIL},
	{"tap", required_argument, NULL, OPT_TAP},
	{"wait", required_argument, NULL, OPT_WAIT},
	{"keep", required_argument, NULL, OPT_KEEP},
	{"local", no_argument, NULL, 'l'},
	{"quiet", no_argument, NULL, OPT_QUIET},
	{"json", no_argument, NULL, OPT_JSON},
	{"resume", required_argument, NULL, OPT_RESUME},
	{NULL, 0, NULL, 0},
};

static void append(json_t *object, const char *name, json_t *value)
{
	json_t *array = json_object_get(object, name);

	if (!array) {
		array = json_array();
		json_object_set_new(object, name, array);
	}
	json_array_append_new(array, value);
}

static int take_cuts(struct run_command *rc, const char *arg)
{
	long long n;

	if (strcmp(arg, "all") == 0) {
		json_object_set_new(rc->options, "cuts", json_string("all"));
		return 0;
	}
	if (!cli_number(arg, 0, 100000000, &n))
		return cli_usage(rc->name, "--cuts: expected a number or all, got '%s'", arg);
	json_object_set_new(rc->options, "cuts", json_integer(n));
	return 0;
}

static int take_cut(struct run_command *rc, const char *arg)
{
	char canonical[CUTS_TEXT_MAX];
	struct cuts cuts;
	struct err e;

	if (cuts_parse(&cuts, arg, &e))
		return cli_usage(rc->name, "--cut: %s", e.msg);
	append(rc->options, "cut", json_string(cuts_format(&cuts, canonical)));
	return 0;
}

static int take_hold(struct run_command *rc, const char *arg)
{
	long long ms = arg ? cli_duration_ms(arg) : 0;

	if (ms < 0)
		return cli_usage(rc->name,
			"--hold-on-fail: expected a time as 90s, 10m or 2h, got '%s'", arg);
	json_object_set_new(rc->options, "hold_on_fail", json_true());
	if (arg)
		json_object_set_new(rc->options, "hold_ms", json_integer(ms));
	return 0;
}

static int take_option(struct run_command *rc, int opt, const char *arg)
{
	long long n;

	switch (opt) {
	case OPT_BOARD:
		json_array_append_new(rc->boards, json_string(arg));
		return 0;
	case OPT_ONLY:
		append(rc->options, "only", json_string(arg));
		return 0;
	case OPT_CUTS:
		return take_cuts(rc, arg);
	case OPT_CUT:
		return take_cut(rc, arg);
	case OPT_SEED:
		if (!cli_number(arg, 0, 0x7fffffff, &n))
			return cli_usage(
				rc->name, "--seed: expected 0 to 2147483647, got '%s'", arg);
		json_object_set_new(rc->options, "seed", json_integer(n));
		return 0;
	case OPT_BUDGET:
		n = cli_duration_ms(arg);
		if (n <= 0)
			return cli_usage(rc->name,
				"--budget: expected a time as 90s, 30m or 8h, got '%s'", arg);
		json_object_set_new(rc->options, "budget_ms", json_integer(n));
		return 0;
	case OPT_FAIL_FAST:
		json_object_set_new(rc->options, "fail_fast", json_true());
		return 0;
	case OPT_HOLD_ON_FAIL:
		return take_hold(rc, arg);
	case OPT_TAP:
		if (!cli_number(arg, 13, 14, &n))
			return cli_usage(rc->name, "--tap: expected 13 or 14, got '%s'", arg);
		json_object_set_new(rc->options, "tap", json_integer(n));
		return 0;
	case OPT_WAIT:
		rc->wait_ms = cli_duration_ms(arg);
		if (rc->wait_ms < 0)
			return cli_usage(rc->name,
				"--wait: expected a time as 90s, 10m or 2h, got '%s'", arg);
		return 0;
	case OPT_KEEP:
		if (!cli_number(arg, 1, 1000000, &rc->keep))
			return cli_usage(
				rc->name, "--keep: expected a number of at least 1, got '%s'", arg);
		return 0;
	case OPT_QUIET:
		rc->quiet = true;
		return 0;
	case OPT_JSON:
		rc->json = true;
		return 0;
	case OPT_RESUME:
		rc->resume_name = arg;
		return 0;
	case 'l': /* there is no daemon to go round yet: every run is local */
		return 0;
	default:
		return EXIT_USAGE;
	}
}

/* A run that is taken up again is the run it was. Returns as parse(). */
static int check_resume(struct run_command *rc)
{
	const char *option = json_array_size(rc->boards)
				     ? "board"
				     : json_object_iter_key(json_object_iter(rc->options));
	char name[32];

	if (!option)
		return -1;
	snprintf(name, sizeof(name), "%s", option);
	for (char *c = name; *c; c++)
		if (*c == '_')
			*c = '-';
	return cli_usage(
		rc->name, "--%s with --resume: a run goes on with what it was begun with", name);
}

/* Returns -1 to go on, else the exit status. */
static int parse(struct run_command *rc, int argc, char **argv)
{
	int opt, status;

	rc->name = argv[0];
	rc->boards = json_array();
	rc->options = json_object();
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		status = take_option(rc, opt, optarg);
		if (status)
			return status;
	}
	rc->scenario = argv[optind];
	if (rc->resume_name && optind + 1 >= argc)
		return check_resume(rc);
	if (optind + 1 != argc)
		return cli_usage(
			rc->name, "expected one scenario, such as scenarios/upgrade_matrix.lua");
	json_object_update_missing_new(rc->options,
		json_pack("{s:i, s:i, s:i}", "cuts", RUN_DEFAULT_CUTS, "seed", 1, "tap", 13));
	return -1;
}

/* A path as given, else a name of a shipped scenario: "upgrade-matrix". The caller frees it. */
static char *scenario_path(const char *given, const char *data, struct err *e)
{
	char path[PATH_MAX], name[256];
	char *real = realpath(given, NULL);

	if (real)
		return real;
	snprintf(name, sizeof(name), "%s", given);
	for (char *c = name; *c; c++)
		if (*c == '-')
			*c = '_';
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): parse() sees to it */
	if (!strchr(given, '/') &&
		snprintf(path, sizeof(path), "%s/scenarios/%s.lua", data, name) < (int)sizeof(path))
		real = realpath(path, NULL);
	if (!real)
		err_set(e, ERR_USAGE,
			"%s: no such scenario: expected a path to a Lua file, or the name of one in "
			"%s/scenarios",
			given, data);
	return real;
}

static int resolve_boards(struct run_command *rc, json_t **boards, struct err *e)
{
	json_t *all = json_object_get(rc->cli->config, "boards"), *name, *board;
	const char *first;
	size_t i;

	*boards = json_array();
	if (json_array_size(rc->boards) == 0) {
		json_object_foreach (all, first, board) {
			json_array_append(*boards, board);
			return 0;
		}
		return err_set(e, ERR_CONFIG, "%s: has no boards", rc->cli->config_path);
	}
	json_array_foreach (rc->boards, i, name) {
		board = cli_board(rc->cli, json_string_value(name), e);
		for (size_t k = 0; board && k < i; k++)
			if (json_equal(json_array_get(rc->boards, k), name)) {
				err_set(e, ERR_USAGE, "--board %s is given twice",
					json_string_value(name));
				board = NULL;
			}
		if (!board)
			return -(int)e->code;
		json_array_append(*boards, board);
	}
	return 0;
}

/* Every image of every release on every board, before a board is touched. */
static int check_images(const json_t *boards, const json_t *manifest, struct err *e)
{
	const char *path = json_string_value(json_object_get(manifest, "file"));
	json_t *board, *release;
	size_t b, r;
	int code = 0;

	json_array_foreach (boards, b, board)
		json_array_foreach (json_object_get(manifest, "releases"), r, release)
			if (code == 0)
				code = flash_files_check(board, release, path, e);
	return code;
}

static int make_job(struct run_command *rc, bool plan_only, json_t **job, struct err *e)
{
	const char *manifest = json_string_value(json_object_get(rc->cli->config, "releases"));
	char *data = data_dir(), *scenario = NULL, *config_dir = NULL;
	json_t *boards = NULL;
	int code = 0;

	*job = NULL;
	if (!data)
		return err_set(e, ERR_NOMEM, "out of memory");
	config_dir = strdup(rc->cli->config_path);
	if (config_dir && strrchr(config_dir, '/'))
		*strrchr(config_dir, '/') = '\0';
	scenario = scenario_path(rc->scenario, data, e);
	if (!scenario)
		code = -(int)e->code;
	if (code == 0)
		code = resolve_boards(rc, &boards, e);
	if (code == 0 && manifest)
		code = manifest_load(manifest, &rc->manifest, e);
	if (code == 0 && rc->manifest)
		code = check_images(boards, rc->manifest, e);
	if (code == 0)
		*job = json_pack(
			"{s:s, s:s, s:s, s:s*, s:s, s:{s:O, s:s, s:s}, s:O, s:O, s:O*, s:b}", "rig",
			RIG_VERSION, "scenario", scenario, "scenario_as_given", rc->scenario,
			"config_as_given", rc->cli->config_arg, "data_dir", data, "bench", "name",
			json_object_get(rc->cli->config, "name"), "file", rc->cli->config_path,
			"dir", config_dir, "boards", boards, "options", rc->options, "manifest",
			rc->manifest, "plan_only", plan_only);
	if (code == 0 && !*job)
		code = err_set(e, ERR_NOMEM, "out of memory");
	if (code == 0 && rc->resume.id)
		code = resume_job(&rc->resume, *job, e);
	json_decref(boards);
	free(scenario);
	free(config_dir);
	free(data);
	return code;
}

/* With --resume: scenario, boards and options are those of the run. */
static int take_up(struct run_command *rc, struct err *e)
{
	int code = rc->resume_name ? resume_find(rc->cli, rc->resume_name, &rc->resume, e) : 0;

	if (code || !rc->resume_name)
		return code;
	if (!rc->scenario)
		rc->scenario = resume_scenario(&rc->resume);
	json_decref(rc->boards);
	json_decref(rc->options);
	rc->boards = resume_boards(&rc->resume);
	rc->options = resume_options(&rc->resume);
	return rc->scenario ? 0
			    : err_set(e, ERR_USAGE, "run %s: its scenario is not known", rc->id);
}

/* --- following the worker -----------------------------------------------------------------------
 */

/* Standard output that takes no more ends the run: nobody would see its results. */
static void tap_broke(struct run_command *rc, const struct err *e)
{
	fprintf(stderr, "rig: %s\n", e->msg);
	rc->tap->format->destroy(rc->tap);
	rc->tap = NULL;
	rc->unseen = true;
	if (rc->worker)
		rpc_notify(rc->worker, "cancel",
			json_pack("{s:s, s:s}", "reason", "interrupted", "text",
				"standard output was closed"));
}

static void tell_record(struct run_command *rc, json_t *record, bool past)
{
	struct err e;

	rc->last_seq = json_integer_value(json_object_get(record, "seq"));
	if (rc->tap && rc->tap->format->record(rc->tap, record, &e))
		tap_broke(rc, &e);
	if (rc->progress && past)
		progress_past(rc->progress, record);
	else if (rc->progress)
		progress_record(rc->progress, record);
}

/* What the journal holds from before the run was taken up again. */
static int read_past(void *arg, json_t *record, struct err *e)
{
	struct run_command *rc = arg;

	(void)e;
	if (json_integer_value(json_object_get(record, "seq")) >= rc->first_seq)
		return 1;
	tell_record(rc, record, true);
	return 0;
}

static void take_record(struct run_command *rc, json_t *record)
{
	json_int_t seq = json_integer_value(json_object_get(record, "seq"));
	char *journal;
	struct err e;

	if (rc->resume.id && rc->last_seq == 0 && seq > 1) {
		journal = runs_path(cli_state_dir(rc->cli), rc->id, JOURNAL_FILE);
		rc->first_seq = seq;
		if (journal)
			journal_read(journal, 1, read_past, rc, NULL, &e);
		free(journal);
	}
	if (seq == rc->last_seq + 1) /* else told already */
		tell_record(rc, record, false);
}

static void worker_said(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct run_command *rc = arg;
	struct err e;

	if (call) {
		err_set(&e, ERR_USAGE, "the command line takes no calls");
		rpc_answer_err(call, &e);
	} else if (strcmp(method, "record") == 0) {
		take_record(rc, json_object_get(params, "record"));
	} else if (strcmp(method, "ended") == 0) {
		const char *text = json_string_value(json_object_get(params, "text"));

		rc->exit_status = (int)json_integer_value(json_object_get(params, "exit_status"));
		snprintf(rc->error.msg, sizeof(rc->error.msg), "%s", text ? text : "");
	}
}

static void worker_closed(void *arg, const struct err *why)
{
	struct run_command *rc = arg;

	(void)why;
	rc->closed = true;
}

static const struct rpc_handlers worker_handlers = {worker_said, worker_closed};

static void run_answered(void *arg, const struct err *e, json_t *result)
{
	struct run_command *rc = arg;

	(void)result;
	rc->started = true;
	if (e) {
		rc->failed_to_start = true;
		rc->error = *e;
	}
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct run_command *rc = handle->data;

	/* a worker that does not listen is ended; its keepers make the boards safe */
	if (rc->interrupts++ > 0 && rc->child && spawn_pid(rc->child) > 0)
		kill(spawn_pid(rc->child), SIGKILL);
	if (rc->interrupts == 1 && rc->worker) {
		if (!rc->quiet)
			fprintf(stderr, "\nstopping; the boards are made safe\n");
		rpc_notify(rc->worker, "cancel",
			json_pack("{s:s, s:s}", "reason", "interrupted", "text",
				signum == SIGHUP ? "the terminal was closed"
						 : "interrupted at the terminal"));
	}
}

static int start_worker(struct run_command *rc, struct err *e)
{
	char program[PATH_MAX], log[PATH_MAX];
	const char *args[] = {"--fd", "3", NULL};
	struct spawn_spec spec = {.program = program, .args = args, .own_session = true};
	int fds[2], code = program_path("rig-worker", program, sizeof(program), e);

	if (code)
		return code;
	if (rc->dir) {
		snprintf(log, sizeof(log), "%s/worker.log", rc->dir);
		spec.log_path = log;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return err_set(e, ERR_IO, "socketpair failed");
	spec.fd = fds[1];
	code = spawn_start(&rc->cli->loop, &spec, &rc->child, e);
	if (code) {
		close(fds[0]);
		return code;
	}
	rc->worker = rpc_create(&rc->cli->loop, fds[0], &worker_handlers, rc);
	return rc->worker ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

/* What the connection did not bring any more is in the journal. */
static int read_rest(void *arg, json_t *record, struct err *e)
{
	(void)e;
	take_record(arg, record);
	return 0;
}

static int conclude(struct run_command *rc)
{
	char *journal = runs_path(cli_state_dir(rc->cli), rc->id, JOURNAL_FILE);
	struct err e;

	if (journal)
		journal_read(journal, (uint64_t)rc->last_seq + 1, read_rest, rc, NULL, &e);
	free(journal);
	if (rc->tap && rc->tap->format->finish(rc->tap, NULL, &e)) {
		fprintf(stderr, "rig: %s\n", e.msg);
		rc->unseen = true;
	}
	if (rc->progress)
		progress_finish(rc->progress, rc->dir);
	if (rc->exit_status == EXIT_BENCH && rc->error.msg[0])
		fprintf(stderr, "rig: %s\n", rc->error.msg);
	if (rc->exit_status == EXIT_PASS && rc->unseen)
		return EXIT_BENCH; /* nobody saw that all passed */
	if (rc->exit_status >= 0)
		return rc->exit_status;
	report_write_all(rc->dir, (int)json_integer_value(json_object_get(rc->options, "tap")), &e);
	fprintf(stderr,
		"rig: the worker of run %s died; its boards make themselves safe; "
		"`rig run --resume %s` goes on with it\n",
		rc->id, rc->id);
	return rc->interrupts ? EXIT_INTERRUPTED : EXIT_BENCH;
}

static int make_folder(struct run_command *rc, struct err *e)
{
	if (rc->resume.id) {
		rc->id = rc->resume.id;
		rc->dir = rc->resume.dir;
		return 0;
	}
	if (runs_create(cli_state_dir(rc->cli), rc->scenario, &rc->id, e))
		return err_prefix(e, "state_dir");
	rc->dir = runs_path(cli_state_dir(rc->cli), rc->id, NULL);
	return rc->dir ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

/* One attempt. ERR_BUSY leaves nothing behind. */
static int attempt(struct run_command *rc, json_t *job, struct err *e)
{
	struct report_options how = {.out = stdout,
		.tap_version = (int)json_integer_value(json_object_get(rc->options, "tap"))};
	const struct report_format *tap = report_find("tap");
	int code = make_folder(rc, e);

	if (code)
		return code;
	json_object_set_new(job, "run_id", json_string(rc->id));
	json_object_set_new(job, "run_dir", json_string(rc->dir));
	code = start_worker(rc, e);
	if (code)
		return code;
	/* an attempt before told them nothing */
	if (!rc->tap)
		rc->tap = tap->create(&how);
	if (!rc->progress && !rc->quiet)
		rc->progress = progress_create(stderr, isatty(STDERR_FILENO), 0);
	rpc_request(rc->worker, "run", json_pack("{s:O}", "job", job), START_MS, run_answered, rc);
	while (!rc->closed)
		uv_run(&rc->cli->loop, UV_RUN_ONCE);
	rpc_destroy(rc->worker);
	rc->worker = NULL;
	spawn_destroy(rc->child);
	rc->child = NULL;
	if (!rc->failed_to_start || rc->last_seq > 0)
		return 0;
	*e = rc->error;
	if (rc->resume.id)
		return -(int)e->code;
	if (runs_remove(cli_state_dir(rc->cli), rc->id, &rc->error))
		fprintf(stderr, "rig: %s\n", rc->error.msg);
	free(rc->id);
	free(rc->dir);
	rc->id = rc->dir = NULL;
	return -(int)e->code;
}

static void watch_signals(struct run_command *rc)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction before;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		uv_signal_init(&rc->cli->loop, &rc->signals[i]);
		rc->signals[i].data = rc;
		uv_unref((uv_handle_t *)&rc->signals[i]);
		/* nohup has it ignored, and means it */
		if (numbers[i] != SIGHUP || sigaction(SIGHUP, NULL, &before) != 0 ||
			before.sa_handler != SIG_IGN)
			uv_signal_start(&rc->signals[i], on_signal, numbers[i]);
	}
}

/* --- waiting for busy boards --------------------------------------------------------------------
 */

struct waiting {
	struct rpc *keeper;
	bool over;
	uv_timer_t timer;
};

static void wait_closed(void *arg, const struct err *why)
{
	(void)why;
	((struct waiting *)arg)->over = true;
}

static void wait_timer(uv_timer_t *timer)
{
	((struct waiting *)timer->data)->over = true;
}

static void wait_freed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Until the keeper of a busy board ends, or for ms. Returns how long it took. */
static long long wait_for_board(struct run_command *rc, json_t *boards, long long ms)
{
	static const struct rpc_handlers handlers = {cli_refuse_call, wait_closed};
	struct waiting *w = calloc(1, sizeof(*w));
	uint64_t began = uv_hrtime();
	struct err e;

	if (!w)
		return ms;
	uv_timer_init(&rc->cli->loop, &w->timer);
	w->timer.data = w;
	for (size_t i = 0; i < json_array_size(boards) && !w->keeper; i++)
		if (keeper_client_connect(&rc->cli->loop, cli_state_dir(rc->cli),
			    json_string_value(json_object_get(json_array_get(boards, i), "name")),
			    &handlers, w, &w->keeper, &e))
			w->keeper = NULL;
	/* a keeper that just ended leaves the lock within moments */
	uv_timer_start(&w->timer, wait_timer, (uint64_t)(w->keeper || ms < 200 ? ms : 200), 0);
	while (!w->over && rc->interrupts == 0)
		uv_run(&rc->cli->loop, UV_RUN_ONCE);
	rpc_destroy(w->keeper);
	uv_close((uv_handle_t *)&w->timer, wait_freed);
	return (long long)((uv_hrtime() - began) / 1000000) + 1;
}

int cli_run(struct cli *cli, int argc, char **argv)
{
	static struct run_command rc; /* until the process ends, as all of a command */
	static json_t *job;
	bool waits;
	struct err e;
	int code, status;

	rc = (struct run_command){.cli = cli, .exit_status = -1};
	status = parse(&rc, argc, argv);

	if (status >= 0)
		return status;
	if (rc.json)
		return cli_usage(rc.name, "--json is for rig plan; `rig runs --json` lists runs");
	if (cli_load(cli, &e) || take_up(&rc, &e) || make_job(&rc, false, &job, &e))
		return cli_fail(&e);
	watch_signals(&rc);
	waits = rc.wait_ms > 0;
	if (rc.resume.id && !waits)
		rc.wait_ms = DYING_MS;
	while ((code = attempt(&rc, job, &e)) == -ERR_BUSY && rc.wait_ms > 0 && !rc.interrupts &&
		(waits || resume_comes_free(cli, &rc.resume, job))) {
		rc.wait_ms -= wait_for_board(&rc, json_object_get(job, "boards"), rc.wait_ms);
		rc.closed = rc.failed_to_start = false;
		rc.exit_status = -1;
	}
	if (code == -ERR_BUSY) {
		struct err busy = e;

		err_set(&e, ERR_BUSY, "%s; %s", busy.msg,
			waits ? "it was not free in time" : "--wait 10m waits for it");
	}
	if (code)
		return rc.interrupts ? EXIT_INTERRUPTED : cli_fail(&e);
	status = conclude(&rc);
	if (rc.keep && runs_prune(cli_state_dir(cli), (unsigned)rc.keep, &e))
		fprintf(stderr, "rig: --keep: %s\n", e.msg);
	return status;
}

/* --- plan ---------------------------------------------------------------------------------------
 */

static void plan_answered(void *arg, const struct err *e, json_t *result)
{
	struct run_command *rc = arg;

	rc->started = true;
	if (e) {
		rc->failed_to_start = true;
		rc->error = *e;
		return;
	}
	if (rc->json) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		cli_plan_print(result);
	}
}

int cli_plan(struct cli *cli, int argc, char **argv)
{
	static struct run_command rc;
	static json_t *job;
	struct err e;
	int status;

	rc = (struct run_command){.cli = cli, .exit_status = -1};
	status = parse(&rc, argc, argv);

	if (status >= 0)
		return status;
	if (rc.resume_name)
		return cli_usage(rc.name, "--resume is for rig run");
	if (cli_load(cli, &e) || make_job(&rc, true, &job, &e) || start_worker(&rc, &e))
		return cli_fail(&e);
	rpc_request(rc.worker, "run", json_pack("{s:O}", "job", job), START_MS, plan_answered, &rc);
	while (!rc.closed)
		uv_run(&cli->loop, UV_RUN_ONCE);
	rpc_destroy(rc.worker);
	spawn_destroy(rc.child);
	return rc.failed_to_start ? cli_fail(&rc.error) : EXIT_PASS;
}
