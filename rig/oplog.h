/*
 * The operation log of an update: every flash erase and program the DUT did, in order, from the
 * mark on; or, of a board that cannot tell those, what its trigger saw instead. Operations are
 * numbered from 1; ops[0] is operation 1.
 */
#ifndef RIG_OPLOG_H
#define RIG_OPLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define OPLOG_FILE_MAX ((size_t)256 << 20) /* bytes of text */
#define OPLOG_PROGRAM_SIZE 4               /* bytes one program operation covers */

/* The last four are no flash operations: size 0, and no effect on flash that is known. */
enum oplog_kind {
	OPLOG_ERASE,
	OPLOG_PROGRAM,
	OPLOG_LINE,
	OPLOG_EDGE,
	OPLOG_BREAKPOINT,
	OPLOG_TIME
};

struct oplog_op {
	enum oplog_kind kind;
	uint32_t address; /* breakpoint: of the code, or the register's value; line, edge,
			     time: 0 */
	uint32_t value;   /* program: the word as the DUT wrote it, before the AND into flash */
	uint32_t size;    /* bytes: of an erase as logged, of a program OPLOG_PROGRAM_SIZE */
	uint32_t boot;    /* resets since the mark, power-ons among them; never falls */
};

struct oplog {
	struct oplog_op *ops;
	size_t count;
};

/*
 * Fills *log from text in the format of docs/protocol.md, "The operation log": a line each, N from
 * 1 without a gap, the last line ended too. name stands in messages. ERR_PROTOCOL with file, line
 * and what was expected. On failure *log is empty; on success it is finished with oplog_finish().
 */
int oplog_parse(struct oplog *log, const char *name, const char *text, size_t len, struct err *e);

/* The same of a log that begins at operation number first (1 …): ops[0] is that one. */
int oplog_parse_from(struct oplog *log, const char *name, const char *text, size_t len,
	uint32_t first, struct err *e);

/* The same from a file; also ERR_IO. */
int oplog_load(struct oplog *log, const char *path, struct err *e);
int oplog_load_from(struct oplog *log, const char *path, uint32_t first, struct err *e);

void oplog_finish(struct oplog *log);

/* "erase", "program", "line", "edge", "breakpoint", "time". */
const char *oplog_kind_name(enum oplog_kind kind);

/* Whether it is an operation on flash: an erase or a program. */
bool oplog_kind_is_flash(enum oplog_kind kind);

/* What the log was made of: "operations" (also of an empty log), "lines", "edges", "breakpoints",
 * "time". */
const char *oplog_source(const struct oplog *log);

#endif
