#include "tcp_link.h"

#include "../rig/op.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A peer that answers nothing is given up after about ten seconds. */
#define KEEP_IDLE_S 4
#define KEEP_INTERVAL_S 2
#define KEEP_COUNT 3
#define UNACKED_MS 10000
#define DRAIN_READS 256

/* One attempt to connect, and the connection that comes of it. */
struct conn {
	uv_tcp_t tcp;
	uv_connect_t connecting;
	struct tcp_link *link; /* NULL: given up */
};

struct lookup {
	uv_getaddrinfo_t req;
	struct tcp_link *link; /* NULL: given up */
};

struct sending {
	uv_write_t req;
	struct tcp_link *link;
	struct op *op; /* NULL: nobody asks any more */
	struct sending *next;
	char data[];
};

struct tcp_link {
	uv_loop_t *loop;
	char *host;
	unsigned port;
	const struct tcp_link_handlers *handlers;
	void *arg;
	struct lookup *lookup;         /* under way */
	struct addrinfo *found, *next; /* all addresses, and the one to be tried next */
	struct conn *conn;
	struct sending *sendings;
	bool up;
	uv_timer_t deadline;
	struct err tried; /* why the last address did not do */
	void (*closed)(void *arg);
	void *closed_arg;
	char in[16384];
};

/* --- going down ------------------------------------------------------------------------------- */

static void conn_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void forget_attempt(struct tcp_link *link)
{
	uv_timer_stop(&link->deadline);
	if (link->lookup)
		link->lookup->link = NULL;
	link->lookup = NULL;
	if (link->found)
		uv_freeaddrinfo(link->found);
	link->found = link->next = NULL;
	if (link->conn) {
		link->conn->link = NULL;
		uv_close((uv_handle_t *)&link->conn->tcp, conn_closed);
	}
	link->conn = NULL;
	link->up = false;
}

static void fail_sendings(struct tcp_link *link, const struct err *e)
{
	while (link->sendings) {
		struct sending *s = link->sendings;
		struct op *op = s->op;

		link->sendings = s->next;
		s->link = NULL; /* freed by its request's end */
		s->op = NULL;
		if (op) {
			op_on_cancel(op, NULL, NULL);
			op_fail(op, e);
		}
	}
}

static void go_down(struct tcp_link *link, const struct err *e)
{
	struct err why = *e;

	err_prefix(&why, "%.200s port %u", link->host, link->port);
	forget_attempt(link);
	link->handlers->down(link->arg, &why);
	fail_sendings(link, &why);
}

static void go_down_uv(struct tcp_link *link, const char *what, int n)
{
	struct err e;

	if (n == UV_EOF)
		err_set(&e, ERR_BENCH, "it closed the connection");
	else
		err_set(&e, ERR_BENCH, "%s%s", what, uv_strerror(n));
	go_down(link, &e);
}

void tcp_link_drop(struct tcp_link *link, const struct err *why)
{
	struct err e;

	err_set(&e, ERR_BENCH, "%.200s port %u: the connection was given up", link->host,
		link->port);
	forget_attempt(link);
	fail_sendings(link, why ? why : &e);
}

/* --- coming up -------------------------------------------------------------------------------- */

static void in_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct conn *conn = handle->data;

	(void)suggested;
	*buf = conn->link ? uv_buf_init(conn->link->in, sizeof(conn->link->in))
			  : uv_buf_init(NULL, 0);
}

static void in_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct conn *conn = stream->data;

	if (!conn->link || n == 0)
		return;
	if (n > 0)
		conn->link->handlers->in(conn->link->arg, buf->base, (size_t)n);
	else
		go_down_uv(conn->link, "", (int)n);
}

