#include "run.h"

#include "digest.h"
#include "err.h"
#include "items.h"
#include "journal.h"
#include "keeper_client.h"
#include "lua_host.h"
#include "rpc.h"
#include "run_replay.h"
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

#define FOLLOWERS_MAX 64
#define OPEN_MS 120000 /* the keeper owns the deadlines of opening */
#define END_MS 30000
/* The keeper owns the deadlines; this is how much later it is taken for dead. */
#define KEEPER_GRACE_MS 30000
#define KEEPER_DEFAULT_MS 300000

/* A board of the run, with its keeper and the item it works on. */
struct station {
	struct run *run;
	const char *name;
	json_t *conf; /* borrowed from the job */
	struct rpc *keeper;
	struct spawned *child;
	json_t *caps;
	json_t *tool;
	char *work;
	json_t *items; /* borrowed */
	size_t next;
	json_t *item; /* the one under way; borrowed */
	struct task *task;
	json_t *trial; /* string, or NULL */
	json_t *holds; /* string or NULL: what it holds by the last item's proof */
	bool opened, open_failed, out, ended;
	struct err open_error;
	/* what has to wait until the loop has run: idle and not a timer, because timers of 0 ms
	 * that start each other never let the loop poll */
	uv_idle_t later;
	bool answered, busy, in_wait;
	uint64_t patient_until_ns; /* by then the keeper must have answered */
	struct err answer_error;
	json_t *answer;
};

struct run {
	uv_loop_t *loop;
	void (*ended)(void *arg, int exit_status);
	void *arg;
	json_t *job;
	struct rpc_call *call; /* until it is answered */
	struct host *host;
	struct items items;
	struct journal *journal;
	struct station *stations;
	size_t station_count, opening, closing;
	struct rpc *followers[FOLLOWERS_MAX];
	size_t follower_count;
	json_t *totals;
	bool started, ending, finished;
	bool failed;        /* a trial was, whatever became of its item */
	struct err failure; /* what ended the run before its end; ERR_NONE: nothing */
	const char *reason;
	char text[1024];
};

static const char *const total_names[] = {
	"items", "pass", "fail", "error", "inconclusive", "skipped", "trials", "cuts"};

