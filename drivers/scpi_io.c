#include "scpi_io.h"

#include "../rig/op.h"
#include "serial_port.h"
#include "tcp_link.h"

#include <stdlib.h>

struct scpi_io {
	uv_loop_t *loop;
	const struct scpi_io_handlers *handlers;
	void *arg;
	struct tcp_link *link;    /* this one or */
	struct serial_port *port; /* this */
	struct op *opening;       /* of the port */
	bool closing;
};

/* --- TCP -------------------------------------------------------------------------------------- */

static void link_up(void *arg)
{
	struct scpi_io *io = arg;

	io->handlers->up(io->arg);
}

static void link_down(void *arg, const struct err *e)
{
	struct scpi_io *io = arg;

	io->handlers->down(io->arg, e);
}

static void bytes_in(void *arg, const char *data, size_t len)
{
	struct scpi_io *io = arg;

	if (!io->closing)
		io->handlers->in(io->arg, data, len);
}

static const struct tcp_link_handlers link_handlers = {link_up, link_down, bytes_in};

/* --- a serial port ---------------------------------------------------------------------------- */

static void port_lost(void *arg, const char *reason)
{
	struct scpi_io *io = arg;
	struct err e;

	err_set(&e, ERR_BENCH, "%s", reason);
	if (!io->closing && !io->opening)
		io->handlers->down(io->arg, &e);
}

/* bytes, lost; that it is back is seen when it is used again */
static const struct serial_port_handlers port_handlers = {.bytes = bytes_in, .lost = port_lost};

static void port_opened(void *arg, const struct err *e, json_t *result)
{
	struct scpi_io *io = arg;
	struct err why;

	(void)result;
	io->opening = NULL;
	if (io->closing || (e && e->code == ERR_CANCELLED))
		return;
	if (!e) {
		io->handlers->up(io->arg);
		return;
	}
	why = *e;
	if (why.code == ERR_TIMEOUT)
		why.code = ERR_BENCH;
	io->handlers->down(io->arg, &why);
}

static void cancel_opening(struct scpi_io *io)
{
	struct err why;

	err_set(&why, ERR_CANCELLED, "given up");
	if (io->opening)
		op_cancel(io->opening, &why);
}

/* --- either ----------------------------------------------------------------------------------- */

void scpi_io_connect(struct scpi_io *io, unsigned timeout_ms)
{
	if (io->link) {
		tcp_link_connect(io->link, timeout_ms);
		return;
	}
	if (io->opening)
		return;
	io->opening = op_start(io->loop, "opening the port", timeout_ms, port_opened, io);
	if (!io->opening)
		abort();
	serial_port_open(io->port, io->opening);
}

bool scpi_io_is_up(const struct scpi_io *io)
{
	return io->link ? tcp_link_is_up(io->link) : serial_port_is_open(io->port);
}

bool scpi_io_may_be_stale(const struct scpi_io *io)
{
	return io->port != NULL;
}

void scpi_io_drop(struct scpi_io *io)
{
	if (io->link)
		tcp_link_drop(io->link, NULL);
	else
		cancel_opening(io);
}

void scpi_io_send(struct scpi_io *io, const char *data, size_t len)
{
	if (io->link)
		tcp_link_write(io->link, data, len, NULL);
	else
		serial_port_write(io->port, data, len, NULL);
}

const char *scpi_io_port(const struct scpi_io *io)
{
	return io->port ? serial_port_name(io->port) : NULL;
}

static int take_link(struct scpi_io *io, json_t *options, struct err *e)
{
	const char *host = json_string_value(json_object_get(options, "host"));
	json_int_t port = json_integer_value(json_object_get(options, "port"));

	if (port < 1 || port > 65535)
		return err_set(e, ERR_CONFIG, "port must be 1 to 65535");
	io->link = tcp_link_create(io->loop, host, (unsigned)port, &link_handlers, io);
	return io->link ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static int take_port(struct scpi_io *io, json_t *options, struct err *e)
{
	const struct serial_port_conf conf = {
		.loop = io->loop, .options = options, .handlers = &port_handlers, .arg = io};

	io->port = serial_port_create(&conf, e);
	return io->port ? 0 : -(int)e->code;
}

struct scpi_io *scpi_io_create(uv_loop_t *loop, json_t *options,
	const struct scpi_io_handlers *handlers, void *arg, struct err *e)
{
	bool host = json_object_get(options, "host") != NULL, port = serial_port_named(options);
	struct scpi_io *io;

	if (host == port) {
		err_set(e, ERR_CONFIG,
			"say where the instrument is: either host, or a serial port (usb_serial, "
			"usb_path, path …)");
		return NULL;
	}
	io = calloc(1, sizeof(*io));
	if (!io) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	io->loop = loop;
	io->handlers = handlers;
	io->arg = arg;
	if (host ? take_link(io, options, e) : take_port(io, options, e)) {
		free(io);
		return NULL;
	}
	return io;
}

struct ending {
	struct scpi_io *io;
	void (*closed)(void *arg);
	void *arg;
};

static void part_closed(void *arg)
{
	struct ending *ending = arg, it = *ending;

	free(ending);
	free(it.io);
	it.closed(it.arg);
}

void scpi_io_destroy(struct scpi_io *io, void (*closed)(void *arg), void *arg)
{
	struct ending *ending = malloc(sizeof(*ending));

	if (!ending)
		abort();
	*ending = (struct ending){io, closed, arg};
	io->closing = true;
	cancel_opening(io);
	if (io->link)
		tcp_link_destroy(io->link, part_closed, ending);
	else
		serial_port_close(io->port, part_closed, ending);
}