static void set_keepalive(uv_tcp_t *tcp)
{
	static const int on = 1, idle = KEEP_IDLE_S, interval = KEEP_INTERVAL_S, count = KEEP_COUNT;
	static const unsigned unacked = UNACKED_MS;
	uv_os_fd_t fd;

	if (uv_fileno((uv_handle_t *)tcp, &fd) != 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked, sizeof(unacked));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void try_next(struct tcp_link *link);

static void connected(uv_connect_t *req, int status)
{
	struct conn *conn = req->data;
	struct tcp_link *link = conn->link;

	if (!link)
		return;
	if (status < 0) {
		err_set(&link->tried, ERR_BENCH, "%s%s", uv_strerror(status),
			status == UV_ECONNREFUSED ? " (does the program listen there?)" : "");
		link->conn = NULL;
		uv_close((uv_handle_t *)&conn->tcp, conn_closed);
		try_next(link);
		return;
	}
	uv_timer_stop(&link->deadline);
	uv_freeaddrinfo(link->found);
	link->found = link->next = NULL;
	set_keepalive(&conn->tcp);
	link->up = true;
	uv_read_start((uv_stream_t *)&conn->tcp, in_buffer, in_read);
	link->handlers->up(link->arg);
}

static void try_next(struct tcp_link *link)
{
	struct addrinfo *to = link->next;
	struct conn *conn = to ? calloc(1, sizeof(*conn)) : NULL;
	int n;

	if (!conn) {
		go_down(link, &link->tried);
		return;
	}
	link->next = to->ai_next;
	uv_tcp_init(link->loop, &conn->tcp);
	conn->tcp.data = conn->connecting.data = conn;
	conn->link = link;
	link->conn = conn;
	n = uv_tcp_connect(&conn->connecting, &conn->tcp, to->ai_addr, connected);
	if (n != 0)
		connected(&conn->connecting, n);
}

static void looked_up(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
	struct lookup *lookup = (struct lookup *)req;
	struct tcp_link *link = lookup->link;

	free(lookup);
	if (!link) {
		uv_freeaddrinfo(found);
		return;
	}
	link->lookup = NULL;
	if (status < 0) {
		go_down_uv(link, "the host's name cannot be resolved: ", status);
		return;
	}
	link->found = link->next = found;
	try_next(link);
}

static void deadline_passed(uv_timer_t *timer)
{
	struct err e;

	err_set(&e, ERR_BENCH, "it does not answer: is it on, and is the address right?");
	go_down(timer->data, &e);
}

void tcp_link_connect(struct tcp_link *link, unsigned timeout_ms)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char port[8];
	int n;

	if (link->lookup || link->conn)
		return;
	link->lookup = calloc(1, sizeof(*link->lookup));
	if (!link->lookup)
		abort();
	link->lookup->link = link;
	err_set(&link->tried, ERR_BENCH, "it has no address");
	uv_update_time(link->loop);
	uv_timer_start(&link->deadline, deadline_passed, timeout_ms, 0);
	snprintf(port, sizeof(port), "%u", link->port);
	n = uv_getaddrinfo(link->loop, &link->lookup->req, looked_up, link->host, port, &hints);
	if (n != 0)
		abort(); /* only for want of memory */
}

bool tcp_link_is_up(const struct tcp_link *link)
{
	return link->up;
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void sent(uv_write_t *req, int status)
{
	struct sending *s = (struct sending *)req;
	struct tcp_link *link = s->link;
	struct op *op = s->op;

	/* one that was failed with its connection is on no list any more */
	if (link) {
		struct sending **at = &link->sendings;

		while (*at != s)
			at = &(*at)->next;
		*at = s->next;
	}
	free(s);
	if (!op || !link)
		return;
	op_on_cancel(op, NULL, NULL);
	if (status < 0)
		op_failf(op, ERR_BENCH, "%.200s port %u: %s", link->host, link->port,
			uv_strerror(status));
	else
		op_done(op, NULL);
}

static void sending_given_up(struct op *op, void *arg)
{
	struct sending *s = arg;

	(void)op;
	s->op = NULL;
}

void tcp_link_write(struct tcp_link *link, const char *data, size_t len, struct op *op)
{
	struct sending *s = link->up ? malloc(sizeof(*s) + len) : NULL;
	uv_buf_t buf;

	if (!s) {
		if (op)
			op_failf(op, ERR_BENCH, "%.200s port %u: not connected", link->host,
				link->port);
		return;
	}
	memcpy(s->data, data, len);
	s->link = link;
	s->op = op;
	s->next = link->sendings;
	link->sendings = s;
	buf = uv_buf_init(s->data, (unsigned)len);
	if (op)
		op_on_cancel(op, sending_given_up, s);
	if (uv_write(&s->req, (uv_stream_t *)&link->conn->tcp, &buf, 1, sent) != 0)
		sent(&s->req, UV_EPIPE);
}

void tcp_link_drain(struct tcp_link *link)
{
	uv_os_fd_t fd;
	ssize_t n = 1;

	for (int i = 0; link->up && n > 0 && i < DRAIN_READS; i++) {
		if (uv_fileno((uv_handle_t *)&link->conn->tcp, &fd) != 0)
			return;
		/* the end of file stays there for the loop's own read */
		n = read(fd, link->in, sizeof(link->in));
		if (n > 0)
			link->handlers->in(link->arg, link->in, (size_t)n);
	}
}

/* --- its life --------------------------------------------------------------------------------- */

struct tcp_link *tcp_link_create(uv_loop_t *loop, const char *host, unsigned port,
	const struct tcp_link_handlers *handlers, void *arg)
{
	struct tcp_link *link = calloc(1, sizeof(*link));

	if (link)
		link->host = strdup(host);
	if (!link || !link->host) {
		free(link);
		return NULL;
	}
	link->loop = loop;
	link->port = port;
	link->handlers = handlers;
	link->arg = arg;
	uv_timer_init(loop, &link->deadline);
	link->deadline.data = link;
	return link;
}

static void deadline_closed(uv_handle_t *handle)
{
	struct tcp_link *link = handle->data;
	void (*closed)(void *arg) = link->closed;
	void *arg = link->closed_arg;

	free(link->host);
	free(link);
	closed(arg);
}

void tcp_link_destroy(struct tcp_link *link, void (*closed)(void *arg), void *arg)
{
	struct err e;

	err_set(&e, ERR_GONE, "the device was closed");
	forget_attempt(link);
	fail_sendings(link, &e);
	link->closed = closed;
	link->closed_arg = arg;
	uv_close((uv_handle_t *)&link->deadline, deadline_closed);
}
