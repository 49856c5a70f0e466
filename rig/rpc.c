#include "rpc.h"

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct waiting {
	struct waiting *next;
	struct rpc *rpc;
	json_int_t id;
	unsigned timeout_ms;
	char *method;
	rpc_reply_fn *reply;
	void *arg;
	uv_timer_t timer;
	bool timed;
};

struct rpc_call {
	struct rpc_call *next, **prev;
	struct rpc *rpc; /* NULL once the connection is destroyed */
	json_t *id;
};

struct rpc {
	uv_pipe_t pipe;
	struct rpc_handlers handlers;
	void *arg;
	char *in;
	size_t in_len, in_size, in_scanned;
	json_int_t next_id;
	struct waiting *waiting;
	struct rpc_call *calls;
	bool closed;    /* no more input or output */
	bool destroyed; /* freed when the pipe's close callback runs */
	bool reading;   /* inside the read callback: free later */
};

struct write_req {
	uv_write_t req;
	char data[];
};

static void pipe_closed(uv_handle_t *handle)
{
	struct rpc *rpc = handle->data;

	free(rpc->in);
	free(rpc);
}

static void waiting_free(uv_handle_t *handle)
{
	struct waiting *w = handle->data;

	free(w->method);
	free(w);
}

static void waiting_finish(struct waiting *w, const struct err *e, json_t *result)
{
	w->reply(w->arg, e, result);
	if (w->timed) {
		uv_close((uv_handle_t *)&w->timer, waiting_free);
		return;
	}
	free(w->method);
	free(w);
}

static struct waiting *waiting_take(struct rpc *rpc, json_int_t id)
{
	for (struct waiting **at = &rpc->waiting; *at; at = &(*at)->next) {
		struct waiting *w = *at;

		if (w->id == id) {
			*at = w->next;
			return w;
		}
	}
	return NULL;
}

static void fail_waiting(struct rpc *rpc, const struct err *why)
{
	struct waiting *w;

	while ((w = rpc->waiting)) {
		struct err e = {.code = ERR_GONE};

		rpc->waiting = w->next;
		err_set(&e, ERR_GONE, "%s: %s", w->method, why->msg);
		waiting_finish(w, &e, NULL);
	}
}

static void connection_lost(struct rpc *rpc, const struct err *why)
{
	if (rpc->closed)
		return;
	rpc->closed = true;
	uv_read_stop((uv_stream_t *)&rpc->pipe);
	fail_waiting(rpc, why);
	if (!rpc->destroyed && rpc->handlers.closed)
		rpc->handlers.closed(rpc->arg, why);
}

static void written(uv_write_t *req, int status)
{
	struct write_req *w = req->data;
	struct rpc *rpc = req->handle->data;
	struct err e;

	free(w);
	/* a peer that only shut its receiving side down gives no end of file */
	if (status < 0 && status != UV_ECANCELED) {
		err_set(&e, ERR_GONE, "connection: %s", uv_strerror(status));
		connection_lost(rpc, &e);
	}
}

/* Sends a line; len counts its line end. Copies what the socket does not take at once. */
static bool send_line(struct rpc *rpc, const char *line, size_t len)
{
	struct write_req *w;
	uv_buf_t buf;
	int n = 0;

	if (rpc->closed)
		return false;
	if (rpc->pipe.write_queue_size == 0) {
		buf = uv_buf_init((char *)(uintptr_t)line, (unsigned)len);
		n = uv_try_write((uv_stream_t *)&rpc->pipe, &buf, 1);
		if (n == (int)len)
			return true;
		if (n < 0)
			n = 0; /* full, or broken: then the queued write says so, from the loop */
	}
	w = malloc(sizeof(*w) + len - (size_t)n);
	if (!w)
		return false;
	memcpy(w->data, line + n, len - (size_t)n);
	w->req.data = w;
	buf = uv_buf_init(w->data, (unsigned)(len - (size_t)n));
	if (uv_write(&w->req, (uv_stream_t *)&rpc->pipe, &buf, 1, written) == 0)
		return true;
	free(w);
	return false;
}

