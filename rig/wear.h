/*
 * What a board has been through: erases of each flash page and power cycles of its relay, kept over
 * runs in <board_dir>/wear.json, and held against a budget.
 *
 *   {"since": when counting began (UTC), "relay_cycles": n, "erases": {"page number": n, …}}
 *
 * Pages are numbered from the start of flash. The file is replaced as a whole. One that cannot be
 * read is kept aside as wear.json.damaged, and counting starts anew.
 */
#ifndef RIG_WEAR_H
#define RIG_WEAR_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

struct wear {
	char path[PATH_MAX];
	char since[32];
	uint64_t relay_cycles;
	uint64_t *erases; /* by page */
	size_t pages;     /* that there is room for */
	bool changed;     /* since it was read or written */
	bool damaged;     /* there is a wear.json.damaged: counts from before it are lost */
};

/* How much of each is allowed; 0: any. */
struct wear_budget {
	uint64_t erases; /* of each page */
	uint64_t relay_cycles;
};

/*
 * Reads the file, if there is one. keep_aside: one that is damaged is renamed (who holds the
 * board's lock); else it is left where it is. ERR_IO when that fails; ERR_NOMEM. After success,
 * wear_finish().
 */
int wear_init(struct wear *w, const char *board_dir, bool keep_aside, struct err *e);
void wear_finish(struct wear *w); /* accepts one of all zero bytes */

/* Writes the file, if anything has changed. ERR_IO: it can be tried again. */
int wear_save(struct wear *w, struct err *e);

void wear_count_cycle(struct wear *w);

/* {"page": n, …}, as a trigger tells it. What makes no sense in it is passed over. */
void wear_count_erases(struct wear *w, const json_t *erases);

/* [[first page, pages], …], one erase each, as a probe tells it. */
void wear_count_pages(struct wear *w, const json_t *runs);

/* The budget of a board's object: {"wear": {"erases", "relay_cycles"}}, each of which may be
 * missing. */
struct wear_budget wear_budget_of(const json_t *board);

/* How much of the budget is used, in percent, by what has used most of it; 0 without a budget.
 * From 100 on nothing more is allowed. */
unsigned wear_percent(const struct wear *w, const struct wear_budget *budget);

/* "page 127 has had 312 of 10000 erases", of what has used most of the budget; into text, which is
 * returned. */
const char *wear_describe(
	const struct wear *w, const struct wear_budget *budget, char *text, size_t size);

/*
 * A new object: {"since", "relay_cycles", "erases_max": most erases of a page, "erases_page": that
 * page, or null, "budget": {…} as far as there is one, "percent": of it, or null, "damaged"?: true}
 */
json_t *wear_summary(const struct wear *w, const struct wear_budget *budget);

#endif
