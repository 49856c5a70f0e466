/*
 * Boards by hand: each command works under a lease that its keeper holds.
 */
#include "cli.h"

#include "config.h"
#include "flash_files.h"
#include "keeper_client.h"
#include "lock.h"
#include "releases.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define CALL_MS 30000
#define PROBE_MS 300000
#define LOCK_DEFAULT_MS (2LL * 3600 * 1000)
#define LEAVE_KEY '\x1d' /* Ctrl-] */

/* Checks the number of arguments, loads the configuration and connects. -1: go on. */
static int begin(struct cli *cli, int argc, char **argv, int expected, struct rpc **keeper)
{
	struct err e;

	if (argc != expected)
		return cli_usage(
			argv[0], "expected %d argument%s", expected - 1, expected == 2 ? "" : "s");
	if (cli_load(cli, &e) || cli_keeper(cli, argv[1], argv[0], keeper, &e))
		return cli_fail(&e);
	return -1;
}

static int finish(struct cli *cli, struct rpc *keeper, int code, const struct err *e)
{
	struct err gone;

	/* a board nobody needs any more is free when the command returns */
	cli_call(cli, keeper, "leave", NULL, CALL_MS, NULL, &gone);
	rpc_destroy(keeper);
	uv_run(&cli->loop, UV_RUN_NOWAIT);
	return code ? cli_fail(e) : EXIT_PASS;
}

int cli_power(struct cli *cli, int argc, char **argv)
{
	const char *action = argc == 3 ? argv[2] : "";
	json_t *result = NULL;
	struct rpc *keeper = NULL;
	struct err e;
	int code, status;

	if (strcmp(action, "on") != 0 && strcmp(action, "off") != 0 &&
		strcmp(action, "cycle") != 0 && strcmp(action, "get") != 0)
		return cli_usage(argv[0], "expected a board and on, off, cycle or get");
	status = begin(cli, argc, argv, 3, &keeper);
	if (status >= 0)
		return status;
	if (strcmp(action, "cycle") == 0)
		code = cli_call(cli, keeper, "power.cycle", json_object(), CALL_MS, NULL, &e);
	else if (strcmp(action, "get") == 0)
		code = cli_call(cli, keeper, "power.get", json_object(), CALL_MS, &result, &e);
	else
		code = cli_call(cli, keeper, "power.set",
			json_pack("{s:b}", "on", strcmp(action, "on") == 0), CALL_MS, NULL, &e);
	if (result)
		puts(json_is_true(json_object_get(result, "on")) ? "on" : "off");
	json_decref(result);
	return finish(cli, keeper, code, &e);
}

int cli_reset(struct cli *cli, int argc, char **argv)
{
	struct rpc *keeper = NULL;
	json_t *info = NULL;
	struct err e;
	int code, status = begin(cli, argc, argv, 2, &keeper);

	if (status >= 0)
		return status;
	code = cli_call(
		cli, keeper, "probe.reset", json_pack("{s:b}", "halt", 0), PROBE_MS, NULL, &e);
	if (code == 0)
		code = cli_call(cli, keeper, "info", json_object(), CALL_MS, &info, &e);
	/* a port that is open for gdb (rig run --hold-on-fail) stays so */
	if (code == 0 && !json_is_object(json_object_get(info, "gdb")))
		code = cli_call(cli, keeper, "probe.release", json_object(), PROBE_MS, NULL, &e);
	json_decref(info);
	return finish(cli, keeper, code, &e);
}

/* --- flash --------------------------------------------------------------------------------------
 */

struct step {
	const char *method;
	json_t *params;
};

static int do_steps(
	struct cli *cli, struct rpc *keeper, struct step *steps, size_t count, struct err *e)
{
	int code = 0;

	for (size_t i = 0; i < count; i++) {
		if (code == 0)
			code = cli_call(
				cli, keeper, steps[i].method, steps[i].params, PROBE_MS, NULL, e);
		else
			json_decref(steps[i].params);
	}
	return code;
}

