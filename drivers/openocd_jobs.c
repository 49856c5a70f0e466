#include "openocd_jobs.h"

#include "openocd_args.h"
#include "openocd_session.h"
#include "openocd_usb.h"
#include "openocd_verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRACE_MS 500 /* for OpenOCD to end by itself */
#define FREE_MS 3000 /* for the reset line to be freed, by a new OpenOCD if need be */
#define OPEN_MS 3000 /* for OpenOCD to come up and open the adapter, on top of an answer's time */
#define POWERED 0.8  /* volts; what a DUT without power is fed by its signal lines stays below */

/* --- patience: how long OpenOCD may take to answer --- */

static void stalled(uv_timer_t *timer);

static void patience_begin(struct openocd *oc, unsigned more_ms)
{
	uv_timer_start(&oc->stall, stalled, oc->answer_ms + more_ms, 0);
}

static void patience_end(struct openocd *oc)
{
	uv_timer_stop(&oc->stall);
}

/* --- jobs --- */

static void job_free(const struct openocd *oc, struct job *job)
{
	char path[4096];

	for (unsigned i = 0; i < job->files; i++) {
		snprintf(path, sizeof(path), "%s%u", oc->scratch, i);
		unlink(path);
	}
	flash_plan_finish(&job->plan);
	json_decref(job->worn);
	openocd_until_free(job->until);
	free(job->script);
	free(job->path);
	free(job->data);
	free(job);
}

/* Takes the active job off the queue. */
static struct op *job_take(struct openocd *oc)
{
	struct job *job = oc->jobs;
	struct op *op = job->op;

	oc->jobs = job->next;
	if (!oc->jobs)
		oc->jobs_end = &oc->jobs;
	oc->working = false;
	patience_end(oc);
	job_free(oc, job);
	return op;
}

void job_done(struct openocd *oc, json_t *result)
{
	struct op *op = job_take(oc);

	op_done(op, result);
	jobs_start(oc);
}

void job_fail(struct openocd *oc, const struct err *e)
{
	struct op *op = job_take(oc);

	op_fail(op, e);
	jobs_start(oc);
}

/* Ends every job there is now; what their owners start in answer waits behind them. */
static void fail_jobs(struct openocd *oc, const struct err *e)
{
	uint64_t last = oc->last_serial;

	while (oc->jobs && oc->jobs->serial <= last)
		op_fail(job_take(oc), e);
}

static void session_drop(struct openocd *oc, unsigned grace_ms);

/* What the DUT was stopped by is being cleared, and nobody waits for that. */
static void cleared(void *arg, const struct err *e, json_t *result)
{
	(void)arg;
	(void)e;
	(void)result;
}

static void forget(struct op *op, void *arg);

/* A job whose OpenOCD comes back soon by itself is not ended but asked to stop, as an operation of
 * its own. False: that could not be started. */
static bool give_up_gently(struct openocd *oc, struct job *job)
{
	struct op *op = job->until && oc->working && !job->given_up
				? op_start(oc->env.loop, "let the DUT run on", FREE_MS, cleared, oc)
				: NULL;

	if (!op)
		return false;
	job->op = op;
	job->given_up = true;
	op_on_cancel(op, forget, oc);
	return true;
}

/* The operation was given up: forget it. */
static void forget(struct op *op, void *arg)
{
	struct openocd *oc = arg;
	struct job **at = &oc->jobs, *job;
	bool active = oc->jobs->op == op;

	while ((*at)->op != op)
		at = &(*at)->next;
	job = *at;
	if (active && give_up_gently(oc, job))
		return;
	*at = job->next;
	if (!*at)
		oc->jobs_end = at;
	job_free(oc, job);
	if (!active)
		return;
	patience_end(oc);
	if (oc->working || oc->state == STARTING) {
		oc->working = false;
		session_drop(oc, 0);
	}
	jobs_start(oc);
}

struct job *job_enqueue(struct openocd *oc, struct op *op, step_fn *start)
{
	struct job *job;

	if (oc->closing) {
		op_failf(op, ERR_GONE, "the device was closed");
		return NULL;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return NULL;
	}
	job->op = op;
	job->start = start;
	job->serial = ++oc->last_serial;
	*oc->jobs_end = job;
	oc->jobs_end = &job->next;
	op_on_cancel(op, forget, oc);
	return job;
}

/* --- the session --- */

static void session_stopped(void *arg);

/* Ends OpenOCD. Answers that come while there is no session are of scripts that died with it, and
 * are ignored: whoever drops the session sees to the active job. */
static void session_drop(struct openocd *oc, unsigned grace_ms)
{
	struct openocd_session *session = oc->session;

	patience_end(oc);
	oc->session = NULL;
	oc->state = STOPPING;
	oc->proven = false;
	openocd_session_stop(session, grace_ms, "rig_release", session_stopped, oc);
}

