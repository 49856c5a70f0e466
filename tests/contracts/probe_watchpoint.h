/* probe-watchpoint: a probe that can be unplugged (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_PROBE_WATCHPOINT_H
#define TESTS_CONTRACTS_PROBE_WATCHPOINT_H

#include "probe_stop.h"

static const struct contract contract_probe_watchpoint = {
	.driver = "probe-watchpoint",
	.options = "{\"address\": 1073866240}",
	.setup = probe_stop_setup,
	.teardown = probe_stop_teardown,
	.mend = probe_stop_mend,
	.start_good = probe_stop_start,
	.start_stuck = probe_stop_start_stuck,
	.unstick = probe_stop_mend,
	.unplug = probe_stop_unplug,
};

#endif
