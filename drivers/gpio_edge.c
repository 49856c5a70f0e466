/*
 * gpio-edge: a trigger that counts the edges of a GPIO line, such as one that the DUT's flash
 * routine toggles, and fires at the N-th since the mark.
 *
 * The kernel stamps, numbers and keeps edges (drivers/gpio_lib.h), so that none is missed while the
 * loop is busy elsewhere, and a gap in the numbers tells of those that did not fit. What it cannot
 * tell is edges so close to each other that they were one interrupt; with edge = "both" these show
 * as two of the same direction in a row. Either way the count is wrong from then on, and everything
 * but a new mark is refused.
 */
#include "driver.h"

#include "gpio.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 64
#define BATCHES_MAX 64 /* in one go, so that a line that never rests does not hold up the loop */

struct edge_trigger {
	struct device dev;
	struct driver_env env;
	struct gpio_hold *hold;
	bool both;
	uint64_t count; /* since the mark */
	uint64_t mark_ns;
	uint32_t number;   /* the kernel's, of the last edge; 0: none yet */
	bool seen, rising; /* the last edge's direction, when one was seen */
	char trouble[256]; /* why the count is wrong; "": it is right */
	uint64_t armed;    /* the edge to fire at; 0: not armed */
	uint64_t fired;    /* the edge that it fired at since the mark; 0: none */
	uint64_t fired_ns;
	struct trace *trace; /* being written; NULL: none */
	void (*closed)(void *arg);
	void *closed_arg;
};

/* A trace on its way to its file, on a thread of its own. */
struct trace {
	uv_work_t work;
	struct edge_trigger *t; /* NULL: closed meanwhile */
	struct op *op;          /* NULL: given up */
	uint64_t from, count;
	struct err e;
	char path[];
};

