/*
 * What the parts of the keeper share; nobody else includes it.
 *
 * keeper.c          life: clients, operations, the lease, the end
 * keeper_methods.c  the table of methods
 * keeper_check.c    trying the devices, one by one
 * keeper_open.c     taking the lock, opening the devices
 * keeper_power.c    the power, and what it means for the console
 * keeper_probe.c    the probe, lent to a trigger
 * keeper_off.c      whether the DUT is off when it was switched off
 * keeper_safe.c     making safe
 * keeper_wear.c     what is counted of wear, and its budget
 * cut_engine.c      the cut
 */
#ifndef RIG_KEEPER_PRIV_H
#define RIG_KEEPER_PRIV_H

#include "../drivers/driver.h"
#include "console.h"
#include "keeper.h"
#include "lock.h"
#include "rpc.h"
#include "wear.h"

#include <limits.h>

/* Capabilities, in the order in which devices are opened. */
enum cap {
	CAP_POWER,
	CAP_CONSOLE,
	CAP_RESET,
	CAP_STRAP,
	CAP_METER,
	CAP_TRIGGER,
	CAP_PROBE,
	CAP_TRANSPORT,
	CAP_SNAPSHOT,
	CAP_COUNT
};
#define CAP_NONE CAP_COUNT

enum power { POWER_UNKNOWN, POWER_OFF, POWER_ON };

enum keeper_state {
	KEEPER_NEW,     /* waits for open */
	KEEPER_OPENING, /* holds the lock */
	KEEPER_OPEN,
	KEEPER_ENDING, /* makes safe, closes devices */
	KEEPER_ENDED,
};

struct keeper;
struct operation;

/* A device of the board. */
struct slot {
	struct keeper *keeper;
	enum cap cap;
	const struct driver *driver;
	struct driver_env env;
	struct device *dev; /* NULL: the board has none */
	bool tried;         /* open() was called: make_safe() has something to do */
	bool opened;
	struct operation *busy; /* the one operation it does */
	bool lent;              /* the trigger has it (keeper_probe.c) */
	char lost[256];         /* why it is gone; empty: it is not */
	struct err refused;     /* why it could not be opened, when that was only tried */
};

/* Somebody connected. */
struct client {
	struct client *next, **prev;
	struct keeper *keeper;
	struct rpc *rpc;
	bool owner;
	bool following;
	size_t dropped;      /* console bytes it was too slow for */
	unsigned operations; /* under way */
};

/* A method's call under way. */
struct operation {
	struct operation *next, **prev;
	struct keeper *keeper;
	const struct method *method;
	struct client *client; /* NULL: it vanished */
	struct rpc_call *call;
	struct op *op;     /* what completes it; NULL when held */
	struct slot *slot; /* the device concerned, or NULL */
	struct op *inner;  /* a step of it under way, cancelled with it */
	void (*succeeded)(struct keeper *k, const json_t *result); /* or NULL */
	bool cancelled; /* its hook ran: the inner one says no more */
	unsigned timeout_ms;
	char *pattern;   /* of console.expect, for its message */
	struct err held; /* failed while a cut was on its way: answered when that is known */
};

enum cut_state {
	CUT_NONE,
	CUT_ARMED,
	CUT_FIRED, /* the power is on its way off, not verified yet */
	CUT_DONE,
	CUT_FAILED, /* fired, but the power did not go */
};

struct cut_engine {
	enum cut_state state;
	json_t *on;     /* as it was armed */
	json_t *landed; /* the notification's fields */
	bool told;      /* who armed it knows how it ended, or the power is on again */
	bool ours;      /* the power is taken here, not by the trigger device */
	uint64_t t_seen_ns;
	char line[256]; /* the console line that fired, as far as it was here */
	size_t line_len;
	struct op *running;       /* switching off, or asking whether it is off */
	struct operation *disarm; /* waits for the end of a cut on its way */
	struct err failed;
};

/* How a power off is seen: by what there is, or by this alone. */
enum off_verify { OFF_AUTO, OFF_CONSOLE, OFF_METER, OFF_READ_BACK, OFF_NONE };

