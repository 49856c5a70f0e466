/*
 * Pairs before density: in which order to try transitions so that the first few of them already
 * differ in everything that updates have been seen to fail by. 473 of 494 cuts that bricked a
 * device did so only where the two images differed in size: one more kind of pair finds more than
 * many more cuts of one pair.
 *
 * What a pair may have (a class):
 *
 *   the new image takes fewer pages of flash than the old one, as many, or more
 *   the two releases come with different bootloaders (files of different paths)
 *   the data format changes
 *   no release in between, one, or more (those that revert are not counted)
 *   it leads from the first release to the last
 *   its kind (plan.h)
 *
 * What is not known of a release (no size, no data format, no bootloader) makes no class.
 */
#ifndef RIG_DIVERSITY_H
#define RIG_DIVERSITY_H

#include <stddef.h>

struct err;
struct plan;

/*
 * Orders count transitions of the plan (indexes, rising) in place. Next is always the one that adds
 * the most classes that none before it had; of equal ones the one that adds the most combinations
 * of two classes; of equal ones the first in the plan. When none adds anything any more, all counts
 * as not seen again. pages: for each release of the manifest, the pages of flash that its image
 * takes; 0: unknown. ERR_NOMEM, and then the order is as it was.
 */
int diversity_order(
	const struct plan *plan, const size_t *pages, size_t *order, size_t count, struct err *e);

/*
 * What makes a transition different, for people: "larger, data format changes, skips 2"; its kind
 * is left out. text is cut at size bytes.
 */
void diversity_why(
	const struct plan *plan, const size_t *pages, size_t transition, char *text, size_t size);

#endif
