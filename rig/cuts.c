#include "cuts.h"

#include "err.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
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

/* --- choice ---------------------------------------------------------------------------------- */

#define GOLDEN 0x9e3779b9u /* 2^32 over the golden ratio */

/* Positions of one kind, walked in van der Corput order; where[i] is an operation's number. */
struct walk {
	const uint32_t *where; /* NULL: position i is operation i + 1 */
	size_t count;
	enum cut_tear tear;
	uint32_t bits, next; /* of 2^bits points, the next one */
};

struct chooser {
	const struct cuts_choice *choice;
	uint32_t phase;
	uint8_t *taken; /* per operation, a bit per tear */
	struct cut *out;
	size_t n, count;
};

static uint64_t mix(uint64_t x)
{
	/* the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
	 * Generators, 2014) */
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint32_t reverse(uint32_t x, uint32_t bits)
{
	uint32_t r = 0;

	for (uint32_t i = 0; i < bits; i++)
		r |= (x >> i & 1) << (bits - 1 - i);
	return r;
}

static struct walk walk_of(const uint32_t *where, size_t count, enum cut_tear tear)
{
	struct walk walk = {.where = where, .count = count, .tear = tear};

	while (((size_t)1 << walk.bits) < count)
		walk.bits++;
	return walk;
}

static bool take(struct chooser *c, uint32_t op, enum cut_tear tear)
{
	uint8_t bit = (uint8_t)(1u << tear);

	if (c->taken[op - 1] & bit)
		return false;
	c->taken[op - 1] |= bit;
	c->out[c->count++] = (struct cut){.op = op,
		.tear = tear,
		.seed = tear == TEAR_CLEAN
				? 0
				: (uint32_t)mix(c->choice->seed ^ (uint64_t)op << 32) % 65535 + 1};
	return true;
}

/* Takes the walk's next position that is not taken yet; false when it has no more. */
static bool step(struct chooser *c, struct walk *walk)
{
	while (walk->count && walk->next < (uint32_t)1 << walk->bits) {
		uint64_t point = ((uint64_t)reverse(walk->next++, walk->bits) << 32) >> walk->bits;
		size_t i = (size_t)(((point + c->phase) & UINT32_MAX) * walk->count >> 32);

		if (take(c, walk->where ? walk->where[i] : (uint32_t)i + 1, walk->tear))
			return true;
	}
	return false;
}

static size_t region_of(const struct cuts_choice *choice, uint32_t address)
{
	size_t i = 0;

	while (i < choice->region_count &&
		address - choice->regions[i].address >= choice->regions[i].size)
		i++;
	return i;
}

/* Whether b goes on what a began: the same kind, at the next address, in the same region. */
static bool follows(
	const struct cuts_choice *choice, const struct oplog_op *a, const struct oplog_op *b)
{
	return a->kind == b->kind && a->address + a->size == b->address &&
	       region_of(choice, a->address) == region_of(choice, b->address);
}

/* The numbers of the first and last operations of every stretch; returns how many. */
static size_t find_edges(const struct oplog *log, const struct cuts_choice *choice, uint32_t *edges)
{
	size_t count = 0;

	for (size_t i = 0; i < log->count; i++) {
		bool first = i == 0 || !follows(choice, &log->ops[i - 1], &log->ops[i]);
		bool last = i + 1 == log->count || !follows(choice, &log->ops[i], &log->ops[i + 1]);

		if (first || last)
			edges[count++] = (uint32_t)i + 1;
	}
	return count;
}

size_t cuts_possible(size_t operations)
{
	return TEARS * operations + 1;
}

static void choose(
	struct chooser *c, const struct oplog *log, const uint32_t *edges, size_t edge_count)
{
	struct walk walks[] = {
		walk_of(edges, edge_count, TEAR_CLEAN),
		walk_of(NULL, log->count, TEAR_TORN),
		walk_of(edges, edge_count, TEAR_TORN),
		walk_of(NULL, log->count, TEAR_CLEAN),
	};
	size_t idle = 0;

	if (log->count && c->count < c->n)
		take(c, 1, TEAR_CLEAN);
	if (c->count < c->n)
		c->out[c->count++] = (struct cut){.op = CUT_END};
	if (log->count && c->count < c->n)
		take(c, (uint32_t)log->count, TEAR_TORN);
	for (size_t i = 0; c->count < c->n && idle < sizeof(walks) / sizeof(*walks); i++)
		idle = step(c, &walks[i % (sizeof(walks) / sizeof(*walks))]) ? 0 : idle + 1;
}

long cuts_choose(const struct oplog *log, const struct cuts_choice *choice, struct cut *out,
	size_t n, struct err *e)
{
	struct chooser c = {.choice = choice,
		.phase = choice->transition * GOLDEN + (uint32_t)mix(choice->seed),
		.out = out,
		.n = n};
	uint32_t *edges = calloc(log->count + 1, sizeof(*edges));

	c.taken = calloc(log->count + 1, 1);
	if (!edges || !c.taken) {
		free(edges);
		free(c.taken);
		return err_set(e, ERR_NOMEM, "choosing cuts: out of memory");
	}
	choose(&c, log, edges, find_edges(log, choice, edges));
	free(edges);
	free(c.taken);
	return (long)c.count;
}
