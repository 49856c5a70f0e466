/*
 * A run summed up for people.
 */
#include "runs.h"

#include "err.h"
#include "journal.h"
#include "phrase.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * What one pass over the journal prints of: items in the order they ended, and what failed. A line
 * is {"text", "item"?, "stays": not made void when its item, or the run, is begun again}.
 */
struct summary {
	json_t *items, *failures, *coverage, *wear; /* arrays of lines */
	json_t *run, *last;
	/* {board: {"item", "from": t_mono_ns, "ns": before that, "failed": what failed first,
	 * "failed_trial": the same in a trial}} */
	json_t *open;
	json_t *before; /* {item: the same, for what may be begun again} */
};

static const char *str(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static const char *either(const char *text, const char *otherwise)
{
	return text ? text : otherwise;
}

static const char *board_of(json_t *record)
{
	return either(str(record, "board"), "");
}

static json_t *item_of(struct summary *s, json_t *record)
{
	return json_object_get(s->open, board_of(record));
}

static json_int_t mono_ns(json_t *record)
{
	return json_integer_value(json_object_get(record, "t_mono_ns"));
}

static void add(json_t *lines, const char *item, bool stays, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static void add(json_t *lines, const char *item, bool stays, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	json_array_append_new(lines, json_pack("{ss ss* sb}", "text", text ? text : "?\n", "item",
					     item, "stays", stays));
	free(text);
}

/* Drops the lines of an item (NULL: of no item in particular) that do not stay. */
static void drop(json_t *lines, const char *item)
{
	for (size_t i = json_array_size(lines); i-- > 0;) {
		json_t *line = json_array_get(lines, i);
		const char *of = str(line, "item");
		bool same = item ? of && strcmp(of, item) == 0 : !of;

		if (same && !json_is_true(json_object_get(line, "stays")))
			json_array_remove(lines, i);
	}
}

/* --- records ------------------------------------------------------------------------------ */

/* How long the item took so far, in all the stretches it ran in. */
static json_int_t item_ns(json_t *item, json_int_t until_ns)
{
	json_int_t ns = until_ns - json_integer_value(json_object_get(item, "from"));

	return json_integer_value(json_object_get(item, "ns")) + (ns > 0 ? ns : 0);
}

/* The item may be begun again: what is known of it is kept. */
static void set_aside(struct summary *s, json_t *item, json_int_t until_ns)
{
	json_object_set_new(item, "ns", json_integer(item_ns(item, until_ns)));
	json_object_set(s->before, str(item, "item"), item);
}

static void on_start(struct summary *s, json_t *r)
{
	const char *key = either(str(r, "item"), "?");
	json_t *before = json_incref(json_object_get(s->before, key));
	json_t *item = json_pack("{ss sO}", "item", key, "from", json_object_get(r, "t_mono_ns"));

	if (json_is_true(json_object_get(r, "resumed"))) {
		drop(s->items, key);
		drop(s->failures, key);
		drop(s->coverage, key);
		if (before)
			json_object_set(item, "ns", json_object_get(before, "ns"));
		json_object_set(item, "failed", json_object_get(before, "failed_trial"));
		json_object_set(item, "failed_trial", json_object_get(before, "failed_trial"));
	}
	json_object_del(s->before, key);
	json_decref(before);
	json_object_set_new(s->open, board_of(r), item);
}

/* One line under "what failed", about the trial or the item that r belongs to. */
static void put_failure(
	struct summary *s, json_t *r, bool stays, const char *name, const char *text)
{
	json_t *item = item_of(s, r);
	const char *about = either(str(r, "trial"), str(item, "item"));

	add(s->failures, str(item, "item"), stays, "  %s%s%s: %s%s%s\n", either(about, ""),
		about ? " on " : "", board_of(r), name, text ? ": " : "", either(text, ""));
	if (item && !json_object_get(item, "failed"))
		json_object_set_new(item, "failed", json_string(name));
	if (item && stays && !json_object_get(item, "failed_trial"))
		json_object_set_new(item, "failed_trial", json_string(name));
}

static void put_replay(struct summary *s, json_t *r, bool stays)
{
	const char *item = str(item_of(s, r), "item");

	if (str(r, "again"))
		add(s->failures, item, stays, "    run again: %s\n", str(r, "again"));
	if (str(r, "replay"))
		add(s->failures, item, stays, "    replay: %s\n", str(r, "replay"));
}

static void on_point(struct summary *s, json_t *r)
{
	if (json_is_true(json_object_get(r, "ok")) || str(r, "trial"))
		return;
	put_failure(s, r, false, either(str(r, "name"), "?"), NULL);
	put_replay(s, r, false);
}

static void on_verdict(struct summary *s, json_t *r)
{
	json_t *finding, *findings = json_object_get(r, "findings");
	size_t i;

	if (strcmp(either(str(r, "verdict"), ""), "fail") != 0)
		return;
	json_array_foreach (findings, i, finding)
		put_failure(s, r, true, either(str(finding, "name"), "?"), str(finding, "text"));
	if (json_array_size(findings) == 0)
		put_failure(s, r, true, "failed", str(r, "reason"));
	put_replay(s, r, true);
}

static void on_window(struct summary *s, json_t *r)
{
	char *text = phrase_window(r);

	if (text)
		put_failure(s, r, false, text, NULL);
	free(text);
}

static void on_coverage(struct summary *s, json_t *r)
{
	const char *item = str(item_of(s, r), "item");

	if (str(r, "sentence"))
		add(s->coverage, item, false, "  %s on %s: %s\n", either(item, "?"), board_of(r),
			str(r, "sentence"));
}

static void on_wear(struct summary *s, json_t *r)
{
	char *text = phrase_wear(r);

	drop(s->wear, board_of(r)); /* the last one counts */
	if (text)
		add(s->wear, board_of(r), false, "  %s: %s\n", board_of(r), text);
	free(text);
}

static void on_item_end(struct summary *s, json_t *r)
{
	json_t *item = item_of(s, r);
	const char *verdict = either(str(r, "verdict"), "?"), *skipped = str(r, "skipped");
	const char *why = either(skipped, either(str(r, "reason"), str(item, "failed")));

	if (strcmp(verdict, "fail") == 0 && !str(item, "failed")) {
		put_failure(s, r, false, "failed", str(r, "reason"));
		put_replay(s, r, false);
	}
	add(s->items, either(str(r, "item"), "?"), false, "  %-12s  %-24s  %-12s  %7.1f s%s%s\n",
		skipped ? "skipped" : verdict, either(str(r, "item"), "?"), board_of(r),
		item ? (double)item_ns(item, mono_ns(r)) / 1e9 : 0, why ? "  " : "",
		either(why, ""));
	if (item && strcmp(verdict, "error") == 0)
		set_aside(s, item, mono_ns(r));
	json_object_del(s->open, board_of(r));
}

static void on_bench_error(struct summary *s, json_t *r)
{
	put_failure(s, r, false, either(str(r, "device"), "bench"), str(r, "reason"));
}

static void on_held(struct summary *s, json_t *r)
{
	json_t *line;
	size_t i;

	put_failure(s, r, false, "left on and leased until", either(str(r, "until"), "?"));
	json_array_foreach (json_object_get(r, "how"), i, line)
		add(s->failures, str(item_of(s, r), "item"), false, "    %s\n",
			either(json_string_value(line), ""));
}

static void on_run(struct summary *s, json_t *r)
{
	if (!s->run)
		s->run = json_incref(r);
}

/* What was under way has no end, and what the bench failed with outside of items is over. */
static void on_resume(struct summary *s, json_t *r)
{
	const char *board;
	json_t *item;

	(void)r;
	json_object_foreach (s->open, board, item)
		set_aside(s, item, mono_ns(s->last));
	json_object_clear(s->open);
	drop(s->failures, NULL);
}

static const struct {
	const char *kind;
	void (*fn)(struct summary *s, json_t *record);
} kinds[] = {
	{"run", on_run},
	{"resume", on_resume},
	{"item-start", on_start},
	{"point", on_point},
	{"verdict", on_verdict},
	{"window", on_window},
	{"coverage", on_coverage},
	{"wear", on_wear},
	{"item-end", on_item_end},
	{"bench-error", on_bench_error},
	{"held", on_held},
};

static int take(void *arg, json_t *record, struct err *e)
{
	struct summary *s = arg;

	(void)e;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].kind, str(record, "kind")) == 0)
			kinds[i].fn(s, record);
	json_decref(s->last);
	s->last = json_incref(record);
	return 0;
}

