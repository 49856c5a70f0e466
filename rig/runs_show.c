/*
 * A run summed up for people.
 */
#include "runs.h"

#include "err.h"
#include "journal.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What one pass over the journal prints of: items in the order they ended, and what failed. */
struct summary {
	FILE *items, *failures;
	json_t *run;
	json_t *open; /* {board: {"item", "from": t_mono_ns, "failed": what failed first}} */
	bool any_failure;
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

static void on_start(struct summary *s, json_t *r)
{
	json_object_set_new(s->open, board_of(r),
		json_pack("{ss sO}", "item", either(str(r, "item"), "?"), "from",
			json_object_get(r, "t_mono_ns")));
}

/* One line under "what failed", about the trial or the item that r belongs to. */
static void put_failure(struct summary *s, json_t *r, const char *name, const char *text)
{
	json_t *item = item_of(s, r);
	const char *about = either(str(r, "trial"), str(item, "item"));

	s->any_failure = true;
	fprintf(s->failures, "  %s%s%s: %s%s%s\n", either(about, ""), about ? " on " : "",
		board_of(r), name, text ? ": " : "", either(text, ""));
	if (item && !json_object_get(item, "failed"))
		json_object_set_new(item, "failed", json_string(name));
}

static void put_replay(struct summary *s, json_t *r)
{
	if (str(r, "again"))
		fprintf(s->failures, "    run again: %s\n", str(r, "again"));
	if (str(r, "replay"))
		fprintf(s->failures, "    replay: %s\n", str(r, "replay"));
}

static void on_point(struct summary *s, json_t *r)
{
	if (json_is_true(json_object_get(r, "ok")) || str(r, "trial"))
		return;
	put_failure(s, r, either(str(r, "name"), "?"), NULL);
	put_replay(s, r);
}

static void on_verdict(struct summary *s, json_t *r)
{
	json_t *finding, *findings = json_object_get(r, "findings");
	size_t i;

	if (strcmp(either(str(r, "verdict"), ""), "fail") != 0)
		return;
	json_array_foreach (findings, i, finding)
		put_failure(s, r, either(str(finding, "name"), "?"), str(finding, "text"));
	if (json_array_size(findings) == 0)
		put_failure(s, r, "failed", str(r, "reason"));
	put_replay(s, r);
}

static void on_item_end(struct summary *s, json_t *r)
{
	json_t *item = item_of(s, r);
	const char *verdict = either(str(r, "verdict"), "?"), *skipped = str(r, "skipped");
	const char *why = either(skipped, either(str(r, "reason"), str(item, "failed")));
	json_int_t ns = json_integer_value(json_object_get(r, "t_mono_ns")) -
			json_integer_value(json_object_get(item, "from"));

	if (strcmp(verdict, "fail") == 0 && !str(item, "failed")) {
		put_failure(s, r, "failed", str(r, "reason"));
		put_replay(s, r);
	}
	fprintf(s->items, "  %-12s  %-24s  %-12s  %7.1f s%s%s\n", skipped ? "skipped" : verdict,
		either(str(r, "item"), "?"), board_of(r), item && ns > 0 ? (double)ns / 1e9 : 0,
		why ? "  " : "", either(why, ""));
	json_object_del(s->open, board_of(r));
}

static void on_bench_error(struct summary *s, json_t *r)
{
	put_failure(s, r, either(str(r, "device"), "bench"), str(r, "reason"));
}

static void on_held(struct summary *s, json_t *r)
{
	json_t *line;
	size_t i;

	put_failure(s, r, "left on and leased until", either(str(r, "until"), "?"));
	json_array_foreach (json_object_get(r, "how"), i, line)
		fprintf(s->failures, "    %s\n", either(json_string_value(line), ""));
}

static void on_run(struct summary *s, json_t *r)
{
	if (!s->run)
		s->run = json_incref(r);
}

static const struct {
	const char *kind;
	void (*fn)(struct summary *s, json_t *record);
} kinds[] = {
	{"run", on_run},
	{"item-start", on_start},
	{"point", on_point},
	{"verdict", on_verdict},
	{"item-end", on_item_end},
	{"bench-error", on_bench_error},
	{"held", on_held},
};

static int take(void *arg, json_t *record, struct err *e)
{
	(void)e;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].kind, str(record, "kind")) == 0)
			kinds[i].fn(arg, record);
	return 0;
}

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

static int summarise(struct summary *s, json_t *info, const char *folder, FILE *out, struct err *e)
{
	char *path = runs_path(folder, JOURNAL_FILE, NULL), *items = NULL, *failures = NULL;
	size_t items_size = 0, failures_size = 0;
	int rc;

	s->open = json_object();
	s->items = open_memstream(&items, &items_size);
	s->failures = open_memstream(&failures, &failures_size);
	if (!path || !s->items || !s->failures) {
		rc = err_set(e, ERR_NOMEM, "out of memory");
	} else {
		/* a damaged journal is summed up as far as it can be read; the head says so */
		rc = journal_read(path, 1, take, s, NULL, e);
		rc = rc == -ERR_PROTOCOL || rc == -ERR_IO ? 0 : rc;
	}
	if (s->items)
		fclose(s->items);
	if (s->failures)
		fclose(s->failures);
	if (rc == 0) {
		put_head(info, s->run, folder, out);
		fprintf(out, "%s%s", items_size ? "\n" : "", items);
		fprintf(out, "%s%s", s->any_failure ? "\nwhat failed\n" : "", failures);
		if (fflush(out) != 0 || ferror(out))
			rc = err_set(e, ERR_IO, "the output takes no more");
	}
	free(items);
	free(failures);
	free(path);
	json_decref(s->run);
	json_decref(s->open);
	return rc;
}

int runs_show(const char *state_dir, const char *id, FILE *out, struct err *e)
{
	struct summary s = {0};
	json_t *info;
	char *folder;
	int rc = runs_info(state_dir, id, &info, e);

	if (rc != 0)
		return rc;
	folder = runs_path(state_dir, id, NULL);
	rc = folder ? summarise(&s, info, folder, out, e) : err_set(e, ERR_NOMEM, "out of memory");
	free(folder);
	json_decref(info);
	return rc;
}
