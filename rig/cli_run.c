#include "cli.h"

#include "cli_job.h"
#include "journal.h"
#include "keeper_client.h"
#include "progress.h"
#include "runs.h"
#include "spawn.h"

#include "../reports/report.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DYING_MS 60000 /* by then the keepers of a run that was killed have ended */

struct run_command {
	struct cli_job ask;
	char *id, *dir;
	struct rpc *worker;
	struct spawned *child;
	struct report *tap;
	struct progress *progress;
	json_int_t first_seq, last_seq; /* first: of this stretch of a run taken up again */
	bool failed_to_start, closed;
	int exit_status; /* as the worker said; negative: it said nothing */
	int interrupts;
	bool unseen; /* standard output took not all of the TAP */
	struct err error;
	uv_signal_t signals[3];
};

/* --- following the worker -----------------------------------------------------------------------
 */

/* Standard output that takes no more ends the run: nobody would see its results. */
static void tap_broke(struct run_command *rc, const struct err *e)
{
	fprintf(stderr, "rig: %s\n", e->msg);
	rc->tap->format->destroy(rc->tap);
	rc->tap = NULL;
	rc->unseen = true;
	if (rc->worker)
		rpc_notify(rc->worker, "cancel",
			json_pack("{s:s, s:s}", "reason", "interrupted", "text",
				"standard output was closed"));
}

static void tell_record(struct run_command *rc, json_t *record, bool past)
{
	struct err e;

	rc->last_seq = json_integer_value(json_object_get(record, "seq"));
	if (rc->tap && rc->tap->format->record(rc->tap, record, &e))
		tap_broke(rc, &e);
	if (rc->progress && past)
		progress_past(rc->progress, record);
	else if (rc->progress)
		progress_record(rc->progress, record);
}

/* What the journal holds from before the run was taken up again. */
static int read_past(void *arg, json_t *record, struct err *e)
{
	struct run_command *rc = arg;

	(void)e;
	if (json_integer_value(json_object_get(record, "seq")) >= rc->first_seq)
		return 1;
	tell_record(rc, record, true);
	return 0;
}

static void take_record(struct run_command *rc, json_t *record)
{
	json_int_t seq = json_integer_value(json_object_get(record, "seq"));
	char *journal;
	struct err e;

	if (rc->ask.resume.id && rc->last_seq == 0 && seq > 1) {
		journal = runs_path(cli_state_dir(rc->ask.cli), rc->id, JOURNAL_FILE);
		rc->first_seq = seq;
		if (journal)
			journal_read(journal, 1, read_past, rc, NULL, &e);
		free(journal);
	}
	if (seq == rc->last_seq + 1) /* else told already */
		tell_record(rc, record, false);
}

static void worker_said(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct run_command *rc = arg;
	struct err e;

	if (call) {
		err_set(&e, ERR_USAGE, "the command line takes no calls");
		rpc_answer_err(call, &e);
	} else if (strcmp(method, "record") == 0) {
		take_record(rc, json_object_get(params, "record"));
	} else if (strcmp(method, "ended") == 0) {
		const char *text = json_string_value(json_object_get(params, "text"));

		rc->exit_status = (int)json_integer_value(json_object_get(params, "exit_status"));
		snprintf(rc->error.msg, sizeof(rc->error.msg), "%s", text ? text : "");
	}
}

static void worker_closed(void *arg, const struct err *why)
{
	struct run_command *rc = arg;

	(void)why;
	rc->closed = true;
}

static const struct rpc_handlers worker_handlers = {worker_said, worker_closed};

static void run_answered(void *arg, const struct err *e, json_t *result)
{
	struct run_command *rc = arg;

	(void)result;
	if (e) {
		rc->failed_to_start = true;
		rc->error = *e;
	}
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct run_command *rc = handle->data;

	/* a worker that does not listen is ended; its keepers make the boards safe */
	if (rc->interrupts++ > 0 && rc->child && spawn_pid(rc->child) > 0)
		kill(spawn_pid(rc->child), SIGKILL);
	if (rc->interrupts == 1 && rc->worker) {
		if (!rc->ask.quiet)
			fprintf(stderr, "\nstopping; the boards are made safe\n");
		rpc_notify(rc->worker, "cancel",
			json_pack("{s:s, s:s}", "reason", "interrupted", "text",
				signum == SIGHUP ? "the terminal was closed"
						 : "interrupted at the terminal"));
	}
}

