/*
 * Cuts: how they are written. Which to make is chosen in campaign.h.
 *
 * Grammar, the same in --cut, trial keys, journal and replay commands:
 *
 *   cuts = cut *("," cut)        a later cut counts from the power-on after the one before
 *   cut  = "end" / OP [":" TEAR [":" SEED]]
 *
 * OP is an operation's number from 1. "clean" (the default): operation OP does not happen; "torn":
 * it happens in part, and SEED (default 0) decides which. "end" is after the last operation.
 */
#ifndef RIG_CUTS_H
#define RIG_CUTS_H

#include "oplog.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define CUTS_MAX 8                                         /* cuts in one trial */
#define CUT_END UINT32_MAX                                 /* op of "end" */
#define CUT_TEXT_MAX sizeof("4294967294:torn:4294967295,") /* one cut's text, ended */
#define CUTS_TEXT_MAX (CUTS_MAX * CUT_TEXT_MAX)

enum cut_tear { TEAR_CLEAN, TEAR_TORN };

struct cut {
	uint32_t op; /* 1 …, or CUT_END */
	enum cut_tear tear;
	uint32_t seed; /* 0 unless torn */
};

struct cuts {
	struct cut list[CUTS_MAX];
	size_t count; /* at least 1 after parsing */
};

/* ERR_USAGE, with text, column and what was expected. A clean cut's seed is dropped. */
int cuts_parse(struct cuts *cuts, const char *text, struct err *e);

/* Writes the canonical form (shortest: defaults left out) and returns text. */
char *cuts_format(const struct cuts *cuts, char text[CUTS_TEXT_MAX]);
char *cut_format(const struct cut *cut, char text[CUT_TEXT_MAX]);

/* "clean", "torn". */
const char *cut_tear_name(enum cut_tear tear);

/* By operation, then tear, then seed: negative, 0, positive. */
int cut_compare(const struct cut *a, const struct cut *b);
int cuts_compare(const struct cuts *a, const struct cuts *b);

/* A stretch of flash with a meaning, from the board type. */
struct cut_region {
	const char *name;
	uint32_t address, size;
};

#endif
