/*
 * The inside of a console's port, for console.c, which tells the listeners.
 */
#ifndef RIG_CONSOLE_PORT_PRIV_H
#define RIG_CONSOLE_PORT_PRIV_H

#include "console_port.h"

/* A telling of all listeners that is under way: of what, and who is next, unless it goes. */
struct telling {
	const char *line;
	size_t len;
	uint64_t t_read_ns;
	struct console_listener *next;
	struct telling *outer; /* that a listener's doing has come into */
};

struct console_port {
	struct console_listener *listeners;
	struct telling *telling;
	void (*write)(void *arg, const char *data, size_t len, struct op *op);
	void *write_arg;
};

#endif
