/*
 * Holding a board at a failure: it is left powered, its lease outlives the run, and gdb can attach.
 *
 * The lease is made to outlive the run last of all: whatever ends the worker before that has the
 * board made safe, as without holding.
 */
#include "run_priv.h"

#include "rpc.h"
#include "run_replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The keeper owns the deadlines; the longest is that of power or probe, and some grace. */
#define HOLD_STEP_MS 60000
#define HOLD_DEFAULT_MS (8LL * 3600 * 1000)

bool station_must_hold(const struct station *st)
{
	return st->failed && json_is_true(run_option(st->run, "hold_on_fail"));
}

void run_hold(struct station *st)
{
	struct run *run = st->run;

	if (run->ending)
		return;
	run->holding = st;
	run_end(run, "hold", "held at the first failure on board %s", st->name);
}

void run_hold_stop(struct run *run, const char *reason, const char *text)
{
	struct station *st = run->holding;

	if (!st)
		return;
	run->holding = NULL; /* the step under way goes no further */
	run->reason = reason;
	snprintf(run->text, sizeof(run->text), "%s", text);
	station_end(st);
}

/* It cannot be held: it is made safe as any other. */
static void give_up(struct station *st, const struct err *why)
{
	struct run *run = st->run;

	run->holding = NULL;
	run->reason = "error";
	snprintf(run->text, sizeof(run->text), "board %s could not be held: %.800s", st->name,
		why->msg);
	station_record_bench_error(st, why);
	station_end(st);
}

/* Whether a step ended all of it, or somebody else did. */
static bool stopped(struct station *st, const struct err *e)
{
	if (st->run->holding == st && e)
		give_up(st, e);
	return st->run->holding != st;
}

static void step(struct station *st, const char *method, json_t *params, rpc_reply_fn *next)
{
	rpc_request(st->keeper, method, params, HOLD_STEP_MS, next, st);
}

/* What a person does next, a line each. */
static json_t *how_lines(const struct station *st)
{
	const json_t *job = st->run->job;
	json_t *how = json_array();
	char *text = NULL;

	json_array_append_new(how, run_command(job, "console", st->name));
	if (st->gdb && asprintf(&text, "gdb-multiarch -ex 'target extended-remote %s'",
			       json_string_value(st->gdb)) > 0)
		json_array_append_new(how, json_string(text));
	json_array_append_new(how, run_command(job, "unlock", st->name));
	free(text);
	return how;
}

static void lease_outlives_us(void *arg, const struct err *e, json_t *result)
{
	struct station *st = arg;
	struct err failed;

	if (stopped(st, e))
		return;
	/* on disk before the keeper is left alone with the board: else nobody would know of it */
	if (run_record(st->run, "held", st->name, NULL,
		    json_pack("{s:O?, s:O?, s:s*, s:o}", "until",
			    json_object_get(result, "expires"), "gdb", st->gdb, "reason",
			    st->no_gdb.code ? st->no_gdb.msg : NULL, "how", how_lines(st)),
		    true, &failed)) {
		give_up(st, &failed);
		return;
	}
	st->run->holding = NULL;
	st->ended = true;
	station_leave(st);
}

static void let_lease_outlive_us(struct station *st)
{
	json_int_t ms = json_integer_value(run_option(st->run, "hold_ms"));

	step(st, "lease.renew",
		json_pack("{s:b, s:b, s:I}", "hand", 1, "implicit", 1, "ttl_ms",
			ms > 0 ? ms : (json_int_t)HOLD_DEFAULT_MS),
		lease_outlives_us);
}

static void gdb_opened(void *arg, const struct err *e, json_t *result)
{
	struct station *st = arg;
	char text[300];

	if (stopped(st, NULL))
		return;
	/* without gdb there is still the console: what is there to be seen is not thrown away */
	st->no_gdb.code = ERR_NONE;
	if (e)
		st->no_gdb = *e;
	snprintf(text, sizeof(text), "%s:%d",
		e ? "" : json_string_value(json_object_get(result, "host")),
		(int)json_integer_value(json_object_get(result, "port")));
	st->gdb = e ? NULL : json_string(text);
	let_lease_outlive_us(st);
}

static void open_gdb(struct station *st)
{
	if (json_object_get(st->caps, "probe"))
		step(st, "probe.gdb", json_object(), gdb_opened);
	else
		let_lease_outlive_us(st);
}

static void power_is_on(void *arg, const struct err *e, json_t *result)
{
	(void)result;
	if (!stopped(arg, e))
		open_gdb(arg);
}

/* A board that is on is not switched: its console would begin anew. */
static void power_known(void *arg, const struct err *e, json_t *result)
{
	struct station *st = arg;

	if (stopped(st, e))
		return;
	if (json_is_true(json_object_get(result, "on")))
		open_gdb(st);
	else
		step(st, "power.set", json_pack("{s:b}", "on", 1), power_is_on);
}

static void cut_disarmed(void *arg, const struct err *e, json_t *result)
{
	(void)result;
	if (!stopped(arg, e))
		step(arg, "power.get", json_object(), power_known);
}

void station_hold(struct station *st)
{
	/* a cut that is still armed would take the power from under a debugger */
	step(st, "cut.disarm", json_object(), cut_disarmed);
}
