/*
 * Two rules that an update's operations must keep, whatever becomes of the update: nothing is
 * written but where an update may write, and nothing is programmed without an erase.
 *
 * Flash of this kind is programmed by clearing bits (nRF52840 product specification, NVMC: a write
 * turns 1 to 0, only an erase turns 0 to 1). A program whose value has a 1 where flash holds a 0
 * cannot read back as written: an erase is missing. To program the same word again, or to clear
 * more of its bits, or all, is legal; so is to write once more what a cut left half written.
 */
#ifndef RIG_FLASH_RULES_H
#define RIG_FLASH_RULES_H

#include "oplog.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct cut_region;

#define FLASH_RULES_LISTED 8 /* of each rule: more are counted, not listed */

struct flash_rules_breach {
	uint32_t op;      /* the operation's number */
	uint32_t address; /* outside: its first byte that is; unerased: the word */
	enum oplog_kind kind;
};

/* Begins as zeros; several stretches of operations may be added to one. */
struct flash_rules {
	size_t checked; /* operations on flash that were looked at */
	size_t outside_total, unerased_total;
	struct flash_rules_breach outside[FLASH_RULES_LISTED], unerased[FLASH_RULES_LISTED];
};

/*
 * Looks at count operations, of which ops[0] has the number first, and adds to *result what breaks
 * a rule. flash is size bytes from base on as they were before ops[0]; afterwards they are as the
 * operations left them. permitted are the regions that may be written; a stretch over several that
 * adjoin is within them; none given means that all flash is.
 *
 * An operation outside is not also looked at for the missing erase. What is known of memory beyond
 * flash is only whether it is permitted. Operations that are neither erase nor program, as boards
 * give that cannot tell, are passed over and not counted in checked.
 *
 * The operations are taken as done wholly. A cut that tore one leaves something else: end a stretch
 * before it, and begin the next one with flash as it was read back.
 *
 * Returns 1 when one of these operations broke a rule, else 0.
 */
int flash_rules_check(struct flash_rules *result, uint8_t *flash, size_t size, uint32_t base,
	const struct oplog_op *ops, size_t count, uint32_t first,
	const struct cut_region *permitted, size_t permitted_count);

/*
 * {"outside": [{"op", "address", "kind"}…], "unerased": [{"op", "address"}…], "outside_total",
 * "unerased_total", "checked"}: the shape that the judge takes as writes. A new reference; NULL
 * when out of memory.
 */
json_t *flash_rules_to_json(const struct flash_rules *result);

#endif
