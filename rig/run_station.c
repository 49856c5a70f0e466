#include "run_priv.h"

#include "evidence.h"
#include "journal.h"
#include "lua_host.h"
#include "rpc.h"
#include "run_replay.h"

#include <stdio.h>
#include <string.h>

/* The keeper owns the deadlines; this is how much later it is taken for dead. */
#define KEEPER_GRACE_MS 30000
#define KEEPER_DEFAULT_MS 300000

static void station_next(struct station *st);

/* --- the script's side --------------------------------------------------------------------------
 */

static void give_answer(struct station *st)
{
	json_t *answer = st->answer;

	st->answered = false;
	st->answer = NULL;
	host_resume(st->task, st->answer_error.code ? &st->answer_error : NULL, answer);
	json_decref(answer);
}

void station_later(uv_idle_t *idle)
{
	struct station *st = idle->data;

	uv_idle_stop(idle);

	if (station_must_hold(st)) {
		run_hold(st);
	} else if (st->answered && st->task) {
		give_answer(st);
	} else if (st->busy && st->task) {
		st->busy = false;
		host_continue(st->task);
	} else if (!st->task) {
		station_next(st);
	}
}

static bool of_the_bench(enum err_code code)
{
	return code == ERR_BENCH || code == ERR_IO || code == ERR_GONE || code == ERR_PROTOCOL;
}

static void keeper_answered(void *arg, const struct err *e, json_t *result)
{
	struct station *st = arg;

	if (!st->task || st->run->ending)
		return;
	st->answer_error.code = ERR_NONE;
	if (e)
		st->answer_error = *e;
	/* a deadline that nobody kept: whatever was waited for, it is the keeper that is silent */
	if (e && e->code == ERR_TIMEOUT && uv_hrtime() > st->patient_until_ns)
		err_set(&st->answer_error, ERR_BENCH,
			"board %s: its keeper does not answer: %.800s", st->name, e->msg);
	if (st->passed_over.code == ERR_NONE && of_the_bench(st->answer_error.code))
		st->passed_over = st->answer_error;
	st->answer = json_incref(result);
	st->answered = true;
	if (st->in_wait)
		uv_idle_start(&st->later, station_later);
	else
		give_answer(st);
}

static void hook_wait(void *arg, struct task *task, const char *method, json_t *params)
{
	struct station *st = host_task_owner(task);
	json_int_t timeout_ms = json_integer_value(json_object_get(params, "timeout_ms"));

	(void)arg;
	if (st->run->ending)
		return; /* its task was dropped already */
	st->task = task;
	if (station_must_hold(st)) {
		/* a script that goes on over its failure would change what it left */
		uv_idle_start(&st->later, station_later);
		return;
	}
	st->in_wait = true;
	if (timeout_ms <= 0)
		timeout_ms = KEEPER_DEFAULT_MS;
	st->patient_until_ns = uv_hrtime() + (uint64_t)(timeout_ms + KEEPER_GRACE_MS / 2) * 1000000;
	rpc_request(st->keeper, method, json_incref(params), (unsigned)timeout_ms + KEEPER_GRACE_MS,
		keeper_answered, st);
	st->in_wait = false;
}

static void hook_busy(void *arg, struct task *task)
{
	struct station *st = host_task_owner(task);

	(void)arg;
	st->task = task;
	st->busy = true;
	uv_idle_start(&st->later, station_later);
}

/* Writes a verdict down, and completes the evidence that was kept of it. Steals fields. */
static int record_verdict(struct station *st, const char *trial, json_t *fields, struct err *e)
{
	struct run *run = st->run;
	const char *rel = json_string_value(json_object_get(fields, "evidence"));
	json_t *record = rel ? json_deep_copy(fields) : NULL;
	int code = run_record(run, "verdict", st->name, trial, fields, true, e);
	struct err trouble;

	rel = json_string_value(json_object_get(record, "evidence"));
	if (record) {
		json_object_set(record, "item", json_object_get(st->item, "key"));
		json_object_set_new(record, "trial", json_string(trial));
		json_object_set_new(record, "board", json_string(st->name));
		json_object_set(record, "run", json_object_get(run->job, "run_id"));
		json_object_set(record, "rig", json_object_get(run->job, "rig"));
		json_object_set(record, "from", json_object_get(st->item, "from"));
		json_object_set(record, "to", json_object_get(st->item, "to"));
		json_object_set_new(record, "tools", run_tools(run));
	}
	if (record && code == 0 &&
		evidence_describe(json_string_value(json_object_get(run->job, "run_dir")), rel,
			record, json_string_value(json_object_get(record, "replay")), &trouble))
		run_record(run, "note", st->name, trial,
			json_pack("{s:o}", "text",
				json_sprintf("the evidence in %s is not complete: %s", rel,
					trouble.msg)),
			false, &trouble);
	json_decref(record);
	return code;
}

