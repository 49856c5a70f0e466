/*
 * virtual: a virtual board (fixtures/vboard), over its sockets in <board_dir>/vboard/.
 *
 * Each instance has a control connection of its own (docs/protocol.md "Virtual board control"); the
 * console's has the UART's socket too. Whoever finds nobody listening starts the board's process,
 * which then lives on by itself: it ends when it is off and nobody has been connected for a while.
 */
#include "driver.h"

#include "../rig/rpc.h"
#include "../rig/spawn.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY_MS 10
#define REPLACE_MAX 500 /* five seconds of retries: it is ending */
#define POWER_ON "{\"on\":true}"
#define POWER_OFF "{\"on\":false}"
#define DISARM "{\"op\":null}"
#define EXIT_BUSY 4 /* vboard's status when another one has the folder */

struct virtual;

/* Something asked of the board; its answer completes op. */
struct asked {
	struct virtual *v;
	struct op *op;     /* NULL: given up */
	bool gone_will_do; /* no process is as good as the answer */
	/* Makes the result of the answer, or NULL with *e set. */
	json_t *(*result)(json_t *answer, struct err *e);
};

/* Bytes on their way to the UART. */
struct sending {
	uv_write_t req; /* first: the request is this */
	struct op *op;  /* NULL: given up */
	char data[];
};

