/*
 * The operation log of an update: every flash erase and program the DUT did, in order, from the
 * mark on. Operations are numbered from 1; ops[0] is operation 1.
 */
#ifndef RIG_OPLOG_H
#define RIG_OPLOG_H

#include <stddef.h>
#include <stdint.h>

struct err;

#define OPLOG_FILE_MAX ((size_t)256 << 20) /* bytes of text */
#define OPLOG_PROGRAM_SIZE 4               /* bytes one program operation covers */

enum oplog_kind { OPLOG_ERASE, OPLOG_PROGRAM };

struct oplog_op {
	enum oplog_kind kind;
	uint32_t address;
	uint32_t value; /* program: the word as the DUT wrote it, before the AND into flash */
	uint32_t size;  /* bytes: of an erase as logged, of a program OPLOG_PROGRAM_SIZE */
};

struct oplog {
	struct oplog_op *ops;
	size_t count;
};

/*
 * Fills *log from text in the format of docs/protocol.md, "trace": "N erase 0xADDR SIZE" or
 * "N program 0xADDR 0xVALUE" a line, N from 1 without a gap, the last line ended too. name stands
 * in messages. ERR_PROTOCOL with file, line and what was expected. On failure *log is empty; on
 * success it is finished with oplog_finish().
 */
int oplog_parse(struct oplog *log, const char *name, const char *text, size_t len, struct err *e);

/* The same from a file; also ERR_IO. */
int oplog_load(struct oplog *log, const char *path, struct err *e);

void oplog_finish(struct oplog *log);

/* "erase", "program". */
const char *oplog_kind_name(enum oplog_kind kind);

#endif
