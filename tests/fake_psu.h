/*
 * A supply that speaks SCPI over TCP, and misbehaves on demand.
 */
#ifndef TESTS_FAKE_PSU_H
#define TESTS_FAKE_PSU_H

#include "tcp_server.h"

#include <stdio.h>
#include <strings.h>

struct fake_psu {
	struct tcp_server tcp; /* first */
	bool on;
	double volts; /* as set */
	double now;   /* at the terminals */
	char error[64];
	char log[65536]; /* every line, "; " behind each */
	bool mute, garbage, byte_wise, endless;
	bool late; /* each answer waits for the next line to come */
	bool crlf;
	bool stuck_on;       /* off does not switch off */
	bool fed;            /* something else feeds the board */
	bool trips;          /* a protection switches off at once */
	bool limits;         /* the current limit holds the voltage down */
	const char *refuses; /* commands that begin so are an error */
	char held[512];
	int fd; /* of the serial port that it is at; 0: TCP */
};

static inline void psu_send(struct tcp_peer *peer, const void *data, size_t len)
{
	struct fake_psu *p = (struct fake_psu *)peer->server;

	if (p->fd)
		assert_int_equal(write(p->fd, data, len), len);
	else
		tcp_peer_send(peer, data, len);
}

static inline void psu_answer(struct tcp_peer *peer, const char *text)
{
	struct fake_psu *p = (struct fake_psu *)peer->server;
	char line[600];
	size_t len;

	if (p->mute)
		return;
	if (p->late) {
		char now[512];

		memcpy(now, p->held, sizeof(now));
		snprintf(p->held, sizeof(p->held), "%s", text);
		if (!now[0])
			return;
		snprintf(line, sizeof(line), "%s\n", now);
	} else if (p->endless) {
		for (int i = 0; i < 20; i++)
			psu_send(peer, "0123456789012345678901234567890123456789", 40);
		snprintf(line, sizeof(line), "\n");
	} else {
		snprintf(line, sizeof(line), "%s%s", p->garbage ? "\x01\xff#?" : text,
			p->crlf ? "\r\n" : "\n");
	}
	len = strlen(line);
	for (size_t i = 0; p->byte_wise && i < len; i++)
		psu_send(peer, line + i, 1);
	if (!p->byte_wise)
		psu_send(peer, line, len);
}

/* The board's capacitors: half of the rest goes between two looks. */
static inline double psu_volts(struct fake_psu *p)
{
	double goal = p->on ? p->limits ? p->volts / 2 : p->volts : p->fed ? 1.8 : 0;

	p->now = goal + (p->now - goal) / 2;
	return p->now;
}

static inline void psu_question(struct tcp_peer *peer, const char *line)
{
	struct fake_psu *p = (struct fake_psu *)peer->server;
	char text[128];

	if (strncmp(line, "*IDN?", 5) == 0) {
		snprintf(text, sizeof(text), "RIG,FAKE-PSU,1,0.1");
	} else if (strncmp(line, "SYST:ERR?", 9) == 0) {
		snprintf(text, sizeof(text), "%s", p->error[0] ? p->error : "+0,\"No error\"");
		p->error[0] = '\0';
	} else if (strncmp(line, "OUTP?", 5) == 0) {
		snprintf(text, sizeof(text), "%d", p->on);
	} else if (strncmp(line, "MEAS:VOLT?", 10) == 0) {
		snprintf(text, sizeof(text), "%+.4E", psu_volts(p));
	} else if (strncmp(line, "MEAS:CURR?", 10) == 0) {
		snprintf(text, sizeof(text), "%.3fA", p->on ? 0.125 : 0.0);
	} else {
		snprintf(p->error, sizeof(p->error), "-113,\"Undefined header\"");
		return;
	}
	psu_answer(peer, text);
}

static inline void psu_line(struct tcp_peer *peer, const char *line)
{
	struct fake_psu *p = (struct fake_psu *)peer->server;
	size_t used = strlen(p->log);

	snprintf(p->log + used, sizeof(p->log) - used, "%s; ", line);
	if (strchr(line, '?')) {
		psu_question(peer, line);
	} else if (p->refuses && strncmp(line, p->refuses, strlen(p->refuses)) == 0) {
		snprintf(p->error, sizeof(p->error), "-222,\"Data out of range\"");
	} else if (strncmp(line, "OUTP", 4) == 0) {
		p->on = strstr(line, "ON") ? !p->trips : p->stuck_on && p->on;
	} else if (strncmp(line, "VOLT ", 5) == 0) {
		p->volts = strtod(line + 5, NULL);
	} else if (strcmp(line, "*CLS") == 0) {
		p->error[0] = '\0';
	} else if (strncmp(line, "CURR ", 5) != 0 && strncmp(line, "INST:NSEL ", 10) != 0) {
		snprintf(p->error, sizeof(p->error), "-113,\"Undefined header\"");
	}
}

/* What came of a line that has no end yet. */
struct psu_input {
	char line[256];
	size_t len;
};

static inline void psu_came(struct tcp_peer *peer)
{
	peer->user = calloc(1, sizeof(struct psu_input));
}

static inline void psu_data(struct tcp_peer *peer, const char *data, size_t len)
{
	struct psu_input *in = peer->user;

	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n') {
			in->line[in->len] = '\0';
			in->len = 0;
			psu_line(peer, in->line);
		} else if (data[i] != '\r') {
			assert_true(in->len < sizeof(in->line) - 1);
			in->line[in->len++] = data[i];
		}
	}
}

static inline void psu_start(struct fake_psu *p, uv_loop_t *loop)
{
	p->tcp.came = psu_came;
	p->tcp.data = psu_data;
	tcp_server_start(&p->tcp, loop);
}

static inline void psu_free(uv_handle_t *handle)
{
	free(handle->data);
	free(handle);
}

/* Ends it, and frees it in a later turn of the loop, for its connections' sake. */
static inline void psu_end(struct fake_psu *p)
{
	uv_timer_t *timer = calloc(1, sizeof(*timer));

	tcp_server_end(&p->tcp);
	uv_timer_init(p->tcp.loop, timer);
	timer->data = p;
	uv_close((uv_handle_t *)timer, psu_free);
}

#endif
