/*
 * Apart from console.c, so that a test of a driver can be its console.
 */
#include "console_port_priv.h"

void console_port_write(struct console_port *port, const char *data, size_t len, struct op *op)
{
	port->write(port->write_arg, data, len, op);
}

void console_port_listen(struct console_port *port, struct console_listener *listener)
{
	struct console_listener **at = &port->listeners;

	while (*at)
		at = &(*at)->next;
	listener->next = NULL;
	*at = listener;
}

void console_port_unlisten(struct console_port *port, struct console_listener *listener)
{
	struct console_listener **at = &port->listeners;

	while (*at && *at != listener)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = listener->next;
	for (struct telling *t = port->telling; t; t = t->outer)
		if (t->next == listener)
			t->next = listener->next;
}
