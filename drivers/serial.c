/*
 * serial: a console on a serial port of this host.
 */
#include "driver.h"
#include "serial_port.h"

#include <stdio.h>
#include <stdlib.h>

struct serial {
	struct device dev;
	struct driver_env env;
	struct serial_port *port;
	bool of_dut;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {SERIAL_PORT_NAME_OPTIONS,
	SERIAL_PORT_LINE_OPTIONS("115200"),
	{"of_dut", OPTION_BOOLEAN, false, "false",
		"whether the port is the DUT's own (USB CDC-ACM), which comes and goes with its power"},
	{NULL, OPTION_STRING, false, NULL, NULL}};

static struct serial *serial_of(struct device *dev)
{
	return (struct serial *)dev;
}

/* --- what the port tells ---------------------------------------------------------------------- */

static void tell(struct serial *s, const char *name, const char *field, const char *text)
{
	s->env.event(s->env.arg, name, json_pack("{s:s}", field, text));
}

static void came_in(void *arg, const char *data, size_t len)
{
	struct serial *s = arg;

	if (s->env.console_in)
		s->env.console_in(s->env.arg, data, len);
}

static void was_lost(void *arg, const char *reason)
{
	struct serial *s = arg;

	if (!s->of_dut)
		tell(s, "lost", "reason", reason);
}

static void is_back(void *arg, const char *name, uint64_t gone_ms)
{
	struct serial *s = arg;
	char text[768];

	if (s->of_dut)
		return;
	snprintf(text, sizeof(text),
		"%s was gone for %llu ms: what the DUT said meanwhile is missing here", name,
		(unsigned long long)gone_ms);
	tell(s, "back", "text", text);
}

static void is_worth_a_note(void *arg, const char *text)
{
	tell(arg, "note", "text", text);
}

static const struct serial_port_handlers handlers = {came_in, was_lost, is_back, is_worth_a_note};

/* --- the driver ------------------------------------------------------------------------------- */

extern const struct driver driver_serial;

static struct device *serial_create(const struct driver_env *env, json_t *opts, struct err *e)
{
	struct serial *s = calloc(1, sizeof(*s));
	struct serial_port_conf conf = {
		.loop = env->loop, .options = opts, .handlers = &handlers, .arg = s};

	if (!s) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	s->dev.driver = &driver_serial;
	s->env = *env;
	s->of_dut = conf.may_be_absent = json_is_true(json_object_get(opts, "of_dut"));
	s->port = serial_port_create(&conf, e);
	if (s->port)
		return &s->dev;
	free(s);
	return NULL;
}

static void serial_open(struct device *dev, struct op *op)
{
	serial_port_open(serial_of(dev)->port, op);
}

/* Safe is as rig.conf has the lines: a DUT may be held in reset by one of them. */
static void serial_make_safe(struct device *dev, struct op *op)
{
	serial_port_reset_lines(serial_of(dev)->port, op);
}

static void port_closed(void *arg)
{
	struct serial *s = arg;
	void (*closed)(void *arg) = s->closed;
	void *closed_arg = s->closed_arg;

	free(s);
	closed(closed_arg);
}

static void serial_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct serial *s = serial_of(dev);

	s->closed = closed;
	s->closed_arg = arg;
	serial_port_close(s->port, port_closed, s);
}

static void serial_check(struct device *dev, struct op *op)
{
	serial_port_check(serial_of(dev)->port, op);
}

static int serial_scan(json_t *found, struct err *e)
{
	return serial_port_scan(
		found, NULL, "console = { driver = \"serial\", %s, baud = 115200 },", e);
}

static void console_write(struct device *dev, const char *data, size_t len, struct op *op)
{
	serial_port_write(serial_of(dev)->port, data, len, op);
}

static void console_drain(struct device *dev)
{
	serial_port_drain(serial_of(dev)->port);
}

static void modem_set(struct device *dev, json_t *lines, struct op *op)
{
	serial_port_set_lines(serial_of(dev)->port, lines, op);
}

static const struct console_ops console_ops = {console_write, console_drain};
static const struct modem_ops modem_ops = {modem_set};

const struct driver driver_serial = {
	.name = "serial",
	.help = "a console on a serial port of this host",
	.options = options,
	.create = serial_create,
	.open = serial_open,
	.make_safe = serial_make_safe,
	.close = serial_close,
	.check = serial_check,
	.scan = serial_scan,
	.console = &console_ops,
	.modem = &modem_ops,
};
