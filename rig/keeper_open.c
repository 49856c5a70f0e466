/*
 * From open to an open board: the lock, a dirty board's devices made safe, every device opened.
 */
#include "keeper_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define DEVICE_WITHIN_MS 10000

/* Whether a driver offers a capability. */
static bool offers(const struct driver *d, enum cap cap)
{
	const void *const ops[CAP_COUNT] = {
		[CAP_POWER] = d->power,
		[CAP_CONSOLE] = d->console,
		[CAP_RESET] = d->line,
		[CAP_STRAP] = d->line,
		[CAP_METER] = d->meter,
		[CAP_TRIGGER] = d->trigger,
		[CAP_PROBE] = d->probe,
		[CAP_TRANSPORT] = d->transport,
		[CAP_SNAPSHOT] = d->snapshot,
	};

	return ops[cap] != NULL;
}

/* Driver events are the slot's; arg is the slot. */
static void console_in(void *arg, const char *data, size_t len)
{
	struct slot *slot = arg;
	uint64_t t_read_ns = uv_hrtime();

	keeper_off_bytes(slot->keeper);
	if (slot->keeper->console)
		console_input(slot->keeper->console, data, len, t_read_ns);
}

static void went_away(struct slot *slot, const char *reason)
{
	struct keeper *k = slot->keeper;
	char gap[300];
	struct err why;

	snprintf(slot->lost, sizeof(slot->lost), "%s", reason);
	if (slot->cap == CAP_CONSOLE && k->console) {
		snprintf(gap, sizeof(gap), "was lost: %s", reason);
		console_gap(k->console, gap);
	}
	err_set(&why, ERR_BENCH, "lost: %s", slot->lost);
	keeper_fail_waiting(k, slot, &why);
}

static void came_back(struct slot *slot, const char *text)
{
	struct keeper *k = slot->keeper;
	char gap[300];

	slot->lost[0] = '\0';
	snprintf(gap, sizeof(gap), "is back: %s", text ? text : "it works again");
	if (slot->cap == CAP_CONSOLE && k->console)
		console_gap(k->console, gap);
}

static void event(void *arg, const char *name, json_t *fields)
{
	struct slot *slot = arg;
	struct keeper *k = slot->keeper;
	const char *reason = json_string_value(json_object_get(fields, "reason"));

	if (strcmp(name, "trigger") == 0) {
		cut_engine_fired(k, fields);
		return;
	}
	if (strcmp(name, "lost") == 0)
		went_away(slot, reason ? reason : "it went away");
	if (strcmp(name, "back") == 0)
		came_back(slot, json_string_value(json_object_get(fields, "text")));
	if (!fields)
		fields = json_object();
	json_object_set_new(fields, "device", json_string(keeper_cap_name(slot->cap)));
	keeper_notify(k, name, fields);
}

static int find_driver(struct keeper *k, struct slot *slot, json_t *options, struct err *e)
{
	const char *cap = keeper_cap_name(slot->cap);
	const char *name = json_string_value(json_object_get(options, "driver"));

	if (!name)
		return err_set(e, ERR_CONFIG, "%s: no driver is named", cap);
	slot->driver = k->options.find_driver(name);
	if (!slot->driver)
		return err_set(e, ERR_CONFIG, "%s: there is no driver \"%.100s\"", cap, name);
	if (!offers(slot->driver, slot->cap))
		return err_set(e, ERR_CONFIG, "%s: the driver %s does not offer it", cap, name);
	if (slot->driver->needs_console && !k->console)
		return err_set(e, ERR_CONFIG, "%s (%s): it needs a console, and the board has none",
			cap, name);
	if (slot->driver->needs_probe &&
		!json_object_get(json_object_get(k->board, "devices"), "probe"))
		return err_set(e, ERR_CONFIG, "%s (%s): it needs a probe, and the board has none",
			cap, name);
	if (slot->driver->needs_probe && !keeper_probe_port_open(k))
		return err_set(e, ERR_NOMEM, "out of memory");
	return 0;
}

