/*
 * What a report format is: something that is fed the records of one journal, in order, and writes
 * one document. It knows nothing but the records, so that a live report and one made later from
 * the journal are the same, byte for byte.
 *
 * One file per format, one constant descriptor, one line in reports/report.c.
 */
#ifndef REPORTS_REPORT_H
#define REPORTS_REPORT_H

#include <jansson.h>
#include <stdio.h>

struct err;

struct report_options {
	FILE *out;        /* borrowed until finish or destroy; flushed at each complete part */
	const char *item; /* only this item's part, a whole document of its own; NULL: the run's */
	int tap_version;  /* 13 or 14; 0: 13. For tap alone */
};

/* Every report begins with this. */
struct report {
	const struct report_format *format;
};

struct report_format {
	const char *name; /* as in `rig report --format` */
	const char *file; /* its name in the run's folder */
	const char *help; /* one line */

	/* NULL: out of memory. options are copied; item with them. */
	struct report *(*create)(const struct report_options *options);
	/* record is borrowed. ERR_IO when out takes no more, ERR_NOMEM. */
	int (*record)(struct report *r, json_t *record, struct err *e);
	/*
	 * No more records will come. Without an "end" record the document says error; incomplete
	 * (may be NULL) is why, when more is known than that the journal stops. ERR_IO, ERR_NOMEM.
	 */
	int (*finish)(struct report *r, const char *incomplete, struct err *e);
	void (*destroy)(struct report *r); /* NULL is accepted */
};

/* The table, ended by NULL. */
extern const struct report_format *const report_formats[];

/* The format of that name, or NULL. */
const struct report_format *report_find(const char *name);

/*
 * Makes a report from a journal file. A journal that stops short or is damaged gives a report that
 * says so and ends in error; that is no failure of this function. ERR_IO, ERR_NOMEM.
 */
int report_from_journal(const struct report_format *format, const struct report_options *options,
	const char *journal_path, struct err *e);

/*
 * Writes <run_dir>/run.tap and <run_dir>/transitions/<from>--<to>.tap for every item of the plan
 * from <run_dir>/journal.ndjson. Each file appears whole or not at all (written aside, renamed).
 * ERR_IO, ERR_NOMEM.
 */
int report_write_all(const char *run_dir, int tap_version, struct err *e);

#endif
