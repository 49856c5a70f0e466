/*
 * console-pattern: a trigger that counts the console's lines that match a pattern, such as the
 * lines in which an updater tells its progress, and fires at the N-th since the mark.
 *
 * It fires from within the call that brings the line. What the DUT says between that and the power
 * being gone is counted on: the count then says how far the cut fell behind.
 */
#include "driver.h"

#include "../rig/console.h"
#include "../rig/pattern.h"
#include "../rig/text.h"
#include "trace_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX ((size_t)16 << 20) /* bytes kept for the trace: an update says less */

struct pattern_trigger {
	struct device dev;
	struct driver_env env;
	struct console_listener lines;
	struct pattern *pattern;
	char *source;      /* the pattern's text */
	uint64_t count;    /* since the mark */
	char *text;        /* those lines, each ended */
	size_t len, room;  /* bytes */
	uint64_t armed;    /* the line to fire at; 0: not armed */
	json_t *fired;     /* where it fired since the mark; NULL: nowhere */
	char trouble[256]; /* why the count is wrong; "": it is right */
	struct trace_file *trace;
};

static const struct driver_option options[] = {
	{"pattern", OPTION_STRING, true, NULL,
		"PCRE2: each whole console line in which it is found is an operation"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct pattern_trigger *pattern_of(struct device *dev)
{
	return (struct pattern_trigger *)dev;
}

/* --- counting --------------------------------------------------------------------------------- */

/* The count is wrong: what was to come of it does not come. */
static void in_trouble(struct pattern_trigger *t, const char *why)
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

static void keep(struct pattern_trigger *t, const char *line)
{
	size_t len = strlen(line);

	if (t->room - t->len < len + 2) {
		size_t room = t->room ? 2 * t->room : 65536;
		char *grown = room <= TEXT_MAX ? realloc(t->text, room) : NULL;

		if (!grown) {
			in_trouble(t, "the lines since the mark are more than can be kept: does "
				      "the pattern match what is no progress of an update?");
			return;
		}
		t->text = grown;
		t->room = room;
	}
	memcpy(t->text + t->len, line, len);
	t->len += len;
	t->text[t->len++] = '\n';
}

static void fire(struct pattern_trigger *t, const char *line, uint64_t t_ns)
{
	t->armed = 0;
	json_decref(t->fired);
	t->fired = json_pack(
		"{s:I, s:s, s:s}", "op", (json_int_t)t->count, "kind", "line", "line", line);
	if (t->fired) {
		json_t *fields = json_copy(t->fired);

		json_object_set_new(fields, "t_ns", json_integer((json_int_t)t_ns));
		t->env.event(t->env.arg, "trigger", fields);
	}
}

static void line_came(void *arg, const char *line, size_t len, uint64_t t_read_ns)
{
	struct pattern_trigger *t = arg;
	char text[4 * CONSOLE_LINE_MAX + 1];
	struct err e;
	int found = line ? pattern_match(t->pattern, line, len, 0, true, &e) : 0;

	if (found < 0)
		in_trouble(t, e.msg);
	if (found <= 0)
		return;
	t->count++;
	text_escape(text, sizeof(text), line, len, TEXT_LINE);
	if (t->count == t->armed)
		fire(t, text, t_read_ns);
	keep(t, text);
}

/* --- operations ------------------------------------------------------------------------------- */

static void pattern_mark(struct device *dev, struct op *op)
{
	struct pattern_trigger *t = pattern_of(dev);

	t->count = 0;
	t->len = 0;
	t->trouble[0] = '\0';
	json_decref(t->fired);
	t->fired = NULL;
	op_done(op, NULL);
}

static void pattern_arm(struct device *dev, json_t *cut, struct op *op)
{
	struct pattern_trigger *t = pattern_of(dev);
	uint64_t at;
	struct err e;

	if (trigger_cut_at(cut, "console-pattern", "line", t->count, &at, &e) != 0) {
		op_fail(op, &e);
	} else if (t->trouble[0]) {
		op_failf(op, ERR_BENCH, "%s", t->trouble);
	} else {
		t->armed = at;
		op_done(op, NULL);
	}
}

static void pattern_disarm(struct device *dev, struct op *op)
{
	pattern_of(dev)->armed = 0;
	op_done(op, NULL);
}

static void pattern_state(struct device *dev, struct op *op)
{
	struct pattern_trigger *t = pattern_of(dev);

	if (t->trouble[0])
		op_failf(op, ERR_BENCH, "%s", t->trouble);
	else /* it reads lines, and does not see whether there is power */
		op_done(op, json_pack("{s:I, s:n, s:O?}", "operations", (json_int_t)t->count,
				    "power", "cut", t->fired));
}

static void pattern_trace(struct device *dev, const char *path, uint64_t from, struct op *op)
{
	struct pattern_trigger *t = pattern_of(dev);
	const char *line = t->text, *end;
	char *text = NULL;
	size_t len = 0;
	FILE *out;

	if (t->trouble[0]) {
		op_failf(op, ERR_BENCH, "%s", t->trouble);
		return;
	}
	if (!t->count) {
		op_failf(op, ERR_BENCH,
			"no console line since the mark has matched /%.100s/: choose a pattern "
			"that is found in what the update says (option pattern)",
			t->source);
		return;
	}
	out = open_memstream(&text, &len);
	if (!out) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	for (uint64_t n = 1; n <= t->count; n++, line = end + 1) {
		end = memchr(line, '\n', t->len - (size_t)(line - t->text));
		if (n >= from)
			fprintf(out, "%" PRIu64 " line %.*s\n", n, (int)(end - line), line);
	}
	if (fclose(out) != 0) {
		free(text);
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	trace_file_write(&t->trace, t->env.loop, path, text, len, t->count, op);
}

/* --- the driver ------------------------------------------------------------------------------- */

extern const struct driver driver_console_pattern;

static struct device *pattern_create(const struct driver_env *env, json_t *given, struct err *e)
{
	const char *source = json_string_value(json_object_get(given, "pattern"));
	struct pattern_trigger *t = calloc(1, sizeof(*t));

	if (!t || !source || !(t->source = strdup(source))) {
		err_set(e, source ? ERR_NOMEM : ERR_CONFIG,
			source ? "out of memory" : "option pattern is missing");
		free(t);
		return NULL;
	}
	if (pattern_compile(source, strlen(source), &t->pattern, e) != 0) {
		err_prefix(e, "option pattern");
		e->code = ERR_CONFIG;
		free(t->source);
		free(t);
		return NULL;
	}
	t->dev.driver = &driver_console_pattern;
	t->env = *env;
	t->lines = (struct console_listener){line_came, t, NULL};
	return &t->dev;
}

static void pattern_open(struct device *dev, struct op *op)
{
	struct pattern_trigger *t = pattern_of(dev);

	console_port_listen(t->env.console, &t->lines);
	op_done(op, NULL);
}

static void pattern_check(struct device *dev, struct op *op)
{
	struct pattern_trigger *t = pattern_of(dev);
	json_t *says = json_array(), *mend = json_array();

	json_array_append_new(says,
		json_sprintf("%" JSON_INTEGER_FORMAT " console lines match /%.100s/ since the mark",
			(json_int_t)t->count, t->source));
	if (t->trouble[0])
		json_array_append_new(mend, json_string(t->trouble));
	op_done(op, json_pack("{s:o, s:o}", "says", says, "mend", mend));
}

static void pattern_make_safe(struct device *dev, struct op *op)
{
	pattern_of(dev)->armed = 0; /* it only listens: there is nothing else to it */
	op_done(op, NULL);
}

static void pattern_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct pattern_trigger *t = pattern_of(dev);

	console_port_unlisten(t->env.console, &t->lines);
	trace_file_abandon(&t->trace);
	pattern_free(t->pattern);
	json_decref(t->fired);
	free(t->source);
	free(t->text);
	free(t);
	closed(arg);
}

static const struct trigger_ops trigger_ops = {
	pattern_mark, pattern_arm, pattern_disarm, pattern_state, pattern_trace};

const struct driver driver_console_pattern = {
	.name = "console-pattern",
	.help = "fires at the N-th console line that matches a pattern",
	.options = options,
	.needs_console = true,
	.create = pattern_create,
	.open = pattern_open,
	.make_safe = pattern_make_safe,
	.close = pattern_close,
	.check = pattern_check,
	.trigger = &trigger_ops,
};
