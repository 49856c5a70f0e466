/*
 * The table of drivers, and what is known of them without opening one.
 */
#include "driver.h"

#include <string.h>

/* One line per driver, in alphabetical order; a driver's descriptor is driver_NAME. */
/* clang-format off */
#define DRIVERS(X) \
	X(command) \
	X(command_probe) \
	X(console_pattern) \
	X(gpio_edge) \
	X(gpio_line) \
	X(gpio_relay) \
	X(hwmon) \
	X(openocd) \
	X(pdudaemon) \
	X(probe_breakpoint) \
	X(probe_watchpoint) \
	X(pty) \
	X(scpi_psu) \
	X(serial) \
	X(serial_relay) \
	X(smp) \
	X(tcp) \
	X(timer) \
	X(usb_hid_relay) \
	X(usb_hub_port) \
	X(virtual)
/* clang-format on */

#define X(name) extern const struct driver driver_##name;
DRIVERS(X)
#undef X

const struct driver *const drivers[] = {
#define X(name) &driver_##name,
	DRIVERS(X)
#undef X
		NULL,
};

/* A capability is a struct of nothing but function pointers; so many of them. */
#define OPS(type) (sizeof(struct type) / sizeof(void (*)(void)))

struct capability {
	const char *name;
	const void *ops; /* NULL: not offered */
	size_t ops_count;
};

#define CAPABILITIES 11

static void capabilities(const struct driver *driver, struct capability caps[CAPABILITIES])
{
	const struct capability all[CAPABILITIES] = {
		{"power", driver->power, OPS(power_ops)},
		{"console", driver->console, OPS(console_ops)},
		{"probe", driver->probe, OPS(probe_ops)},
		{"trigger", driver->trigger, OPS(trigger_ops)},
		{"snapshot", driver->snapshot, OPS(snapshot_ops)},
		{"transport", driver->transport, OPS(transport_ops)},
		{"meter", driver->meter, OPS(meter_ops)},
		{"reset", driver->line, OPS(line_ops)},
		{"strap", driver->line, OPS(line_ops)},
		{"supply", driver->supply, OPS(supply_ops)},
		{"modem", driver->modem, OPS(modem_ops)},
	};

	memcpy(caps, all, sizeof(all));
}

const struct driver *driver_find(const char *name)
{
	for (const struct driver *const *d = drivers; *d; d++)
		if (strcmp((*d)->name, name) == 0)
			return *d;
	return NULL;
}

static const char *const type_names[] = {
	[OPTION_STRING] = "string",
	[OPTION_INTEGER] = "integer",
	[OPTION_BOOLEAN] = "boolean",
	[OPTION_NUMBER] = "number",
	[OPTION_LIST] = "list",
};

/* An option's default as JSON of its type; NULL when the text is not of that type. */
static json_t *fallback_value(const struct driver_option *option)
{
	json_t *value;
	bool good = false;

	if (!option->fallback)
		return json_null();
	if (option->type == OPTION_STRING)
		return json_string(option->fallback);
	value = json_loads(option->fallback, JSON_DECODE_ANY, NULL);
	switch (option->type) {
	case OPTION_INTEGER:
		good = json_is_integer(value);
		break;
	case OPTION_BOOLEAN:
		good = json_is_boolean(value);
		break;
	case OPTION_NUMBER:
		good = json_is_number(value);
		break;
	case OPTION_LIST:
		good = json_is_array(value);
		break;
	case OPTION_STRING:
	default:
		break;
	}
	if (good)
		return value;
	json_decref(value);
	return NULL;
}

static int check_option(
	const struct driver *driver, const struct driver_option *option, struct err *e)
{
	json_t *value;

	if ((unsigned)option->type >= sizeof(type_names) / sizeof(*type_names))
		return err_set(e, ERR_UNSUPPORTED, "driver %s: option %s: no type", driver->name,
			option->name);
	if (!option->help || !*option->help)
		return err_set(e, ERR_UNSUPPORTED, "driver %s: option %s: no help", driver->name,
			option->name);
	if (option->required && option->fallback)
		return err_set(e, ERR_UNSUPPORTED,
			"driver %s: option %s: required, and yet with a default", driver->name,
			option->name);
	value = fallback_value(option);
	if (!value)
		return err_set(e, ERR_UNSUPPORTED,
			"driver %s: option %s: its default \"%s\" is no %s", driver->name,
			option->name, option->fallback, type_names[option->type]);
	json_decref(value);
	return 0;
}

