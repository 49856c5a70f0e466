/*
 * openocd: a debug probe driven by one OpenOCD that stays.
 *
 * OpenOCD is started by the first operation and kept; letting go of the debug port (release) leaves
 * it running but takes its hands off the DUT. Every operation that touches the DUT takes the port
 * up first, because the power may have gone and come back since the last one. When OpenOCD or the
 * adapter fails under an operation, or falls silent, that operation is begun again, once, with a
 * new OpenOCD. Cancelling an operation ends OpenOCD, for nothing less stops it in the middle of a
 * command; the next operation starts another.
 *
 * Gdb is served only from the operation gdb on, until release: for that another OpenOCD is started,
 * since one has its ports from its start.
 *
 * What the operations do to the DUT is written in openocd_verbs.c. Those that write flash reset the
 * DUT and leave it stopped before its first instruction.
 */
#include "openocd_check.h"
#include "openocd_jobs.h"
#include "openocd_session.h"
#include "openocd_until.h"
#include "openocd_usb.h"

#include "../rig/file.h"
#include "../rig/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define READ_MAX ((size_t)256 << 20)
/* Slower is not expected of an adapter: 100 kHz and a slow page erase. */
#define READ_BYTES_PER_MS 8
#define WRITE_BYTES_PER_MS 4

