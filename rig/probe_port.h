/*
 * The board's probe as a trigger driver sees it. The keeper owns it; while a trigger has it, others
 * find it busy.
 */
#ifndef RIG_PROBE_PORT_H
#define RIG_PROBE_PORT_H

#include <jansson.h>

struct op;
struct probe_port;

/* As probe_ops.run_until (drivers/driver.h). spec is borrowed. ERR_BUSY: something else is under
 * way on the probe. */
void probe_port_run_until(struct probe_port *port, json_t *spec, struct op *op);

/* Lets go of the debug port, as probe_ops.release. */
void probe_port_release(struct probe_port *port, struct op *op);

#endif
