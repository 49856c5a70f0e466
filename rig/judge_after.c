#include "judge_priv.h"

/* Findings about what lasts: user data, another reboot, another update. */

/* The release that ruled before runs did: the old one, or on a way through others the stop before.
 */
static const char *release_before(const struct judge_trial *t, const char *runs)
{
	const json_t *path = judge_get(t->all, "path"), *stop;
	const char *before = t->from;
	size_t i;

	json_array_foreach (path, i, stop) {
		const char *version = json_string_value(stop);

		if (!version || judge_same(version, runs))
			break;
		before = version;
	}
	return before;
}

enum judge_outcome judge_fallback_lost(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *fallback = judge_get(t->all, "fallback");
	const char *then = judge_text(judge_get(judge_get(t->all, "reboot"), "boot"), "version");
	const char *flash = judge_text(judge_get(t->all, "primary"), "release");
	const char *runs = t->runs ? t->runs : flash, *before;

	/* gone back by the end, as an unconfirmed release may, it needs no fallback any more */
	if (!fallback || !runs || !judge_on_trial(t) || judge_same(runs, t->from) ||
		(then && !judge_same(then, runs)))
		return JUDGE_SKIP;
	before = release_before(t, runs);
	judge_say(c->what, "%.100s is kept whole while %.100s is on trial", before, runs);
	judge_say(c->expected, "the image of %.100s in the second slot", before);
	judge_say_flash(c->seen, fallback);
	return judge_same(judge_text(fallback, "release"), before) ? JUDGE_OK : JUDGE_BAD;
}

enum judge_outcome judge_data_lost(const struct judge_trial *t, struct judge_claim *c)
{
	static const struct {
		const char *of, *when;
	} places[] = {{NULL, "after the update"}, {"reboot", "after another reboot"},
		{"retry", "after the update was given again"}, {"later", "after a later update"}};
	enum judge_outcome outcome = JUDGE_SKIP;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		const json_t *place = places[i].of ? judge_get(t->all, places[i].of) : t->all;
		const json_t *data = judge_get(place, "user_data");
		const char *seen = judge_text(data, "seen");

		if (!data)
			continue;
		judge_say(c->what, "user data survived");
		judge_say(c->expected, "what was written before the update");
		if (!judge_is_true(data, "ok")) {
			judge_say(c->seen, "%s: %.400s", places[i].when,
				seen ? seen : "something else");
			return JUDGE_BAD;
		}
		outcome = JUDGE_OK;
	}
	return outcome;
}

enum judge_outcome judge_late_revert(const struct judge_trial *t, struct judge_claim *c)
{
	const char *then = judge_text(judge_get(judge_get(t->all, "reboot"), "boot"), "version");

	if (!then || t->revert || !judge_same(t->runs, t->to) || judge_on_trial(t))
		return JUDGE_SKIP;
	judge_say(c->what, "does not go back to %.100s once it runs %.100s", t->from, t->to);
	judge_say(c->expected, "%.100s after another reboot", t->to);
	judge_say(c->seen, "%.100s", then);
	return judge_same(then, t->from) ? JUDGE_BAD : JUDGE_OK;
}

enum judge_outcome judge_unstable(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *reboot = judge_get(t->all, "reboot"), *boot = judge_get(reboot, "boot");
	const char *then = judge_text(boot, "version");
	const char *flash = judge_text(judge_get(t->all, "primary"), "release");
	const json_t *now = judge_get(reboot, "primary");

	if (!reboot || t->bad[JUDGE_LATE_REVERT] || t->bad[JUDGE_BRICKED] ||
		t->bad[JUDGE_BOOT_LOOP])
		return JUDGE_SKIP;
	judge_say(c->what, "another reboot changes nothing");
	judge_say(c->expected, "%.100s%s", t->runs ? t->runs : "ready",
		flash ? ", and the same image in flash" : "");
	if (!judge_is_true(boot, "ready") || judge_over_limit(t, boot)) {
		judge_say_boot(c->seen, boot);
		return JUDGE_BAD;
	}
	/* an unconfirmed release goes back; one that gives itself up too late was said to */
	if ((judge_on_trial(t) || t->bad[JUDGE_NOT_REVERTED]) && judge_same(then, t->from))
		return JUDGE_OK;
	if (t->runs && then && !judge_same(then, t->runs)) {
		judge_say(c->seen, "runs %.100s", then);
		return JUDGE_BAD;
	}
	if (flash && now && !judge_same(judge_text(now, "release"), flash)) {
		judge_say_flash(c->seen, now);
		return JUDGE_BAD;
	}
	return JUDGE_OK;
}

/* --- another update -------------------------------------------------------------------------- */

/* Whether it never came up again as it was: then that another update fails is no news. */
static bool is_down(const struct judge_trial *t)
{
	const json_t *boot = judge_get(judge_get(t->all, "reboot"), "boot");

	return t->bad[JUDGE_BRICKED] || t->bad[JUDGE_BOOT_LOOP] || judge_is_false(boot, "ready");
}

/* Judges an update given afterwards, {"accepted", "error", "boot", "primary"}, by what must run. */
static enum judge_outcome leads_to(const struct judge_trial *t, const json_t *update,
	const char *release, struct judge_claim *c)
{
	const json_t *boot = judge_get(update, "boot"), *primary = judge_get(update, "primary");
	const char *error = judge_text(update, "error"), *version = judge_text(boot, "version");

	if (!judge_is_true(update, "accepted")) {
		judge_say(c->seen, "%s", error ? error : "not accepted");
		return JUDGE_BAD;
	}
	if (boot && (!judge_is_true(boot, "ready") || judge_over_limit(t, boot))) {
		judge_say_boot(c->seen, boot);
		return JUDGE_BAD;
	}
	if (version && !judge_same(version, release)) {
		judge_say(c->seen, "runs %.100s", version);
		return JUDGE_BAD;
	}
	if (primary && !judge_same(judge_text(primary, "release"), release)) {
		judge_say_flash(c->seen, primary);
		return JUDGE_BAD;
	}
	return JUDGE_OK;
}

enum judge_outcome judge_retry_fails(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *retry = judge_get(t->all, "retry");

	if (!retry || t->refuse || is_down(t) || t->bad[JUDGE_UPDATE_FAILED] ||
		t->bad[JUDGE_NOT_REVERTED])
		return JUDGE_SKIP;
	judge_say(c->what, "takes the same update again");
	if (t->revert)
		judge_say(c->expected, "accepted, and %.100s at the end", t->from);
	else
		judge_say(c->expected, "runs %.100s", t->to);
	return leads_to(t, retry, t->revert ? t->from : t->to, c);
}

enum judge_outcome judge_later_fails(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *later = judge_get(t->all, "later");
	const char *to = judge_text(later, "to");

	if (!later || is_down(t) || t->bad[JUDGE_UPDATE_FAILED] || t->bad[JUDGE_RETRY_FAILS])
		return JUDGE_SKIP;
	judge_say(c->what, "takes a later update to %.100s", to);
	judge_say(c->expected, "runs %.100s", to);
	return leads_to(t, later, to, c);
}
