/*
 * run_until of the driver openocd.
 */
#ifndef DRIVERS_OPENOCD_UNTIL_H
#define DRIVERS_OPENOCD_UNTIL_H

#include <jansson.h>

struct device;
struct op;

/* As probe_ops.run_until (driver.h). */
void openocd_run_until(struct device *dev, json_t *spec, struct op *op);

#endif
