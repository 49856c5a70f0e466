/*
 * What the cuts of one item covered: the "coverage" record of docs/journal.md. A pure function of
 * the item's trace and of its trials: no I/O, no time. docs/coverage.md says what each number
 * means, and what it does not.
 */
#ifndef RIG_COVERAGE_H
#define RIG_COVERAGE_H

#include <jansson.h>

struct coverage;
struct err;

#define COVERAGE_OPERATIONS_MAX (1u << 24) /* more than the largest operation log has */

/*
 * Nothing is covered yet. trace has the fields of the journal's "trace" record: "operations", and
 * where they are there "source" (missing: "operations") and "classes"; it is referred to, and must
 * not change. NULL with ERR_PROTOCOL when it is not of that shape: a range outside of
 * 1 … operations, an operation in two classes, a class of another number of operations than its
 * ranges have; or with ERR_NOMEM.
 */
struct coverage *coverage_create(const json_t *trace, struct err *e);

/* NULL is accepted. */
void coverage_destroy(struct coverage *coverage);

/*
 * Adds a trial: {"verdict": as in the journal, "cuts": [fields of the "cut" records of its first
 * attempt, in order]; missing: none fired}. Of the first cut "requested", "landed_as" and "counted"
 * are read; a record with "again" is passed over, a trial whose verdict is error adds nothing.
 * ERR_PROTOCOL when it is not of that shape, or a cut landed where the trace has no operation: then
 * nothing of it was added. ERR_NOMEM.
 */
int coverage_trial(struct coverage *coverage, const json_t *trial, struct err *e);

/* The fields of the "coverage" record, in a new object; NULL: out of memory. */
json_t *coverage_to_json(const struct coverage *coverage);

#endif