/* Steals message. False: it could not be made, and will not go out. */
static bool send_message(struct rpc *rpc, json_t *message)
{
	char *text;
	size_t len;
	bool sent;

	if (!message)
		return false;
	json_object_set_new(message, "jsonrpc", json_string("2.0"));
	text = rpc->closed ? NULL : json_dumps(message, JSON_COMPACT);
	json_decref(message);
	if (!text)
		return false;
	len = strlen(text);
	text[len++] = '\n'; /* in place of the terminator */
	sent = send_line(rpc, text, len);
	free(text);
	return sent;
}

static json_t *error_object(const struct err *e)
{
	char text[4 * sizeof(e->msg) + 1];

	/* a message may carry anything, or end in half a character: it must go out all the same */
	text_escape(text, sizeof(text), e->msg, strnlen(e->msg, sizeof(e->msg)), TEXT_LINE);
	return json_pack("{s:i, s:s, s:{s:s}}", "code", -32000 - (int)e->code, "message", text,
		"data", "name", err_name(e->code));
}

static void send_rejection(struct rpc *rpc, json_t *id, int code, const char *text)
{
	send_message(rpc, json_pack("{s:O?, s:{s:i, s:s}}", "id", id ? id : json_null(), "error",
				  "code", code, "message", text));
}

static void take_reply(struct rpc *rpc, json_t *id, json_t *message)
{
	struct waiting *w = waiting_take(rpc, json_integer_value(id));
	json_t *error = json_object_get(message, "error");
	enum err_code code;
	struct err e;

	if (!w)
		return; /* its deadline passed: too late to matter */
	if (!error || json_is_null(error)) {
		waiting_finish(w, NULL, json_object_get(message, "result"));
		return;
	}
	code = err_code_of(
		json_string_value(json_object_get(json_object_get(error, "data"), "name")));
	err_set(&e, code == ERR_NONE ? ERR_PROTOCOL : code, "%s",
		json_is_string(json_object_get(error, "message"))
			? json_string_value(json_object_get(error, "message"))
			: "an error without a message");
	waiting_finish(w, &e, NULL);
}

static void take_request(struct rpc *rpc, json_t *id, const char *method, json_t *message)
{
	json_t *params = json_object_get(message, "params");
	struct rpc_call *call = NULL;

	if (params && !json_is_object(params)) {
		send_rejection(rpc, id, -32602, "params must be an object");
		return;
	}
	if (id) {
		call = calloc(1, sizeof(*call));
		if (!call) {
			send_rejection(rpc, id, -32603, "out of memory");
			return;
		}
		call->rpc = rpc;
		call->id = json_incref(id);
		call->next = rpc->calls;
		call->prev = &rpc->calls;
		if (call->next)
			call->next->prev = &call->next;
		rpc->calls = call;
	}
	rpc->handlers.request(rpc->arg, call, method, params);
}

static void take_line(struct rpc *rpc, const char *line, size_t len)
{
	json_error_t bad;
	json_t *message = json_loadb(line, len, JSON_REJECT_DUPLICATES, &bad);
	json_t *id = json_object_get(message, "id"), *method = json_object_get(message, "method");

	if (!message) {
		send_rejection(rpc, NULL, -32700, "not JSON");
	} else if (!json_is_object(message)) {
		send_rejection(rpc, NULL, -32600, "a message is an object; batches are not taken");
	} else if (json_is_string(method)) {
		take_request(rpc, id, json_string_value(method), message);
	} else if (id &&
		   (json_object_get(message, "result") || json_object_get(message, "error"))) {
		take_reply(rpc, id, message);
	} else {
		send_rejection(rpc, id, -32600, "neither a request nor a reply");
	}
	json_decref(message);
}

static void line_too_long(struct rpc *rpc)
{
	struct err e;

	err_set(&e, ERR_PROTOCOL, "the peer sent a line of over %zu bytes", RPC_LINE_MAX);
	connection_lost(rpc, &e);
}

