#include "console.h"

#include "console_port_priv.h"
#include "op.h"
#include "pattern.h"
#include "ring.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define EXPLAIN_LINES 5

/* Somebody who looks for a pattern: an expectation, or the cut engine. */
struct watch {
	struct pattern *pattern;
	uint64_t line; /* where the line looked at begins */
	uint64_t from; /* where matches may begin: in that line */
};

struct expectation {
	struct expectation *next, **prev;
	struct watch watch;
	struct op *op;
	json_t *result; /* set when satisfied */
	struct err failed;
};

struct console {
	struct console_conf conf;
	struct console_port port;
	struct ring ring;
	uint64_t floor;  /* nothing before it satisfies anybody */
	uint64_t epoch;  /* the last power-on */
	uint64_t line;   /* where the incomplete line begins */
	uint64_t t_line; /* when its first byte was read */
	uint64_t shown;  /* what follow() got */
	bool powered, following;
	struct expectation *expectations;
	struct watch cut;
	unsigned cut_left; /* lines that have to match until it fires */
	void (*cut_fired)(void *arg, const char *line, size_t len, uint64_t t_read_ns);
	void *cut_arg;
	FILE *log;
	char trouble[256];
	char gap[300]; /* of this epoch; empty: none */
	char text[4 * 65536 + 1];
};

/* --- lines ------------------------------------------------------------------------------------ */

struct line {
	const char *text;
	size_t len;    /* without its line end */
	uint64_t next; /* where the one after it begins */
	bool complete;
};

/* The line that begins at a position. */
static struct line line_at(const struct console *c, uint64_t begin)
{
	const char *text = ring_at(&c->ring, begin);
	uint64_t left = c->ring.total - begin;
	size_t len = left < CONSOLE_LINE_MAX ? (size_t)left : CONSOLE_LINE_MAX;
	const char *nl = memchr(text, '\n', len);
	struct line line = {text, len, begin + len, len == CONSOLE_LINE_MAX};

	if (nl) {
		line.len = (size_t)(nl - text);
		line.next = begin + line.len + 1;
		line.complete = true;
	}
	if (line.len && text[line.len - 1] == '\r')
		line.len--;
	return line;
}

/* Where the line that holds the byte at a position begins, not before first. */
static uint64_t line_begin(const struct console *c, uint64_t position, uint64_t first)
{
	uint64_t left = position - first;
	size_t len = left < CONSOLE_LINE_MAX ? (size_t)left : CONSOLE_LINE_MAX;
	const char *text = ring_at(&c->ring, position - len);
	const char *nl = memrchr(text, '\n', len);

	return nl ? position - len + (uint64_t)(nl - text) + 1 : position - len;
}

/* --- the log ---------------------------------------------------------------------------------- */

static void log_text(struct console *c, uint64_t t_ns, const char *text, size_t len)
{
	if (!c->log)
		return;
	fprintf(c->log, "[%6" PRIu64 ".%06" PRIu64 "] ", t_ns / 1000000000, t_ns / 1000 % 1000000);
	fwrite(text, 1, len, c->log);
	fputc('\n', c->log);
}

static void log_line(struct console *c, const struct line *line)
{
	size_t len = text_escape(c->text, sizeof(c->text), line->text, line->len, TEXT_LINE);

	log_text(c, c->t_line, c->text, len);
}

static void log_flush(struct console *c)
{
	if (!c->log || (fflush(c->log) == 0 && !ferror(c->log)))
		return;
	if (!c->trouble[0])
		snprintf(c->trouble, sizeof(c->trouble), "%.200s: %s", c->conf.log_path,
			strerror(errno));
	clearerr(c->log);
}

/* Completes the line there is, for the log and for all who look at it. */
static void end_line(struct console *c)
{
	while (c->line < c->ring.total) {
		struct line rest = line_at(c, c->line);

		log_line(c, &rest);
		c->line = rest.next;
	}
}

static void log_mark(struct console *c, const char *what)
{
	char mark[400];
	int n = snprintf(mark, sizeof(mark), "--- %s ---", what);

	end_line(c);
	log_text(c, uv_hrtime(), mark, (size_t)n);
	log_flush(c);
}

/* --- matching --------------------------------------------------------------------------------- */

/*
 * Looks on where the watch stopped. Returns 1 when its pattern is found: in *found, from
 * watch->line on; 0 when not yet; an error of the pattern.
 */
