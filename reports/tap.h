/*
 * TAP from journal records: one point per item of the plan, with a subtest that holds its points.
 * Version 13 and 14 differ in the version line alone (https://testanything.org, TAP 13 and TAP 14
 * specifications). What the records are: docs/journal.md.
 *
 * Items on several boards interleave in a journal. The writer keeps an item's subtest back until
 * its item-end, so points stand in the order in which items ended, numbered from 1.
 */
#ifndef REPORTS_TAP_H
#define REPORTS_TAP_H

#include "report.h"

extern const struct report_format tap_format;

/* The three of the format, for those who want TAP and nothing else (the worker). */
struct report *tap_create(const struct report_options *options);
int tap_record(struct report *r, json_t *record, struct err *e);
int tap_finish(struct report *r, const char *incomplete, struct err *e);
void tap_destroy(struct report *r);

#endif
