/*
 * A trigger that has the board's probe stop the DUT at a place and counts how often it comes there.
 * What probe-breakpoint and probe-watchpoint share: all but the place.
 */
#ifndef DRIVERS_PROBE_STOP_H
#define DRIVERS_PROBE_STOP_H

#include "driver.h"

/*
 * create of driver.h. place: "break" or "watch" with what goes with it, as run_until's spec has it
 * (driver.h); stolen; NULL: out of memory. kind names the place in events ("breakpoint"); borrowed.
 * trace: whether a mark begins to count.
 */
struct device *probe_stop_create(const struct driver_env *env, const struct driver *driver,
	const char *kind, json_t *place, bool trace, struct err *e);

void probe_stop_open(struct device *dev, struct op *op);
void probe_stop_make_safe(struct device *dev, struct op *op);
void probe_stop_close(struct device *dev, void (*closed)(void *arg), void *arg);
void probe_stop_check(struct device *dev, struct op *op);

extern const struct trigger_ops probe_stop_trigger;

#endif
