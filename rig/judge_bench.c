#include "judge_priv.h"

/* Findings about the bench and the trial itself. */

enum judge_outcome judge_bench_error(const struct judge_trial *t, struct judge_claim *c)
{
	const char *text = judge_text(t->all, "bench");

	if (!text)
		return JUDGE_SKIP;
	judge_say(c->what, "the bench did its part");
	judge_say(c->expected, "no fault of the bench");
	judge_say(c->seen, "%s", text);
	return JUDGE_BAD;
}

static const char *agreement_of(const struct judge_trial *t)
{
	return judge_text(judge_get(judge_get(t->all, "cut"), "landed"), "agreement");
}

enum judge_outcome judge_cut_skewed(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *landed = judge_get(judge_get(t->all, "cut"), "landed");
	const char *text = judge_text(landed, "text");

	if (!agreement_of(t) || judge_same(agreement_of(t), "unknown"))
		return JUDGE_SKIP;
	judge_say(c->what, "the power went where the board says it did");
	judge_say(c->expected, "flash and the board's own counter agree");
	judge_say(c->seen, "%s", text ? text : "they do not");
	return judge_same(agreement_of(t), "agrees") ? JUDGE_OK : JUDGE_BAD;
}

enum judge_outcome judge_cut_unplaced(const struct judge_trial *t, struct judge_claim *c)
{
	const char *text = judge_text(judge_get(judge_get(t->all, "cut"), "landed"), "text");

	if (!agreement_of(t))
		return JUDGE_SKIP;
	judge_say(c->what, "flash shows where the power went");
	judge_say(c->expected, "a state on the way of the uncut update");
	judge_say(c->seen, "%s", text ? text : "none of them");
	return judge_same(agreement_of(t), "unknown") ? JUDGE_BAD : JUDGE_SKIP;
}

enum judge_outcome judge_cut_missed(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *cut = judge_get(t->all, "cut"), *update = judge_get(t->all, "update");

	/* an update that was not taken did not end before its cut: that is update-failed */
	if (!judge_get(cut, "fired") ||
		(!t->cut && !t->refuse && judge_is_false(update, "accepted")))
		return JUDGE_SKIP;
	judge_say(c->what, "the power went during the update");
	judge_say(c->expected, "a cut at %.200s", judge_text(cut, "requested"));
	judge_say(c->seen, "the %s ended before it",
		judge_get(cut, "landed") ? "recovery" : "update");
	return judge_is_true(cut, "fired") ? JUDGE_SKIP : JUDGE_BAD;
}

enum judge_outcome judge_not_seen(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *primary = judge_get(t->all, "primary");

	judge_say(c->what, "the device was watched when the update was over");
	judge_say(c->expected, "a boot, and the version that runs or the image in flash");
	if (!t->last) {
		judge_say(c->seen, "no boot");
		return JUDGE_BAD;
	}
	judge_say(c->seen, "neither version nor image");
	return judge_is_true(t->last, "ready") && !t->runs && !primary ? JUDGE_BAD : JUDGE_SKIP;
}
