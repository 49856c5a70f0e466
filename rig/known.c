#include "known.h"

#include "journal.h"

#include <string.h>

static const char *const total_names[] = {
	"items", "pass", "fail", "error", "inconclusive", "skipped", "trials", "cuts"};

static const char *str(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static json_int_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static bool verdict_is(const json_t *object, const char *verdict)
{
	const char *is = str(object, "verdict");

	return is && strcmp(is, verdict) == 0;
}

/* It has one, and none that says nothing of the DUT. */
static bool has_verdict(const json_t *object)
{
	return str(object, "verdict") && !verdict_is(object, "error");
}

static void add(json_t *object, const char *name, json_int_t n)
{
	json_object_set_new(object, name, json_integer(number(object, name) + n));
}

static void keep(json_t **slot, json_t *record)
{
	json_decref(*slot);
	*slot = json_incref(record);
}

void known_init(struct known *k)
{
	*k = (struct known){.items = json_object(), .under_way = json_object()};
}

void known_finish(struct known *k)
{
	json_decref(k->run);
	json_decref(k->plan);
	json_decref(k->end);
	json_decref(k->last);
	json_decref(k->items);
	json_decref(k->under_way);
}

/* --- records ------------------------------------------------------------------------------ */

/* The item under way on the record's board, borrowed, or NULL. */
static json_t *item_of(struct known *k, const json_t *record)
{
	const char *board = str(record, "board");
	const char *key = board ? str(k->under_way, board) : NULL;

	return key ? json_object_get(k->items, key) : NULL;
}

static json_t *trial_of(struct known *k, const json_t *record)
{
	const char *key = str(record, "trial");

	return key ? json_object_get(json_object_get(item_of(k, record), "trials"), key) : NULL;
}

static void on_run(struct known *k, json_t *r)
{
	if (!k->run)
		keep(&k->run, r);
}

static void on_plan(struct known *k, json_t *r)
{
	if (!k->plan)
		keep(&k->plan, r);
}

static void on_item_start(struct known *k, json_t *r)
{
	const char *board = str(r, "board"), *key = str(r, "item");
	json_t *before, *trials = NULL;

	if (!key || !board)
		return;
	before = json_object_get(k->items, key);
	if (json_is_true(json_object_get(r, "resumed")))
		trials = json_incref(json_object_get(before, "trials"));
	json_object_set_new(k->items, key,
		json_pack("{s:s, s:i, s:o}", "board", board, "cuts", 0, "trials",
			trials ? trials : json_object()));
	json_object_set_new(k->under_way, board, json_string(key));
}

static void on_trial_start(struct known *k, json_t *r)
{
	json_t *item = item_of(k, r);
	const char *key = str(r, "trial");

	if (item && key)
		json_object_set_new(
			json_object_get(item, "trials"), key, json_pack("{s:i}", "cuts", 0));
}

bool known_cut_landed(const json_t *cut)
{
	return !json_is_true(json_object_get(cut, "again")) &&
	       (json_is_integer(json_object_get(cut, "landed")) ||
		       json_is_true(json_object_get(cut, "by_count")));
}

static void on_cut(struct known *k, json_t *r)
{
	json_t *trial = trial_of(k, r), *of = trial ? trial : item_of(k, r);

	if (of && known_cut_landed(r))
		add(of, "cuts", 1);
}

static void take(json_t *to, const json_t *record, const char *const *names)
{
	for (; *names; names++) {
		json_t *value = json_object_get(record, *names);

		if (value)
			json_object_set(to, *names, value);
	}
}

static void on_verdict(struct known *k, json_t *r)
{
	static const char *const names[] = {"verdict", "cut", "outcome", NULL};
	json_t *trial = trial_of(k, r);

	if (trial)
		take(trial, r, names);
}

static void on_item_end(struct known *k, json_t *r)
{
	static const char *const names[] = {"verdict", "skipped", NULL};
	const char *board = str(r, "board"), *key = str(r, "item");
	json_t *item = key ? json_object_get(k->items, key) : NULL;

	if (!key || !board)
		return;
	if (!item) { /* skipped without ever having started */
		on_item_start(k, r);
		item = json_object_get(k->items, key);
	}
	take(item, r, names);
	if (!str(item, "verdict"))
		json_object_set_new(item, "verdict", json_string("error"));
	json_object_del(k->under_way, board);
}

static void on_end(struct known *k, json_t *r)
{
	keep(&k->end, r);
}

static void on_resume(struct known *k, json_t *r)
{
	json_int_t ns = number(k->last, "t_mono_ns") - k->from_ns;

	k->sum_ns += ns > 0 ? ns : 0;
	k->from_ns = number(r, "t_mono_ns");
	k->resumed++;
	known_take_up(k);
}

static const struct {
	const char *kind;
	void (*fn)(struct known *k, json_t *record);
} kinds[] = {
	{"run", on_run},
	{"plan", on_plan},
	{"item-start", on_item_start},
	{"trial-start", on_trial_start},
	{"cut", on_cut},
	{"verdict", on_verdict},
	{"item-end", on_item_end},
	{"end", on_end},
	{"resume", on_resume},
};

void known_record(struct known *k, json_t *record)
{
	const char *kind = str(record, "kind");

	if (!k->last)
		k->from_ns = number(record, "t_mono_ns");
	for (size_t i = 0; kind && i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].kind, kind) == 0)
			kinds[i].fn(k, record);
	keep(&k->last, record);
}

