#include "keeper.h"

#include "keeper_priv.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLOSE_WITHIN_MS 3000
#define CLIENT_OPERATIONS_MAX 64              /* under way for one client */
#define CLIENT_BACKLOG_MAX ((size_t)16 << 20) /* bytes it does not read: it is broken */
#define FOLLOW_BACKLOG_MAX ((size_t)1 << 20)  /* bytes from which on console output is left out */

static const char *const cap_names[] = {
	[CAP_POWER] = "power",
	[CAP_CONSOLE] = "console",
	[CAP_RESET] = "reset",
	[CAP_STRAP] = "strap",
	[CAP_METER] = "meter",
	[CAP_TRIGGER] = "trigger",
	[CAP_PROBE] = "probe",
	[CAP_TRANSPORT] = "transport",
	[CAP_SNAPSHOT] = "snapshot",
};

const char *keeper_cap_name(enum cap cap)
{
	return cap_names[cap];
}

struct slot *keeper_slot(struct keeper *k, enum cap cap)
{
	struct slot *power = &k->slots[CAP_POWER];

	if (k->slots[cap].dev)
		return &k->slots[cap];
	/* snapshots of a board are taken by what powers it, unless another device is named */
	if (cap == CAP_SNAPSHOT && power->dev && power->driver->snapshot)
		return power;
	/* and what it gets is measured by what powers it */
	if (cap == CAP_METER && power->dev && power->driver->meter)
		return power;
	return NULL;
}

void keeper_prefix(const struct keeper *k, const struct slot *slot, struct err *e)
{
	if (slot)
		err_prefix(
			e, "board %s: %s (%s)", k->name, cap_names[slot->cap], slot->driver->name);
	else if (k->name)
		err_prefix(e, "board %s", k->name);
}

void keeper_notify(struct keeper *k, const char *method, json_t *params)
{
	for (struct client *c = k->clients; c; c = c->next)
		rpc_notify(c->rpc, method, json_incref(params));
	json_decref(params);
}

void keeper_forget_gdb(struct keeper *k)
{
	json_decref(k->gdb);
	k->gdb = NULL;
}

/* --- operations ------------------------------------------------------------------------------- */

struct op *keeper_op(struct keeper *k, const char *what, unsigned deadline_ms, struct op **running,
	op_done_fn *done, void *arg)
{
	struct op *op = op_start(&k->loop, what, deadline_ms, done, arg);

	if (!op)
		abort();
	*running = op;
	return op;
}

void keeper_relay(void *operation, const struct err *e, json_t *result)
{
	struct operation *o = operation;

	if (o->cancelled)
		return;
	op_on_cancel(o->op, NULL, NULL);
	if (e)
		op_fail(o->op, e);
	else
		op_done(o->op, json_incref(result));
}

void keeper_relay_cancelled(struct op *op, void *operation)
{
	struct operation *o = operation;
	struct err why;

	(void)op;
	o->cancelled = true;
	err_set(&why, ERR_CANCELLED, "cancelled");
	if (o->inner)
		op_cancel(o->inner, &why);
}

int keeper_claim(struct operation *o, struct slot *slot, struct err *e)
{
	struct keeper *k = o->keeper;
	int code = 0;

	o->slot = slot;
	if (slot->lost[0])
		code = err_set(e, ERR_BENCH, "lost: %s", slot->lost);
	else if (o->method->flags & METHOD_SHARED)
		return 0;
	else if (slot->cap == CAP_POWER && k->cut.state == CUT_FIRED)
		code = err_set(e, ERR_BUSY, "a cut is being carried out");
	else if (slot->busy)
		code = err_set(e, ERR_BUSY, "busy with %s", slot->busy->method->name);
	else if (slot->lent)
		code = err_set(e, ERR_BUSY, "the trigger has it: a cut is armed");
	else
		slot->busy = o;
	return code;
}

