/*
 * What the parts of a run share: run.c (beginning, boards, end), run_record.c (what is written down
 * and told), run_station.c (the scenario's side of a board), run_hold.c (a board held at a
 * failure).
 */
#ifndef RIG_RUN_PRIV_H
#define RIG_RUN_PRIV_H

#include "err.h"
#include "items.h"
#include "known.h"
#include "run.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct host;
struct host_hooks;
struct journal;
struct rpc;
struct spawned;
struct task;

#define RUN_FOLLOWERS_MAX 64

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
	json_t *items;
	size_t next;
	json_t *item; /* the one under way; borrowed */
	struct task *task;
	json_t *trial; /* string, or NULL */
	json_t *holds; /* string or NULL: what it holds by the last item's proof */
	bool opened, open_failed, out, ended;
	bool unseen_noted; /* that nothing sees whether it is off */
	struct err open_error;
	/* what has to wait until the loop has run: idle and not a timer, because timers of 0 ms
	 * that start each other never let the loop poll */
	uv_idle_t later;
	bool answered, busy, in_wait;
	uint64_t patient_until_ns; /* by then the keeper must have answered */
	struct err answer_error;
	bool failed;            /* a trial of this item, by its first verdict */
	json_t *gdb;            /* string: where it listens, of a board that is held; or NULL */
	struct err no_gdb;      /* why there is none */
	struct err passed_over; /* what the bench failed with in this item, caught or not */
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
	struct journal *taken; /* of a run that is taken up again, until it goes on */
	bool resumed;
	struct known known; /* from before that */
	struct station *stations;
	size_t station_count, opening, closing;
	struct station *holding; /* is being held, which is not over; NULL: none */
	struct rpc *followers[RUN_FOLLOWERS_MAX];
	size_t follower_count;
	json_t *totals;
	bool started, ending, finished;
	bool failed;        /* a trial was, whatever became of its item */
	struct err failure; /* what ended the run before its end; ERR_NONE: nothing */
	uint64_t began_ns;  /* of this process's part of the run */
	const char *reason;
	char text[1024];
};

/* An option of the job, borrowed, or NULL. */
json_t *run_option(const struct run *run, const char *name);

/* Adds one to a total. */
void run_count(struct run *run, const char *name);

/*
 * Writes a record and tells the followers. Steals fields. sync: it is on disk before anybody hears
 * of it. A journal that cannot be written fails the run.
 */
int run_record(struct run *run, const char *kind, const char *board, const char *trial,
	json_t *fields, bool sync, struct err *e);

/* {tool: version} of what the boards are driven with; a new reference. */
json_t *run_tools(const struct run *run);

/* The first two records: the run and its plan; of a run that is taken up again: "resume". */
int run_record_start(struct run *run, struct err *e);

/* The journal of the run in the job's folder: the caller's to free; NULL: out of memory. */
char *run_journal_path(const struct run *run);

/* Takes the journal of the run that the job wants to be taken up again, and reads what is known.
 * After items_init(). */
int run_take_up(struct run *run, struct err *e);

/* Those of a board's items that are still to be run; a new array. */
json_t *run_items_left(const struct run *run, json_t *items);

/* What the bench failed with; "board B: probe (openocd): …" names the device. */
void station_record_bench_error(struct station *st, const struct err *why);

/* Stops what runs, has every board made safe, then finishes. Does nothing when that is under way.
 */
void run_end(struct run *run, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with reason "error"; *e is what the run's owner is told when there was no journal yet.
 */
void run_fail(struct run *run, const struct err *e);

/* Stops the station's script where it waits. */
void station_drop(struct station *st);

/* Has the keeper make the board safe and end; then the station is left. Only from run_end() on. */
void station_end(struct station *st);

/* The run has no more to do with the board; after the last one it finishes. */
void station_leave(struct station *st);

/* Whether the run shall end here, and leave this board as it is (--hold-on-fail). */
bool station_must_hold(const struct station *st);

/* Ends the run with this board held; the others are made safe. Does nothing when it is ending. */
void run_hold(struct station *st);

/* Instead of station_end(), for the board that is held. */
void station_hold(struct station *st);

/* Holding was given up for a reason of run_cancel(); the board is made safe. Does nothing when no
 * board is being held, or is already. */
void run_hold_stop(struct run *run, const char *reason, const char *text);

/* For a run that is only planned: adds "campaign" (plan_cuts.h) to the plan's items, where the
 * scenario cuts. */
int run_plan(struct run *run, struct err *e);

/* What the station does next, from the loop: goes on with its script, or takes its next item. */
void station_later(uv_idle_t *idle);

/* How the scenario reaches the stations. */
extern const struct host_hooks station_hooks;

#endif