static void take_input(struct rpc *rpc)
{
	size_t start = 0;
	char *nl;

	while (!rpc->closed &&
		(nl = memchr(rpc->in + rpc->in_scanned, '\n', rpc->in_len - rpc->in_scanned))) {
		size_t end = (size_t)(nl - rpc->in);

		rpc->in_scanned = end + 1;
		if (end - start > RPC_LINE_MAX)
			line_too_long(rpc);
		else if (end > start)
			take_line(rpc, rpc->in + start, end - start);
		start = end + 1;
	}
	memmove(rpc->in, rpc->in + start, rpc->in_len - start);
	rpc->in_len -= start;
	rpc->in_scanned = rpc->in_len;
}

static void alloc_in(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct rpc *rpc = handle->data;
	size_t want = rpc->in_len + 65536;

	(void)suggested;
	if (rpc->in_size < want) {
		char *grown = realloc(rpc->in, want * 2);

		if (!grown) {
			*buf = uv_buf_init(NULL, 0);
			return;
		}
		rpc->in = grown;
		rpc->in_size = want * 2;
	}
	*buf = uv_buf_init(rpc->in + rpc->in_len, (unsigned)(rpc->in_size - rpc->in_len));
}

static void got_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct rpc *rpc = stream->data;
	struct err e;

	(void)buf;
	if (n == 0)
		return;
	rpc->reading = true;
	if (n < 0) {
		if (n == UV_EOF)
			err_set(&e, ERR_GONE, "the peer closed the connection");
		else
			err_set(&e, ERR_GONE, "connection: %s", uv_strerror((int)n));
		connection_lost(rpc, &e);
	} else {
		rpc->in_len += (size_t)n;
		take_input(rpc);
		if (!rpc->closed && rpc->in_len > RPC_LINE_MAX)
			line_too_long(rpc);
	}
	rpc->reading = false;
	if (rpc->destroyed)
		uv_close((uv_handle_t *)&rpc->pipe, pipe_closed);
}