/* Adds what only the run knows to a script's record. Steals fields. */
static int hook_record(
	void *arg, struct task *task, const char *kind, json_t *fields, struct err *e)
{
	struct run *run = arg;
	struct station *st = host_task_owner(task);
	const char *trial;
	bool verdict = strcmp(kind, "verdict") == 0, unseen;
	const char *off = json_string_value(json_object_get(fields, "off"));
	int code;

	if (run->ending) {
		json_decref(fields);
		return err_set(e, ERR_CANCELLED, "%s", run->text);
	}
	st->task = task;
	unseen = strcmp(kind, "cut") == 0 && off && strcmp(off, "unverified") == 0;
	if (strcmp(kind, "trial-start") == 0) {
		json_decref(st->trial);
		st->trial = json_incref(json_object_get(fields, "key"));
		json_object_del(fields, "key");
	}
	trial = json_string_value(st->trial);
	if (strcmp(kind, "cut") == 0 && known_cut_landed(fields))
		run_count(run, "cuts");
	if (verdict) {
		const char *word = json_string_value(json_object_get(fields, "verdict"));

		/* a script may catch what the bench failed with; it may not pass over it */
		if (word && strcmp(word, "pass") == 0 && st->passed_over.code) {
			json_object_set_new(fields, "verdict", json_string("error"));
			json_object_set_new(fields, "reason", json_string(st->passed_over.msg));
			word = "error";
		}
		run_count(run, "trials");
		st->failed = st->failed || (word && strcmp(word, "fail") == 0);
		run->failed = run->failed || st->failed;
		if (word && strcmp(word, "fail") == 0)
			json_object_set_new(fields, "replay",
				run_replay(run->job, st->name, st->item,
					json_string_value(json_object_get(fields, "witness")),
					json_string_value(json_object_get(fields, "cut"))));
	}
	code = verdict ? record_verdict(st, trial, fields, e)
		       : run_record(run, kind, st->name, trial, fields, false, e);
	if (verdict) {
		json_decref(st->trial);
		st->trial = NULL;
	}
	if (!code && unseen && !st->unseen_noted) {
		st->unseen_noted = true;
		code = run_record(run, "note", st->name, trial,
			json_pack("{s:s}", "text",
				"nothing sees whether this board is off: its cuts are unverified "
				"(docs/configuration.md, power_off)"),
			false, e);
	}
	return code;
}

static void item_over(struct station *st, json_t *outcome)
{
	struct run *run = st->run;
	const char *verdict = json_string_value(json_object_get(outcome, "verdict"));
	const json_t *error = json_object_get(outcome, "error");
	const json_t *bench = json_object_get(outcome, "bench"); /* a second attempt failed with */
	const char *where = json_string_value(json_object_get(error, "where"));
	const char *code = NULL;
	const char *skipped = json_string_value(json_object_get(outcome, "skipped"));
	json_t *fields;
	struct err e;

	run_count(run, skipped ? "skipped" : verdict);
	fields = json_pack("{s:O, s:s, s:s*, s:O*, s:s*, s:O*}", "item",
		json_object_get(st->item, "key"), "verdict", skipped ? "pass" : verdict, "skipped",
		skipped, "reason", json_object_get(error, "message"), "at",
		where && strcmp(where, "?") != 0 ? where : NULL, "again",
		json_object_get(outcome, "again"));
	if (strcmp(verdict, "fail") == 0)
		json_object_set_new(
			fields, "replay", run_replay(run->job, st->name, st->item, NULL, NULL));
	json_decref(st->holds);
	st->holds = json_incref(json_object_get(outcome, "holds"));
	if (strcmp(verdict, "error") == 0)
		bench = error;
	if (bench || strcmp(verdict, "error") == 0) {
		code = json_string_value(json_object_get(bench, "code"));
		st->out = true; /* a bench that failed once would blame the next item */
		if (code && strcmp(code, "script") != 0) {
			err_set(&e, ERR_BENCH, "%s",
				json_string_value(json_object_get(bench, "message")));
			station_record_bench_error(st, &e);
		}
	}
	st->item = NULL;
	if (run_record(run, "item-end", st->name, NULL, fields, true, &e))
		return;
	st->failed = st->failed || strcmp(verdict, "fail") == 0;
	if (station_must_hold(st))
		run_hold(st);
	else if (code && strcmp(code, "script") == 0)
		run_end(run, "error", "%s: %s", json_string_value(json_object_get(bench, "where")),
			json_string_value(json_object_get(bench, "message")));
	else if (strcmp(verdict, "fail") == 0 && json_is_true(run_option(run, "fail_fast")))
		run_end(run, "fail-fast", "stopped at the first failure");
	else
		uv_idle_start(&st->later, station_later);
}

