/*
 * probe-watchpoint: a trigger that counts the DUT's writes to an address or a small range, such as
 * a register that begins a flash operation, and fires right after the N-th.
 */
#include "probe_stop.h"

#define SIZE_MAX_BYTES 0x8000 /* what one comparator of Armv7-M's DWT takes, and OpenOCD sets */

static const struct driver_option options[] = {
	{"address", OPTION_INTEGER, true, NULL, "what is watched for writes; a multiple of size"},
	{"size", OPTION_INTEGER, false, "4", "bytes: 1, 2, 4 … 32768"},
	{"trace", OPTION_BOOLEAN, false, "true", "count from a mark on, not only for an armed cut"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

extern const struct driver driver_probe_watchpoint;

static struct device *watchpoint_create(const struct driver_env *env, json_t *opts, struct err *e)
{
	json_int_t address = json_integer_value(json_object_get(opts, "address"));
	json_int_t size = json_integer_value(json_object_get(opts, "size"));

	if (size < 1 || size > SIZE_MAX_BYTES || (size & (size - 1))) {
		err_set(e, ERR_CONFIG,
			"size must be 1, 2, 4 … 32768: the debug unit compares address bits");
		return NULL;
	}
	if (address < 0 || address > (json_int_t)UINT32_MAX || address % size) {
		err_set(e, ERR_CONFIG, "address must be of 32 bits, and a multiple of size");
		return NULL;
	}
	return probe_stop_create(env, &driver_probe_watchpoint, "watchpoint",
		json_pack("{s:[I, I]}", "watch", address, size),
		json_is_true(json_object_get(opts, "trace")), e);
}

const struct driver driver_probe_watchpoint = {
	.name = "probe-watchpoint",
	.help = "a trigger at a write of the DUT's, through its debug probe",
	.options = options,
	.needs_probe = true,
	.create = watchpoint_create,
	.open = probe_stop_open,
	.make_safe = probe_stop_make_safe,
	.close = probe_stop_close,
	.check = probe_stop_check,
	.trigger = &probe_stop_trigger,
};
