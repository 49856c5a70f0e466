/*
 * The DUT is stopped at each time by the debug unit, and OpenOCD looks and lets it run on, in its
 * own Tcl: from here each time would cost a turn of its port. It comes back every SLICE_MS, so that
 * it stays within reach.
 */
#include "openocd_until.h"

#include "openocd_jobs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_MS 100

struct openocd_until {
	bool watch;
	uint32_t address, size;
	char reg[16]; /* "": any time counts */
	uint64_t from, to;
	uint64_t count, hits;
	uint32_t last; /* address, as logged */
	char *log_path;
	FILE *log;
	int log_errnum;
};

void openocd_until_free(struct openocd_until *until)
{
	if (!until)
		return;
	if (until->log)
		fclose(until->log);
	free(until->log_path);
	free(until);
}

/* --- the spec --- */

static bool take_number(const json_t *value, uint64_t limit, uint64_t *n)
{
	json_int_t given = json_integer_value(value);

	*n = (uint64_t)given;
	return json_is_integer(value) && given >= 0 && (uint64_t)given <= limit;
}

static int take_place(struct openocd_until *u, json_t *spec, struct err *e)
{
	const json_t *at = json_object_get(spec, "break"), *watch = json_object_get(spec, "watch");
	uint64_t address, size = 2;

	u->watch = watch != NULL;
	if (u->watch && take_number(json_array_get(watch, 1), 0x8000, &size) && size &&
		!(size & (size - 1)))
		at = json_array_get(watch, 0);
	else if (u->watch)
		return err_set(e, ERR_USAGE,
			"a watched range has a size of 1, 2, 4 … 32768 bytes: the debug unit "
			"compares address bits");
	if (!take_number(at, UINT32_MAX, &address))
		return err_set(e, ERR_USAGE, "\"break\" or \"watch\" is missing, or no address");
	/* bit 0 of a function's address says Thumb */
	u->address = (uint32_t)(u->watch ? address : address & ~(uint64_t)1);
	u->size = (uint32_t)size;
	if (u->watch && u->address % u->size)
		return err_set(e, ERR_USAGE, "a watched range lies at a multiple of its size");
	return 0;
}

