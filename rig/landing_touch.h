/*
 * Where a cut landed, of an update of which not every flash operation is known: from the flash
 * before it, after the cut, and at rest after the same update without a cut.
 *
 * Of some triggers the log tells where each operation wrote, but not what (a breakpoint at the
 * flash-write routine with the address in a register): a word that is touched once says whether
 * that operation was done. Of others it tells no place: then the flash says how much of the update
 * is there, and nothing of operations.
 */
#ifndef RIG_LANDING_TOUCH_H
#define RIG_LANDING_TOUCH_H

#include "landing.h"

#define LANDING_TOUCH_WORD                                                                         \
	4 /* bytes that one address stands for, and that are compared at once                      \
	   */

/* Flash as bytes from base on; size is a multiple of LANDING_TOUCH_WORD. */
struct landing_touch {
	uint32_t base;
	size_t size;
	const uint8_t *before, *after, *rest;
};

/* Of the words that the whole update changes: how many are as before, as at rest, and neither. */
struct landing_progress {
	size_t old, new, neither;
};

void landing_touch_progress(const struct landing_touch *flash, struct landing_progress *progress);

/* The share of the changed words that is there, 0 to 1; 0 when nothing changes. */
double landing_progress_share(const struct landing_progress *progress);

/*
 * Whether a log tells where in flash its operations are: it is of breakpoints, and they are not all
 * at one address (which would be that of the code).
 */
bool landing_touch_knows(const struct oplog *log);

/*
 * Finds how many operations of such a log are done: one range of landing->ranges, none when flash
 * contradicts the log. An operation says something when no other one is at its word, the word lies
 * in flash and the whole update changes it: it is done when the word is as at rest, and not done
 * when it is as before; what is neither may be either. A range is as wide as the operations that
 * say nothing make it.
 *
 * Finished with landing_finish(). ERR_NOMEM.
 */
int landing_touch_find(struct landing *landing, const struct landing_touch *flash,
	const struct oplog *log, struct err *e);

#endif
