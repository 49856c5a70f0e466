/*
 * Serial ports: DTR, RTS and break, the lock of a shared port, check and scan.
 */
#include "serial_port_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCK_STEP_MS 5 /* nothing tells when flock(2) is let go */
#define BREAK_MAX_MS 10000
#define DRAIN_MAX (1024 * 1024)

/* --- DTR, RTS, break -------------------------------------------------------------------------- */

static void set_next(struct serial_port *port);

static void set_work(uv_work_t *work)
{
	struct serial_port *port = work->data;
	const struct setting *set = &port->set;

	port->set_code = serial_backend->lines(
		port->set_line->link.handle, set->dtr, set->rts, set->brk, &port->set_e);
}

static void set_done(uv_work_t *work, int status);

/* Does port->set on the open port. */
static void set_start(struct serial_port *port)
{
	port->set_line = port->line;
	port->set_line->jobs++;
	port->set_work.data = port;
	uv_queue_work(port->loop, &port->set_work, set_work, set_done);
}

/* The setting under way is over. */
static void set_over(struct serial_port *port, const struct err *e)
{
	struct op *op = port->set.op;

	port->set = (struct setting){0};
	if (op)
		op_on_cancel(op, NULL, NULL);
	if (op && e)
		op_fail(op, e);
	else if (op)
		op_done(op, NULL);
	set_next(port);
}

static void end_break(uv_timer_t *timer)
{
	struct serial_port *port = timer->data;

	port->set.dtr = port->set.rts = -1;
	port->set.brk = 0;
	port->set.break_ms = 0;
	set_start(port);
}

static void set_done(uv_work_t *work, int status)
{
	struct serial_port *port = work->data;
	struct line *line = port->set_line;
	struct setting *set = &port->set;

	(void)status;
	line->jobs--;
	port->set_line = NULL;
	if (line->closing) {
		*set = (struct setting){0};
		serial_port_line_idle(line);
		return;
	}
	if (port->set_code) {
		set_over(port, &port->set_e);
		return;
	}
	port->dtr = set->dtr >= 0 ? set->dtr : port->dtr;
	port->rts = set->rts >= 0 ? set->rts : port->rts;
	port->in_break = set->brk >= 0 ? set->brk == 1 : port->in_break;
	if (set->brk == 1) /* given up meanwhile, it ends at once */
		uv_timer_start(&port->break_timer, end_break, set->op ? set->break_ms : 0, 0);
	else
		set_over(port, NULL);
}

/* Begins what waits, if nothing is under way. */
static void set_next(struct serial_port *port)
{
	if (port->set.wanted || !port->then.wanted || !port->line)
		return;
	port->set = port->then;
	port->then = (struct setting){0};
	if (port->set.brk == 0 && !port->in_break)
		port->set.brk = -1; /* some ports have none, and then nothing to end */
	if (port->set.dtr == port->dtr)
		port->set.dtr = -1;
	if (port->set.rts == port->rts)
		port->set.rts = -1;
	if (port->set.dtr < 0 && port->set.rts < 0 && port->set.brk < 0)
		set_over(port, NULL);
	else
		set_start(port);
}

/* Forgets the operation; a break that is on ends now. */
static void give_up_setting(struct op *op, void *arg)
{
	struct serial_port *port = arg;

	if (port->then.op == op) {
		port->then = (struct setting){0};
		return;
	}
	port->set.op = NULL;
	if (uv_is_active((uv_handle_t *)&port->break_timer)) {
		uv_timer_stop(&port->break_timer);
		end_break(&port->break_timer);
	}
}

static void set_begin(struct serial_port *port, struct setting set)
{
	port->then = set;
	port->then.wanted = true;
	op_on_cancel(set.op, give_up_setting, port);
	set_next(port);
}

