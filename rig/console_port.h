/*
 * The console of a board as a transport driver sees it: bytes out, lines in. The keeper owns it.
 */
#ifndef RIG_CONSOLE_PORT_H
#define RIG_CONSOLE_PORT_H

#include <stddef.h>

struct op;
struct console_port;

/* Sends bytes to the DUT. data is borrowed for the call only. */
void console_port_write(struct console_port *port, const char *data, size_t len, struct op *op);

/*
 * Has fn called with every line that comes in (without its line end) since the last power-on. One
 * subscriber; NULL ends it. fn is also called with line NULL when the power goes, so that what
 * waits for an answer can stop waiting.
 */
void console_port_subscribe(
	struct console_port *port, void (*fn)(void *arg, const char *line, size_t len), void *arg);

#endif