struct off {
	enum off_verify verify;
	unsigned discharge_ms; /* the DUT may run, and bytes be on their way, for so long */
	double volts_below, amps_below; /* a meter that reads less shows that it is off */
	bool watching;                  /* it is off: console bytes say that it is not */
	unsigned proving; /* proofs that have asked the device and wait for its answer */
	bool of_cut;      /* it went off by the cut that is in the cut engine */
	uint64_t t_off_ns;
	uint64_t deaf_until_ns; /* bytes before that say nothing */
	uv_timer_t timer;
	struct op *silence;   /* waits for a silent console */
	struct op *measuring; /* the meter is asked */
	char phantom[200];    /* why it is taken not to be off; empty: it is not so taken */
};

struct safing {
	bool running;
	unsigned pending;         /* devices that are at it */
	struct op *running_power; /* the power's step */
	struct err failed;        /* all that went wrong, in one line */
	char reason[256];
};

struct keeper {
	uv_loop_t loop;
	struct keeper_options options;
	enum keeper_state state;
	int status;

	struct client *clients;
	struct operation *operations;
	uv_poll_t listener;
	int listen_fd; /* -1: not yet */
	uv_signal_t signals[3];
	uv_timer_t expiry;      /* the lease's */
	uv_timer_t cycle;       /* between off and on of power.cycle */
	uv_timer_t close_bound; /* on closing the devices */
	unsigned cycle_off_ms;
	struct operation *cycling;

	json_t *board; /* as open got it */
	json_t *owner;
	const char *name, *state_dir;
	char board_dir[PATH_MAX], log_dir[PATH_MAX];
	struct lock *lock;
	bool hand, implicit;
	bool trying;                 /* open goes on through failures */
	char since[32], expires[32]; /* RFC 3339; expires empty: never */
	char made_safe[512];         /* why the board was made safe at open; empty: it was not */
	bool was_dirty;
	char quarantined[512]; /* why making safe failed; empty: it did not */
	char ending[256];      /* why it ends */

	struct slot slots[CAP_COUNT];
	enum cap opening; /* the device whose turn it is */
	struct operation *open;
	struct op *open_step;
	struct err open_failed;
	unsigned closing; /* devices that are being closed */

	struct console *console;
	enum power power;
	unsigned power_epoch; /* counts switches: a late answer of an older one says nothing */
	uint64_t t_switch_ns; /* when the last one was handed to the driver */

	struct probe_port *probe_port; /* what a trigger sees of the probe; NULL: there is none */
	json_t *gdb;                   /* where the probe serves gdb, as it said; NULL: nowhere */

	struct cut_engine cut;
	struct off off;
	struct safing safing;

	struct wear wear;
	struct wear_budget wear_budget;
	uv_timer_t wear_timer; /* until it is written */
	bool wear_warned;
	bool ran;               /* the DUT had power in this lease */
	char wear_trouble[256]; /* why it could not be written */
};

/* --- keeper.c */

const char *keeper_cap_name(enum cap cap);

/* The device that offers a capability, or NULL. */
struct slot *keeper_slot(struct keeper *k, enum cap cap);

/* Starts an inner operation. It never fails: without memory the process ends, and leaves the lock
 * dirty for the next keeper. *running is set to it; done must clear that. */
struct op *keeper_op(struct keeper *k, const char *what, unsigned deadline_ms, struct op **running,
	op_done_fn *done, void *arg);

/* An inner operation's end is the whole one's: an op_done_fn with the operation as arg, and its
 * cancel hook, which cancels the inner one. */
void keeper_relay(void *operation, const struct err *e, json_t *result);
void keeper_relay_cancelled(struct op *op, void *operation);

/* Puts "board B: cap (driver): " before the message; without slot, "board B: ". */
void keeper_prefix(const struct keeper *k, const struct slot *slot, struct err *e);

/* Gives the device to o alone; an error when it is lost or busy. */
int keeper_claim(struct operation *o, struct slot *slot, struct err *e);

