/*
 * A campaign on a simulated device, with the trials it made kept.
 */
#ifndef TESTS_CAMPAIGN_BENCH_H
#define TESTS_CAMPAIGN_BENCH_H

#include "../rig/campaign.h"
#include "campaign_logs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct device;

/* What becomes of a trial is a function of its cuts. */
typedef void device_fn(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome);

struct device {
	device_fn *answer; /* NULL: everything passes */
	uint32_t first, last;
	bool clean, torn; /* which tears fail there */
	size_t operations;
};

struct trial {
	struct cuts cuts;
	const char *why;
	struct campaign_outcome outcome;
};

struct story {
	struct oplog log;
	struct classes classes;
	struct campaign_options options;
	struct device device;
	struct campaign *campaign;
	struct trial *trials;
	size_t count;
};

static const struct campaign_options everything = {.seed = 1,
	.limit = SIZE_MAX,
	.tears = true,
	.second = true,
	.windows = true};

static inline void create(struct story *s)
{
	struct err e;

	if (campaign_create(&s->campaign, &s->log, &s->classes, &s->options, &e) != 0)
		fail_msg("%s", e.msg);
}

static inline struct story *story(struct oplog log, const struct campaign_options *options)
{
	struct story *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->log = log;
	s->classes = log_classes(&log);
	s->options = *options;
	s->device.operations = log.count;
	create(s);
	return s;
}

static inline void finish(struct story *s)
{
	campaign_destroy(s->campaign);
	classes_finish(&s->classes);
	oplog_finish(&s->log);
	free(s->trials);
	free(s);
}

static inline uint32_t position(const struct story *s, const struct cut *cut)
{
	return cut->op == CUT_END ? (uint32_t)s->log.count + 1 : cut->op;
}

/* One trial; false when the campaign is over. */
static inline bool step(struct story *s)
{
	struct trial t = {.outcome = {.fired = true, .placed = true, .recovery = 4000}};
	struct err e;

	if (!campaign_next(s->campaign, &t.cuts, &t.why))
		return false;
	t.outcome.landed = t.cuts.list[0];
	t.outcome.cuts_fired = (unsigned)t.cuts.count;
	if (s->device.answer)
		s->device.answer(&s->device, &t.cuts, &t.outcome);
	if (campaign_outcome(s->campaign, &t.cuts, &t.outcome, &e) != 0)
		fail_msg("%s", e.msg);
	if ((s->count & (s->count - 1)) == 0) {
		s->trials = realloc(s->trials, (s->count ? s->count * 2 : 1) * sizeof(*s->trials));
		assert_non_null(s->trials);
	}
	s->trials[s->count++] = t;
	return true;
}

static inline void run(struct story *s)
{
	/* more than all single cuts, second cuts and searches there can be */
	size_t most = 4 * s->log.count + 1000;

	while (step(s))
		assert_true(s->count < most);
}

static inline bool is_why(const struct trial *t, const char *why)
{
	return strcmp(t->why, why) == 0;
}

static inline size_t count_why(const struct story *s, size_t prefix, const char *why)
{
	size_t n = 0;

	for (size_t i = 0; i < prefix && i < s->count; i++)
		n += is_why(&s->trials[i], why);
	return n;
}

static inline bool metadata(const struct story *s, uint32_t op)
{
	return op >= 1 && op <= s->log.count && s->classes.list[s->classes.of[op - 1]].metadata;
}

/* Which single cuts were tried: a bit for each tear, by position. */
static inline uint8_t *tried(const struct story *s)
{
	uint8_t *map = calloc(s->log.count + 2, 1);

	assert_non_null(map);
	for (size_t i = 0; i < s->count; i++)
		if (s->trials[i].cuts.count == 1) {
			const struct cut *cut = &s->trials[i].cuts.list[0];

			map[position(s, cut)] |= (uint8_t)(1u << cut->tear);
		}
	return map;
}

static inline int by_cuts(const void *a, const void *b)
{
	return cuts_compare(&((const struct trial *)a)->cuts, &((const struct trial *)b)->cuts);
}

static inline void assert_nothing_twice(const struct story *s)
{
	struct trial *sorted = calloc(s->count + 1, sizeof(*sorted));

	assert_non_null(sorted);
	for (size_t i = 0; i < s->count; i++)
		sorted[i] = s->trials[i];
	qsort(sorted, s->count, sizeof(*sorted), by_cuts);
	for (size_t i = 1; i < s->count; i++)
		assert_int_not_equal(by_cuts(&sorted[i - 1], &sorted[i]), 0);
	free(sorted);
}

/* --- devices ---------------------------------------------------------------------------------- */

static inline void fails_within(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	const struct cut *cut = &cuts->list[0];
	size_t at = cut->op == CUT_END ? device->operations + 1 : cut->op;

	outcome->failed = cuts->count == 1 && at >= device->first && at <= device->last &&
			  (cut->tear == TEAR_CLEAN ? device->clean : device->torn);
}

/* Torn cuts fail in the window, but for every second one, which cannot be torn. */
static inline void some_cannot_be_torn(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	fails_within(device, cuts, outcome);
	if (cuts->list[0].tear == TEAR_TORN && cuts->list[0].op % 2 == 0) {
		outcome->landed.tear = TEAR_CLEAN;
		outcome->landed.seed = 0;
		outcome->failed = false;
	}
}

static inline void all_land_elsewhere(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	outcome->landed.op = (cuts->list[0].op * 31u) % (uint32_t)device->operations + 1;
	outcome->failed = outcome->landed.op % 3 == 0;
}

static inline void nothing_is_placed(
	const struct device *device, const struct cuts *cuts, struct campaign_outcome *outcome)
{
	(void)device;
	(void)cuts;
	outcome->placed = false;
}

#endif
