/*
 * A TCP connection for drivers: names resolved off the loop, a bounded time to connect, a dead peer
 * noticed by keepalive.
 */
#ifndef DRIVERS_TCP_LINK_H
#define DRIVERS_TCP_LINK_H

#include "../rig/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct op;
struct tcp_link;

/* None is called once tcp_link_destroy() was. */
struct tcp_link_handlers {
	void (*up)(void *arg);
	/* It could not be connected, or the connection ended. *e is ERR_BENCH and names host and
	 * port. What was being written fails after this. */
	void (*down)(void *arg, const struct err *e);
	void (*in)(void *arg, const char *data, size_t len); /* borrowed for the call */
};

/* Borrows the handlers, copies host. NULL: out of memory. */
struct tcp_link *tcp_link_create(uv_loop_t *loop, const char *host, unsigned port,
	const struct tcp_link_handlers *handlers, void *arg);

/* Connects, within timeout_ms; up() or down() follows, from the loop. Nothing while it is connected
 * or connecting already. */
void tcp_link_connect(struct tcp_link *link, unsigned timeout_ms);

bool tcp_link_is_up(const struct tcp_link *link);

/* Ends the connection, or the attempt, without a call of down(); what is being written fails with
 * *why, which may be NULL. */
void tcp_link_drop(struct tcp_link *link, const struct err *why);

/* Sends bytes; op, which may be NULL, is done when the kernel has them. data is borrowed for the
 * call. ERR_BENCH when it is not up or goes down, ERR_GONE when it is destroyed. */
void tcp_link_write(struct tcp_link *link, const char *data, size_t len, struct op *op);

/* Delivers what has arrived at this host. */
void tcp_link_drain(struct tcp_link *link);

/* closed() is called when nothing of it is left on the loop. */
void tcp_link_destroy(struct tcp_link *link, void (*closed)(void *arg), void *arg);

#endif
