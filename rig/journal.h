/*
 * The journal of a run: the append-only record that every report is made from. One JSON object a
 * line; kinds and fields are in docs/journal.md.
 */
#ifndef RIG_JOURNAL_H
#define RIG_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define JOURNAL_VERSION 1
#define JOURNAL_FILE "journal.ndjson" /* in the run's folder */

struct err;
struct journal;
struct journal_reader;

/* --- writing ------------------------------------------------------------------------------ */

/*
 * Creates the file, which must not exist, and holds a lock on it until it is closed: a run whose
 * journal is locked is running. NULL with *e set: ERR_IO, ERR_NOMEM.
 */
struct journal *journal_create(const char *path, struct err *e);

/*
 * Opens the journal of a run that was interrupted, to go on with it: a last line that stops short
 * is cut off, numbering continues. ERR_BUSY when somebody writes it, ERR_IO, ERR_NOMEM.
 */
struct journal *journal_resume(const char *path, struct err *e);

/*
 * Appends one record: seq, t_mono_ns, t_wall, kind, board, trial (NULL: null), then fields, which
 * are stolen in any case and may be NULL; a field named as one of the first six is a bug. The
 * record is handed to the kernel by one write. When that fails, nothing that reads as a record is
 * left behind, and every later call fails with the same error: ERR_IO, ERR_NOMEM.
 */
int journal_write(struct journal *j, const char *kind, const char *board, const char *trial,
	json_t *fields, struct err *e);

/* Completes when all records are on the disk (fdatasync). ERR_IO. */
int journal_sync(struct journal *j, struct err *e);

/* The number of the last record written; 0: none. */
uint64_t journal_seq(const struct journal *j);

/*
 * The last record written since the journal was opened, as it stands in the file but for its line
 * end; NULL: none. Borrowed until the next is written.
 */
const char *journal_last(const struct journal *j);

/* Closes and frees; NULL is accepted. */
void journal_destroy(struct journal *j);

/* --- reading ------------------------------------------------------------------------------ */

/*
 * Opens a journal for reading from record from_seq on (1, or 0: the first). ERR_IO, ERR_NOMEM.
 */
struct journal_reader *journal_reader_create(const char *path, uint64_t from_seq, struct err *e);

/*
 * The next record: 1 and a new reference in *record; 0 at the end, where a later call goes on with
 * what was written meanwhile; negative for what is no journal (line number in the message): bad
 * JSON, a record without seq or kind, a gap in seq: ERR_PROTOCOL; ERR_IO, ERR_NOMEM.
 */
int journal_reader_next(struct journal_reader *r, json_t **record, struct err *e);

/* After journal_reader_next() gave 0: true when the file ends in a line that stops short. */
bool journal_reader_incomplete(const struct journal_reader *r);

/* NULL is accepted. */
void journal_reader_destroy(struct journal_reader *r);

/*
 * Reads the whole file. fn is called for each record (borrowed); what it returns other than 0 ends
 * the reading and is returned. *incomplete (may be NULL) as journal_reader_incomplete().
 */
int journal_read(const char *path, uint64_t from_seq,
	int (*fn)(void *arg, json_t *record, struct err *e), void *arg, bool *incomplete,
	struct err *e);

/* True when a process holds the journal open for writing. */
bool journal_is_live(const char *path);

#endif