/* "jlink 683101": the adapter, as in rig.conf. */
static void adapter_name(const struct openocd *oc, char *buf, size_t size)
{
	const char *serial = openocd_option(oc, "serial");

	snprintf(buf, size, "%.60s%s%.60s", openocd_option(oc, "adapter"), serial ? " " : "",
		serial ? serial : "");
}

static void note(struct openocd *oc, const struct err *why)
{
	char name[128], text[1200];

	adapter_name(oc, name, sizeof(name));
	snprintf(text, sizeof(text), "adapter %s: %s; OpenOCD is started again", name, why->msg);
	oc->env.event(oc->env.arg, "note", json_pack("{s:s}", "text", text));
}

/* Says which adapter it is, and what can be done about it. */
static void explain(const struct openocd *oc, struct err *e)
{
	const struct err was = *e;
	char name[128], mend[500];

	adapter_name(oc, name, sizeof(name));
	openocd_usb_mend(openocd_probe_kind(openocd_option(oc, "adapter")),
		openocd_option(oc, "serial"), mend, sizeof(mend));
	err_set(e, was.code, "adapter %s: %.360s%s%s", name, was.msg, mend[0] ? ": " : "", mend);
}

/* OpenOCD, or its adapter, did not come up for the first job. */
static void start_failed(struct openocd *oc, const struct err *e)
{
	struct err full = *e;

	/* one for gdb ends when the DUT does not answer, which is no fault of the adapter's */
	if (!oc->serving)
		explain(oc, &full);
	session_drop(oc, 0);
	if (oc->jobs)
		job_fail(oc, &full);
}

/*
 * The adapter, or OpenOCD, failed under the active job. A job gets one OpenOCD more for that, if
 * this one had been working.
 */
static void adapter_failed(struct openocd *oc, const struct err *why)
{
	struct job *job = oc->jobs;
	struct err full = *why;

	if (job->retried || job->once) {
		explain(oc, &full);
		session_drop(oc, 0);
		job_fail(oc, &full);
		return;
	}
	job->retried = true;
	note(oc, why);
	oc->working = false;
	session_drop(oc, 0);
}

static void session_lost(void *arg, const struct err *why)
{
	struct openocd *oc = arg;
	struct err e = *why;

	if (oc->state == STARTING) {
		start_failed(oc, &e);
	} else if (oc->working) {
		adapter_failed(oc, &e);
	} else {
		session_drop(oc, 0);
		note(oc, &e);
	}
}

static void stalled(uv_timer_t *timer)
{
	struct openocd *oc = timer->data;
	char said[512];
	struct err e;

	openocd_session_said(oc->session, said, sizeof(said));
	err_set(&e, ERR_BENCH, "openocd does not answer%s%s", said[0] ? "; it said last: " : "",
		said);
	if (oc->state == STARTING)
		start_failed(oc, &e);
	else
		adapter_failed(oc, &e);
}

void jobs_end_gdb(struct openocd *oc)
{
	oc->gdb_port = 0;
	if (oc->session)
		session_drop(oc, GRACE_MS);
}

static void session_is_up(void *arg, const struct err *e, const char *text)
{
	struct openocd *oc = arg;

	(void)text;
	if (!oc->session)
		return;
	if (e) {
		start_failed(oc, e);
		return;
	}
	patience_end(oc);
	oc->state = UP;
	jobs_start(oc);
}

static void session_is_ready(void *arg, const struct err *e, const char *text)
{
	struct openocd *oc = arg;

	(void)text;
	if (!oc->session)
		return;
	if (e) {
		start_failed(oc, e);
		return;
	}
	patience_end(oc);
	oc->state = READY;
	jobs_start(oc);
}

static void session_start(struct openocd *oc)
{
	struct openocd_args a = {0};
	struct openocd_spec spec = {
		.program = openocd_option(oc, "program"),
		.args = a.list,
		.log_path = oc->log_path,
		.lost = session_lost,
		.arg = oc,
	};
	struct err e;
	int ret;

	oc->serving = oc->gdb_port || oc->jobs->gdb;
	ret = openocd_args_init(oc, &a, &e);
	if (!ret)
		ret = openocd_session_start(oc->env.loop, &spec, &oc->session, &e);
	openocd_args_finish(&a);
	if (ret) {
		job_fail(oc, &e);
		return;
	}
	oc->state = STARTING;
	patience_begin(oc, OPEN_MS);
	openocd_session_run(oc->session, "set up", openocd_verbs, session_is_up, oc);
}

/* The adapter is opened, and the reset line as it shall be. */
static const char *init_script(const struct openocd *oc)
{
	static const char *const scripts[2][3] = {
		{"rig_init none", "rig_init deassert", "rig_init assert"},
		{"rig_serve none", "rig_serve deassert", "rig_serve assert"},
	};

	return scripts[oc->serving][!openocd_wiring(oc) ? 0 : oc->held ? 2 : 1];
}

