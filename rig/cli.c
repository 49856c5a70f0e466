#include "cli.h"

#include "config.h"
#include "keeper_client.h"
#include "lock.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPEN_MS 120000                      /* the keeper owns the deadlines of opening */
#define IMPLICIT_LEASE_MS (8 * 3600 * 1000) /* a board powered on by hand and forgotten */

int cli_fail(const struct err *e)
{
	fprintf(stderr, "rig: %s\n", e->msg);
	switch ((int)e->code) {
	case ERR_USAGE:
	case ERR_CONFIG:
		return EXIT_USAGE;
	case ERR_BUSY:
		return EXIT_BUSY;
	default:
		return EXIT_BENCH;
	}
}

int cli_usage(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; see `%s --help`\n", command);
	return EXIT_USAGE;
}

/* What rig-keeper prints with that argument. */
static int keeper_prints(const char *argument, json_t **out, struct err *e)
{
	char program[PATH_MAX];
	json_error_t bad;
	int fds[2], status, code = program_path("rig-keeper", program, sizeof(program), e);
	FILE *in;
	pid_t pid;

	if (code)
		return code;
	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_errno(e, ERR_IO, errno, "pipe");
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return err_errno(e, ERR_IO, errno, "fork");
	}
	if (pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		execlp(program, program, argument, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	in = fdopen(fds[0], "r");
	*out = in ? json_loadf(in, 0, &bad) : NULL;
	if (in)
		fclose(in);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!*out)
		return err_set(e, ERR_BENCH, "%s %s printed no list", program, argument);
	return 0;
}

int cli_catalogue(json_t **catalogue, struct err *e)
{
	return keeper_prints("--drivers", catalogue, e);
}

int cli_scan(json_t **found, struct err *e)
{
	return keeper_prints("--scan", found, e);
}

int cli_load(struct cli *cli, struct err *e)
{
	json_t *catalogue;
	int code = config_find(cli->config_arg, &cli->config_path, e);

	if (code == 0)
		code = cli_catalogue(&catalogue, e);
	if (code)
		return code;
	code = config_load(cli->config_path, catalogue, &cli->config, e);
	json_decref(catalogue);
	return code;
}

json_t *cli_board(struct cli *cli, const char *name, struct err *e)
{
	json_t *boards = json_object_get(cli->config, "boards");
	json_t *board = json_object_get(boards, name);
	const char *near;

	if (board)
		return board;
	near = nearest_key(name, boards);
	err_set(e, ERR_USAGE, "%s has no board '%s'%s%s%s", cli->config_path, name,
		near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	return NULL;
}

const char *cli_state_dir(const struct cli *cli)
{
	return json_string_value(json_object_get(cli->config, "state_dir"));
}

struct waited {
	bool done;
	struct err *e;
	int code;
	json_t *result;
};

static void call_done(void *arg, const struct err *e, json_t *result)
{
	struct waited *w = arg;

	w->done = true;
	if (e) {
		*w->e = *e;
		w->code = -(int)e->code;
	}
	w->result = json_incref(result);
}

int cli_call(struct cli *cli, struct rpc *rpc, const char *method, json_t *params,
	unsigned timeout_ms, json_t **result, struct err *e)
{
	struct waited w = {.e = e};

	rpc_request(rpc, method, params, timeout_ms, call_done, &w);
	while (!w.done)
		uv_run(&cli->loop, UV_RUN_ONCE);
	if (result && w.code == 0)
		*result = w.result;
	else
		json_decref(w.result);
	return w.code;
}

void cli_refuse_call(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct err e;

	(void)arg;
	(void)method;
	(void)params;
	if (call) {
		err_set(&e, ERR_USAGE, "the command line takes no calls");
		rpc_answer_err(call, &e);
	}
}

static const struct rpc_handlers ignore = {cli_refuse_call, NULL};

int cli_keeper_spawn(struct cli *cli, json_t *board, const char *what, long long ttl_ms,
	bool implicit, struct rpc **out, struct err *e)
{
	const char *name = json_string_value(json_object_get(board, "name"));
	char dir[PATH_MAX], log[PATH_MAX];
	int code = lock_board_dir(cli_state_dir(cli), name, true, dir, sizeof(dir), e);

	if (code)
		return code;
	if (snprintf(log, sizeof(log), "%s/keeper.log", dir) >= (int)sizeof(log))
		return err_set(e, ERR_IO, "%s: too long a path", dir);
	code = keeper_client_spawn(&cli->loop, log, &ignore, cli, out, NULL, e);
	if (code)
		return code;
	code = cli_call(cli, *out, "open",
		json_pack("{s:O, s:s, s:o, s:I, s:b, s:b}", "board", board, "log_dir", dir, "owner",
			keeper_client_owner(what), "ttl_ms", (json_int_t)ttl_ms, "hand", 1,
			"implicit", implicit),
		OPEN_MS, NULL, e);
	if (code) {
		rpc_destroy(*out);
		*out = NULL;
	}
	return code;
}

int cli_keeper(
	struct cli *cli, const char *board, const char *what, struct rpc **out, struct err *e)
{
	json_t *conf = cli_board(cli, board, e);

	if (!conf)
		return -(int)e->code;
	if (keeper_client_connect(&cli->loop, cli_state_dir(cli), board, &ignore, cli, out, e) == 0)
		return 0;
	return cli_keeper_spawn(cli, conf, what, IMPLICIT_LEASE_MS, true, out, e);
}

long long cli_duration_ms(const char *text)
{
	static const struct {
		const char *unit;
		long long ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (end == text || n <= 0 || n > 1000000000 || errno)
		return -1;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (strcmp(end, units[i].unit) == 0)
			return n * units[i].ms;
	return -1;
}

bool cli_number(const char *text, long long min, long long max, long long *out)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	return *text && !*end && errno == 0 && *out >= min && *out <= max;
}
