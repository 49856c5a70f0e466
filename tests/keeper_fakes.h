/*
 * For tests of the keeper: devices that do what their options say, and write down what was asked
 * of them, a line each, in <board_dir>/fake.log. They live in the keeper's process.
 *
 * What is written to the fake console comes back from it, so that a test decides what the DUT says;
 * "late:" before it keeps it until the console is drained. The fake probe's commands make things
 * happen that come from outside: "fire", "fire gone", "lost", "hang", "speak" (bytes come in from
 * the console), "console lost", "console back".
 */
#ifndef TESTS_KEEPER_FAKES_H
#define TESTS_KEEPER_FAKES_H

#include "../drivers/driver.h"
#include "../rig/lock.h"
#include "../rig/probe_port.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fake {
	struct device dev;
	struct driver_env env;
	json_t *options;
	bool opened, asserted;
	uv_timer_t timer; /* between a switch and its end */
	struct op *op;    /* waits for the timer, or hangs */
	void (*closed)(void *arg);
	void *closed_arg;
};

static bool fake_power_on;        /* the DUT's power */
static struct fake *fake_console; /* whose bytes come in late */
static struct fake *fake_trigger; /* whose event a probe's command is */
static char fake_late[4096];

static inline void fake_log(const struct fake *f, const char *what)
{
	char path[4096], line[512];
	int fd, n;

	snprintf(path, sizeof(path), "%s/fake.log", f->env.board_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	n = snprintf(line, sizeof(line), "%s %s\n", f->env.capability, what);
	if (write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

static inline bool fake_option(const struct fake *f, const char *name)
{
	return json_is_true(json_object_get(f->options, name));
}

static inline void fake_forget(struct op *op, void *arg)
{
	struct fake *f = arg;

	(void)op;
	fake_log(f, "cancelled");
	uv_timer_stop(&f->timer);
	f->op = NULL;
}

/* What a switch answers; the others' answers nobody reads. */
static inline json_t *fake_result(const struct fake *f)
{
	return json_pack("{s:s, s:b}", "verified", fake_option(f, "blind") ? "none" : "read-back",
		"drained", fake_option(f, "drained"));
}

static inline void fake_waited(uv_timer_t *timer)
{
	struct fake *f = timer->data;
	struct op *op = f->op;

	f->op = NULL;
	op_done(op, fake_result(f));
}

/* Completes op, now or after the option's milliseconds; 0 means never. */
static inline void fake_complete(struct fake *f, const char *option, struct op *op)
{
	json_t *ms = json_object_get(f->options, option);

	if (!ms) {
		op_done(op, fake_result(f));
		return;
	}
	f->op = op;
	op_on_cancel(op, fake_forget, f);
	if (json_integer_value(ms))
		uv_timer_start(&f->timer, fake_waited, (uint64_t)json_integer_value(ms), 0);
}

static inline struct device *fake_create(
	const struct driver_env *env, json_t *options, struct err *e);

static inline void fake_open(struct device *dev, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	fake_log(f, "open");
	if (fake_option(f, "open_fails")) {
		op_failf(op, ERR_BENCH, "no such device");
		return;
	}
	f->opened = true;
	fake_complete(f, "open_ms", op);
}

static inline void fake_make_safe(struct device *dev, struct op *op)
{
	struct fake *f = (struct fake *)dev;
	enum lock_state state = LOCK_FREE;
	char line[64];
	struct err e;

	lock_look(json_string_value(json_object_get(f->env.board_conf, "state_dir")), f->env.board,
		&state, NULL, &e);
	snprintf(line, sizeof(line), "make_safe, lock %s", lock_state_name(state));
	fake_log(f, line);
	if (fake_option(f, "safe_fails")) {
		op_failf(op, ERR_BENCH, "it smells of smoke");
		return;
	}
	if (strcmp(f->env.capability, "power") == 0)
		fake_power_on = fake_option(f, "stuck");
	fake_complete(f, "safe_ms", op);
}

static inline void fake_timer_closed(uv_handle_t *handle)
{
	struct fake *f = handle->data;
	void (*closed)(void *) = f->closed;
	void *arg = f->closed_arg;

	json_decref(f->options);
	free(f);
	closed(arg);
}

static inline void fake_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct fake *f = (struct fake *)dev;
	struct op *op = f->op;

	fake_log(f, "close");
	f->op = NULL;
	f->closed = closed;
	f->closed_arg = arg;
	if (op) {
		op_on_cancel(op, NULL, NULL);
		op_failf(op, ERR_GONE, "closed");
	}
	uv_close((uv_handle_t *)&f->timer, fake_timer_closed);
}

static inline void fake_drain(struct device *dev);

static inline void fake_set(struct device *dev, bool on, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	fake_log(f, on ? "on" : "off");
	if (!fake_option(f, "stuck") || on)
		fake_power_on = on;
	if (on && fake_console)
		fake_drain(&fake_console->dev); /* what nobody drained before comes in now */
	fake_complete(f, "set_ms", op);
}

static inline void fake_get(struct device *dev, struct op *op)
{
	fake_log((struct fake *)dev, "get");
	if (fake_option((struct fake *)dev, "mute"))
		op_failf(op, ERR_UNSUPPORTED, "nobody can tell");
	else
		op_done(op, json_pack("{s:b}", "on", fake_power_on));
}

static inline void fake_say(struct fake *f, const char *data, size_t len)
{
	f->env.console_in(f->env.arg, data, len);
}

static inline void fake_write(struct device *dev, const char *data, size_t len, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	/* first, because what it says may cut the power and end every operation */
	op_done(op, NULL);
	if (len >= 5 && memcmp(data, "late:", 5) == 0)
		snprintf(fake_late, sizeof(fake_late), "%.*s", (int)len - 5, data + 5);
	else
		fake_say(f, data, len);
}

static inline void fake_drain(struct device *dev)
{
	char late[sizeof(fake_late)];

	memcpy(late, fake_late, sizeof(late));
	fake_late[0] = '\0';
	if (late[0])
		fake_say((struct fake *)dev, late, strlen(late));
}

static inline void fake_plain(struct device *dev, struct op *op)
{
	(void)dev;
	op_done(op, NULL);
}

static inline json_t *fake_json(const struct fake *f, const char *option)
{
	const char *text = json_string_value(json_object_get(f->options, option));

	return text ? json_loads(text, 0, NULL) : NULL;
}

static inline void fake_mark(struct device *dev, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	fake_log(f, "mark");
	op_done(op, json_pack("{s:o*}", "erases", fake_json(f, "erases")));
}

static inline void fake_arm(struct device *dev, json_t *cut, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	fake_log(f, "arm");
	if (json_integer_value(json_object_get(cut, "op")) == 666)
		op_failf(op, ERR_USAGE, "no such operation");
	else
		fake_complete(f, "arm_ms", op);
}

static inline void fake_path(struct device *dev, const char *path, struct op *op)
{
	if (strcmp(path, "fail") == 0)
		op_failf(op, ERR_IO, "no such folder");
	else
		fake_plain(dev, op);
}

static inline void fake_fire(bool gone)
{
	if (gone)
		fake_power_on = false;
	fake_trigger->env.event(fake_trigger->env.arg, "trigger",
		json_pack("{s:i, s:s, s:i, s:b}", "op", 57, "kind", "program", "address", 4096,
			"cut", gone));
}

static inline void fake_speak(uv_timer_t *timer)
{
	fake_say(timer->data, "boot\n", 5);
}

static inline void fake_command(struct device *dev, const char *text, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	if (strcmp(text, "hang") == 0) {
		f->op = op;
		op_on_cancel(op, fake_forget, f);
		return;
	}
	if (strcmp(text, "speak") == 0) /* from the loop, as bytes do */
		uv_timer_start(&fake_console->timer, fake_speak, 1, 0);
	if (strcmp(text, "somebody switches on") == 0)
		fake_power_on = true;
	if (strcmp(text, "console lost") == 0)
		fake_console->env.event(fake_console->env.arg, "lost",
			json_pack("{s:s}", "reason", "the port is gone"));
	if (strcmp(text, "console back") == 0)
		fake_console->env.event(fake_console->env.arg, "back",
			json_pack("{s:s}", "text", "it was gone for 7 ms"));
	if (strcmp(text, "lost") == 0) {
		f->env.event(f->env.arg, "lost", json_pack("{s:s}", "reason", "unplugged"));
		op_failf(op, ERR_BENCH, "unplugged");
		return;
	}
	op_done(op, json_pack("{s:s}", "text", "\xc3\xbc"));
	if (strcmp(text, "fire") == 0 || strcmp(text, "fire gone") == 0)
		fake_fire(text[4] != '\0');
}

static inline void fake_program(struct device *dev, json_t *spec, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	(void)spec;
	fake_log(f, "program");
	if (json_object_get(f->options, "pages")) {
		op_done(op, json_pack("{s:o}", "pages", fake_json(f, "pages")));
		return;
	}
	f->op = op; /* never done of itself */
	op_on_cancel(op, fake_forget, f);
}

static inline void fake_verify(
	struct device *dev, uint32_t address, const char *path, struct op *op)
{
	(void)address;
	fake_path(dev, path, op);
}

static inline void fake_read(
	struct device *dev, uint32_t address, uint32_t size, const char *path, struct op *op)
{
	(void)address;
	(void)size;
	fake_path(dev, path, op);
}

static inline void fake_write_word(
	struct device *dev, uint32_t address, uint32_t value, struct op *op)
{
	(void)address;
	(void)value;
	fake_plain(dev, op);
}

static inline void fake_flag(struct device *dev, bool flag, struct op *op)
{
	(void)flag;
	fake_plain(dev, op);
}

static inline void fake_breakpoint(struct device *dev, uint32_t address, bool set, struct op *op)
{
	(void)address;
	fake_flag(dev, set, op);
}

static inline void fake_trace(struct device *dev, const char *path, uint64_t from, struct op *op)
{
	(void)from;
	fake_path(dev, path, op);
}

static inline void fake_gdb(struct device *dev, struct op *op)
{
	(void)dev;
	op_done(op, json_pack("{s:s, s:i}", "host", "127.0.0.1", "port", 3333));
}

/* Never comes to the place of itself. */
static inline void fake_run_until(struct device *dev, json_t *spec, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	(void)spec;
	fake_log(f, "run until");
	f->op = op;
	op_on_cancel(op, fake_forget, f);
}

static inline void fake_measure(struct device *dev, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	fake_log(f, "measure");
	op_done(op, fake_json(f, "reads"));
}

static inline void fake_set_volts(struct device *dev, double volts, unsigned ramp_ms, struct op *op)
{
	char line[64];

	snprintf(line, sizeof(line), "volts %.2f in %u", volts, ramp_ms);
	fake_log((struct fake *)dev, line);
	op_done(op, json_pack("{s:f}", "volts", volts));
}

static inline void fake_modem(struct device *dev, json_t *lines, struct op *op)
{
	char line[64];

	snprintf(line, sizeof(line), "lines%s%s%s", json_object_get(lines, "dtr") ? " dtr" : "",
		json_object_get(lines, "rts") ? " rts" : "",
		json_object_get(lines, "break_ms") ? " break" : "");
	fake_log((struct fake *)dev, line);
	op_done(op, NULL);
}

static inline void fake_line_set(struct device *dev, bool on, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	fake_log(f, on ? "assert" : "let go");
	f->asserted = on;
	op_done(op, NULL);
}

static inline void fake_line_get(struct device *dev, struct op *op)
{
	op_done(op, json_pack("{s:b}", "on", ((struct fake *)dev)->asserted));
}

static const struct meter_ops fake_meter_ops = {fake_measure};
static const struct supply_ops fake_supply_ops = {fake_set_volts};
static const struct modem_ops fake_modem_ops = {fake_modem};
static const struct line_ops fake_line_ops = {fake_line_set, fake_line_get};

static inline void fake_check(struct device *dev, struct op *op)
{
	struct fake *f = (struct fake *)dev;

	if (fake_option(f, "check_fails"))
		op_failf(op, ERR_BENCH, "it does not answer");
	else
		op_done(op, json_pack("{s:[s], s:[s]}", "says", "channel 3 of 8", "mend",
				    "tighten the screw"));
}

static inline int fake_scan(json_t *found, struct err *e)
{
	(void)e;
	json_array_append_new(found, json_pack("{s:s, s:s, s:s}", "what", "a fake", "at", "here",
					     "conf", "power = { driver = \"fake\" }"));
	return 0;
}

static const struct power_ops fake_power_ops = {fake_set, fake_get};
static const struct console_ops fake_console_ops = {fake_write, fake_drain};
static const struct trigger_ops fake_trigger_ops = {
	fake_mark, fake_arm, fake_plain, fake_plain, fake_trace};
static const struct probe_ops fake_probe_ops = {fake_program, fake_verify, fake_read,
	fake_write_word, fake_plain, fake_plain, fake_flag, fake_flag, fake_breakpoint, fake_plain,
	fake_command, fake_plain, fake_gdb, fake_run_until};

static const struct driver_option fake_options[] = {
	{"is_on", OPTION_BOOLEAN, false, "false", "the power is on when it is opened"},
	{"blind", OPTION_BOOLEAN, false, "false", "it does not read back what it has set"},
	{"mute", OPTION_BOOLEAN, false, "false", "it cannot be asked whether the power is on"},
	{"drained", OPTION_BOOLEAN, false, "false", "off, it says that the console is drained"},
	{"erases", OPTION_STRING, false, NULL, "what every mark tells, as JSON"},
	{"pages", OPTION_STRING, false, NULL, "what every program tells, as JSON; else it hangs"},
	{"stuck", OPTION_BOOLEAN, false, "false", "it cannot be switched off"},
	{"reads", OPTION_STRING, false, NULL, "what the meter reads, as JSON"},
	{"open_fails", OPTION_BOOLEAN, false, NULL, "it does not open"},
	{"safe_fails", OPTION_BOOLEAN, false, NULL, "it cannot be made safe"},
	{"open_ms", OPTION_INTEGER, false, NULL, "it takes so long to open; 0: for ever"},
	{"safe_ms", OPTION_INTEGER, false, NULL, "the same of making safe"},
	{"set_ms", OPTION_INTEGER, false, NULL, "the same of a switch"},
	{"arm_ms", OPTION_INTEGER, false, NULL, "the same of arming"},
	{"create_fails", OPTION_BOOLEAN, false, NULL, "it cannot even be created"},
	{"check_fails", OPTION_BOOLEAN, false, NULL, "it does not stand its check"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static const struct driver fake_driver = {
	.name = "fake",
	.help = "does what its options say",
	.options = fake_options,
	.create = fake_create,
	.open = fake_open,
	.make_safe = fake_make_safe,
	.close = fake_close,
	.power = &fake_power_ops,
	.console = &fake_console_ops,
	.trigger = &fake_trigger_ops,
	.probe = &fake_probe_ops,
	.supply = &fake_supply_ops,
	.modem = &fake_modem_ops,
	.line = &fake_line_ops,
};

/* One that measures; the other would be the meter of every board that it powers. */
static const struct driver fake_meter = {
	.name = "fake-meter",
	.help = "reads what its option says",
	.options = fake_options,
	.create = fake_create,
	.open = fake_open,
	.make_safe = fake_make_safe,
	.close = fake_close,
	.meter = &fake_meter_ops,
};

/* A trigger that has the probe run until a place, when it is armed. */
static inline void fake_ran(void *arg, const struct err *e, json_t *result)
{
	struct fake *f = arg;
	char line[128];

	(void)result;
	f->op = NULL;
	snprintf(line, sizeof(line), "ran: %.100s", e ? e->msg : "done");
	fake_log(f, line);
}

static inline void fake_stop_arm(struct device *dev, json_t *cut, struct op *op)
{
	struct fake *f = (struct fake *)dev;
	json_t *spec = json_pack("{s:i, s:O}", "break", 64, "count", json_object_get(cut, "op"));

	f->op = op_start(f->env.loop, "run until", 60000, fake_ran, f);
	probe_port_run_until(f->env.probe, spec, f->op);
	json_decref(spec);
	op_done(op, NULL);
}

static inline void fake_stop_disarm(struct device *dev, struct op *op)
{
	struct fake *f = (struct fake *)dev;
	struct err why;

	err_set(&why, ERR_CANCELLED, "disarmed");
	if (f->op)
		op_cancel(f->op, &why);
	op_done(op, NULL);
}

static const struct trigger_ops fake_stop_ops = {
	fake_mark, fake_stop_arm, fake_stop_disarm, fake_plain, fake_trace};
static const struct driver fake_stop = {
	.name = "fake-stop",
	.help = "a trigger that stops the DUT by its probe",
	.options = fake_options,
	.needs_probe = true,
	.create = fake_create,
	.open = fake_open,
	.make_safe = fake_make_safe,
	.close = fake_close,
	.trigger = &fake_stop_ops,
};

/* The same for the driver "checked", which has a check and a scan of its own. */
static const struct driver fake_checked_driver = {
	.name = "checked",
	.help = "does what its options say, and can be checked",
	.options = fake_options,
	.create = fake_create,
	.open = fake_open,
	.make_safe = fake_make_safe,
	.close = fake_close,
	.check = fake_check,
	.scan = fake_scan,
	.power = &fake_power_ops,
	.console = &fake_console_ops,
	.trigger = &fake_trigger_ops,
	.probe = &fake_probe_ops,
};

static inline struct device *fake_create(
	const struct driver_env *env, json_t *options, struct err *e)
{
	struct fake *f = calloc(1, sizeof(*f));

	if (json_is_true(json_object_get(options, "create_fails"))) {
		free(f);
		err_set(e, ERR_CONFIG, "this cannot be");
		return NULL;
	}
	f->env = *env;
	f->options = json_incref(options);
	uv_timer_init(env->loop, &f->timer);
	f->timer.data = f;
	if (strcmp(env->capability, "trigger") == 0)
		fake_trigger = f;
	if (strcmp(env->capability, "console") == 0)
		fake_console = f;
	if (strcmp(env->capability, "power") == 0)
		fake_power_on = fake_option(f, "is_on");
	return &f->dev;
}

static inline const struct driver *fake_find(const char *name)
{
	static const struct driver *const all[] = {
		&fake_driver, &fake_checked_driver, &fake_meter, &fake_stop};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}

#endif