/* What the DUT did not say in time it may have said while the console was away. */
static void blame_gap(const struct operation *o, struct err *e)
{
	const struct console *console = o->keeper->console;
	const char *gap = console ? console_gap_text(console) : NULL;
	struct err head = *e;

	if (gap && (o->method->flags & METHOD_OF_DUT) &&
		(e->code == ERR_TIMEOUT || e->code == ERR_DUT))
		err_set(e, ERR_BENCH, "%.600s; but the console %.200s", head.msg, gap);
}

/* Answers and frees. */
static void operation_answer(struct operation *o, const struct err *e, json_t *result)
{
	struct err full;

	if (e) {
		full = *e;
		if (o->pattern && e->code == ERR_TIMEOUT)
			console_explain(o->keeper->console, o->pattern, &full);
		blame_gap(o, &full);
		if (o->keeper->state != KEEPER_OPENING)
			keeper_prefix(o->keeper, o->slot, &full);
		e = &full;
	}
	*o->prev = o->next;
	if (o->next)
		o->next->prev = o->prev;
	if (o->client)
		o->client->operations--;
	rpc_answer_op(o->call, e, result);
	free(o->pattern);
	free(o);
}

static void operation_ended(void *arg, const struct err *e, json_t *result)
{
	struct operation *o = arg;

	o->op = NULL;
	if (o->slot && o->slot->busy == o)
		o->slot->busy = NULL;
	if (!e && o->succeeded)
		o->succeeded(o->keeper, result);
	/* what fails while a cut is on its way, fails because of it, as far as anybody can tell */
	if (e && o->keeper->cut.state == CUT_FIRED && !(o->method->flags & METHOD_CONTROL))
		o->held = *e;
	else
		operation_answer(o, e, result);
}

void keeper_fail_waiting(struct keeper *k, const struct slot *slot, const struct err *why)
{
	struct operation *o = k->operations;

	while (o) {
		bool of_it = o->slot == slot && o->op && o->pattern;

		if (of_it)
			op_cancel(o->op, why);
		o = of_it ? k->operations : o->next; /* ending one may have ended others */
	}
}

void keeper_cancel_operations(struct keeper *k, const struct slot *except, const struct err *why)
{
	struct operation *o = k->operations;

	while (o) {
		/* what is held has ended on its device, and waits for nothing but its answer */
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): one that ended is off the list */
		if (o->op &&
			((o->method->flags & METHOD_CONTROL) || (except && o->slot == except))) {
			o = o->next;
			continue;
		}
		if (o->op)
			op_cancel(o->op, why);
		else
			operation_answer(o, why, NULL);
		o = k->operations; /* ending one may have ended others */
	}
}

static void operation_start(struct client *c, struct rpc_call *call, const struct method *m,
	json_t *params, unsigned timeout_ms)
{
	struct keeper *k = c->keeper;
	struct operation *o = calloc(1, sizeof(*o));
	struct slot *slot = m->cap == CAP_NONE ? NULL : keeper_slot(k, m->cap);
	struct err e;

	if (!o)
		abort(); /* as keeper_op() */
	o->keeper = k;
	o->method = m;
	o->client = c;
	o->call = call;
	o->timeout_ms = timeout_ms;
	o->next = k->operations;
	o->prev = &k->operations;
	if (o->next)
		o->next->prev = &o->next;
	k->operations = o;
	c->operations++;
	keeper_op(k, m->name, timeout_ms, &o->op, operation_ended, o);
	if (m->cap != CAP_NONE && !slot)
		op_failf(o->op, ERR_UNSUPPORTED, "it has no %s (rig.conf: %s = {…})",
			cap_names[m->cap], cap_names[m->cap]);
	else if (slot && keeper_claim(o, slot, &e) != 0)
		op_fail(o->op, &e);
	else if (cut_engine_overtook(k, m, &e) != 0)
		op_fail(o->op, &e);
	else
		m->start(o, params);
}

/* --- clients ---------------------------------------------------------------------------------- */

