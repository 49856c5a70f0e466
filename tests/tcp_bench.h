/*
 * A tcp console under test: its bytes, its events.
 */
#ifndef TESTS_TCP_BENCH_H
#define TESTS_TCP_BENCH_H

#include "driver_contract.h"

struct tcp_bench {
	struct driver_env env;
	struct events events;
	uv_loop_t loop;
	json_t *options;
	char in[1 << 20];
	size_t in_len;
};

/* arg is that of event_came(), which stands where a bench has its events */
static inline void tcp_bench_in(void *arg, const char *data, size_t len)
{
	struct tcp_bench *b =
		(struct tcp_bench *)((char *)arg - offsetof(struct tcp_bench, events));

	assert_true(b->in_len + len <= sizeof(b->in));
	memcpy(b->in + b->in_len, data, len);
	b->in_len += len;
}

static inline void tcp_bench_init(struct tcp_bench *b, unsigned port, const char *options)
{
	b->env = (struct driver_env){.loop = &b->loop,
		.board = "b",
		.capability = "console",
		.console_in = tcp_bench_in,
		.event = event_came,
		.arg = &b->events};
	json_decref(b->options);
	b->options = options_of(driver_find("tcp"), options);
	json_object_set_new(b->options, "host", json_string("127.0.0.1"));
	json_object_set_new(b->options, "port", json_integer(port));
}

static inline struct device *tcp_bench_create(struct tcp_bench *b)
{
	struct err e;
	struct device *dev = driver_find("tcp")->create(&b->env, b->options, &e);

	if (!dev)
		fail_msg("create: %s", e.msg);
	return dev;
}

static inline struct device *tcp_bench_open(struct tcp_bench *b)
{
	struct device *dev = tcp_bench_create(b);
	struct outcome o;

	dev->driver->open(dev, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	return dev;
}

static inline void tcp_bench_open_fails(struct tcp_bench *b, const char *text)
{
	struct device *dev = tcp_bench_create(b);
	struct outcome o;

	dev->driver->open(dev, outcome_start(&b->loop, &o, 30000));
	assert_failed(&b->loop, &o, ERR_BENCH, text);
	close_device(&b->loop, dev);
}

static inline void tcp_bench_write(
	struct tcp_bench *b, struct device *dev, const char *data, size_t len)
{
	struct outcome o;

	dev->driver->console->write(dev, data, len, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
}

static inline void tcp_bench_lines(struct tcp_bench *b, struct device *dev, const char *text)
{
	json_t *lines = json_loads(text, 0, NULL);
	struct outcome o;

	dev->driver->modem->set(dev, lines, outcome_start(&b->loop, &o, 30000));
	assert_done(&b->loop, &o);
	json_decref(lines);
}

#endif