static int watch_scan(const struct console *c, struct watch *w, struct line *found, struct err *e)
{
	uint64_t first = c->floor > ring_oldest(&c->ring) ? c->floor : ring_oldest(&c->ring);

	if (w->line < first)
		w->line = first;
	if (w->from < w->line)
		w->from = w->line;
	while (w->line < c->ring.total) {
		struct line line = line_at(c, w->line);
		size_t start = (size_t)(w->from - w->line);
		int n = 0;

		if (start <= line.len && (line.len || line.complete))
			n = pattern_match(w->pattern, line.text, line.len, start, line.complete, e);
		if (n) {
			*found = line;
			return n;
		}
		if (!line.complete)
			return 0;
		w->line = w->from = line.next;
	}
	return 0;
}

static json_t *text_json(struct console *c, const char *text, size_t len)
{
	size_t n = text_escape(c->text, sizeof(c->text), text, len, TEXT_LINE);

	return json_stringn(c->text, n);
}

static json_t *make_result(struct console *c, const struct watch *w, const struct line *line)
{
	json_t *groups = json_array();
	size_t begin, end;

	for (size_t n = 1; n < pattern_groups(w->pattern); n++)
		json_array_append_new(
			groups, pattern_group(w->pattern, n, &begin, &end)
					? text_json(c, line->text + begin, end - begin)
					: json_null());
	pattern_group(w->pattern, 0, &begin, &end);
	return json_pack("{s:o, s:o, s:o, s:I}", "text",
		text_json(c, line->text + begin, end - begin), "groups", groups, "line",
		text_json(c, line->text, line->len), "next", (json_int_t)w->line + (json_int_t)end);
}

/* --- expectations ----------------------------------------------------------------------------- */

static void unlink_expectation(struct expectation *x)
{
	*x->prev = x->next;
	if (x->next)
		x->next->prev = x->prev;
}

static void link_expectation(struct expectation *x, struct expectation **list)
{
	x->next = *list;
	x->prev = list;
	if (x->next)
		x->next->prev = &x->next;
	*list = x;
}

static void free_expectation(struct expectation *x)
{
	pattern_free(x->watch.pattern);
	json_decref(x->result);
	free(x);
}

static void expectation_cancelled(struct op *op, void *arg)
{
	struct expectation *x = arg;

	(void)op;
	unlink_expectation(x);
	free_expectation(x);
}

/* True when it is satisfied or has failed; to be settled then. */
static bool expectation_scan(struct console *c, struct expectation *x)
{
	struct line line;
	int n = watch_scan(c, &x->watch, &line, &x->failed);

	if (n > 0)
		x->result = make_result(c, &x->watch, &line);
	if (n > 0 && !x->result)
		err_set(&x->failed, ERR_NOMEM, "out of memory");
	return n != 0;
}

/* x is on no list any more. */
static void expectation_settle(struct expectation *x)
{
	json_t *result = x->result;

	op_on_cancel(x->op, NULL, NULL);
	x->result = NULL;
	if (result)
		op_done(x->op, result);
	else
		op_fail(x->op, &x->failed);
	free_expectation(x);
}

static void scan_expectations(struct console *c)
{
	struct expectation *next, *ready = NULL;

	/* two passes: completing one may cancel another */
	for (struct expectation *x = c->expectations; x; x = next) {
		next = x->next;
		if (expectation_scan(c, x)) {
			unlink_expectation(x);
			link_expectation(x, &ready);
		}
	}
	while (ready) {
		struct expectation *x = ready;

		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): unlinking moved the list's head */
		unlink_expectation(x);
		expectation_settle(x);
	}
}

static int start_position(
	const struct console *c, const json_t *from, uint64_t *position, struct err *e)
{
	const char *name = json_string_value(from);

	*position = c->floor;
	if (!from || (name && strcmp(name, "power-on") == 0))
		return 0;
	*position = c->ring.total;
	if (name && strcmp(name, "now") == 0)
		return 0;
	if (json_is_integer(from) && json_integer_value(from) >= 0 &&
		(uint64_t)json_integer_value(from) <= c->ring.total) {
		*position = (uint64_t)json_integer_value(from);
		return 0;
	}
	return err_set(e, ERR_USAGE,
		"\"from\" is \"power-on\", \"now\", or the \"next\" of an earlier answer");
}

void console_expect(struct console *c, const char *pattern, size_t pattern_len, const json_t *from,
	struct op *op)
{
	struct expectation *x = calloc(1, sizeof(*x));
	uint64_t first;
	struct err e;
	int code;