static int flash_board(struct cli *cli, struct rpc *keeper, const json_t *board, json_t *segments,
	bool was_on, struct err *e)
{
	const json_t *flash = json_object_get(board, "flash");
	/* the strap that has it come up in its loader keeps its firmware still as reset does */
	bool strap = json_object_get(json_object_get(board, "devices"), "strap") != NULL;
	const char *still = strap ? "strap.set" : "probe.hold_reset", *how = strap ? "on" : "hold";
	struct step steps[] = {
		{"power.set", json_pack("{s:b}", "on", 0)},
		{still, json_pack("{s:b}", how, 1)},
		{"power.set", json_pack("{s:b}", "on", 1)},
		{"probe.program",
			json_pack("{s:O, s:[[O, O]]}", "segments", segments, "erase",
				json_object_get(flash, "base"), json_object_get(flash, "size"))},
		{"probe.release", json_object()},
		{"power.set", json_pack("{s:b}", "on", 0)},
		{still, json_pack("{s:b}", how, 0)},
		{"power.set", json_pack("{s:b}", "on", was_on)},
	};

	return do_steps(cli, keeper, steps, sizeof(steps) / sizeof(*steps), e);
}

static int no_release(json_t *manifest, const char *path, const char *version, struct err *e)
{
	char known[512] = "";
	size_t i, n = 0;
	json_t *release;

	json_array_foreach (json_object_get(manifest, "releases"), i, release)
		if (n < sizeof(known))
			n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "",
				json_string_value(json_object_get(release, "version")));
	return err_set(e, ERR_USAGE, "%s has no release %s; it has %s", path, version, known);
}

static int release_segments(
	struct cli *cli, const json_t *board, const char *version, json_t **segments, struct err *e)
{
	const char *path = json_string_value(json_object_get(cli->config, "releases"));
	char dir[PATH_MAX], work[PATH_MAX];
	json_t *json = NULL;
	struct manifest manifest;
	size_t index;
	json_t *release;
	int code;

	if (!path)
		return err_set(e, ERR_CONFIG,
			"%s names no manifest: bench { releases = \"…/releases.lua\" }",
			cli->config_path);
	code = manifest_load(path, &json, e);
	if (code == 0)
		code = manifest_init(&manifest, json, e);
	if (code) {
		json_decref(json);
		return code;
	}
	if (manifest_find(&manifest, version) == RELEASE_NONE)
		code = no_release(json, path, version, e);
	manifest_finish(&manifest);
	if (code == 0)
		code = lock_board_dir(cli_state_dir(cli),
			json_string_value(json_object_get(board, "name")), true, dir, sizeof(dir),
			e);
	if (code == 0 && snprintf(work, sizeof(work), "%s/flash", dir) >= (int)sizeof(work))
		code = err_set(e, ERR_IO, "%s: too long a path", dir);
	if (code == 0 && mkdir(work, 0755) != 0 && errno != EEXIST)
		code = err_errno(e, ERR_IO, errno, "%s", work);
	json_array_foreach (json_object_get(json, "releases"), index, release) {
		if (code == 0 && strcmp(json_string_value(json_object_get(release, "version")),
					 version) == 0)
			code = flash_files_of_release(
				segments, board, json_object_get(release, "images"), work, e);
	}
	json_decref(json);
	return code;
}

int cli_flash(struct cli *cli, int argc, char **argv)
{
	json_t *segments = NULL, *power = NULL, *board;
	struct rpc *keeper = NULL;
	struct err e;
	int code;

	if (argc != 3)
		return cli_usage(argv[0], "expected a board and a version");
	if (cli_load(cli, &e) || !(board = cli_board(cli, argv[1], &e)) ||
		release_segments(cli, board, argv[2], &segments, &e) ||
		cli_keeper(cli, argv[1], "rig flash", &keeper, &e))
		return cli_fail(&e);
	code = cli_call(cli, keeper, "power.get", json_object(), CALL_MS, &power, &e);
	if (code == 0)
		code = flash_board(cli, keeper, board, segments,
			json_is_true(json_object_get(power, "on")), &e);
	json_decref(power);
	json_decref(segments);
	if (code == 0)
		printf("board %s holds %s as the factory ships it\n", argv[1], argv[2]);
	return finish(cli, keeper, code, &e);
}

/* --- leases -------------------------------------------------------------------------------------
 */

