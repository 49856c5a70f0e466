#include "judge_priv.h"

#include "err.h"
#include "releases.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Findings about the device when the update is over: what runs, and what stands in flash. */

/* --- whether it boots, and from what --------------------------------------------------------- */

enum judge_outcome judge_boot_loop(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *limits = judge_get(t->all, "limits"), *boots = judge_get(t->all, "boots");
	const json_t *boot;
	size_t i;

	if (!t->last || !judge_get(limits, "max_resets"))
		return JUDGE_SKIP;
	judge_say(c->what, "boots without resetting over and over");
	judge_say(c->expected, "at most %" JSON_INTEGER_FORMAT " resets",
		judge_number(limits, "max_resets"));
	json_array_foreach (boots, i, boot)
		if (judge_over_limit(t, boot)) {
			judge_say_boot(c->seen, boot);
			return JUDGE_BAD;
		}
	return JUDGE_OK;
}

enum judge_outcome judge_bricked(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *limits = judge_get(t->all, "limits"), *boots = judge_get(t->all, "boots");
	const json_t *boot;
	bool silent = false;
	size_t i;

	if (!t->last)
		return JUDGE_SKIP;
	judge_say(c->what, "boots without help");
	judge_say(c->expected, "ready");
	if (judge_get(limits, "ready_within_ms"))
		judge_say(c->expected, "ready within %" JSON_INTEGER_FORMAT " ms",
			judge_number(limits, "ready_within_ms"));
	json_array_foreach (boots, i, boot)
		if (!judge_is_true(boot, "ready")) {
			if (!judge_over_limit(t, boot)) {
				judge_say_boot(c->seen, boot);
				return JUDGE_BAD;
			}
			silent = true; /* a boot loop, and said to be one */
		}
	return silent ? JUDGE_SKIP : JUDGE_OK;
}

enum judge_outcome judge_unresponsive(const struct judge_trial *t, struct judge_claim *c)
{
	const char *unanswered = judge_text(t->all, "unanswered");

	if (!unanswered || t->bad[JUDGE_BRICKED] || t->bad[JUDGE_BOOT_LOOP])
		return JUDGE_SKIP;
	judge_say(c->what, "answers what it is asked after it came up");
	judge_say(c->expected, "an answer");
	judge_say(c->seen, "%s", unanswered);
	return JUDGE_BAD;
}

enum judge_outcome judge_mixed_image(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *primary = judge_get(t->all, "primary");

	if (!primary)
		return JUDGE_SKIP;
	judge_say(c->what, "the image in flash is of one release");
	judge_say(c->expected, "one release's image");
	judge_say_flash(c->seen, primary);
	return judge_is_true(primary, "mixed") ? JUDGE_BAD : JUDGE_OK;
}

enum judge_outcome judge_image_damaged(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *primary = judge_get(t->all, "primary");

	if (!primary || t->bad[JUDGE_MIXED_IMAGE])
		return JUDGE_SKIP;
	judge_say(c->what, "the image in flash is whole");
	judge_say(c->expected, "a release's image, byte for byte");
	judge_say_flash(c->seen, primary);
	return judge_text(primary, "release") ? JUDGE_OK : JUDGE_BAD;
}

/* --- what may run ---------------------------------------------------------------------------- */

/* Which releases may run at the end. */
enum side { SIDE_OLD, SIDE_NEW, SIDE_EITHER };

/*
 * Before the commit point the old release, after it the new one. Where that point or the place of
 * the cut is not known, or the commit itself was torn, either.
 */
static enum side side_of(const struct judge_trial *t)
{
	const json_t *cut = judge_get(t->all, "cut"), *landed = judge_get(cut, "landed");
	json_int_t commit, done;

	if (t->refuse || t->revert)
		return SIDE_OLD;
	if (!t->cut)
		return SIDE_NEW;
	if (!judge_get(cut, "commit") || !judge_get(landed, "done") ||
		json_array_size(judge_get(t->all, "path")) > 1 ||
		strchr(judge_text(cut, "requested"), ','))
		return SIDE_EITHER;
	commit = judge_number(cut, "commit");
	done = judge_number(landed, "done");
	if (done >= commit)
		return SIDE_NEW;
	return judge_is_true(landed, "torn") && done + 1 == commit ? SIDE_EITHER : SIDE_OLD;
}

static bool may_run(const struct judge_trial *t, const char *version)
{
	const json_t *path = judge_get(t->all, "path");
	enum side side = side_of(t);
	const json_t *stop;
	size_t i;

	if (judge_same(version, t->from))
		return side != SIDE_NEW;
	if (judge_same(version, t->to))
		return side != SIDE_OLD;
	if (side != SIDE_EITHER)
		return false;
	json_array_foreach (path, i, stop)
		if (judge_same(version, json_string_value(stop)))
			return true;
	return false;
}

