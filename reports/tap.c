#include "tap.h"

#include "../rig/err.h"
#include "../rig/phrase.h"
#include "tap_item.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct tap {
	struct report base;
	FILE *out;
	int version;
	char *filter; /* an item's key, or NULL */
	bool started; /* the version line is out */
	bool nomem;
	json_t *plan;           /* array of keys as strings */
	json_t *done;           /* {key: times ended} */
	struct tap_item *items; /* under way */
	/* Ended with an error, or cut short: not put out before it is sure that they are not begun
	 * again. In the order in which that happened. */
	struct tap_item *held;
	unsigned points;
	uint64_t records;
	char *bench_error;
	char *item_error; /* why an item had verdict error */
	json_t *end;
};

static const char *str(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* A comment of the item, or of none (NULL). */
static void put_comment(struct tap *t, struct tap_item *it, const char *text)
{
	if (it)
		tap_item_comment(it, "%s", text);
	else
		tap_put_comment(t->out, "%s", text);
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

static json_t *point_diag(const struct tap_item *it, json_t *record)
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

static json_t *trial_diag(const struct tap_item *it, json_t *record)
{
	static const char *const first[] = {"verdict", "again", "reason", NULL};
	static const char *const last[] = {"console", "evidence", "replay", NULL};
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

static struct tap_item *find_item(struct tap *t, const char *board)
{
	for (struct tap_item *it = t->items; it; it = it->next)
		if (strcmp(it->board, board ? board : "") == 0)
			return it;
	return NULL;
}

/* Takes an item out of a list. */
static void unlink_item(struct tap_item **list, struct tap_item *it)
{
	while (*list != it)
		list = &(*list)->next;
	*list = it->next;
	it->next = NULL;
}

static void drop_item(struct tap *t, struct tap_item *it)
{
	unlink_item(&t->items, it);
	tap_item_destroy(it);
}

/* Keeps an item that is under way, or ended so, until it is sure what becomes of it. */
static void hold_item(struct tap *t, struct tap_item *it, json_t *end)
{
	struct tap_item **last = &t->held;

	unlink_item(&t->items, it);
	it->end = json_incref(end);
	while (*last)
		last = &(*last)->next;
	*last = it;
}

/* The item of that key that was held, taken out of the list; or NULL. */
static struct tap_item *take_held(struct tap *t, const char *key)
{
	for (struct tap_item *it = t->held; it; it = it->next)
		if (strcmp(it->key, key) == 0) {
			unlink_item(&t->held, it);
			return it;
		}
	return NULL;
}

static bool is_wanted(const struct tap *t, const char *key)
{
	return !t->filter || strcmp(t->filter, key) == 0;
}

/* --- records ------------------------------------------------------------------------------ */

static void on_run(struct tap *t, struct tap_item *it, json_t *r)
{
	const char *name = str(json_object_get(r, "scenario"), "name");
	json_t *seed = json_object_get(r, "seed");

	(void)it;
	if (json_is_integer(seed))
		tap_put_comment(t->out, "%s, seed %" JSON_INTEGER_FORMAT ", run %s",
			name ? name : "?", json_integer_value(seed), str(r, "run") ?: "?");
	else
		tap_put_comment(t->out, "%s, run %s", name ? name : "?", str(r, "run") ?: "?");
}

static void on_plan(struct tap *t, struct tap_item *it, json_t *r)
{
	json_t *entry;
	size_t i;

	(void)it;
	if (t->plan)
		return; /* there is one plan, whatever becomes of the run */
	t->plan = json_array();
	json_array_foreach (json_object_get(r, "items"), i, entry) {
		const char *key = str(entry, "item");

		if (key && is_wanted(t, key))
			json_array_append_new(t->plan, json_string(key));
	}
	fprintf(t->out, "1..%zu\n", json_array_size(t->plan));
}

static void on_item_start(struct tap *t, struct tap_item *it, json_t *r)
{
	const char *board = str(r, "board"), *key = str(r, "item") ?: "?";
	bool resumed = json_is_true(json_object_get(r, "resumed"));

	if (it)
		hold_item(t, it, NULL);
	it = take_held(t, key);
	if (it && resumed) {
		tap_item_resume(it);
	} else {
		tap_item_destroy(it);
		it = tap_item_create(board, key, str(r, "title"));
	}
	if (!it) {
		t->nomem = true;
		return;
	}
	it->next = t->items;
	t->items = it;
	it->wanted = is_wanted(t, it->key);
	if (board)
		tap_item_comment(it, "board %s", board);
}

static void on_prepare(struct tap *t, struct tap_item *it, json_t *r)
{
	(void)t;
	if (!it->trial.key)
		tap_item_comment(it, "holds %s, prepared by %s", str(r, "release") ?: "?",
			str(r, "how") ?: "?");
}

static void on_trace(struct tap *t, struct tap_item *it, json_t *r)
{
	(void)t;
	tap_item_comment(it, "an uncut update is %" JSON_INTEGER_FORMAT " operations",
		json_integer_value(json_object_get(r, "operations")));
}

static void on_note(struct tap *t, struct tap_item *it, json_t *r)
{
	put_comment(t, it, str(r, "text") ?: "");
}

static void on_measure(struct tap *t, struct tap_item *it, json_t *r)
{
	json_t *value = json_object_get(r, "value");
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));

	(void)t;
	tap_item_comment(
		it, "%s = %s %s", str(r, "name") ?: "?", text ? text : "?", str(r, "unit") ?: "");
	free(text);
}

static void on_window(struct tap *t, struct tap_item *it, json_t *r)
{
	char *text = phrase_window(r);

	t->nomem = t->nomem || !text;
	tap_item_comment(it, "%s", text ? text : "?");
	free(text);
}

static void on_coverage(struct tap *t, struct tap_item *it, json_t *r)
{
	char *text = phrase_coverage(r);

	t->nomem = t->nomem || !text;
	if (text)
		tap_item_comments(it, text);
	if (str(r, "sentence"))
		tap_item_comment(it, "%s", str(r, "sentence"));
	free(text);
}

static void on_wear(struct tap *t, struct tap_item *it, json_t *r)
{
	char *text = phrase_wear(r), *whole = NULL;

	if (!text || asprintf(&whole, "wear of %s: %s", str(r, "board") ?: "?", text) < 0)
		whole = NULL;
	t->nomem = t->nomem || !whole;
	put_comment(t, it, whole ? whole : "?");
	free(whole);
	free(text);
}

static void on_trial_start(struct tap *t, struct tap_item *it, json_t *r)
{
	(void)t;
	tap_item_trial(it, str(r, "trial") ?: "?");
}

static void on_cut(struct tap *t, struct tap_item *it, json_t *r)
{
	static const char *const names[] = {"requested", "op", "landed", "landed_as", "counted",
		"error", "progress", "tear", "seed", "what", NULL};
	json_t *cut;

	(void)t;
	if (json_is_true(json_object_get(r, "again")))
		return; /* of the second attempt; the first verdict stands */
	cut = json_object();
	take(cut, r, names);
	json_array_append_new(it->trial.cuts, cut);
}

/* A point inside a trial belongs to the trial's own point. */
static void point_of_trial(struct tap_item *it, json_t *r, bool ok)
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

static void on_point(struct tap *t, struct tap_item *it, json_t *r)
{
	bool ok = json_is_true(json_object_get(r, "ok"));
	struct tap_point p = {.ok = ok, .text = str(r, "name") ?: "", .skip = str(r, "skip")};

	(void)t;
	if (it->trial.key) {
		point_of_trial(it, r, ok);
		return;
	}
	p.diag = ok ? NULL : point_diag(it, r);
	tap_item_point(it, &p);
	json_decref(p.diag);
}

/* landed: as flash shows it; where only the trigger's count is known, that. */
static void describe_landing(const struct tap_trial *trial, char *text, size_t size)
{
	json_t *cut, *landed;
	bool shown;
	size_t i;

	*text = '\0';
	json_array_foreach (trial->cuts, i, cut) {
		json_t *error = json_object_get(cut, "error");

		landed = json_object_get(cut, "landed");
		shown = json_is_integer(landed);
		if (!shown)
			landed = json_object_get(cut, "counted");
		if (json_is_integer(error) && json_integer_value(error) != 0)
			snprintf(text, size,
				"asked for %" JSON_INTEGER_FORMAT ", %s at %" JSON_INTEGER_FORMAT,
				json_integer_value(json_object_get(cut, "op")),
				shown ? "landed" : "counted", json_integer_value(landed));
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

static void on_verdict(struct tap *t, struct tap_item *it, json_t *r)
{
	char more[96], skip[512];
	bool failed = json_array_size(it->trial.findings) > 0;
	bool unclear = !failed && verdict_is(r, "inconclusive");
	struct tap_point p = {.text = it->trial.key, .stays = !verdict_is(r, "error")};

	(void)t;
	if (!it->trial.key)
		return;
	p.ok = !failed && (unclear || verdict_is(r, "pass"));
	describe_landing(&it->trial, more, sizeof(more));
	p.more = *more ? more : NULL;
	p.skip = unclear ? skip_of_inconclusive(skip, sizeof(skip), r) : NULL;
	p.diag = p.ok ? NULL : trial_diag(it, r);
	tap_item_point(it, &p);
	json_decref(p.diag);
	tap_item_trial(it, NULL);
}

static void on_bench_error(struct tap *t, struct tap_item *it, json_t *r)
{
	const char *board = str(r, "board"), *device = str(r, "device"), *reason = str(r, "reason");

	free(t->bench_error);
	if (asprintf(&t->bench_error, "%s%s%s%s%s%s", board ? "board " : "", board ? board : "",
		    board ? ": " : "", device ? device : "", device ? ": " : "",
		    reason ? reason : "failed") < 0)
		t->bench_error = NULL;
	t->nomem = t->nomem || !t->bench_error;
	if (it)
		tap_item_comment(it, "bench error: %s", t->bench_error ? t->bench_error : "?");
	else
		tap_put_comment(t->out, "bench error: %s", t->bench_error ? t->bench_error : "?");
}

static void on_safe(struct tap *t, struct tap_item *it, json_t *r)
{
	(void)it;
	if (json_is_false(json_object_get(r, "ok")))
		tap_put_comment(t->out, "board %s was not made safe: %s", str(r, "board") ?: "?",
			str(r, "reason") ?: "?");
}

/* A board that was left on: whoever reads this may have to end that. */
static void on_held(struct tap *t, struct tap_item *it, json_t *r)
{
	json_t *line;
	size_t i;

	(void)it;
	tap_put_comment(t->out, "board %s is left on and leased until %s", str(r, "board") ?: "?",
		str(r, "until") ?: "?");
	if (str(r, "reason"))
		tap_put_comment(t->out, "no port for gdb: %s", str(r, "reason"));
	json_array_foreach (json_object_get(r, "how"), i, line)
		tap_put_comment(t->out, "  %s", json_string_value(line) ?: "");
}

/* Remembers why an item has no verdict on the DUT, for the Bail out. */
static void keep_error(struct tap *t, struct tap_item *it, const char *reason)
{
	if (t->item_error)
		return;
	if (asprintf(&t->item_error, "%s: %s", it->key,
		    reason           ? reason
		    : t->bench_error ? t->bench_error
				     : "error") < 0)
		t->item_error = NULL;
}

static json_t *item_diag(const struct tap_item *it, json_t *record)
{
	static const char *const first[] = {"verdict", "reason", "at", NULL};
	static const char *const last[] = {"console", "replay", NULL};
	json_t *diag = json_object();

	take(diag, record, first);
	json_object_set_new(diag, "item", json_string(it->key));
	json_object_set_new(diag, "board", json_string(it->board));
	if (it->failed > 0)
		json_object_set_new(diag, "failed", tap_item_failed(it));
	take(diag, record, last);
	return diag;
}

/* Puts an item out, which is not under way any more. r: its item-end. */
static void end_item(struct tap *t, struct tap_item *it, json_t *r)
{
	const char *skip = str(r, "skipped");
	bool failed = it->failed > 0;
	bool unclear = verdict_is(r, "inconclusive");
	bool ok = !failed && (skip || unclear || verdict_is(r, "pass"));
	json_t *diag = ok ? NULL : item_diag(it, r);
	struct tap_point own = {.ok = ok, .text = it->title ? it->title : it->key, .diag = diag};
	char why[512];

	if (unclear && !skip && ok)
		skip = skip_of_inconclusive(why, sizeof(why), r);
	/* parsers hold an item that failed against a subtest that did not */
	if (!ok && !failed && it->points > 0)
		tap_item_point(it,
			&(const struct tap_point){.text = "the item ran to its end", .diag = diag});
	if (verdict_is(r, "error"))
		keep_error(t, it, str(r, "reason"));
	own.skip = skip;
	t->nomem = t->nomem || it->nomem;
	tap_item_write(it, t->out, ++t->points, &own);
	json_object_set_new(t->done, it->key,
		json_integer(json_integer_value(json_object_get(t->done, it->key)) + 1));
	json_decref(diag);
}

static void on_item_end(struct tap *t, struct tap_item *it, json_t *r)
{
	const char *key = str(r, "item");

	if (!it) { /* skipped without ever having started */
		on_item_start(t, NULL, r);
		it = find_item(t, str(r, "board"));
	}
	if (!it || t->nomem)
		return;
	if (!is_wanted(t, key ? key : it->key)) {
		drop_item(t, it);
	} else if (verdict_is(r, "error")) {
		hold_item(t, it, r);
	} else {
		end_item(t, it, r);
		drop_item(t, it);
	}
}

/* What was under way has no end, and what ended the run before is over. */
static void on_resume(struct tap *t, struct tap_item *it, json_t *r)
{
	(void)it;
	while (t->items)
		hold_item(t, t->items, NULL);
	free(t->bench_error);
	t->bench_error = NULL;
	json_decref(t->end);
	t->end = NULL;
	tap_put_comment(t->out, "taken up again after record %" JSON_INTEGER_FORMAT,
		json_integer_value(json_object_get(r, "after")));
}

static void on_end(struct tap *t, struct tap_item *it, json_t *r)
{
	(void)it;
	json_decref(t->end);
	t->end = json_incref(r);
}

static const struct {
	const char *kind;
	bool of_item; /* means something only while an item is under way */
	void (*fn)(struct tap *t, struct tap_item *it, json_t *record);
} kinds[] = {
	{"run", false, on_run},
	{"plan", false, on_plan},
	{"bench-error", false, on_bench_error},
	{"safe", false, on_safe},
	{"held", false, on_held},
	{"end", false, on_end},
	{"resume", false, on_resume},
	{"item-start", false, on_item_start},
	{"prepare", true, on_prepare},
	{"trace", true, on_trace},
	{"point", true, on_point},
	{"note", false, on_note},
	{"measure", true, on_measure},
	{"window", true, on_window},
	{"coverage", true, on_coverage},
	{"wear", false, on_wear},
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
	struct tap_item *it = find_item(t, str(record, "board"));

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
		const struct tap_point p = {.ok = true, .text = text, .skip = why};

		if (n > 0) {
			json_object_set_new(t->done, text, json_integer(n - 1));
			continue;
		}
		tap_put_point(t->out, ++t->points, &p);
	}
}

/* Items that ended with an error, and were not begun again. */
static void put_held(struct tap *t, const char *why)
{
	json_t *cut_short = json_pack("{ss ss}", "verdict", "error", "reason", why);

	while (t->held) {
		struct tap_item *it = t->held;

		t->held = it->next;
		if (it->wanted)
			end_item(t, it, it->end ? it->end : cut_short);
		tap_item_destroy(it);
	}
	json_decref(cut_short);
}

/* Items that began and have no end, each as a point with the verdict error. */
static void close_items(struct tap *t, const char *why)
{
	while (t->items)
		hold_item(t, t->items, NULL);
	put_held(t, why);
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
	tap_put_comment(t->out, "verdict %s%s", str(t->end, "verdict") ?: "?", text);
	free(text);
}

static void bail_out(struct tap *t, const char *why)
{
	fputs("Bail out! ", t->out);
	tap_put_escaped(t->out, why, false);
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
	const char *why = text ? text : t->bench_error;

	put_held(t, why ? why : "the run ended before it");
	if (!why)
		why = t->item_error;
	/* the document of one item that ended is not touched by what happened to others */
	if (t->filter && is_whole(t) && !t->items)
		error = t->item_error != NULL;
	if (t->filter && t->item_error)
		why = t->item_error;
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
	while (t->held)
		tap_item_destroy(take_held(t, t->held->key));
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
