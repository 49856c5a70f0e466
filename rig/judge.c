#include "judge.h"

#include "err.h"
#include "releases.h"
#include "shape.h"
#include "text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 512

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
	{"primary", SHAPE_TABLE, false, flash_shape},
	{"user_data", SHAPE_TABLE, false, data_shape},
	{"status", SHAPE_TABLE, false, status_shape},
	{"reboot", SHAPE_TABLE, false, reboot_shape},
	{"retry", SHAPE_TABLE, false, retry_shape},
	SHAPE_END,
};

/* --- reading them ---------------------------------------------------------------------------- */

/* In this order: of several names for one cause the first that fits is given. */
enum finding {
	BENCH_ERROR,
	CUT_SKEWED,
	CUT_UNPLACED,
	CUT_MISSED,
	NOT_SEEN,
	BOOT_LOOP,
	BRICKED,
	MIXED_IMAGE,
	IMAGE_DAMAGED,
	NOT_REFUSED,
	DOWNGRADED,
	UPDATE_FAILED,
	WRONG_VERSION,
	FALSE_VERSION,
	ILLEGAL_STATE,
	DATA_LOST,
	LATE_REVERT,
	UNSTABLE,
	RETRY_FAILS,
	FINDING_COUNT
};

struct trial {
	const json_t *all;
	const char *from, *to;
	bool refuse, downgrade;
	bool cut;           /* the power went during the update */
	const json_t *last; /* the boot in which the device came to rest, or NULL */
	const char *runs;   /* the version it runs then, or NULL */
	bool bad[FINDING_COUNT];
};

struct claim {
	char what[TEXT_MAX], expected[TEXT_MAX], seen[TEXT_MAX];
};

enum outcome { SKIP, OK, BAD };

__attribute__((format(printf, 2, 3))) static void say(char text[TEXT_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, TEXT_MAX, fmt, ap);
	va_end(ap);
}

/* The field, or NULL when it is missing or null. */
static const json_t *get(const json_t *table, const char *name)
{
	const json_t *value = json_object_get(table, name);

	return json_is_null(value) ? NULL : value;
}

static const char *text_of(const json_t *table, const char *name)
{
	return json_string_value(get(table, name));
}

static bool is_true(const json_t *table, const char *name)
{
	return json_is_true(get(table, name));
}

static bool is_false(const json_t *table, const char *name)
{
	return json_is_false(get(table, name));
}

static json_int_t number_of(const json_t *table, const char *name)
{
	const json_t *value = get(table, name);
	double real = json_real_value(value);

	if (!json_is_real(value))
		return json_integer_value(value);
	return real > -1e15 && real < 1e15 ? (json_int_t)real : 0;
}

static bool same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static void read_trial(struct trial *t, const json_t *observations)
{
	const json_t *boots = get(observations, "boots"), *cut = get(observations, "cut");
	const char *expect = text_of(observations, "expect");

	*t = (struct trial){.all = observations,
		.from = text_of(observations, "from"),
		.to = text_of(observations, "to"),
		.refuse = same(expect, "refuse"),
		.downgrade = same(expect, "downgrade"),
		/* of several cuts a later one may have been missed: the power went all the same */
		.cut = cut && (!is_false(cut, "fired") || get(cut, "landed"))};
	if (json_array_size(boots))
		t->last = json_array_get(boots, json_array_size(boots) - 1);
	if (t->last && is_true(t->last, "ready"))
		t->runs = text_of(t->last, "version");
}

/* --- what may run ---------------------------------------------------------------------------- */

/* Which releases may run at the end. */
enum side { SIDE_OLD, SIDE_NEW, SIDE_EITHER };

/*
 * Before the commit point the old release, after it the new one. Where that point or the place of
 * the cut is not known, or the commit itself was torn, either.
 */
static enum side side_of(const struct trial *t)
{
	const json_t *cut = get(t->all, "cut"), *landed = get(cut, "landed");
	json_int_t commit, done;

