/*
 * Operations: work that was started and completes exactly once.
 *
 * The core starts an operation with a deadline and hands it to a driver; the driver completes it
 * with op_done() or op_fail() whenever it is ready, from the loop, never blocking it. When the
 * deadline passes, or the core cancels, the driver's cancel hook runs and the operation completes
 * as timed out or cancelled; the driver must not touch it after that. Completion runs the core's
 * callback, then frees the operation.
 */
#ifndef RIG_OP_H
#define RIG_OP_H

#include <jansson.h>
#include <uv.h>

struct err;
struct op;

/*
 * Called exactly once. e is NULL when the operation succeeded; result is borrowed, and NULL when
 * the operation has none or failed.
 */
typedef void op_done_fn(void *arg, const struct err *e, json_t *result);

/*
 * Starts an operation on loop. deadline_ms counts from now and must not be 0: nothing waits for
 * ever. what names the operation in messages ("power set off"); it is copied. Returns NULL only
 * when out of memory; done is not called then.
 */
struct op *op_start(
	uv_loop_t *loop, const char *what, unsigned deadline_ms, op_done_fn *done, void *arg);

/* Completes op with success. Steals result, which may be NULL. */
void op_done(struct op *op, json_t *result);

/* Completes op with a copy of *e, whose code must not be ERR_NONE. */
void op_fail(struct op *op, const struct err *e);

/* Completes op with an error made here, in the manner of err_set(). code is an enum err_code. */
void op_failf(struct op *op, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * What to call when op is cancelled or its deadline passes, so that the driver forgets op. The
 * reason for the end is decided then: completing op from within the hook changes nothing. Replaces
 * the previous hook; NULL removes it.
 */
void op_on_cancel(struct op *op, void (*hook)(struct op *op, void *arg), void *arg);

/* Cancels op: runs its hook, then completes it with *why, whose code must not be ERR_NONE. */
void op_cancel(struct op *op, const struct err *why);

#endif
