/*
 * The plan of a run over transitions: what policy says must happen for every ordered pair of
 * releases, and in which order to try them so that the board is flashed as seldom as possible.
 *
 * After A→B the board holds B, so B→C needs no flashing: transitions chain into trails, and one
 * flash serves a trail. The fewest trails that use every transition once are, per connected part of
 * the graph, sum of max(0, out − in) over the releases, or 1 where all are balanced (Euler). A
 * refused transition leaves the board as it was, and so does one to a release that reverts: each is
 * a step of whichever trail comes by.
 *
 * A release that reverts is only ever updated to: from every earlier one whose next step it may be.
 * Where policy leads there through another release there is no transition, because the last leg is
 * one of its own; and there is none from a later release that policy would let go back to it.
 */
#ifndef RIG_PLAN_H
#define RIG_PLAN_H

#include "releases.h"

#include <jansson.h>
#include <stddef.h>

struct err;

enum transition_kind {
	TRANSITION_UPGRADE,     /* to a later release, directly */
	TRANSITION_UPGRADE_VIA, /* through the releases of path */
	TRANSITION_DOWNGRADE,   /* to an earlier release, which policy allows */
	TRANSITION_REFUSE,      /* tried directly; the device must refuse and stay as it is */
	TRANSITION_REVERT,      /* to a release that gives itself up: at the end from runs again */
};

struct transition {
	size_t from, to; /* indexes of releases of the manifest */
	enum transition_kind kind;
	size_t *path; /* the releases to update to, in order; the last is to */
	size_t path_count;
	char key[128];    /* "1.0.0:2.0.0" */
	char reason[256]; /* why it is so, as "policy: downgrade"; "" for a plain upgrade */
};

/* One flash, then its steps in order. */
struct trail {
	size_t start;  /* the release to flash */
	size_t *steps; /* indexes of transitions */
	size_t step_count;
	unsigned board; /* from 0, set by plan_shard() */
};

struct plan {
	const struct manifest *manifest; /* borrowed */
	struct transition *transitions;  /* by from, then to, in version order */
	size_t transition_count;
	struct trail *trails;
	size_t trail_count; /* also the number of flashes */
};

/*
 * What a part of a run takes, in ms; for sharding and for estimates. Zeros count as 1. A revert is
 * two updates.
 */
struct plan_cost {
	unsigned flash_ms, update_ms, refuse_ms;
};

/*
 * Makes the plan of all transitions that match any of the filters; without filters, of all. A
 * filter is "FROM:TO", where either may be "*". ERR_USAGE: a filter that is malformed, names an
 * unknown version or selects nothing. The same manifest and filters always give the same plan. On
 * failure *plan is empty; on success it is finished with plan_finish(). manifest must outlive it.
 */
int plan_init(struct plan *plan, const struct manifest *manifest, const char *const *only,
	size_t only_count, struct err *e);
void plan_finish(struct plan *plan);

/*
 * Deals the trails to boards 0 … boards − 1 (boards not 0) so that the longest share is as short as
 * it can be when each board takes one stretch of the plan; a trail is split, which costs a flash,
 * where that pays. A board may get nothing. ERR_NOMEM.
 */
int plan_shard(struct plan *plan, unsigned boards, const struct plan_cost *cost, struct err *e);

/* What the plan costs in all on one board, in ms. */
unsigned long long plan_estimate_ms(const struct plan *plan, const struct plan_cost *cost);

/* The nearest later release that a device which holds at is to take directly, and to keep; an
 * index, or RELEASE_NONE. */
size_t plan_next_release(const struct manifest *m, size_t at);

/* "upgrade", "upgrade-via", "downgrade", "refuse", "revert". */
const char *transition_kind_name(enum transition_kind kind);

/* The release that the board holds after a transition; an index. */
size_t transition_holds(const struct transition *t);

/*
 * {"product", "releases": [VERSION…], "transitions": [{"key", "from", "to", "kind", "path":
 *  [VERSION…], "reason"}], "trails": [{"start": VERSION, "board", "steps": [KEY…]}], "flashes",
 *  "flashes_saved"}; saved against one flash for each transition.
 */
json_t *plan_to_json(const struct plan *plan);

#endif
