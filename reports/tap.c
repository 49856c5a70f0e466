#include "tap.h"

#include "../rig/err.h"
#include "yaml.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SUBTEST_INDENT 4

/* A trial under way: what its point's diagnostics will be made of. */
struct trial {
	char *key;
	json_t *cuts;     /* the cut records */
	json_t *findings; /* of failing points */
	json_t *last_point;
};

/* An item under way on one board. */
struct item {
	struct item *next;
	char *board;
	char *key;
	char *title;
	bool wanted;
	FILE *text; /* the subtest as far as it is known */
	char *buf;
	size_t size;
	unsigned points;
	json_t *failed; /* names of the points that failed */
	struct trial trial;
};

struct tap {
	struct report base;
	FILE *out;
	int version;
	char *filter; /* an item's key, or NULL */
	bool started; /* the version line is out */
	bool nomem;
	json_t *plan; /* array of keys as strings */
	json_t *done; /* {key: times ended} */
	struct item *items;
	unsigned points;
	uint64_t records;
	char *bench_error;
	char *item_error; /* why an item had verdict error */
	json_t *end;
};

/* --- text --------------------------------------------------------------------------------- */

static const char *str(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* TAP 14: a description may not hold a bare "#", nor end the line. */
static void put_escaped(FILE *out, const char *text, bool escape)
{
	for (const char *p = text; *p; p++) {
		if (escape && (*p == '#' || *p == '\\'))
			putc('\\', out);
		putc((unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p, out);
	}
}

/* A comment, in one line whatever the parts hold. */
static void put_comment(FILE *out, int indent, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void put_comment(FILE *out, int indent, const char *fmt, ...)
{
	va_list ap;
	char *text = NULL;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	fprintf(out, "%*s# ", indent, "");
	put_escaped(out, text ? text : "(out of memory)", false);
	putc('\n', out);
	free(text);
}

struct point {
	bool ok;
	unsigned number;
	const char *text;
	const char *more; /* behind text, in brackets; or NULL */
	const char *skip; /* reason, or NULL */
	json_t *diag;     /* object, or NULL */
};

static void put_point(FILE *out, int indent, const struct point *p)
{
	fprintf(out, "%*s%s %u - ", indent, "", p->ok ? "ok" : "not ok", p->number);
	put_escaped(out, p->text, true);
	if (p->more) {
		fputs(" (", out);
		put_escaped(out, p->more, true);
		putc(')', out);
	}
	if (p->skip) {
		fputs(" # SKIP ", out);
		put_escaped(out, p->skip, true);
	}
	putc('\n', out);
	if (json_object_size(p->diag) == 0)
		return;
	fprintf(out, "%*s---\n", indent + 2, "");
	yaml_write(out, p->diag, indent + 2);
	fprintf(out, "%*s...\n", indent + 2, "");
}

/* --- diagnostics -------------------------------------------------------------------------- */

/* Copies the fields of record that are there and not null or empty. */
static void take(json_t *diag, json_t *record, const char *const *names)
{
	for (; *names; names++) {
		json_t *value = json_object_get(record, *names);

		if (value && !json_is_null(value) &&
			!(json_is_array(value) && json_array_size(value) == 0))
			json_object_set(diag, *names, value);
	}
}

static json_t *point_diag(const struct item *it, json_t *record)
{
	static const char *const first[] = {"expected", "seen", "at", NULL};
	static const char *const last[] = {"console", "replay", NULL};
	json_t *diag = json_pack("{ss ss}", "item", it->key, "board", it->board);
	json_t *more = json_object_get(record, "diag");

	take(diag, record, first);
	if (json_is_object(more))
		json_object_update_missing(diag, more);
	take(diag, record, last);
	return diag;
}

static json_t *trial_diag(const struct item *it, json_t *record)
{
	static const char *const first[] = {"verdict", "again", "reason", NULL};
	static const char *const last[] = {"console", "replay", NULL};
	json_t *diag = json_object();
	json_t *findings = json_object_get(record, "findings");

	take(diag, record, first);
	json_object_set_new(diag, "item", json_string(it->key));
	json_object_set_new(diag, "board", json_string(it->board));
	json_object_set_new(diag, "trial", json_string(it->trial.key));
	if (json_array_size(it->trial.cuts) > 0)
		json_object_set(diag, "cuts", it->trial.cuts);
	findings = json_is_array(findings) ? json_copy(findings) : json_array();
	json_array_extend(findings, it->trial.findings);
	if (json_array_size(findings) > 0)
		json_object_set(diag, "findings", findings);
	json_decref(findings);
	if (json_is_object(it->trial.last_point))
		json_object_update_missing(diag, it->trial.last_point);
	take(diag, record, last);
	return diag;
}

/* --- items -------------------------------------------------------------------------------- */

static void clear_trial(struct trial *trial)
{
	free(trial->key);
	json_decref(trial->cuts);
	json_decref(trial->findings);
	json_decref(trial->last_point);
	memset(trial, 0, sizeof(*trial));
}

static void free_item(struct item *it)
{
	clear_trial(&it->trial);
	if (it->text)
		fclose(it->text);
	free(it->buf);
	free(it->board);
	free(it->key);
	free(it->title);
	json_decref(it->failed);
	free(it);
}

static struct item *find_item(struct tap *t, const char *board)
{
	for (struct item *it = t->items; it; it = it->next)
		if (strcmp(it->board, board ? board : "") == 0)
			return it;
	return NULL;
}

static void drop_item(struct tap *t, struct item *it)
{
	struct item **link = &t->items;

	while (*link != it)
		link = &(*link)->next;
	*link = it->next;
	free_item(it);
}

static bool is_wanted(const struct tap *t, const char *key)
{
	return !t->filter || strcmp(t->filter, key) == 0;
}

/* Comments of an item that has no points stand beside its own point. */
static void put_unindented(FILE *out, const char *text)
{
	for (bool at_start = true; *text; at_start = *text++ == '\n') {
		if (at_start)
			text += strspn(text, " ");
		putc(*text, out);
	}
}

/* Puts an item's subtest and its point out. */
static void put_item(struct tap *t, struct item *it, bool ok, const char *skip, json_t *diag)
{
	const struct point p = {.ok = ok,
		.number = ++t->points,
		.text = it->title ? it->title : it->key,
		.skip = skip,
		.diag = diag};

	if (it->points > 0)
		fprintf(it->text, "%*s1..%u\n", SUBTEST_INDENT, "", it->points);
	fflush(it->text);
	if (it->points > 0) {
		fputs("# Subtest: ", t->out);
		put_escaped(t->out, p.text, false);
		putc('\n', t->out);
		fwrite(it->buf, 1, it->size, t->out);
	} else {
		put_unindented(t->out, it->buf);
	}
	put_point(t->out, 0, &p);
}

static void sub_point(struct item *it, struct point *p)
{
	p->number = ++it->points;
	if (!p->ok)
		json_array_append_new(it->failed, json_string(p->text));
	put_point(it->text, SUBTEST_INDENT, p);
}

/* --- records ------------------------------------------------------------------------------ */

static void on_run(struct tap *t, struct item *it, json_t *r)
{
	const char *name = str(json_object_get(r, "scenario"), "name");
	json_t *seed = json_object_get(r, "seed");

	(void)it;
	if (json_is_integer(seed))
		put_comment(t->out, 0, "%s, seed %" JSON_INTEGER_FORMAT ", run %s",
			name ? name : "?", json_integer_value(seed), str(r, "run") ?: "?");
	else
		put_comment(t->out, 0, "%s, run %s", name ? name : "?", str(r, "run") ?: "?");
}

static void on_plan(struct tap *t, struct item *it, json_t *r)
{
	json_t *entry;
	size_t i;

	(void)it;
	if (t->plan)
		return; /* a resumed run plans again; the first plan stands */
	t->plan = json_array();
	json_array_foreach (json_object_get(r, "items"), i, entry) {
		const char *key = str(entry, "item");

		if (key && is_wanted(t, key))
			json_array_append_new(t->plan, json_string(key));
	}
	fprintf(t->out, "1..%zu\n", json_array_size(t->plan));
}

static void on_item_start(struct tap *t, struct item *it, json_t *r)
{
	const char *board = str(r, "board"), *key = str(r, "item"), *title = str(r, "title");

	if (it) /* the run died in it and was resumed */
		drop_item(t, it);
	it = calloc(1, sizeof(*it));
	if (!it) {
		t->nomem = true;
		return;
	}
	it->next = t->items;
	t->items = it;
	it->board = strdup(board ? board : "");
	it->key = strdup(key ? key : "?");
	it->title = title ? strdup(title) : NULL;
	it->failed = json_array();
	it->text = open_memstream(&it->buf, &it->size);
	it->wanted = it->key && is_wanted(t, it->key);
	t->nomem = t->nomem || !it->board || !it->key || !it->text;
	if (!t->nomem && board)
		put_comment(it->text, SUBTEST_INDENT, "board %s", board);
}

static void on_prepare(struct tap *t, struct item *it, json_t *r)
{
	(void)t;
	if (!it->trial.key)
		put_comment(it->text, SUBTEST_INDENT, "holds %s, prepared by %s",
			str(r, "release") ?: "?", str(r, "how") ?: "?");
}

static void on_trace(struct tap *t, struct item *it, json_t *r)
{
	(void)t;
	put_comment(it->text, SUBTEST_INDENT,
		"an uncut update is %" JSON_INTEGER_FORMAT " operations",
		json_integer_value(json_object_get(r, "operations")));
}

static void on_note(struct tap *t, struct item *it, json_t *r)
{
	put_comment(it ? it->text : t->out, it ? SUBTEST_INDENT : 0, "%s", str(r, "text") ?: "");
}

static void on_measure(struct tap *t, struct item *it, json_t *r)
{
	json_t *value = json_object_get(r, "value");
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));

	(void)t;
	put_comment(it->text, SUBTEST_INDENT, "%s = %s %s", str(r, "name") ?: "?",
		text ? text : "?", str(r, "unit") ?: "");
	free(text);
}

static void on_trial_start(struct tap *t, struct item *it, json_t *r)
{
	const char *key = str(r, "trial");

	clear_trial(&it->trial);
	it->trial.key = strdup(key ? key : "?");
	it->trial.cuts = json_array();
	it->trial.findings = json_array();
	t->nomem = t->nomem || !it->trial.key;
}

static void on_cut(struct tap *t, struct item *it, json_t *r)
{
	static const char *const names[] = {
		"requested", "op", "landed", "counted", "error", "tear", "seed", "what", NULL};
	json_t *cut;

	(void)t;
	if (json_is_true(json_object_get(r, "again")))
		return; /* of the second attempt; the first verdict stands */
	cut = json_object();
	take(cut, r, names);
	json_array_append_new(it->trial.cuts, cut);
}

/* A point inside a trial belongs to the trial's own point. */
static void point_of_trial(struct item *it, json_t *r, bool ok)
{
	static const char *const names[] = {"name", "expected", "seen", "at", NULL};
	static const char *const more[] = {"console", "replay", NULL};
	json_t *finding;

	if (ok)
		return;
	finding = json_object();
	take(finding, r, names);
	json_array_append_new(it->trial.findings, finding);
	if (!it->trial.last_point)
		it->trial.last_point = json_object();
	take(it->trial.last_point, r, more);
}

static void on_point(struct tap *t, struct item *it, json_t *r)
{
	bool ok = json_is_true(json_object_get(r, "ok"));
	struct point p = {.ok = ok, .text = str(r, "name") ?: "", .skip = str(r, "skip")};

	(void)t;
	if (it->trial.key) {
		point_of_trial(it, r, ok);
		return;
	}
	p.diag = ok ? NULL : point_diag(it, r);
	sub_point(it, &p);
	json_decref(p.diag);
}

static void describe_landing(const struct trial *trial, char *text, size_t size)
{
	json_t *cut, *landed;
	size_t i;

	*text = '\0';
	json_array_foreach (trial->cuts, i, cut) {
		json_t *error = json_object_get(cut, "error");

		landed = json_object_get(cut, "landed");
		if (json_is_integer(error) && json_integer_value(error) != 0)
			snprintf(text, size,
				"asked for %" JSON_INTEGER_FORMAT
				", landed at %" JSON_INTEGER_FORMAT,
				json_integer_value(json_object_get(cut, "op")),
				json_integer_value(landed));
	}
}

static const char *skip_of_inconclusive(char *text, size_t size, json_t *r)
{
	const char *reason = str(r, "reason");

	snprintf(text, size, "inconclusive%s%s", reason ? ": " : "", reason ? reason : "");
	return text;
}

static bool verdict_is(json_t *r, const char *verdict)
{
	const char *is = str(r, "verdict");

	return is && strcmp(is, verdict) == 0;
}

static void on_verdict(struct tap *t, struct item *it, json_t *r)
{
	char more[96], skip[512];
	bool failed = json_array_size(it->trial.findings) > 0;
	bool unclear = !failed && verdict_is(r, "inconclusive");
	struct point p = {.text = it->trial.key};

	(void)t;
	if (!it->trial.key)
		return;
	p.ok = !failed && (unclear || verdict_is(r, "pass"));
	describe_landing(&it->trial, more, sizeof(more));
	p.more = *more ? more : NULL;
	p.skip = unclear ? skip_of_inconclusive(skip, sizeof(skip), r) : NULL;
	p.diag = p.ok ? NULL : trial_diag(it, r);
	sub_point(it, &p);
	json_decref(p.diag);
	clear_trial(&it->trial);
}

static void on_bench_error(struct tap *t, struct item *it, json_t *r)
{
	const char *board = str(r, "board"), *device = str(r, "device"), *reason = str(r, "reason");

	free(t->bench_error);
	if (asprintf(&t->bench_error, "%s%s%s%s%s%s", board ? "board " : "", board ? board : "",
		    board ? ": " : "", device ? device : "", device ? ": " : "",
		    reason ? reason : "failed") < 0)
		t->bench_error = NULL;
	t->nomem = t->nomem || !t->bench_error;
	put_comment(it ? it->text : t->out, it ? SUBTEST_INDENT : 0, "bench error: %s",
		t->bench_error ? t->bench_error : "?");
}

static void on_safe(struct tap *t, struct item *it, json_t *r)
{
	(void)it;
	if (json_is_false(json_object_get(r, "ok")))
		put_comment(t->out, 0, "board %s was not made safe: %s", str(r, "board") ?: "?",
			str(r, "reason") ?: "?");
}

/* A board that was left on: whoever reads this may have to end that. */
static void on_held(struct tap *t, struct item *it, json_t *r)
{
	json_t *line;
	size_t i;

	(void)it;
	put_comment(t->out, 0, "board %s is left on and leased until %s", str(r, "board") ?: "?",
		str(r, "until") ?: "?");
	if (str(r, "reason"))
		put_comment(t->out, 0, "no port for gdb: %s", str(r, "reason"));
	json_array_foreach (json_object_get(r, "how"), i, line)
		put_comment(t->out, 0, "  %s", json_string_value(line) ?: "");
}

/* Remembers why an item has no verdict on the DUT, for the Bail out. */
static void keep_error(struct tap *t, struct item *it, const char *reason)
{
	if (t->item_error)
		return;
	if (asprintf(&t->item_error, "%s: %s", it->key,
		    reason           ? reason
		    : t->bench_error ? t->bench_error
				     : "error") < 0)
		t->item_error = NULL;
}

static json_t *item_diag(const struct item *it, json_t *record)
{
	static const char *const first[] = {"verdict", "reason", "at", NULL};
	static const char *const last[] = {"console", "replay", NULL};
	json_t *diag = json_object();

	take(diag, record, first);
	json_object_set_new(diag, "item", json_string(it->key));
	json_object_set_new(diag, "board", json_string(it->board));
	if (json_array_size(it->failed) > 0)
		json_object_set(diag, "failed", it->failed);
	take(diag, record, last);
	return diag;
}

static void end_item(struct tap *t, struct item *it, json_t *r)
{
	const char *skip = str(r, "skipped");
	bool failed = json_array_size(it->failed) > 0;
	bool unclear = verdict_is(r, "inconclusive");
	bool ok = !failed && (skip || unclear || verdict_is(r, "pass"));
	json_t *diag = ok ? NULL : item_diag(it, r);
	char why[512];

	if (unclear && !skip && ok)
		skip = skip_of_inconclusive(why, sizeof(why), r);
	/* parsers hold an item that failed against a subtest that did not */
	if (!ok && !failed && it->points > 0) {
		struct point p = {.text = "the item ran to its end", .diag = diag};

		sub_point(it, &p);
	}
	if (verdict_is(r, "error"))
		keep_error(t, it, str(r, "reason"));
	put_item(t, it, ok, skip, diag);
	json_decref(diag);
}

static void on_item_end(struct tap *t, struct item *it, json_t *r)
{
	const char *key = str(r, "item");

	if (!it) { /* skipped without ever having started */
		on_item_start(t, NULL, r);
		it = find_item(t, str(r, "board"));
	}
	if (!it || t->nomem)
		return;
	if (is_wanted(t, key ? key : it->key)) {
		json_int_t n = json_integer_value(json_object_get(t->done, it->key));

		json_object_set_new(t->done, it->key, json_integer(n + 1));
		end_item(t, it, r);
	}
	drop_item(t, it);
}

static void on_end(struct tap *t, struct item *it, json_t *r)
{
	(void)it;
	json_decref(t->end);
	t->end = json_incref(r);
}

static const struct {
	const char *kind;
	bool of_item; /* means something only while an item is under way */
	void (*fn)(struct tap *t, struct item *it, json_t *record);
} kinds[] = {
	{"run", false, on_run},
	{"plan", false, on_plan},
	{"bench-error", false, on_bench_error},
	{"safe", false, on_safe},
	{"held", false, on_held},
	{"end", false, on_end},
	{"item-start", false, on_item_start},
	{"prepare", true, on_prepare},
	{"trace", true, on_trace},
	{"point", true, on_point},
	{"note", false, on_note},
	{"measure", true, on_measure},
	{"item-end", false, on_item_end},
	{"trial-start", true, on_trial_start},
	{"cut", true, on_cut},
	{"verdict", true, on_verdict},
};

/* --- the document ------------------------------------------------------------------------- */

static void start(struct tap *t)
{
	if (!t->started)
		fprintf(t->out, "TAP version %d\n", t->version);
	t->started = true;
}

static int flush(struct tap *t, struct err *e)
{
	if (t->nomem)
		return err_set(e, ERR_NOMEM, "TAP: out of memory");
	if (fflush(t->out) != 0 || ferror(t->out))
		return err_set(e, ERR_IO, "TAP: the output takes no more");
	return 0;
}

int tap_record(struct report *report, json_t *record, struct err *e)
{
	struct tap *t = (struct tap *)report;
	const char *kind = str(record, "kind");
	struct item *it = find_item(t, str(record, "board"));

	start(t);
	t->records++;
	for (size_t i = 0; kind && i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(kinds[i].kind, kind) != 0)
			continue;
		/* another item's lines are of no use to a document of one */
		if (it ? it->wanted || !kinds[i].of_item : !kinds[i].of_item)
			kinds[i].fn(t, it, record);
	}
	return flush(t, e);
}