/* What the connection did not bring any more is in the journal. */
static int read_rest(void *arg, json_t *record, struct err *e)
{
	(void)e;
	take_record(arg, record);
	return 0;
}

static int conclude(struct run_command *rc)
{
	char *journal = runs_path(cli_state_dir(rc->ask.cli), rc->id, JOURNAL_FILE);
	struct err e;

	if (journal)
		journal_read(journal, (uint64_t)rc->last_seq + 1, read_rest, rc, NULL, &e);
	free(journal);
	if (rc->tap && rc->tap->format->finish(rc->tap, NULL, &e)) {
		fprintf(stderr, "rig: %s\n", e.msg);
		rc->unseen = true;
	}
	if (rc->progress)
		progress_finish(rc->progress, rc->dir);
	if (rc->exit_status == EXIT_BENCH && rc->error.msg[0])
		fprintf(stderr, "rig: %s\n", rc->error.msg);
	if (rc->exit_status == EXIT_PASS && rc->unseen)
		return EXIT_BENCH; /* nobody saw that all passed */
	if (rc->exit_status >= 0)
		return rc->exit_status;
	report_write_all(
		rc->dir, (int)json_integer_value(json_object_get(rc->ask.options, "tap")), &e);
	fprintf(stderr,
		"rig: the worker of run %s died; its boards make themselves safe; "
		"`rig run --resume %s` goes on with it\n",
		rc->id, rc->id);
	return rc->interrupts ? EXIT_INTERRUPTED : EXIT_BENCH;
}

static int make_folder(struct run_command *rc, struct err *e)
{
	if (rc->ask.resume.id) {
		rc->id = rc->ask.resume.id;
		rc->dir = rc->ask.resume.dir;
		return 0;
	}
	if (runs_create(cli_state_dir(rc->ask.cli), rc->ask.scenario, &rc->id, e))
		return err_prefix(e, "state_dir");
	rc->dir = runs_path(cli_state_dir(rc->ask.cli), rc->id, NULL);
	return rc->dir ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

/* One attempt. ERR_BUSY leaves nothing behind. */
static int attempt(struct run_command *rc, json_t *job, struct err *e)
{
	struct report_options how = {.out = stdout,
		.tap_version = (int)json_integer_value(json_object_get(rc->ask.options, "tap"))};
	const struct report_format *tap = report_find("tap");
	int code = make_folder(rc, e);

	if (code)
		return code;
	json_object_set_new(job, "run_id", json_string(rc->id));
	json_object_set_new(job, "run_dir", json_string(rc->dir));
	code = cli_job_worker(
		rc->ask.cli, rc->dir, &worker_handlers, rc, &rc->child, &rc->worker, e);
	if (code)
		return code;
	/* an attempt before told them nothing */
	if (!rc->tap)
		rc->tap = tap->create(&how);
	if (!rc->progress && !rc->ask.quiet)
		rc->progress = progress_create(stderr, isatty(STDERR_FILENO), 0);
	rpc_request(rc->worker, "run", json_pack("{s:O}", "job", job), CLI_JOB_START_MS,
		run_answered, rc);
	while (!rc->closed)
		uv_run(&rc->ask.cli->loop, UV_RUN_ONCE);
	rpc_destroy(rc->worker);
	rc->worker = NULL;
	spawn_destroy(rc->child);
	rc->child = NULL;
	if (!rc->failed_to_start || rc->last_seq > 0)
		return 0;
	*e = rc->error;
	if (rc->ask.resume.id)
		return -(int)e->code;
	if (runs_remove(cli_state_dir(rc->ask.cli), rc->id, &rc->error))
		fprintf(stderr, "rig: %s\n", rc->error.msg);
	free(rc->id);
	free(rc->dir);
	rc->id = rc->dir = NULL;
	return -(int)e->code;
}

static void watch_signals(struct run_command *rc)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction before;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		uv_signal_init(&rc->ask.cli->loop, &rc->signals[i]);
		rc->signals[i].data = rc;
		uv_unref((uv_handle_t *)&rc->signals[i]);
		/* nohup has it ignored, and means it */
		if (numbers[i] != SIGHUP || sigaction(SIGHUP, NULL, &before) != 0 ||
			before.sa_handler != SIG_IGN)
			uv_signal_start(&rc->signals[i], on_signal, numbers[i]);
	}
}