static const struct driver_option options[] = {
	{"adapter", OPTION_STRING, true, NULL,
		"virtual, or the name of an OpenOCD interface file: cmsis-dap, jlink, stlink …"},
	{"serial", OPTION_STRING, false, NULL, "the adapter's serial number"},
	{"answer_ms", OPTION_INTEGER, false, "3000",
		"milliseconds without an answer after which OpenOCD is taken to hang"},
	{"speed_khz", OPTION_INTEGER, false, NULL,
		"clock of the debug port; without it the target file's"},
	{"transport", OPTION_STRING, false, NULL,
		"swd or jtag, or another of OpenOCD's; without it swd"},
	{"reset_config", OPTION_STRING, false, NULL,
		"how the reset line is wired, in OpenOCD's words (\"srst_only\"); without it: not"},
	{"config", OPTION_STRING, false, NULL, "one more OpenOCD configuration file"},
	{"program", OPTION_STRING, false, "openocd", "the OpenOCD to run"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct openocd *openocd_of(struct device *dev)
{
	return (struct openocd *)dev;
}

static char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static char *format(const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	return text;
}

/* Adds a formatted line to *script, which becomes NULL when memory ran out. */
static void script_add(char **script, char *line)
{
	char *longer = NULL;

	if (*script && line && asprintf(&longer, "%s%s\n", *script, line) < 0)
		longer = NULL;
	free(*script);
	free(line);
	*script = longer;
}

/* "VERB FILE REST" for scratch file n of the job. */
static char *file_verb(
	const struct openocd *oc, struct job *job, const char *verb, unsigned n, char *rest)
{
	char *path = format("%s%u", oc->scratch, n);
	char *word = path ? openocd_quote(path) : NULL;
	char *line = word && rest ? format("%s %s %s", verb, word, rest) : NULL;

	if (job->files <= n)
		job->files = n + 1;
	free(path);
	free(word);
	free(rest);
	return line;
}

static int scratch_read(
	const struct openocd *oc, unsigned n, size_t expected, char **data, struct err *e)
{
	char *path = format("%s%u", oc->scratch, n);
	size_t len;
	int ret;

	if (!path)
		return err_set(e, ERR_NOMEM, "out of memory");
	ret = file_read(path, READ_MAX, data, &len, e);
	if (!ret && len != expected) {
		free(*data);
		ret = err_set(e, ERR_BENCH, "openocd read %zu bytes instead of %zu", len, expected);
	}
	free(path);
	return ret;
}

static int scratch_write(
	const struct openocd *oc, unsigned n, const uint8_t *data, size_t len, struct err *e)
{
	char *path = format("%s%u", oc->scratch, n);
	int ret;

	if (!path)
		return err_set(e, ERR_NOMEM, "out of memory");
	ret = file_write(path, data, len, e);
	free(path);
	return ret;
}

static void finish_plain(struct openocd *oc, struct job *job, const char *text)
{
	(void)job;
	(void)text;
	job_done(oc, NULL);
}

/* --- program, and words of flash --- */

/* Adds the reading of every run of pages with that flag, into scratch files from number file on. */
static void add_reads(
	const struct openocd *oc, struct job *job, const bool *flags, unsigned file, char **script)
{
	const struct flash_plan *plan = &job->plan;
	struct flash_run run;

	for (size_t from = 0; flash_plan_next(plan, flags, &from, &run); file++)
		script_add(script, file_verb(oc, job, "rig_read", file,
					   format("0x%x 0x%x", flash_run_address(plan, &run),
						   flash_run_bytes(plan, &run))));
}

/* 0 when the run, read into data, holds what is wanted. */
static int check_run(
	const struct flash_plan *plan, const struct flash_run *run, const char *data, struct err *e)
{
	const uint8_t *wanted = flash_run_wanted(plan, run);

	for (uint32_t at = 0; at < flash_run_bytes(plan, run); at++)
		if ((uint8_t)data[at] != wanted[at])
			return err_set(e, ERR_BENCH,
				"flash was programmed, but 0x%08x reads 0x%02x instead of 0x%02x",
				flash_run_address(plan, run) + at, (uint8_t)data[at], wanted[at]);
	return 0;
}

/* Adds [first page, pages] of what is erased and written now to what was before. */
static void wear_pages(struct job *job)
{
	struct flash_run run;

	if (!job->worn)
		job->worn = json_array();
	for (size_t from = 0; flash_plan_next(&job->plan, job->plan.differs, &from, &run);)
		json_array_append_new(job->worn,
			json_pack("[I, I]", (json_int_t)run.first, (json_int_t)run.pages));
}

static void finish_program(struct openocd *oc, struct job *job, const char *text)
{
	const struct flash_plan *plan = &job->plan;
	size_t written = flash_plan_count(plan, plan->differs);
	unsigned file = job->read_back;
	struct flash_run run;
	struct err e;
	int ret = 0;

	(void)text;
	for (size_t from = 0; !ret && flash_plan_next(plan, plan->differs, &from, &run); file++) {
		char *data;

		ret = scratch_read(oc, file, flash_run_bytes(plan, &run), &data, &e);
		if (ret)
			break;
		ret = check_run(plan, &run, data, &e);
		free(data);
	}
	if (ret)
		job_fail(oc, &e);
	else
		job_done(oc, json_pack("{s:I, s:I, s:I, s:o}", "pages_written", (json_int_t)written,
				     "pages_kept",
				     (json_int_t)(flash_plan_count(plan, plan->touched) - written),
				     "bytes_written", (json_int_t)(written * plan->page_bytes),
				     "pages", job->worn ? json_incref(job->worn) : json_array()));
}

static unsigned written_bytes(const struct flash_plan *plan)
{
	return (unsigned)(flash_plan_count(plan, plan->differs) * plan->page_bytes);
}

/* Erases and writes the pages that differ, and reads them back, in one script. */
static void write_pages(struct openocd *oc, struct job *job)
{
	const struct flash_plan *plan = &job->plan;
	struct flash_run run, filled;
	char *script = strdup("");
	unsigned file = 0;
	struct err e;
	int ret = 0;

	for (size_t from = 0; flash_plan_next(plan, plan->differs, &from, &run);)
		script_add(&script, format("rig_erase 0x%x 0x%x", flash_run_address(plan, &run),
					    flash_run_bytes(plan, &run)));
	for (size_t from = 0; flash_plan_next(plan, plan->differs, &from, &run);) {
		for (size_t at = 0; !ret && flash_run_next_filled(plan, &run, &at, &filled);
			file++) {
			ret = scratch_write(oc, file, flash_run_wanted(plan, &filled),
				flash_run_bytes(plan, &filled), &e);
			script_add(
				&script, file_verb(oc, job, "rig_write", file,
						 format("0x%x", flash_run_address(plan, &filled))));
		}
	}
	if (ret) {
		free(script);
		job_fail(oc, &e);
		return;
	}
	wear_pages(job);
	/* what was in the page with the word is read from flash, and about to be erased there */
	job->once = job->patch;
	job->more_ms = written_bytes(plan) / WRITE_BYTES_PER_MS;
	job->read_back = file;
	add_reads(oc, job, plan->differs, file, &script);
	/* the core took its start address from what flash held before */
	script_add(&script, strdup("rig_stop"));
	job_run(oc, "program", script, finish_program);
}

static void compare_pages(struct openocd *oc, struct job *job, const char *text)
{
	struct flash_plan *plan = &job->plan;
	struct flash_run run;
	unsigned file = 0;
	struct err e;

	(void)text;
	for (size_t from = 0; flash_plan_next(plan, plan->touched, &from, &run); file++) {
		char *data;

		if (scratch_read(oc, file, flash_run_bytes(plan, &run), &data, &e)) {
			job_fail(oc, &e);
			return;
		}
		if (job->patch)
			flash_plan_patch(plan, &run, (uint8_t *)data, job->address, job->value);
		flash_plan_compare(plan, &run, (uint8_t *)data);
		free(data);
	}
	if (flash_plan_count(plan, plan->differs))
		write_pages(oc, job);
	else
		finish_program(oc, job, NULL);
}

static void start_program(struct openocd *oc, struct job *job, const char *text)
{
	char *script = strdup("rig_stop\n");

	(void)text;
	add_reads(oc, job, job->plan.touched, 0, &script);
	job->more_ms = (unsigned)(flash_plan_count(&job->plan, job->plan.touched) *
				  job->plan.page_bytes / READ_BYTES_PER_MS);
	job_run(oc, "read flash", script, compare_pages);
}

static void openocd_program(struct device *dev, json_t *spec, struct op *op)
{
	struct openocd *oc = openocd_of(dev);
	struct flash_plan plan = {0};
	struct job *job;
	struct err e;

	if (flash_plan_init(&plan, oc->env.board_conf, &e) || flash_plan_enter(&plan, spec, &e)) {
		flash_plan_finish(&plan);
		op_fail(op, &e);
		return;
	}
	job = job_enqueue(oc, op, start_program);
	if (job) {
		job->plan = plan;
		jobs_start(oc);
	} else {
		flash_plan_finish(&plan);
	}
}

static void start_word(struct openocd *oc, struct job *job, const char *text)
{
	(void)text;
	job_run(oc, "write a word", format("rig_word 0x%x 0x%x", job->address, job->value),
		finish_plain);
}

static void openocd_write_word(struct device *dev, uint32_t address, uint32_t value, struct op *op)
{
	struct openocd *oc = openocd_of(dev);
	struct flash_plan plan = {0};
	struct job *job;
	bool in_flash;
	struct err e;

	if (address % 4) {
		op_failf(op, ERR_USAGE, "0x%x is not the address of a word", address);
		return;
	}
	if (flash_plan_init(&plan, oc->env.board_conf, &e)) {
		op_fail(op, &e);
		return;
	}
	in_flash = flash_plan_holds(&plan, address, 4);
	job = job_enqueue(oc, op, in_flash ? start_program : start_word);
	if (!job || !in_flash)
		flash_plan_finish(&plan);
	if (!job)
		return;
	job->address = address;
	job->value = value;
	if (in_flash) {
		plan.touched[flash_plan_page(&plan, address)] = true;
		job->plan = plan;
		job->patch = true;
	}
	jobs_start(oc);
}

/* --- verify, read --- */

static void finish_verify(struct openocd *oc, struct job *job, const char *text)
{
	size_t at = 0;
	char *data;
	struct err e;

	(void)text;
	if (scratch_read(oc, 0, job->size, &data, &e)) {
		job_fail(oc, &e);
		return;
	}
	while (at < job->size && data[at] == job->data[at])
		at++;
	free(data);
	if (at == job->size)
		job_done(oc, json_pack("{s:b}", "same", 1));
	else
		job_done(oc, json_pack("{s:b, s:I}", "same", 0, "first_difference",
				     (json_int_t)job->address + (json_int_t)at));
}

static void start_read(struct openocd *oc, struct job *job, const char *text);

static void openocd_verify(struct device *dev, uint32_t address, const char *path, struct op *op)
{
	struct openocd *oc = openocd_of(dev);
	struct job *job;
	char *data;
	size_t len;
	struct err e;

	if (file_read(path, READ_MAX, &data, &len, &e)) {
		op_fail(op, &e);
		return;
	}
	if (len == 0) {
		free(data);
		op_failf(op, ERR_USAGE, "%s: an empty file verifies nothing", path);
		return;
	}
	job = job_enqueue(oc, op, start_read);
	if (!job) {
		free(data);
		return;
	}
	job->data = data;
	job->address = address;
	job->size = (uint32_t)len;
	jobs_start(oc);
}

/* What OpenOCD wrote becomes the file that was asked for, or is copied there from another disk. */
static int scratch_move(const struct openocd *oc, struct job *job, struct err *e)
{
	char *path = format("%s0", oc->scratch), *data;
	struct stat st;
	int ret = 0;

	if (!path)
		return err_set(e, ERR_NOMEM, "out of memory");
	if (stat(path, &st) == 0 && st.st_size == (off_t)job->size &&
		rename(path, job->path) == 0) {
		free(path);
		return 0;
	}
	free(path);
	ret = scratch_read(oc, 0, job->size, &data, e);
	if (ret)
		return ret;
	ret = file_write(job->path, data, job->size, e);
	free(data);
	return ret;
}

static void finish_read(struct openocd *oc, struct job *job, const char *text)
{
	struct err e;

	(void)text;
	if (scratch_move(oc, job, &e))
		job_fail(oc, &e);
	else
		job_done(oc, NULL);
}

static void start_read(struct openocd *oc, struct job *job, const char *text)
{
	char *script = strdup("rig_attach\n");

	(void)text;
	script_add(&script,
		file_verb(oc, job, "rig_read", 0, format("0x%x 0x%x", job->address, job->size)));
	job->more_ms = job->size / READ_BYTES_PER_MS;
	job_run(oc, "read memory", script, job->path ? finish_read : finish_verify);
}

static void openocd_read(
	struct device *dev, uint32_t address, uint32_t size, const char *path, struct op *op)
{
	struct openocd *oc = openocd_of(dev);
	char *copy = strdup(path);
	struct job *job;

	if (!copy || size == 0 || size > READ_MAX) {
		free(copy);
		op_failf(op, ERR_USAGE, "cannot read %u bytes", size);
		return;
	}
	job = job_enqueue(oc, op, start_read);
	if (!job) {
		free(copy);
		return;
	}
	job->path = copy;
	job->address = address;
	job->size = size;
	jobs_start(oc);
}

/* --- operations that are one script --- */

static void start_script(struct openocd *oc, struct job *job, const char *text)
{
	(void)text;
	job_run(oc, job->script, strdup(job->script), finish_plain);
}

/* Queues a verb. Steals script; NULL: memory ran out. hold is the job's. */
static void enqueue_verb(struct device *dev, struct op *op, char *script, int hold)
{
	struct openocd *oc = openocd_of(dev);
	struct job *job;

	if (!script) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	job = job_enqueue(oc, op, start_script);
	if (!job) {
		free(script);
		return;
	}
	job->script = script;
	job->hold = hold;
	jobs_start(oc);
}

static void openocd_halt(struct device *dev, struct op *op)
{
	enqueue_verb(dev, op, strdup("rig_halt"), 0);
}

static void openocd_resume(struct device *dev, struct op *op)
{
	enqueue_verb(dev, op, strdup("rig_resume"), 0);
}

static void openocd_reset(struct device *dev, bool halt, struct op *op)
{
	enqueue_verb(dev, op, strdup(halt ? "rig_reset halt" : "rig_reset run"), 0);
}

static void openocd_hold_reset(struct device *dev, bool hold, struct op *op)
{
	if (openocd_wiring(openocd_of(dev)))
		enqueue_verb(dev, op, strdup(hold ? "rig_hold" : "rig_free"), hold ? 1 : -1);
	else
		op_failf(op, ERR_UNSUPPORTED,
			"the reset line is not wired: set reset_config = \"srst_only\" if it is");
}

static void openocd_breakpoint(struct device *dev, uint32_t address, bool set, struct op *op)
{
	enqueue_verb(dev, op, format("%s 0x%x", set ? "rig_break" : "rig_unbreak", address), 0);
}

static void finish_gdb_release(struct openocd *oc, struct job *job, const char *text)
{
	(void)job;
	(void)text;
	jobs_end_gdb(oc);
	job_done(oc, NULL);
}

static void start_release(struct openocd *oc, struct job *job, const char *text)
{
	(void)job;
	(void)text;
	if (oc->gdb_port)
		job_run(oc, "release", strdup("poll off\nrig_release"), finish_gdb_release);
	else
		job_run(oc, "release", strdup("rig_release"), finish_plain);
}

static void openocd_release(struct device *dev, struct op *op)
{
	struct job *job = job_enqueue(openocd_of(dev), op, start_release);

	if (!job)
		return;
	job->only_running = true;
	jobs_start(openocd_of(dev));
}

static void finish_command(struct openocd *oc, struct job *job, const char *text)
{
	size_t len = strlen(text), size = 4 * len + 1;
	char *utf8 = malloc(size);
	struct err e;

	(void)job;
	if (!utf8) {
		err_set(&e, ERR_NOMEM, "out of memory");
		job_fail(oc, &e);
		return;
	}
	text_escape(utf8, size, text, len, TEXT_STREAM);
	job_done(oc, json_pack("{s:s}", "text", utf8));
	free(utf8);
}

static void start_command(struct openocd *oc, struct job *job, const char *text)
{
	(void)text;
	job_run(oc, job->script, strdup(job->script), finish_command);
}

static void openocd_command(struct device *dev, const char *text, struct op *op)
{
	struct openocd *oc = openocd_of(dev);
	char *script;
	struct job *job;

	if (strchr(text, '\x1a')) {
		op_failf(op, ERR_USAGE, "a command must not contain the byte 0x1a");
		return;
	}
	script = strdup(text);
	job = script ? job_enqueue(oc, op, start_command) : NULL;
	if (!job) {
		if (!script)
			op_failf(op, ERR_NOMEM, "out of memory");
		free(script);
		return;
	}
	job->script = script;
	job->once = job->endless = true; /* nobody knows what it does */
	jobs_start(oc);
}

static void finish_version(struct openocd *oc, struct job *job, const char *text)
{
	static const char product[] = "Open On-Chip Debugger ";
	size_t skip = strncmp(text, product, sizeof(product) - 1) == 0 ? sizeof(product) - 1 : 0;

	(void)job;
	job_done(oc, json_pack("{s:s, s:s%}", "tool", "openocd", "version", text + skip,
			     strcspn(text + skip, " \r\n")));
}

static void start_version(struct openocd *oc, struct job *job, const char *text)
{
	(void)job;
	(void)text;
	job_run(oc, "version", strdup("version"), finish_version);
}

static void openocd_version(struct device *dev, struct op *op)
{
	struct job *job = job_enqueue(openocd_of(dev), op, start_version);

	if (!job)
		return;
	job->without_dut = true;
	jobs_start(openocd_of(dev));
}

/* --- gdb --- */

static void finish_gdb(struct openocd *oc, struct job *job, const char *text)
{
	unsigned port = openocd_session_gdb_port(oc->session);

	(void)job;
	(void)text;
	oc->gdb_port = port;
	job_done(oc, json_pack("{s:s, s:i}", "host", "127.0.0.1", "port", (int)port));
}

static void start_gdb(struct openocd *oc, struct job *job, const char *text)
{
	struct err e;

	(void)job;
	(void)text;
	if (openocd_session_gdb_port(oc->session)) {
		job_run(oc, "serve gdb",
			strdup(openocd_wiring(oc) ? "rig_gdb deassert" : "rig_gdb none"),
			finish_gdb);
		return;
	}
	err_set(&e, ERR_BENCH, "openocd opened no port for gdb");
	jobs_end_gdb(oc);
	job_fail(oc, &e);
}

static void openocd_gdb(struct device *dev, struct op *op)
{
	struct openocd *oc = openocd_of(dev);
	struct job *job = job_enqueue(oc, op, start_gdb);

	if (!job)
		return;
	job->gdb = true;
	job->hold = -1;
	jobs_start(oc);
}

/* --- the device --- */

static struct device *openocd_create(const struct driver_env *env, json_t *opts, struct err *e)
{
	json_int_t answer_ms = json_integer_value(json_object_get(opts, "answer_ms"));
	struct flash_plan plan;
	struct openocd *oc;

	if (!json_is_string(
		    json_object_get(json_object_get(env->board_conf, "openocd"), "target"))) {
		err_set(e, ERR_CONFIG,
			"the board type needs openocd = { target = \"target/….cfg\" }");
		return NULL;
	}
	if (answer_ms < 100 || answer_ms > 60000) {
		err_set(e, ERR_CONFIG, "answer_ms must be 100 to 60000");
		return NULL;
	}
	if (flash_plan_init(&plan, env->board_conf, e))
		return NULL;
	flash_plan_finish(&plan);
	oc = calloc(1, sizeof(*oc));
	if (!oc) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	oc->env = *env;
	oc->options = json_incref(opts);
	oc->answer_ms = (unsigned)answer_ms;
	if (jobs_init(oc, e)) {
		json_decref(oc->options);
		free(oc);
		return NULL;
	}
	return &oc->dev;
}

/* OpenOCD is started by the first operation; that it is missing is said at once. */
static void openocd_open(struct device *dev, struct op *op)
{
	char path[4096];
	struct err e;

	if (openocd_program_find(
		    openocd_option(openocd_of(dev), "program"), path, sizeof(path), &e))
		op_fail(op, &e);
	else
		op_done(op, NULL);
}

/* The reset line free, and nobody at the debug port. */
static void openocd_make_safe(struct device *dev, struct op *op)
{
	jobs_make_safe(openocd_of(dev), op);
}

static void openocd_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	jobs_close(openocd_of(dev), closed, arg);
}

static const struct probe_ops probe = {
	.program = openocd_program,
	.verify = openocd_verify,
	.read = openocd_read,
	.write_word = openocd_write_word,
	.halt = openocd_halt,
	.resume = openocd_resume,
	.reset = openocd_reset,
	.hold_reset = openocd_hold_reset,
	.breakpoint = openocd_breakpoint,
	.release = openocd_release,
	.command = openocd_command,
	.version = openocd_version,
	.gdb = openocd_gdb,
	.run_until = openocd_run_until,
};

const struct driver driver_openocd = {
	.name = "openocd",
	.help = "a debug probe, through OpenOCD",
	.options = options,
	.create = openocd_create,
	.open = openocd_open,
	.make_safe = openocd_make_safe,
	.close = openocd_close,
	.check = openocd_check,
	.scan = openocd_usb_scan,
	.probe = &probe,
};