	if (t->refuse)
		return SIDE_OLD;
	if (!t->cut)
		return SIDE_NEW;
	if (!get(cut, "commit") || !get(landed, "done") ||
		json_array_size(get(t->all, "path")) > 1 || strchr(text_of(cut, "requested"), ','))
		return SIDE_EITHER;
	commit = number_of(cut, "commit");
	done = number_of(landed, "done");
	if (done >= commit)
		return SIDE_NEW;
	return is_true(landed, "torn") && done + 1 == commit ? SIDE_EITHER : SIDE_OLD;
}

static bool may_run(const struct trial *t, const char *version)
{
	const json_t *path = get(t->all, "path");
	enum side side = side_of(t);
	const json_t *stop;
	size_t i;

	if (same(version, t->from))
		return side != SIDE_NEW;
	if (same(version, t->to))
		return side != SIDE_OLD;
	if (side != SIDE_EITHER)
		return false;
	json_array_foreach (path, i, stop)
		if (same(version, json_string_value(stop)))
			return true;
	return false;
}

static void name_what_may_run(const struct trial *t, char text[TEXT_MAX])
{
	const json_t *path = get(t->all, "path");
	size_t stops = json_array_size(path), used;

	switch (side_of(t)) {
	case SIDE_OLD:
		say(text, "%.100s", t->from);
		return;
	case SIDE_NEW:
		say(text, "%.100s", t->to);
		return;
	case SIDE_EITHER:
		break;
	}
	say(text, "%.100s", t->from);
	for (size_t i = 0; i + 1 < stops; i++) {
		const char *stop = json_string_value(json_array_get(path, i));

		used = strlen(text);
		snprintf(text + used, TEXT_MAX - used, ", %.60s", stop ? stop : "?");
	}
	used = strlen(text);
	snprintf(text + used, TEXT_MAX - used, " or %.100s", t->to);
}

/* --- the findings ---------------------------------------------------------------------------- */

static enum outcome bench_error(const struct trial *t, struct claim *c)
{
	const char *text = text_of(t->all, "bench");

	if (!text)
		return SKIP;
	say(c->what, "the bench did its part");
	say(c->expected, "no fault of the bench");
	say(c->seen, "%s", text);
	return BAD;
}

static const char *agreement_of(const struct trial *t)
{
	return text_of(get(get(t->all, "cut"), "landed"), "agreement");
}

static enum outcome cut_skewed(const struct trial *t, struct claim *c)
{
	const json_t *landed = get(get(t->all, "cut"), "landed");
	const char *text = text_of(landed, "text");

	if (!agreement_of(t) || same(agreement_of(t), "unknown"))
		return SKIP;
	say(c->what, "the power went where the board says it did");
	say(c->expected, "flash and the board's own counter agree");
	say(c->seen, "%s", text ? text : "they do not");
	return same(agreement_of(t), "agrees") ? OK : BAD;
}

static enum outcome cut_unplaced(const struct trial *t, struct claim *c)
{
	const char *text = text_of(get(get(t->all, "cut"), "landed"), "text");

	if (!agreement_of(t))
		return SKIP;
	say(c->what, "flash shows where the power went");
	say(c->expected, "a state on the way of the uncut update");
	say(c->seen, "%s", text ? text : "none of them");
	return same(agreement_of(t), "unknown") ? BAD : SKIP;
}

static enum outcome cut_missed(const struct trial *t, struct claim *c)
{
	const json_t *cut = get(t->all, "cut");

	if (!get(cut, "fired"))
		return SKIP;
	say(c->what, "the power went during the update");
	say(c->expected, "a cut at %.200s", text_of(cut, "requested"));
	say(c->seen, "the %s ended before it", get(cut, "landed") ? "recovery" : "update");
	return is_true(cut, "fired") ? SKIP : BAD;
}

static enum outcome not_seen(const struct trial *t, struct claim *c)
{
	const json_t *primary = get(t->all, "primary");

	say(c->what, "the device was watched when the update was over");
	say(c->expected, "a boot, and the version that runs or the image in flash");
	if (!t->last) {
		say(c->seen, "no boot");
		return BAD;
	}
	say(c->seen, "neither version nor image");
	return is_true(t->last, "ready") && !t->runs && !primary ? BAD : SKIP;
}

