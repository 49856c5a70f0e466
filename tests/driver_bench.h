/*
 * What tests of drivers share: operations that are waited for, and a console with a device behind
 * it that speaks SMP.
 */
#ifndef TESTS_DRIVER_BENCH_H
#define TESTS_DRIVER_BENCH_H

#include "drivers/driver.h"
#include "probe_port_bench.h"
#include "rig/console_port.h"
#include "rig/smp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- operations --- */

struct outcome {
	int done; /* how often it completed */
	struct err e;
	json_t *result;
	struct op *op; /* NULL once it is done */
};

static inline void outcome_came(void *arg, const struct err *e, json_t *result)
{
	struct outcome *o = arg;

	o->done++;
	o->op = NULL;
	o->e.code = ERR_NONE;
	if (e)
		o->e = *e;
	json_decref(o->result);
	o->result = json_incref(result);
}

/* An operation whose outcome goes to o; o must stay where it is until the operation is done. */
static inline struct op *outcome_start(uv_loop_t *loop, struct outcome *o, unsigned deadline_ms)
{
	memset(o, 0, sizeof(*o));
	o->op = op_start(loop, "operation", deadline_ms, outcome_came, o);
	assert_non_null(o->op);
	return o->op;
}

/* Runs the loop until o is done. */
static inline void outcome_wait(uv_loop_t *loop, struct outcome *o)
{
	while (!o->done)
		uv_run(loop, UV_RUN_ONCE);
	assert_int_equal(o->done, 1);
}

static inline void outcome_finish(struct outcome *o)
{
	json_decref(o->result);
	o->result = NULL;
}

/* Waits for o and demands that it succeeded. */
static inline void assert_done(uv_loop_t *loop, struct outcome *o)
{
	outcome_wait(loop, o);
	if (o->e.code != ERR_NONE)
		fail_msg("failed: %s", o->e.msg);
}

/* Waits for o and demands that it failed so, with that text in its message. */
static inline void assert_failed(
	uv_loop_t *loop, struct outcome *o, enum err_code code, const char *text)
{
	outcome_wait(loop, o);
	if (o->e.code != code || !strstr(o->e.msg, text))
		fail_msg("expected %s with \"%s\", got %s: %s", err_name(code), text,
			err_name(o->e.code), o->e.code ? o->e.msg : "success");
	assert_null(strchr(o->e.msg, '\n'));
}

static inline void set_flag(void *arg)
{
	*(bool *)arg = true;
}

/* Closes dev and runs the loop until that is done. */
static inline void close_device(uv_loop_t *loop, struct device *dev)
{
	bool closed = false;

	dev->driver->close(dev, set_flag, &closed);
	while (!closed)
		uv_run(loop, UV_RUN_ONCE);
}