	if (!x)
		code = err_set(&e, ERR_NOMEM, "out of memory");
	else
		code = start_position(c, from, &x->watch.from, &e);
	if (!code)
		code = pattern_compile(pattern, pattern_len, &x->watch.pattern, &e);
	if (code) {
		free(x);
		op_fail(op, &e);
		return;
	}
	first = c->floor > ring_oldest(&c->ring) ? c->floor : ring_oldest(&c->ring);
	if (x->watch.from < first)
		x->watch.from = first;
	x->watch.line = line_begin(c, x->watch.from, first);
	x->op = op;
	if (expectation_scan(c, x)) {
		expectation_settle(x);
		return;
	}
	link_expectation(x, &c->expectations);
	op_on_cancel(op, expectation_cancelled, x);
}

/* --- the cut engine's watch ------------------------------------------------------------------- */

int console_watch(struct console *c, const char *pattern, size_t pattern_len, unsigned count,
	void (*fired)(void *arg, const char *line, size_t len, uint64_t t_read_ns), void *arg,
	struct err *e)
{
	struct pattern *compiled;
	int code = pattern_compile(pattern, pattern_len, &compiled, e);

	if (code)
		return code;
	console_unwatch(c);
	c->cut = (struct watch){.pattern = compiled, .line = c->line, .from = c->ring.total};
	c->cut_left = count;
	c->cut_fired = fired;
	c->cut_arg = arg;
	return 0;
}

void console_unwatch(struct console *c)
{
	pattern_free(c->cut.pattern);
	c->cut.pattern = NULL;
}

static void scan_cut(struct console *c, uint64_t t_read_ns)
{
	struct line line;
	struct err e;

	/* a pattern that cannot be matched within its bound does not fire: the cut is reported as
	 * not landed */
	while (c->cut.pattern && c->cut_left > 1 && watch_scan(c, &c->cut, &line, &e) > 0) {
		if (!line.complete)
			return; /* counted when it is whole: what follows in it is the same line */
		c->cut_left--;
		c->cut.line = c->cut.from = line.next;
	}
	if (!c->cut.pattern || c->cut_left > 1 || watch_scan(c, &c->cut, &line, &e) <= 0)
		return;
	console_unwatch(c);
	c->cut_fired(c->cut_arg, line.text, line.len, t_read_ns);
}

/* --- bytes in --------------------------------------------------------------------------------- */

static void tell_rest(struct telling *t)
{
	while (t->next) {
		struct console_listener *l = t->next;

		t->next = l->next;
		l->fn(l->arg, t->line, t->len, t->t_read_ns);
	}
}

static void tell(struct console_port *port, const char *line, size_t len, uint64_t t_read_ns)
{
	struct telling telling = {line, len, t_read_ns, port->listeners, port->telling};

	/* everybody hears what was first, first */
	if (telling.outer)
		tell_rest(telling.outer);
	port->telling = &telling;
	tell_rest(&telling);
	port->telling = telling.outer;
}

static void take_lines(struct console *c, uint64_t t_read_ns)
{
	while (c->line < c->ring.total) {
		struct line line = line_at(c, c->line);

		if (!line.complete)
			break;
		log_line(c, &line);
		c->line = line.next;
		c->t_line = t_read_ns;
		if (c->powered)
			tell(&c->port, line.text, line.len, t_read_ns);
	}
	log_flush(c);
}

static void show(struct console *c, uint64_t t_read_ns)
{
	size_t len = (size_t)(c->ring.total - c->shown), n;
	const char *text = ring_at(&c->ring, c->shown);

	if (!c->following) {
		c->shown = c->ring.total;
		return;
	}
	len -= text_unfinished(text, len);
	n = text_escape(c->text, sizeof(c->text), text, len, TEXT_STREAM);
	c->shown += len;
	if (n)
		c->conf.follow(c->conf.arg, c->text, n, t_read_ns);
}

static void take(struct console *c, const char *data, size_t len, uint64_t t_read_ns)
{
	if (c->line == c->ring.total)
		c->t_line = t_read_ns;
	ring_append(&c->ring, data, len);
	/* without power they are late bytes of the epoch that ended */
	if (!c->powered)
		c->floor = c->ring.total;
	scan_cut(c, t_read_ns);
	scan_expectations(c);
	take_lines(c, t_read_ns);
	show(c, t_read_ns);
}

void console_input(struct console *c, const char *data, size_t len, uint64_t t_read_ns)
{
	while (len) {
		size_t part = len < 32768 ? len : 32768;

		take(c, data, part, t_read_ns);
		data += part;
		len -= part;
	}
}

void console_power_on(struct console *c)
{
	log_mark(c, "power on");
	c->gap[0] = '\0';
	c->floor = c->epoch = c->ring.total;
	c->powered = true;
}