/* libuv writes without MSG_NOSIGNAL; a peer that went away must not end this process. */
static void ignore_sigpipe(void)
{
	struct sigaction now;

	if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

struct rpc *rpc_create(uv_loop_t *loop, int fd, const struct rpc_handlers *handlers, void *arg)
{
	struct rpc *rpc = calloc(1, sizeof(*rpc));
	int type = 0;
	socklen_t size = sizeof(type);

	/* on what is no socket libuv would abort later, within the loop */
	if (!rpc || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
		free(rpc);
		close(fd);
		return NULL;
	}
	ignore_sigpipe();
	uv_pipe_init(loop, &rpc->pipe, 0);
	rpc->pipe.data = rpc;
	rpc->handlers = *handlers;
	rpc->arg = arg;
	rpc->next_id = 1;
	if (uv_pipe_open(&rpc->pipe, fd) != 0) {
		close(fd);
		uv_close((uv_handle_t *)&rpc->pipe, pipe_closed);
		return NULL;
	}
	if (uv_read_start((uv_stream_t *)&rpc->pipe, alloc_in, got_input) != 0) {
		uv_close((uv_handle_t *)&rpc->pipe, pipe_closed);
		return NULL;
	}
	return rpc;
}

void rpc_destroy(struct rpc *rpc)
{
	struct err e;

	if (!rpc || rpc->destroyed)
		return;
	rpc->destroyed = true;
	err_set(&e, ERR_GONE, "the connection was closed here");
	connection_lost(rpc, &e);
	fail_waiting(rpc, &e); /* those left when called by one of them, as they fail */
	for (struct rpc_call *call = rpc->calls; call; call = call->next)
		call->rpc = NULL;
	if (!rpc->reading)
		uv_close((uv_handle_t *)&rpc->pipe, pipe_closed);
}

static void request_timed_out(uv_timer_t *timer)
{
	struct waiting *w = timer->data;
	struct err e;

	waiting_take(w->rpc, w->id);
	err_set(&e, ERR_TIMEOUT, "%s: no answer within %u ms", w->method, w->timeout_ms);
	waiting_finish(w, &e, NULL);
}

/* Writes text before what there is. */
static char *before(char *at, const char *text, size_t len)
{
	return len ? memcpy(at - len, text, len) : at;
}

#define BEFORE(at, text) before(at, text, sizeof(text) - 1)

/*
 * Sends a request, or with id 0 a notification. Without JSON's machinery, and printf's, because a
 * cut waits for it.
 */
static bool send_call(struct rpc *rpc, json_int_t id, const char *method, const char *params)
{
	size_t method_len = strlen(method), params_len = params ? strlen(params) : 0;
	char small[256], *line = small, *at;
	size_t size = method_len + params_len + 80;
	bool sent;

	if (size > sizeof(small))
		line = malloc(size);
	if (!line)
		return false;
	at = BEFORE(line + size, "}\n");
	at = before(at, params, params_len);
	at = params ? BEFORE(at, "\",\"params\":") : BEFORE(at, "\"");
	at = before(at, method, method_len);
	at = BEFORE(at, ",\"method\":\"");
	for (json_int_t n = id; n; n /= 10)
		*--at = (char)('0' + n % 10);
	at = id ? BEFORE(at, ",\"id\":") : at;
	at = BEFORE(at, "{\"jsonrpc\":\"2.0\"");
	sent = send_line(rpc, at, (size_t)(line + size - at));
	if (line != small)
		free(line);
	return sent;
}

void rpc_request_text(struct rpc *rpc, const char *method, const char *params, unsigned timeout_ms,
	rpc_reply_fn *reply, void *arg)
{
	struct waiting *w;
	json_int_t id = rpc->next_id++;
	bool sent = send_call(rpc, id, method, params); /* first: what follows can wait */
	struct err e;

	w = sent ? calloc(1, sizeof(*w)) : NULL;
	if (w)
		w->method = strdup(method);
	if (!w || !w->method) {
		if (rpc->closed)
			err_set(&e, ERR_GONE, "%s: the connection is closed", method);
		else
			err_set(&e, ERR_NOMEM, "%s: out of memory", method);
		free(w);
		reply(arg, &e, NULL);
		return;
	}
	w->rpc = rpc;
	w->id = id;
	w->reply = reply;
	w->arg = arg;
	w->timeout_ms = timeout_ms;
	w->next = rpc->waiting;
	rpc->waiting = w;
	if (!timeout_ms)
		return;
	w->timed = true;
	uv_timer_init(rpc->pipe.loop, &w->timer);
	w->timer.data = w;
	uv_update_time(rpc->pipe.loop); /* which may have been busy for long */
	uv_timer_start(&w->timer, request_timed_out, timeout_ms, 0);
}

void rpc_request(struct rpc *rpc, const char *method, json_t *params, unsigned timeout_ms,
	rpc_reply_fn *reply, void *arg)
{
	char *text = params ? json_dumps(params, JSON_COMPACT) : NULL;
	struct err e;

	if (params && !text) {
		err_set(&e, ERR_NOMEM, "%s: the request could not be made", method);
		reply(arg, &e, NULL);
	} else {
		rpc_request_text(rpc, method, text, timeout_ms, reply, arg);
	}
	free(text);
	json_decref(params);
}

void rpc_notify_text(struct rpc *rpc, const char *method, const char *params)
{
	send_call(rpc, 0, method, params);
}

void rpc_notify(struct rpc *rpc, const char *method, json_t *params)
{
	char *text = params ? json_dumps(params, JSON_COMPACT) : NULL;

	if (text || !params)
		rpc_notify_text(rpc, method, text);
	free(text);
	json_decref(params);
}

static void call_free(struct rpc_call *call)
{
	if (call->rpc) {
		*call->prev = call->next;
		if (call->next)
			call->next->prev = call->prev;
	}
	json_decref(call->id);
	free(call);
}

void rpc_answer(struct rpc_call *call, json_t *result)
{
	if (call->rpc)
		send_message(call->rpc, json_pack("{s:O, s:o}", "id", call->id, "result",
						result ? result : json_null()));
	else
		json_decref(result);
	call_free(call);
}

void rpc_answer_err(struct rpc_call *call, const struct err *e)
{
	if (call->rpc)
		send_message(call->rpc,
			json_pack("{s:O, s:o}", "id", call->id, "error", error_object(e)));
	call_free(call);
}

void rpc_answer_op(void *call, const struct err *e, json_t *result)
{
	if (e)
		rpc_answer_err(call, e);
	else
		rpc_answer(call, json_incref(result));
}

size_t rpc_backlog_bytes(const struct rpc *rpc)
{
	return rpc->pipe.write_queue_size;
}

int rpc_fd(const struct rpc *rpc)
{
	uv_os_fd_t fd = -1;

	return uv_fileno((const uv_handle_t *)&rpc->pipe, &fd) == 0 ? fd : -1;
}

/*
 * Fills *addr for path. sun_path holds 108 bytes; a longer path goes through /proc/self/fd of its
 * folder, whose descriptor is returned in *folder and must be closed after bind or connect.
 */
static int unix_address(const char *path, struct sockaddr_un *addr, int *folder, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[4096];
	int n;

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	*folder = -1;
	if (strlen(path) < sizeof(addr->sun_path)) {
		memcpy(addr->sun_path, path, strlen(path) + 1);
		return 0;
	}
	if (!slash || (size_t)(slash - path) >= sizeof(dir))
		return err_set(e, ERR_IO, "%s: too long for a socket's path", path);
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	*folder = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*folder < 0)
		return err_errno(e, ERR_IO, errno, "%s", dir);
	n = snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d%s", *folder, slash);
	if (n < 0 || (size_t)n >= sizeof(addr->sun_path)) {
		close(*folder);
		return err_set(e, ERR_IO, "%s: too long a name for a socket", slash + 1);
	}
	return 0;
}

