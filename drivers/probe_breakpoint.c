/*
 * probe-breakpoint: a trigger that counts how often the DUT comes to an instruction, such as the
 * one of its flash routine that begins an operation, and fires right before it is done for the N-th
 * time.
 */
#include "probe_stop.h"

#include <string.h>

static const struct driver_option options[] = {
	{"address", OPTION_INTEGER, true, NULL, "of the instruction, or of a function"},
	{"register", OPTION_STRING, false, NULL,
		"count only while this register (r0, r1 …) is within from and to; it is then the "
		"address that is logged"},
	{"from", OPTION_INTEGER, false, NULL, "the register's least value"},
	{"to", OPTION_INTEGER, false, NULL, "one more than its greatest"},
	{"trace", OPTION_BOOLEAN, false, "true", "count from a mark on, not only for an armed cut"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

extern const struct driver driver_probe_breakpoint;

static bool fits(json_t *opts, const char *name, json_int_t limit)
{
	const json_t *value = json_object_get(opts, name);

	return !value || json_is_null(value) ||
	       (json_integer_value(value) >= 0 && json_integer_value(value) <= limit);
}

static int check_options(json_t *opts, struct err *e)
{
	const char *reg = json_string_value(json_object_get(opts, "register"));
	const json_t *from = json_object_get(opts, "from"), *to = json_object_get(opts, "to");
	json_int_t limit = (json_int_t)UINT32_MAX;

	if (!fits(opts, "address", limit) || !fits(opts, "from", limit) ||
		!fits(opts, "to", limit + 1))
		return err_set(e, ERR_CONFIG, "address, from and to must be of 32 bits");
	if (!reg && (json_is_integer(from) || json_is_integer(to)))
		return err_set(e, ERR_CONFIG, "from and to are of a register: name it (register)");
	if (reg && (!*reg || strlen(reg) > 15 ||
			   strspn(reg, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(reg)))
		return err_set(e, ERR_CONFIG, "register \"%.40s\": expected r0, r1 …", reg);
	if (json_is_integer(from) && json_is_integer(to) &&
		json_integer_value(from) >= json_integer_value(to))
		return err_set(e, ERR_CONFIG, "from must be less than to");
	return 0;
}

static struct device *breakpoint_create(const struct driver_env *env, json_t *opts, struct err *e)
{
	json_t *reg = json_object_get(opts, "register"), *place;

	if (check_options(opts, e) != 0)
		return NULL;
	place = json_pack("{s:O}", "break", json_object_get(opts, "address"));
	if (json_is_string(reg))
		json_object_set(place, "reg", reg);
	if (json_is_integer(json_object_get(opts, "from")))
		json_object_set(place, "from", json_object_get(opts, "from"));
	if (json_is_integer(json_object_get(opts, "to")))
		json_object_set(place, "to", json_object_get(opts, "to"));
	return probe_stop_create(env, &driver_probe_breakpoint, "breakpoint", place,
		json_is_true(json_object_get(opts, "trace")), e);
}

const struct driver driver_probe_breakpoint = {
	.name = "probe-breakpoint",
	.help = "a trigger at an instruction of the DUT, through its debug probe",
	.options = options,
	.needs_probe = true,
	.create = breakpoint_create,
	.open = probe_stop_open,
	.make_safe = probe_stop_make_safe,
	.close = probe_stop_close,
	.check = probe_stop_check,
	.trigger = &probe_stop_trigger,
};