/* What the plan promised and did not come to its end. */
static void skip_rest(struct tap *t)
{
	char why[256];
	const char *reason = str(t->end, "text");
	json_t *key;
	size_t i;

	snprintf(why, sizeof(why), "not run: %s", reason ? reason : str(t->end, "reason") ?: "?");
	json_array_foreach (t->plan, i, key) {
		const char *text = json_string_value(key);
		json_int_t n = json_integer_value(json_object_get(t->done, text));
		const struct point p = {
			.ok = true, .number = t->points + 1, .text = text, .skip = why};

		if (n > 0) {
			json_object_set_new(t->done, text, json_integer(n - 1));
			continue;
		}
		t->points++;
		put_point(t->out, 0, &p);
	}
}

/* Items that began and have no end, each as a point with the verdict error. */
static void close_items(struct tap *t, const char *why)
{
	json_t *record = json_pack("{ss ss}", "verdict", "error", "reason", why);

	while (t->items) {
		struct item *it = t->items;

		if (it->wanted && it->text)
			end_item(t, it, record);
		drop_item(t, it);
	}
	json_decref(record);
}

static void put_totals(struct tap *t)
{
	static const char *const names[] = {
		"items", "pass", "fail", "error", "inconclusive", "skipped", "trials", "cuts"};
	json_t *totals = json_object_get(t->end, "totals");
	char *text = NULL;
	size_t size;
	FILE *f;

	if (t->filter || !json_is_object(totals))
		return;
	f = open_memstream(&text, &size);
	if (!f)
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		json_t *n = json_object_get(totals, names[i]);

		if (json_is_integer(n))
			fprintf(f, ", %s %" JSON_INTEGER_FORMAT, names[i], json_integer_value(n));
	}
	fclose(f);
	put_comment(t->out, 0, "verdict %s%s", str(t->end, "verdict") ?: "?", text);
	free(text);
}

