/* smp: a console whose device can fall silent (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_SMP_H
#define TESTS_CONTRACTS_SMP_H

#include "../driver_contract.h"

static void *smp_setup(struct driver_env *env)
{
	struct console_port *port = port_create(env->loop);

	env->console = port;
	return port;
}

static void smp_teardown(void *bench)
{
	port_destroy(bench);
}

static void smp_start(struct device *dev, struct op *op)
{
	json_t *params = json_pack(
		"{s:s, s:i, s:i, s:{s:s}}", "op", "write", "group", 0, "id", 0, "body", "d", "x");

	dev->driver->transport->request(dev, params, op);
	json_decref(params);
}

static void smp_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct console_port *port = bench;

	port->silent = true;
	smp_start(dev, op);
}

static void smp_unstick(void *bench)
{
	struct console_port *port = bench;

	port->silent = false;
}

static void smp_unplug(void *bench)
{
	port_power_lost(bench);
}

static const struct contract contract_smp = {"smp", "{}", smp_setup, smp_teardown, NULL,
	smp_unstick, smp_start, smp_start_stuck, smp_unstick, smp_unplug, true, NULL};

#endif