/* Strings and whole numbers, at least one. */
static bool is_list(const json_t *value)
{
	json_t *item;
	size_t i;

	json_array_foreach (value, i, item)
		if (!json_is_string(item) && !json_is_integer(item))
			return false;
	return json_array_size(value) > 0;
}

static bool is_of_type(const json_t *value, enum driver_option_type type)
{
	switch (type) {
	case OPTION_STRING:
		return json_is_string(value);
	case OPTION_INTEGER:
		return json_is_integer(value);
	case OPTION_BOOLEAN:
		return json_is_boolean(value);
	case OPTION_NUMBER:
		return json_is_number(value);
	case OPTION_LIST:
		return is_list(value);
	}
	return false;
}

static json_t *fallback_of(const struct driver_option *option)
{
	if (!option->fallback)
		return NULL;
	if (option->type == OPTION_STRING)
		return json_string(option->fallback);
	return json_loads(option->fallback, JSON_DECODE_ANY, NULL);
}

/* Checks a device's options against the driver's list and fills in what is left out, so that a
 * driver finds each one there and of its type, whoever wrote the board's object. */
static int check_options(const struct slot *slot, json_t *options, struct err *e)
{
	static const char *const types[] = {"a text", "a whole number", "true or false", "a number",
		"a list of texts and whole numbers"};
	const struct driver_option *o;
	const char *name;
	json_t *value;
	void *next;

	json_object_foreach_safe (options, next, name, value) {
		for (o = slot->driver->options; o->name && strcmp(o->name, name) != 0; o++)
			;
		if (strcmp(name, "driver") == 0)
			continue;
		if (json_is_null(value))
			json_object_del(options, name);
		else if (!o->name)
			return err_set(e, ERR_CONFIG, "it has no option \"%.100s\"", name);
		else if (!is_of_type(value, o->type))
			return err_set(e, ERR_CONFIG, "option %s is %s", name, types[o->type]);
	}
	for (o = slot->driver->options; o->name; o++) {
		if (json_object_get(options, o->name))
			continue;
		if (o->required)
			return err_set(e, ERR_CONFIG, "option %s is missing: %s", o->name, o->help);
		if (o->fallback)
			json_object_set_new(options, o->name, fallback_of(o));
	}
	return 0;
}

static int create_device(struct keeper *k, struct slot *slot, json_t *options, struct err *e)
{
	int code = find_driver(k, slot, options, e);

	if (code)
		return code;
	if (check_options(slot, options, e) != 0) {
		keeper_prefix(k, slot, e);
		return -(int)e->code;
	}
	slot->env = (struct driver_env){
		.loop = &k->loop,
		.board = k->name,
		.capability = keeper_cap_name(slot->cap),
		.board_dir = k->board_dir,
		.log_dir = k->log_dir,
		.board_conf = k->board,
		.console = slot->driver->needs_console ? console_port(k->console) : NULL,
		.probe = slot->driver->needs_probe ? k->probe_port : NULL,
		.console_in = slot->cap == CAP_CONSOLE ? console_in : NULL,
		.event = event,
		.arg = slot,
	};
	slot->dev = slot->driver->create(&slot->env, options, e);
	if (slot->dev)
		return 0;
	keeper_prefix(k, slot, e);
	return -(int)e->code;
}

static void write_console(void *arg, const char *data, size_t len, struct op *op)
{
	struct keeper *k = arg;
	struct slot *slot = &k->slots[CAP_CONSOLE];

	if (slot->lost[0])
		op_failf(op, ERR_BENCH, "console: lost: %s", slot->lost);
	else
		slot->driver->console->write(slot->dev, data, len, op);
}

static int create_console(struct keeper *k, struct err *e)
{
	char path[PATH_MAX + 256];
	struct console_conf conf = {
		.log_path = path,
		/* until the power device says so, bytes count: a board without one is on */
		.powered = true,
		.write = write_console,
		.follow = keeper_follow,
		.arg = k,
	};

	snprintf(path, sizeof(path), "%s/console-%s.log", k->log_dir, k->name);
	return console_create(&conf, &k->console, e);
}