static const struct driver_option options[] = {
	{"chip", OPTION_STRING, false, NULL, "the GPIO chip: its name, its label or a path"},
	{"line", OPTION_INTEGER, false, NULL, "the line's number on the chip"},
	{"line_name", OPTION_STRING, false, NULL, "instead: the line's name, on any chip"},
	{"active_low", OPTION_BOOLEAN, false, "false", "an edge to low is a rising one"},
	{"edge", OPTION_STRING, false, "rising", "which edges count: rising, falling or both"},
	{"bias", OPTION_STRING, false, "as-is", GPIO_BIAS_HELP},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct edge_trigger *edge_of(struct device *dev)
{
	return (struct edge_trigger *)dev;
}

/* --- counting --------------------------------------------------------------------------------- */

/* The count is wrong: what was to come of it does not come. */
static void in_trouble(struct edge_trigger *t, const char *why)
{
	if (t->trouble[0])
		return;
	snprintf(t->trouble, sizeof(t->trouble), "%s", why);
	if (!t->armed)
		return;
	t->armed = 0;
	t->env.event(t->env.arg, "note",
		json_pack("{s:s+}", "text", "the armed cut will not fire: ", t->trouble));
}

/* Whether edges are missing between the last one and this one. */
static void look_for_gap(struct edge_trigger *t, const struct gpio_edge *edge)
{
	uint32_t missing = edge->number - t->number - 1;
	char why[256];

	if (missing) {
		snprintf(why, sizeof(why),
			"%s: %" PRIu32 " edges were lost, they came faster than they could be read",
			gpio_where(t->hold, 0), missing);
		in_trouble(t, why);
	} else if (t->both && t->seen && edge->rising == t->rising) {
		snprintf(why, sizeof(why),
			"%s: two %s edges in a row: the one between them was too short for the "
			"kernel to tell",
			gpio_where(t->hold, 0), edge->rising ? "rising" : "falling");
		in_trouble(t, why);
	}
}

/* Counts one edge; true: it is the armed one. */
static bool count_edge(struct edge_trigger *t, const struct gpio_edge *edge)
{
	bool counts = edge->t_ns >= t->mark_ns;

	/* what is missing before an edge from before the mark matters to nobody */
	if (counts)
		look_for_gap(t, edge);
	t->number = edge->number;
	t->seen = true;
	t->rising = edge->rising;
	if (!counts)
		return false;
	t->count++;
	return t->count == t->armed;
}

static void fire(struct edge_trigger *t, uint64_t t_ns)
{
	t->fired = t->armed;
	t->fired_ns = t_ns;
	t->armed = 0;
	t->env.event(t->env.arg, "trigger",
		json_pack("{s:I, s:s, s:I}", "op", (json_int_t)t->fired, "kind", "edge", "t_ns",
			(json_int_t)t_ns));
}

/* Counts what came; 1: more may wait. All of a batch is counted before anybody hears of it. */
static int count_batch(struct edge_trigger *t, struct err *e)
{
	struct gpio_edge edges[BATCH];
	int n = gpio_edges(t->hold, 0, edges, BATCH, e);
	uint64_t fired_ns = 0;
	bool fires = false;

	for (int i = 0; i < n; i++) {
		if (!count_edge(t, &edges[i]))
			continue;
		fires = true;
		fired_ns = edges[i].t_ns;
	}
	if (fires && t->armed)
		fire(t, fired_ns);
	return n < 0 ? n : n == BATCH;
}

/* Counts every edge that has come till now. */
static int catch_up(struct edge_trigger *t, struct err *e)
{
	int more = 1;

	for (unsigned i = 0; more > 0 && i < BATCHES_MAX; i++)
		more = count_batch(t, e);
	if (more <= 0)
		return more;
	return err_set(e, ERR_BENCH,
		"%s: its edges come faster than they can be counted: is it connected?",
		gpio_where(t->hold, 0));
}

/* The same, and the count is right. */
static int counted(struct edge_trigger *t, struct err *e)
{
	int ret = catch_up(t, e);

	if (!ret && t->trouble[0])
		ret = err_set(e, ERR_BENCH, "%s", t->trouble);
	return ret;
}

static void edges_wait(void *arg, size_t line)
{
	struct err e;

	(void)line;
	count_batch(arg, &e); /* what fails here is told by lost */
}

static void lost(void *arg, const char *reason)
{
	struct edge_trigger *t = arg;

	in_trouble(t, reason);
	t->number = 0;
	t->seen = false;
	t->env.event(t->env.arg, "lost", json_pack("{s:s}", "reason", reason));
}

static void back(void *arg, const char *text)
{
	struct edge_trigger *t = arg;
	char said[256];

	snprintf(said, sizeof(said), "%s: edges count from the next mark on", text);
	t->env.event(t->env.arg, "back", json_pack("{s:s}", "text", said));
}

static const struct gpio_hold_events hold_events = {lost, back, edges_wait};

/* --- operations ------------------------------------------------------------------------------- */

static void edge_mark(struct device *dev, struct op *op)
{
	struct edge_trigger *t = edge_of(dev);
	struct err e;

	t->mark_ns = uv_hrtime();
	t->count = 0;
	t->fired = 0;
	t->trouble[0] = '\0';
	if (gpio_hold_ready(t->hold, &e) != 0 || catch_up(t, &e) != 0)
		op_fail(op, &e);
	else
		op_done(op, NULL);
}

/* The edge that cut asks for. */
static int read_cut(const struct edge_trigger *t, const json_t *cut, uint64_t *at, struct err *e)
{
	json_t *op = json_object_get(cut, "op");
	const char *tear = json_string_value(json_object_get(cut, "tear"));

	if (!json_is_integer(op) || json_integer_value(op) < 1)
		return err_set(e, ERR_UNSUPPORTED,
			"gpio-edge fires at an edge by its number (op, from 1 on), and at nothing "
			"else");
	if (tear && strcmp(tear, "clean") != 0)
		return err_set(e, ERR_UNSUPPORTED,
			"a %.20s cut is not for gpio-edge: it sees that an operation begins, and "
			"cannot end it in the middle; only clean cuts can be asked of it",
			tear);
	*at = (uint64_t)json_integer_value(op);
	if (*at <= t->count)
		return err_set(e, ERR_USAGE,
			"edge %" PRIu64 " is past already: %" PRIu64 " came since the mark", *at,
			t->count);
	return 0;
}

static void edge_arm(struct device *dev, json_t *cut, struct op *op)
{
	struct edge_trigger *t = edge_of(dev);
	struct err e;
	uint64_t at = 0;

	if (counted(t, &e) != 0 || read_cut(t, cut, &at, &e) != 0) {
		op_fail(op, &e);
		return;
	}
	t->armed = at;
	op_done(op, NULL);
}

static void edge_disarm(struct device *dev, struct op *op)
{
	edge_of(dev)->armed = 0;
	op_done(op, NULL);
}

static void edge_state(struct device *dev, struct op *op)
{
	struct edge_trigger *t = edge_of(dev);
	json_t *cut = NULL;
	struct err e;

	if (counted(t, &e) != 0) {
		op_fail(op, &e);
		return;
	}
	if (t->fired)
		cut = json_pack("{s:I, s:s, s:I}", "op", (json_int_t)t->fired, "kind", "edge",
			"t_ns", (json_int_t)t->fired_ns);
	/* it sees a line, and not whether there is power */
	op_done(op, json_pack("{s:I, s:n, s:o*}", "operations", (json_int_t)t->count, "power",
			    "cut", cut ? cut : json_null()));
}

/* --- the trace -------------------------------------------------------------------------------- */

static void write_trace(uv_work_t *work)
{
	struct trace *tr = work->data;
	FILE *f = fopen(tr->path, "we");
	bool bad = !f;

	for (uint64_t n = tr->from; !bad && n <= tr->count; n++)
		bad = fprintf(f, "%" PRIu64 " edge\n", n) < 0;
	if (f && fclose(f) != 0)
		bad = true;
	if (bad)
		err_errno(&tr->e, ERR_IO, errno, "%s", tr->path);
}

static void trace_written(uv_work_t *work, int status)
{
	struct trace *tr = work->data;
	struct op *op = tr->op;

	(void)status;
	if (tr->t)
		tr->t->trace = NULL;
	if (op) {
		op_on_cancel(op, NULL, NULL);
		if (tr->e.code != ERR_NONE)
			op_fail(op, &tr->e);
		else
			op_done(op, json_pack("{s:I}", "operations", (json_int_t)tr->count));
	}
	free(tr);
}

static void trace_given_up(struct op *op, void *arg)
{
	struct trace *tr = arg;

	(void)op;
	tr->op = NULL;
}

static void start_trace(struct edge_trigger *t, const char *path, uint64_t from, struct op *op)
{
	struct trace *tr = calloc(1, sizeof(*tr) + strlen(path) + 1);

	if (!tr) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	memcpy(tr->path, path, strlen(path) + 1);
	tr->t = t;
	tr->op = op;
	tr->from = from ? from : 1;
	tr->count = t->count;
	tr->e.code = ERR_NONE;
	tr->work.data = tr;
	t->trace = tr;
	op_on_cancel(op, trace_given_up, tr);
	uv_queue_work(t->env.loop, &tr->work, write_trace, trace_written);
}

static void edge_trace(struct device *dev, const char *path, uint64_t from, struct op *op)
{
	struct edge_trigger *t = edge_of(dev);
	struct err e;

	if (path[0] != '/')
		op_failf(op, ERR_USAGE, "trace: the path must be absolute, not \"%.200s\"", path);
	else if (t->trace)
		op_failf(op, ERR_BUSY, "a trace is being written already");
	else if (counted(t, &e) != 0)
		op_fail(op, &e);
	else
		start_trace(t, path, from, op);
}

/* --- the driver ------------------------------------------------------------------------------- */

static int read_options(
	struct edge_trigger *t, struct gpio_spec *spec, json_t *given, struct err *e)
{
	const char *edge = json_string_value(json_object_get(given, "edge"));
	int ret = gpio_spec_read(spec, given, "", e);

	if (ret < 0)
		return ret;
	if (ret == 0)
		return err_set(e, ERR_CONFIG, "line (with chip) or line_name is missing");
	if (edge && strcmp(edge, "rising") == 0)
		spec->use = GPIO_INPUT_RISING;
	else if (edge && strcmp(edge, "falling") == 0)
		spec->use = GPIO_INPUT_FALLING;
	else if (edge && strcmp(edge, "both") == 0)
		spec->use = GPIO_INPUT_BOTH;
	else
		return err_set(e, ERR_CONFIG,
			"edge is \"rising\", \"falling\" or \"both\", not \"%.40s\"",
			edge ? edge : "");
	t->both = spec->use == GPIO_INPUT_BOTH;
	return 0;
}

extern const struct driver driver_gpio_edge;

static struct device *edge_create(const struct driver_env *env, json_t *given, struct err *e)
{
	struct gpio_spec spec = {.use = GPIO_INPUT_RISING};
	struct edge_trigger *t = calloc(1, sizeof(*t));

	if (!t) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	t->dev.driver = &driver_gpio_edge;
	t->env = *env;
	if (read_options(t, &spec, given, e) != 0) {
		free(t);
		return NULL;
	}
	t->hold = gpio_hold_create(env, &spec, 1, &hold_events, t);
	if (!t->hold) {
		err_set(e, ERR_NOMEM, "out of memory");
		free(t);
		return NULL;
	}
	return &t->dev;
}

static void edge_open(struct device *dev, struct op *op)
{
	struct edge_trigger *t = edge_of(dev);
	struct err e;

	if (gpio_hold_open(t->hold, &e) != 0) {
		op_fail(op, &e);
		return;
	}
	t->mark_ns = uv_hrtime();
	op_done(op, NULL);
}

static void edge_check(struct device *dev, struct op *op)
{
	struct edge_trigger *t = edge_of(dev);
	json_t *says = json_array(), *mend = json_array();
	char text[256];
	struct err e;

	if (gpio_describe(t->hold, 0, text, sizeof(text), &e) != 0 || catch_up(t, &e) != 0) {
		op_fail(op, &e);
	} else {
		json_array_append_new(says, json_string(text));
		if (t->trouble[0])
			json_array_append_new(mend, json_string(t->trouble));
		else
			json_array_append_new(
				says, json_sprintf("%" JSON_INTEGER_FORMAT " edges since the mark",
					      (json_int_t)t->count));
		op_done(op, json_pack("{s:O, s:O}", "says", says, "mend", mend));
	}
	json_decref(says);
	json_decref(mend);
}

static void edge_make_safe(struct device *dev, struct op *op)
{
	edge_of(dev)->armed = 0; /* it only looks on: there is nothing else to it */
	op_done(op, NULL);
}

static void hold_closed(void *arg)
{
	struct edge_trigger *t = arg;
	void (*closed)(void *arg) = t->closed;
	void *closed_arg = t->closed_arg;

	free(t);
	closed(closed_arg);
}

static void edge_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct edge_trigger *t = edge_of(dev);
	struct trace *tr = t->trace;

	t->closed = closed;
	t->closed_arg = arg;
	if (tr) {
		struct op *op = tr->op;

		tr->t = NULL;
		tr->op = NULL;
		if (op) {
			op_on_cancel(op, NULL, NULL);
			op_failf(op, ERR_GONE, "the device was closed");
		}
	}
	gpio_hold_destroy(t->hold, hold_closed, t);
}

static const struct trigger_ops trigger_ops = {
	edge_mark, edge_arm, edge_disarm, edge_state, edge_trace};

const struct driver driver_gpio_edge = {
	.name = "gpio-edge",
	.help = "fires at the N-th edge of a GPIO line, by the kernel's time stamps",
	.options = options,
	.create = edge_create,
	.open = edge_open,
	.make_safe = edge_make_safe,
	.close = edge_close,
	.check = edge_check,
	.trigger = &trigger_ops,
};