void console_power_off(struct console *c, const char *how)
{
	char mark[64];

	if (!c->powered)
		return;
	/* where one of several lines that came at once had the power switched off: the others */
	take_lines(c, uv_hrtime());
	if (!c->powered)
		return;
	snprintf(mark, sizeof(mark), "power %s", how);
	log_mark(c, mark);
	c->floor = c->ring.total;
	c->powered = false;
	tell(&c->port, NULL, 0, uv_hrtime());
}

void console_gap(struct console *c, const char *what)
{
	char mark[330];

	snprintf(c->gap, sizeof(c->gap), "%s", what);
	snprintf(mark, sizeof(mark), "console %s", c->gap);
	log_mark(c, mark);
}

const char *console_gap_text(const struct console *c)
{
	return c->gap[0] ? c->gap : NULL;
}

void console_follow(struct console *c, bool on)
{
	if (c->following == on)
		return;
	c->following = on;
	c->shown = c->ring.total;
}

/* --- looking ---------------------------------------------------------------------------------- */

json_t *console_tail(const struct console *c, size_t lines)
{
	uint64_t oldest = ring_oldest(&c->ring), end = c->ring.total;
	uint64_t first = c->epoch > oldest ? c->epoch : oldest;
	json_t *tail = json_array();
	char text[4 * CONSOLE_LINE_MAX + 1];

	while (lines-- && end > first) {
		uint64_t begin = line_begin(c, end - 1, first);
		size_t len = (size_t)(end - begin);
		const char *bytes = ring_at(&c->ring, begin);

		end = begin;
		if (len && bytes[len - 1] == '\n')
			len--;
		if (len && bytes[len - 1] == '\r')
			len--;
		len = text_escape(text, sizeof(text), bytes, len, TEXT_LINE);
		json_array_insert_new(tail, 0, json_stringn(text, len));
	}
	return tail;
}

void console_explain(const struct console *c, const char *pattern, struct err *e)
{
	json_t *tail = console_tail(c, EXPLAIN_LINES), *line;
	char lines[700] = "; nothing came in since power-on";
	struct err head = *e; /* what is formatted must not lie where it is formatted to */
	size_t used = 0, i;

	json_array_foreach (tail, i, line) {
		const char *text = json_string_value(line);
		size_t len = strnlen(text, 120);

		len -= text_unfinished(text, len);
		used += (size_t)snprintf(lines + used, sizeof(lines) - used, "%s\"%.*s\"",
			i ? " | " : "; last lines: ", (int)len, text);
	}
	json_decref(tail);
	err_set(e, e->code, "%.120s: /%.120s/ not seen%s%s", head.msg, pattern,
		c->powered ? "" : ", and the power is off", lines);
}

const char *console_log_trouble(const struct console *c)
{
	return c->trouble[0] ? c->trouble : NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

static int open_log(struct console *c, struct err *e)
{
	int fd;

	if (!c->conf.log_path)
		return 0;
	fd = open(c->conf.log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	c->log = fd >= 0 ? fdopen(fd, "a") : NULL;
	if (c->log)
		return 0;
	if (fd >= 0)
		close(fd);
	return err_errno(e, ERR_IO, errno, "%s", c->conf.log_path);
}

int console_create(const struct console_conf *conf, struct console **out, struct err *e)
{
	struct console *c = calloc(1, sizeof(*c));
	char *path = conf->log_path ? strdup(conf->log_path) : NULL;
	int code;

	*out = NULL;
	if (!c || (conf->log_path && !path)) {
		free(c);
		free(path);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	c->conf = *conf;
	c->conf.log_path = path;
	c->powered = conf->powered;
	c->port.write = conf->write;
	c->port.write_arg = conf->arg;
	code = ring_init(&c->ring, CONSOLE_RING_BYTES, e);
	if (!code)
		code = open_log(c, e);
	if (!code)
		*out = c;
	else
		console_destroy(c);
	return code;
}

void console_destroy(struct console *c)
{
	if (!c)
		return;
	while (c->expectations) {
		struct expectation *x = c->expectations;

		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): unlinking moved the list's head */
		unlink_expectation(x);
		err_set(&x->failed, ERR_GONE, "the console was closed");
		expectation_settle(x);
	}
	if (c->log) {
		end_line(c);
		fclose(c->log);
	}
	console_unwatch(c);
	ring_finish(&c->ring);
	free((char *)(uintptr_t)c->conf.log_path);
	free(c);
}

/* --- the port --------------------------------------------------------------------------------- */

struct console_port *console_port(struct console *c)
{
	return &c->port;
}
