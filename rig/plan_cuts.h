/*
 * What a campaign of cuts would do: for `rig plan`, from the trace that an earlier run left
 * (rig/traces.h), without a board.
 */
#ifndef RIG_PLAN_CUTS_H
#define RIG_PLAN_CUTS_H

#include <jansson.h>

struct err;

/* What a trace is good for: the images of both releases on that board, its bootloader, and whether
 * it can tell its flash operations (has a trigger). */
#define PLAN_CUTS_IDENTITY_SIZE 256

/*
 * Makes the identity of an item's update on a board: text that changes when an image concerned
 * does, or what the board can be traced by. board as docs/protocol.md has it, item with "from" and
 * "to". ERR_IO when an image cannot be read.
 */
int plan_cuts_identity(char identity[PLAN_CUTS_IDENTITY_SIZE], const json_t *board,
	const json_t *item, struct err *e);

/*
 * Keeps the trace of an item's update for later plans, with what a trial of it took (trial_ms:
 * mean; 0: not known). ERR_IO.
 */
int plan_cuts_remember(
	const json_t *board, const json_t *item, const char *trace, double trial_ms, struct err *e);

/*
 * What a campaign along the item's trace would do if every cut landed and passed:
 *
 *   {"operations", "source", "classes": as in the "trace" record, "trials": how many,
 *    "by": {"metadata": n, "edge": n, "bulk": n, "second": n}, "seconds": estimate or null,
 *    "coverage": as in the "coverage" record}
 *
 * or {"missing": why}, when no trace is there or it is of other images. options of the job are
 * looked at: "cuts", "cut", "seed". seed is the item's. ERR_NOMEM, ERR_IO.
 */
int plan_cuts_make(json_t **plan, const json_t *board, const json_t *item, const json_t *options,
	int64_t seed, struct err *e);

#endif