struct virtual
{
	struct device dev;
	struct driver_env env;
	char *program, *soc, *pace;
	json_int_t seed, linger_ms;
	char dir[PATH_MAX];
	struct rpc *control;
	struct spawned *child; /* the board's process, while it is starting */
	bool child_ended;
	int64_t child_status;
	struct op *opening;
	uv_timer_t retry;
	uv_pipe_t uart;
	bool uart_open;
	char in[16384];
	char lost[256];
	bool closing;
	unsigned replaced; /* times that another board's process was sent away */
	unsigned handles;  /* that are still to be closed */
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	{"soc", OPTION_STRING, false, "nrf52840", "the SoC to be"},
	{"program", OPTION_STRING, false, "vboard",
		"the virtual board's program: a path, or a name looked up beside rig and on PATH"},
	{"seed", OPTION_INTEGER, false, "1", "what RAM holds at power-on comes from it"},
	{"linger_ms", OPTION_INTEGER, false, "30000",
		"milliseconds after which an unused board's process ends"},
	{"pace", OPTION_STRING, false, "free",
		"free: as fast as it can; real: in device time (power's option counts)"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct virtual *virtual_of(struct device *dev)
{
	return (struct virtual *)dev;
}

static bool is(const struct virtual *v, const char *capability)
{
	return strcmp(v->env.capability, capability) == 0;
}

/* --- asking ----------------------------------------------------------------------------------- */

static void lose(struct virtual *v, const char *why)
{
	if (v->lost[0] || v->closing)
		return;
	snprintf(v->lost, sizeof(v->lost), "the virtual board's process is gone: %s", why);
	if (!v->opening)
		v->env.event(v->env.arg, "lost", json_pack("{s:s}", "reason", v->lost));
}

static void answered(void *arg, const struct err *e, json_t *answer)
{
	struct asked *a = arg;
	struct op *op = a->op;
	struct err gone;
	json_t *result = NULL;

	/* before the operation is done: what is asked next is asked of a process that is gone */
	if (e && e->code == ERR_GONE)
		lose(a->v, e->msg);
	if (op) {
		op_on_cancel(op, NULL, NULL);
		if (e && e->code == ERR_GONE && a->gone_will_do) {
			e = NULL;
			answer = NULL;
		} else if (e && e->code == ERR_GONE && !a->v->closing) {
			err_set(&gone, ERR_BENCH, "the virtual board's process is gone");
			e = &gone;
		}
		if (!e) {
			gone.code = ERR_NONE;
			result = answer && a->result ? a->result(answer, &gone) : NULL;
			e = gone.code == ERR_NONE ? NULL : &gone;
		}
		if (e)
			op_fail(op, e);
		else
			op_done(op, result);
	}
	free(a);
}

static void give_up(struct op *op, void *arg)
{
	struct asked *a = arg;

	(void)op;
	a->op = NULL;
}

/* params is JSON text, or NULL. */
static void ask_text(struct virtual *v, const char *method, const char *params, struct op *op,
	bool gone_will_do, json_t *(*result)(json_t *answer, struct err *e))
{
	struct asked *a = v->control && !v->lost[0] ? calloc(1, sizeof(*a)) : NULL;

	if (!a) {
		op_failf(op, ERR_BENCH, "%s",
			v->lost[0] ? v->lost : "the virtual board is not open");
		return;
	}
	*a = (struct asked){v, op, gone_will_do, result};
	op_on_cancel(op, give_up, a);
	/* the operation's deadline is the core's */
	rpc_request_text(v->control, method, params, 0, answered, a);
}

/* Steals params. result may be NULL: the operation has none. */
static void ask(struct virtual *v, const char *method, json_t *params, struct op *op,
	json_t *(*result)(json_t *answer, struct err *e))
{
	char *text = json_dumps(params, JSON_COMPACT);

	if (text)
		ask_text(v, method, text, op, false, result);
	else
		op_failf(op, ERR_NOMEM, "out of memory");
	free(text);
	json_decref(params);
}

static json_t *whole_answer(json_t *answer, struct err *e)
{
	(void)e;
	return json_incref(answer);
}

/* --- the control connection ------------------------------------------------------------------- */

static void control_request(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct virtual *v = arg;
	struct err e;

	if (call) {
		err_set(&e, ERR_UNSUPPORTED, "a driver takes no calls");
		rpc_answer_err(call, &e);
		return;
	}
	if (strcmp(method, "cut") != 0 || !is(v, "trigger") || !params)
		return;
	params = json_copy(params);
	json_object_set_new(params, "cut", json_true()); /* the power is gone already */
	v->env.event(v->env.arg, "trigger", params);
}

static void control_closed(void *arg, const struct err *why)
{
	lose(arg, why->msg);
}

static int connect_control(struct virtual *v, struct err *e)
{
	static const struct rpc_handlers handlers = {
		.request = control_request,
		.closed = control_closed,
	};
	char path[PATH_MAX + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/control.sock", v->dir);
	fd = rpc_connect_unix(path, e);
	if (fd < 0)
		return fd;
	rpc_destroy(v->control);
	v->control = rpc_create(v->env.loop, fd, &handlers, v);
	return v->control ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

/* Whether the board's process answers, if need be over a new connection. */
static bool reach(struct virtual *v)
{
	struct err e;

	if (v->control && !v->lost[0])
		return true;
	if (connect_control(v, &e) != 0)
		return false;
	v->lost[0] = '\0';
	return true;
}

/* --- the UART --------------------------------------------------------------------------------- */

static void uart_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct virtual *v = handle->data;

	(void)suggested;
	*buf = uv_buf_init(v->in, sizeof(v->in));
}

static void uart_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct virtual *v = stream->data;

	if (n > 0)
		v->env.console_in(v->env.arg, buf->base, (size_t)n);
	if (n >= 0)
		return;
	uv_read_stop(stream);
	lose(v, "its UART closed");
}

static int connect_uart(struct virtual *v, struct err *e)
{
	char path[PATH_MAX + 16];
	int fd, n;

	snprintf(path, sizeof(path), "%s/uart.sock", v->dir);
	fd = rpc_connect_unix(path, e);
	if (fd < 0)
		return fd;
	n = uv_pipe_open(&v->uart, fd);
	if (n != 0) {
		close(fd);
		return err_set(e, ERR_BENCH, "%s: %s", path, uv_strerror(n));
	}
	v->uart_open = true;
	uv_read_start((uv_stream_t *)&v->uart, uart_buffer, uart_read);
	return 0;
}

static void sent(uv_write_t *req, int status)
{
	struct sending *s = (struct sending *)req;

	if (s->op) {
		op_on_cancel(s->op, NULL, NULL);
		if (status == UV_ECANCELED)
			op_failf(s->op, ERR_GONE, "the console was closed");
		else if (status < 0)
			op_failf(s->op, ERR_BENCH, "UART: %s", uv_strerror(status));
		else
			op_done(s->op, NULL);
	}
	free(s);
}

static void send_given_up(struct op *op, void *arg)
{
	struct sending *s = arg;

	(void)op;
	s->op = NULL;
}

static void console_write(struct device *dev, const char *data, size_t len, struct op *op)
{
	struct virtual *v = virtual_of(dev);
	struct sending *s;
	uv_buf_t buf;
	int n;

	if (!v->uart_open || v->lost[0] || v->closing) {
		op_failf(op, ERR_BENCH, "%s", v->lost[0] ? v->lost : "the UART is not open");
		return;
	}
	s = malloc(sizeof(*s) + len);
	if (!s) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	memcpy(s->data, data, len);
	s->op = op;
	buf = uv_buf_init(s->data, (unsigned)len);
	n = uv_write(&s->req, (uv_stream_t *)&v->uart, &buf, 1, sent);
	if (n < 0) {
		free(s);
		op_failf(op, ERR_BENCH, "UART: %s", uv_strerror(n));
		return;
	}
	op_on_cancel(op, send_given_up, s);
}

static void console_drain(struct device *dev)
{
	struct virtual *v = virtual_of(dev);
	char data[16384];
	uv_os_fd_t fd;
	ssize_t n;

	if (!v->uart_open || uv_fileno((uv_handle_t *)&v->uart, &fd) != 0)
		return;
	/* the loop's own read finds nothing afterwards, or the end of file: that stays there */
	while ((n = read(fd, data, sizeof(data))) > 0)
		v->env.console_in(v->env.arg, data, (size_t)n);
}

/* --- opening ---------------------------------------------------------------------------------- */

static void opened(struct virtual *v, const struct err *e)
{
	struct op *op = v->opening;

	v->opening = NULL;
	uv_timer_stop(&v->retry);
	op_on_cancel(op, NULL, NULL);
	if (e)
		op_fail(op, e);
	else
		op_done(op, NULL);
}

static void attempt(uv_timer_t *timer);

/* A process that was started as another board ends at our word, if it is off; then one of ours is
 * started. */
static void taken(void *arg, const struct err *e, json_t *answer)
{
	struct virtual *v = arg;

	(void)answer;
	if (!v->opening)
		return;
	if (e && e->code == ERR_GONE && v->replaced++ < REPLACE_MAX)
		uv_timer_start(&v->retry, attempt, RETRY_MS, 0);
	else
		opened(v, e);
}

/* Connected: the first instance of a board sees to it that the process is the one it asks for. */
static void connected(struct virtual *v)
{
	v->lost[0] = '\0';
	if (is(v, "power"))
		rpc_request(v->control, "take",
			json_pack(
				"{s:s, s:I, s:s}", "soc", v->soc, "seed", v->seed, "pace", v->pace),
			0, taken, v);
	else
		opened(v, NULL);
}

static void child_exited(void *arg, int64_t status, int signal)
{
	struct virtual *v = arg;

	v->child_ended = true;
	v->child_status = signal ? -signal : status;
}

/* What the process printed last: why it ended. */
static void last_words(const struct virtual *v, char *buf, size_t size)
{
	char path[PATH_MAX + 16], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/vboard.err", v->dir);
	f = fopen(path, "re");
	snprintf(buf, size, "see vboard.err in its folder");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0])
			snprintf(buf, size, "%s", line);
	}
	if (f)
		fclose(f);
}

