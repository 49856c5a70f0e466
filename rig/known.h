/*
 * What is known of a run from the records of its journal: which items have ended and how, which of
 * their trials have a verdict, what was counted. A run that is taken up again begins with it, and
 * what is said of a run that died is made from it.
 *
 * Records go in, nothing is touched but the file that known_read() reads.
 */
#ifndef RIG_KNOWN_H
#define RIG_KNOWN_H

#include <jansson.h>
#include <stdbool.h>

struct err;

struct known {
	json_t *run, *plan; /* those records, or NULL */
	json_t *end;        /* the last one, unless the run was taken up again after it; or NULL */
	json_t *last;       /* the last record of all, or NULL */
	/* {key: {"board", "verdict"?, "skipped"?, "cuts": outside of trials, "trials": {key:
	 * {"verdict"?, "cut"?, "outcome"?, "cuts": landed}}}} */
	json_t *items;
	json_t *under_way;          /* {board: key of its item} */
	json_int_t from_ns, sum_ns; /* begin of this stretch; length of those before it */
	unsigned resumed;           /* how often it was taken up again */
};

/* Before the first record. Finished with known_finish(). */
void known_init(struct known *k);
void known_finish(struct known *k);

/* The next record, in their order; borrowed. Kinds that it does not need are passed over. */
void known_record(struct known *k, json_t *record);

/* All records of a journal. ERR_IO, ERR_PROTOCOL (what it is damaged by), ERR_NOMEM. */
int known_read(struct known *k, const char *journal, struct err *e);

/*
 * Forgets what a run that is taken up again does anew: items that ended with an error, trials that
 * have no verdict or the verdict error. known_record() does it at every "resume".
 */
void known_take_up(struct known *k);

/* Whether the item ended with pass, fail or inconclusive, or was skipped. */
bool known_item_over(const struct known *k, const char *item);

/* Whether the item ever began, also when it is to be done anew. */
bool known_item_begun(const struct known *k, const char *item);

/*
 * Whether a run with this end has something left to do: it was cut short, or an item ended with an
 * error.
 */
bool known_unfinished(const struct known *k);

/* The trials of an item that have a verdict, as in struct known; a new object, or NULL: none. */
json_t *known_trials(const struct known *k, const char *item);

/* Whether a record of a cut counts as one that landed: flash shows where, or its trigger's count is
 * what there is. Those of a second attempt do not count. */
bool known_cut_landed(const json_t *cut);

/* The totals of docs/journal.md, counted; a new object. k may be NULL: all 0. */
json_t *known_totals(const struct known *k);

/* Whether an item or a trial failed. */
bool known_failed(const struct known *k);

/* From its first to its last record, without the time between a stretch and the next. */
double known_seconds(const struct known *k);

#endif