int cli_lock(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"for", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
	long long ttl_ms = LOCK_DEFAULT_MS;
	struct rpc *keeper = NULL;
	json_t *board, *info = NULL;
	struct err e;
	int opt, code;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'f')
			return EXIT_USAGE;
		ttl_ms = cli_duration_ms(optarg);
		if (ttl_ms < 0)
			return cli_usage(
				argv[0], "--for: expected a time as 30m or 2h, got '%s'", optarg);
	}
	if (optind + 1 != argc)
		return cli_usage(argv[0], "expected one board");
	if (cli_load(cli, &e) || !(board = cli_board(cli, argv[optind], &e)))
		return cli_fail(&e);
	if (cli_keeper_spawn(cli, board, argv[0], ttl_ms, false, &keeper, &e))
		return cli_fail(&e);
	code = cli_call(cli, keeper, "info", json_object(), CALL_MS, &info, &e);
	if (code == 0)
		printf("board %s is yours until %s; `rig unlock %s` ends it\n", argv[optind],
			json_string_value(json_object_get(info, "expires")), argv[optind]);
	json_decref(info);
	return finish(cli, keeper, code, &e);
}

static const struct rpc_handlers quiet = {cli_refuse_call, NULL};

/* For a board without a keeper. A person says so by the command: what was wrong is mended. */
static int clear_quarantine(struct cli *cli, const char *name)
{
	enum lock_state state;
	json_t *text = NULL;
	struct err e;
	int code = lock_look(cli_state_dir(cli), name, &state, &text, &e);
	const char *reason = json_string_value(json_object_get(text, "reason"));

	if (code == 0 && state == LOCK_QUARANTINED) {
		code = lock_clear_quarantine(cli_state_dir(cli), name, &e);
		if (code == 0)
			printf("board %s is out of quarantine (%s)\n", name, reason ? reason : "?");
	} else if (code == 0) {
		printf("board %s is not locked\n", name);
	}
	json_decref(text);
	return code ? cli_fail(&e) : EXIT_PASS;
}

int cli_unlock(struct cli *cli, int argc, char **argv)
{
	json_t *info = NULL;
	struct rpc *keeper = NULL;
	struct err e;
	int code;

	if (argc != 2)
		return cli_usage(argv[0], "expected one board");
	if (cli_load(cli, &e) || !cli_board(cli, argv[1], &e))
		return cli_fail(&e);
	if (keeper_client_connect(
		    &cli->loop, cli_state_dir(cli), argv[1], &quiet, NULL, &keeper, &e))
		return clear_quarantine(cli, argv[1]);
	code = cli_call(cli, keeper, "info", json_object(), CALL_MS, &info, &e);
	if (code == 0 && !json_is_true(json_object_get(info, "hand")))
		code = err_set(&e, ERR_BUSY,
			"board %s is used by %s; `rig cancel` stops a run, `rig safe-state %s` anything",
			argv[1],
			json_string_value(json_object_get(json_object_get(info, "owner"), "what")),
			argv[1]);
	if (code == 0)
		code = cli_call(cli, keeper, "end", json_object(), CALL_MS, NULL, &e);
	if (code == 0)
		printf("board %s is safe and free\n", argv[1]);
	json_decref(info);
	return finish(cli, keeper, code, &e);
}

static int make_board_safe(struct cli *cli, const char *name, struct err *e)
{
	struct rpc *keeper = NULL;
	int code = cli_keeper(cli, name, "rig safe-state", &keeper, e);

	if (code == 0) {
		code = cli_call(cli, keeper, "end", json_object(), CALL_MS, NULL, e);
		rpc_destroy(keeper);
	}
	if (code)
		fprintf(stderr, "rig: %s\n", e->msg);
	else
		printf("board %s is safe\n", name);
	return code;
}

int cli_safe_state(struct cli *cli, int argc, char **argv)
{
	json_t *board;
	const char *name;
	struct err e;
	int code = 0, one;

	if (argc > 2)
		return cli_usage(argv[0], "expected one board, or none for all");
	if (cli_load(cli, &e))
		return cli_fail(&e);
	if (argc == 2)
		return cli_board(cli, argv[1], &e)
			       ? (make_board_safe(cli, argv[1], &e) ? EXIT_BENCH : EXIT_PASS)
			       : cli_fail(&e);
	json_object_foreach (json_object_get(cli->config, "boards"), name, board) {
		one = make_board_safe(
			cli, name, &e); /* one that fails leaves none of the others out */
		code = code ? code : one;
	}
	return code ? EXIT_BENCH : EXIT_PASS;
}

/* --- console ------------------------------------------------------------------------------------
 */

struct look {
	struct rpc *keeper;
	bool over;
	const char *why;
	uv_pipe_t in;
	char buf[4096];
};

