/*
 * A stand-in for the board's probe as a trigger sees it (rig/probe_port.h): the test says when the
 * DUT comes to the place, or lends it a probe. Part of driver_bench.h: the drivers of every test
 * need one to be linked.
 */
#ifndef TESTS_PROBE_PORT_BENCH_H
#define TESTS_PROBE_PORT_BENCH_H

#include "drivers/driver.h"
#include "rig/probe_port.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct probe_port {
	struct device *probe; /* one that is lent, as the keeper does; NULL: the test plays it */
	struct op *run, *release;
	json_t *spec; /* of the last run */
	uint64_t hits;
	bool silent; /* a run does not get as far as to set its place, a release does not end */
	bool gone;   /* the probe was unplugged */
	int runs, released, given_up;
};

static inline struct probe_port *probe_port_create(void)
{
	struct probe_port *port = calloc(1, sizeof(*port));

	assert_non_null(port);
	return port;
}

static inline void probe_port_destroy(struct probe_port *port)
{
	assert_null(port->run);
	json_decref(port->spec);
	free(port);
}

static inline void probe_run_given_up(struct op *op, void *arg)
{
	struct probe_port *port = arg;

	if (port->run == op)
		port->run = NULL;
	else
		port->release = NULL;
	port->given_up++;
}

static inline void probe_log(struct probe_port *port, const char *text)
{
	const char *path = json_string_value(json_object_get(port->spec, "log"));
	FILE *f = path ? fopen(path, "a") : NULL;

	if (!f)
		return;
	fputs(text, f);
	fclose(f);
}

void probe_port_run_until(struct probe_port *port, json_t *spec, struct op *op)
{
	if (port->probe) {
		port->probe->driver->probe->run_until(port->probe, spec, op);
		return;
	}
	if (port->gone || port->run) {
		op_failf(op, port->gone ? ERR_BENCH : ERR_BUSY,
			port->gone ? "probe: unplugged" : "probe: busy");
		return;
	}
	json_decref(port->spec);
	port->spec = json_deep_copy(spec);
	port->run = op;
	port->hits = 0;
	port->runs++;
	op_on_cancel(op, probe_run_given_up, port);
	if (!port->silent)
		probe_log(port, "");
}

void probe_port_release(struct probe_port *port, struct op *op)
{
	if (port->probe) {
		port->probe->driver->probe->release(port->probe, op);
		return;
	}
	if (port->run) {
		op_failf(op, ERR_BUSY, "probe: busy");
		return;
	}
	port->released++;
	if (port->silent) {
		port->release = op;
		op_on_cancel(op, probe_run_given_up, port);
		return;
	}
	op_done(op, NULL);
}

/* The DUT comes to the place n times. */
static inline void probe_port_hit(struct probe_port *port, unsigned n, uint32_t address)
{
	json_int_t count = json_integer_value(json_object_get(port->spec, "count"));
	char line[64];

	while (n--) {
		struct op *op = port->run;

		snprintf(line, sizeof(line), "%llu breakpoint 0x%08x\n",
			(unsigned long long)++port->hits, address);
		probe_log(port, line);
		address += 4;
		if (!count || port->hits != (uint64_t)count)
			continue;
		port->run = NULL;
		op_done(op, json_pack("{s:I, s:I, s:I}", "hits", count, "address",
				    (json_int_t)address - 4, "t_ns", (json_int_t)uv_hrtime()));
		return;
	}
}

/* The run fails: the probe is unplugged, or the DUT's power went. */
static inline void probe_port_fail(struct probe_port *port, const char *why)
{
	struct op *op = port->run;

	port->run = NULL;
	if (op)
		op_failf(op, ERR_BENCH, "%s", why);
}

#endif
