/* scpi-psu: a supply on the loopback interface (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_SCPI_PSU_H
#define TESTS_CONTRACTS_SCPI_PSU_H

#include "../driver_contract.h"
#include "../fake_psu.h"

static void *scpi_psu_setup(struct driver_env *env)
{
	struct fake_psu *p = calloc(1, sizeof(*p));

	env->capability = "power";
	psu_start(p, env->loop);
	return p;
}

static void scpi_psu_teardown(void *bench)
{
	psu_end(bench);
}

static void scpi_psu_adapt(void *bench, json_t *options)
{
	struct fake_psu *p = bench;

	json_object_set_new(options, "port", json_integer(p->tcp.port));
}

static void scpi_psu_mend(void *bench)
{
	struct fake_psu *p = bench;

	p->mute = p->garbage = p->endless = p->tcp.closes = false;
	p->refuses = NULL;
	tcp_server_up(&p->tcp);
}

static bool scpi_psu_break_open(void *bench, unsigned step, json_t *options)
{
	struct fake_psu *p = bench;

	json_object_set_new(options, "answer_ms", json_integer(200));
	switch (step) {
	case 0:
		tcp_server_down(&p->tcp);
		break;
	case 1:
		p->mute = true;
		break;
	case 2:
		p->tcp.closes = true;
		break;
	case 3:
		p->garbage = true;
		break;
	case 4:
		p->endless = true;
		break;
	default:
		return false;
	}
	return true;
}

static void scpi_psu_set(struct device *dev, struct op *op)
{
	dev->driver->power->set(dev, true, op);
}

static void scpi_psu_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct fake_psu *p = bench;

	p->mute = true;
	scpi_psu_set(dev, op);
}

static void scpi_psu_unplug(void *bench)
{
	struct fake_psu *p = bench;

	tcp_server_down(&p->tcp);
}

static bool scpi_psu_is_on(void *bench)
{
	struct fake_psu *p = bench;

	return p->on;
}

static const struct contract contract_scpi_psu = {.driver = "scpi-psu",
	.options = "{\"host\": \"127.0.0.1\", \"volts\": 3.3, \"amps\": 0.5}",
	.setup = scpi_psu_setup,
	.teardown = scpi_psu_teardown,
	.adapt = scpi_psu_adapt,
	.break_open = scpi_psu_break_open,
	.mend = scpi_psu_mend,
	.start_good = scpi_psu_set,
	.start_stuck = scpi_psu_start_stuck,
	.unstick = scpi_psu_mend,
	.unplug = scpi_psu_unplug,
	.is_on = scpi_psu_is_on};

#endif