static int start_process(struct virtual *v, struct err *e)
{
	char program[PATH_MAX], seed[32], linger[32], errors[PATH_MAX + 16];
	const char *const args[] = {
		"--dir", v->dir, "--soc", v->soc, "--seed", seed, "--linger-ms", linger, NULL};
	struct spawn_spec spec = {
		.program = program,
		.args = args,
		.fd = -1,
		.log_path = errors,
		.own_session = true,
		.exited = child_exited,
		.arg = v,
	};
	int code = 0;

	if (strchr(v->program, '/'))
		snprintf(program, sizeof(program), "%s", v->program);
	else
		code = program_path(v->program, program, sizeof(program), e);
	if (!code && mkdir(v->dir, 0755) != 0 && errno != EEXIST)
		code = err_errno(e, ERR_IO, errno, "%s", v->dir);
	if (code)
		return code;
	snprintf(seed, sizeof(seed), "%lld", (long long)v->seed);
	snprintf(linger, sizeof(linger), "%lld", (long long)v->linger_ms);
	snprintf(errors, sizeof(errors), "%s/vboard.err", v->dir);
	unlink(errors);
	spawn_destroy(v->child);
	v->child = NULL;
	v->child_ended = false;
	return spawn_start(v->env.loop, &spec, &v->child, e);
}