/* While open is only tried, a device that fails is told of and left out. */
static int left_out(struct slot *slot, int code, const struct err *e)
{
	if (code && slot->keeper->trying) {
		keeper_check_refuse(slot, e);
		return 0;
	}
	return code;
}

static int create_devices(struct keeper *k, struct err *e)
{
	json_t *devices = json_object_get(k->board, "devices"), *options;
	const char *name;
	int code = 0;

	json_object_foreach (devices, name, options) {
		enum cap cap = CAP_POWER;

		while (cap < CAP_COUNT && strcmp(keeper_cap_name(cap), name) != 0)
			cap++;
		if (cap == CAP_COUNT)
			return err_set(e, ERR_CONFIG, "there is no capability \"%.100s\"", name);
	}
	if (json_object_get(devices, "console"))
		code = create_console(k, e);
	for (enum cap cap = CAP_POWER; cap < CAP_COUNT && !code; cap++) {
		options = json_object_get(devices, keeper_cap_name(cap));
		if (options)
			code = left_out(
				&k->slots[cap], create_device(k, &k->slots[cap], options, e), e);
	}
	return code;
}

/* --- the steps, in their order ---------------------------------------------------------------- */

static void failed(struct keeper *k, const struct err *e)
{
	if (k->open_failed.code == ERR_NONE)
		k->open_failed = *e;
	keeper_make_safe(k, "it could not be opened");
}

static void power_known(void *arg, const struct err *e, json_t *result)
{
	struct keeper *k = arg;
	struct err bad;

	if (k->open_failed.code != ERR_NONE)
		return; /* cancelled: its end is under way */
	if (e) {
		bad = *e;
		keeper_prefix(k, &k->slots[CAP_POWER], &bad);
		if (left_out(&k->slots[CAP_POWER], -(int)bad.code, &bad) != 0) {
			failed(k, &bad);
			return;
		}
	} else {
		keeper_power_learn(k, json_is_true(json_object_get(result, "on")), "off");
	}
	keeper_opened(k);
}

static void all_open(struct keeper *k)
{
	if (k->slots[CAP_POWER].opened)
		keeper_power_ask(k, DEVICE_WITHIN_MS, &k->open_step, power_known, k);
	else
		keeper_opened(k);
}

static void open_next(struct keeper *k);

static void device_open(void *arg, const struct err *e, json_t *result)
{
	struct slot *slot = arg;
	struct keeper *k = slot->keeper;
	struct err bad;

	(void)result;
	k->open_step = NULL;
	if (k->open_failed.code != ERR_NONE)
		return;
	if (e) {
		bad = *e;
		keeper_prefix(k, slot, &bad);
		if (left_out(slot, -(int)bad.code, &bad) != 0) {
			failed(k, &bad);
			return;
		}
	}
	slot->opened = !e;
	k->opening++;
	open_next(k);
}

static void open_next(struct keeper *k)
{
	struct slot *slot;
	struct op *op;

	while (k->opening < CAP_COUNT && !k->slots[k->opening].dev)
		k->opening++;
	if (k->opening < CAP_COUNT) {
		slot = &k->slots[k->opening];
		slot->tried = true;
		op = keeper_op(k, "open", DEVICE_WITHIN_MS, &k->open_step, device_open, slot);
		slot->driver->open(slot->dev, op);
	} else if (k->was_dirty) {
		keeper_make_safe(k, k->made_safe);
	} else {
		all_open(k);
	}
}

void keeper_open_go_on(struct keeper *k)
{
	if (k->safing.failed.code == ERR_NONE)
		k->was_dirty = false;
	all_open(k);
}

static void open_cancelled(struct op *op, void *arg)
{
	struct operation *o = arg;
	struct keeper *k = o->keeper;
	struct op *step = k->open_step;
	struct err why;

	(void)op;
	k->open = NULL;
	err_set(&why, ERR_CANCELLED, "open was given up");
	if (k->open_failed.code == ERR_NONE)
		k->open_failed = why;
	if (step)
		op_cancel(step, &why);
	keeper_make_safe(k, "open was given up");
}