/* --- the text ----------------------------------------------------------------------------- */

static void put_totals(json_t *totals, FILE *out)
{
	static const struct {
		const char *key, *text;
		bool always;
	} names[] = {{"items", "items", true}, {"pass", "passed", true}, {"fail", "failed", true},
		{"error", "in error", false}, {"inconclusive", "inconclusive", false},
		{"skipped", "skipped", false}, {"trials", "trials", false},
		{"cuts", "cuts landed", false}};
	const char *between = "";

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		json_int_t n = json_integer_value(json_object_get(totals, names[i].key));

		if (n == 0 && !names[i].always)
			continue;
		fprintf(out, "%s%jd %s", between, (intmax_t)n, names[i].text);
		between = ", ";
	}
}

static void put_head(json_t *info, json_t *run, const char *folder, FILE *out)
{
	const char *verdict = str(info, "verdict"), *reason = str(info, "reason");
	json_t *seed = json_object_get(run, "seed"), *board;
	size_t i;

	fprintf(out, "run       %s\n", str(info, "id"));
	fprintf(out, "scenario  %s", either(str(info, "scenario"), "unknown"));
	if (json_is_integer(seed))
		fprintf(out, ", seed %jd", (intmax_t)json_integer_value(seed));
	fprintf(out, "\nboards   ");
	json_array_foreach (json_object_get(info, "boards"), i, board)
		fprintf(out, " %s", json_string_value(board));
	fprintf(out, "\nstarted   %s, %.1f s\n", either(str(info, "started"), "never"),
		json_number_value(json_object_get(info, "seconds")));
	fprintf(out, "verdict   %s%s%s\n", either(verdict, "none yet"),
		reason && strcmp(reason, "finished") != 0 ? ": " : "",
		reason && strcmp(reason, "finished") != 0 ? reason : "");
	fputs("          ", out);
	put_totals(json_object_get(info, "totals"), out);
	fprintf(out, "\nfolder    %s\n", folder);
}

