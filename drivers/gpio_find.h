/*
 * Finding a line on the GPIO chips of this host (drivers/gpio.h).
 */
#ifndef DRIVERS_GPIO_FIND_H
#define DRIVERS_GPIO_FIND_H

#include "gpio_lib.h"

#include <limits.h>

/* Where a line was found. */
struct gpio_place {
	char path[PATH_MAX]; /* of its chip */
	struct gpio_chip_info chip;
	struct gpio_line_info line;
	unsigned number;
	char where[160]; /* as messages name it */
};

/* The line as it was asked for, for messages: "gpiochip0 line 3". */
void gpio_spec_text(const struct gpio_spec *spec, char *buf, size_t size);

/* Finds the line of spec and opens its chip, which is the caller's to close. ERR_BENCH: there is
 * none, or more than one, or the chip cannot be opened; the message lists what there is. */
int gpio_find(const struct gpio_spec *spec, struct gpio_place *place, struct gpio_chip **chip,
	struct err *e);

#endif
