#include "cli_job.h"

#include "cli.h"
#include "config.h"
#include "cuts.h"
#include "err.h"
#include "flash_files.h"
#include "rpc.h"
#include "run_replay.h"
#include "spawn.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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
	"  --resume RUN     go on with a run that was cut short: an id, a part of one, or\n"
	"                   last. Scenario, boards and what is run are those it was begun with.\n\n"
	"Exit status: 0 passed, 1 a test failed, 2 usage or configuration, 3 the bench failed,\n"
	"4 busy, 5 inconclusive, 130 interrupted.\n";

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

static int take_cuts(struct cli_job *ask, const char *arg)
{
	long long n;

	if (strcmp(arg, "all") == 0) {
		json_object_set_new(ask->options, "cuts", json_string("all"));
		return 0;
	}
	if (!cli_number(arg, 0, 100000000, &n))
		return cli_usage(ask->name, "--cuts: expected a number or all, got '%s'", arg);
	json_object_set_new(ask->options, "cuts", json_integer(n));
	return 0;
}

static int take_cut(struct cli_job *ask, const char *arg)
{
	char canonical[CUTS_TEXT_MAX];
	struct cuts cuts;
	struct err e;

	if (cuts_parse(&cuts, arg, &e))
		return cli_usage(ask->name, "--cut: %s", e.msg);
	append(ask->options, "cut", json_string(cuts_format(&cuts, canonical)));
	return 0;
}

static int take_hold(struct cli_job *ask, const char *arg)
{
	long long ms = arg ? cli_duration_ms(arg) : 0;

	if (ms < 0)
		return cli_usage(ask->name,
			"--hold-on-fail: expected a time as 90s, 10m or 2h, got '%s'", arg);
	json_object_set_new(ask->options, "hold_on_fail", json_true());
	if (arg)
		json_object_set_new(ask->options, "hold_ms", json_integer(ms));
	return 0;
}

static int take_option(struct cli_job *ask, int opt, const char *arg)
{
	long long n;

	switch (opt) {
	case OPT_BOARD:
		json_array_append_new(ask->boards, json_string(arg));
		return 0;
	case OPT_ONLY:
		append(ask->options, "only", json_string(arg));
		return 0;
	case OPT_CUTS:
		return take_cuts(ask, arg);
	case OPT_CUT:
		return take_cut(ask, arg);
	case OPT_SEED:
		if (!cli_number(arg, 0, 0x7fffffff, &n))
			return cli_usage(
				ask->name, "--seed: expected 0 to 2147483647, got '%s'", arg);
		json_object_set_new(ask->options, "seed", json_integer(n));
		return 0;
	case OPT_BUDGET:
		n = cli_duration_ms(arg);
		if (n <= 0)
			return cli_usage(ask->name,
				"--budget: expected a time as 90s, 30m or 8h, got '%s'", arg);
		json_object_set_new(ask->options, "budget_ms", json_integer(n));
		return 0;
	case OPT_FAIL_FAST:
		json_object_set_new(ask->options, "fail_fast", json_true());
		return 0;
	case OPT_HOLD_ON_FAIL:
		return take_hold(ask, arg);
	case OPT_TAP:
		if (!cli_number(arg, 13, 14, &n))
			return cli_usage(ask->name, "--tap: expected 13 or 14, got '%s'", arg);
		json_object_set_new(ask->options, "tap", json_integer(n));
		return 0;
	case OPT_WAIT:
		ask->wait_ms = cli_duration_ms(arg);
		if (ask->wait_ms < 0)
			return cli_usage(ask->name,
				"--wait: expected a time as 90s, 10m or 2h, got '%s'", arg);
		return 0;
	case OPT_KEEP:
		if (!cli_number(arg, 1, 1000000, &ask->keep))
			return cli_usage(ask->name,
				"--keep: expected a number of at least 1, got '%s'", arg);
		return 0;
	case OPT_QUIET:
		ask->quiet = true;
		return 0;
	case OPT_JSON:
		ask->json = true;
		return 0;
	case OPT_RESUME:
		ask->resume_name = arg;
		return 0;
	case 'l': /* there is no daemon to go round yet: every run is local */
		return 0;
	default:
		return EXIT_USAGE;
	}
}

/* A run that is taken up again is the run it was. Returns as cli_job_parse(). */
static int check_resume(struct cli_job *ask)
{
	const char *option = json_array_size(ask->boards)
				     ? "board"
				     : json_object_iter_key(json_object_iter(ask->options));
	char name[32];

	if (!option)
		return -1;
	snprintf(name, sizeof(name), "%s", option);
	for (char *c = name; *c; c++)
		if (*c == '_')
			*c = '-';
	return cli_usage(
		ask->name, "--%s with --resume: a run goes on with what it was begun with", name);
}