static void say_what_may_run(char text[JUDGE_TEXT_MAX], const struct judge_trial *t)
{
	const json_t *path = judge_get(t->all, "path");
	size_t stops = json_array_size(path), used;

	switch (side_of(t)) {
	case SIDE_OLD:
		judge_say(text, "%.100s", t->from);
		return;
	case SIDE_NEW:
		judge_say(text, "%.100s", t->to);
		return;
	case SIDE_EITHER:
		break;
	}
	judge_say(text, "%.100s", t->from);
	for (size_t i = 0; i + 1 < stops; i++) {
		const char *stop = json_string_value(json_array_get(path, i));

		used = strlen(text);
		snprintf(text + used, JUDGE_TEXT_MAX - used, ", %.60s", stop ? stop : "?");
	}
	used = strlen(text);
	snprintf(text + used, JUDGE_TEXT_MAX - used, " or %.100s", t->to);
}

/* --- what runs ------------------------------------------------------------------------------- */

enum judge_outcome judge_not_refused(const struct judge_trial *t, struct judge_claim *c)
{
	const char *flash = judge_text(judge_get(t->all, "primary"), "release");
	bool runs = judge_same(t->runs, t->to), holds = judge_same(flash, t->to);

	if (!t->refuse || (!t->runs && !flash && !judge_get(t->all, "update")))
		return JUDGE_SKIP;
	judge_say(c->what, "refuses %.100s", t->to);
	judge_say(c->expected, "%.100s stays", t->from);
	judge_say(c->seen, "%s %.100s", runs ? "runs" : "flash holds", t->to);
	return runs || holds ? JUDGE_BAD : JUDGE_OK;
}

enum judge_outcome judge_downgraded(const struct judge_trial *t, struct judge_claim *c)
{
	/* of a release that is to give itself up, not-reverted says all that runs instead */
	if (!t->runs || t->downgrade || t->revert || t->bad[JUDGE_NOT_REFUSED])
		return JUDGE_SKIP;
	judge_say(c->what, "runs nothing older than %.100s", t->from);
	judge_say(c->expected, "%.100s or later", t->from);
	judge_say(c->seen, "runs %.100s", t->runs);
	return semver_check(t->runs, &(struct err){0}) == 0 && semver_compare(t->runs, t->from) < 0
		       ? JUDGE_BAD
		       : JUDGE_OK;
}

enum judge_outcome judge_update_failed(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *update = judge_get(t->all, "update");
	const char *error = judge_text(update, "error");

	if (!update || t->refuse || t->cut)
		return JUDGE_SKIP;
	judge_say(c->what, "takes the update to %.100s", t->to);
	judge_say(c->expected, "accepted");
	judge_say(c->seen, "%s", error ? error : "not accepted");
	return judge_is_true(update, "accepted") ? JUDGE_OK : JUDGE_BAD;
}

enum judge_outcome judge_wrong_version(const struct judge_trial *t, struct judge_claim *c)
{
	if (!t->runs || t->revert || t->bad[JUDGE_DOWNGRADED] || t->bad[JUDGE_NOT_REFUSED])
		return JUDGE_SKIP;
	if (t->bad[JUDGE_UPDATE_FAILED] && judge_same(t->runs, t->from))
		return JUDGE_SKIP;
	say_what_may_run(c->expected, t);
	judge_say(c->what, "%s %.400s", t->refuse ? "still runs" : "runs", c->expected);
	judge_say(c->seen, "runs %.100s", t->runs);
	return may_run(t, t->runs) ? JUDGE_OK : JUDGE_BAD;
}

/* Whether it runs the new release only on trial, and another reboot brought the old one back. */
static bool goes_back_by_reboot(const struct judge_trial *t)
{
	const json_t *boot = judge_get(judge_get(t->all, "reboot"), "boot");

	return judge_same(t->runs, t->to) && judge_on_trial(t) &&
	       judge_same(judge_text(boot, "version"), t->from);
}

enum judge_outcome judge_not_reverted(const struct judge_trial *t, struct judge_claim *c)
{
	const char *flash = judge_text(judge_get(t->all, "primary"), "release");
	const char *ended = t->runs ? t->runs : flash;

	if (!t->revert || !ended || t->bad[JUDGE_BRICKED] || t->bad[JUDGE_BOOT_LOOP])
		return JUDGE_SKIP;
	if (t->bad[JUDGE_UPDATE_FAILED] && judge_same(ended, t->from))
		return JUDGE_SKIP; /* never taken, so nothing was given up */
	judge_say(c->what, "%.100s gives itself up", t->to);
	judge_say(c->expected, "%.100s at the end", t->from);
	judge_say(c->seen, "%s %.100s", t->runs ? "runs" : "flash holds", ended);
	return judge_same(ended, t->from) || goes_back_by_reboot(t) ? JUDGE_OK : JUDGE_BAD;
}

enum judge_outcome judge_false_version(const struct judge_trial *t, struct judge_claim *c)
{
	const char *flash = judge_text(judge_get(t->all, "primary"), "release");

