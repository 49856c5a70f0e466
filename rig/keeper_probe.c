/*
 * The probe, lent to a trigger: while it has the DUT stop at a place, nobody else uses the probe.
 */
#include "keeper_priv.h"
#include "probe_port.h"

#include <stdlib.h>

#define RUN_WITHIN_MS (24 * 3600 * 1000) /* whoever asks has a deadline of its own */

struct probe_port {
	struct keeper *keeper;
	struct op *asked,
		*inner; /* what was asked for, and the probe's; NULL: nothing is under way */
};

bool keeper_probe_port_open(struct keeper *k)
{
	if (!k->probe_port)
		k->probe_port = calloc(1, sizeof(*k->probe_port));
	if (k->probe_port)
		k->probe_port->keeper = k;
	return k->probe_port != NULL;
}

void keeper_probe_port_close(struct keeper *k)
{
	free(k->probe_port);
	k->probe_port = NULL;
}

static void ended(void *arg, const struct err *e, json_t *result)
{
	struct probe_port *port = arg;
	struct op *asked = port->asked;

	port->keeper->slots[CAP_PROBE].lent = false;
	port->asked = port->inner = NULL;
	if (!asked)
		return;
	op_on_cancel(asked, NULL, NULL);
	if (e)
		op_fail(asked, e);
	else
		op_done(asked, json_incref(result));
}

static void cancelled(struct op *op, void *arg)
{
	struct probe_port *port = arg;
	struct err why;

	(void)op;
	port->asked = NULL;
	err_set(&why, ERR_CANCELLED, "the trigger gave it up");
	if (port->inner)
		op_cancel(port->inner, &why);
}

/* Takes the probe for op; false: op has failed. */
static bool borrow(struct probe_port *port, struct op *op)
{
	struct slot *slot = &port->keeper->slots[CAP_PROBE];
	const char *with = slot->busy ? slot->busy->method->name : "a trigger";

	if (slot->lost[0])
		op_failf(op, ERR_BENCH, "probe: lost: %s", slot->lost);
	else if (!slot->opened)
		op_failf(op, ERR_BENCH, "probe: it is not open");
	else if (slot->busy || slot->lent)
		op_failf(op, ERR_BUSY, "probe: busy with %s", with);
	else
		return slot->lent = true;
	return false;
}

void probe_port_run_until(struct probe_port *port, json_t *spec, struct op *op)
{
	struct slot *slot = &port->keeper->slots[CAP_PROBE];
	struct op *inner;

	if (!borrow(port, op))
		return;
	port->asked = op;
	op_on_cancel(op, cancelled, port);
	inner = keeper_op(port->keeper, "run until", RUN_WITHIN_MS, &port->inner, ended, port);
	slot->driver->probe->run_until(slot->dev, spec, inner);
}

void probe_port_release(struct probe_port *port, struct op *op)
{
	struct slot *slot = &port->keeper->slots[CAP_PROBE];

	if (!borrow(port, op))
		return;
	port->asked = op;
	op_on_cancel(op, cancelled, port);
	slot->driver->probe->release(slot->dev,
		keeper_op(port->keeper, "release", RUN_WITHIN_MS, &port->inner, ended, port));
}
