/*
 * rig-worker: one run. Its owner is connected at the descriptor given by --fd and calls "run";
 * others connect to worker.sock in the run's folder (docs/protocol.md).
 */
#include "err.h"
#include "rpc.h"
#include "run.h"

#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT_BYTES (32 << 20) /* of memory set free, for what comes next */

struct worker;

struct client {
	struct client *next;
	struct worker *worker;
	struct rpc *rpc;
};

struct worker {
	uv_loop_t loop;
	struct client owner;
	struct client *clients;
	struct run *run;
	uv_pipe_t listener;
	bool listening;
	char socket_path[PATH_MAX];
	uv_signal_t term, interrupt;
	int exit_status;
	bool ended, owner_gone;
};

static void on_request(void *arg, struct rpc_call *call, const char *method, json_t *params);
static void on_closed(void *arg, const struct err *why);

static const struct rpc_handlers handlers = {on_request, on_closed};

static void on_connection(uv_stream_t *listener, int status)
{
	struct worker *w = listener->data;
	struct client *client;
	uv_pipe_t *pipe;
	uv_os_fd_t fd;
	int copy;

	if (status != 0)
		return;
	pipe = malloc(sizeof(*pipe));
	client = calloc(1, sizeof(*client));
	if (!pipe || !client) {
		free(pipe);
		free(client);
		return;
	}
	uv_pipe_init(&w->loop, pipe, 0);
	if (uv_accept(listener, (uv_stream_t *)pipe) == 0 &&
		uv_fileno((uv_handle_t *)pipe, &fd) == 0 && (copy = dup(fd)) >= 0) {
		client->worker = w;
		client->rpc = rpc_create(&w->loop, copy, &handlers, client);
	}
	uv_close((uv_handle_t *)pipe, (uv_close_cb)free);
	if (!client->rpc) {
		free(client);
		return;
	}
	client->next = w->clients;
	w->clients = client;
}

static void listen_for_others(struct worker *w, const char *run_dir)
{
	struct err e;
	int fd;

	if (snprintf(w->socket_path, sizeof(w->socket_path), "%s/worker.sock", run_dir) >=
		(int)sizeof(w->socket_path))
		return;
	fd = rpc_listen_unix(w->socket_path, 0600, &e);
	if (fd < 0) {
		fprintf(stderr, "rig-worker: %s\n", e.msg);
		return;
	}
	uv_pipe_init(&w->loop, &w->listener, 0);
	w->listener.data = w;
	w->listening = true;
	if (uv_pipe_open(&w->listener, fd) != 0 ||
		uv_listen((uv_stream_t *)&w->listener, 16, on_connection) != 0)
		fprintf(stderr, "rig-worker: cannot listen at %s\n", w->socket_path);
}

static void call_run(struct client *client, struct rpc_call *call, json_t *params)
{
	struct worker *w = client->worker;
	json_t *job = json_object_get(params, "job");
	const char *run_dir = json_string_value(json_object_get(job, "run_dir"));
	struct err e;

	if (client != &w->owner || !call || !json_is_object(job) || (client->rpc && w->listening)) {
		err_set(&e, ERR_USAGE, "run: for the worker's owner, once, with a job");
		if (call)
			rpc_answer_err(call, &e);
		return;
	}
	if (run_dir && !json_is_true(json_object_get(job, "plan_only")))
		listen_for_others(w, run_dir);
	run_follow(w->run, client->rpc, 1);
	run_start(w->run, job, call);
}

static void call_cancel(struct client *client, struct rpc_call *call, json_t *params)
{
	const char *reason = json_string_value(json_object_get(params, "reason"));
	const char *text = json_string_value(json_object_get(params, "text"));

	if (call)
		rpc_answer(call, NULL);
	run_cancel(client->worker->run,
		reason && strcmp(reason, "interrupted") == 0 ? "interrupted" : "cancelled",
		text ? text : "cancelled by rig cancel");
}

static void call_follow(struct client *client, struct rpc_call *call, json_t *params)
{
	if (call)
		rpc_answer(call, NULL);
	run_unfollow(client->worker->run, client->rpc);
	run_follow(client->worker->run, client->rpc,
		json_integer_value(json_object_get(params, "from")));
}