/* A console went away: who waits for what it says fails with why. */
void keeper_fail_waiting(struct keeper *k, const struct slot *slot, const struct err *why);

/* Cancels the operations on the board's devices, but those on except (which may be NULL). */
void keeper_cancel_operations(struct keeper *k, const struct slot *except, const struct err *why);

/* To every connection. Steals params. */
void keeper_notify(struct keeper *k, const char *method, json_t *params);

/* The lease ends: make safe, close, let the lock go, exit. Once is enough. */
void keeper_end(struct keeper *k, const char *reason);

/* The board is safe, or making it so failed: goes on with what waited for it. */
void keeper_safe_done(struct keeper *k);

/* The last step of the end: every device, then the lock. */
void keeper_close_devices(struct keeper *k);

/* Ends a lease that was taken implicitly when nobody needs it any more. */
void keeper_settle_lease(struct keeper *k);

/* Whether such a lease has only its clients to keep it. */
bool keeper_lease_is_idle(const struct keeper *k);

/* Starts the lease's time; ttl_ms 0: it has no end. */
void keeper_set_expiry(struct keeper *k, uint64_t ttl_ms);

/* The operation that opens succeeded: listens, answers. Or failed: answers, ends. */
void keeper_opened(struct keeper *k);
void keeper_open_failed(struct keeper *k);

/* console_conf.follow: to those who follow. */
void keeper_follow(void *keeper, const char *text, size_t len, uint64_t t_mono_ns);

/* Whether a client follows decides whether the console calls keeper_follow(). */
void keeper_follow_changed(struct keeper *k);

/* The probe lets go of the debug port, and of gdb's with it. */
void keeper_forget_gdb(struct keeper *k);

/* --- keeper_methods.c */

enum {
	METHOD_PUBLIC = 1,  /* for everybody, also under somebody else's lease */
	METHOD_CONTROL = 2, /* about the lease: at any time, and no cut or make safe cancels it */
	METHOD_SHARED = 4,  /* does not claim the device for itself */
	METHOD_OPEN_PARAMS = 8, /* the driver knows the parameters */
	METHOD_WEARS = 16,      /* refused when the budget is used up */
	METHOD_OF_DUT = 64, /* waits for the DUT to say something: nothing comes without power */
	METHOD_LOOKS = 128, /* also on a board in quarantine */
	METHOD_FED = 32, /* also on a board that should be off and is not, but for switching on */
};

enum param_type {
	PARAM_BOOL,
	PARAM_STRING,
	PARAM_COUNT,
	PARAM_U32,
	PARAM_NUMBER,
	PARAM_OBJECT,
	PARAM_ARRAY,
	PARAM_ANY
};

struct param {
	const char *name;
	enum param_type type;
	bool required;
};

struct method {
	const char *name;
	enum cap cap;
	unsigned flags, timeout_ms;
	/* Completes o->op, now or later. */
	void (*start)(struct operation *o, json_t *params);
	struct param params[7]; /* ended by name NULL */
};

/* NULL: there is no such method. */
const struct method *method_find(const char *name);

/* Checks parameters against the method's list, and gives the deadline to use. */
int method_check(const struct method *m, json_t *params, unsigned *timeout_ms, struct err *e);

/* --- keeper_check.c */

/* The device could not be opened, while that is only tried. */
void keeper_check_refuse(struct slot *slot, const struct err *e);

/* {CAPABILITY: {"driver", "ok": bool, "error", "code": when it is not}}; a new reference. */
json_t *keeper_check_report(const struct keeper *k);

/* Tries the open device that params name without harm: {"says": [text …], "mend": [text …]}. */
void keeper_check(struct operation *o, json_t *params);

/* --- keeper_open.c */

/* Takes the lock and opens every device; ends in keeper_opened() or keeper_open_failed(). */
void keeper_open(struct operation *o, json_t *params);

/* The dirty board was made safe: goes on. */
void keeper_open_go_on(struct keeper *k);

/* --- keeper_power.c */

