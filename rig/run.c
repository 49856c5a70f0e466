#include "run_priv.h"

#include "err.h"
#include "items.h"
#include "journal.h"
#include "keeper_client.h"
#include "lua_host.h"
#include "rpc.h"
#include "spawn.h"

#include "../reports/report.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_MS 120000 /* the keeper owns the deadlines of opening */
#define END_MS 30000

/* --- ending -------------------------------------------------------------------------------------
 */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static const char *run_verdict(const struct run *run)
{
	static const char *const order[] = {"fail", "error", "inconclusive"};

	if (run->failed || json_integer_value(json_object_get(run->totals, "fail")))
		return "fail";
	if (strcmp(run->reason, "finished") != 0 && strcmp(run->reason, "fail-fast") != 0 &&
		strcmp(run->reason, "budget") != 0)
		return "error";
	for (size_t i = 1; i < sizeof(order) / sizeof(*order); i++)
		if (json_integer_value(json_object_get(run->totals, order[i])))
			return order[i];
	if (strcmp(run->reason, "budget") == 0)
		return "inconclusive"; /* what was not run was not looked at */
	/* where all was skipped, nothing was looked at */
	return run->items.total && !json_integer_value(json_object_get(run->totals, "pass"))
		       ? "inconclusive"
		       : "pass";
}

static int exit_status(const struct run *run, const char *verdict)
{
	if (strcmp(run->reason, "interrupted") == 0)
		return 130;
	return strcmp(verdict, "pass") == 0    ? 0
	       : strcmp(verdict, "fail") == 0  ? 1
	       : strcmp(verdict, "error") == 0 ? 3
					       : 5;
}

static int failure_status(const struct err *e)
{
	switch ((int)e->code) {
	case ERR_USAGE:
	case ERR_CONFIG:
		return 2;
	case ERR_BUSY:
		return 4;
	default:
		return 3;
	}
}