/* A connected descriptor, or -1 with the reason in errno. Never waits. */
static int try_connect(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), reason;

	if (fd < 0 || connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0)
		return fd;
	reason = errno;
	close(fd);
	errno = reason;
	return -1;
}

int rpc_connect_unix(const char *path, struct err *e)
{
	struct sockaddr_un addr;
	int folder, fd, code;

	code = unix_address(path, &addr, &folder, e);
	if (code)
		return code;
	fd = try_connect(&addr);
	if (fd < 0) /* EAGAIN: so many wait there already that no more are taken */
		code = err_errno(
			e, errno == EAGAIN ? ERR_BUSY : ERR_GONE, errno, "connect to %s", path);
	if (folder >= 0)
		close(folder);
	return code ? code : fd;
}

/* Makes place for a new socket at path: removes the one of a listener that is gone, no other. */
static int remove_stale(const char *path, const struct sockaddr_un *addr, struct err *e)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) != 0)
		return errno == ENOENT ? 0 : err_errno(e, ERR_IO, errno, "%s", path);
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, ERR_IO, "%s: there is something that is no socket", path);
	fd = try_connect(addr);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || errno == EAGAIN)
		return err_set(e, ERR_BUSY, "%s: somebody listens there already", path);
	if (errno != ECONNREFUSED && errno != ENOENT)
		return err_errno(e, ERR_IO, errno, "%s", path);
	if (unlink(path) != 0 && errno != ENOENT)
		return err_errno(e, ERR_IO, errno, "%s", path);
	return 0;
}

static int listen_at(const char *path, const struct sockaddr_un *addr, unsigned mode, struct err *e)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), code;

	if (fd < 0)
		return err_errno(e, ERR_IO, errno, "socket");
	/* fchmod before bind gives the file no more than its mode from the start */
	if (fchmod(fd, mode) == 0 && bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 &&
		chmod(path, mode) == 0 && listen(fd, 64) == 0)
		return fd;
	code = err_errno(e, ERR_IO, errno, "listen at %s", path);
	close(fd);
	return code;
}

int rpc_listen_unix(const char *path, unsigned mode, struct err *e)
{
	struct sockaddr_un addr;
	int folder, code;

	code = unix_address(path, &addr, &folder, e);
	if (code)
		return code;
	code = remove_stale(path, &addr, e);
	if (!code)
		code = listen_at(path, &addr, mode, e);
	if (folder >= 0)
		close(folder);
	return code;
}
