/* probe-breakpoint: a probe that can be unplugged (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_PROBE_BREAKPOINT_H
#define TESTS_CONTRACTS_PROBE_BREAKPOINT_H

#include "probe_stop.h"

static const struct contract contract_probe_breakpoint = {
	.driver = "probe-breakpoint",
	.options = "{\"address\": 1328, \"register\": \"r0\"}",
	.setup = probe_stop_setup,
	.teardown = probe_stop_teardown,
	.mend = probe_stop_mend,
	.start_good = probe_stop_start,
	.start_stuck = probe_stop_start_stuck,
	.unstick = probe_stop_mend,
	.unplug = probe_stop_unplug,
};

#endif