static void bail_out(struct tap *t, const char *why)
{
	fputs("Bail out! ", t->out);
	put_escaped(t->out, why, false);
	putc('\n', t->out);
}

/* Whether every point that the plan promised is out. */
static bool is_whole(const struct tap *t)
{
	return t->plan && t->points >= json_array_size(t->plan);
}

static void finish_ended(struct tap *t)
{
	const char *verdict = str(t->end, "verdict"), *text = str(t->end, "text");
	bool error = verdict && strcmp(verdict, "error") == 0;
	const char *why = text ? text : t->bench_error ? t->bench_error : t->item_error;

	/* the document of one item that ended is not touched by what happened to others */
	if (t->filter && is_whole(t) && !t->items)
		error = t->item_error != NULL;
	if (t->filter && t->item_error)
		why = t->item_error;
	if (t->items)
		close_items(t, why ? why : "the run ended before it");
	if (!error)
		skip_rest(t);
	put_totals(t);
	if (error || !t->plan)
		bail_out(t, why ? why : str(t->end, "reason") ?: "the bench failed");
}

int tap_finish(struct report *report, const char *incomplete, struct err *e)
{
	struct tap *t = (struct tap *)report;
	char why[1200];

	start(t);
	if (t->end) {
		finish_ended(t);
		return flush(t, e);
	}
	snprintf(why, sizeof(why), "the journal stops after record %ju without an end: %s",
		(uintmax_t)t->records, incomplete ? incomplete : "the run died");
	close_items(t, why);
	bail_out(t, why);
	return flush(t, e);
}

struct report *tap_create(const struct report_options *options)
{
	struct tap *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->base.format = &tap_format;
	t->out = options->out;
	t->version = options->tap_version ? options->tap_version : 13;
	t->filter = options->item ? strdup(options->item) : NULL;
	t->done = json_object();
	if (t->done && (t->filter || !options->item))
		return &t->base;
	tap_destroy(&t->base);
	return NULL;
}

void tap_destroy(struct report *report)
{
	struct tap *t = (struct tap *)report;

	if (!t)
		return;
	while (t->items)
		drop_item(t, t->items);
	free(t->filter);
	free(t->bench_error);
	free(t->item_error);
	json_decref(t->plan);
	json_decref(t->done);
	json_decref(t->end);
	free(t);
}

const struct report_format tap_format = {
	.name = "tap",
	.file = "run.tap",
	.help = "Test Anything Protocol, version 13 or 14",
	.create = tap_create,
	.record = tap_record,
	.finish = tap_finish,
	.destroy = tap_destroy,
};
