#include "op.h"

#include "err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct op {
	uv_timer_t deadline;
	op_done_fn *done;
	void *done_arg;
	void (*cancel)(struct op *, void *);
	void *cancel_arg;
	unsigned deadline_ms;
	bool cancelling; /* in the cancel hook: what it completes is overruled */
	char what[];
};

static void free_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void complete(struct op *op, const struct err *e, json_t *result)
{
	op_done_fn *done = op->done;
	void *arg = op->done_arg;

	if (op->cancelling) {
		json_decref(result);
		return;
	}
	uv_close((uv_handle_t *)&op->deadline, free_closed);
	done(arg, e, result);
	json_decref(result);
}

static void deadline_passed(uv_timer_t *timer)
{
	struct op *op = timer->data;
	struct err e;

	err_set(&e, ERR_TIMEOUT, "%s: not done within %u ms", op->what, op->deadline_ms);
	op_cancel(op, &e);
}

struct op *op_start(
	uv_loop_t *loop, const char *what, unsigned deadline_ms, op_done_fn *done, void *arg)
{
	size_t size = strlen(what) + 1;
	struct op *op = calloc(1, sizeof(*op) + size);

	if (!op)
		return NULL;
	memcpy(op->what, what, size);
	op->done = done;
	op->done_arg = arg;
	op->deadline_ms = deadline_ms;
	uv_timer_init(loop, &op->deadline);
	op->deadline.data = op;
	uv_update_time(loop);
	uv_timer_start(&op->deadline, deadline_passed, deadline_ms, 0);
	return op;
}

void op_done(struct op *op, json_t *result)
{
	complete(op, NULL, result);
}

void op_fail(struct op *op, const struct err *e)
{
	complete(op, e, NULL);
}

void op_failf(struct op *op, int code, const char *fmt, ...)
{
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	err_vset(&e, (enum err_code)code, fmt, ap);
	va_end(ap);
	complete(op, &e, NULL);
}

void op_on_cancel(struct op *op, void (*hook)(struct op *, void *), void *arg)
{
	op->cancel = hook;
	op->cancel_arg = arg;
}

void op_cancel(struct op *op, const struct err *why)
{
	struct err copy = *why; /* it may belong to what the hook frees */

	if (op->cancelling)
		return;
	op->cancelling = true;
	if (op->cancel)
		op->cancel(op, op->cancel_arg);
	op->cancelling = false;
	complete(op, &copy, NULL);
}