static int copy_folder(char *to, const json_t *from, const char *name, struct err *e)
{
	const char *path = json_string_value(from);

	if (!path || path[0] != '/' || strlen(path) >= PATH_MAX - 300)
		return err_set(e, ERR_USAGE, "open: %s is an absolute path", name);
	memcpy(to, path, strlen(path) + 1);
	return 0;
}

static int take_params(struct keeper *k, json_t *params, struct err *e)
{
	json_t *board = json_object_get(params, "board");
	const char *name = json_string_value(json_object_get(board, "name"));
	char state_dir[PATH_MAX];
	int code;

	if (!name || !json_is_object(json_object_get(board, "devices")))
		return err_set(e, ERR_USAGE, "open: \"board\" needs \"name\" and \"devices\"");
	code = copy_folder(state_dir, json_object_get(board, "state_dir"), "board.state_dir", e);
	if (!code)
		code = copy_folder(k->log_dir, json_object_get(params, "log_dir"), "log_dir", e);
	if (!code)
		code = lock_board_dir(state_dir, name, true, k->board_dir, sizeof(k->board_dir), e);
	if (!code && mkdir(k->log_dir, 0755) != 0 && errno != EEXIST)
		code = err_errno(e, ERR_IO, errno, "log_dir %s", k->log_dir);
	if (code)
		return code;
	k->board = json_deep_copy(board);
	k->owner = json_deep_copy(json_object_get(params, "owner"));
	k->name = json_string_value(json_object_get(k->board, "name"));
	k->state_dir = json_string_value(json_object_get(k->board, "state_dir"));
	k->hand = json_is_true(json_object_get(params, "hand"));
	k->implicit = json_is_true(json_object_get(params, "implicit"));
	k->trying = json_is_true(json_object_get(params, "try"));
	return 0;
}

static const char *field(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value ? value : "?";
}

static int take_lock(struct keeper *k, struct err *e)
{
	enum lock_state state;
	json_t *left = NULL, *text = NULL;
	int code;

	code = lock_take(k->state_dir, k->name, k->owner, k->expires[0] ? k->expires : NULL,
		&k->lock, &left, e);
	if (code)
		return code;
	if (left) {
		k->was_dirty = true;
		snprintf(k->made_safe, sizeof(k->made_safe),
			"its keeper was killed (%.100s by %.60s@%.60s, pid %d)",
			field(left, "what"), field(left, "user"), field(left, "host"),
			(int)json_integer_value(json_object_get(left, "pid")));
		json_decref(left);
	}
	code = lock_look(k->state_dir, k->name, &state, &text, e);
	if (!code && state == LOCK_QUARANTINED && k->trying)
		snprintf(k->quarantined, sizeof(k->quarantined), "since %.40s: %.400s",
			field(text, "since"), field(text, "reason"));
	else if (!code && state == LOCK_QUARANTINED)
		code = err_set(e, ERR_BENCH,
			"board %s is quarantined since %s: %s. When that is mended: rig unlock %s",
			k->name, field(text, "since"), field(text, "reason"), k->name);
	json_decref(text);
	if (code)
		lock_release(k->lock, !k->was_dirty, &(struct err){0});
	if (code)
		k->lock = NULL;
	return code;
}

void keeper_open(struct operation *o, json_t *params)
{
	struct keeper *k = o->keeper;
	json_t *ttl = json_object_get(params, "ttl_ms");
	struct err e;
	int code;

	k->state = KEEPER_OPENING;
	k->open = o;
	code = take_params(k, params, &e);
	if (!code) {
		keeper_set_expiry(k, json_is_integer(ttl) ? (uint64_t)json_integer_value(ttl) : 0);
		code = take_lock(k, &e);
	}
	if (code) {
		k->open_failed = e;
		keeper_open_failed(k);
		return;
	}
	keeper_off_open(k);
	code = keeper_wear_open(k, &e);
	if (!code)
		code = create_devices(k, &e);
	if (code) {
		if (!strstr(e.msg, k->name))
			keeper_prefix(k, NULL, &e);
		k->open_failed = e;
		keeper_open_failed(k);
		return;
	}
	op_on_cancel(o->op, open_cancelled, o);
	open_next(k);
}