static inline void stop_waiting(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

/* Closes a loop on which nothing may be left. What is, after a test that failed, is not waited for
 * for ever. */
static inline void close_loop(uv_loop_t *loop)
{
	uv_timer_t patience;

	uv_timer_init(loop, &patience);
	uv_timer_start(&patience, stop_waiting, 30000, 0);
	uv_unref((uv_handle_t *)&patience);
	uv_run(loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&patience, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
	assert_int_equal(uv_loop_close(loop), 0);
}

/* --- events of a device --- */

struct events {
	int lost, back, notes;
	char text[1024]; /* of the last one */
};

static inline void event_came(void *arg, const char *name, json_t *fields)
{
	struct events *ev = arg;
	const char *text = NULL;

	if (strcmp(name, "lost") == 0) {
		ev->lost++;
		text = json_string_value(json_object_get(fields, "reason"));
	} else if (strcmp(name, "back") == 0) {
		ev->back++;
		text = json_string_value(json_object_get(fields, "text"));
	} else if (strcmp(name, "note") == 0) {
		ev->notes++;
		text = json_string_value(json_object_get(fields, "text"));
	}
	snprintf(ev->text, sizeof(ev->text), "%s", text ? text : "");
	json_decref(fields);
}

/* The defaults of a driver, with changes on top (a JSON text). */
static inline json_t *options_of(const struct driver *driver, const char *changes)
{
	json_t *options = json_object(), *catalogue = driver_catalogue(), *spec, *more;
	json_t *specs = json_object_get(json_object_get(catalogue, driver->name), "options");
	const char *name;

	json_object_foreach (specs, name, spec) {
		json_t *fallback = json_object_get(spec, "default");

		if (!json_is_null(fallback))
			json_object_set(options, name, fallback);
	}
	more = json_loads(changes, 0, NULL);
	assert_non_null(more);
	json_object_update(options, more);
	json_decref(more);
	json_decref(catalogue);
	return options;
}

/* --- a console with an SMP device behind it --- */

/* What the device does to the next answers; each counts down. */
struct console_port {
	uv_loop_t *loop;
	uv_timer_t timer; /* delivers what is in out */
	char out[65536];
	size_t out_len;
	unsigned delay_ms;
	struct console_listener *listeners;
	struct smp_reassembler in;
	int requests; /* that came */
	int writes;
	struct smp_header last;
	unsigned drop, corrupt, twice, refuse; /* the next so many answers */
	bool silent, fail_writes;
	int off_stuck;       /* ≥ 0: every upload is answered with this offset */
	json_int_t buf_size; /* 0: it has no such command */
	size_t longest;      /* packet */
	char image[65536];
	size_t image_len, image_off;
	char sha[65];
	bool mismatch;
};

static inline void port_tell(struct console_port *port, const char *line, size_t len)
{
	struct console_listener *next;

	for (struct console_listener *l = port->listeners; l; l = next) {
		next = l->next;
		l->fn(l->arg, line, len, uv_hrtime());
	}
}

/* Delivers what has been said till now; answers to that wait for the next turn. */
static inline void deliver(uv_timer_t *timer)
{
	struct console_port *port = timer->data;

	for (size_t left = port->out_len; left && left <= port->out_len;) {
		char line[SMP_LINE_MAX + 64];
		char *end = memchr(port->out, '\n', port->out_len);
		size_t len = (size_t)(end - port->out);

		memcpy(line, port->out, len);
		left -= len + 1;
		port->out_len -= len + 1;
		memmove(port->out, end + 1, port->out_len);
		port_tell(port, line, len);
	}
}

static inline void port_say(struct console_port *port, const char *text, size_t len)
{
	assert_true(port->out_len + len <= sizeof(port->out));
	memcpy(port->out + port->out_len, text, len);
	port->out_len += len;
	uv_timer_start(&port->timer, deliver, port->delay_ms, 0);
}

static inline void port_answer(struct console_port *port, const struct smp_header *to, json_t *body)
{
	static const char log_line[] = "[00:00:01] <inf> smp: handled\r\n";
	struct smp_header h = *to;
	uint8_t *packet;
	size_t len, text_len;
	char *text;
	struct err e;

	h.op++;
	assert_return_code(smp_packet_encode(&h, body, &packet, &len, &e), 0);
	assert_return_code(smp_lines_encode(packet, len, &text, &text_len, &e), 0);
	if (port->corrupt) {
		port->corrupt--;
		text[3] = text[3] == 'A' ? 'B' : 'A';
	}
	port_say(port, log_line, sizeof(log_line) - 1);
	if (port->drop) {
		port->drop--;
	} else {
		port_say(port, text, text_len);
		if (port->twice) {
			port->twice--;
			port_say(port, text, text_len);
		}
	}
	free(text);
	free(packet);
	json_decref(body);
}

static inline json_t *port_upload(struct console_port *port, json_t *body)
{
	const char *sha = json_string_value(json_object_get(json_object_get(body, "sha"), "hex"));
	json_t *data = json_object_get(json_object_get(body, "data"), "hex");
	size_t off = (size_t)json_integer_value(json_object_get(body, "off"));

	if (port->off_stuck >= 0)
		return json_pack("{s:i}", "off", port->off_stuck);
	if (off == 0 && !sha)
		return json_pack("{s:i}", "rc", 3);
	if (off == 0 && strcmp(port->sha, sha) != 0) {
		snprintf(port->sha, sizeof(port->sha), "%s", sha);
		port->image_off = 0;
		port->image_len = (size_t)json_integer_value(json_object_get(body, "len"));
	}
	if (off == port->image_off) {
		const char *hex = json_string_value(data);

		for (; *hex; hex += 2)
			port->image[port->image_off++] =
				(char)strtoul((char[]){hex[0], hex[1], 0}, NULL, 16);
	}
	if (port->mismatch && port->image_off == port->image_len)
		return json_pack("{s:I, s:b}", "off", (json_int_t)port->image_off, "match", 0);
	return json_pack("{s:I}", "off", (json_int_t)port->image_off);
}

static inline void port_request(struct console_port *port, const uint8_t *packet, size_t len)
{
	struct smp_header h;
	json_t *body, *answer;
	struct err e;

	assert_return_code(smp_packet_decode(packet, len, &h, &body, &e), 0);
	port->requests++;
	port->last = h;
	if (len > port->longest)
		port->longest = len;
	if (port->refuse) {
		port->refuse--;
		answer = json_pack("{s:i}", "rc", 6);
	} else if (h.group == SMP_GROUP_OS && h.id == SMP_OS_ECHO) {
		answer = json_pack("{s:O}", "r", json_object_get(body, "d"));
	} else if (h.group == SMP_GROUP_OS && h.id == SMP_OS_PARAMETERS && port->buf_size) {
		answer = json_pack("{s:I, s:i}", "buf_size", port->buf_size, "buf_count", 4);
	} else if (h.group == SMP_GROUP_IMAGE && h.id == SMP_IMAGE_UPLOAD) {
		answer = port_upload(port, body);
	} else {
		answer = json_pack("{s:i}", "rc", 8);
	}
	if (port->silent)
		json_decref(answer);
	else
		port_answer(port, &h, answer);
	json_decref(body);
}

void console_port_write(struct console_port *port, const char *data, size_t len, struct op *op)
{
	port->writes++;
	if (port->fail_writes) {
		op_failf(op, ERR_BENCH, "the port is gone");
		return;
	}
	while (len) {
		const char *end = memchr(data, '\n', len);
		const uint8_t *packet;
		size_t n, packet_len;
		struct err e;
		int ret;

		assert_non_null(end);
		n = (size_t)(end - data) + 1;
		ret = smp_reassemble(&port->in, data, n, &packet, &packet_len, &e);
		assert_return_code(ret, 0);
		if (ret)
			port_request(port, packet, packet_len);
		data += n;
		len -= n;
	}
	op_done(op, NULL);
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
	if (*at)
		*at = listener->next;
}

static inline struct console_port *port_create(uv_loop_t *loop)
{
	struct console_port *port = calloc(1, sizeof(*port));

	assert_non_null(port);
	port->loop = loop;
	port->delay_ms = 1; /* 0 would serve a whole upload within one turn of the loop */
	port->buf_size = 1024;
	port->off_stuck = -1;
	uv_timer_init(loop, &port->timer);
	port->timer.data = port;
	return port;
}

static inline void port_free(uv_handle_t *handle)
{
	free(handle->data);
}

static inline void port_destroy(struct console_port *port)
{
	uv_close((uv_handle_t *)&port->timer, port_free);
}

/* The power goes. */
static inline void port_power_lost(struct console_port *port)
{
	port->out_len = 0;
	port_tell(port, NULL, 0);
}

#endif