static bool over_limit(const struct trial *t, const json_t *boot)
{
	const json_t *limits = get(t->all, "limits");

	return get(limits, "max_resets") && get(boot, "resets") &&
	       number_of(boot, "resets") > number_of(limits, "max_resets");
}

static void describe_boot(const json_t *boot, char text[TEXT_MAX])
{
	char resets[64] = "";

	if (get(boot, "resets"))
		snprintf(resets, sizeof(resets), " after %" JSON_INTEGER_FORMAT " resets",
			number_of(boot, "resets"));
	say(text, "%sready%s", is_true(boot, "ready") ? "" : "not ", resets);
}

static enum outcome boot_loop(const struct trial *t, struct claim *c)
{
	const json_t *limits = get(t->all, "limits"), *boots = get(t->all, "boots");
	const json_t *boot;
	size_t i;

	if (!t->last || !get(limits, "max_resets"))
		return SKIP;
	say(c->what, "boots without resetting over and over");
	say(c->expected, "at most %" JSON_INTEGER_FORMAT " resets",
		number_of(limits, "max_resets"));
	json_array_foreach (boots, i, boot)
		if (over_limit(t, boot)) {
			describe_boot(boot, c->seen);
			return BAD;
		}
	return OK;
}

static enum outcome bricked(const struct trial *t, struct claim *c)
{
	const json_t *limits = get(t->all, "limits"), *boots = get(t->all, "boots");
	const json_t *boot;
	bool silent = false;
	size_t i;

	if (!t->last)
		return SKIP;
	say(c->what, "boots without help");
	say(c->expected, "ready");
	if (get(limits, "ready_within_ms"))
		say(c->expected, "ready within %" JSON_INTEGER_FORMAT " ms",
			number_of(limits, "ready_within_ms"));
	json_array_foreach (boots, i, boot)
		if (!is_true(boot, "ready")) {
			if (!over_limit(t, boot)) {
				describe_boot(boot, c->seen);
				return BAD;
			}
			silent = true; /* a boot loop, and said to be one */
		}
	return silent ? SKIP : OK;
}

static void describe_flash(const json_t *flash, char text[TEXT_MAX])
{
	const char *release = text_of(flash, "release"), *version = text_of(flash, "version");
	const char *detail = text_of(flash, "detail");

	if (release)
		say(text, "the image of %.100s", release);
	else
		say(text, "%s%s%.100s%s%.200s",
			is_true(flash, "mixed") ? "parts of several releases"
						: "no release's image",
			version ? ", header of " : "", version ? version : "", detail ? ": " : "",
			detail ? detail : "");
}

static enum outcome mixed_image(const struct trial *t, struct claim *c)
{
	const json_t *primary = get(t->all, "primary");

	if (!primary)
		return SKIP;
	say(c->what, "the image in flash is of one release");
	say(c->expected, "one release's image");
	describe_flash(primary, c->seen);
	return is_true(primary, "mixed") ? BAD : OK;
}

static enum outcome image_damaged(const struct trial *t, struct claim *c)
{
	const json_t *primary = get(t->all, "primary");

	if (!primary || t->bad[MIXED_IMAGE])
		return SKIP;
	say(c->what, "the image in flash is whole");
	say(c->expected, "a release's image, byte for byte");
	describe_flash(primary, c->seen);
	return text_of(primary, "release") ? OK : BAD;
}

static enum outcome not_refused(const struct trial *t, struct claim *c)
{
	const char *flash = text_of(get(t->all, "primary"), "release");
	bool runs = same(t->runs, t->to), holds = same(flash, t->to);

	if (!t->refuse || (!t->runs && !flash && !get(t->all, "update")))
		return SKIP;
	say(c->what, "refuses %.100s", t->to);
	say(c->expected, "%.100s stays", t->from);
	say(c->seen, "%s %.100s", runs ? "runs" : "flash holds", t->to);
	return runs || holds ? BAD : OK;
}