static int take_condition(struct openocd_until *u, json_t *spec, struct err *e)
{
	const char *reg = json_string_value(json_object_get(spec, "reg"));
	const json_t *from = json_object_get(spec, "from"), *to = json_object_get(spec, "to");

	u->to = (uint64_t)UINT32_MAX + 1;
	if (!reg && !from && !to)
		return 0;
	if (!reg || u->watch || !*reg || strlen(reg) >= sizeof(u->reg) ||
		strspn(reg, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(reg))
		return err_set(e, ERR_USAGE,
			"\"reg\" is the name of a register, and goes with \"break\"; \"from\" "
			"and \"to\" go with \"reg\"");
	memcpy(u->reg, reg, strlen(reg) + 1);
	if ((from && !take_number(from, UINT32_MAX, &u->from)) ||
		(to && !take_number(to, u->to, &u->to)) || u->from >= u->to)
		return err_set(e, ERR_USAGE, "\"from\" and \"to\" are no range of 32 bits");
	return 0;
}

static struct openocd_until *until_create(json_t *spec, struct err *e)
{
	struct openocd_until *u = calloc(1, sizeof(*u));
	const char *log = json_string_value(json_object_get(spec, "log"));
	int ret = u ? 0 : err_set(e, ERR_NOMEM, "out of memory");

	if (!ret)
		ret = take_place(u, spec, e);
	if (!ret)
		ret = take_condition(u, spec, e);
	if (!ret && !take_number(json_object_get(spec, "count"), UINT32_MAX, &u->count))
		ret = err_set(e, ERR_USAGE, "\"count\" is a whole number from 0 on");
	if (!ret && log && !(u->log_path = strdup(log)))
		ret = err_set(e, ERR_NOMEM, "out of memory");
	if (ret) {
		openocd_until_free(u);
		return NULL;
	}
	return u;
}

/* --- the run --- */

static void fail_run(struct openocd *oc, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void fail_run(struct openocd *oc, enum err_code code, const char *fmt, ...)
{
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	err_vset(&e, code, fmt, ap);
	va_end(ap);
	job_fail(oc, &e);
}

/* Takes the addresses down. Returns 0, or the errno value of the log. */
static int take_hits(struct openocd_until *u, const char *text)
{
	char *end;

	for (;; text = end) {
		unsigned long address = strtoul(text, &end, 16);

		if (end == text)
			break;
		u->hits++;
		u->last = (uint32_t)address;
		if (u->log && fprintf(u->log, "%" PRIu64 " breakpoint 0x%08" PRIx32 "\n", u->hits,
				      u->last) < 0)
			return errno;
	}
	return u->log && fflush(u->log) ? errno : 0;
}

static void runs_on(struct openocd *oc, struct job *job, const char *text)
{
	(void)job;
	(void)text;
	job_done(oc, NULL);
}

/* The log cannot be written: the DUT goes on without us. */
static void log_failed(struct openocd *oc, struct job *job, const char *text)
{
	(void)text;
	fail_run(oc, ERR_IO, "%s: %s", job->until->log_path, strerror(job->until->log_errnum));
}

static void next_slice(struct openocd *oc, struct job *job, const char *text);

static void look(struct openocd *oc, struct job *job, const char *text)
{
	struct openocd_until *u = job->until;
	uint64_t t_ns = uv_hrtime();

	u->log_errnum = take_hits(u, text + strcspn(text, " "));

	if (job->given_up)
		job_run(oc, "let the DUT run on", strdup("rig_on"), runs_on);
	else if (u->log_errnum)
		job_run(oc, "let the DUT run on", strdup("rig_on"), log_failed);
	else if (strncmp(text, "stopped", 7) == 0)
		fail_run(oc, ERR_DUT,
			"the DUT stopped by itself, at a BKPT instruction or another breakpoint, "
			"after %" PRIu64 " times",
			u->hits);
	else if (strncmp(text, "there", 5) == 0)
		job_done(oc, json_pack("{s:I, s:I, s:I}", "hits", (json_int_t)u->hits, "address",
				     (json_int_t)u->last, "t_ns", (json_int_t)t_ns));
	else
		next_slice(oc, job, NULL);
}

static void next_slice(struct openocd *oc, struct job *job, const char *text)
{
	const struct openocd_until *u = job->until;
	char *script = NULL;

	(void)text;
	if (asprintf(&script,
		    "rig_until %d %" PRIu64 " %s 0x%" PRIx32 " {%s} 0x%" PRIx64 " 0x%" PRIx64,
		    SLICE_MS, u->count ? u->count - u->hits : 0, u->watch ? "watch" : "break",
		    u->address, u->reg, u->from, u->to) < 0)
		script = NULL;
	job_run(oc, "wait for the place", script, look);
}

/* The place is set, which whoever reads the log may take from its being there. */
static void place_is_set(struct openocd *oc, struct job *job, const char *text)
{
	struct openocd_until *u = job->until;

	job->once = true;
	if (job->given_up) {
		look(oc, job, "on");
		return;
	}
	if (u->log_path) {
		u->log = fopen(u->log_path, "we");
		if (!u->log) {
			u->log_errnum = errno;
			job_run(oc, "let the DUT run on", strdup("rig_on"), log_failed);
			return;
		}
	}
	next_slice(oc, job, text);
}

static void start_until(struct openocd *oc, struct job *job, const char *text)
{
	const struct openocd_until *u = job->until;
	char *script = NULL;

	(void)text;
	if (asprintf(&script, "rig_set %s 0x%" PRIx32 " %" PRIu32, u->watch ? "watch" : "break",
		    u->address, u->size) < 0)
		script = NULL;
	job_run(oc, "set the place", script, place_is_set);
}

void openocd_run_until(struct device *dev, json_t *spec, struct op *op)
{
	struct openocd *oc = (struct openocd *)dev;
	struct openocd_until *until;
	struct job *job;
	struct err e;

	until = until_create(spec, &e);
	if (!until) {
		op_fail(op, &e);
		return;
	}
	job = job_enqueue(oc, op, start_until);
	if (!job) {
		openocd_until_free(until);
		return;
	}
	job->until = until;
	jobs_start(oc);
}
