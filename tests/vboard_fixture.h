/*
 * A virtual board inside the test's process, with its output and log kept.
 */
#ifndef TESTS_VBOARD_FIXTURE_H
#define TESTS_VBOARD_FIXTURE_H

#include "../fixtures/vboard/vboard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000ull
#define SECOND (1000 * MS)

struct fixture {
	struct vboard *vb;
	char out[65536], log[65536];
	size_t out_len, log_len;
	unsigned cuts;
	struct vboard_cut cut;
};

static inline void fixture_out(void *arg, const uint8_t *data, size_t len)
{
	struct fixture *f = arg;

	if (len >= sizeof(f->out) - f->out_len)
		abort();
	memcpy(f->out + f->out_len, data, len);
	f->out_len += len;
	f->out[f->out_len] = '\0';
}

static inline void fixture_log(void *arg, const char *line)
{
	struct fixture *f = arg;
	size_t len = strlen(line);

	if (len + 2 > sizeof(f->log) - f->log_len)
		return;
	memcpy(f->log + f->log_len, line, len);
	f->log_len += len;
	f->log[f->log_len++] = '\n';
	f->log[f->log_len] = '\0';
}

static inline void fixture_cut(void *arg, const struct vboard_cut *cut)
{
	struct fixture *f = arg;

	f->cuts++;
	f->cut = *cut;
}

/* The file of a test program (fixtures/vboard/testfw). */
static inline const char *fixture_program(const char *name)
{
	static char path[1024];

	snprintf(path, sizeof(path), "%s/../testfw/%s.bin", getenv("RIG_BUILD"), name);
	return path;
}

/* A board with that test program at the start of its flash, off; NULL: erased flash. */
static inline struct fixture *fixture_create(const char *program, uint64_t seed)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e;
	const struct vboard_config config = {.soc = vboard_soc_find("nrf52840"),
		.seed = seed,
		.uart_out = fixture_out,
		.cut = fixture_cut,
		.log = fixture_log,
		.arg = f};

	f->vb = vboard_create(&config, &e);
	if (!f->vb) {
		fprintf(stderr, "# %s\n", e.msg);
		abort();
	}
	if (program) {
		FILE *file = fopen(fixture_program(program), "rb");
		if (!file || !fread(vboard_flash(f->vb), 1, 1 << 16, file)) {
			fprintf(stderr, "# %s: run make testfw\n", fixture_program(program));
			abort();
		}
		fclose(file);
	}
	return f;
}

static inline void fixture_destroy(struct fixture *f)
{
	vboard_destroy(f->vb);
	free(f);
}

/* Powers on with output and log empty. */
static inline void fixture_power_on(struct fixture *f)
{
	f->out_len = f->log_len = 0;
	f->out[0] = f->log[0] = '\0';
	vboard_power(f->vb, true);
}

/* Runs until the output holds text, at most for ns. */
static inline bool fixture_run_until(struct fixture *f, const char *text, uint64_t ns)
{
	uint64_t end = vboard_time_ns(f->vb) + ns;

	while (!strstr(f->out, text) && vboard_time_ns(f->vb) < end) {
		if (vboard_run_ahead(f->vb, MS) == VBOARD_OFF)
			break;
	}
	return strstr(f->out, text) != NULL;
}

#endif