	if (!t->runs || !flash)
		return JUDGE_SKIP;
	judge_say(c->what, "the version it reports is the image in flash");
	judge_say(c->expected, "%.100s, by the bytes in flash", flash);
	judge_say(c->seen, "reports %.100s", t->runs);
	return judge_same(t->runs, flash) ? JUDGE_OK : JUDGE_BAD;
}

/* --- where it commits ------------------------------------------------------------------------ */

/* Whether this is one cut of a direct update, its place and what it ended with beyond doubt. */
static bool can_witness(const struct judge_trial *t)
{
	static const enum judge_finding doubts[] = {JUDGE_CUT_SKEWED, JUDGE_CUT_UNPLACED,
		JUDGE_MIXED_IMAGE, JUDGE_IMAGE_DAMAGED, JUDGE_DOWNGRADED, JUDGE_WRONG_VERSION,
		JUDGE_FALSE_VERSION};
	const json_t *cut = judge_get(t->all, "cut");
	const char *expect = judge_text(t->all, "expect");

	for (size_t i = 0; i < sizeof(doubts) / sizeof(*doubts); i++)
		if (t->bad[doubts[i]])
			return false;
	return t->cut && (judge_same(expect, "upgrade") || judge_same(expect, "downgrade")) &&
	       judge_get(judge_get(cut, "landed"), "done") &&
	       !strchr(judge_text(cut, "requested"), ',');
}

static const char *plural(json_int_t n)
{
	return n == 1 ? "" : "s";
}

/*
 * If the new release rules from the end of operation c on, a cut after d operations that ended with
 * it shows that c is at most d, and one that ended with the old one that c is more than d. Of a
 * torn operation d + 1 neither is known: it may have counted as done.
 */
enum judge_outcome judge_commit_not_monotone(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *cut = judge_get(t->all, "cut"), *landed = judge_get(cut, "landed");
	json_int_t done = judge_number(landed, "done"), witness;
	bool torn = judge_is_true(landed, "torn"), old = judge_same(t->runs, t->from);
	const char *field = old ? "new_at" : "old_at", *other = old ? t->to : t->from;

	if (!can_witness(t) || (!old && !judge_same(t->runs, t->to)) || !judge_get(cut, field))
		return JUDGE_SKIP;
	witness = judge_number(cut, field);
	judge_say(c->what, "the update takes effect at one point of its operations");
	judge_say(c->expected,
		"%.100s: a cut after %" JSON_INTEGER_FORMAT " operation%s had ended with %.100s",
		other, witness, plural(witness), other);
	judge_say(c->seen, "runs %.100s after a cut after %" JSON_INTEGER_FORMAT " operation%s%s",
		t->runs, done, plural(done), torn ? " and part of the next" : "");
	if (old)
		return witness <= done ? JUDGE_BAD : JUDGE_OK;
	return witness >= done + torn ? JUDGE_BAD : JUDGE_OK;
}

/* --- what it says of itself ------------------------------------------------------------------ */

static enum judge_outcome state_is(struct judge_claim *c, const char *expected, const char *fmt,
	...) __attribute__((format(printf, 3, 4)));
static enum judge_outcome state_is(
	struct judge_claim *c, const char *expected, const char *fmt, ...)
{
	va_list ap;

	judge_say(c->expected, "%s", expected);
	va_start(ap, fmt);
	vsnprintf(c->seen, JUDGE_TEXT_MAX, fmt, ap);
	va_end(ap);
	return JUDGE_BAD;
}

enum judge_outcome judge_illegal_state(const struct judge_trial *t, struct judge_claim *c)
{
	const json_t *slots = judge_get(judge_get(t->all, "status"), "slots"), *active = NULL,
		     *slot;
	const char *version, *hash, *flash = judge_text(judge_get(t->all, "primary"), "hash");
	int count = 0;
	size_t i;

	if (!slots)
		return JUDGE_SKIP;
	judge_say(c->what, "the state it reports is legal and true");
	json_array_foreach (slots, i, slot) {
		json_int_t n = judge_number(slot, "slot");

		if (judge_is_true(slot, "active")) {
			active = slot;
			count++;
		}
		if (judge_is_true(slot, "active") && judge_is_true(slot, "pending"))
			return state_is(c, "the active slot is not pending",
				"slot %" JSON_INTEGER_FORMAT " is both", n);
		if (judge_is_true(slot, "permanent") && !judge_is_true(slot, "pending"))
			return state_is(c, "only a pending slot is permanent",
				"slot %" JSON_INTEGER_FORMAT " is permanent and not pending", n);
	}
	if (count != 1)
		return state_is(c, "one active slot", "%d", count);
	version = judge_text(active, "version");
	if (version && t->runs && !judge_same(version, t->runs))
		return state_is(c, "the active slot is what runs", "active %.100s, running %.100s",
			version, t->runs);
	hash = judge_text(active, "hash");
	if (hash && flash && !judge_same(hash, flash))
		return state_is(c, "the active slot's hash is that of flash",
			"reported %.100s, in flash %.100s", hash, flash);
	return JUDGE_OK;
}
