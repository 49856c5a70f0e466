/*
 * Classes of the operations of a trace: what was done (kind), where (region), after how many resets
 * (boot), and whether it is metadata or bulk. A pure function of the log and the board's regions.
 *
 * Metadata is what decides: a stretch of at most CLASSES_METADATA_MAX programs at rising addresses
 * in one page of one region, uninterrupted in the log: a status record, a trailer's field, a
 * setting. An erase is metadata when nothing of its pages gets bulk in this trace, and something
 * gets metadata or the stretch of erases it is in is as short. All else is bulk, and so is what is
 * no flash operation, of which nothing is known.
 */
#ifndef RIG_CLASSES_H
#define RIG_CLASSES_H

#include "oplog.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct cut_region;

#define CLASSES_METADATA_MAX 16 /* operations */

/* Operations first to last, numbered from 1: all of one class. */
struct class_range {
	uint32_t first, last;
};

struct op_class {
	enum oplog_kind kind;
	const char *region; /* "none": outside of all */
	uint32_t boot;
	bool metadata;
	size_t operations;
	struct class_range *ranges; /* rising; no two touch */
	size_t range_count;
	char *name; /* "boot 1 program primary metadata" */
};

struct classes {
	struct op_class *list; /* in the order of their first operations */
	size_t count;
	uint32_t *of; /* of[i]: index in list of the class of operation i + 1 */
	size_t operations;
	const char *source; /* oplog_source() of the log */
	char **regions;     /* names the classes point to */
	size_t region_count;
};

/*
 * Classes the operations of a log. regions may be NULL; where two overlap the smaller one counts.
 * page is the size of a flash page in bytes. Everything is copied. ERR_CONFIG when page is 0 and
 * there are flash operations; ERR_NOMEM. On success finished with classes_finish(), on failure
 * empty.
 */
int classes_init(struct classes *classes, const struct oplog *log, const struct cut_region *regions,
	size_t region_count, uint32_t page, struct err *e);
void classes_finish(struct classes *classes);

/*
 * The field "classes" of the journal's trace record: [{"name", "kind", "region", "boot", "size":
 * "metadata"|"bulk", "operations": n, "ranges": [[first, last], …]}, …]. A new reference, or NULL
 * without memory.
 */
json_t *classes_to_json(const struct classes *classes);

#endif
