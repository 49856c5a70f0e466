#include "judge_priv.h"

#include "shape.h"
#include "text.h"

#include <string.h>

static const char *const verdict_names[VERDICT_COUNT] = {[VERDICT_PASS] = "pass",
	[VERDICT_FAIL] = "fail",
	[VERDICT_ERROR] = "error",
	[VERDICT_INCONCLUSIVE] = "inconclusive"};

const char *verdict_name(enum verdict verdict)
{
	return verdict_names[verdict];
}

/* --- the shape of observations --------------------------------------------------------------- */

static const struct shape limits_shape[] = {
	{"ready_within_ms", SHAPE_NUMBER, false, NULL},
	{"max_resets", SHAPE_NUMBER, false, NULL},
	SHAPE_END,
};
static const struct shape cut_shape[] = {
	{"requested", SHAPE_TEXT, true, NULL},
	{"operations", SHAPE_NUMBER, false, NULL},
	{"commit", SHAPE_NUMBER, false, NULL},
	{"new_at", SHAPE_NUMBER, false, NULL},
	{"old_at", SHAPE_NUMBER, false, NULL},
	{"fired", SHAPE_FLAG, false, NULL},
	{"landed", SHAPE_TABLE, false, NULL},
	SHAPE_END,
};
static const struct shape update_shape[] = {
	{"accepted", SHAPE_FLAG, true, NULL},
	{"error", SHAPE_TEXT, false, NULL},
	SHAPE_END,
};
static const struct shape boot_shape[] = {
	{"ready", SHAPE_FLAG, true, NULL},
	{"resets", SHAPE_NUMBER, false, NULL},
	{"ms", SHAPE_NUMBER, false, NULL},
	{"version", SHAPE_TEXT, false, NULL},
	SHAPE_END,
};
static const struct shape flash_shape[] = {
	{"release", SHAPE_TEXT, false, NULL},
	{"mixed", SHAPE_FLAG, false, NULL},
	{"version", SHAPE_TEXT, false, NULL},
	{"hash", SHAPE_TEXT, false, NULL},
	{"detail", SHAPE_TEXT, false, NULL},
	SHAPE_END,
};
static const struct shape data_shape[] = {
	{"ok", SHAPE_FLAG, true, NULL},
	{"seen", SHAPE_TEXT, false, NULL},
	SHAPE_END,
};
static const struct shape slot_shape[] = {
	{"slot", SHAPE_NUMBER, true, NULL},
	{"version", SHAPE_TEXT, false, NULL},
	{"hash", SHAPE_TEXT, false, NULL},
	{"active", SHAPE_FLAG, false, NULL},
	{"confirmed", SHAPE_FLAG, false, NULL},
	{"pending", SHAPE_FLAG, false, NULL},
	{"permanent", SHAPE_FLAG, false, NULL},
	{"bootable", SHAPE_FLAG, false, NULL},
	SHAPE_END,
};
static const struct shape status_shape[] = {
	{"slots", SHAPE_LIST, true, slot_shape},
	SHAPE_END,
};
static const struct shape reboot_shape[] = {
	{"boot", SHAPE_TABLE, true, boot_shape},
	{"primary", SHAPE_TABLE, false, flash_shape},
	{"user_data", SHAPE_TABLE, false, data_shape},
	SHAPE_END,
};
static const struct shape retry_shape[] = {
	{"accepted", SHAPE_FLAG, true, NULL},
	{"error", SHAPE_TEXT, false, NULL},
	{"boot", SHAPE_TABLE, false, boot_shape},
	{"primary", SHAPE_TABLE, false, flash_shape},
	{"user_data", SHAPE_TABLE, false, data_shape},
	SHAPE_END,
};
static const struct shape later_shape[] = {
	{"to", SHAPE_TEXT, true, NULL},
	{"accepted", SHAPE_FLAG, true, NULL},
	{"error", SHAPE_TEXT, false, NULL},
	{"boot", SHAPE_TABLE, false, boot_shape},
	{"primary", SHAPE_TABLE, false, flash_shape},
	{"user_data", SHAPE_TABLE, false, data_shape},
	SHAPE_END,
};
static const struct shape write_shape[] = {
	{"op", SHAPE_NUMBER, true, NULL},
	{"address", SHAPE_NUMBER, true, NULL},
	{"kind", SHAPE_TEXT, false, NULL},
	SHAPE_END,
};
static const struct shape writes_shape[] = {
	{"outside", SHAPE_LIST, true, write_shape},
	{"unerased", SHAPE_LIST, true, write_shape},
	{"outside_total", SHAPE_NUMBER, false, NULL},
	{"unerased_total", SHAPE_NUMBER, false, NULL},
	{"checked", SHAPE_NUMBER, true, NULL},
	SHAPE_END,
};
static const struct shape observations_shape[] = {
	{"from", SHAPE_TEXT, true, NULL},
	{"to", SHAPE_TEXT, true, NULL},
	{"expect", SHAPE_TEXT, true, NULL},
	{"path", SHAPE_LIST, false, NULL},
	{"limits", SHAPE_TABLE, false, limits_shape},
	{"bench", SHAPE_TEXT, false, NULL},
	{"cut", SHAPE_TABLE, false, cut_shape},
	{"update", SHAPE_TABLE, false, update_shape},
	{"boots", SHAPE_LIST, false, boot_shape},
	{"unanswered", SHAPE_TEXT, false, NULL},
	{"primary", SHAPE_TABLE, false, flash_shape},
	{"user_data", SHAPE_TABLE, false, data_shape},
	{"status", SHAPE_TABLE, false, status_shape},
	{"reboot", SHAPE_TABLE, false, reboot_shape},
	{"retry", SHAPE_TABLE, false, retry_shape},
	{"fallback", SHAPE_TABLE, false, flash_shape},
	{"later", SHAPE_TABLE, false, later_shape},
	{"writes", SHAPE_TABLE, false, writes_shape},
	SHAPE_END,
};