static int parse_lines(json_t *lines, struct setting *set, struct err *e)
{
	const char *name;
	json_t *value;

	json_object_foreach (lines, name, value) {
		json_int_t ms = json_integer_value(value);

		if (strcmp(name, "dtr") == 0 && json_is_boolean(value))
			set->dtr = json_is_true(value);
		else if (strcmp(name, "rts") == 0 && json_is_boolean(value))
			set->rts = json_is_true(value);
		else if (strcmp(name, "break_ms") == 0 && ms >= 1 && ms <= BREAK_MAX_MS)
			set->break_ms = (unsigned)ms;
		else
			return err_set(e, ERR_USAGE,
				"%.40s: dtr and rts are true or false, break_ms is 1 to %d", name,
				BREAK_MAX_MS);
	}
	set->brk = set->break_ms ? 1 : -1;
	return 0;
}

void serial_port_set_lines(struct serial_port *port, json_t *lines, struct op *op)
{
	struct setting set = {.op = op, .dtr = -1, .rts = -1, .brk = -1};
	struct err e;

	if (parse_lines(lines, &set, &e) != 0)
		op_fail(op, &e);
	else if (!port->line)
		serial_port_not_open(port, op);
	else if (port->set.op || port->then.wanted)
		op_failf(op, ERR_BUSY, "%s: its lines are being set already", port->name);
	else if (port->settings.flow == SERIAL_FLOW_RTSCTS && set.rts >= 0)
		op_failf(op, ERR_USAGE, "%s: flow control has RTS", port->name);
	else
		set_begin(port, set);
}

void serial_port_reset_lines(struct serial_port *port, struct op *op)
{
	struct setting set = {.op = op, .dtr = port->settings.dtr, .rts = port->settings.rts};
	struct op *old = port->set.op;

	if (!port->line) {
		op_done(op, NULL);
		return;
	}
	if (port->settings.flow == SERIAL_FLOW_RTSCTS)
		set.rts = -1;
	serial_port_end_op(&port->then.op, ERR_CANCELLED, "the lines are set back");
	port->then = (struct setting){0};
	if (old) {
		give_up_setting(old, port);
		serial_port_end_op(&old, ERR_CANCELLED, "the lines are set back");
	}
	set_begin(port, set);
}

/* --- the lock of a shared port ---------------------------------------------------------------- */

static void give_up_locking(struct op *op, void *arg)
{
	struct serial_port *port = arg;

	(void)op;
	port->locking = NULL;
	uv_timer_stop(&port->lock_timer);
}

/* Others' bytes, and late ones, are not taken for an answer. */
static void locked(struct serial_port *port)
{
	serial_port_take_in(port, DRAIN_MAX);
	if (!port->line)
		return;
	port->locked = true;
	serial_port_poll(port);
	serial_port_end_op(&port->locking, ERR_NONE, NULL);
}

static void try_lock(uv_timer_t *timer)
{
	struct serial_port *port = timer->data;
	struct err e;

	if (serial_link_lock(&port->line->link)) {
		locked(port);
	} else if (uv_now(port->loop) >= port->lock_until) {
		serial_link_busy(port->line->link.place.path, &e);
		serial_port_end_op(&port->locking, ERR_BENCH, "%s", e.msg);
	} else {
		uv_timer_start(timer, try_lock, LOCK_STEP_MS, 0);
	}
}

void serial_port_lock(struct serial_port *port, unsigned within_ms, struct op *op)
{
	if (!port->line) {
		serial_port_not_open(port, op);
		return;
	}
	if (port->locking || port->locked) {
		op_failf(op, ERR_BUSY, "%s is in use by this board already", port->name);
		return;
	}
	port->locking = op;
	op_on_cancel(op, give_up_locking, port);
	uv_update_time(port->loop);
	port->lock_until = uv_now(port->loop) + within_ms;
	try_lock(&port->lock_timer);
}

void serial_port_unlock(struct serial_port *port)
{
	if (!port->locked || !port->line)
		return;
	port->locked = false;
	serial_link_unlock(&port->line->link);
	serial_port_poll(port);
}

int serial_port_claim(struct serial_port *port, unsigned part, const char *what, struct err *e)
{
	if (!port->line)
		return err_set(e, ERR_BENCH, "%s is not open", port->name);
	if (!serial_link_claim(&port->line->link, part))
		return err_set(e, ERR_BENCH,
			"%s %u of %s is another board's: is it named twice in rig.conf?", what,
			part, port->name);
	return 0;
}

/* --- check ------------------------------------------------------------------------------------ */