static void run_end(struct run *run, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void run_fail(struct run *run, const struct err *e);
static void station_next(struct station *st);

static json_t *option(const struct run *run, const char *name)
{
	return json_object_get(json_object_get(run->job, "options"), name);
}

static void count(struct run *run, const char *name)
{
	json_object_set_new(run->totals, name,
		json_integer(json_integer_value(json_object_get(run->totals, name)) + 1));
}

/* --- journal ------------------------------------------------------------------------------------
 */

/* Tells everybody of the record just written, in the words of the journal. */
static void tell_followers(struct run *run)
{
	char *params;

	if (!run->follower_count ||
		asprintf(&params, "{\"record\":%s}", journal_last(run->journal)) < 0)
		return;
	for (size_t i = 0; i < run->follower_count; i++)
		rpc_notify_text(run->followers[i], "record", params);
	free(params);
}

/* Steals fields. sync: it is on disk before anybody hears of it. A journal that cannot be written
 * ends the run. */
static int record(struct run *run, const char *kind, const char *board, const char *trial,
	json_t *fields, bool sync, struct err *e)
{
	int code;

	if (!run->journal) {
		json_decref(fields);
		return 0;
	}
	code = journal_write(run->journal, kind, board, trial, fields, e);
	if (code == 0 && sync)
		code = journal_sync(run->journal, e);
	if (code)
		run_fail(run, e);
	else
		tell_followers(run);
	return code;
}

void run_follow(struct run *run, struct rpc *rpc, json_int_t from)
{
	struct journal_reader *r;
	json_t *old;
	struct err e;
	char path[PATH_MAX];

	if (run->follower_count == FOLLOWERS_MAX)
		return;
	if (run->journal && from <= (json_int_t)journal_seq(run->journal)) {
		snprintf(path, sizeof(path), "%s/%s",
			json_string_value(json_object_get(run->job, "run_dir")), JOURNAL_FILE);
		r = journal_reader_create(path, from > 0 ? (uint64_t)from : 1, &e);
		while (r && journal_reader_next(r, &old, &e) == 1)
			rpc_notify(rpc, "record", json_pack("{s:o}", "record", old));
		journal_reader_destroy(r);
	}
	run->followers[run->follower_count++] = rpc;
}

void run_unfollow(struct run *run, struct rpc *rpc)
{
	for (size_t i = 0; i < run->follower_count; i++)
		if (run->followers[i] == rpc)
			run->followers[i] = run->followers[--run->follower_count];
}

static json_t *release_hashes(const json_t *manifest)
{
	json_t *copy = json_deep_copy(manifest), *release, *path;
	const char *name;
	size_t i;
	struct err e;

	json_array_foreach (json_object_get(copy, "releases"), i, release) {
		json_t *images = json_object_get(release, "images"), *hashed = json_object();

		json_object_foreach (images, name, path) {
			char hex[DIGEST_HEX_SIZE];

			json_object_set_new(hashed, name,
				json_pack("{s:O, s:s?}", "path", path, "sha256",
					digest_file(json_string_value(path), hex, &e) ? NULL
										      : hex));
		}
		json_object_set_new(release, "images", hashed);
	}
	return copy ? copy : json_null();
}

static int record_run(struct run *run, struct err *e)
{
	const char *path = json_string_value(json_object_get(run->job, "scenario"));
	json_t *boards = json_array(), *tools = json_object();
	char hex[DIGEST_HEX_SIZE];
	int code = digest_file(path, hex, e);

	for (size_t i = 0; i < run->station_count; i++) {
		struct station *st = &run->stations[i];
		const char *tool = json_string_value(json_object_get(st->tool, "tool"));

		json_array_append_new(boards, json_pack("{s:s, s:O, s:O}", "name", st->name, "type",
						      json_object_get(st->conf, "type"), "devices",
						      json_object_get(st->conf, "devices")));
		if (tool)
			json_object_set(tools, tool, json_object_get(st->tool, "version"));
	}
	if (code) {
		json_decref(boards);
		json_decref(tools);
		return code;
	}
	code = record(run, "run", NULL, NULL,
		json_pack("{s:i, s:O, s:O, s:O, s:o, s:o, s:{s:O, s:s, s:s}, s:O, s:O, s:o}",
			"journal", JOURNAL_VERSION, "rig", json_object_get(run->job, "rig"), "run",
			json_object_get(run->job, "run_id"), "bench",
			json_object_get(run->job, "bench"), "boards", boards, "releases",
			release_hashes(json_object_get(run->job, "manifest")), "scenario", "name",
			json_object_get(host_scenario(run->host), "name"), "path", path, "sha256",
			hex, "seed", option(run, "seed"), "options",
			json_object_get(run->job, "options"), "tools", tools),
		false, e);
	if (code == 0)
		code = record(run, "plan", NULL, NULL, json_incref(run->items.plan), false, e);
	return code;
}

/*
 * What the bench failed with: "board B: probe (openocd): …" is the device and its trouble; anything
 * else is the board's.
 */
static void record_bench_error(struct station *st, const struct err *why)
{
	char device[128] = "run";
	const char *text = why->msg, *colon;
	size_t name_len = strlen(st->name);
	struct err e;

	if (strncmp(text, "board ", 6) == 0 && strncmp(text + 6, st->name, name_len) == 0 &&
		strncmp(text + 6 + name_len, ": ", 2) == 0) {
		text += 8 + name_len;
		colon = strstr(text, "): ");
		if (colon && (size_t)(colon + 1 - text) < sizeof(device)) {
			snprintf(device, sizeof(device), "%.*s", (int)(colon + 1 - text), text);
			text = colon + 3;
		}
	}
	record(st->run, "bench-error", st->name, json_string_value(st->trial),
		json_pack("{s:s, s:s}", "device", device, "reason", text), false, &e);
}

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
	if (strcmp(run->reason, "finished") != 0 && strcmp(run->reason, "fail-fast") != 0)
		return "error";
	for (size_t i = 1; i < sizeof(order) / sizeof(*order); i++)
		if (json_integer_value(json_object_get(run->totals, order[i])))
			return order[i];
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
		if (record(run, "end", NULL, NULL,
			    json_pack("{s:s, s:s, s:s*, s:O}", "verdict", verdict, "reason",
				    run->reason, "text", run->text[0] ? run->text : NULL, "totals",
				    run->totals),
			    true, &e))
			status = 3;
		journal_destroy(run->journal);
		run->journal = NULL;
		if (report_write_all(dir, (int)json_integer_value(option(run, "tap")), &e))
			fprintf(stderr, "rig-worker: %s\n", e.msg);
		if (run->failure.code == ERR_IO)
			status = 3;
	}
	if (dir && snprintf(work, sizeof(work), "%s/work", dir) < (int)sizeof(work))
		nftw(work, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	if (run->call) {
		rpc_answer_err(run->call, &run->failure);
		run->call = NULL;
	}
	run->ended(run->arg, status);
}

static void station_ended(struct station *st, const struct err *why)
{
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
	if (st->opened)
		record(run, "safe", st->name, NULL,
			json_pack("{s:b, s:s, s:s*}", "ok", why == NULL, "why", "the run ended",
				"reason", why ? why->msg : NULL),
			false, &e);
	rpc_destroy(st->keeper);
	st->keeper = NULL;
	if (--run->closing == 0)
		run_finish(run);
}