void jobs_start(struct openocd *oc)
{
	struct job *job = oc->jobs;

	if (!job || oc->working || oc->closing || oc->state == STARTING || oc->state == STOPPING ||
		(oc->safe_op && job->serial > oc->safe_serial))
		return;
	if (job->only_running && oc->state != READY && !oc->taken) {
		oc->gdb_port = 0;
		job_done(oc, NULL);
	} else if (job->gdb && oc->session && !oc->serving) {
		session_drop(oc, GRACE_MS);
	} else if (oc->state == DOWN) {
		session_start(oc);
	} else if (oc->state == UP && !job->without_dut) {
		oc->state = STARTING;
		patience_begin(oc, OPEN_MS);
		openocd_session_run(
			oc->session, "open the adapter", init_script(oc), session_is_ready, oc);
	} else {
		oc->working = true;
		oc->taken |= !job->without_dut && !job->only_running;
		job->start(oc, job, NULL);
	}
}

static void free_closed(uv_handle_t *handle)
{
	struct openocd *oc = handle->data;
	void (*closed)(void *arg) = oc->closed;
	void *arg = oc->closed_arg;

	if (--oc->open_handles)
		return;
	json_decref(oc->options);
	free(oc->log_path);
	free(oc->scratch);
	free(oc);
	closed(arg);
}

static void close_handles(struct openocd *oc)
{
	uv_close((uv_handle_t *)&oc->closer, free_closed);
	uv_close((uv_handle_t *)&oc->stall, free_closed);
}

static void finish_safe(struct openocd *oc)
{
	struct op *op = oc->safe_op;

	oc->safe_op = NULL;
	if (op && oc->safe_err.code != ERR_NONE)
		op_fail(op, &oc->safe_err);
	else if (op)
		op_done(op, NULL);
}

static void session_stopped(void *arg)
{
	struct openocd *oc = arg;

	oc->state = DOWN;
	if (oc->closing) {
		close_handles(oc);
		return;
	}
	/* with the reset line still to be freed, that job comes first */
	if (!oc->jobs || oc->jobs->serial > oc->safe_serial)
		finish_safe(oc);
	if (!oc->closing) /* who waited for the board to be safe may well close the device at once
			   */
		jobs_start(oc);
}

/* --- scripts --- */

/*
 * What the adapter says for itself, after a script failed: an adapter that answers has done its
 * part, and a DUT without power is not to be taken for a probe that hangs.
 */
static void adapter_answered(void *arg, const struct err *e, const char *text)
{
	struct openocd *oc = arg;
	bool mute = strstr(oc->failed.msg, "rig_attach: ") != NULL;
	struct err why = oc->failed;
	double volts = -1;

	if (!oc->session || !oc->working)
		return;
	patience_end(oc);
	if (e) {
		err_set(&why, ERR_BENCH, "%.400s; the adapter does not answer", oc->failed.msg);
		adapter_failed(oc, &why);
		return;
	}
	if (strncmp(text, "volts ", 6) == 0)
		volts = strtod(text + 6, NULL);
	if (mute && volts >= 0)
		err_set(&why, oc->failed.code, "%.600s; the adapter measures %.2f V at it",
			oc->failed.msg, volts);
	/* a board that has power and does not answer may be another one by now */
	if (mute && oc->proven && !oc->jobs->retried && strcmp(text, "alive") != 0 &&
		(volts < 0 || volts >= POWERED))
		adapter_failed(oc, &why);
	else
		job_fail(oc, &why);
}

static void ask_adapter(struct openocd *oc, const struct err *why)
{
	oc->failed = *why;
	patience_begin(oc, 0);
	openocd_session_run(oc->session, "adapter", "rig_adapter", adapter_answered, oc);
}

static void answered(void *arg, const struct err *e, const char *text)
{
	struct openocd *oc = arg;
	struct job *job = oc->jobs;

	if (!oc->session || !oc->working)
		return;
	patience_end(oc);
	if (!e) {
		oc->proven |= !job->without_dut;
		oc->taken &= !job->only_running;
		if (job->hold)
			oc->held = job->hold > 0;
		job->step(oc, job, text);
	} else if (job->only_running) {
		/* nothing answers at the debug port, so nothing is held there */
		oc->gdb_port = 0;
		oc->taken = false;
		session_drop(oc, 0);
		job_done(oc, NULL);
	} else if (job->gdb && !oc->gdb_port) {
		/* one that serves gdb is for who asked for it */
		session_drop(oc, GRACE_MS);
		job_fail(oc, e);
	} else if (job->without_dut || job->endless) {
		job_fail(oc, e);
	} else {
		ask_adapter(oc, e);
	}
}