static void client_gone(struct client *c)
{
	struct keeper *k = c->keeper;
	struct operation *o = k->operations, *next;
	bool owner = c->owner;
	struct err why;

	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	rpc_destroy(c->rpc);
	err_set(&why, ERR_GONE, "who asked for it is gone");
	for (; o; o = next) {
		next = o->next;
		if (o->client != c)
			continue;
		o->client = NULL;
		if (o->op)
			op_cancel(o->op, &why);
		next = k->operations;
	}
	free(c);
	keeper_follow_changed(k);
	if (owner && !k->hand)
		keeper_end(k, "its owner is gone");
	keeper_settle_lease(k);
}

static void closed(void *arg, const struct err *why)
{
	(void)why;
	client_gone(arg);
}

/* Whether this client may call this method now. */
static int may_call(const struct client *c, const struct method *m, struct err *e)
{
	const struct keeper *k = c->keeper;

	if (!c->owner && !k->hand && !(m->flags & METHOD_PUBLIC)) {
		const char *user = json_string_value(json_object_get(k->owner, "user"));
		const char *what = json_string_value(json_object_get(k->owner, "what"));

		return err_set(e, ERR_BUSY, "board %s is leased by %s (%s, pid %d) since %s",
			k->name, user ? user : "?", what ? what : "?",
			(int)json_integer_value(json_object_get(k->owner, "pid")), k->since);
	}
	if (c->operations >= CLIENT_OPERATIONS_MAX)
		return err_set(
			e, ERR_BUSY, "%u operations of this client are under way", c->operations);
	if (m->flags & METHOD_CONTROL)
		return 0;
	if (k->state == KEEPER_NEW || k->state == KEEPER_OPENING)
		return err_set(e, ERR_USAGE, "%s: the board is not open yet", m->name);
	if (k->state != KEEPER_OPEN)
		return err_set(e, ERR_GONE, "board %s: the lease is over: %s", k->name, k->ending);
	if (k->safing.running)
		return err_set(
			e, ERR_BUSY, "board %s is being made safe: %s", k->name, k->safing.reason);
	if (k->quarantined[0] && !(m->flags & METHOD_LOOKS))
		return err_set(
			e, ERR_BENCH, "board %s is quarantined: %s", k->name, k->quarantined);
	return 0;
}

static void request(void *arg, struct rpc_call *call, const char *name, json_t *params)
{
	struct client *c = arg;
	const struct method *m = method_find(name);
	unsigned timeout_ms = 0;
	struct err e;
	int code;

	if (!call)
		return; /* a keeper takes no notifications */
	if (rpc_backlog_bytes(c->rpc) > CLIENT_BACKLOG_MAX) {
		err_set(&e, ERR_GONE, "the client does not read its answers");
		rpc_answer_err(call, &e);
		client_gone(c);
		return;
	}
	if (!m)
		code = err_set(&e, ERR_USAGE, "there is no method \"%.100s\"", name);
	else
		code = may_call(c, m, &e);
	if (!code)
		code = method_check(m, params, &timeout_ms, &e);
	if (!code)
		code = keeper_off_check(c->keeper, m, params, &e);
	if (!code)
		code = keeper_wear_check(c->keeper, m, params, &e);
	if (code)
		rpc_answer_err(call, &e);
	else
		operation_start(c, call, m, params, timeout_ms);
}

/* Takes fd. */
static struct client *client_add(struct keeper *k, int fd, bool owner)
{
	static const struct rpc_handlers handlers = {.request = request, .closed = closed};
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return NULL;
	}
	c->keeper = k;
	c->owner = owner;
	c->rpc = rpc_create(&k->loop, fd, &handlers, c);
	if (!c->rpc) {
		free(c);
		return NULL;
	}
	c->next = k->clients;
	c->prev = &k->clients;
	if (c->next)
		c->next->prev = &c->next;
	k->clients = c;
	return c;
}

