/*
 * Instances of USB drivers: work on threads, loss and return (usb_instance.h).
 */
#include "usb_instance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A node that is new belongs to a device whose configuration, permissions and firmware follow soon:
 * it is tried so often, each try after twice the time of the one before. */
#define AGAIN_MS 50
#define AGAIN_TRIES 7

#define SUPERSEDED "switched again before it had settled"

struct usb_queued {
	struct usb_queued *next;
	struct usb_job job;
	struct op *op; /* NULL: forgotten */
	bool opening;  /* success makes the instance opened */
	bool settling, has_settled;
	bool stopped;    /* to be failed by stop_all() */
	bool superseded; /* it is not to settle: something newer waits */
	int ret;
	json_t *result;
	struct err e;
};

static void next(struct usb_instance *u);
static void reattach(struct usb_instance *u);

static void queued_free(struct usb_queued *q)
{
	json_decref(q->result);
	free(q);
}

/* Takes q out of the queue; it is not on a thread. */
static void unlink_queued(struct usb_instance *u, struct usb_queued *q)
{
	struct usb_queued **at = &u->first;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	if (u->last == q) {
		u->last = u->first;
		while (u->last && u->last->next)
			u->last = u->last->next;
	}
	if (q->settling)
		uv_timer_stop(&u->settle);
}

/* Completes an operation, if there is one. Steals result. */
static void end_op(struct op *op, const struct err *e, json_t *result)
{
	if (op)
		op_on_cancel(op, NULL, NULL);
	if (op && !e) {
		op_done(op, result);
		return;
	}
	json_decref(result);
	if (op)
		op_fail(op, e);
}

/* Ends q, which is not on a thread. */
static void complete(struct usb_instance *u, struct usb_queued *q, const struct err *failed)
{
	struct op *op = q->op;
	struct err e = {.code = ERR_NONE};
	json_t *result = json_incref(q->result);

	if (failed)
		e = *failed; /* it may be q's own */
	unlink_queued(u, q);
	queued_free(q);
	end_op(op, failed ? &e : NULL, result);
}

/* --- loss and return -------------------------------------------------------------------------- */

static void lose(struct usb_instance *u)
{
	char reason[256];

	if (u->lost || !u->opened || u->closing)
		return;
	u->lost = true;
	snprintf(reason, sizeof(reason), "%s is gone: was it unplugged?", u->what);
	u->env.event(u->env.arg, "lost", json_pack("{s:s}", "reason", reason));
}

static void come_back(struct usb_instance *u)
{
	char text[256];

	u->lost = false;
	u->tries = 0;
	uv_timer_stop(&u->again);
	snprintf(text, sizeof(text), "%s is back", u->what);
	if (!u->closing)
		u->env.event(u->env.arg, "back", json_pack("{s:s}", "text", text));
}

static bool node_is_there(const struct usb_instance *u)
{
	char path[4096];

	usb_node(path, sizeof(path), u->bus, u->address);
	return access(path, F_OK) == 0;
}

static void again_came(uv_timer_t *timer)
{
	reattach(timer->data);
}

static void try_again(struct usb_instance *u)
{
	if (!u->tries || u->closing)
		return;
	u->tries--;
	uv_timer_start(
		&u->again, again_came, (uint64_t)AGAIN_MS << (AGAIN_TRIES - 1 - u->tries), 0);
}

/* A node has come, gone or changed. */
static void look(void *arg)
{
	struct usb_instance *u = arg;
	struct err e;

	u->looking = u->running;
	if (u->running || u->closing || !u->opened)
		return;
	if (u->handle && !node_is_there(u)) {
		if (u->first) { /* it settles */
			err_set(&e, ERR_BENCH, "%s is gone: was it unplugged?", u->what);
			complete(u, u->first, &e);
		}
		lose(u);
		reattach(u); /* lets go of it, and it may be back already */
	} else if (u->lost) {
		u->tries = AGAIN_TRIES;
		try_again(u);
	}
}

