#include "judge_priv.h"

/* Findings about the operations themselves: where they went, and whether flash can do them. */

/* An entry in words: "operation 57: erase at 0x00001000", "operation 9 at 0x0000c000". */
static void say_operation(char text[JUDGE_TEXT_MAX], const json_t *entry)
{
	const char *kind = judge_text(entry, "kind");

	judge_say(text, "operation %" JSON_INTEGER_FORMAT "%s%.40s at 0x%08llx",
		judge_number(entry, "op"), kind ? ": " : "", kind ? kind : "",
		(unsigned long long)judge_number(entry, "address"));
}

/* Holds when there are none; else seen is how many there are, and the first. */
static enum judge_outcome none_of(const struct judge_trial *t, const char *field,
	const char *total_field, struct judge_claim *c)
{
	const json_t *writes = judge_get(t->all, "writes"), *list = judge_get(writes, field);
	json_int_t total = judge_number(writes, total_field);
	json_int_t listed = (json_int_t)json_array_size(list);
	char first[JUDGE_TEXT_MAX] = "not listed";

	total = total < listed ? listed : total;
	if (listed)
		say_operation(first, json_array_get(list, 0));
	if (total == 1 && listed)
		judge_say(c->seen, "%s", first);
	else
		judge_say(c->seen, "%" JSON_INTEGER_FORMAT " operations, the first is %.400s",
			total, first);
	return total > 0 ? JUDGE_BAD : JUDGE_OK;
}

/* Whether any operation was looked at: of none, nothing is known. */
static bool are_checked(const struct judge_trial *t)
{
	return judge_number(judge_get(t->all, "writes"), "checked") > 0;
}

enum judge_outcome judge_wrote_outside(const struct judge_trial *t, struct judge_claim *c)
{
	if (!are_checked(t))
		return JUDGE_SKIP;
	judge_say(c->what, "writes only where an update may");
	judge_say(c->expected, "every operation within the regions that the board type permits");
	return none_of(t, "outside", "outside_total", c);
}

enum judge_outcome judge_programmed_unerased(const struct judge_trial *t, struct judge_claim *c)
{
	if (!are_checked(t))
		return JUDGE_SKIP;
	judge_say(c->what, "erases before it programs");
	judge_say(c->expected, "no bit programmed to 1 where flash holds 0");
	return none_of(t, "unerased", "unerased_total", c);
}
