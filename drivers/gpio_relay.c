/*
 * gpio-relay: power through relays, or load switches, on lines of a GPIO chip.
 *
 * An output that is read back says what is driven, not what a relay makes of it. That it reads
 * otherwise than it was set is an error (something else drives the line); that it reads the same
 * verifies nothing. What does is a sense line, an input that sees the DUT's supply.
 *
 * Several lines are several rails: on in the order of rig.conf, off in the reverse order.
 */
#include "driver.h"

#include "gpio.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAFE_WITHIN_MS 8000 /* of the ten seconds that a keeper gives */

struct relay {
	struct device dev;
	struct driver_env env;
	struct gpio_hold *hold;
	size_t rails; /* lines 0 … of hold */
	bool sensed;  /* the line after the rails is the sense line */
	unsigned on_delay_ms, off_delay_ms, off_ms, sense_ms;
	struct op *op; /* that switches; NULL: none */
	bool wanted;
	bool safe;   /* op is make_safe's */
	size_t step; /* rails that are switched already */
	enum { SWITCHING, SETTLING, SENSING } phase;
	uv_timer_t timer;
	bool timer_closed, hold_closed;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	{"chip", OPTION_STRING, false, NULL, "the GPIO chip: its name, its label or a path"},
	{"line", OPTION_INTEGER, false, NULL, "the line's number on the chip"},
	{"line_name", OPTION_STRING, false, NULL, "instead: the line's name, on any chip"},
	{"lines", OPTION_LIST, false, NULL,
		"instead: several lines, numbers or names, on in this order and off in reverse"},
	{"active_low", OPTION_BOOLEAN, false, "false", "the relay is on when the line is low"},
	{"on_delay_ms", OPTION_INTEGER, false, "0", "between one line and the next, going on"},
	{"off_delay_ms", OPTION_INTEGER, false, "0", "between one line and the next, going off"},
	{"off_ms", OPTION_INTEGER, false, "20", "how long the contacts take to open"},
	{"sense_chip", OPTION_STRING, false, NULL, "the chip of the sense line"},
	{"sense_line", OPTION_INTEGER, false, NULL,
		"an input that is active while the DUT has power: makes read-back of it"},
	{"sense_line_name", OPTION_STRING, false, NULL, "instead: its name, on any chip"},
	{"sense_active_low", OPTION_BOOLEAN, false, "false",
		"the sense line is low while the DUT has power"},
	{"sense_bias", OPTION_STRING, false, "as-is", GPIO_BIAS_HELP},
	{"sense_ms", OPTION_INTEGER, false, "500",
		"how long the sense line may take to follow the relay"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct relay *relay_of(struct device *dev)
{
	return (struct relay *)dev;
}

static const char *word(bool on)
{
	return on ? "on" : "off";
}

/* --- switching -------------------------------------------------------------------------------- */

/* Ends what is under way; e NULL: with success. */
static void finish(struct relay *r, const struct err *e)
{
	struct op *op = r->op;

	r->op = NULL;
	uv_timer_stop(&r->timer);
	if (!op)
		return;
	op_on_cancel(op, NULL, NULL);
	if (e)
		op_fail(op, e);
	else if (r->safe)
		op_done(op, NULL);
	else
		op_done(op, json_pack("{s:s}", "verified", r->sensed ? "read-back" : "none"));
}

static void end_with(struct relay *r, enum err_code code, const char *why)
{
	struct err e;

	err_set(&e, code, "%s", why);
	finish(r, &e);
}

static void forget(struct op *op, void *arg)
{
	struct relay *r = arg;

	(void)op;
	r->op = NULL;
	uv_timer_stop(&r->timer);
}

static void timer_came(uv_timer_t *timer);

static int check_driven(struct relay *r, struct err *e)
{
	bool active;
	int ret = 0;

	for (size_t i = 0; !ret && i < r->rails; i++) {
		ret = gpio_get(r->hold, i, &active, e);
		if (!ret && active != r->wanted)
			ret = err_set(e, ERR_BENCH,
				"set %s: %s reads back %s: something else drives it, or it is "
				"shorted",
				word(r->wanted), gpio_where(r->hold, i), word(active));
	}
	return ret;
}

static void sense_disagrees(struct relay *r)
{
	struct err e;

	err_set(&e, ERR_BENCH,
		"set %s: after %u ms the sense line %s says %s: the relay is stuck, the DUT is fed "
		"from elsewhere, or sense_active_low is wrong",
		word(r->wanted), r->sense_ms, gpio_where(r->hold, r->rails), word(!r->wanted));
	finish(r, &e);
}

/* Looks whether the sense line has come to agree. */
static void look_at_sense(struct relay *r)
{
	struct err e;
	bool active;

	if (gpio_get(r->hold, r->rails, &active, &e) != 0)
		finish(r, &e);
	else if (active == r->wanted)
		finish(r, NULL);
}

static void settled(struct relay *r)
{
	struct err e;

	if (check_driven(r, &e) != 0) {
		finish(r, &e);
		return;
	}
	if (!r->sensed) {
		finish(r, NULL);
		return;
	}
	r->phase = SENSING;
	uv_timer_start(&r->timer, timer_came, r->sense_ms, 0);
	look_at_sense(r);
}

/* Switches the rails that are left, till one has to wait for its delay. */
static void switch_rails(struct relay *r)
{
	unsigned delay_ms = r->wanted ? r->on_delay_ms : r->off_delay_ms;
	struct err e;

	while (r->step < r->rails) {
		size_t rail = r->wanted ? r->step : r->rails - 1 - r->step;

		if (gpio_set(r->hold, rail, r->wanted, &e) != 0) {
			finish(r, &e);
			return;
		}
		if (++r->step < r->rails && delay_ms) {
			uv_timer_start(&r->timer, timer_came, delay_ms, 0);
			return;
		}
	}
	r->phase = SETTLING;
	if (!r->wanted && r->off_ms)
		uv_timer_start(&r->timer, timer_came, r->off_ms, 0);
	else
		settled(r);
}

static void timer_came(uv_timer_t *timer)
{
	struct relay *r = timer->data;

	if (r->phase == SWITCHING)
		switch_rails(r);
	else if (r->phase == SETTLING)
		settled(r);
	else
		sense_disagrees(r);
}

static void start(struct relay *r, bool on, bool safe, struct op *op)
{
	if (r->op)
		end_with(r, ERR_CANCELLED,
			safe ? "the board is made safe" : "switched again before it had settled");
	r->op = op;
	r->wanted = on;
	r->safe = safe;
	r->step = 0;
	r->phase = SWITCHING;
	op_on_cancel(op, forget, r);
	switch_rails(r);
}

static void relay_set(struct device *dev, bool on, struct op *op)
{
	start(relay_of(dev), on, false, op);
}

/* Whether there is power: as sensed, else whether any rail is driven. */
static int read_power(struct relay *r, bool *on, struct err *e)
{
	bool active = false;
	int ret = 0;

	*on = false;
	if (r->sensed)
		return gpio_get(r->hold, r->rails, on, e);
	for (size_t i = 0; !ret && i < r->rails; i++) {
		ret = gpio_get(r->hold, i, &active, e);
		*on |= !ret && active;
	}
	return ret;
}

static void relay_get(struct device *dev, struct op *op)
{
	struct err e;
	bool on;

	if (read_power(relay_of(dev), &on, &e) != 0)
		op_fail(op, &e);
	else
		op_done(op, json_pack("{s:b}", "on", on));
}

/* --- what becomes of the lines ---------------------------------------------------------------- */

static void lost(void *arg, const char *reason)
{
	struct relay *r = arg;

	end_with(r, ERR_BENCH, reason);
	r->env.event(r->env.arg, "lost", json_pack("{s:s}", "reason", reason));
}

static void back(void *arg, const char *text)
{
	struct relay *r = arg;
	char said[256];

	snprintf(said, sizeof(said), "%s: its lines are held again, and off", text);
	r->env.event(r->env.arg, "back", json_pack("{s:s}", "text", said));
}

static void edges(void *arg, size_t line)
{
	struct relay *r = arg;
	struct gpio_edge came[16];
	struct err e;

	while (gpio_edges(r->hold, line, came, 16, &e) > 0)
		;
	if (r->op && r->phase == SENSING)
		look_at_sense(r);
}

static const struct gpio_hold_events hold_events = {lost, back, edges};

/* --- create ----------------------------------------------------------------------------------- */

static int read_ms(json_t *given, const char *name, unsigned max, unsigned *ms, struct err *e)
{
	json_int_t value = json_integer_value(json_object_get(given, name));

	if (value < 0 || value > max)
		return err_set(e, ERR_CONFIG, "%s is 0 to %u milliseconds, not %lld", name, max,
			(long long)value);
	*ms = (unsigned)value;
	return 0;
}

static int read_delays(struct relay *r, json_t *given, struct err *e)
{
	int ret = read_ms(given, "on_delay_ms", SAFE_WITHIN_MS, &r->on_delay_ms, e);

	if (!ret)
		ret = read_ms(given, "off_delay_ms", SAFE_WITHIN_MS, &r->off_delay_ms, e);
	if (!ret)
		ret = read_ms(given, "off_ms", SAFE_WITHIN_MS, &r->off_ms, e);
	if (!ret)
		ret = read_ms(given, "sense_ms", SAFE_WITHIN_MS, &r->sense_ms, e);
	if (!ret && (r->rails - 1) * r->off_delay_ms + r->off_ms + r->sense_ms > SAFE_WITHIN_MS)
		ret = err_set(e, ERR_CONFIG,
			"off_delay_ms between %zu lines, off_ms and sense_ms are more than %u ms "
			"together: the board could not be made safe in time",
			r->rails, SAFE_WITHIN_MS);
	return ret;
}

/* The rails of rig.conf; returns how many, or an error. */
static int read_rails(struct gpio_spec *specs, json_t *given, struct err *e)
{
	json_t *list = json_object_get(given, "lines"), *item;
	struct gpio_spec first = {.use = GPIO_OUTPUT};
	int one = gpio_spec_read(&first, given, "", e), ret = 0;
	size_t i;

	if (one < 0)
		return one;
	if (one == 1 && list)
		return err_set(e, ERR_CONFIG, "lines stands instead of line and line_name");
	if (one == 1) {
		specs[0] = first;
		return 1;
	}
	if (!list)
		return err_set(e, ERR_CONFIG, "line (with chip), line_name or lines is missing");
	if (json_array_size(list) > GPIO_LINES_MAX - 1)
		return err_set(e, ERR_CONFIG, "lines: at most %d", GPIO_LINES_MAX - 1);
	json_array_foreach (list, i, item) {
		specs[i] = first;
		if (!ret)
			ret = gpio_spec_line(&specs[i], item, "lines", e);
		for (size_t j = 0; !ret && j < i; j++)
			if (specs[i].number == specs[j].number &&
				strcmp(specs[i].name, specs[j].name) == 0)
				ret = err_set(e, ERR_CONFIG, "lines: one is named twice");
	}
	return ret ? ret : (int)json_array_size(list);
}

static int read_options(
	struct relay *r, struct gpio_spec specs[GPIO_LINES_MAX], json_t *given, struct err *e)
{
	int n = read_rails(specs, given, e), sense;

	if (n < 0)
		return n;
	r->rails = (size_t)n;
	specs[n] = (struct gpio_spec){.use = GPIO_INPUT_BOTH};
	sense = gpio_spec_read(&specs[n], given, "sense_", e);
	if (sense < 0)
		return sense;
	r->sensed = sense == 1;
	return read_delays(r, given, e);
}

extern const struct driver driver_gpio_relay;

static struct device *relay_create(const struct driver_env *env, json_t *given, struct err *e)
{
	struct gpio_spec specs[GPIO_LINES_MAX];
	struct relay *r = calloc(1, sizeof(*r));

	if (!r) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	r->dev.driver = &driver_gpio_relay;
	r->env = *env;
	if (read_options(r, specs, given, e) != 0) {
		free(r);
		return NULL;
	}
	r->hold = gpio_hold_create(env, specs, r->rails + r->sensed, &hold_events, r);
	if (!r->hold) {
		err_set(e, ERR_NOMEM, "out of memory");
		free(r);
		return NULL;
	}
	uv_timer_init(env->loop, &r->timer);
	r->timer.data = r;
	return &r->dev;
}

/* --- open, check, safe, close ----------------------------------------------------------------- */

static void relay_open(struct device *dev, struct op *op)
{
	struct err e;

	if (gpio_hold_open(relay_of(dev)->hold, &e) != 0)
		op_fail(op, &e);
	else
		op_done(op, NULL);
}

static int check_lines(struct relay *r, json_t *says, struct err *e)
{
	char text[256];
	int ret = 0;

	for (size_t i = 0; !ret && i < r->rails + r->sensed; i++) {
		ret = gpio_describe(r->hold, i, text, sizeof(text), e);
		if (!ret && i == r->rails)
			json_array_append_new(says, json_sprintf("sense line %s", text));
		else if (!ret)
			json_array_append_new(says, json_string(text));
	}
	return ret;
}

static int check_sense(struct relay *r, json_t *says, json_t *mend, struct err *e)
{
	bool driven, sensed;
	int ret;

	if (!r->sensed) {
		json_array_append_new(says,
			json_string(
				"no sense line: whether the relay follows is not measured here, "
				"a power off is verified by the console or not at all"));
		return 0;
	}
	ret = gpio_get(r->hold, 0, &driven, e);
	if (!ret)
		ret = gpio_get(r->hold, r->rails, &sensed, e);
	if (!ret && driven != sensed && !r->op)
		json_array_append_new(mend,
			json_sprintf("the relay is set %s and the sense line says %s: look at the "
				     "relay, at the sense line's wiring, and at sense_active_low",
				word(driven), word(sensed)));
	return ret;
}

static void relay_check(struct device *dev, struct op *op)
{
	struct relay *r = relay_of(dev);
	json_t *says = json_array(), *mend = json_array();
	struct err e;

	if (check_lines(r, says, &e) != 0 || check_sense(r, says, mend, &e) != 0)
		op_fail(op, &e);
	else
		op_done(op, json_pack("{s:O, s:O}", "says", says, "mend", mend));
	json_decref(says);
	json_decref(mend);
}

static void relay_make_safe(struct device *dev, struct op *op)
{
	struct relay *r = relay_of(dev);
	struct err e;

	/* lines that are not held are off only as far as the hardware does that by itself */
	if (gpio_hold_open(r->hold, &e) != 0) {
		err_prefix(&e, "the relay cannot be switched off");
		op_fail(op, &e);
		return;
	}
	start(r, false, true, op);
}

static void part_closed(struct relay *r)
{
	void (*closed)(void *arg) = r->closed;
	void *arg = r->closed_arg;

	if (!r->timer_closed || !r->hold_closed)
		return;
	free(r);
	closed(arg);
}

static void hold_closed(void *arg)
{
	struct relay *r = arg;

	r->hold_closed = true;
	part_closed(r);
}

static void timer_closed(uv_handle_t *handle)
{
	struct relay *r = handle->data;

	r->timer_closed = true;
	part_closed(r);
}

static void relay_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct relay *r = relay_of(dev);

	end_with(r, ERR_GONE, "the device was closed");
	r->closed = closed;
	r->closed_arg = arg;
	uv_close((uv_handle_t *)&r->timer, timer_closed);
	gpio_hold_destroy(r->hold, hold_closed, r);
}

static const struct power_ops power_ops = {relay_set, relay_get};

const struct driver driver_gpio_relay = {
	.name = "gpio-relay",
	.help = "power through relays on GPIO lines, sensed by another line where there is one",
	.options = options,
	.create = relay_create,
	.open = relay_open,
	.make_safe = relay_make_safe,
	.close = relay_close,
	.check = relay_check,
	.scan = gpio_scan,
	.power = &power_ops,
};