static void hook_finished(void *arg, struct task *task, json_t *outcome)
{
	struct station *st = host_task_owner(task);

	(void)arg;
	st->task = NULL;
	if (st->run->ending)
		return;
	if (st->passed_over.code && !json_object_get(outcome, "bench")) {
		const char *verdict = json_string_value(json_object_get(outcome, "verdict"));
		json_t *why = json_pack("{s:s, s:s}", "code", err_name(st->passed_over.code),
			"message", st->passed_over.msg);

		if (strcmp(verdict, "pass") == 0 || strcmp(verdict, "inconclusive") == 0) {
			json_object_set_new(outcome, "verdict", json_string("error"));
			json_object_set(outcome, "error", why);
			json_object_del(outcome, "holds");
		}
		json_object_set_new(outcome, "bench", why);
	}
	item_over(st, outcome);
}

const struct host_hooks station_hooks = {
	.wait = hook_wait,
	.record = hook_record,
	.finished = hook_finished,
	.busy = hook_busy,
};

/* --- items --------------------------------------------------------------------------------------
 */

/*
 * What is left of the run's budget, in milliseconds; negative: it has none. What it took before it
 * was taken up again is spent, the time in between is not.
 */
static json_int_t budget_left_ms(const struct run *run)
{
	json_int_t budget = json_integer_value(run_option(run, "budget_ms"));
	json_int_t spent = (json_int_t)((uv_hrtime() - run->began_ns) / 1000000) +
			   (json_int_t)(known_seconds(&run->known) * 1e3);

	return budget <= 0 ? -1 : spent < budget ? budget - spent : 0;
}

static json_t *item_context(struct station *st)
{
	struct run *run = st->run;
	const char *key = json_string_value(json_object_get(st->item, "key"));
	json_int_t left = budget_left_ms(run);
	json_t *context = json_pack("{s:O, s:O, s:O, s:O, s:I, s:O, s:s, s:O, s:O*, s:O*, s:o*}",
		"board", st->conf, "caps", st->caps, "item", st->item, "options",
		json_object_get(run->job, "options"), "seed",
		(json_int_t)item_seed(json_integer_value(run_option(run, "seed")), key), "index",
		json_object_get(st->item, "index"), "work", st->work, "run_dir",
		json_object_get(run->job, "run_dir"), "holds", st->holds, "releases",
		json_object_get(json_object_get(run->job, "manifest"), "releases"), "known",
		known_trials(&run->known, key));

	/* every pair gets its share before any gets more */
	if (left >= 0)
		json_object_set_new(context, "budget_ms",
			json_integer(
				left / (json_int_t)(json_array_size(st->items) - st->next + 1)));
	return context;
}

static bool all_done(const struct run *run)
{
	bool over = budget_left_ms(run) == 0;

	for (size_t i = 0; i < run->station_count; i++)
		if (run->stations[i].item ||
			(!run->stations[i].out && !over &&
				run->stations[i].next < json_array_size(run->stations[i].items)))
			return false;
	return true;
}

/* Every board has come to its end. */
static void end_of_items(struct run *run)
{
	size_t left = 0, of_bench = 0;

	for (size_t i = 0; i < run->station_count; i++) {
		const struct station *st = &run->stations[i];

		left += json_array_size(st->items) - st->next;
		if (st->out)
			of_bench += json_array_size(st->items) - st->next;
	}
	if (of_bench)
		run_end(run, "error", "%zu items were not run: the bench failed", of_bench);
	else if (left)
		run_end(run, "budget", "the time budget is used up: %zu items were not run", left);
	else
		run_end(run, "finished", "%s", "");
}

static void station_next(struct station *st)
{
	struct run *run = st->run;
	json_t *context, *key;
	struct err e;

	if (run->ending)
		return;
	if (st->out || st->next >= json_array_size(st->items) || budget_left_ms(run) == 0) {
		if (all_done(run))
			end_of_items(run);
		return;
	}
	st->item = json_array_get(st->items, st->next++);
	st->passed_over.code = ERR_NONE;
	st->failed = false;
	key = json_object_get(st->item, "key");
	if (run_record(run, "item-start", st->name, NULL,
		    json_pack("{s:O, s:o*}", "item", key, "resumed",
			    known_item_begun(&run->known, json_string_value(key)) ? json_true()
										  : NULL),
		    false, &e))
		return;
	context = item_context(st);
	if (host_start(run->host, context, st, &e))
		run_fail(run, &e);
	json_decref(context);
}