/* Nothing else to do: attaching is the work. */
static int only_attach(
	struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e)
{
	(void)u;
	(void)job;
	(void)result;
	(void)e;
	return 0;
}

static void add(struct usb_instance *u, struct usb_queued *q)
{
	if (u->last)
		u->last->next = q;
	else
		u->first = q;
	u->last = q;
}

static void reattach(struct usb_instance *u)
{
	struct usb_queued *q;

	if (u->closing || u->first)
		return; /* what is under way attaches it */
	q = calloc(1, sizeof(*q));
	if (!q)
		return;
	q->job.work = only_attach;
	add(u, q);
	next(u);
}

/* --- work ------------------------------------------------------------------------------------- */

/* A handle of a device that is gone is of no use. */
static void let_go_if_gone(struct usb_instance *u)
{
	if (!u->handle || (!usb_is_gone(u->handle) && node_is_there(u)))
		return;
	usb_close(u->handle);
	u->handle = NULL;
}

static void on_thread(uv_work_t *work)
{
	struct usb_instance *u = work->data;
	struct usb_queued *q = u->first;

	let_go_if_gone(u);
	if (u->letting_go) {
		usb_close(u->handle);
		u->handle = NULL;
		return;
	}
	if (q->job.abandoned)
		q->ret = err_set(&q->e, ERR_CANCELLED, "given up");
	else
		q->ret = u->handle ? 0 : u->ops->attach(u, &q->job.abandoned, &q->e);
	if (!q->ret)
		q->ret = (q->has_settled ? q->job.settled : q->job.work)(
			u, &q->job, &q->result, &q->e);
	let_go_if_gone(u);
}

static void settle_over(uv_timer_t *timer)
{
	struct usb_instance *u = timer->data;
	struct usb_queued *q = u->first;

	q->settling = false;
	q->has_settled = true;
	if (q->job.settled) {
		json_decref(q->result);
		q->result = NULL;
		next(u);
		return;
	}
	complete(u, q, NULL);
	next(u);
}

/* first's work is done: it settles, or its operation is completed. */
static void finish_first(struct usb_instance *u)
{
	struct usb_queued *q = u->first;
	struct err e;

	if (!q->ret && q->job.settle_ms && q->superseded) {
		err_set(&e, ERR_CANCELLED, SUPERSEDED);
		complete(u, q, &e);
		return;
	}
	if (!q->ret && q->job.settle_ms && !q->has_settled && q->op) {
		q->settling = true;
		uv_timer_start(&u->settle, settle_over, q->job.settle_ms, 0);
		return;
	}
	complete(u, q, q->ret ? &q->e : NULL);
}

static void watch_closed(uv_handle_t *handle)
{
	struct usb_instance *u = handle->data;
	void (*closed)(void *arg) = u->closed;
	void *arg = u->closed_arg;

	if (--u->handles)
		return;
	u->ops->destroy(u);
	closed(arg);
}

/* Nothing is on a thread and nothing is held any more. */
static void close_handles(struct usb_instance *u)
{
	u->handles = 2;
	if (u->watching && usb_watch_stop(&u->watch, watch_closed))
		u->handles++;
	uv_close((uv_handle_t *)&u->settle, watch_closed);
	uv_close((uv_handle_t *)&u->again, watch_closed);
}

static void worked(uv_work_t *work, int status)
{
	struct usb_instance *u = work->data;
	struct usb_queued *q = u->first;
	bool gone;

	(void)status; /* it is never cancelled */
	u->running = false;
	if (u->closing) {
		if (q) {
			unlink_queued(u, q);
			queued_free(q);
		}
		next(u);
		return;
	}
	if (q->opening && !q->ret && q->op)
		u->opened = true;
	gone = !u->handle;
	finish_first(u);
	/* whoever is called may have closed the instance, or asked for more */
	if (gone)
		lose(u);
	else if (u->lost)
		come_back(u);
	if (u->lost)
		try_again(u);
	if (u->looking)
		look(u);
	next(u);
}

