/*
 * OpenOCD's command line, as the options of rig.conf and the board type have it.
 */
#ifndef DRIVERS_OPENOCD_ARGS_H
#define DRIVERS_OPENOCD_ARGS_H

#include <stdbool.h>
#include <stddef.h>

struct err;
struct openocd;

/* Arguments, ended by NULL. The strings at odd places are its own. */
struct openocd_args {
	const char *list[40];
	size_t n;
};

/* Fills in *a, to be finished also after a failure. ERR_BENCH: the virtual board does not run. */
int openocd_args_init(const struct openocd *oc, struct openocd_args *a, struct err *e);
void openocd_args_finish(struct openocd_args *a);

/* Whether the adapter cannot hold a line any more: the virtual board's, which is nowhere when the
 * board's process has ended. Of an adapter that is merely unplugged that is not known. */
bool openocd_adapter_ended(const struct openocd *oc);

#endif
