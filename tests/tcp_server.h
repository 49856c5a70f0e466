/*
 * A TCP server on a loopback port of its own, on the test's loop, that misbehaves on demand.
 */
#ifndef TESTS_TCP_SERVER_H
#define TESTS_TCP_SERVER_H

#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

struct tcp_server;

struct tcp_peer {
	uv_tcp_t tcp;
	struct tcp_server *server;
	struct tcp_peer *next;
	void *user; /* the test's; freed with the peer */
	char in[65536];
};

struct tcp_server {
	uv_loop_t *loop;
	uv_tcp_t *listener; /* NULL: nobody listens */
	int reserved;       /* bound to the port as long as the server lives: nobody else gets it */
	unsigned port;
	struct tcp_peer *peers;
	bool deaf;                           /* reads nothing */
	bool closes;                         /* ends the connection at the next byte that comes */
	unsigned accepted;                   /* so far */
	void (*came)(struct tcp_peer *peer); /* may be NULL */
	void (*data)(struct tcp_peer *peer, const char *data, size_t len);
	void *arg;
};

static inline int tcp_server_bind(unsigned port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	assert_return_code(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static inline void tcp_server_free_handle(uv_handle_t *handle)
{
	free(handle);
}

static inline void tcp_peer_free(uv_handle_t *handle)
{
	struct tcp_peer *peer = handle->data;

	free(peer->user);
	free(peer);
}

static inline void tcp_peer_close(struct tcp_peer *peer)
{
	struct tcp_peer **at = &peer->server->peers;

	if (uv_is_closing((uv_handle_t *)&peer->tcp))
		return;
	while (*at != peer)
		at = &(*at)->next;
	*at = peer->next;
	uv_close((uv_handle_t *)&peer->tcp, tcp_peer_free);
}

static inline void tcp_peer_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct tcp_peer *peer = handle->data;

	(void)suggested;
	*buf = uv_buf_init(peer->in, sizeof(peer->in));
}

static inline void tcp_peer_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct tcp_peer *peer = stream->data;

	if (n < 0 || (n > 0 && peer->server->closes))
		tcp_peer_close(peer);
	else if (n > 0)
		peer->server->data(peer, buf->base, (size_t)n);
}

static inline void tcp_peer_send(struct tcp_peer *peer, const void *data, size_t len)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);

	if (!uv_is_closing((uv_handle_t *)&peer->tcp))
		assert_int_equal(uv_try_write((uv_stream_t *)&peer->tcp, &buf, 1), (int)len);
}

static inline void tcp_server_came(uv_stream_t *stream, int status)
{
	struct tcp_server *s = stream->data;
	struct tcp_peer *peer = calloc(1, sizeof(*peer));

	assert_int_equal(status, 0);
	peer->server = s;
	peer->tcp.data = peer;
	peer->next = s->peers;
	s->peers = peer;
	s->accepted++;
	uv_tcp_init(s->loop, &peer->tcp);
	assert_int_equal(uv_accept(stream, (uv_stream_t *)&peer->tcp), 0);
	uv_tcp_nodelay(&peer->tcp, 1);
	if (!s->deaf)
		uv_read_start((uv_stream_t *)&peer->tcp, tcp_peer_buffer, tcp_peer_read);
	if (s->came)
		s->came(peer);
}

/* It reads, or stops reading. */
static inline void tcp_server_deaf(struct tcp_server *s, bool deaf)
{
	s->deaf = deaf;
	for (struct tcp_peer *peer = s->peers; peer; peer = peer->next) {
		if (deaf)
			uv_read_stop((uv_stream_t *)&peer->tcp);
		else
			uv_read_start((uv_stream_t *)&peer->tcp, tcp_peer_buffer, tcp_peer_read);
	}
}

/* Listens, if it does not; on the port that it has from the first time on. */
static inline void tcp_server_up(struct tcp_server *s)
{
	int fd;

	if (s->listener)
		return;
	fd = tcp_server_bind(s->port);
	s->listener = calloc(1, sizeof(*s->listener));
	uv_tcp_init(s->loop, s->listener);
	s->listener->data = s;
	assert_int_equal(uv_tcp_open(s->listener, fd), 0);
	assert_int_equal(uv_listen((uv_stream_t *)s->listener, 16, tcp_server_came), 0);
}

/* Listens no more, and ends every connection. */
static inline void tcp_server_down(struct tcp_server *s)
{
	if (s->listener)
		uv_close((uv_handle_t *)s->listener, tcp_server_free_handle);
	s->listener = NULL;
	while (s->peers)
		tcp_peer_close(s->peers);
}

/* The rest of *s is the caller's to set before. */
static inline void tcp_server_start(struct tcp_server *s, uv_loop_t *loop)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	signal(SIGPIPE, SIG_IGN); /* as in a keeper */
	s->loop = loop;
	s->reserved = tcp_server_bind(0);
	assert_return_code(getsockname(s->reserved, (struct sockaddr *)&at, &len), 0);
	s->port = ntohs(at.sin_port);
	tcp_server_up(s);
}

static inline void tcp_server_end(struct tcp_server *s)
{
	tcp_server_down(s);
	close(s->reserved);
}

#endif