static void look_said(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	if (strcmp(method, "console") == 0) {
		const json_t *data = json_object_get(params, "data");

		fwrite(json_string_value(data), 1, json_string_length(data), stdout);
		fflush(stdout);
	}
	if (call)
		cli_refuse_call(arg, call, method, params);
}

static void look_closed(void *arg, const struct err *why)
{
	struct look *look = arg;

	(void)why;
	look->over = true;
	look->why = "the board's lease ended";
}

static void look_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	struct look *look = handle->data;

	(void)size;
	*buf = uv_buf_init(look->buf, sizeof(look->buf));
}

static void typed(void *arg, const struct err *e, json_t *result)
{
	(void)arg;
	(void)result;
	if (e)
		fprintf(stderr, "\r\nrig: %s\r\n", e->msg);
}

static void look_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct look *look = stream->data;
	char *leave = n > 0 ? memchr(buf->base, LEAVE_KEY, (size_t)n) : NULL;

	if (n < 0) {
		uv_read_stop(stream); /* end of input: go on listening */
		return;
	}
	if (leave) {
		look->over = true;
		n = leave - buf->base;
	}
	if (n > 0)
		rpc_request(look->keeper, "console.write",
			json_pack("{s:s%}", "data", buf->base, (size_t)n), CALL_MS, typed, look);
}

/* A file, or /dev/null: nothing that can be waited for, nor need be. */
static void look_read_file(struct look *look)
{
	ssize_t n;

	while (!look->over && (n = read(STDIN_FILENO, look->buf, sizeof(look->buf))) > 0)
		rpc_request(look->keeper, "console.write",
			json_pack("{s:s%}", "data", look->buf, (size_t)n), CALL_MS, typed, look);
}

static void look_interrupted(uv_signal_t *handle, int signum)
{
	(void)signum;
	((struct look *)handle->data)->over = true;
}

int cli_console(struct cli *cli, int argc, char **argv)
{
	static const struct rpc_handlers handlers = {look_said, look_closed};
	static struct look look;
	struct rpc *starter = NULL; /* keeps the board until a second connection looks */
	struct termios before, raw;
	bool terminal = isatty(STDIN_FILENO);
	static uv_signal_t interrupt;
	struct err e;
	int code;

	if (argc != 2)
		return cli_usage(argv[0], "expected one board");
	if (cli_load(cli, &e) || !cli_board(cli, argv[1], &e))
		return cli_fail(&e);
	if (keeper_client_connect(
		    &cli->loop, cli_state_dir(cli), argv[1], &handlers, &look, &look.keeper, &e)) {
		if (cli_keeper(cli, argv[1], "rig console", &starter, &e) ||
			keeper_client_connect(&cli->loop, cli_state_dir(cli), argv[1], &handlers,
				&look, &look.keeper, &e))
			return cli_fail(&e);
	}
	code = cli_call(
		cli, look.keeper, "console.follow", json_pack("{s:b}", "on", 1), CALL_MS, NULL, &e);
	/* the keeper has met the second connection: without the first it does not end yet */
	rpc_destroy(starter);
	if (code)
		return finish(cli, look.keeper, code, &e);
	uv_signal_init(&cli->loop, &interrupt);
	interrupt.data = &look;
	uv_signal_start(&interrupt, look_interrupted, SIGINT);
	uv_pipe_init(&cli->loop, &look.in, 0);
	look.in.data = &look;
	if (terminal && tcgetattr(STDIN_FILENO, &before) == 0) {
		raw = before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
		raw.c_iflag &= ~(tcflag_t)(ICRNL | IXON);
		raw.c_cc[VMIN] = 1;
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
		fprintf(stderr, "console of %s; Ctrl-] leaves\r\n", argv[1]);
	} else {
		terminal = false;
	}
	if (uv_guess_handle(STDIN_FILENO) == UV_FILE)
		look_read_file(&look);
	else if (uv_pipe_open(&look.in, STDIN_FILENO) == 0)
		uv_read_start((uv_stream_t *)&look.in, look_alloc, look_read);
	while (!look.over)
		uv_run(&cli->loop, UV_RUN_ONCE);
	if (terminal)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	if (look.why)
		fprintf(stderr, "%s\n", look.why);
	return finish(cli, look.keeper, 0, &e);
}