/* --- the table ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum verdict when_not_ok;
	enum judge_outcome (*check)(const struct judge_trial *t, struct judge_claim *c);
} findings[JUDGE_FINDING_COUNT] = {
#define X(constant, function, name, verdict) {name, verdict, judge_##function},
	JUDGE_FINDINGS(X)
#undef X
};

/* --- the whole ------------------------------------------------------------------------------- */

/* What was seen may come from anywhere, and be cut short within a character. */
static json_t *text_json(const char *text)
{
	char safe[4 * JUDGE_TEXT_MAX + 1];

	text_escape(safe, sizeof(safe), text, strlen(text), TEXT_LINE);
	return json_string(safe);
}

static json_t *finding_json(const char *name, bool ok, const struct judge_claim *c)
{
	return json_pack("{s:s, s:b, s:o, s:o, s:o}", "name", name, "ok", ok, "what",
		text_json(c->what), "expected", ok ? json_null() : text_json(c->expected), "seen",
		ok ? json_null() : text_json(c->seen));
}

/* Observations of the wrong shape: whoever made them is at fault, and nobody else. */
static json_t *reject(const char *text)
{
	struct judge_claim c;
	json_t *list = json_array();

	judge_say(c.what, "the bench did its part");
	judge_say(c.expected, "observations as judge.h describes them");
	judge_say(c.seen, "%s", text);
	if (list && json_array_append_new(list, finding_json("bench-error", false, &c)) == 0)
		return list;
	json_decref(list);
	return NULL;
}

json_t *judge(const json_t *observations)
{
	static const char *const expectations[] = {
		"upgrade", "upgrade-via", "downgrade", "refuse", "revert"};
	char wrong[JUDGE_TEXT_MAX];
	const char *expect;
	struct judge_trial t;
	json_t *list;
	size_t i = 0;

	if (!shape_fits(observations, observations_shape, "observations", wrong, sizeof(wrong)))
		return reject(wrong);
	expect = judge_text(observations, "expect");
	while (i < sizeof(expectations) / sizeof(*expectations) &&
		!judge_same(expect, expectations[i]))
		i++;
	if (i == sizeof(expectations) / sizeof(*expectations)) {
		judge_say(wrong, "expect: \"%.100s\" is not known", expect);
		return reject(wrong);
	}
	list = json_array();
	judge_trial_read(&t, observations);
	for (i = 0; list && i < JUDGE_FINDING_COUNT && !t.bad[JUDGE_BENCH_ERROR]; i++) {
		struct judge_claim c = {.what = ""};
		enum judge_outcome outcome = findings[i].check(&t, &c);

		t.bad[i] = outcome == JUDGE_BAD;
		if (outcome == JUDGE_SKIP)
			continue;
		if (json_array_append_new(
			    list, finding_json(findings[i].name, outcome == JUDGE_OK, &c)) != 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static enum verdict when_not_ok(const char *name)
{
	for (size_t i = 0; i < JUDGE_FINDING_COUNT; i++)
		if (judge_same(name, findings[i].name))
			return findings[i].when_not_ok;
	return VERDICT_FAIL;
}

enum verdict judge_verdict(const json_t *list)
{
	/* what outweighs what */
	static const enum verdict order[] = {VERDICT_ERROR, VERDICT_FAIL, VERDICT_INCONCLUSIVE};
	bool given[VERDICT_COUNT] = {false};
	const json_t *finding;
	size_t i;

	json_array_foreach (list, i, finding)
		if (!json_is_true(json_object_get(finding, "ok")))
			given[when_not_ok(json_string_value(json_object_get(finding, "name")))] =
				true;
	for (i = 0; i < sizeof(order) / sizeof(*order); i++)
		if (given[order[i]])
			return order[i];
	return json_array_size(list) ? VERDICT_PASS : VERDICT_INCONCLUSIVE;
}

const char *judge_finding_name(size_t i, enum verdict *verdict)
{
	if (i >= JUDGE_FINDING_COUNT)
		return NULL;
	if (verdict)
		*verdict = findings[i].when_not_ok;
	return findings[i].name;
}
