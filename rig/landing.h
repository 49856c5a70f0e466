/*
 * Where a cut landed: which prefix of an update's operations a flash read back shows.
 *
 * before is flash before operation 1, log the operations of the uncut update, after what flash
 * shows once the power was cut. A clean cut at OP leaves OP − 1 operations done; a torn one leaves
 * OP − 1 and part of operation OP: of a program, some of the bits that go from 1 to 0; of an erase,
 * some of the bits that go from 0 to 1.
 */
#ifndef RIG_LANDING_H
#define RIG_LANDING_H

#include "cuts.h"
#include "oplog.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* Flash as bytes from base on. */
struct landing_flash {
	uint32_t base;
	size_t size;
	const uint8_t *before, *after;
};

/*
 * Flash shows first to last operations done (more than one where operations change nothing); torn:
 * and strictly part of the next one (first equals last then).
 */
struct landing_range {
	uint32_t first, last;
	bool torn;
};

struct landing {
	struct landing_range *ranges; /* rising; flash may show the same state at several places */
	size_t count;                 /* 0: flash is none of these states */
	/* When count is 0: the state that differs in the fewest bytes, and where. */
	uint32_t nearest_done;
	size_t nearest_bytes;
	uint32_t nearest_address;
};

/*
 * Finds every place of the log that after can be. Takes time in the order of flash size plus bytes
 * operated on. Operations that are not wholly within flash change nothing that could be seen.
 * ERR_NOMEM. On success the result is finished with landing_finish().
 */
int landing_find(struct landing *landing, const struct landing_flash *flash,
	const struct oplog *log, struct err *e);
void landing_finish(struct landing *landing);

enum landing_agreement {
	LANDING_AGREES,  /* flash shows the cut where the board says it fell */
	LANDING_SKEWED,  /* flash shows another place */
	LANDING_UNKNOWN, /* the flash shows no state of the log */
};

struct landing_check {
	enum landing_agreement agreement;
	long skew;         /* operations in flash more than the board says; 0 unless skewed */
	uint32_t done;     /* the place taken as landed: whole operations in flash */
	bool torn;         /* and part of the next */
	struct cut landed; /* the same as a cut, as flash shows it: a tear that changed none of
			    * the bits, or all, is a clean cut; a torn one's seed is the board's */
	bool as_requested; /* landed is the requested cut */
	char text[256];    /* one line for the journal */
};

/*
 * Compares what was asked for, what flash shows, and what the board's own counter says: board is
 * the cut as the board reports it, or NULL when it cannot tell; then the request stands in for it,
 * and a flash that shows another place is not skewed but landed elsewhere. operations is the
 * length of the log ("end" is that many done).
 */
void landing_compare(struct landing_check *check, const struct cut *requested,
	const struct landing *landing, const struct cut *board, size_t operations);

/* "agrees", "skewed", "unknown". */
const char *landing_agreement_name(enum landing_agreement agreement);

/*
 * {"agreement", "skew", "done", "torn", "cut": CUT, "as_requested", "text"}: the shape that the
 * judge takes as cut.landed.
 */
json_t *landing_check_to_json(const struct landing_check *check);

#endif