/* Connects, or starts the process and comes back until it listens. */
static void attempt(uv_timer_t *timer)
{
	struct virtual *v = timer->data;
	char words[512];
	struct err e;
	int code;

	if (connect_control(v, &e) == 0) {
		code = is(v, "console") ? connect_uart(v, &e) : 0;
		if (code)
			opened(v, &e);
		else
			connected(v);
		return;
	}
	if (v->child && v->child_ended && v->child_status != EXIT_BUSY) {
		last_words(v, words, sizeof(words));
		err_set(&e, ERR_BENCH, "%s ended with status %lld before it was ready: %s",
			v->program, (long long)v->child_status, words);
		opened(v, &e);
		return;
	}
	/* one that lost the race for the folder is started again, should the winner have gone */
	if ((!v->child || v->child_ended) && start_process(v, &e) != 0) {
		opened(v, &e);
		return;
	}
	uv_timer_start(&v->retry, attempt, RETRY_MS, 0);
}

static void open_cancelled(struct op *op, void *arg)
{
	struct virtual *v = arg;

	(void)op;
	v->opening = NULL;
	uv_timer_stop(&v->retry);
}

static void virtual_open(struct device *dev, struct op *op)
{
	struct virtual *v = virtual_of(dev);

	v->opening = op;
	op_on_cancel(op, open_cancelled, v);
	attempt(&v->retry);
}

static char *option_string(const json_t *given, const char *name)
{
	const char *value = json_string_value(json_object_get(given, name));

	return value ? strdup(value) : NULL;
}

extern const struct driver driver_virtual;

static void free_strings(struct virtual *v)
{
	free(v->program);
	free(v->soc);
	free(v->pace);
	free(v);
}

static struct device *virtual_create(const struct driver_env *env, json_t *given, struct err *e)
{
	struct virtual *v = calloc(1, sizeof(*v));

	if (!v) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	v->dev.driver = &driver_virtual;
	v->env = *env;
	v->program = option_string(given, "program");
	v->soc = option_string(given, "soc");
	v->pace = option_string(given, "pace");
	v->seed = json_integer_value(json_object_get(given, "seed"));
	v->linger_ms = json_integer_value(json_object_get(given, "linger_ms"));
	snprintf(v->dir, sizeof(v->dir), "%s/vboard", env->board_dir);
	if (!v->program || !v->soc || !v->pace)
		err_set(e, ERR_CONFIG, "program, soc or pace is missing");
	else if (strcmp(v->pace, "free") != 0 && strcmp(v->pace, "real") != 0)
		err_set(e, ERR_CONFIG, "pace is \"free\" or \"real\", not \"%.40s\"", v->pace);
	else if (v->seed < 0 || v->linger_ms < 0 || v->linger_ms > INT_MAX)
		err_set(e, ERR_CONFIG, "seed and linger_ms are not negative, nor beyond measure");
	else if (strlen(v->dir) > PATH_MAX - 32)
		err_set(e, ERR_CONFIG, "%s: the path is too long", env->board_dir);
	else
		e = NULL;
	if (e) {
		free_strings(v);
		return NULL;
	}
	uv_timer_init(env->loop, &v->retry);
	uv_pipe_init(env->loop, &v->uart, 0);
	v->retry.data = v->uart.data = v;
	return &v->dev;
}

/* --- safe, close ------------------------------------------------------------------------------ */

static json_t *is_off(json_t *answer, struct err *e)
{
	if (!json_is_false(json_object_get(answer, "on")))
		err_set(e, ERR_BENCH, "set off: read-back says on");
	return NULL;
}

static void virtual_make_safe(struct device *dev, struct op *op)
{
	struct virtual *v = virtual_of(dev);

	/* where there is no process there is no power, and the next one starts without */
	if (is(v, "power") && reach(v))
		ask_text(v, "power", POWER_OFF, op, true, is_off);
	else if (is(v, "trigger") && reach(v))
		ask_text(v, "cut", DISARM, op, true, NULL);
	else
		op_done(op, NULL);
}

static void handle_closed(uv_handle_t *handle)
{
	struct virtual *v = handle->data;
	void (*done)(void *) = v->closed;
	void *arg = v->closed_arg;

	if (--v->handles)
		return;
	free_strings(v);
	done(arg);
}