static enum outcome downgraded(const struct trial *t, struct claim *c)
{
	if (!t->runs || t->downgrade || t->bad[NOT_REFUSED])
		return SKIP;
	say(c->what, "runs nothing older than %.100s", t->from);
	say(c->expected, "%.100s or later", t->from);
	say(c->seen, "runs %.100s", t->runs);
	return semver_check(t->runs, &(struct err){0}) == 0 && semver_compare(t->runs, t->from) < 0
		       ? BAD
		       : OK;
}

static enum outcome update_failed(const struct trial *t, struct claim *c)
{
	const json_t *update = get(t->all, "update");
	const char *error = text_of(update, "error");

	if (!update || t->refuse || t->cut)
		return SKIP;
	say(c->what, "takes the update to %.100s", t->to);
	say(c->expected, "accepted");
	say(c->seen, "%s", error ? error : "not accepted");
	return is_true(update, "accepted") ? OK : BAD;
}

static enum outcome wrong_version(const struct trial *t, struct claim *c)
{
	if (!t->runs || t->bad[DOWNGRADED] || t->bad[NOT_REFUSED])
		return SKIP;
	if (t->bad[UPDATE_FAILED] && same(t->runs, t->from))
		return SKIP;
	name_what_may_run(t, c->expected);
	say(c->what, "%s %.400s", t->refuse ? "still runs" : "runs", c->expected);
	say(c->seen, "runs %.100s", t->runs);
	return may_run(t, t->runs) ? OK : BAD;
}

static enum outcome false_version(const struct trial *t, struct claim *c)
{
	const char *flash = text_of(get(t->all, "primary"), "release");

	if (!t->runs || !flash)
		return SKIP;
	say(c->what, "the version it reports is the image in flash");
	say(c->expected, "%.100s, by the bytes in flash", flash);
	say(c->seen, "reports %.100s", t->runs);
	return same(t->runs, flash) ? OK : BAD;
}

static enum outcome state_is(struct claim *c, const char *expected, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static enum outcome state_is(struct claim *c, const char *expected, const char *fmt, ...)
{
	va_list ap;

	say(c->expected, "%s", expected);
	va_start(ap, fmt);
	vsnprintf(c->seen, TEXT_MAX, fmt, ap);
	va_end(ap);
	return BAD;
}

static enum outcome illegal_state(const struct trial *t, struct claim *c)
{
	const json_t *slots = get(get(t->all, "status"), "slots"), *active = NULL, *slot;
	const char *version, *hash, *flash = text_of(get(t->all, "primary"), "hash");
	int count = 0;
	size_t i;

	if (!slots)
		return SKIP;
	say(c->what, "the state it reports is legal and true");
	json_array_foreach (slots, i, slot) {
		json_int_t n = number_of(slot, "slot");

		if (is_true(slot, "active")) {
			active = slot;
			count++;
		}
		if (is_true(slot, "active") && is_true(slot, "pending"))
			return state_is(c, "the active slot is not pending",
				"slot %" JSON_INTEGER_FORMAT " is both", n);
		if (is_true(slot, "permanent") && !is_true(slot, "pending"))
			return state_is(c, "only a pending slot is permanent",
				"slot %" JSON_INTEGER_FORMAT " is permanent and not pending", n);
	}
	if (count != 1)
		return state_is(c, "one active slot", "%d", count);
	version = text_of(active, "version");
	if (version && t->runs && !same(version, t->runs))
		return state_is(c, "the active slot is what runs", "active %.100s, running %.100s",
			version, t->runs);
	hash = text_of(active, "hash");
	if (hash && flash && !same(hash, flash))
		return state_is(c, "the active slot's hash is that of flash",
			"reported %.100s, in flash %.100s", hash, flash);
	return OK;
}

static enum outcome data_lost(const struct trial *t, struct claim *c)
{
	static const struct {
		const char *of, *when;
	} places[] = {{NULL, "after the update"}, {"reboot", "after another reboot"},
		{"retry", "after the update was given again"}};
	enum outcome outcome = SKIP;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		const json_t *place = places[i].of ? get(t->all, places[i].of) : t->all;
		const json_t *data = get(place, "user_data");
		const char *seen = text_of(data, "seen");

		if (!data)
			continue;
		say(c->what, "user data survived");
		say(c->expected, "what was written before the update");
		if (!is_true(data, "ok")) {
			say(c->seen, "%s: %.400s", places[i].when, seen ? seen : "something else");
			return BAD;
		}
		outcome = OK;
	}
	return outcome;
}