int cli_job_parse(struct cli_job *ask, int argc, char **argv)
{
	int opt, status;

	ask->name = argv[0];
	ask->boards = json_array();
	ask->options = json_object();
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		status = take_option(ask, opt, optarg);
		if (status)
			return status;
	}
	ask->scenario = argv[optind];
	if (ask->resume_name && optind + 1 >= argc)
		return check_resume(ask);
	if (optind + 1 != argc)
		return cli_usage(
			ask->name, "expected one scenario, such as scenarios/upgrade_matrix.lua");
	json_object_update_missing_new(ask->options,
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
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): cli_job_parse() sees to it */
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

static int resolve_boards(struct cli_job *ask, json_t **boards, struct err *e)
{
	json_t *all = json_object_get(ask->cli->config, "boards"), *name, *board;
	const char *first;
	size_t i;

	*boards = json_array();
	if (json_array_size(ask->boards) == 0) {
		json_object_foreach (all, first, board) {
			json_array_append(*boards, board);
			return 0;
		}
		return err_set(e, ERR_CONFIG, "%s: has no boards", ask->cli->config_path);
	}
	json_array_foreach (ask->boards, i, name) {
		board = cli_board(ask->cli, json_string_value(name), e);
		for (size_t k = 0; board && k < i; k++)
			if (json_equal(json_array_get(ask->boards, k), name)) {
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

int cli_job_make(struct cli_job *ask, bool plan_only, json_t **job, struct err *e)
{
	const char *manifest = json_string_value(json_object_get(ask->cli->config, "releases"));
	char *data = data_dir(), *scenario = NULL, *config_dir = NULL;
	json_t *boards = NULL;
	int code = 0;

	*job = NULL;
	if (!data)
		return err_set(e, ERR_NOMEM, "out of memory");
	config_dir = strdup(ask->cli->config_path);
	if (config_dir && strrchr(config_dir, '/'))
		*strrchr(config_dir, '/') = '\0';
	scenario = scenario_path(ask->scenario, data, e);
	if (!scenario)
		code = -(int)e->code;
	if (code == 0)
		code = resolve_boards(ask, &boards, e);
	if (code == 0 && manifest)
		code = manifest_load(manifest, &ask->manifest, e);
	if (code == 0 && ask->manifest)
		code = check_images(boards, ask->manifest, e);
	if (code == 0)
		*job = json_pack(
			"{s:s, s:s, s:s, s:s*, s:s, s:{s:O, s:s, s:s}, s:O, s:O, s:O*, s:b}", "rig",
			RIG_VERSION, "scenario", scenario, "scenario_as_given", ask->scenario,
			"config_as_given", ask->cli->config_arg, "data_dir", data, "bench", "name",
			json_object_get(ask->cli->config, "name"), "file", ask->cli->config_path,
			"dir", config_dir, "boards", boards, "options", ask->options, "manifest",
			ask->manifest, "plan_only", plan_only);
	if (code == 0 && !*job)
		code = err_set(e, ERR_NOMEM, "out of memory");
	if (code == 0 && ask->resume.id)
		code = resume_job(&ask->resume, *job, e);
	json_decref(boards);
	free(scenario);
	free(config_dir);
	free(data);
	return code;
}

int cli_job_take_up(struct cli_job *ask, struct err *e)
{
	int code = ask->resume_name ? resume_find(ask->cli, ask->resume_name, &ask->resume, e) : 0;

	if (code || !ask->resume_name)
		return code;
	if (!ask->scenario)
		ask->scenario = resume_scenario(&ask->resume);
	json_decref(ask->boards);
	json_decref(ask->options);
	ask->boards = resume_boards(&ask->resume);
	ask->options = resume_options(&ask->resume);
	return ask->scenario
		       ? 0
		       : err_set(e, ERR_USAGE, "run %s: its scenario is not known", ask->resume.id);
}

int cli_job_worker(struct cli *cli, const char *dir, const struct rpc_handlers *handlers, void *arg,
	struct spawned **child, struct rpc **worker, struct err *e)
{
	char program[PATH_MAX], log[PATH_MAX];
	const char *args[] = {"--fd", "3", NULL};
	struct spawn_spec spec = {.program = program, .args = args, .own_session = true};
	int fds[2], code = program_path("rig-worker", program, sizeof(program), e);

	if (code)
		return code;
	if (dir) {
		snprintf(log, sizeof(log), "%s/worker.log", dir);
		spec.log_path = log;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return err_set(e, ERR_IO, "socketpair failed");
	spec.fd = fds[1];
	code = spawn_start(&cli->loop, &spec, child, e);
	if (code) {
		close(fds[0]);
		return code;
	}
	*worker = rpc_create(&cli->loop, fds[0], handlers, arg);
	return *worker ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}
