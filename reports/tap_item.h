/*
 * An item of the plan as a TAP report holds it until it is put out: the lines of its subtest, the
 * trial under way. And the few ways in which TAP is written.
 *
 * Lines are kept apart because an item that is begun again goes on with some of them, and its
 * points are numbered when all are known.
 */
#ifndef REPORTS_TAP_ITEM_H
#define REPORTS_TAP_ITEM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct tap_line;

/* A trial under way: what its point's diagnostics will be made of. */
struct tap_trial {
	char *key;        /* NULL: none is under way */
	json_t *cuts;     /* the cut records */
	json_t *findings; /* of failing points */
	json_t *last_point;
};

struct tap_item {
	struct tap_item *next;
	char *board, *key, *title; /* title may be NULL */
	bool wanted;               /* the document is about it */
	bool nomem;                /* a line is missing */
	struct tap_line *lines;
	size_t line_count, line_space;
	unsigned points, failed; /* how many, and how many of them failed */
	struct tap_trial trial;
	json_t *end; /* its item-end, while it is held back */
};

struct tap_point {
	bool ok;
	const char *text;
	const char *more; /* behind text, in brackets; or NULL */
	const char *skip; /* reason, or NULL */
	json_t *diag;     /* object, or NULL */
	bool stays;       /* when its item is begun again */
};

/* All texts are copied; board and title may be NULL. NULL: out of memory. */
struct tap_item *tap_item_create(const char *board, const char *key, const char *title);

/* NULL is accepted. */
void tap_item_destroy(struct tap_item *it);

/* Adds a comment to the item's subtest, in one line whatever the parts hold. */
void tap_item_comment(struct tap_item *it, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The same for lines that each have their end. */
void tap_item_comments(struct tap_item *it, const char *lines);

/* Adds a point to the item's subtest. */
void tap_item_point(struct tap_item *it, const struct tap_point *p);

/* Begins a trial, or (NULL) ends it. */
void tap_item_trial(struct tap_item *it, const char *key);

/* Drops what does not stay when the item is begun again: all but the points that do. */
void tap_item_resume(struct tap_item *it);

/* The names of its points that failed; a new array. */
json_t *tap_item_failed(const struct tap_item *it);

/* Writes the subtest and, with that number, the item's own point. */
void tap_item_write(
	const struct tap_item *it, FILE *out, unsigned number, const struct tap_point *own);

/* A text in one line. escape: "#" and the backslash, as a description must (TAP 14). */
void tap_put_escaped(FILE *out, const char *text, bool escape);

/* A comment that belongs to no item. */
void tap_put_comment(FILE *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A point that belongs to no subtest. */
void tap_put_point(FILE *out, unsigned number, const struct tap_point *p);

#endif
