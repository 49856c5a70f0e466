/*
 * gpio-line: a line of the DUT's that this host asserts or lets go of: reset, or a strap that says
 * how the DUT boots.
 *
 * To let go of a line is to drive nothing: one that is held at its inactive level feeds a DUT
 * without power through its pins. So the line is open by default: an open drain when it is active
 * low, an open source when it is active high; the resistor on the DUT's side does the rest.
 */
#include "driver.h"

#include "gpio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct gpio_pin {
	struct device dev;
	struct driver_env env;
	struct gpio_hold *hold;
	bool open_drive;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	{"chip", OPTION_STRING, false, NULL, "the GPIO chip: its name, its label or a path"},
	{"line", OPTION_INTEGER, false, NULL, "the line's number on the chip"},
	{"line_name", OPTION_STRING, false, NULL, "instead: the line's name, on any chip"},
	{"active_low", OPTION_BOOLEAN, false, "false",
		"low is asserted, as most reset lines have it"},
	{"drive", OPTION_STRING, false, "open",
		"open: drives only what is asserted, and lets go else; push-pull: drives both"},
	{"bias", OPTION_STRING, false, "as-is", GPIO_BIAS_HELP},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct gpio_pin *pin_of(struct device *dev)
{
	return (struct gpio_pin *)dev;
}

/* --- the line --------------------------------------------------------------------------------- */

/* Asserts, or lets go, and looks at the line. */
static int drive(struct gpio_pin *p, bool on, struct err *e)
{
	bool active;
	int ret = gpio_set(p->hold, 0, on, e);

	if (!ret)
		ret = gpio_get(p->hold, 0, &active, e);
	if (ret)
		return ret;
	/* one that was let go of may be held by another: that is what open lines are for */
	if (active != on && (on || !p->open_drive))
		return err_set(e, ERR_BENCH,
			"%s %s, and reads back %s: something else drives it, or it is shorted",
			gpio_where(p->hold, 0), on ? "was asserted" : "was let go of",
			active ? "asserted" : "not asserted");
	return 0;
}

static void pin_set(struct device *dev, bool on, struct op *op)
{
	struct err e;

	if (drive(pin_of(dev), on, &e) != 0)
		op_fail(op, &e);
	else
		op_done(op, NULL);
}

static void pin_get(struct device *dev, struct op *op)
{
	struct err e;
	bool on;

	if (gpio_get(pin_of(dev)->hold, 0, &on, &e) != 0)
		op_fail(op, &e);
	else
		op_done(op, json_pack("{s:b}", "on", on));
}

static void lost(void *arg, const char *reason)
{
	struct gpio_pin *p = arg;

	p->env.event(p->env.arg, "lost", json_pack("{s:s}", "reason", reason));
}

static void back(void *arg, const char *text)
{
	struct gpio_pin *p = arg;
	char said[256];

	snprintf(said, sizeof(said), "%s: the line is held again, and let go of", text);
	p->env.event(p->env.arg, "back", json_pack("{s:s}", "text", said));
}

static const struct gpio_hold_events hold_events = {lost, back, NULL};

/* --- the driver ------------------------------------------------------------------------------- */

static int read_options(struct gpio_pin *p, struct gpio_spec *spec, json_t *given, struct err *e)
{
	const char *how = json_string_value(json_object_get(given, "drive"));
	int ret = gpio_spec_read(spec, given, "", e);

	if (ret < 0)
		return ret;
	if (ret == 0)
		return err_set(e, ERR_CONFIG, "line (with chip) or line_name is missing");
	if (!how || (strcmp(how, "open") != 0 && strcmp(how, "push-pull") != 0))
		return err_set(e, ERR_CONFIG, "drive is \"open\" or \"push-pull\", not \"%.40s\"",
			how ? how : "");
	p->open_drive = strcmp(how, "open") == 0;
	spec->use = p->open_drive ? GPIO_OUTPUT_OPEN : GPIO_OUTPUT;
	return 0;
}

extern const struct driver driver_gpio_line;

static struct device *pin_create(const struct driver_env *env, json_t *given, struct err *e)
{
	struct gpio_spec spec = {.use = GPIO_OUTPUT_OPEN};
	struct gpio_pin *p = calloc(1, sizeof(*p));

	if (!p) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	p->dev.driver = &driver_gpio_line;
	p->env = *env;
	if (read_options(p, &spec, given, e) != 0) {
		free(p);
		return NULL;
	}
	p->hold = gpio_hold_create(env, &spec, 1, &hold_events, p);
	if (!p->hold) {
		err_set(e, ERR_NOMEM, "out of memory");
		free(p);
		return NULL;
	}
	return &p->dev;
}

static void pin_open(struct device *dev, struct op *op)
{
	struct err e;

	if (gpio_hold_open(pin_of(dev)->hold, &e) != 0)
		op_fail(op, &e);
	else
		op_done(op, NULL);
}

static void pin_check(struct device *dev, struct op *op)
{
	struct gpio_pin *p = pin_of(dev);
	char text[256];
	struct err e;

	if (gpio_describe(p->hold, 0, text, sizeof(text), &e) != 0)
		op_fail(op, &e);
	else
		op_done(op, json_pack("{s:[s], s:[]}", "says", text, "mend"));
}

static void pin_make_safe(struct device *dev, struct op *op)
{
	struct gpio_pin *p = pin_of(dev);
	struct err e;

	if (gpio_hold_open(p->hold, &e) != 0 || drive(p, false, &e) != 0) {
		err_prefix(&e, "the line cannot be let go of");
		op_fail(op, &e);
		return;
	}
	op_done(op, NULL);
}

static void hold_closed(void *arg)
{
	struct gpio_pin *p = arg;
	void (*closed)(void *arg) = p->closed;
	void *closed_arg = p->closed_arg;

	free(p);
	closed(closed_arg);
}

static void pin_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct gpio_pin *p = pin_of(dev);

	p->closed = closed;
	p->closed_arg = arg;
	gpio_hold_destroy(p->hold, hold_closed, p);
}

static const struct line_ops line_ops = {pin_set, pin_get};

const struct driver driver_gpio_line = {
	.name = "gpio-line",
	.help = "a reset line or a boot strap of the DUT's on a GPIO line",
	.options = options,
	.create = pin_create,
	.open = pin_open,
	.make_safe = pin_make_safe,
	.close = pin_close,
	.check = pin_check,
	.line = &line_ops,
};
