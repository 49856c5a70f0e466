/* What the contracts of probe-breakpoint and probe-watchpoint share. */
#ifndef TESTS_CONTRACTS_PROBE_STOP_H
#define TESTS_CONTRACTS_PROBE_STOP_H

#include "../driver_contract.h"
#include "../scratch.h"

struct probe_stop_bench {
	void *scratch;
	struct probe_port *port;
};

static void *probe_stop_setup(struct driver_env *env)
{
	struct probe_stop_bench *b = calloc(1, sizeof(*b));

	assert_int_equal(scratch_setup(&b->scratch), 0);
	b->port = probe_port_create();
	env->probe = b->port;
	env->board_dir = ((struct scratch *)b->scratch)->dir;
	return b;
}

static void probe_stop_teardown(void *bench)
{
	struct probe_stop_bench *b = bench;

	probe_port_destroy(b->port);
	scratch_teardown(&b->scratch);
	free(b);
}

static void probe_stop_mend(void *bench)
{
	struct probe_stop_bench *b = bench;

	b->port->silent = b->port->gone = false;
}

static void probe_stop_start(struct device *dev, struct op *op)
{
	dev->driver->trigger->mark(dev, op);
}

static void probe_stop_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct probe_stop_bench *b = bench;

	b->port->silent = true;
	probe_stop_start(dev, op);
}

static void probe_stop_unplug(void *bench)
{
	struct probe_stop_bench *b = bench;

	b->port->gone = true;
	probe_port_fail(b->port, "probe: unplugged");
}

#endif