static void somebody_connects(uv_poll_t *poll, int status, int events)
{
	struct keeper *k = poll->data;
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int fd = accept4(k->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)status;
	(void)events;
	if (fd < 0)
		return;
	/* the socket's mode says the same; this holds where modes of sockets are ignored */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
		(peer.uid != 0 && peer.uid != geteuid())) {
		close(fd);
		return;
	}
	client_add(k, fd, false);
}

void keeper_follow_changed(struct keeper *k)
{
	bool any = false;

	for (struct client *c = k->clients; c; c = c->next)
		any = any || c->following;
	if (k->console)
		console_follow(k->console, any);
}

void keeper_follow(void *keeper, const char *text, size_t len, uint64_t t_mono_ns)
{
	struct keeper *k = keeper;
	json_t *data = json_stringn(text, len), *params;

	for (struct client *c = k->clients; c; c = c->next) {
		if (!c->following)
			continue;
		if (rpc_backlog_bytes(c->rpc) > FOLLOW_BACKLOG_MAX) {
			c->dropped += len;
			continue;
		}
		params = json_pack("{s:O, s:I}", "data", data, "t_mono_ns", (json_int_t)t_mono_ns);
		if (c->dropped)
			json_object_set_new(
				params, "dropped", json_integer((json_int_t)c->dropped));
		c->dropped = 0;
		rpc_notify(c->rpc, "console", params);
	}
	json_decref(data);
}

/* --- the lease -------------------------------------------------------------------------------- */

static void expired(uv_timer_t *timer)
{
	keeper_end(timer->data, "its time is up");
}