/* Runs a script for the active job, which goes on with step. Steals script; NULL: out of memory. */
void job_run(struct openocd *oc, const char *what, char *script, step_fn *step)
{
	struct job *job = oc->jobs;
	struct err e;

	job->step = step;
	if (script) {
		if (!job->endless)
			patience_begin(oc, job->more_ms);
		job->more_ms = 0;
		openocd_session_run(oc->session, what, script, answered, oc);
	} else {
		err_set(&e, ERR_NOMEM, "out of memory");
		job_fail(oc, &e);
	}
	free(script);
}

/* --- make safe, close --- */

/* Whether OpenOCD takes a script soon. */
static bool responsive(const struct openocd *oc)
{
	return oc->state == READY && (!oc->working || oc->jobs->until);
}

static void forget_safe(struct op *op, void *arg)
{
	struct openocd *oc = arg;

	(void)op;
	oc->safe_op = NULL;
}

/* Ends OpenOCD, which also lets go of the debug port, and with it make safe. */
static void safe_without_openocd(struct openocd *oc, unsigned grace_ms)
{
	if (oc->session) {
		session_drop(oc, grace_ms);
	} else if (oc->state == DOWN) {
		finish_safe(oc);
		jobs_start(oc);
	}
}

static void reset_line_freed(void *arg, const struct err *e, json_t *result)
{
	struct openocd *oc = arg;

	(void)result;
	if (oc->closing)
		return;
	if (e && openocd_adapter_ended(oc))
		oc->held = false;
	else if (e)
		oc->safe_err = *e;
	safe_without_openocd(oc, GRACE_MS);
}

static void free_reset_line(struct openocd *oc, struct job *job, const char *text);

void jobs_make_safe(struct openocd *oc, struct op *op)
{
	bool idle = responsive(oc);
	struct op *inner = NULL;
	struct job *job;
	struct err e;

	if (oc->safe_op || oc->closing) {
		op_failf(op, ERR_BUSY, "is being made safe or closed already");
		return;
	}
	oc->safe_op = op;
	oc->safe_serial = oc->last_serial;
	oc->safe_err.code = ERR_NONE;
	oc->gdb_port = 0;
	op_on_cancel(op, forget_safe, oc);
	err_set(&e, ERR_CANCELLED, "the board is made safe");
	fail_jobs(oc, &e);
	oc->taken &= !idle;
	if (!oc->held) {
		safe_without_openocd(oc, idle ? GRACE_MS : 0);
		return;
	}
	/* nobody else would free the line: an adapter keeps it as it is when OpenOCD ends */
	if (oc->session && !idle)
		session_drop(oc, 0);
	inner = op_start(oc->env.loop, "free the reset line", FREE_MS, reset_line_freed, oc);
	job = inner ? job_enqueue(oc, inner, free_reset_line) : NULL;
	if (!job) {
		if (!inner)
			safe_without_openocd(oc, 0);
		return;
	}
	oc->safe_serial = job->serial;
	job->hold = -1;
	jobs_start(oc);
}

static void line_is_free(struct openocd *oc, struct job *job, const char *text)
{
	(void)job;
	(void)text;
	job_done(oc, NULL);
}

static void free_reset_line(struct openocd *oc, struct job *job, const char *text)
{
	(void)job;
	(void)text;
	job_run(oc, "free the reset line", strdup("rig_free"), line_is_free);
}

void jobs_close(struct openocd *oc, void (*closed)(void *arg), void *arg)
{
	struct op *safe_op = oc->safe_op;
	bool idle = responsive(oc);
	struct err e;

	oc->closing = true;
	oc->closed = closed;
	oc->closed_arg = arg;
	err_set(&e, ERR_GONE, "the device was closed");
	oc->safe_op = NULL;
	if (safe_op)
		op_fail(safe_op, &e);
	fail_jobs(oc, &e);
	if (oc->session)
		session_drop(oc, idle ? GRACE_MS : 0);
	else if (oc->state == DOWN)
		close_handles(oc);
}

int jobs_init(struct openocd *oc, struct err *e)
{
	oc->jobs_end = &oc->jobs;
	if (asprintf(&oc->log_path, "%s/openocd-%s.log", oc->env.log_dir, oc->env.board) < 0)
		oc->log_path = NULL;
	if (asprintf(&oc->scratch, "%s/openocd-%ld.", oc->env.board_dir, (long)getpid()) < 0)
		oc->scratch = NULL;
	if (!oc->log_path || !oc->scratch) {
		free(oc->log_path);
		free(oc->scratch);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	uv_timer_init(oc->env.loop, &oc->closer);
	uv_timer_init(oc->env.loop, &oc->stall);
	oc->closer.data = oc->stall.data = oc;
	oc->open_handles = 2;
	return 0;
}