/* Starts what is first, unless that is under way; a closed instance lets go of its device. */
static void next(struct usb_instance *u)
{
	if (u->running)
		return;
	if (u->closing ? u->handle == NULL : !u->first || u->first->settling) {
		if (u->closing && !u->handles)
			close_handles(u);
		return;
	}
	u->running = true;
	u->letting_go = u->closing;
	uv_queue_work(u->env.loop, &u->work, on_thread, worked);
}

/* --- operations ------------------------------------------------------------------------------- */

/* q's operation is over, whatever q does; q goes unless it is on a thread. */
static void abandon(struct usb_instance *u, struct usb_queued *q)
{
	q->job.abandoned = true;
	if (u->running && q == u->first)
		return;
	unlink_queued(u, q);
	queued_free(q);
}

static void cancelled(struct op *op, void *arg)
{
	struct usb_instance *u = arg;
	struct usb_queued *q = u->first;

	while (q->op != op)
		q = q->next;
	q->op = NULL;
	abandon(u, q);
	next(u);
}

/* Fails all that is queued or under way now; whoever hears of it may ask for more. */
static void stop_all(struct usb_instance *u, enum err_code code, const char *why)
{
	struct usb_queued *q;
	struct err e;

	err_set(&e, code, "%s", why);
	for (q = u->first; q; q = q->next)
		q->stopped = true;
	for (;;) {
		struct op *op;

		for (q = u->first; q && !q->stopped; q = q->next)
			;
		if (!q)
			return;
		q->stopped = false;
		op = q->op;
		q->op = NULL;
		abandon(u, q);
		end_op(op, &e, NULL);
	}
}

static void enqueue(struct usb_instance *u, const struct usb_job *job, bool opening, struct op *op)
{
	struct usb_queued *q;

	if (u->closing) {
		op_failf(op, ERR_GONE, "the device was closed");
		return;
	}
	q = calloc(1, sizeof(*q));
	if (!q) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	q->job.work = job->work;
	q->job.settle_ms = job->settle_ms;
	q->job.settled = job->settled;
	q->job.on = job->on;
	q->opening = opening;
	q->op = op;
	op_on_cancel(op, cancelled, u);
	add(u, q);
	next(u);
}

void usb_instance_do(struct usb_instance *u, const struct usb_job *job, struct op *op)
{
	enqueue(u, job, false, op);
}

void usb_instance_open(struct usb_instance *u, const struct usb_job *job, struct op *op)
{
	if (!u->watching) {
		u->watching = true;
		usb_watch_start(&u->watch, u->env.loop, look, u);
		u->watch.poll.data = u;
	}
	enqueue(u, job, true, op);
}

void usb_instance_stop_settling(struct usb_instance *u)
{
	struct usb_queued *q = u->first;
	struct err e;

	for (; q && !q->settling; q = q->next)
		q->superseded = true;
	if (!q)
		return;
	err_set(&e, ERR_CANCELLED, SUPERSEDED);
	complete(u, q, &e);
	next(u);
}

void usb_instance_make_safe(struct usb_instance *u, const struct usb_job *job, struct op *op)
{
	stop_all(u, ERR_CANCELLED, "the board is made safe");
	enqueue(u, job, false, op);
}

void usb_instance_take(struct usb_instance *u, struct usb_handle *h, const struct usb_info *info)
{
	u->handle = h;
	u->bus = info->bus;
	u->address = info->address;
}

void usb_instance_close(struct usb_instance *u, void (*closed)(void *arg), void *arg)
{
	if (u->closing)
		return; /* once is enough */
	u->closing = true;
	u->closed = closed;
	u->closed_arg = arg;
	uv_timer_stop(&u->again);
	stop_all(u, ERR_GONE, "the device was closed");
	next(u);
}

void usb_instance_init(
	struct usb_instance *u, const struct driver_env *env, const struct usb_instance_ops *ops)
{
	u->env = *env;
	u->ops = ops;
	u->work.data = u;
	uv_timer_init(env->loop, &u->settle);
	uv_timer_init(env->loop, &u->again);
	u->settle.data = u;
	u->again.data = u;
	usb_watch_init(&u->watch);
}