static void keeper_ended(void *arg, const struct err *e, json_t *result)
{
	(void)result;
	station_ended(arg, e);
}

static void station_drop(struct station *st)
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
static void run_end(struct run *run, const char *reason, const char *fmt, ...)
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
			count(run, "error");
			record(run, "item-end", st->name, NULL,
				json_pack("{s:O, s:s, s:s}", "item",
					json_object_get(st->item, "key"), "verdict", "error",
					"reason", run->text),
				false, &e);
			st->item = NULL;
		}
		if (!st->keeper)
			continue;
		run->closing++;
		rpc_request(st->keeper, "end", json_object(), END_MS, keeper_ended, st);
	}
	if (--run->closing == 0)
		run_finish(run);
}

void run_cancel(struct run *run, const char *reason, const char *text)
{
	if (run->failure.code == ERR_NONE)
		err_set(&run->failure, ERR_CANCELLED, "%s", text);
	run_end(run, reason, "%s", text);
}

static void run_fail(struct run *run, const struct err *e)
{
	if (run->failure.code == ERR_NONE)
		run->failure = *e;
	run_end(run, "error", "%s", e->msg);
}

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

static void later_now(uv_idle_t *idle)
{
	struct station *st = idle->data;

	uv_idle_stop(idle);

	if (st->answered && st->task) {
		give_answer(st);
	} else if (st->busy && st->task) {
		st->busy = false;
		host_continue(st->task);
	} else if (!st->task) {
		station_next(st);
	}
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
	st->answer = json_incref(result);
	st->answered = true;
	if (st->in_wait)
		uv_idle_start(&st->later, later_now);
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
	uv_idle_start(&st->later, later_now);
}

/* Adds what only the run knows to a script's record. Steals fields. */
static int hook_record(
	void *arg, struct task *task, const char *kind, json_t *fields, struct err *e)
{
	struct run *run = arg;
	struct station *st = host_task_owner(task);
	const char *trial;
	bool verdict = strcmp(kind, "verdict") == 0;
	int code;

	if (run->ending) {
		json_decref(fields);
		return err_set(e, ERR_CANCELLED, "%s", run->text);
	}
	st->task = task;
	if (strcmp(kind, "trial-start") == 0) {
		json_decref(st->trial);
		st->trial = json_incref(json_object_get(fields, "key"));
		json_object_del(fields, "key");
	}
	trial = json_string_value(st->trial);
	if (strcmp(kind, "cut") == 0 && json_is_integer(json_object_get(fields, "landed")) &&
		!json_object_get(fields, "again"))
		count(run, "cuts");
	if (verdict) {
		const char *word = json_string_value(json_object_get(fields, "verdict"));

		count(run, "trials");
		run->failed = run->failed || (word && strcmp(word, "fail") == 0);
		if (word && strcmp(word, "fail") == 0)
			json_object_set_new(fields, "replay",
				run_replay(run->job, st->name, st->item,
					json_string_value(json_object_get(fields, "cut"))));
		json_object_del(fields, "cut");
	}
	code = record(run, kind, st->name, trial, fields, verdict, e);
	if (verdict) {
		json_decref(st->trial);
		st->trial = NULL;
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

	count(run, skipped ? "skipped" : verdict);
	fields = json_pack("{s:O, s:s, s:s*, s:O*, s:s*, s:O*}", "item",
		json_object_get(st->item, "key"), "verdict", skipped ? "pass" : verdict, "skipped",
		skipped, "reason", json_object_get(error, "message"), "at",
		where && strcmp(where, "?") != 0 ? where : NULL, "again",
		json_object_get(outcome, "again"));
	if (strcmp(verdict, "fail") == 0)
		json_object_set_new(
			fields, "replay", run_replay(run->job, st->name, st->item, NULL));
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
			record_bench_error(st, &e);
		}
	}
	st->item = NULL;
	if (record(run, "item-end", st->name, NULL, fields, true, &e))
		return;
	if (code && strcmp(code, "script") == 0)
		run_end(run, "error", "%s: %s", json_string_value(json_object_get(bench, "where")),
			json_string_value(json_object_get(bench, "message")));
	else if (strcmp(verdict, "fail") == 0 && json_is_true(option(run, "fail_fast")))
		run_end(run, "fail-fast", "stopped at the first failure");
	else
		uv_idle_start(&st->later, later_now);
}

static void hook_finished(void *arg, struct task *task, json_t *outcome)
{
	struct station *st = host_task_owner(task);

	(void)arg;
	st->task = NULL;
	if (!st->run->ending)
		item_over(st, outcome);
}

static const struct host_hooks hooks = {
	.wait = hook_wait,
	.record = hook_record,
	.finished = hook_finished,
	.busy = hook_busy,
};

/* --- items --------------------------------------------------------------------------------------
 */