/* Whether the device says that what runs is only on trial, so that a reboot may go back. */
static bool on_trial(const struct trial *t)
{
	const json_t *slots = get(get(t->all, "status"), "slots"), *slot;
	size_t i;

	json_array_foreach (slots, i, slot)
		if (is_true(slot, "active") && is_false(slot, "confirmed"))
			return true;
	return false;
}

static enum outcome late_revert(const struct trial *t, struct claim *c)
{
	const char *then = text_of(get(get(t->all, "reboot"), "boot"), "version");

	if (!then || !same(t->runs, t->to) || on_trial(t))
		return SKIP;
	say(c->what, "does not go back to %.100s once it runs %.100s", t->from, t->to);
	say(c->expected, "%.100s after another reboot", t->to);
	say(c->seen, "%.100s", then);
	return same(then, t->from) ? BAD : OK;
}

static enum outcome unstable(const struct trial *t, struct claim *c)
{
	const json_t *reboot = get(t->all, "reboot"), *boot = get(reboot, "boot");
	const char *then = text_of(boot, "version");
	const char *flash = text_of(get(t->all, "primary"), "release");
	const json_t *now = get(reboot, "primary");

	if (!reboot || t->bad[LATE_REVERT] || t->bad[BRICKED] || t->bad[BOOT_LOOP])
		return SKIP;
	say(c->what, "another reboot changes nothing");
	say(c->expected, "%.100s%s", t->runs ? t->runs : "ready",
		flash ? ", and the same image in flash" : "");
	if (!is_true(boot, "ready") || over_limit(t, boot)) {
		describe_boot(boot, c->seen);
		return BAD;
	}
	if (on_trial(t) && same(then, t->from))
		return OK; /* an unconfirmed release goes back */
	if (t->runs && then && !same(then, t->runs)) {
		say(c->seen, "runs %.100s", then);
		return BAD;
	}
	if (flash && now && !same(text_of(now, "release"), flash)) {
		describe_flash(now, c->seen);
		return BAD;
	}
	return OK;
}

static enum outcome retry_fails(const struct trial *t, struct claim *c)
{
	const json_t *retry = get(t->all, "retry"), *boot = get(retry, "boot");
	const json_t *primary = get(retry, "primary");
	const char *error = text_of(retry, "error"), *version = text_of(boot, "version");

	if (!retry || t->refuse)
		return SKIP;
	say(c->what, "takes the same update again");
	say(c->expected, "runs %.100s", t->to);
	if (!is_true(retry, "accepted")) {
		say(c->seen, "%s", error ? error : "not accepted");
		return BAD;
	}
	if (boot && (!is_true(boot, "ready") || over_limit(t, boot))) {
		describe_boot(boot, c->seen);
		return BAD;
	}
	if (version && !same(version, t->to)) {
		say(c->seen, "runs %.100s", version);
		return BAD;
	}
	if (primary && !same(text_of(primary, "release"), t->to)) {
		describe_flash(primary, c->seen);
		return BAD;
	}
	return OK;
}