static int check_capability(
	const struct driver *driver, const struct capability *cap, struct err *e)
{
	for (size_t i = 0; cap->ops && i < cap->ops_count; i++) {
		void (*op)(void);

		memcpy(&op, (const char *)cap->ops + i * sizeof(op), sizeof(op));
		if (!op)
			return err_set(e, ERR_UNSUPPORTED,
				"driver %s: %s: operation %zu is missing", driver->name, cap->name,
				i + 1);
	}
	return 0;
}

int driver_check(const struct driver *driver, struct err *e)
{
	struct capability caps[CAPABILITIES];
	size_t offered = 0;
	int ret = 0;

	if (!driver->name || !*driver->name)
		return err_set(e, ERR_UNSUPPORTED, "a driver without a name");
	if (!driver->help || !*driver->help || !driver->options || !driver->create ||
		!driver->open || !driver->make_safe || !driver->close)
		return err_set(e, ERR_UNSUPPORTED,
			"driver %s: help, options, create, open, make_safe or close is missing",
			driver->name);
	for (const struct driver_option *o = driver->options; !ret && o->name; o++)
		ret = check_option(driver, o, e);
	capabilities(driver, caps);
	for (size_t i = 0; !ret && i < CAPABILITIES; i++) {
		ret = check_capability(driver, &caps[i], e);
		offered += caps[i].ops != NULL;
	}
	if (!ret && !offered)
		ret = err_set(e, ERR_UNSUPPORTED, "driver %s: offers nothing", driver->name);
	return ret;
}

int drivers_check(struct err *e)
{
	int ret = 0;

	for (const struct driver *const *d = drivers; !ret && *d; d++) {
		ret = driver_check(*d, e);
		for (const struct driver *const *other = drivers; !ret && other < d; other++)
			if (strcmp((*other)->name, (*d)->name) == 0)
				ret = err_set(e, ERR_UNSUPPORTED, "two drivers are called %s",
					(*d)->name);
	}
	return ret;
}

static json_t *capability_names(const struct driver *driver)
{
	struct capability caps[CAPABILITIES];
	json_t *names = json_array();

	capabilities(driver, caps);
	for (size_t i = 0; i < CAPABILITIES; i++)
		if (caps[i].ops)
			json_array_append_new(names, json_string(caps[i].name));
	return names;
}

static json_t *describe(const struct driver *driver)
{
	json_t *options = json_object();

	for (const struct driver_option *o = driver->options; o->name; o++)
		json_object_set_new(options, o->name,
			json_pack("{s:s, s:b, s:o, s:s}", "type", type_names[o->type], "required",
				o->required, "default", fallback_value(o), "help", o->help));
	return json_pack("{s:s, s:o, s:o}", "help", driver->help, "caps", capability_names(driver),
		"options", options);
}

json_t *driver_catalogue(void)
{
	json_t *catalogue = json_object();

	for (const struct driver *const *d = drivers; *d; d++)
		json_object_set_new(catalogue, (*d)->name, describe(*d));
	return catalogue;
}

static json_t *look(const struct driver *driver)
{
	json_t *found = json_array();
	json_t *answer = json_pack("{s:s, s:o, s:O}", "help", driver->help, "caps",
		capability_names(driver), "found", found);
	struct err e;

	if (driver->scan(found, &e) != 0)
		json_object_set_new(answer, "error", json_string(e.msg));
	json_decref(found);
	return answer;
}

json_t *driver_scan(const struct driver *const *table)
{
	json_t *all = json_object();

	for (const struct driver *const *d = table; *d; d++)
		if ((*d)->scan)
			json_object_set_new(all, (*d)->name, look(*d));
	return all;
}