/* --- waiting for busy boards --------------------------------------------------------------------
 */

struct waiting {
	struct rpc *keeper;
	bool over;
	uv_timer_t timer;
};

static void wait_closed(void *arg, const struct err *why)
{
	(void)why;
	((struct waiting *)arg)->over = true;
}

static void wait_timer(uv_timer_t *timer)
{
	((struct waiting *)timer->data)->over = true;
}

static void wait_freed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Until the keeper of a busy board ends, or for ms. Returns how long it took. */
static long long wait_for_board(struct run_command *rc, json_t *boards, long long ms)
{
	static const struct rpc_handlers handlers = {cli_refuse_call, wait_closed};
	struct waiting *w = calloc(1, sizeof(*w));
	uint64_t began = uv_hrtime();
	struct err e;

	if (!w)
		return ms;
	uv_timer_init(&rc->ask.cli->loop, &w->timer);
	w->timer.data = w;
	for (size_t i = 0; i < json_array_size(boards) && !w->keeper; i++)
		if (keeper_client_connect(&rc->ask.cli->loop, cli_state_dir(rc->ask.cli),
			    json_string_value(json_object_get(json_array_get(boards, i), "name")),
			    &handlers, w, &w->keeper, &e))
			w->keeper = NULL;
	/* a keeper that just ended leaves the lock within moments */
	uv_timer_start(&w->timer, wait_timer, (uint64_t)(w->keeper || ms < 200 ? ms : 200), 0);
	while (!w->over && rc->interrupts == 0)
		uv_run(&rc->ask.cli->loop, UV_RUN_ONCE);
	rpc_destroy(w->keeper);
	uv_close((uv_handle_t *)&w->timer, wait_freed);
	return (long long)((uv_hrtime() - began) / 1000000) + 1;
}

int cli_run(struct cli *cli, int argc, char **argv)
{
	static struct run_command rc; /* until the process ends, as all of a command */
	static json_t *job;
	bool waits;
	struct err e;
	int code, status;

	rc = (struct run_command){.ask = {.cli = cli}, .exit_status = -1};
	status = cli_job_parse(&rc.ask, argc, argv);
	if (status >= 0)
		return status;
	if (rc.ask.json)
		return cli_usage(
			rc.ask.name, "--json is for rig plan; `rig runs --json` lists runs");
	if (cli_load(cli, &e) || cli_job_take_up(&rc.ask, &e) ||
		cli_job_make(&rc.ask, false, &job, &e))
		return cli_fail(&e);
	watch_signals(&rc);
	waits = rc.ask.wait_ms > 0;
	if (rc.ask.resume.id && !waits)
		rc.ask.wait_ms = DYING_MS;
	while ((code = attempt(&rc, job, &e)) == -ERR_BUSY && rc.ask.wait_ms > 0 &&
		!rc.interrupts && (waits || resume_comes_free(cli, &rc.ask.resume, job))) {
		rc.ask.wait_ms -=
			wait_for_board(&rc, json_object_get(job, "boards"), rc.ask.wait_ms);
		rc.closed = rc.failed_to_start = false;
		rc.exit_status = -1;
	}
	if (code == -ERR_BUSY) {
		struct err busy = e;

		err_set(&e, ERR_BUSY, "%s; %s", busy.msg,
			waits ? "it was not free in time" : "--wait 10m waits for it");
	}
	if (code)
		return rc.interrupts ? EXIT_INTERRUPTED : cli_fail(&e);
	status = conclude(&rc);
	if (rc.ask.keep && runs_prune(cli_state_dir(cli), (unsigned)rc.ask.keep, &e))
		fprintf(stderr, "rig: --keep: %s\n", e.msg);
	return status;
}
