#include "openocd_jobs.h"

#include "openocd_session.h"
#include "openocd_verbs.h"

#include "../rig/file.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRACE_MS 500 /* for OpenOCD to end by itself */
#define FREE_MS 3000 /* for the reset line to be freed, by a new OpenOCD if need be */

const char *openocd_option(const struct openocd *oc, const char *name)
{
	return json_string_value(json_object_get(oc->options, name));
}

static bool is_virtual(const struct openocd *oc)
{
	return strcmp(openocd_option(oc, "adapter"), "virtual") == 0;
}

const char *openocd_wiring(const struct openocd *oc)
{
	const char *wiring = openocd_option(oc, "reset_config");

	return !wiring && is_virtual(oc) ? "srst_only srst_nogate" : wiring;
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

/* The operation was given up: forget it. */
static void forget(struct op *op, void *arg)
{
	struct openocd *oc = arg;
	struct job **at = &oc->jobs, *job;
	bool active = oc->jobs->op == op;

	while ((*at)->op != op)
		at = &(*at)->next;
	job = *at;
	*at = job->next;
	if (!*at)
		oc->jobs_end = at;
	job_free(oc, job);
	if (!active)
		return;
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

	oc->session = NULL;
	oc->state = STOPPING;
	oc->proven = false;
	openocd_session_stop(session, grace_ms, "rig_release", session_stopped, oc);
}

static void session_lost(void *arg, const struct err *why)
{
	struct openocd *oc = arg;
	bool starting = oc->state == STARTING;
	struct err e = *why;

	session_drop(oc, 0);
	if (oc->working || (starting && oc->jobs))
		job_fail(oc, &e);
	if (!starting)
		oc->env.event(oc->env.arg, "lost", json_pack("{s:s}", "reason", e.msg));
}

void jobs_end_gdb(struct openocd *oc)
{
	oc->gdb_port = 0;
	if (oc->session)
		session_drop(oc, GRACE_MS);
}

/* A growing list of arguments that owns its strings. */
struct args {
	const char *list[40];
	size_t n;
};

static void args_add(struct args *a, const char *flag, char *value)
{
	if (!value || a->n + 3 > sizeof(a->list) / sizeof(*a->list)) {
		free(value);
		return;
	}
	a->list[a->n++] = flag;
	a->list[a->n++] = value;
}

static void args_free(struct args *a)
{
	for (size_t i = 1; i < a->n; i += 2)
		free((char *)(uintptr_t)a->list[i]);
}

/* A command with one word that comes from a configuration. */
static char *command(const char *name, const char *word)
{
	char *quoted = word ? openocd_quote(word) : NULL, *text = NULL;

	if (quoted && asprintf(&text, "%s %s", name, quoted) < 0)
		text = NULL;
	free(quoted);
	return text;
}

/* The port of the virtual board's ST-LINK server. */
static int virtual_port(const struct openocd *oc, unsigned long *port, struct err *e)
{
	char path[4096], *text, *end;
	size_t len;
	int ret;

	snprintf(path, sizeof(path), "%s/vboard/stlink.port", oc->env.board_dir);
	ret = file_read(path, 64, &text, &len, e);
	if (ret)
		return err_set(e, ERR_BENCH, "the virtual board does not run (%s)", path);
	*port = strtoul(text, &end, 10);
	if (end == text || *port < 1 || *port > UINT16_MAX)
		ret = err_set(e, ERR_BENCH, "%s holds no port", path);
	free(text);
	return ret;
}

/* Interfaces whose transport is not plain swd. */
static const char *transport_of(const struct openocd *oc)
{
	const char *adapter = openocd_option(oc, "adapter"),
		   *transport = openocd_option(oc, "transport");

	if (transport)
		return transport;
	return strcmp(adapter, "virtual") == 0 || strcmp(adapter, "stlink-dap") == 0
		       ? "dapdirect_swd"
		       : "swd";
}

/*
 * Gdb gets the port that it had. OpenOCD lets a debugger do anything only when it initialised
 * itself at its start: an init by the Tcl port leaves gdb's own commands, such as the halt as it
 * attaches, in the configuration stage. So it must find the DUT then, or it ends.
 */
static char *ports_command(const struct openocd *oc)
{
	static const char others[] = "telnet_port disabled; tcl_port 0";
	char *text = NULL;
	int n;

	if (oc->serving)
		n = asprintf(&text, "gdb_port %u; %s", oc->gdb_port, others);
	else
		n = asprintf(&text, "gdb_port disabled; %s; noinit", others);
	return n < 0 ? NULL : text;
}

static int make_args(const struct openocd *oc, struct args *a, struct err *e)
{
	json_int_t speed = json_integer_value(json_object_get(oc->options, "speed_khz"));
	const char *adapter = openocd_option(oc, "adapter"), *wiring = openocd_wiring(oc);
	const char *type_file = json_string_value(json_object_get(oc->env.board_conf, "type_file"));
	char *folder = type_file ? strdup(type_file) : NULL, *text = NULL;
	unsigned long port = 0;
	int ret = is_virtual(oc) ? virtual_port(oc, &port, e) : 0;

	if (ret) {
		free(folder);
		return ret;
	}
	/* files of the board type's folder come before OpenOCD's own of the same name */
	if (folder)
		args_add(a, "-s", strdup(dirname(folder)));
	free(folder);
	args_add(a, "-c", ports_command(oc));
	if (asprintf(&text, "interface/%s.cfg", is_virtual(oc) ? "stlink-dap" : adapter) > 0)
		args_add(a, "-f", text);
	if (is_virtual(oc) && asprintf(&text, "st-link backend tcp %lu", port) > 0)
		args_add(a, "-c", text);
	args_add(a, "-c", command("adapter serial", openocd_option(oc, "serial")));
	args_add(a, "-c", command("transport select", transport_of(oc)));
	args_add(a, "-f",
		strdup(json_string_value(json_object_get(
			json_object_get(oc->env.board_conf, "openocd"), "target"))));
	if (speed && asprintf(&text, "adapter speed %" JSON_INTEGER_FORMAT, speed) > 0)
		args_add(a, "-c", text);
	if (wiring && asprintf(&text, "reset_config %s", wiring) > 0)
		args_add(a, "-c", text);
	if (openocd_option(oc, "config"))
		args_add(a, "-f", strdup(openocd_option(oc, "config")));
	return 0;
}

/* OpenOCD, or its adapter, did not come up for the first job. */
static void start_failed(struct openocd *oc, const struct err *e)
{
	session_drop(oc, 0);
	if (oc->jobs)
		job_fail(oc, e);
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
	oc->state = READY;
	jobs_start(oc);
}

static void session_start(struct openocd *oc)
{
	struct args a = {0};
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
	ret = make_args(oc, &a, &e);
	if (!ret)
		ret = openocd_session_start(oc->env.loop, &spec, &oc->session, &e);
	args_free(&a);
	if (ret) {
		job_fail(oc, &e);
		return;
	}
	oc->state = STARTING;
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
	if (job->only_running && oc->state != READY) {
		oc->gdb_port = 0;
		job_done(oc, NULL);
	} else if (job->gdb && oc->session && !oc->serving) {
		session_drop(oc, GRACE_MS);
	} else if (oc->state == DOWN) {
		session_start(oc);
	} else if (oc->state == UP && !job->without_dut) {
		oc->state = STARTING;
		openocd_session_run(
			oc->session, "open the adapter", init_script(oc), session_is_ready, oc);
	} else {
		oc->working = true;
		job->start(oc, job, NULL);
	}
}

static void free_closed(uv_handle_t *handle)
{
	struct openocd *oc = handle->data;
	void (*closed)(void *arg) = oc->closed;
	void *arg = oc->closed_arg;

	json_decref(oc->options);
	free(oc->log_path);
	free(oc->scratch);
	free(oc);
	closed(arg);
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
		uv_close((uv_handle_t *)&oc->closer, free_closed);
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

static void answered(void *arg, const struct err *e, const char *text)
{
	struct openocd *oc = arg;
	struct job *job = oc->jobs;

	if (!oc->session || !oc->working)
		return;
	if (!e) {
		oc->proven |= !job->without_dut;
		if (job->hold)
			oc->held = job->hold > 0;
		job->step(oc, job, text);
	} else if (oc->proven && strstr(e->msg, "rig_attach: ")) {
		/* the virtual board's server, or the adapter, may be another one by now */
		oc->working = false;
		session_drop(oc, 0);
	} else if (job->only_running) {
		/* nothing answers at the debug port, so nothing is held there */
		oc->gdb_port = 0;
		session_drop(oc, 0);
		job_done(oc, NULL);
	} else if (job->gdb && !oc->gdb_port) {
		/* one that serves gdb is for who asked for it */
		session_drop(oc, GRACE_MS);
		job_fail(oc, e);
	} else {
		job_fail(oc, e);
	}
}

/* Runs a script for the active job, which goes on with step. Steals script; NULL: out of memory. */
void job_run(struct openocd *oc, const char *what, char *script, step_fn *step)
{
	struct err e;

	oc->jobs->step = step;
	if (script) {
		openocd_session_run(oc->session, what, script, answered, oc);
	} else {
		err_set(&e, ERR_NOMEM, "out of memory");
		job_fail(oc, &e);
	}
	free(script);
}

/* --- make safe, close --- */

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
	if (e)
		oc->safe_err = *e;
	safe_without_openocd(oc, GRACE_MS);
}

static void free_reset_line(struct openocd *oc, struct job *job, const char *text);

void jobs_make_safe(struct openocd *oc, struct op *op)
{
	bool idle = !oc->working && oc->state == READY;
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
	bool idle = !oc->working && oc->state == READY;
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
		uv_close((uv_handle_t *)&oc->closer, free_closed);
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
	oc->closer.data = oc;
	return 0;
}