/* Every keeper has ended. */
static void run_finish(struct run *run)
{
	const char *dir = json_string_value(json_object_get(run->job, "run_dir"));
	int status = failure_status(&run->failure);
	char work[PATH_MAX];
	struct err e;

	if (run->finished)
		return;
	run->finished = true;
	if (run->journal) {
		const char *verdict = run_verdict(run);

		status = exit_status(run, verdict);
		if (run_record(run, "end", NULL, NULL,
			    json_pack("{s:s, s:s, s:s*, s:O, s:o*}", "verdict", verdict, "reason",
				    run->reason, "text", run->text[0] ? run->text : NULL, "totals",
				    run->totals, "resumed", run->resumed ? json_true() : NULL),
			    true, &e))
			status = 3;
		journal_destroy(run->journal);
		run->journal = NULL;
		if (report_write_all(dir, (int)json_integer_value(run_option(run, "tap")), &e))
			fprintf(stderr, "rig-worker: %s\n", e.msg);
		if (run->failure.code == ERR_IO)
			status = 3;
	}
	journal_destroy(run->taken);
	run->taken = NULL;
	if (dir && snprintf(work, sizeof(work), "%s/work", dir) < (int)sizeof(work))
		nftw(work, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	if (run->call) {
		rpc_answer_err(run->call, &run->failure);
		run->call = NULL;
	}
	run->ended(run->arg, status);
}

void station_leave(struct station *st)
{
	rpc_destroy(st->keeper);
	st->keeper = NULL;
	if (--st->run->closing == 0)
		run_finish(st->run);
}

/* result: what the keeper answered to the end, or NULL. */
static void station_ended(struct station *st, const struct err *why, const json_t *result)
{
	json_t *wear = json_object_get(result, "wear");
	struct run *run = st->run;
	const char *verdict = run_verdict(run);
	struct err e;

	if (st->ended)
		return;
	st->ended = true;
	if (why && st->opened && strcmp(verdict, "fail") != 0 && strcmp(verdict, "error") != 0) {
		run->reason = "error";
		snprintf(run->text, sizeof(run->text), "board %s was not made safe: %.800s",
			st->name, why->msg);
	}
	if (st->opened && wear)
		run_record(run, "wear", st->name, NULL, json_copy(wear), false, &e);
	if (st->opened)
		run_record(run, "safe", st->name, NULL,
			json_pack("{s:b, s:s, s:s*}", "ok", why == NULL, "why", "the run ended",
				"reason", why ? why->msg : NULL),
			false, &e);
	station_leave(st);
}

static void keeper_ended(void *arg, const struct err *e, json_t *result)
{
	station_ended(arg, e, result);
}

void station_end(struct station *st)
{
	rpc_request(st->keeper, "end", json_object(), END_MS, keeper_ended, st);
}

void station_drop(struct station *st)
{
	uv_idle_stop(&st->later);
	st->answered = st->busy = false;
	json_decref(st->answer);
	st->answer = NULL;
	if (st->task) {
		struct task *task = st->task;

		st->task = NULL;
		host_drop(task);
	}
}

/* Stops what runs, has every board made safe, then finishes. */
void run_end(struct run *run, const char *reason, const char *fmt, ...)
{
	va_list ap;
	struct err e;

	if (run->ending)
		return;
	run->ending = true;
	run->reason = reason;
	va_start(ap, fmt);
	vsnprintf(run->text, sizeof(run->text), fmt, ap);
	va_end(ap);
	run->closing = 1; /* ours, until all were told */
	for (size_t i = 0; i < run->station_count; i++) {
		struct station *st = &run->stations[i];

		station_drop(st);
		if (st->item) {
			run_count(run, "error");
			run_record(run, "item-end", st->name, NULL,
				json_pack("{s:O, s:s, s:s}", "item",
					json_object_get(st->item, "key"), "verdict", "error",
					"reason", run->text),
				false, &e);
			st->item = NULL;
		}
		if (!st->keeper)
			continue;
		run->closing++;
		if (st == run->holding)
			station_hold(st);
		else
			station_end(st);
	}
	if (--run->closing == 0)
		run_finish(run);
}

void run_cancel(struct run *run, const char *reason, const char *text)
{
	run_hold_stop(run, reason, text);
	if (run->failure.code == ERR_NONE)
		err_set(&run->failure, ERR_CANCELLED, "%s", text);
	run_end(run, reason, "%s", text);
}

void run_fail(struct run *run, const struct err *e)
{
	if (run->failure.code == ERR_NONE)
		run->failure = *e;
	run_end(run, "error", "%s", e->msg);
}

/* --- boards -------------------------------------------------------------------------------------
 */

static void run_begin(struct run *run)
{
	char *path = run->taken ? NULL : run_journal_path(run);
	struct err e = {.code = ERR_NOMEM, .msg = "out of memory"};

	run->journal = path ? journal_create(path, &e) : run->taken;
	run->taken = NULL;
	free(path);
	if (!run->journal) {
		run_fail(run, &e);
		return;
	}
	if (run_record_start(run, &e))
		return;
	rpc_answer(run->call, json_pack("{s:O}", "run_dir", json_object_get(run->job, "run_dir")));
	run->call = NULL;
	for (size_t i = 0; i < run->station_count; i++) {
		struct station *st = &run->stations[i];

		if (!st->open_failed)
			continue;
		st->out = true;
		if (run->failure.code == ERR_NONE)
			run->failure = st->open_error;
		station_record_bench_error(st, &st->open_error);
	}
	if (run->failure.code) {
		run_end(run, "error", "%s", run->failure.msg);
		return;
	}
	/* it ended between the item that failed and its own end */
	if (json_is_true(run_option(run, "fail_fast")) &&
		json_integer_value(json_object_get(run->totals, "fail"))) {
		run_end(run, "fail-fast", "stopped at the first failure");
		return;
	}
	for (size_t i = 0; i < run->station_count && !run->ending; i++)
		uv_idle_start(&run->stations[i].later, station_later);
}

/* All keepers have answered "open". */
static void all_opened(struct run *run)
{
	if (run->ending)
		return;
	for (size_t i = 0; i < run->station_count; i++) {
		struct station *st = &run->stations[i];

		/* nothing was wrong with the bench: there is nothing to keep a journal of */
		if (st->open_failed &&
			(st->open_error.code == ERR_BUSY || st->open_error.code == ERR_CONFIG ||
				st->open_error.code == ERR_USAGE)) {
			run_fail(run, &st->open_error);
			return;
		}
	}
	run_begin(run);
}

static void station_ready(struct station *st)
{
	if (--st->run->opening == 0)
		all_opened(st->run);
}

static void tool_known(void *arg, const struct err *e, json_t *result)
{
	struct station *st = arg;

	if (e) {
		st->open_failed = true;
		st->open_error = *e;
	}
	st->tool = json_incref(result);
	station_ready(st);
}

static void check_needs(struct station *st)
{
	const json_t *need;
	size_t i;

	json_array_foreach (json_object_get(host_scenario(st->run->host), "needs"), i, need) {
		if (json_object_get(st->caps, json_string_value(need)))
			continue;
		st->open_failed = true;
		err_set(&st->open_error, ERR_CONFIG,
			"board %s has no %s, which scenario %s needs (rig.conf: %s = { driver = … })",
			st->name, json_string_value(need),
			json_string_value(json_object_get(host_scenario(st->run->host), "name")),
			json_string_value(need));
		return;
	}
}

/* A second cut counts from the power-on after the first: without a trigger nobody does, and the
 * trigger is armed before that. */
static void check_second_cuts(struct station *st, bool recovery_cuts)
{
	const char *trigger = json_string_value(json_object_get(st->caps, "trigger"));
	const json_t *cut;
	size_t i;

	if (recovery_cuts || !json_is_true(json_object_get(host_scenario(st->run->host), "cuts")))
		return;
	json_array_foreach (run_option(st->run, "cut"), i, cut) {
		const char *text = json_string_value(cut);

		if (!strchr(text, ','))
			continue;
		st->open_failed = true;
		if (trigger)
			err_set(&st->open_error, ERR_USAGE,
				"--cut %s: board %s cannot be cut in its recovery: its trigger %s must be "
				"armed while the board has power; triggers that do without the probe can "
				"(gpio-edge, console-pattern, timer)",
				text, st->name, trigger);
		else
			err_set(&st->open_error, ERR_USAGE,
				"--cut %s: board %s has no trigger, and cannot be cut in its recovery "
				"(rig.conf: trigger = { driver = … })",
				text, st->name);
		return;
	}
}

static void keeper_opened(void *arg, const struct err *e, json_t *result)
{
	struct station *st = arg;

	if (e) {
		st->open_failed = true;
		st->open_error = *e;
	} else {
		st->opened = true;
		st->caps = json_incref(json_object_get(result, "caps"));
		check_needs(st);
		if (!st->open_failed)
			check_second_cuts(
				st, json_is_true(json_object_get(result, "recovery_cuts")));
	}
	if (!st->open_failed && json_object_get(st->caps, "probe"))
		rpc_request(st->keeper, "probe.version", json_object(), OPEN_MS, tool_known, st);
	else
		station_ready(st);
}

static void keeper_said(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct station *st = arg;
	const char *device = json_string_value(json_object_get(params, "device"));
	struct err e;

	if (call) {
		err_set(&e, ERR_USAGE, "a worker takes no calls from a keeper");
		rpc_answer_err(call, &e);
		return;
	}
	if (strcmp(method, "lost") == 0)
		run_record(st->run, "bench-error", st->name, json_string_value(st->trial),
			json_pack("{s:O*, s:O*}", "device", json_object_get(params, "device"),
				"reason", json_object_get(params, "reason")),
			false, &e);
	/* a device's own notes are for who looks at it; these are the keeper's, and of a probe that
	 * had to be started again */
	if (strcmp(method, "note") == 0 && st->run->journal && device &&
		(strcmp(device, "board") == 0 || strcmp(device, "probe") == 0))
		run_record(st->run, "note", st->name, json_string_value(st->trial),
			json_pack("{s:O*}", "text", json_object_get(params, "text")), false, &e);
}

static void keeper_closed(void *arg, const struct err *why)
{
	struct station *st = arg;
	struct err e;

	if (st->run->ending) {
		station_ended(st, why, NULL);
		return;
	}
	st->out = true;
	run_record(st->run, "bench-error", st->name, json_string_value(st->trial),
		json_pack("{s:s, s:s}", "device", "keeper", "reason",
			"the board's keeper ended while the run was using it"),
		false, &e);
}

static const struct rpc_handlers keeper_handlers = {keeper_said, keeper_closed};

static void station_open(struct station *st)
{
	struct run *run = st->run;
	const char *dir = json_string_value(json_object_get(run->job, "run_dir"));
	char log[PATH_MAX], what[128];

	snprintf(log, sizeof(log), "%s/keeper-%s.log", dir, st->name);
	snprintf(what, sizeof(what), "run %s",
		json_string_value(json_object_get(run->job, "run_id")));
	if (keeper_client_spawn(run->loop, log, &keeper_handlers, st, &st->keeper, &st->child,
		    &st->open_error)) {
		st->open_failed = true;
		st->keeper = NULL;
		station_ready(st);
		return;
	}
	rpc_request(st->keeper, "open",
		json_pack("{s:O, s:s, s:o}", "board", st->conf, "log_dir", dir, "owner",
			keeper_client_owner(what)),
		OPEN_MS, keeper_opened, st);
}

/* --- beginning ----------------------------------------------------------------------------------
 */

static int make_stations(struct run *run, struct err *e)
{
	json_t *boards = json_object_get(run->job, "boards");
	const char *dir = json_string_value(json_object_get(run->job, "run_dir"));

	run->stations = calloc(json_array_size(boards), sizeof(*run->stations));
	if (!run->stations)
		return err_set(e, ERR_NOMEM, "out of memory");
	for (size_t i = 0; i < json_array_size(boards); i++) {
		struct station *st = &run->stations[run->station_count++];
		char path[PATH_MAX];

		st->run = run;
		st->conf = json_array_get(boards, i);
		st->name = json_string_value(json_object_get(st->conf, "name"));
		st->items = run_items_left(run, json_array_get(run->items.boards, i));
		uv_idle_init(run->loop, &st->later);
		st->later.data = st;
		snprintf(path, sizeof(path), "%s/work", dir);
		if (mkdir(path, 0755) != 0 && errno != EEXIST)
			return err_errno(e, ERR_IO, errno, "%s", path);
		snprintf(path, sizeof(path), "%s/work/%s", dir, st->name);
		if (mkdir(path, 0755) != 0 && errno != EEXIST)
			return err_errno(e, ERR_IO, errno, "%s", path);
		st->work = strdup(path);
		if (!st->work)
			return err_set(e, ERR_NOMEM, "out of memory");
	}
	return 0;
}

static int start(struct run *run, struct err *e)
{
	const json_t *job = run->job;
	const char *scenario = json_string_value(json_object_get(job, "scenario"));
	const char *config_dir =
		json_string_value(json_object_get(json_object_get(job, "bench"), "dir"));
	const char *data = json_string_value(json_object_get(job, "data_dir"));
	json_t *manifest = json_object_get(job, "manifest");
	const json_t *boards = json_object_get(job, "boards");
	const json_t *flash = json_object_get(json_array_get(boards, 0), "flash");
	int code;

	if (!scenario || !data || json_array_size(boards) == 0)
		return err_set(e, ERR_USAGE, "a job needs scenario, data_dir and boards");
	run->host =
		host_create(scenario, config_dir ? config_dir : data, data, &station_hooks, run, e);
	if (!run->host)
		return -(int)e->code;
	code = items_init(&run->items, host_scenario(run->host),
		json_is_object(manifest) ? manifest : NULL, json_object_get(job, "options"),
		(unsigned)json_array_size(boards),
		(unsigned)json_integer_value(json_object_get(flash, "page")), e);
	if (code)
		return code;
	json_object_set_new(run->totals, "items", json_integer((json_int_t)run->items.total));
	if (json_is_true(json_object_get(job, "plan_only")))
		return 0;
	if (json_is_true(json_object_get(job, "resume"))) {
		code = run_take_up(run, e);
		if (code)
			return code;
	}
	return make_stations(run, e);
}

void run_start(struct run *run, json_t *job, struct rpc_call *call)
{
	struct err e;

	run->started = true;
	run->job = json_incref(job);
	run->call = call;
	if (start(run, &e)) {
		run_fail(run, &e);
		return;
	}
	if (json_is_true(json_object_get(job, "plan_only"))) {
		if (run_plan(run, &e)) {
			run_fail(run, &e);
			return;
		}
		rpc_answer(call, json_pack("{s:O, s:O}", "scenario", host_scenario(run->host),
					 "plan", run->items.plan));
		run->call = NULL;
		run_end(run, "finished", "%s", "");
		return;
	}
	run->began_ns = uv_hrtime();
	run->opening = run->station_count + 1;
	for (size_t i = 0; i < run->station_count; i++)
		station_open(&run->stations[i]);
	if (--run->opening == 0)
		all_opened(run);
}

struct run *run_create(uv_loop_t *loop, void (*ended)(void *arg, int exit_status), void *arg)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	run->loop = loop;
	run->ended = ended;
	run->arg = arg;
	run->reason = "finished";
	run->totals = known_totals(NULL);
	known_init(&run->known);
	return run;
}

static void free_closed(uv_handle_t *handle)
{
	struct station *st = handle->data;
	struct run *run = st->run;

	json_decref(st->caps);
	json_decref(st->tool);
	json_decref(st->holds);
	json_decref(st->trial);
	json_decref(st->gdb);
	json_decref(st->items);
	free(st->work);
	if (--run->closing)
		return;
	free(run->stations);
	free(run);
}

const char *run_text(const struct run *run)
{
	return run->text;
}

void run_destroy(struct run *run)
{
	host_destroy(run->host);
	if (run->items.plan)
		items_finish(&run->items);
	json_decref(run->job);
	json_decref(run->totals);
	known_finish(&run->known);
	run->closing = run->station_count;
	if (run->station_count == 0) {
		free(run->stations);
		free(run);
		return;
	}
	for (size_t i = 0; i < run->station_count; i++) {
		spawn_destroy(run->stations[i].child);
		rpc_destroy(run->stations[i].keeper);
		uv_close((uv_handle_t *)&run->stations[i].later, free_closed);
	}
}
