/*
 * Triggers that count (lines, time): what they share. A trace is written on a thread of its own.
 */
#ifndef DRIVERS_TRACE_FILE_H
#define DRIVERS_TRACE_FILE_H

#include "driver.h"

struct trace_file;

/*
 * Writes text (len bytes, from malloc(); freed when done) to path, an absolute one, and completes
 * op with {"operations": operations}. *slot, of the instance, is what is under way; a second one
 * meanwhile is ERR_BUSY. ERR_IO, ERR_USAGE, ERR_NOMEM through op.
 */
void trace_file_write(struct trace_file **slot, uv_loop_t *loop, const char *path, char *text,
	size_t len, uint64_t operations, struct op *op);

/* The instance closes: what is under way fails with ERR_GONE, and the slot may go. */
void trace_file_abandon(struct trace_file **slot);

/*
 * Takes the operation that a cut {"op", "tear"} is to be made at. ERR_UNSUPPORTED for a torn one,
 * ERR_USAGE for one that is no later than the count of those that came already. name is the
 * driver's, one what it counts ("line").
 */
int trigger_cut_at(const json_t *cut, const char *name, const char *one, uint64_t count,
	uint64_t *at, struct err *e);

#endif