static int take_record(void *arg, json_t *record, struct err *e)
{
	(void)e;
	known_record(arg, record);
	return 0;
}

int known_read(struct known *k, const char *journal, struct err *e)
{
	return journal_read(journal, 1, take_record, k, NULL, e);
}

void known_take_up(struct known *k)
{
	json_t *item, *trial;
	const char *key, *name;
	void *following;

	json_decref(k->end);
	k->end = NULL;
	json_object_clear(k->under_way);
	json_object_foreach (k->items, key, item) {
		json_t *trials = json_object_get(item, "trials");

		if (has_verdict(item))
			continue;
		json_object_del(item, "verdict");
		json_object_del(item, "skipped");
		json_object_set_new(item, "cuts", json_integer(0));
		json_object_foreach_safe (trials, following, name, trial)
			if (!has_verdict(trial))
				json_object_del(trials, name);
	}
}

/* --- what is known ------------------------------------------------------------------------ */

bool known_item_over(const struct known *k, const char *item)
{
	return has_verdict(json_object_get(k->items, item));
}

bool known_item_begun(const struct known *k, const char *item)
{
	return json_object_get(k->items, item) != NULL;
}

bool known_unfinished(const struct known *k)
{
	const char *reason = str(k->end, "reason"), *key;
	json_t *item;

	if (!reason || strcmp(reason, "interrupted") == 0 || strcmp(reason, "cancelled") == 0 ||
		strcmp(reason, "error") == 0)
		return true;
	if (strcmp(reason, "finished") == 0)
		json_object_foreach (k->items, key, item)
			if (!has_verdict(item))
				return true;
	return false;
}

json_t *known_trials(const struct known *k, const char *item)
{
	json_t *trials = json_object_get(json_object_get(k->items, item), "trials"), *trial;
	json_t *found = json_object();
	const char *key;

	json_object_foreach (trials, key, trial)
		if (has_verdict(trial))
			json_object_set(found, key, trial);
	if (json_object_size(found) > 0)
		return found;
	json_decref(found);
	return NULL;
}

json_t *known_totals(const struct known *k)
{
	json_t *totals = json_object(), *item, *trial;
	const char *key, *name, *verdict;

	for (size_t i = 0; i < sizeof(total_names) / sizeof(*total_names); i++)
		json_object_set_new(totals, total_names[i], json_integer(0));
	if (!k)
		return totals;
	add(totals, "items", (json_int_t)json_array_size(json_object_get(k->plan, "items")));
	json_object_foreach (k->items, key, item) {
		verdict = str(item, "verdict");
		if (verdict)
			add(totals, str(item, "skipped") ? "skipped" : verdict, 1);
		add(totals, "cuts", number(item, "cuts"));
		json_object_foreach (json_object_get(item, "trials"), name, trial) {
			add(totals, "trials", str(trial, "verdict") != NULL);
			add(totals, "cuts", number(trial, "cuts"));
		}
	}
	return totals;
}

bool known_failed(const struct known *k)
{
	json_t *item, *trial;
	const char *key, *name;

	json_object_foreach (k->items, key, item) {
		if (verdict_is(item, "fail"))
			return true;
		json_object_foreach (json_object_get(item, "trials"), name, trial)
			if (verdict_is(trial, "fail"))
				return true;
	}
	return false;
}

double known_seconds(const struct known *k)
{
	json_int_t ns = number(k->last, "t_mono_ns") - k->from_ns;

	return (double)(k->sum_ns + (ns > 0 ? ns : 0)) / 1e9;
}
