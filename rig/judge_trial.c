#include "judge_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void judge_say(char text[JUDGE_TEXT_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, JUDGE_TEXT_MAX, fmt, ap);
	va_end(ap);
}

const json_t *judge_get(const json_t *table, const char *name)
{
	const json_t *value = json_object_get(table, name);

	return json_is_null(value) ? NULL : value;
}

const char *judge_text(const json_t *table, const char *name)
{
	return json_string_value(judge_get(table, name));
}

bool judge_is_true(const json_t *table, const char *name)
{
	return json_is_true(judge_get(table, name));
}

bool judge_is_false(const json_t *table, const char *name)
{
	return json_is_false(judge_get(table, name));
}

json_int_t judge_number(const json_t *table, const char *name)
{
	const json_t *value = judge_get(table, name);
	double real = json_real_value(value);

	if (!json_is_real(value))
		return json_integer_value(value);
	return real > -1e15 && real < 1e15 ? (json_int_t)real : 0;
}

bool judge_same(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

void judge_trial_read(struct judge_trial *t, const json_t *observations)
{
	const json_t *boots = judge_get(observations, "boots"),
		     *cut = judge_get(observations, "cut");
	const char *expect = judge_text(observations, "expect");

	*t = (struct judge_trial){.all = observations,
		.from = judge_text(observations, "from"),
		.to = judge_text(observations, "to"),
		.refuse = judge_same(expect, "refuse"),
		.downgrade = judge_same(expect, "downgrade"),
		.revert = judge_same(expect, "revert"),
		/* of several cuts a later one may have been missed: the power went all the same */
		.cut = cut && (!judge_is_false(cut, "fired") || judge_get(cut, "landed"))};
	if (json_array_size(boots))
		t->last = json_array_get(boots, json_array_size(boots) - 1);
	if (t->last && judge_is_true(t->last, "ready"))
		t->runs = judge_text(t->last, "version");
}

bool judge_over_limit(const struct judge_trial *t, const json_t *boot)
{
	const json_t *limits = judge_get(t->all, "limits");

	return judge_get(limits, "max_resets") && judge_get(boot, "resets") &&
	       judge_number(boot, "resets") > judge_number(limits, "max_resets");
}

bool judge_on_trial(const struct judge_trial *t)
{
	const json_t *slots = judge_get(judge_get(t->all, "status"), "slots"), *slot;
	size_t i;

	json_array_foreach (slots, i, slot)
		if (judge_is_true(slot, "active") && judge_is_false(slot, "confirmed"))
			return true;
	return false;
}

/* --- in words -------------------------------------------------------------------------------- */

void judge_say_boot(char text[JUDGE_TEXT_MAX], const json_t *boot)
{
	char resets[64] = "";

	if (judge_get(boot, "resets"))
		snprintf(resets, sizeof(resets), " after %" JSON_INTEGER_FORMAT " resets",
			judge_number(boot, "resets"));
	judge_say(text, "%sready%s", judge_is_true(boot, "ready") ? "" : "not ", resets);
}

void judge_say_flash(char text[JUDGE_TEXT_MAX], const json_t *flash)
{
	const char *release = judge_text(flash, "release"), *version = judge_text(flash, "version");
	const char *detail = judge_text(flash, "detail");

	if (release)
		judge_say(text, "the image of %.100s", release);
	else
		judge_say(text, "%s%s%.100s%s%.200s",
			judge_is_true(flash, "mixed") ? "parts of several releases"
						      : "no release's image",
			version ? ", header of " : "", version ? version : "", detail ? ": " : "",
			detail ? detail : "");
}