static void time_text(char buf[32], time_t t)
{
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void keeper_set_expiry(struct keeper *k, uint64_t ttl_ms)
{
	k->expires[0] = '\0';
	uv_timer_stop(&k->expiry);
	if (!ttl_ms)
		return;
	time_text(k->expires, time(NULL) + (time_t)((ttl_ms + 999) / 1000));
	uv_timer_start(&k->expiry, expired, ttl_ms, 0);
}

void keeper_settle_lease(struct keeper *k)
{
	if (!k->clients && keeper_lease_is_idle(k))
		keeper_end(k, "nobody is connected and the board is off");
}

bool keeper_lease_is_idle(const struct keeper *k)
{
	return k->hand && k->implicit && k->state == KEEPER_OPEN && !k->safing.running &&
	       k->power != POWER_ON;
}

/* Whether the trigger can be armed while the DUT has no power, as a cut in its recovery asks for:
 * one that stops the DUT by its probe cannot. */
static bool trigger_arms_without_power(struct keeper *k)
{
	struct slot *slot = keeper_slot(k, CAP_TRIGGER);

	return slot && !slot->driver->needs_probe;
}

void keeper_opened(struct keeper *k)
{
	struct operation *o = k->open;
	json_t *caps = json_object();
	char path[PATH_MAX + 16];
	struct err e;

	snprintf(path, sizeof(path), "%s/keeper.sock", k->board_dir);
	k->listen_fd = rpc_listen_unix(path, 0600, &e);
	if (k->listen_fd < 0) {
		json_decref(caps);
		k->open_failed = e;
		keeper_make_safe(k, "it could not be opened");
		return;
	}
	uv_poll_init(&k->loop, &k->listener, k->listen_fd);
	k->listener.data = k;
	uv_poll_start(&k->listener, UV_READABLE, somebody_connects);
	k->state = KEEPER_OPEN;
	k->open = NULL;
	for (enum cap cap = CAP_POWER; cap < CAP_COUNT; cap++) {
		struct slot *slot = keeper_slot(k, cap);

		if (slot)
			json_object_set_new(caps, cap_names[cap], json_string(slot->driver->name));
	}
	op_on_cancel(o->op, NULL, NULL);
	op_done(o->op, json_pack("{s:o, s:b, s:s?, s:i, s:o*, s:s*}", "caps", caps, "recovery_cuts",
			       trigger_arms_without_power(k), "made_safe",
			       k->made_safe[0] ? k->made_safe : NULL, "pid", (int)getpid(),
			       "devices", k->trying ? keeper_check_report(k) : NULL, "quarantined",
			       k->quarantined[0] ? k->quarantined : NULL));
	keeper_settle_lease(k);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void finish(struct keeper *k)
{
	bool clean = k->safing.failed.code == ERR_NONE && !k->quarantined[0] && !k->was_dirty;
	struct operation *o;
	char path[PATH_MAX + 16];
	struct err e, why;

	if (k->state == KEEPER_ENDED)
		return;
	k->state = KEEPER_ENDED;
	if (k->listen_fd >= 0) {
		snprintf(path, sizeof(path), "%s/keeper.sock", k->board_dir);
		unlink(path);
		close_handle((uv_handle_t *)&k->listener);
	}
	console_destroy(k->console);
	keeper_probe_port_close(k);
	k->console = NULL;
	keeper_wear_save(k);
	if (k->lock && lock_release(k->lock, clean, &e) != 0)
		fprintf(stderr, "rig-keeper: %s\n", e.msg);
	k->lock = NULL;
	if (k->quarantined[0])
		err_set(&why, ERR_BENCH, "%s", k->quarantined);
	while (k->operations) { /* ending one takes it off the list, and may end others */
		o = k->operations;
		if (k->quarantined[0])
			op_fail(o->op, &why);
		else
			op_done(o->op, json_pack("{s:b, s:o*}", "safe", true, "wear",
					       keeper_wear_info(k)));
	}
	if (k->name)
		keeper_notify(k, "ending", json_pack("{s:s}", "reason", k->ending));
	uv_stop(&k->loop);
}

static void close_took_too_long(uv_timer_t *timer)
{
	struct keeper *k = timer->data;

	fprintf(stderr, "rig-keeper: board %s: %u devices did not close in time\n", k->name,
		k->closing);
	k->status = 1;
	finish(k);
}

static void device_closed(void *arg)
{
	struct keeper *k = arg;

	if (--k->closing == 0)
		finish(k);
}

void keeper_close_devices(struct keeper *k)
{
	k->state = KEEPER_ENDING;
	k->closing = 1;
	uv_timer_start(&k->close_bound, close_took_too_long, CLOSE_WITHIN_MS, 0);
	for (int cap = CAP_COUNT - 1; cap >= 0; cap--) {
		struct slot *slot = &k->slots[cap];
		struct device *dev = slot->dev;

		slot->dev = NULL;
		slot->opened = false;
		if (!dev)
			continue;
		k->closing++;
		slot->driver->close(dev, device_closed, k);
	}
	device_closed(k);
}

void keeper_open_failed(struct keeper *k)
{
	struct operation *o = k->open;
	struct err e = k->open_failed;

	k->status = 1;
	k->open = NULL;
	if (!k->ending[0])
		snprintf(k->ending, sizeof(k->ending), "it could not be opened");
	if (k->safing.failed.code != ERR_NONE && !strstr(e.msg, k->safing.failed.msg)) {
		struct err head = e;

		err_set(&e, head.code, "%.600s; making it safe failed too: %.300s", head.msg,
			k->safing.failed.msg);
	}
	if (o) {
		op_on_cancel(o->op, NULL, NULL);
		op_fail(o->op, &e);
	}
	keeper_close_devices(k);
}

void keeper_safe_done(struct keeper *k)
{
	struct operation *o, *next;
	struct err e = k->safing.failed;

	if (e.code != ERR_NONE) {
		k->status = 1;
		err_prefix(&e, "making it safe failed");
	}
	if (k->state == KEEPER_OPENING) {
		if (k->open_failed.code == ERR_NONE && (e.code == ERR_NONE || k->trying)) {
			keeper_open_go_on(k);
			return;
		}
		if (k->open_failed.code == ERR_NONE) {
			k->open_failed = e;
			keeper_prefix(k, NULL, &k->open_failed);
		}
		if (e.code == ERR_NONE)
			k->was_dirty = false;
		keeper_open_failed(k);
		return;
	}
	if (k->state == KEEPER_ENDING) {
		keeper_wear_end(k);
		return;
	}
	keeper_wear_save(k);
	for (o = k->operations; o; o = next) {
		next = o->next;
		if (strcmp(o->method->name, "safe") != 0)
			continue;
		if (e.code != ERR_NONE)
			op_fail(o->op, &e);
		else
			op_done(o->op, json_pack("{s:b}", "safe", true));
		next = k->operations;
	}
	keeper_settle_lease(k);
}

void keeper_end(struct keeper *k, const char *reason)
{
	struct err why;

	if (k->state == KEEPER_ENDING || k->state == KEEPER_ENDED || k->ending[0])
		return;
	snprintf(k->ending, sizeof(k->ending), "%s", reason);
	if (k->state == KEEPER_NEW) {
		finish(k);
	} else if (k->state == KEEPER_OPENING) {
		err_set(&why, ERR_CANCELLED, "open was given up: %s", reason);
		if (k->open)
			op_cancel(k->open->op, &why);
	} else {
		k->state = KEEPER_ENDING;
		keeper_make_safe(k, reason);
	}
}

/* --- life ------------------------------------------------------------------------------------- */

static void signalled(uv_signal_t *handle, int number)
{
	char reason[64];

	snprintf(reason, sizeof(reason), "signal %s", sigabbrev_np(number));
	keeper_end(handle->data, reason);
}

static int start(struct keeper *k)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

	if (uv_loop_init(&k->loop) != 0)
		return -1;
	k->listen_fd = -1;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		uv_signal_init(&k->loop, &k->signals[i]);
		k->signals[i].data = k;
		uv_signal_start(&k->signals[i], signalled, numbers[i]);
	}
	uv_timer_init(&k->loop, &k->expiry);
	uv_timer_init(&k->loop, &k->cycle);
	uv_timer_init(&k->loop, &k->close_bound);
	uv_timer_init(&k->loop, &k->off.timer);
	uv_timer_init(&k->loop, &k->wear_timer);
	k->expiry.data = k->cycle.data = k->close_bound.data = k;
	k->off.timer.data = k->wear_timer.data = k;
	for (enum cap cap = CAP_POWER; cap < CAP_COUNT; cap++)
		k->slots[cap] = (struct slot){.keeper = k, .cap = cap};
	time_text(k->since, time(NULL));
	return client_add(k, k->options.fd, true) ? 0 : -1;
}