static const struct {
	const char *name;
	void (*call)(struct client *client, struct rpc_call *call, json_t *params);
} methods[] = {
	{"cancel", call_cancel},
	{"follow", call_follow},
	{"run", call_run},
};

static void on_request(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct client *client = arg;
	struct err e;

	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
		if (strcmp(methods[i].name, method) == 0) {
			methods[i].call(client, call, params);
			return;
		}
	err_set(&e, ERR_USAGE, "a worker has no method %s", method);
	if (call)
		rpc_answer_err(call, &e);
}

static void close_all(struct worker *w)
{
	struct client *client;

	uv_close((uv_handle_t *)&w->term, NULL);
	uv_close((uv_handle_t *)&w->interrupt, NULL);
	if (w->listening) {
		uv_close((uv_handle_t *)&w->listener, NULL);
		unlink(w->socket_path);
	}
	while ((client = w->clients)) {
		w->clients = client->next;
		rpc_destroy(client->rpc);
		free(client);
	}
	rpc_destroy(w->owner.rpc);
	w->owner.rpc = NULL;
	run_destroy(w->run);
}

static void run_ended(void *arg, int exit_status)
{
	struct worker *w = arg;

	w->exit_status = exit_status;
	w->ended = true;
	uv_stop(&w->loop);
}

static void on_closed(void *arg, const struct err *why)
{
	struct client *client = arg;
	struct worker *w = client->worker;

	(void)why;
	run_unfollow(w->run, client->rpc);
	if (client == &w->owner) {
		w->owner_gone = true;
		run_cancel(
			w->run, "interrupted", "the command line that started the run went away");
		return;
	}
	for (struct client **at = &w->clients; *at; at = &(*at)->next)
		if (*at == client) {
			*at = client->next;
			rpc_destroy(client->rpc);
			free(client);
			return;
		}
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct worker *w = handle->data;

	run_cancel(w->run, "interrupted",
		signum == SIGINT ? "the worker got SIGINT" : "the worker got SIGTERM");
}

/* rig/lua_host.h. Nothing can be put in order from here: the keepers see that we are gone. */
static void script_is_stuck(int signum)
{
	static const char text[] = "rig-worker: the scenario is stuck in a call of a library "
				   "function, and cannot be stopped: giving up\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)signum;
	(void)n;
	_exit(3);
}

int main(int argc, char **argv)
{
	struct worker w = {.exit_status = 3};
	char *end = NULL;
	long fd = argc == 3 && strcmp(argv[1], "--fd") == 0 ? strtol(argv[2], &end, 10) : -1;

	if (fd < 0 || !end || *end) {
		fprintf(stderr, "rig-worker is started by rig: rig-worker --fd N\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGVTALRM, script_is_stuck);
	/* every trial takes whole flashes into memory: fresh pages for them cost more than the work
	 */
	mallopt(M_MMAP_THRESHOLD, KEPT_BYTES);
	mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
	uv_loop_init(&w.loop);
	w.run = run_create(&w.loop, run_ended, &w);
	w.owner.worker = &w;
	w.owner.rpc = rpc_create(&w.loop, (int)fd, &handlers, &w.owner);
	if (!w.run || !w.owner.rpc) {
		fprintf(stderr, "rig-worker: descriptor %ld is no connection\n", fd);
		return 2;
	}
	uv_signal_init(&w.loop, &w.term);
	uv_signal_init(&w.loop, &w.interrupt);
	w.term.data = w.interrupt.data = &w;
	uv_signal_start(&w.term, on_signal, SIGTERM);
	uv_signal_start(&w.interrupt, on_signal, SIGINT);
	if (!w.ended)
		uv_run(&w.loop, UV_RUN_DEFAULT);
	rpc_notify(w.owner.rpc, "ended",
		json_pack("{s:i, s:s}", "exit_status", w.exit_status, "text", run_text(w.run)));
	/* an owner that reads slowly gets all of it; the boards are safe by now */
	while (!w.owner_gone && rpc_backlog_bytes(w.owner.rpc))
		uv_run(&w.loop, UV_RUN_ONCE);
	close_all(&w);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	uv_loop_close(&w.loop);
	return w.exit_status;
}