static const struct {
	const char *name;
	enum verdict when_not_ok;
	enum outcome (*check)(const struct trial *t, struct claim *c);
} findings[FINDING_COUNT] = {
	[BENCH_ERROR] = {"bench-error", VERDICT_ERROR, bench_error},
	[CUT_SKEWED] = {"cut-skewed", VERDICT_ERROR, cut_skewed},
	[CUT_UNPLACED] = {"cut-unplaced", VERDICT_INCONCLUSIVE, cut_unplaced},
	[CUT_MISSED] = {"cut-missed", VERDICT_INCONCLUSIVE, cut_missed},
	[NOT_SEEN] = {"not-seen", VERDICT_INCONCLUSIVE, not_seen},
	[BOOT_LOOP] = {"boot-loop", VERDICT_FAIL, boot_loop},
	[BRICKED] = {"bricked", VERDICT_FAIL, bricked},
	[MIXED_IMAGE] = {"mixed-image", VERDICT_FAIL, mixed_image},
	[IMAGE_DAMAGED] = {"image-damaged", VERDICT_FAIL, image_damaged},
	[NOT_REFUSED] = {"not-refused", VERDICT_FAIL, not_refused},
	[DOWNGRADED] = {"downgraded", VERDICT_FAIL, downgraded},
	[UPDATE_FAILED] = {"update-failed", VERDICT_FAIL, update_failed},
	[WRONG_VERSION] = {"wrong-version", VERDICT_FAIL, wrong_version},
	[FALSE_VERSION] = {"false-version", VERDICT_FAIL, false_version},
	[ILLEGAL_STATE] = {"illegal-state", VERDICT_FAIL, illegal_state},
	[DATA_LOST] = {"data-lost", VERDICT_FAIL, data_lost},
	[LATE_REVERT] = {"late-revert", VERDICT_FAIL, late_revert},
	[UNSTABLE] = {"unstable", VERDICT_FAIL, unstable},
	[RETRY_FAILS] = {"retry-fails", VERDICT_FAIL, retry_fails},
};

/* --- the whole ------------------------------------------------------------------------------- */

/* What was seen may come from anywhere, and be cut short within a character. */
static json_t *text_json(const char *text)
{
	char safe[4 * TEXT_MAX + 1];

	text_escape(safe, sizeof(safe), text, strlen(text), TEXT_LINE);
	return json_string(safe);
}

static json_t *finding_json(const char *name, bool ok, const struct claim *c)
{
	return json_pack("{s:s, s:b, s:o, s:o, s:o}", "name", name, "ok", ok, "what",
		text_json(c->what), "expected", ok ? json_null() : text_json(c->expected), "seen",
		ok ? json_null() : text_json(c->seen));
}

/* Observations of the wrong shape: whoever made them is at fault, and nobody else. */
static json_t *reject(const char *text)
{
	struct claim c;
	json_t *list = json_array();

	say(c.what, "the bench did its part");
	say(c.expected, "observations as judge.h describes them");
	say(c.seen, "%s", text);
	if (list && json_array_append_new(list, finding_json("bench-error", false, &c)) == 0)
		return list;
	json_decref(list);
	return NULL;
}

json_t *judge(const json_t *observations)
{
	static const char *const expectations[] = {"upgrade", "upgrade-via", "downgrade", "refuse"};
	char wrong[TEXT_MAX];
	const char *expect;
	struct trial t;
	json_t *list;
	size_t i = 0;

	if (!shape_fits(observations, observations_shape, "observations", wrong, sizeof(wrong)))
		return reject(wrong);
	expect = text_of(observations, "expect");
	while (i < sizeof(expectations) / sizeof(*expectations) && !same(expect, expectations[i]))
		i++;
	if (i == sizeof(expectations) / sizeof(*expectations)) {
		say(wrong, "expect: \"%.100s\" is not known", expect);
		return reject(wrong);
	}
	list = json_array();
	read_trial(&t, observations);
	for (i = 0; list && i < FINDING_COUNT && !t.bad[BENCH_ERROR]; i++) {
		struct claim c = {.what = ""};
		enum outcome outcome = findings[i].check(&t, &c);

		t.bad[i] = outcome == BAD;
		if (outcome == SKIP)
			continue;
		if (json_array_append_new(
			    list, finding_json(findings[i].name, outcome == OK, &c)) != 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static enum verdict when_not_ok(const char *name)
{
	for (size_t i = 0; i < FINDING_COUNT; i++)
		if (same(name, findings[i].name))
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
	if (i >= FINDING_COUNT)
		return NULL;
	if (verdict)
		*verdict = findings[i].when_not_ok;
	return findings[i].name;
}