static json_t *item_context(struct station *st)
{
	struct run *run = st->run;
	const char *key = json_string_value(json_object_get(st->item, "key"));

	return json_pack("{s:O, s:O, s:O, s:O, s:I, s:O, s:s, s:O*, s:O*}", "board", st->conf,
		"caps", st->caps, "item", st->item, "options", json_object_get(run->job, "options"),
		"seed", (json_int_t)item_seed(json_integer_value(option(run, "seed")), key),
		"index", json_object_get(st->item, "index"), "work", st->work, "holds", st->holds,
		"releases", json_object_get(json_object_get(run->job, "manifest"), "releases"));
}

static bool all_done(const struct run *run)
{
	for (size_t i = 0; i < run->station_count; i++)
		if (run->stations[i].item ||
			(!run->stations[i].out &&
				run->stations[i].next < json_array_size(run->stations[i].items)))
			return false;
	return true;
}

static void station_next(struct station *st)
{
	struct run *run = st->run;
	json_t *context;
	struct err e;

	if (run->ending)
		return;
	if (st->out || st->next >= json_array_size(st->items)) {
		if (all_done(run)) {
			size_t left = 0;

			for (size_t i = 0; i < run->station_count; i++)
				left += json_array_size(run->stations[i].items) -
					run->stations[i].next;
			if (left)
				run_end(run, "error", "%zu items were not run: the bench failed",
					left);
			else
				run_end(run, "finished", "%s", "");
		}
		return;
	}
	st->item = json_array_get(st->items, st->next++);
	if (record(run, "item-start", st->name, NULL,
		    json_pack("{s:O}", "item", json_object_get(st->item, "key")), false, &e))
		return;
	context = item_context(st);
	if (host_start(run->host, context, st, &e))
		run_fail(run, &e);
	json_decref(context);
}

/* --- boards -------------------------------------------------------------------------------------
 */

static void run_begin(struct run *run)
{
	char path[PATH_MAX];
	struct err e;

	snprintf(path, sizeof(path), "%s/%s",
		json_string_value(json_object_get(run->job, "run_dir")), JOURNAL_FILE);
	run->journal = journal_create(path, &e);
	if (!run->journal) {
		run_fail(run, &e);
		return;
	}
	if (record_run(run, &e))
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
		record_bench_error(st, &st->open_error);
	}
	if (run->failure.code) {
		run_end(run, "error", "%s", run->failure.msg);
		return;
	}
	for (size_t i = 0; i < run->station_count && !run->ending; i++)
		uv_idle_start(&run->stations[i].later, later_now);
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
	}
	if (!st->open_failed && json_object_get(st->caps, "probe"))
		rpc_request(st->keeper, "probe.version", json_object(), OPEN_MS, tool_known, st);
	else
		station_ready(st);
}

static void keeper_said(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct station *st = arg;
	struct err e;

	if (call) {
		err_set(&e, ERR_USAGE, "a worker takes no calls from a keeper");
		rpc_answer_err(call, &e);
		return;
	}
	if (strcmp(method, "lost") == 0)
		record(st->run, "bench-error", st->name, json_string_value(st->trial),
			json_pack("{s:O*, s:O*}", "device", json_object_get(params, "device"),
				"reason", json_object_get(params, "reason")),
			false, &e);
}

static void keeper_closed(void *arg, const struct err *why)
{
	struct station *st = arg;
	struct err e;

	if (st->run->ending) {
		station_ended(st, why);
		return;
	}
	st->out = true;
	record(st->run, "bench-error", st->name, json_string_value(st->trial),
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
		st->items = json_array_get(run->items.boards, i);
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
	size_t boards = json_array_size(json_object_get(job, "boards"));
	int code;

	if (!scenario || !data || boards == 0)
		return err_set(e, ERR_USAGE, "a job needs scenario, data_dir and boards");
	run->host = host_create(scenario, config_dir ? config_dir : data, data, &hooks, run, e);
	if (!run->host)
		return -(int)e->code;
	code = items_init(&run->items, host_scenario(run->host),
		json_is_object(manifest) ? manifest : NULL, json_object_get(job, "options"),
		(unsigned)boards, e);
	if (code)
		return code;
	json_object_set_new(run->totals, "items", json_integer((json_int_t)run->items.total));
	if (json_is_true(json_object_get(job, "plan_only")))
		return 0;
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
		rpc_answer(call, json_pack("{s:O, s:O}", "scenario", host_scenario(run->host),
					 "plan", run->items.plan));
		run->call = NULL;
		run_end(run, "finished", "%s", "");
		return;
	}
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
	run->totals = json_object();
	for (size_t i = 0; i < sizeof(total_names) / sizeof(*total_names); i++)
		json_object_set_new(run->totals, total_names[i], json_integer(0));
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