/* Switches the power; done as an op_done_fn. on: the console's epoch begins here. off: done when it
 * was seen to be off, with {"verified", "off"} (keeper_off.c). */
void keeper_power_switch(struct keeper *k, bool on, unsigned deadline_ms, struct op **running,
	op_done_fn *done, void *arg);

/* Asks the power device; done gets {"on"}, and "assumed": true where the device cannot tell (its
 * get is ERR_UNSUPPORTED) and that is what it was set to. */
void keeper_power_ask(
	struct keeper *k, unsigned deadline_ms, struct op **running, op_done_fn *done, void *arg);

/* What is known now; how it went off ("off", "cut") is for the console's log. */
void keeper_power_learn(struct keeper *k, bool on, const char *how);

/* Has the console device deliver what has arrived at this host. */
void keeper_drain_console(struct keeper *k);

/* The method's: off, a while, on. */
void keeper_power_cycle(struct operation *o, unsigned off_ms);

/* --- keeper_probe.c */

/* The board's probe for a trigger; k->probe_port from then on. false: out of memory. */
bool keeper_probe_port_open(struct keeper *k);
void keeper_probe_port_close(struct keeper *k);

/* --- keeper_off.c */

/* Takes the board's options: power_off = { verify, discharge_ms }. */
void keeper_off_open(struct keeper *k);

/* The power was just switched off. drained: all that the console had sent has arrived. */
void keeper_off_begin(struct keeper *k, bool drained);

/* It is on again, or nobody knows: nothing is concluded from console bytes. */
void keeper_off_over(struct keeper *k);

/* Asks the power device and, as the board is set up, waits for a silent console; done gets {"off":
 * "read-back"|"meter"|"console"|"unverified"}. read_back: the device's word counts. */
void keeper_off_prove(struct keeper *k, bool read_back, unsigned deadline_ms, struct op **running,
	op_done_fn *done, void *arg);

/* Bytes came in from the console. If the power is off, operations and the cut fail with that. */
void keeper_off_bytes(struct keeper *k);

/* Whether a board that should be off is, as far as the method needs that. */
int keeper_off_check(struct keeper *k, const struct method *m, const json_t *params, struct err *e);

/* --- keeper_wear.c */

/* Reads what was counted so far. */
int keeper_wear_open(struct keeper *k, struct err *e);

/* Writes what has changed, now. */
void keeper_wear_save(struct keeper *k);

/* What wears: the power goes on; the trigger's answer to mark; the probe's to program. */
void keeper_wear_cycle(struct keeper *k);
void keeper_wear_marked(struct keeper *k, const json_t *result);
void keeper_wear_programmed(struct keeper *k, const json_t *result);

/* Whether the budget allows the method. The first time that little is left, it is noted. */
int keeper_wear_check(
	struct keeper *k, const struct method *m, const json_t *params, struct err *e);

/* For info and end; NULL before the board is open. */
json_t *keeper_wear_info(const struct keeper *k);

/* The board is safe and the lease ends: has the trigger tell its last erases, then closes. */
void keeper_wear_end(struct keeper *k);

/* --- keeper_safe.c */

/* Makes safe within its bound, then keeper_safe_done(). Joins the one that runs. */
void keeper_make_safe(struct keeper *k, const char *reason);

/* --- cut_engine.c */

void cut_engine_arm(struct operation *o, json_t *on);
void cut_engine_disarm(struct operation *o);
/* Whether a cut has ended what this method would wait for before it was asked: ERR_CUT. */
int cut_engine_overtook(const struct keeper *k, const struct method *m, struct err *e);
/* The power comes on: what waits from now on waits for something. */
void cut_engine_power_on(struct keeper *k);
/* The trigger device fired. Steals fields. */
void cut_engine_fired(struct keeper *k, json_t *fields);
/* The board that was off by the cut was seen not to be: it was none. */
void cut_engine_phantom(struct keeper *k);
/* What is armed is forgotten here, for make safe. */
void cut_engine_reset(struct keeper *k);
/* For info: the state by name, and where it landed. */
json_t *cut_engine_info(const struct keeper *k);

#endif
