/*
 * A relay board behind a pseudo terminal, on a thread of its own: it answers, lies or is mute.
 */
#ifndef TESTS_FAKE_RELAY_H
#define TESTS_FAKE_RELAY_H

#include "fake_serial.h"

#include <pthread.h>
#include <stdatomic.h>

#define FAKE_CHANNELS 32

enum fake_relay_mode {
	RELAY_ANSWERS,
	RELAY_MUTE,  /* it switches, and says nothing */
	RELAY_STUCK, /* it says what is so: its contacts do not move */
	RELAY_LATE,  /* the answer to a question comes with the next one's */
};

struct fake_relay {
	struct fake_serial *port;
	bool numato;
	_Atomic enum fake_relay_mode mode;
	atomic_bool on[FAKE_CHANNELS];
	atomic_int sets, queries;
	atomic_bool stop;
	pthread_t thread;
	bool running;
	char kept[512]; /* RELAY_LATE: the answer that is owed */
};

static inline void fake_relay_say(struct fake_relay *r, const char *text)
{
	if (r->mode == RELAY_MUTE)
		return;
	if (write(r->port->master, text, strlen(text)) < 0)
		return;
}

static inline void fake_relay_put(struct fake_relay *r, int channel, bool on)
{
	r->sets++;
	if (r->mode != RELAY_STUCK && channel >= 0 && channel < FAKE_CHANNELS)
		r->on[channel] = on;
}

static inline void fake_relay_states(struct fake_relay *r)
{
	char text[512] = "";

	r->queries++;
	for (int i = 1; i <= 4; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "CH%d: %s\r\n", i,
			r->on[i] ? "ON" : "OFF");
	if (r->mode == RELAY_LATE && !r->kept[0]) {
		snprintf(r->kept, sizeof(r->kept), "%s", text);
		return;
	}
	fake_relay_say(r, r->kept);
	r->kept[0] = '\0';
	fake_relay_say(r, text);
}

/* Takes what it can of len bytes; returns how many. */
static inline size_t fake_relay_lcus(struct fake_relay *r, const unsigned char *in, size_t len)
{
	if (in[0] == 0xff) {
		fake_relay_states(r);
		return 1;
	}
	if (in[0] != 0xa0)
		return 1;
	if (len < 4)
		return 0;
	if (in[3] == (unsigned char)(in[0] + in[1] + in[2]) && in[2] < 2)
		fake_relay_put(r, in[1], in[2]);
	return 4;
}

static inline size_t fake_relay_numato(struct fake_relay *r, const unsigned char *in, size_t len)
{
	const unsigned char *end = memchr(in, '\r', len);
	char line[64], verb[16] = "", name = 0;
	size_t n = end ? (size_t)(end - in) : 0;
	int channel;

	if (!end)
		return 0;
	snprintf(line, sizeof(line), "%.*s", (int)n, in);
	fake_relay_say(r, line);
	fake_relay_say(r, "\n\r");
	if (sscanf(line, "relay %15s %c", verb, &name) == 2) {
		channel = name >= 'A' ? name - 'A' + 10 : name - '0';
		if (strcmp(verb, "read") == 0) {
			r->queries++;
			fake_relay_say(r, r->on[channel] ? "on\n\r" : "off\n\r");
		} else {
			fake_relay_put(r, channel, strcmp(verb, "on") == 0);
		}
	}
	fake_relay_say(r, ">");
	return n + 1;
}

static inline void *fake_relay_main(void *arg)
{
	struct fake_relay *r = arg;
	unsigned char in[256];
	size_t len = 0;

	while (!r->stop) {
		struct pollfd p = {r->port->master, POLLIN, 0};
		size_t taken;
		ssize_t n;

		if (poll(&p, 1, 5) != 1)
			continue;
		n = read(r->port->master, in + len, sizeof(in) - len);
		if (n <= 0)
			continue;
		len += (size_t)n;
		do {
			taken = r->numato ? fake_relay_numato(r, in, len)
					  : fake_relay_lcus(r, in, len);
			len -= taken;
			memmove(in, in + taken, len);
		} while (taken && len);
	}
	return NULL;
}

static inline void fake_relay_start(struct fake_relay *r)
{
	r->stop = false;
	r->running = true;
	assert_int_equal(pthread_create(&r->thread, NULL, fake_relay_main, r), 0);
}

static inline void fake_relay_end(struct fake_relay *r)
{
	if (!r->running)
		return;
	r->stop = true;
	pthread_join(r->thread, NULL);
	r->running = false;
}

static inline struct fake_relay *fake_relay_create(bool numato)
{
	struct fake_relay *r = calloc(1, sizeof(*r));

	r->numato = numato;
	r->port = fake_serial_create();
	fake_relay_start(r);
	return r;
}

static inline void fake_relay_destroy(struct fake_relay *r)
{
	fake_relay_end(r);
	fake_serial_destroy(r->port);
	free(r);
}

/* The board vanishes, with the power of its relays. */
static inline void fake_relay_unplug(struct fake_relay *r)
{
	fake_relay_end(r);
	fake_tty_unplug(r->port);
	for (int i = 0; i < FAKE_CHANNELS; i++)
		r->on[i] = false;
}

static inline void fake_relay_plug(struct fake_relay *r)
{
	if (r->port->master < 0)
		fake_tty_plug(r->port);
	if (!r->running)
		fake_relay_start(r);
}

#endif
