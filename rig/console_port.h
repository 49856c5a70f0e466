/*
 * The console of a board as a driver with .needs_console sees it: bytes out, lines in. The keeper
 * owns it.
 */
#ifndef RIG_CONSOLE_PORT_H
#define RIG_CONSOLE_PORT_H

#include <stddef.h>
#include <stdint.h>

struct op;
struct console_port;

/* Sends bytes to the DUT. data is borrowed for the call only. */
void console_port_write(struct console_port *port, const char *data, size_t len, struct op *op);

/* Whoever listens to a console: a transport, a trigger. Part of its own memory. */
struct console_listener {
	/*
	 * Called with every line that comes in since the last power-on (without its line end;
	 * t_read_ns: when that end was read, by uv_hrtime()'s clock), from within the call that
	 * brings its bytes; and with line NULL when the power goes, after every line of before, so
	 * that what waits for one can stop waiting.
	 */
	void (*fn)(void *arg, const char *line, size_t len, uint64_t t_read_ns);
	void *arg;
	struct console_listener *next; /* the port's */
};

/* Adds one that does not listen yet; they hear in the order in which they came. It must stay where
 * it is until console_port_unlisten(), which may be called from any fn, and for one that does not
 * listen. */
void console_port_listen(struct console_port *port, struct console_listener *listener);
void console_port_unlisten(struct console_port *port, struct console_listener *listener);

#endif
