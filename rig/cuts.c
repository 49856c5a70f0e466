#include "cuts.h"

#include "err.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const tear_names[] = {[TEAR_CLEAN] = "clean", [TEAR_TORN] = "torn"};

#define TEARS (sizeof(tear_names) / sizeof(*tear_names))

/* --- grammar --------------------------------------------------------------------------------- */

struct parser {
	const char *text, *at;
	struct err *e;
};

static int expected(struct parser *p, const char *what)
{
	return err_set(p->e, ERR_USAGE, "cut \"%.100s\": column %zu: expected %s", p->text,
		(size_t)(p->at - p->text) + 1, what);
}

/* A decimal number up to max; false, with p->at where it began, when there is none. */
static bool take_number(struct parser *p, uint32_t max, uint32_t *value)
{
	const char *at = p->at;
	uint64_t n = 0;

	while (*at >= '0' && *at <= '9' && n <= max)
		n = n * 10 + (uint64_t)(*at++ - '0');
	if (at == p->at || n > max)
		return false;
	p->at = at;
	*value = (uint32_t)n;
	return true;
}

/* Takes word when it stands there as a whole. */
static bool take_word(struct parser *p, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(p->at, word, len) != 0 || !strchr(":,", p->at[len]))
		return false;
	p->at += len;
	return true;
}

static bool take_char(struct parser *p, char c)
{
	if (*p->at != c)
		return false;
	p->at++;
	return true;
}

static int parse_tear(struct parser *p, struct cut *cut)
{
	size_t tear = 0;

	while (tear < TEARS && !take_word(p, tear_names[tear]))
		tear++;
	if (tear == TEARS)
		return expected(p, "\"clean\" or \"torn\"");
	cut->tear = (enum cut_tear)tear;
	if (take_char(p, ':') && !take_number(p, UINT32_MAX, &cut->seed))
		return expected(p, "a seed of 0 to 4294967295");
	if (cut->tear == TEAR_CLEAN)
		cut->seed = 0;
	return 0;
}

static int parse_cut(struct parser *p, struct cut *cut)
{
	*cut = (struct cut){.op = CUT_END, .tear = TEAR_CLEAN};
	if (take_word(p, "end")) {
		if (*p->at == ':')
			return expected(p, "no tear: nothing is left to be torn at the end");
		return 0;
	}
	if (!take_number(p, CUT_END - 1, &cut->op) || cut->op == 0)
		return expected(p, "an operation's number from 1, or \"end\"");
	return take_char(p, ':') ? parse_tear(p, cut) : 0;
}

int cuts_parse(struct cuts *cuts, const char *text, struct err *e)
{
	struct parser p = {.text = text, .at = text, .e = e};
	int code;

	memset(cuts, 0, sizeof(*cuts));
	do {
		if (cuts->count == CUTS_MAX)
			return err_set(
				e, ERR_USAGE, "cut \"%.100s\": more than %d cuts", text, CUTS_MAX);
		code = parse_cut(&p, &cuts->list[cuts->count++]);
		if (code)
			return code;
	} while (take_char(&p, ','));
	return *p.at ? expected(&p, "\",\", \":\" or the end of the text") : 0;
}

char *cut_format(const struct cut *cut, char text[CUT_TEXT_MAX])
{
	if (cut->op == CUT_END)
		snprintf(text, CUT_TEXT_MAX, "end");
	else if (cut->tear == TEAR_CLEAN)
		snprintf(text, CUT_TEXT_MAX, "%" PRIu32, cut->op);
	else if (cut->seed == 0)
		snprintf(text, CUT_TEXT_MAX, "%" PRIu32 ":%s", cut->op, cut_tear_name(cut->tear));
	else
		snprintf(text, CUT_TEXT_MAX, "%" PRIu32 ":%s:%" PRIu32, cut->op,
			cut_tear_name(cut->tear), cut->seed);
	return text;
}

char *cuts_format(const struct cuts *cuts, char text[CUTS_TEXT_MAX])
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < cuts->count; i++) {
		if (i > 0)
			text[len++] = ',';
		cut_format(&cuts->list[i], text + len);
		len += strlen(text + len);
	}
	return text;
}

const char *cut_tear_name(enum cut_tear tear)
{
	return tear_names[tear];
}

static int order(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

int cut_compare(const struct cut *a, const struct cut *b)
{
	int c = order(a->op, b->op);

	if (c == 0)
		c = order(a->tear, b->tear);
	return c ? c : order(a->seed, b->seed);
}

int cuts_compare(const struct cuts *a, const struct cuts *b)
{
	for (size_t i = 0; i < a->count && i < b->count; i++) {
		int c = cut_compare(&a->list[i], &b->list[i]);

		if (c)
			return c;
	}
	return order(a->count, b->count);
}
