#include "judge_priv.h"

/* Findings about what lasts: user data, another reboot, another update. */

enum judge_outcome judge_data_lost(const struct judge_trial *t, struct judge_claim *c)
{
	static const struct {
		const char *of, *when;
	} places[] = {{NULL, "after the update"}, {"reboot", "after another reboot"},
		{"retry", "after the update was given again"}};
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

	if (!then || !judge_same(t->runs, t->to) || judge_on_trial(t))
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
	if (judge_on_trial(t) && judge_same(then, t->from))
		return JUDGE_OK; /* an unconfirmed release goes back */
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

enum judge_outcome judge_retry_fails(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *retry = judge_get(t->all, "retry"), *boot = judge_get(retry, "boot");
	const json_t *primary = judge_get(retry, "primary");
	const char *error = judge_text(retry, "error"), *version = judge_text(boot, "version");

	if (!retry || t->refuse)
		return JUDGE_SKIP;
	judge_say(c->what, "takes the same update again");
	judge_say(c->expected, "runs %.100s", t->to);
	if (!judge_is_true(retry, "accepted")) {
		judge_say(c->seen, "%s", error ? error : "not accepted");
		return JUDGE_BAD;
	}
	if (boot && (!judge_is_true(boot, "ready") || judge_over_limit(t, boot))) {
		judge_say_boot(c->seen, boot);
		return JUDGE_BAD;
	}
	if (version && !judge_same(version, t->to)) {
		judge_say(c->seen, "runs %.100s", version);
		return JUDGE_BAD;
	}
	if (primary && !judge_same(judge_text(primary, "release"), t->to)) {
		judge_say_flash(c->seen, primary);
		return JUDGE_BAD;
	}
	return JUDGE_OK;
}
