/*
 * timer: a trigger for boards that tell nothing of their flash: it counts time. An update is traced
 * as so many steps of step_ms from its start (the mark, or the first console line in which the
 * pattern start is found) to its end (when the trace is asked for, or the pattern end), and a cut
 * at N is one N steps after the start.
 *
 * It needs the console also without patterns: that is where it hears that the power is gone.
 * How long the same update takes differs from time to time, and a cut at a step falls elsewhere by
 * as much: the durations of traced updates are remembered in the board's folder, and told.
 */
#include "driver.h"

#include "../rig/console_port.h"
#include "../rig/file.h"
#include "../rig/pattern.h"
#include "trace_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define STEP_MS_MAX 60000
#define STEPS_MAX 1000000 /* of a trace */
#define DURATIONS_MAX 200 /* remembered, the newest */
#define DURATIONS_FILE_MAX ((size_t)1 << 16)
/* updates whose durations differ by less than a fifth are taken as the same one */
#define ALIKE 5

struct clock_trigger {
	struct device dev;
	struct driver_env env;
	struct console_listener lines;
	struct pattern *start, *end; /* NULL: from the mark; to the trace */
	char *start_text;
	uint64_t step_ns;
	uint64_t began_ns, ended_ns; /* 0: not yet */
	uint64_t armed;              /* the step to fire at; 0: not armed */
	uint64_t fired, fired_ns;    /* since the mark; 0: not */
	json_t *durations;           /* of traced updates in microseconds, the newest last */
	char path[4096];             /* where they are kept */
	struct trace_file *trace;
	int fd;
	uv_poll_t poll;
	bool polls;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	{"step_ms", OPTION_INTEGER, false, "10", "milliseconds of one step"},
	{"start", OPTION_STRING, false, NULL,
		"PCRE2: time counts from the first console line in which it is found; without it, "
		"from the mark"},
	{"end", OPTION_STRING, false, NULL,
		"PCRE2: the update is over at the first console line in which it is found; without "
		"it, when it is at rest"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct clock_trigger *clock_of(struct device *dev)
{
	return (struct clock_trigger *)dev;
}

/* --- time ------------------------------------------------------------------------------------- */

/* Nanoseconds from the start to the end, or till now. */
static uint64_t elapsed_ns(const struct clock_trigger *t)
{
	if (!t->began_ns)
		return 0;
	return (t->ended_ns ? t->ended_ns : uv_hrtime()) - t->began_ns;
}

static uint64_t steps(const struct clock_trigger *t)
{
	return elapsed_ns(t) / t->step_ns;
}

/* Has the kernel tell when the armed step is over, if it is known when that is. */
static void set_alarm(struct clock_trigger *t)
{
	struct itimerspec when = {{0, 0}, {0, 0}};

	if (t->armed && t->began_ns && !t->ended_ns) {
		uint64_t at = t->began_ns + t->armed * t->step_ns;

		when.it_value.tv_sec = (time_t)(at / 1000000000);
		when.it_value.tv_nsec = (long)(at % 1000000000);
	}
	/* uv_hrtime() is CLOCK_MONOTONIC; what is past already expires at once */
	if (t->fd >= 0)
		timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void alarm_came(uv_poll_t *poll, int status, int events)
{
	struct clock_trigger *t = poll->data;
	uint64_t expirations;

	(void)status;
	(void)events;
	/* one that was set anew meanwhile has not expired */
	if (read(t->fd, &expirations, sizeof(expirations)) != sizeof(expirations) || !t->armed)
		return;
	t->fired = t->armed;
	t->fired_ns = t->began_ns + t->armed * t->step_ns;
	t->armed = 0;
	t->env.event(t->env.arg, "trigger",
		json_pack("{s:I, s:s, s:I}", "op", (json_int_t)t->fired, "kind", "time", "t_ns",
			(json_int_t)t->fired_ns));
}

static bool matches(struct pattern *pattern, const char *line, size_t len)
{
	struct err e;

	/* one that backtracks beyond measure is not found */
	return pattern && pattern_match(pattern, line, len, 0, true, &e) > 0;
}

static void begin(struct clock_trigger *t, uint64_t t_ns)
{
	t->began_ns = t_ns;
	t->ended_ns = 0;
	set_alarm(t);
}

static void line_came(void *arg, const char *line, size_t len, uint64_t t_read_ns)
{
	struct clock_trigger *t = arg;

	if (!t->began_ns && line && matches(t->start, line, len))
		begin(t, t_read_ns);
	else if (t->began_ns && !t->ended_ns && (!line || matches(t->end, line, len))) {
		t->ended_ns = t_read_ns;
		set_alarm(t);
	}
}

/* --- what is remembered ----------------------------------------------------------------------- */

static void load_durations(struct clock_trigger *t)
{
	json_t *value;
	char *text;
	size_t len, i;
	struct err e;

	if (file_read(t->path, DURATIONS_FILE_MAX, &text, &len, &e) == 0) {
		json_decref(t->durations);
		t->durations = json_loadb(text, len, 0, NULL);
		free(text);
	}
	json_array_foreach (t->durations, i, value)
		if (!json_is_integer(value))
			json_array_clear(t->durations);
	if (!json_is_array(t->durations)) {
		json_decref(t->durations);
		t->durations = json_array();
	}
}

static void remember(struct clock_trigger *t, uint64_t duration_ns)
{
	char *text;
	struct err e;

	json_array_append_new(t->durations, json_integer((json_int_t)(duration_ns / 1000)));
	while (json_array_size(t->durations) > DURATIONS_MAX)
		json_array_remove(t->durations, 0);
	text = json_dumps(t->durations, JSON_COMPACT);
	if (!text || file_write(t->path, text, strlen(text), &e) != 0)
		t->env.event(t->env.arg, "note",
			json_pack("{s:s+}", "text", "how long the update took is not remembered: ",
				text ? e.msg : "out of memory"));
	free(text);
}

static int by_size(const void *a, const void *b)
{
	const json_int_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Of the updates that took about as long as the last one: {"traces", "min", "median", "max"}, or
 * null. */
static json_t *jitter(const struct clock_trigger *t)
{
	size_t n = json_array_size(t->durations), i, alike = 0;
	json_int_t last, list[DURATIONS_MAX];
	json_t *value;

	if (!n)
		return json_null();
	last = json_integer_value(json_array_get(t->durations, n - 1));
	json_array_foreach (t->durations, i, value) {
		json_int_t d = json_integer_value(value);

		if (alike < DURATIONS_MAX && (d > last ? d - last : last - d) <= last / ALIKE)
			list[alike++] = d;
	}
	qsort(list, alike, sizeof(*list), by_size);
	return json_pack("{s:I, s:I, s:I, s:I}", "traces", (json_int_t)alike, "min", list[0],
		"median", list[alike / 2], "max", list[alike - 1]);
}

/* --- operations ------------------------------------------------------------------------------- */

static void clock_mark(struct device *dev, struct op *op)
{
	struct clock_trigger *t = clock_of(dev);

	t->fired = 0;
	t->began_ns = 0;
	if (t->start)
		set_alarm(t); /* none, until the line comes */
	else
		begin(t, uv_hrtime());
	op_done(op, NULL);
}

static void clock_arm(struct device *dev, json_t *cut, struct op *op)
{
	struct clock_trigger *t = clock_of(dev);
	uint64_t at;
	struct err e;

	if (trigger_cut_at(cut, "timer", "step", steps(t), &at, &e) != 0) {
		op_fail(op, &e);
	} else if (at > STEPS_MAX) {
		op_failf(
			op, ERR_USAGE, "step %" PRIu64 ": an update has %d at most", at, STEPS_MAX);
	} else {
		t->armed = at;
		set_alarm(t);
		op_done(op, NULL);
	}
}

static void disarm(struct clock_trigger *t)
{
	t->armed = 0;
	set_alarm(t);
}

static void clock_disarm(struct device *dev, struct op *op)
{
	disarm(clock_of(dev));
	op_done(op, NULL);
}

static void clock_state(struct device *dev, struct op *op)
{
	struct clock_trigger *t = clock_of(dev);
	json_t *cut = json_null();

	if (t->fired)
		cut = json_pack("{s:I, s:s, s:I}", "op", (json_int_t)t->fired, "kind", "time",
			"t_ns", (json_int_t)t->fired_ns);
	op_done(op,
		json_pack("{s:I, s:n, s:o, s:I, s:o}", "operations", (json_int_t)steps(t), "power",
			"cut", cut, "step_ns", (json_int_t)t->step_ns, "jitter_us", jitter(t)));
}

/* Whether there is something to trace. */
static int check_trace(const struct clock_trigger *t, uint64_t count, struct err *e)
{
	if (!t->began_ns && t->start)
		return err_set(e, ERR_BENCH,
			"no console line since the mark has matched /%.100s/: choose a pattern "
			"that is found when an update starts (option start)",
			t->start_text);
	if (!count)
		return err_set(e, ERR_BENCH,
			"the update took %" PRIu64 " us, which is less than a step: a smaller "
			"step_ms, or another timer's start or end, is needed",
			elapsed_ns(t) / 1000);
	if (count > STEPS_MAX)
		return err_set(e, ERR_BENCH,
			"the update took %" PRIu64 " steps, and %d is the most: a larger step_ms "
			"is needed",
			count, STEPS_MAX);
	return 0;
}

static void clock_trace(struct device *dev, const char *path, uint64_t from, struct op *op)
{
	struct clock_trigger *t = clock_of(dev);
	uint64_t took_ns = elapsed_ns(t), count = took_ns / t->step_ns;
	char *text = NULL;
	size_t len = 0;
	struct err e;
	FILE *out;

	if (check_trace(t, count, &e) != 0) {
		op_fail(op, &e);
		return;
	}
	out = open_memstream(&text, &len);
	if (!out) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	for (uint64_t n = from ? from : 1; n <= count; n++)
		fprintf(out, "%" PRIu64 " time %" PRIu64 "\n", n, n * t->step_ns / 1000);
	if (fclose(out) != 0) {
		free(text);
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	/* of an update that was not cut, and told once */
	if (from <= 1 && !t->fired && !t->trace)
		remember(t, took_ns);
	trace_file_write(&t->trace, t->env.loop, path, text, len, count, op);
}

/* --- the driver ------------------------------------------------------------------------------- */

extern const struct driver driver_timer;

static int take_pattern(
	json_t *given, const char *name, struct pattern **pattern, char **text, struct err *e)
{
	const char *source = json_string_value(json_object_get(given, name));

	if (!source)
		return 0;
	if (pattern_compile(source, strlen(source), pattern, e) != 0) {
		err_prefix(e, "option %s", name);
		e->code = ERR_CONFIG;
		return -ERR_CONFIG;
	}
	if (text && !(*text = strdup(source)))
		return err_set(e, ERR_NOMEM, "out of memory");
	return 0;
}

static int take_options(struct clock_trigger *t, json_t *given, struct err *e)
{
	json_int_t step_ms = json_integer_value(json_object_get(given, "step_ms"));
	int code;

	if (step_ms < 1 || step_ms > STEP_MS_MAX)
		return err_set(e, ERR_CONFIG, "step_ms is 1 to %d", STEP_MS_MAX);
	t->step_ns = (uint64_t)step_ms * 1000000;
	if (snprintf(t->path, sizeof(t->path), "%s/timer.json",
		    t->env.board_dir ? t->env.board_dir : ".") >= (int)sizeof(t->path))
		return err_set(e, ERR_CONFIG, "%s: the path is too long", t->env.board_dir);
	code = take_pattern(given, "start", &t->start, &t->start_text, e);
	return code ? code : take_pattern(given, "end", &t->end, NULL, e);
}

static void free_clock(struct clock_trigger *t)
{
	pattern_free(t->start);
	pattern_free(t->end);
	free(t->start_text);
	json_decref(t->durations);
	free(t);
}

static struct device *clock_create(const struct driver_env *env, json_t *given, struct err *e)
{
	struct clock_trigger *t = calloc(1, sizeof(*t));

	if (!t) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	t->dev.driver = &driver_timer;
	t->env = *env;
	t->fd = -1;
	t->lines = (struct console_listener){line_came, t, NULL};
	t->durations = json_array();
	if (take_options(t, given, e) != 0) {
		free_clock(t);
		return NULL;
	}
	return &t->dev;
}

static void clock_open(struct device *dev, struct op *op)
{
	struct clock_trigger *t = clock_of(dev);

	t->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (t->fd < 0 || uv_poll_init(t->env.loop, &t->poll, t->fd) != 0) {
		op_failf(op, ERR_BENCH, "a timer of the kernel's: %s", strerror(errno));
		return;
	}
	t->poll.data = t;
	t->polls = true;
	uv_poll_start(&t->poll, UV_READABLE, alarm_came);
	load_durations(t);
	console_port_listen(t->env.console, &t->lines);
	op_done(op, NULL);
}

static void clock_check(struct device *dev, struct op *op)
{
	struct clock_trigger *t = clock_of(dev);
	json_t *says = json_array(), *of = jitter(t);
	long long traces = (long long)json_integer_value(json_object_get(of, "traces"));

	json_array_append_new(
		says, json_sprintf("a step is %" PRIu64 " ms; time counts from %s%s",
			      t->step_ns / 1000000, t->start ? "the line " : "the mark",
			      t->start ? t->start_text : ""));
	if (traces)
		json_array_append_new(says,
			json_sprintf("%lld update%s like the last took %lld to %lld us, the median "
				     "%lld: a cut falls so much earlier or later",
				traces, traces == 1 ? "" : "s",
				(long long)json_integer_value(json_object_get(of, "min")),
				(long long)json_integer_value(json_object_get(of, "max")),
				(long long)json_integer_value(json_object_get(of, "median"))));
	else
		json_array_append_new(
			says, json_string("no update was traced yet: its jitter is not known"));
	json_decref(of);
	op_done(op, json_pack("{s:o, s:[]}", "says", says, "mend"));
}

static void clock_make_safe(struct device *dev, struct op *op)
{
	disarm(clock_of(dev)); /* it does nothing else */
	op_done(op, NULL);
}

static void poll_closed(uv_handle_t *handle)
{
	struct clock_trigger *t = handle->data;
	void (*closed)(void *arg) = t->closed;
	void *closed_arg = t->closed_arg;

	close(t->fd);
	free_clock(t);
	closed(closed_arg);
}

static void clock_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct clock_trigger *t = clock_of(dev);

	console_port_unlisten(t->env.console, &t->lines);
	trace_file_abandon(&t->trace);
	t->closed = closed;
	t->closed_arg = arg;
	if (t->polls) {
		uv_close((uv_handle_t *)&t->poll, poll_closed);
		return;
	}
	if (t->fd >= 0)
		close(t->fd);
	free_clock(t);
	closed(arg);
}

static const struct trigger_ops trigger_ops = {
	clock_mark, clock_arm, clock_disarm, clock_state, clock_trace};

const struct driver driver_timer = {
	.name = "timer",
	.help = "fires so many steps of time after the start of the update",
	.options = options,
	.needs_console = true,
	.create = clock_create,
	.open = clock_open,
	.make_safe = clock_make_safe,
	.close = clock_close,
	.check = clock_check,
	.trigger = &trigger_ops,
};
