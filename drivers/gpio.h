/*
 * Lines of the kernel's GPIO chips, as several drivers hold them. Not a driver.
 *
 * A gpio_hold is the lines of one device. They are requested together and held until the hold is
 * destroyed, for a line's value reverts when its handle is closed. When a chip goes away (an
 * expander on USB) the hold says so, lets go of all its lines, and takes them up again when the
 * chip is back; both are seen by a watch of /dev, without polling.
 *
 * Values are logical: true is active, whatever the level. Reading and setting a line are system
 * calls made there and then: microseconds on the lines of a SoC, up to some milliseconds on an
 * expander, and nothing may stand between a trigger and its relay.
 */
#ifndef DRIVERS_GPIO_H
#define DRIVERS_GPIO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct driver_env;
struct err;

#define GPIO_LINES_MAX 16

enum gpio_use {
	GPIO_INPUT,
	GPIO_INPUT_BOTH,    /* an input whose edges are told */
	GPIO_INPUT_RISING,  /* inactive to active */
	GPIO_INPUT_FALLING, /* active to inactive */
	GPIO_OUTPUT,
	GPIO_OUTPUT_OPEN, /* drives when active, and lets go of the line else */
};

enum gpio_bias { GPIO_BIAS_AS_IS, GPIO_BIAS_PULL_UP, GPIO_BIAS_PULL_DOWN, GPIO_BIAS_DISABLED };

/* Which line, and what for. */
struct gpio_spec {
	char chip[64]; /* its name, its label or a path; "": whichever has a line of that name */
	char name[64]; /* of the line; "": number says which */
	unsigned number;
	enum gpio_use use;
	enum gpio_bias bias;
	bool active_low;
	bool value; /* what an output has from the start */
};

struct gpio_edge {
	uint64_t t_ns;   /* when, by CLOCK_MONOTONIC, which is uv_hrtime()'s clock */
	uint32_t number; /* counts the line's edges from 1 on, lost ones too; wraps */
	bool rising;     /* inactive to active */
};

/* What becomes of a hold; arg is gpio_hold_create()'s. Called from the loop, or from within
 * gpio_get(), gpio_set(), gpio_edges() and gpio_hold_open(). edges may be NULL. */
struct gpio_hold_events {
	void (*lost)(void *arg, const char *reason);
	void (*back)(void *arg, const char *text);
	void (*edges)(void *arg, size_t line); /* some wait to be read with gpio_edges() */
};

struct gpio_hold;

/*
 * Reads PREFIXchip, PREFIXline (an integer), PREFIXline_name, PREFIXactive_low and, where the
 * driver has them, PREFIXbias from a driver's options. Returns 1, 0 when neither line nor
 * line_name is given, or an error: ERR_CONFIG says which option is wrong.
 */
int gpio_spec_read(struct gpio_spec *spec, json_t *options, const char *prefix, struct err *e);

/* Makes spec's line that of item, which is a name or a number. ERR_CONFIG. */
int gpio_spec_line(struct gpio_spec *spec, const json_t *item, const char *option, struct err *e);

/* Does no I/O. specs (n of them, at most GPIO_LINES_MAX) and env are copied; events is borrowed
 * for the hold's life. NULL: out of memory. */
struct gpio_hold *gpio_hold_create(const struct driver_env *env, const struct gpio_spec *specs,
	size_t n, const struct gpio_hold_events *events, void *arg);

/* Finds and requests every line. Nothing is held when that fails (ERR_BENCH, with the mend; the
 * message names who holds a line that is taken). Does nothing when the lines are held. */
int gpio_hold_open(struct gpio_hold *h, struct err *e);

/* Lets go of the lines; closed(arg) is called when h is gone, maybe at once. */
void gpio_hold_destroy(struct gpio_hold *h, void (*closed)(void *arg), void *arg);

/* 0 when the lines are held; else ERR_BENCH, and why they are not. */
int gpio_hold_ready(const struct gpio_hold *h, struct err *e);

/* The line as messages name it: "gpiochip0 [label] line 3 (RELAY3)". Borrowed; of a line that was
 * never found, what was asked for. */
const char *gpio_where(const struct gpio_hold *h, size_t line);

/* ERR_BENCH. A chip that is found to be gone is told by events->lost before these return. */
int gpio_get(struct gpio_hold *h, size_t line, bool *active, struct err *e);
int gpio_set(struct gpio_hold *h, size_t line, bool active, struct err *e);

/* The edges that came, oldest first, at most max; 0: none wait. Returns how many, or an error. */
int gpio_edges(
	struct gpio_hold *h, size_t line, struct gpio_edge *edges, size_t max, struct err *e);

/* The line in one sentence, for `rig check`: where, direction, consumer, level. */
int gpio_describe(struct gpio_hold *h, size_t line, char *buf, size_t size, struct err *e);

/* Appends each chip of this host to found, as struct driver's scan does. */
int gpio_scan(json_t *found, struct err *e);

/* Names of the bias option: "as-is", "pull-up", "pull-down", "disabled". */
#define GPIO_BIAS_HELP "the line's own resistor: as-is, pull-up, pull-down or disabled"

#endif