static void stop(struct keeper *k)
{
	while (k->clients) {
		struct client *c = k->clients;

		k->clients = c->next;
		rpc_destroy(c->rpc);
		free(c);
	}
	for (size_t i = 0; i < sizeof(k->signals) / sizeof(*k->signals); i++)
		close_handle((uv_handle_t *)&k->signals[i]);
	close_handle((uv_handle_t *)&k->expiry);
	close_handle((uv_handle_t *)&k->cycle);
	close_handle((uv_handle_t *)&k->close_bound);
	close_handle((uv_handle_t *)&k->off.timer);
	close_handle((uv_handle_t *)&k->wear_timer);
	/* closing takes turns of the loop; what a driver forgot to close must not hold us */
	for (int turn = 0; turn < 10 && uv_run(&k->loop, UV_RUN_NOWAIT); turn++)
		;
	if (uv_loop_close(&k->loop) != 0)
		fprintf(stderr, "rig-keeper: a device left a handle open\n");
	if (k->listen_fd >= 0)
		close(k->listen_fd);
	json_decref(k->cut.on);
	json_decref(k->cut.landed);
	json_decref(k->gdb);
	json_decref(k->board);
	json_decref(k->owner);
	wear_finish(&k->wear);
}

int keeper_run(const struct keeper_options *options)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int status = 1;

	if (!k)
		return 1;
	k->options = *options;
	if (start(k) == 0) {
		uv_run(&k->loop, UV_RUN_DEFAULT);
		status = k->status;
		stop(k);
	}
	free(k);
	return status;
}
