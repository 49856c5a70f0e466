/*
 * A run: one scenario on leased boards, from the first keeper to the last record.
 *
 * The run owns its keepers: when this process dies they make their boards safe. Whatever happens
 * ends in the journal; the connections that follow the run get its records as they are written.
 */
#ifndef RIG_RUN_H
#define RIG_RUN_H

#include <jansson.h>
#include <uv.h>

struct err;
struct rpc;
struct rpc_call;
struct run;

/*
 * ended is called once, from the loop, when every keeper has made safe and the journal has ended
 * (or there never was one). exit_status is the one of docs (0 pass … 5 inconclusive).
 */
struct run *run_create(uv_loop_t *loop, void (*ended)(void *arg, int exit_status), void *arg);

/*
 * Starts the job and answers call: {"run_dir"} once boards are leased and the journal has begun, or
 * an error, after which ended follows. "resume": the run in run_dir is taken up again: items that
 * ended with a verdict are not run again, nor are the trials with one of those that did not; all
 * else of the job must be what it was. ERR_PROTOCOL when its journal is damaged, ERR_USAGE when
 * somebody writes it, or the plan is another one now. job (borrowed):
 *
 *   {"run_id", "run_dir": exists, "resume": bool, "rig": version, "command": text,
 *    "scenario": path, "data_dir", "bench": {"name", "file"}, "boards": [board objects],
 *    "manifest": {…} or null,
 *    "options": {"only": […], "cuts": n or "all", "cut": […], "seed": n, "fail_fast": bool,
 *    "hold_on_fail": bool, "hold_ms": n, "tap": 13|14},
 *    "plan_only": bool: answers {"scenario", "plan"} and leases nothing}
 */
void run_start(struct run *run, json_t *job, struct rpc_call *call);

/*
 * Ends the run early: nothing more of the scenario runs, boards are made safe, the journal ends
 * with reason
 * ("cancelled", "interrupted") and text. Does nothing when it is ending already.
 */
void run_cancel(struct run *run, const char *reason, const char *text);

/* Sends the connection every record from number from on, as notifications "record". It must be
 * removed with run_unfollow(). */
void run_follow(struct run *run, struct rpc *rpc, json_int_t from);
void run_unfollow(struct run *run, struct rpc *rpc);

/* Why the run ended, in words; "" when it went to its end. Borrowed. */
const char *run_text(const struct run *run);

/* After ended. */
void run_destroy(struct run *run);

#endif
