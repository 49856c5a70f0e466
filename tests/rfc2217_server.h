/*
 * A serial port server that speaks RFC 2217, and misbehaves on demand.
 */
#ifndef TESTS_RFC2217_SERVER_H
#define TESTS_RFC2217_SERVER_H

#include "drivers/telnet.h"
#include "tcp_server.h"

#include <stdio.h>

struct rfc2217_server {
	struct tcp_server tcp; /* first: its arg is this */
	bool mute;             /* says nothing until rfc2217_speak() */
	bool refuses;          /* RFC 2217 */
	bool not_binary;
	bool garbage;    /* in place of answers */
	bool byte_wise;  /* one byte at a time */
	bool no_lines;   /* does not answer to DTR and RTS */
	uint8_t wrong;   /* answers this command with another value */
	char said[4096]; /* "1=115200 2=8 …": what was set */
	char got[4096];  /* data */
	size_t got_len;
};

/* One for each connection. */
struct rfc2217_peer {
	struct tcp_peer *peer;
	struct telnet telnet;
	uint8_t held[4096];
	size_t held_len;
};

static inline struct rfc2217_server *rfc2217_of(struct rfc2217_peer *p)
{
	return (struct rfc2217_server *)p->peer->server;
}

static inline void rfc2217_send(void *arg, const uint8_t *data, size_t len)
{
	struct rfc2217_peer *p = arg;
	struct rfc2217_server *s = rfc2217_of(p);

	if (s->mute) {
		assert_true(p->held_len + len <= sizeof(p->held));
		memcpy(p->held + p->held_len, data, len);
		p->held_len += len;
		return;
	}
	if (s->garbage) {
		tcp_peer_send(p->peer, "\xff\xfa\x2c garbage \xff\xff\xff\xf0\xff", 16);
		return;
	}
	for (size_t i = 0; s->byte_wise && i < len; i++)
		tcp_peer_send(p->peer, data + i, 1);
	if (!s->byte_wise)
		tcp_peer_send(p->peer, data, len);
}

/* What it did not say while it was mute comes now, as from one that hung. */
static inline void rfc2217_speak(struct rfc2217_server *s)
{
	s->mute = false;
	for (struct tcp_peer *peer = s->tcp.peers; peer; peer = peer->next) {
		struct rfc2217_peer *p = peer->user;
		size_t len = p->held_len;

		p->held_len = 0;
		if (len)
			tcp_peer_send(peer, p->held, len);
	}
}

static inline void rfc2217_data(void *arg, const uint8_t *data, size_t len)
{
	struct rfc2217_peer *p = arg;
	struct rfc2217_server *s = rfc2217_of(p);

	assert_true(s->got_len + len <= sizeof(s->got));
	memcpy(s->got + s->got_len, data, len);
	s->got_len += len;
}

static inline void rfc2217_option(void *arg, uint8_t option, bool local, bool on)
{
	(void)arg;
	(void)option;
	(void)local;
	(void)on;
}

static inline void rfc2217_sub(void *arg, uint8_t option, const uint8_t *data, size_t len)
{
	struct rfc2217_peer *p = arg;
	struct rfc2217_server *s = rfc2217_of(p);
	size_t used = strlen(s->said);
	uint32_t value = 0;

	assert_int_equal(option, TELNET_COM_PORT);
	assert_true(len == 2 || (len == 5 && data[0] == COM_BAUD));
	for (size_t i = 1; i < len; i++)
		value = value << 8 | data[i];
	if (data[0] == COM_BAUD && !value) { /* it is asked for */
		telnet_com_port(&p->telnet, COM_BAUD + COM_ANSWER, 115200, 4);
		return;
	}
	snprintf(s->said + used, sizeof(s->said) - used, "%u=%u ", data[0], value);
	if (s->no_lines && data[0] == COM_CONTROL && value >= COM_DTR_ON && value <= COM_RTS_OFF)
		return;
	if (s->wrong == data[0])
		value++;
	telnet_com_port(&p->telnet, data[0] + COM_ANSWER, value, len - 1);
}

static const struct telnet_handlers rfc2217_handlers = {
	rfc2217_data, rfc2217_option, rfc2217_sub, rfc2217_send};

static inline void rfc2217_came(struct tcp_peer *peer)
{
	struct rfc2217_peer *p = calloc(1, sizeof(*p));
	struct rfc2217_server *s = (struct rfc2217_server *)peer->server;

	peer->user = p;
	p->peer = peer;
	telnet_init(&p->telnet, &rfc2217_handlers, p);
	if (!s->refuses)
		telnet_ask(&p->telnet, TELNET_COM_PORT, false);
	if (!s->not_binary) {
		telnet_ask(&p->telnet, TELNET_BINARY, false);
		telnet_ask(&p->telnet, TELNET_BINARY, true);
	}
}

static inline void rfc2217_in(struct tcp_peer *peer, const char *data, size_t len)
{
	struct rfc2217_peer *p = peer->user;

	telnet_receive(&p->telnet, (const uint8_t *)data, len);
}

static inline void rfc2217_start(struct rfc2217_server *s, uv_loop_t *loop)
{
	s->tcp.came = rfc2217_came;
	s->tcp.data = rfc2217_in;
	tcp_server_start(&s->tcp, loop);
}

#endif
