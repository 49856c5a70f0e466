/*
 * The bytes between us and an instrument: over TCP, or over a serial port.
 */
#ifndef DRIVERS_SCPI_IO_H
#define DRIVERS_SCPI_IO_H

#include "../rig/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct scpi_io;

/* None is called once scpi_io_destroy() was. */
struct scpi_io_handlers {
	void (*up)(void *arg); /* perhaps within scpi_io_connect() */
	/* It could not be reached, or went away. *e is ERR_BENCH and says where. */
	void (*down)(void *arg, const struct err *e);
	void (*in)(void *arg, const char *data, size_t len); /* borrowed for the call */
};

/* Checks the options (drivers/scpi.h); no I/O. Borrows the handlers. NULL: ERR_CONFIG or ERR_NOMEM.
 */
struct scpi_io *scpi_io_create(uv_loop_t *loop, json_t *options,
	const struct scpi_io_handlers *handlers, void *arg, struct err *e);

/* Reaches the instrument, within timeout_ms; up() or down() follows. */
void scpi_io_connect(struct scpi_io *io, unsigned timeout_ms);

bool scpi_io_is_up(const struct scpi_io *io);

/* Whether bytes may come that an earlier user of the line asked for. */
bool scpi_io_may_be_stale(const struct scpi_io *io);

/* Gives up the connection, or the attempt, without a call of down(). A serial port stays open. */
void scpi_io_drop(struct scpi_io *io);

/* Sends bytes; what cannot be sent is lost. data is borrowed for the call. */
void scpi_io_send(struct scpi_io *io, const char *data, size_t len);

/* Which serial port it is (drivers/serial_port.h), or NULL. */
const char *scpi_io_port(const struct scpi_io *io);

/* closed() is called when nothing of it is left on the loop. */
void scpi_io_destroy(struct scpi_io *io, void (*closed)(void *arg), void *arg);

#endif
