/*
 * check of the driver openocd: what the adapter says of itself and of the DUT, and what to mend.
 */
#ifndef DRIVERS_OPENOCD_CHECK_H
#define DRIVERS_OPENOCD_CHECK_H

struct device;
struct op;

/* As driver.h says; the result also has "volts", what the adapter measures at the DUT, if it can.
 */
void openocd_check(struct device *dev, struct op *op);

#endif