static void check_work(uv_work_t *work)
{
	struct checking *c = work->data;
	const struct serial_want *want = &c->line->port->want;

	/* udev's links name the device itself, or where it is plugged in */
	serial_link_check(&c->line->link, want->path[0] && !strstr(want->path, "/serial/by-"),
		c->says, c->mend);
}

static void check_done(uv_work_t *work, int status)
{
	struct checking *c = work->data;
	struct line *line = c->line;
	struct op *op = c->op;

	(void)status;
	line->jobs--;
	if (!line->closing)
		line->port->checking = NULL;
	if (op) {
		op_on_cancel(op, NULL, NULL);
		op_done(op, json_pack("{s:O, s:O}", "says", c->says, "mend", c->mend));
	}
	json_decref(c->says);
	json_decref(c->mend);
	free(c);
	if (line->closing)
		serial_port_line_idle(line);
}

static void give_up_check(struct op *op, void *arg)
{
	struct checking *c = arg;

	(void)op;
	c->op = NULL;
}

void serial_port_check(struct serial_port *port, struct op *op)
{
	struct checking *c;

	if (!port->line && port->state == PORT_GONE && port->may_be_absent) {
		op_done(op,
			json_pack("{s:[s++], s:[]}", "says", port->name,
				" is not there now: it comes with the DUT's power", "", "mend"));
		return;
	}
	if (!port->line) {
		serial_port_not_open(port, op);
		return;
	}
	if (port->checking) {
		op_failf(op, ERR_BUSY, "%s is being checked already", port->name);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	*c = (struct checking){
		.line = port->line, .op = op, .says = json_array(), .mend = json_array()};
	c->work.data = c;
	port->checking = c;
	port->line->jobs++;
	op_on_cancel(op, give_up_check, c);
	uv_queue_work(port->loop, &c->work, check_work, check_done);
}

void serial_port_lines_fail(struct serial_port *port, enum err_code code, const char *why)
{
	struct op *op;

	uv_timer_stop(&port->break_timer);
	uv_timer_stop(&port->lock_timer);
	port->locked = false;
	op = port->set.op;
	/* a job on the thread pool forgets the rest when it ends */
	port->set = (struct setting){.wanted = port->set_line != NULL};
	serial_port_end_op(&op, code, "%s", why);
	op = port->then.op;
	port->then = (struct setting){0};
	serial_port_end_op(&op, code, "%s", why);
	serial_port_end_op(&port->locking, code, "%s", why);
	if (port->checking)
		serial_port_end_op(&port->checking->op, code, "%s", why);
	port->checking = NULL;
}

/* --- scan ------------------------------------------------------------------------------------- */

static void found_port(json_t *found, const struct serial_place *place,
	const struct serial_place *list, size_t count, const char *conf)
{
	const char *options = strstr(conf, "%s");
	char name[400], at[400], line[768], mend[512], who[128];
	json_t *entry;

	serial_place_text(place, name, sizeof(name));
	serial_place_conf(place, list, count, at, sizeof(at));
	snprintf(line, sizeof(line), "%.*s%s%s", (int)(options - conf), conf, at, options + 2);
	snprintf(at, sizeof(at), "%s%s%s", place->path, place->usb_path[0] ? ", " : "",
		place->usb_path);
	serial_permission(place->path, mend, sizeof(mend));
	if (!mend[0] && serial_holder(place->path, true, who, sizeof(who)))
		snprintf(mend, sizeof(mend), "it is held by %s", who);
	entry = json_pack("{s:s+++, s:s, s:s}", "what", "serial port ", name,
		place->product_name[0] ? ": " : "", place->product_name, "at", at, "conf", line);
	if (mend[0])
		json_object_set_new(entry, "mend", json_string(mend));
	json_array_append_new(found, entry);
}

int serial_port_scan(
	json_t *found, bool (*wanted)(int vendor, int product), const char *conf, struct err *e)
{
	struct serial_place *list = NULL;
	ssize_t count = serial_list(&list, e);

	for (ssize_t i = 0; i < count; i++)
		if (!wanted || wanted(list[i].vendor, list[i].product))
			found_port(found, &list[i], list, (size_t)count, conf);
	free(list);
	return count < 0 ? (int)count : 0;
}