static void virtual_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct virtual *v = virtual_of(dev);
	struct err e;

	v->closing = true;
	v->closed = closed;
	v->closed_arg = arg;
	if (v->opening) {
		err_set(&e, ERR_GONE, "the device was closed");
		opened(v, &e);
	}
	rpc_destroy(v->control);
	spawn_destroy(v->child);
	v->handles = 2;
	uv_close((uv_handle_t *)&v->retry, handle_closed);
	uv_close((uv_handle_t *)&v->uart, handle_closed);
}

/* --- power ------------------------------------------------------------------------------------ */

static json_t *went_on(json_t *answer, struct err *e)
{
	if (!json_is_true(json_object_get(answer, "on"))) {
		err_set(e, ERR_BENCH, "set on: read-back says off");
		return NULL;
	}
	return json_pack("{s:s}", "verified", "read-back");
}

static bool is_drained(const json_t *answer)
{
	return json_is_true(json_object_get(answer, "drained"));
}

static json_t *went_off(json_t *answer, struct err *e)
{
	is_off(answer, e);
	return e->code == ERR_NONE ? json_pack("{s:s, s:b}", "verified", "read-back", "drained",
					     is_drained(answer))
				   : NULL;
}

static void power_set(struct device *dev, bool on, struct op *op)
{
	/* switching off is what a cut waits for: its text is ready */
	ask_text(virtual_of(dev), "power", on ? POWER_ON : POWER_OFF, op, false,
		on ? went_on : went_off);
}

static json_t *power_state(json_t *answer, struct err *e)
{
	json_t *power = json_object_get(answer, "power");

	if (json_is_boolean(power))
		return json_pack("{s:O}", "on", power);
	err_set(e, ERR_BENCH, "the virtual board does not say whether it is on");
	return NULL;
}

static void power_get(struct device *dev, struct op *op)
{
	struct virtual *v = virtual_of(dev);

	if (reach(v))
		ask_text(v, "state", NULL, op, false, power_state);
	else
		op_done(op, json_pack("{s:b}", "on", 0)); /* no process, no power */
}

/* --- trigger ---------------------------------------------------------------------------------- */

static void trigger_mark(struct device *dev, struct op *op)
{
	ask_text(virtual_of(dev), "mark", NULL, op, false, whole_answer);
}

static void trigger_arm(struct device *dev, json_t *cut, struct op *op)
{
	ask(virtual_of(dev), "cut", json_copy(cut), op, NULL);
}

static void trigger_disarm(struct device *dev, struct op *op)
{
	ask_text(virtual_of(dev), "cut", DISARM, op, false, NULL);
}

static void trigger_state(struct device *dev, struct op *op)
{
	ask_text(virtual_of(dev), "state", NULL, op, false, whole_answer);
}

static void trigger_trace(struct device *dev, const char *path, uint64_t from, struct op *op)
{
	if (path[0] != '/')
		op_failf(op, ERR_USAGE, "trace: the path must be absolute, not \"%.200s\"", path);
	else
		ask(virtual_of(dev), "trace",
			json_pack("{s:s, s:I}", "path", path, "from", (json_int_t)from), op,
			whole_answer);
}

/* --- snapshot --------------------------------------------------------------------------------- */

static void snapshot_save(struct device *dev, const char *name, struct op *op)
{
	ask(virtual_of(dev), "snapshot", json_pack("{s:s}", "name", name), op, NULL);
}

static void snapshot_restore(struct device *dev, const char *name, struct op *op)
{
	ask(virtual_of(dev), "restore", json_pack("{s:s}", "name", name), op, NULL);
}

static const struct power_ops power_ops = {power_set, power_get};
static const struct console_ops console_ops = {console_write, console_drain};
static const struct trigger_ops trigger_ops = {
	trigger_mark, trigger_arm, trigger_disarm, trigger_state, trigger_trace};
static const struct snapshot_ops snapshot_ops = {snapshot_save, snapshot_restore};

const struct driver driver_virtual = {
	.name = "virtual",
	.help = "a virtual board: its power, console, flash trigger and snapshots",
	.options = options,
	.create = virtual_create,
	.open = virtual_open,
	.make_safe = virtual_make_safe,
	.close = virtual_close,
	.power = &power_ops,
	.console = &console_ops,
	.trigger = &trigger_ops,
	.snapshot = &snapshot_ops,
};