static void put_lines(json_t *lines, const char *title, FILE *out)
{
	json_t *line;
	size_t i;

	if (json_array_size(lines) > 0)
		fprintf(out, "\n%s", title);
	json_array_foreach (lines, i, line)
		fputs(str(line, "text"), out);
}

static int summarise(struct summary *s, json_t *info, const char *folder, FILE *out, struct err *e)
{
	char *path = runs_path(folder, JOURNAL_FILE, NULL);
	int rc;

	if (!path)
		return err_set(e, ERR_NOMEM, "out of memory");
	/* a damaged journal is summed up as far as it can be read; the head says so */
	rc = journal_read(path, 1, take, s, NULL, e);
	free(path);
	if (rc != 0 && rc != -ERR_PROTOCOL && rc != -ERR_IO)
		return rc;
	put_head(info, s->run, folder, out);
	put_lines(s->items, "", out);
	put_lines(s->failures, "what failed\n", out);
	put_lines(s->coverage, "coverage\n", out);
	put_lines(s->wear, "wear\n", out);
	if (fflush(out) != 0 || ferror(out))
		return err_set(e, ERR_IO, "the output takes no more");
	return 0;
}

static void summary_finish(struct summary *s)
{
	json_decref(s->items);
	json_decref(s->failures);
	json_decref(s->coverage);
	json_decref(s->wear);
	json_decref(s->run);
	json_decref(s->last);
	json_decref(s->open);
	json_decref(s->before);
}

int runs_show(const char *state_dir, const char *id, FILE *out, struct err *e)
{
	struct summary s = {.items = json_array(),
		.failures = json_array(),
		.coverage = json_array(),
		.wear = json_array(),
		.open = json_object(),
		.before = json_object()};
	json_t *info = NULL;
	char *folder = NULL;
	int rc = runs_info(state_dir, id, &info, e);

	if (rc == 0) {
		folder = runs_path(state_dir, id, NULL);
		rc = folder ? summarise(&s, info, folder, out, e)
			    : err_set(e, ERR_NOMEM, "out of memory");
	}
	summary_finish(&s);
	free(folder);
	json_decref(info);
	return rc;
}
