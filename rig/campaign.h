/*
 * Which cut next: the choice of cuts of one transition's campaign. A pure state machine: the same
 * log, options and outcomes give the same cuts, so a run that is taken up again makes the choices
 * it would have made. docs/choosing-cuts.md says what is chosen and why.
 *
 * The caller asks for the next cuts, makes the trial, and tells its outcome. No cuts are asked for
 * twice, whatever the outcomes say, so a campaign ends.
 */
#ifndef RIG_CAMPAIGN_H
#define RIG_CAMPAIGN_H

#include "cuts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct campaign;
struct classes;
struct err;

#define CAMPAIGN_WINDOWS_MAX 4        /* searched in one campaign */
#define CAMPAIGN_WINDOW_TRIALS_MAX 64 /* in the search for one window */
#define CAMPAIGN_SECOND_PLACES 10     /* a second cut is at one of the recovery's first so many */

struct campaign_options {
	uint64_t seed;  /* of the run: turns all phases, and gives tears their seeds */
	uint32_t index; /* of the transition: turns the phases by the golden ratio */
	size_t limit;   /* distinct first cuts to land; SIZE_MAX: all there are */
	bool tears;     /* the board can tear */
	bool second;    /* it can cut in the recovery, too */
	bool windows;   /* look for the width of what fails */
};

/* What became of a trial. */
struct campaign_outcome {
	bool fired;          /* its first cut */
	bool placed;         /* flash shows where that landed */
	struct cut landed;   /* where, as flash shows it; when placed */
	unsigned cuts_fired; /* how many of its cuts */
	bool failed;         /* the verdict is fail */
	bool error;          /* the verdict is error: the trial says nothing of the device */
	long recovery;       /* operations after the first cut until at rest; -1: not known */
};

enum campaign_tear { CAMPAIGN_CLEAN, CAMPAIGN_TORN, CAMPAIGN_ANY };

/* Where single cuts fail. */
struct campaign_window {
	uint32_t first, last; /* operations; one more than the log has stands for "end" */
	enum campaign_tear tear;
	bool whole;       /* both ends are known */
	struct cut found; /* the failure that the search began with, as it landed */
	unsigned trials;  /* of the search */
};

/* How many trials, by the reason of their first or second cut. */
struct campaign_plan {
	size_t metadata, edge, bulk, second, window;
	size_t total; /* of all of these */
	size_t cuts;  /* distinct first cuts landed */
	size_t gap;   /* the most consecutive positions, 1 to "end", without a landed cut */
};

/*
 * A campaign over the operations of a log with its classes. What is needed of them is copied.
 * Destroyed with campaign_destroy(), which accepts NULL. ERR_USAGE when the classes are of another
 * log; ERR_NOMEM.
 */
int campaign_create(struct campaign **campaign, const struct oplog *log,
	const struct classes *classes, const struct campaign_options *options, struct err *e);
void campaign_destroy(struct campaign *campaign);

/*
 * The cuts to try next: one, or two of which the second is in the recovery. *why is "metadata",
 * "edge", "bulk", "second" or "window", a constant. False: nothing more to do, until an outcome
 * that is still owed says otherwise.
 */
bool campaign_next(struct campaign *campaign, struct cuts *cuts, const char **why);

/*
 * Tells what became of cuts, normally of those that campaign_next() gave last; others are taken
 * note of, and not asked for any more. ERR_USAGE when the log has no such cut; ERR_NOMEM.
 */
int campaign_outcome(struct campaign *campaign, const struct cuts *cuts,
	const struct campaign_outcome *outcome, struct err *e);

/* Distinct first cuts landed so far, those of window searches among them. */
size_t campaign_landed(const struct campaign *campaign);

/* What the campaign comes to in the end, with what was tried already, if from now on each cut lands
 * where it should and passes. ERR_NOMEM. */
int campaign_planned(const struct campaign *campaign, struct campaign_plan *plan, struct err *e);

/* The windows whose search is over, in the order in which they were found: NULL from the first
 * index on that has none. Valid until the campaign is destroyed. */
const struct campaign_window *campaign_window(const struct campaign *campaign, size_t index);

/* "clean", "torn", "any". */
const char *campaign_tear_name(enum campaign_tear tear);

#endif
