/*
 * command-probe: a probe that is two programs, one that writes flash and one that reads it, such as
 * a serial loader's host tool.
 *
 * What is asked for is laid out page by page; what flash holds is read first, only what differs is
 * written, and that is read back and compared here: the program's own word is not taken for it.
 */
#include "../rig/file.h"
#include "driver.h"
#include "flash_plan.h"
#include "program.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum action { ACTION_PROGRAM, ACTION_READ, ACTION_RESET, ACTION_VERSION, ACTIONS };

static const char *const action_names[ACTIONS] = {"program", "read", "reset", "version"};

static const struct driver_option options[] = {
	{"program", OPTION_STRING, true, NULL,
		"the program that erases and writes; {address}, {size} and {path} are filled in"},
	{"read", OPTION_STRING, true, NULL,
		"the program that reads flash into a file; {address}, {size} and {path} are filled in"},
	{"reset", OPTION_STRING, false, NULL, "the program that resets the DUT"},
	{"version", OPTION_STRING, false, NULL,
		"the program whose last line of output is the version of the tool"},
	{"timeout_ms", OPTION_INTEGER, false, "120000",
		"milliseconds after which a program is killed"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

enum step {
	STEP_RUN,   /* one program, and that is all */
	STEP_LOOK,  /* what flash holds is read */
	STEP_WRITE, /* what differs is written */
	STEP_PROVE, /* and read back */
};

/* What is under way. */
struct job {
	struct op *op; /* NULL: given up, its program is still ending */
	enum step step;
	enum action action; /* of STEP_RUN */
	struct flash_plan plan;
	size_t from;
	struct flash_run run;
	uint32_t address, size; /* of what is read or verified; of the word */
	char *path;             /* where to, or what with */
	bool verify, word;
	uint32_t value;
	json_t *pages; /* written, as probe_ops.program tells */
};

struct command_probe {
	struct device dev;
	const struct driver_env *env;
	char **words[ACTIONS];
	unsigned timeout_ms;
	char *scratch; /* the file that programs read and write */
	struct job *job;
	struct program *running;
	bool stale;      /* what runs was started for a job that was given up, and is over */
	struct op *safe; /* waits for the program to end */
	void (*closed)(void *arg);
	void *closed_arg;
};

static struct command_probe *probe_of(struct device *dev)
{
	return (struct command_probe *)dev;
}

/* --- words ------------------------------------------------------------------------------------ */

/* A word with what stands in braces filled in; the caller frees it. */
static char *fill_in(const char *word, uint32_t address, uint32_t size, const char *path)
{
	char *text = NULL, number[24];
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	while (*word) {
		if (strncmp(word, "{address}", 9) == 0) {
			snprintf(number, sizeof(number), "0x%" PRIx32, address);
			fputs(number, f);
			word += 9;
		} else if (strncmp(word, "{size}", 6) == 0) {
			fprintf(f, "%" PRIu32, size);
			word += 6;
		} else if (strncmp(word, "{path}", 6) == 0) {
			fputs(path, f);
			word += 6;
		} else {
			fputc(*word++, f);
		}
	}
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static void free_words(char **words)
{
	for (char **w = words; w && *w; w++)
		free(*w);
	free(words);
}

static char **filled_words(char *const *words, uint32_t address, uint32_t size, const char *path)
{
	size_t n = 0;
	char **filled;

	while (words[n])
		n++;
	filled = calloc(n + 1, sizeof(*filled));
	for (size_t i = 0; filled && i < n; i++) {
		filled[i] = fill_in(words[i], address, size, path);
		if (!filled[i]) {
			free_words(filled);
			return NULL;
		}
	}
	return filled;
}

/* --- jobs ------------------------------------------------------------------------------------- */

static void go_on(struct command_probe *c);

static void free_job(struct job *job)
{
	flash_plan_finish(&job->plan);
	json_decref(job->pages);
	free(job->path);
	free(job);
}

static void job_end(struct command_probe *c, const struct err *e, json_t *result)
{
	struct job *job = c->job;
	struct op *op = job->op;

	c->job = NULL;
	free_job(job);
	if (op)
		op_on_cancel(op, NULL, NULL);
	if (op && e)
		op_fail(op, e);
	else if (op)
		op_done(op, json_incref(result));
	json_decref(result);
}

static int judge_end(const struct command_probe *c, enum action action,
	const struct program_end *end, struct err *e)
{
	const char *words = end->err[0] ? end->err : end->out, *program = c->words[action][0];

	if (end->timed_out)
		return err_set(e, ERR_BENCH,
			"%s: %.200s had not ended after %u ms (timeout_ms) and "
			"was killed%s%.300s",
			action_names[action], program, c->timeout_ms, words[0] ? ": " : "", words);
	if (end->signal)
		return err_set(e, ERR_BENCH, "%s: %.200s was ended by signal %d%s%.300s",
			action_names[action], program, end->signal, words[0] ? ": " : "", words);
	if (end->status)
		return err_set(e, ERR_BENCH, "%s: %.200s ended with status %lld%s%.300s",
			action_names[action], program, (long long)end->status, words[0] ? ": " : "",
			words);
	return 0;
}

/* Reads the size bytes that a program has left in the scratch file; the caller frees them. */
static uint8_t *take_bytes(struct command_probe *c, size_t size, struct err *e)
{
	uint8_t *bytes = NULL;
	size_t len = 0;

	if (file_read(c->scratch, size + 1, (char **)&bytes, &len, e) != 0) {
		e->code = ERR_BENCH;
		err_prefix(e, "read: %.100s", c->words[ACTION_READ][0]);
		return NULL;
	}
	if (len == size)
		return bytes;
	free(bytes);
	err_set(e, ERR_BENCH, "read: %.100s left %zu bytes%s where %zu were asked for",
		c->words[ACTION_READ][0], len, len > size ? " or more" : "", size);
	return NULL;
}

static json_t *programmed(const struct job *job)
{
	const struct flash_plan *plan = &job->plan;
	size_t written = flash_plan_count(plan, plan->differs);

	return json_pack("{s:I, s:I, s:I, s:O}", "pages_written", (json_int_t)written, "pages_kept",
		(json_int_t)(flash_plan_count(plan, plan->touched) - written), "bytes_written",
		(json_int_t)(written * plan->page_bytes), "pages", job->pages);
}

/* Compares what was read with the file; both have the job's size. */
static json_t *verified(const struct job *job, const uint8_t *bytes, struct err *e)
{
	uint8_t *wanted = NULL;
	size_t len = 0, i = 0;
	json_t *result = NULL;

	if (file_read(job->path, (size_t)job->size + 1, (char **)&wanted, &len, e) != 0)
		return NULL;
	if (len == job->size) {
		while (i < len && bytes[i] == wanted[i])
			i++;
		result = json_pack("{s:b}", "same", i == len);
		if (i < len)
			json_object_set_new(result, "first_difference",
				json_integer((json_int_t)job->address + (json_int_t)i));
	} else {
		err_set(e, ERR_IO, "%s: its size changed while flash was read", job->path);
	}
	free(wanted);
	return result;
}

/* The bytes that were asked for are there: hands them over, or compares them. */
static void one_read_over(struct command_probe *c)
{
	struct job *job = c->job;
	struct err e;
	uint8_t *bytes = take_bytes(c, job->size, &e);
	json_t *result = NULL;
	int code = bytes ? 0 : -1;

	if (!code && job->verify) {
		result = verified(job, bytes, &e);
		code = result ? 0 : -1;
	} else if (!code) {
		code = file_write(job->path, bytes, job->size, &e);
	}
	free(bytes);
	job_end(c, code ? &e : NULL, result);
}

/* What flash holds, or holds now, of a run of pages. */
static int run_read(struct command_probe *c, struct err *e)
{
	struct job *job = c->job;
	uint8_t *bytes = take_bytes(c, flash_run_bytes(&job->plan, &job->run), e);
	const uint8_t *wanted = flash_run_wanted(&job->plan, &job->run);
	size_t n = flash_run_bytes(&job->plan, &job->run), i = 0;
	int code = 0;

	if (!bytes)
		return -1;
	if (job->word && job->step == STEP_LOOK)
		flash_plan_patch(&job->plan, &job->run, bytes, job->address, job->value);
	if (job->step == STEP_LOOK) {
		flash_plan_compare(&job->plan, &job->run, bytes);
	} else {
		while (i < n && bytes[i] == wanted[i])
			i++;
		if (i < n)
			code = err_set(e, ERR_BENCH,
				"after it was written, flash at 0x%" PRIx32
				" reads 0x%02x instead of 0x%02x",
				flash_run_address(&job->plan, &job->run) + (uint32_t)i, bytes[i],
				wanted[i]);
	}
	free(bytes);
	return code;
}

/* Goes over to the next run of pages, and from looking to writing. False: all is done. */
static bool next_run(struct job *job)
{
	struct flash_plan *plan = &job->plan;

	if (job->step == STEP_LOOK && flash_plan_next(plan, plan->touched, &job->from, &job->run))
		return true;
	if (job->step == STEP_LOOK)
		job->from = 0;
	job->step = STEP_WRITE;
	if (!flash_plan_next(plan, plan->differs, &job->from, &job->run))
		return false;
	json_array_append_new(job->pages,
		json_pack("[I, I]", (json_int_t)job->run.first, (json_int_t)job->run.pages));
	return true;
}

static void program_over(void *arg, const struct program_end *end)
{
	struct command_probe *c = arg;
	struct job *job = c->job;
	struct err e;
	int code = 0;

	bool stale = c->stale;

	c->running = NULL;
	c->stale = false;
	if (job && job->op && !stale) {
		enum action action = job->step == STEP_RUN     ? job->action
				     : job->step == STEP_WRITE ? ACTION_PROGRAM
							       : ACTION_READ;

		code = judge_end(c, action, end, &e);
		if (code) {
			job_end(c, &e, NULL);
		} else if (job->step == STEP_RUN && action == ACTION_READ) {
			one_read_over(c);
		} else if (job->step == STEP_RUN) {
			job_end(c, NULL,
				action == ACTION_VERSION
					? json_pack("{s:s, s:s}", "tool", c->words[ACTION_READ][0],
						  "version", end->out)
					: NULL);
		} else if (job->step == STEP_WRITE) {
			job->step = STEP_PROVE;
		} else {
			code = run_read(c, &e);
			if (code)
				job_end(c, &e, NULL);
			else if (!next_run(job))
				job_end(c, NULL, programmed(job));
		}
	}
	go_on(c);
}

static int start(
	struct command_probe *c, enum action action, uint32_t address, uint32_t size, struct err *e)
{
	char **words = filled_words(c->words[action], address, size, c->scratch);

	if (!words)
		return err_set(e, ERR_NOMEM, "out of memory");
	if (action == ACTION_READ)
		unlink(c->scratch); /* what an earlier one has left is no answer */
	c->running = program_start(c->env->loop, words, c->timeout_ms, program_over, c, e);
	free_words(words);
	return c->running ? 0 : -1;
}

static int start_step(struct command_probe *c, struct err *e)
{
	struct job *job = c->job;
	uint32_t address, size;

	if (job->step == STEP_RUN)
		return start(c, job->action, job->address, job->size, e);
	address = flash_run_address(&job->plan, &job->run);
	size = flash_run_bytes(&job->plan, &job->run);
	if (job->step == STEP_WRITE &&
		file_write(c->scratch, flash_run_wanted(&job->plan, &job->run), size, e) != 0)
		return -1;
	return start(c, job->step == STEP_WRITE ? ACTION_PROGRAM : ACTION_READ, address, size, e);
}

static void free_probe(struct command_probe *c)
{
	void (*closed)(void *arg) = c->closed;
	void *arg = c->closed_arg;

	for (int i = 0; i < ACTIONS; i++)
		program_words_free(c->words[i]);
	if (c->scratch)
		unlink(c->scratch);
	free(c->scratch);
	free(c);
	if (closed)
		closed(arg);
}

/* No program runs: the next one, or what waited for that. */
static void go_on(struct command_probe *c)
{
	struct op *safe = c->safe;
	struct err e;

	if (c->running)
		return;
	if (c->job && !c->job->op)
		job_end(c, NULL, NULL);
	if (c->closed) {
		free_probe(c);
		return;
	}
	c->safe = NULL;
	if (safe) {
		op_on_cancel(safe, NULL, NULL);
		op_done(safe, NULL);
		return;
	}
	if (c->job && start_step(c, &e) != 0)
		job_end(c, &e, NULL);
}

/* The operation is over for others; its program is killed, and what comes next waits for its end.
 */
static void given_up(struct op *op, void *arg)
{
	struct command_probe *c = arg;

	if (c->job && c->job->op == op)
		c->job->op = NULL;
	if (c->running)
		program_kill(c->running);
}

static void give_up(struct command_probe *c, enum err_code code, const char *why)
{
	struct op *op = c->job ? c->job->op : NULL;

	if (op) {
		op_on_cancel(op, NULL, NULL);
		c->job->op = NULL;
		op_failf(op, code, "%s", why);
	}
	if (c->running)
		program_kill(c->running);
	else if (c->job)
		job_end(c, NULL, NULL);
}

/* A job for op; NULL: op has failed. */
static struct job *new_job(struct command_probe *c, enum action action, struct op *op)
{
	struct job *job;

	if (!c->words[action]) {
		op_failf(op, ERR_UNSUPPORTED, "it has no program for that (rig.conf: %s = \"…\")",
			action_names[action]);
		return NULL;
	}
	if (c->job && c->job->op) {
		op_failf(op, ERR_BUSY, "busy");
		return NULL;
	}
	job = calloc(1, sizeof(*job));
	if (!job) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return NULL;
	}
	/* one that was given up is over: only its program is waited for */
	if (c->job)
		free_job(c->job);
	c->stale = c->running != NULL;
	job->op = op;
	job->action = action;
	c->job = job;
	op_on_cancel(op, given_up, c);
	return job;
}

/* --- operations ------------------------------------------------------------------------------- */

static void start_plan(struct command_probe *c, struct job *job, json_t *spec)
{
	struct err e;

	job->step = STEP_LOOK;
	job->pages = json_array();
	if (flash_plan_init(&job->plan, c->env->board_conf, &e) != 0 ||
		flash_plan_enter(&job->plan, spec, &e) != 0)
		job_end(c, &e, NULL);
	else if (!next_run(job))
		job_end(c, NULL, programmed(job));
	else
		go_on(c);
}

static void command_probe_program(struct device *dev, json_t *spec, struct op *op)
{
	struct job *job = new_job(probe_of(dev), ACTION_PROGRAM, op);

	if (job)
		start_plan(probe_of(dev), job, spec);
}

static void command_probe_write_word(
	struct device *dev, uint32_t address, uint32_t value, struct op *op)
{
	struct command_probe *c = probe_of(dev);
	struct job *job = new_job(c, ACTION_PROGRAM, op);
	struct err e;

	if (!job)
		return;
	job->step = STEP_LOOK;
	job->word = true;
	job->address = address;
	job->value = value;
	job->pages = json_array();
	if (flash_plan_init(&job->plan, c->env->board_conf, &e) != 0) {
		job_end(c, &e, NULL);
		return;
	}
	if (address % 4 || !flash_plan_holds(&job->plan, address, 4)) {
		err_set(&e, ERR_USAGE,
			"0x%" PRIx32 " is no address of a word of flash: it writes "
			"nothing else",
			address);
		job_end(c, &e, NULL);
		return;
	}
	job->plan.touched[flash_plan_page(&job->plan, address)] = true;
	next_run(job);
	go_on(c);
}

static int set_path(struct job *job, const char *path, struct err *e)
{
	job->path = strdup(path);
	return job->path ? 0 : err_set(e, ERR_NOMEM, "out of memory");
}

static void command_probe_read(
	struct device *dev, uint32_t address, uint32_t size, const char *path, struct op *op)
{
	struct command_probe *c = probe_of(dev);
	struct job *job = new_job(c, ACTION_READ, op);
	struct err e;

	if (!job)
		return;
	job->address = address;
	job->size = size;
	if (set_path(job, path, &e) != 0)
		job_end(c, &e, NULL);
	else
		go_on(c);
}

static void command_probe_verify(
	struct device *dev, uint32_t address, const char *path, struct op *op)
{
	struct command_probe *c = probe_of(dev);
	struct job *job = new_job(c, ACTION_READ, op);
	struct stat st;
	struct err e;
	int code;

	if (!job)
		return;
	job->verify = true;
	job->address = address;
	code = set_path(job, path, &e);
	if (!code && stat(path, &st) != 0)
		code = err_errno(&e, ERR_IO, errno, "%s", path);
	if (!code && (st.st_size < 1 || st.st_size > UINT32_MAX))
		code = err_set(&e, ERR_USAGE, "%s: it is empty, or larger than any flash", path);
	if (code) {
		job_end(c, &e, NULL);
		return;
	}
	job->size = (uint32_t)st.st_size;
	go_on(c);
}

static void command_probe_reset(struct device *dev, bool halt, struct op *op)
{
	if (halt)
		op_failf(op, ERR_UNSUPPORTED, "a program cannot halt the DUT");
	else if (new_job(probe_of(dev), ACTION_RESET, op))
		go_on(probe_of(dev));
}

static void command_probe_version(struct device *dev, struct op *op)
{
	struct command_probe *c = probe_of(dev);

	if (!c->words[ACTION_VERSION])
		op_done(op, json_pack("{s:s, s:s}", "tool", c->words[ACTION_READ][0], "version",
				    "not asked for"));
	else if (new_job(c, ACTION_VERSION, op))
		go_on(c);
}

static void command_probe_hold_reset(struct device *dev, bool hold, struct op *op)
{
	(void)dev;
	(void)hold;
	op_failf(op, ERR_UNSUPPORTED,
		"a program does not hold the DUT in reset: a strap that keeps it in its loader does "
		"(rig.conf: strap = {…})");
}

/* Between two programs nobody holds a debug port. */
static void command_probe_release(struct device *dev, struct op *op)
{
	(void)dev;
	op_done(op, NULL);
}

static void command_probe_unable(struct device *dev, struct op *op)
{
	(void)dev;
	op_failf(op, ERR_UNSUPPORTED, "a program only writes and reads flash");
}

static void command_probe_breakpoint(struct device *dev, uint32_t address, bool set, struct op *op)
{
	(void)address;
	(void)set;
	command_probe_unable(dev, op);
}

static void command_probe_command(struct device *dev, const char *text, struct op *op)
{
	(void)text;
	command_probe_unable(dev, op);
}

static void command_probe_run_until(struct device *dev, json_t *spec, struct op *op)
{
	(void)spec;
	command_probe_unable(dev, op);
}

/* --- life ------------------------------------------------------------------------------------- */

static int take_words(struct command_probe *c, json_t *opts, struct err *e)
{
	for (int i = 0; i < ACTIONS; i++) {
		const char *text = json_string_value(json_object_get(opts, action_names[i]));

		if (!text)
			continue;
		c->words[i] = program_words(text, e);
		if (!c->words[i])
			return err_prefix(e, "%s", action_names[i]);
		if (i <= ACTION_READ && (!strstr(text, "{address}") || !strstr(text, "{path}")))
			return err_set(e, ERR_CONFIG, "%s needs {address} and {path} in it",
				action_names[i]);
	}
	return 0;
}

static struct device *command_probe_create(
	const struct driver_env *env, json_t *opts, struct err *e)
{
	json_int_t timeout_ms = json_integer_value(json_object_get(opts, "timeout_ms"));
	struct command_probe *c;

	if (timeout_ms < 1 || timeout_ms > 3600000) {
		err_set(e, ERR_CONFIG, "timeout_ms must be 1 to 3600000");
		return NULL;
	}
	c = calloc(1, sizeof(*c));
	if (!c || asprintf(&c->scratch, "%s/command-probe.%p.bin", env->board_dir, (void *)c) < 0) {
		free(c);
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	c->env = env;
	c->timeout_ms = (unsigned)timeout_ms;
	if (take_words(c, opts, e) == 0)
		return &c->dev;
	free_probe(c);
	return NULL;
}

static void command_probe_open(struct device *dev, struct op *op)
{
	struct command_probe *c = probe_of(dev);
	struct err e;

	for (int i = 0; i < ACTIONS; i++)
		if (c->words[i] && program_check(c->words[i], &e) != 0) {
			op_fail(op, &e);
			return;
		}
	op_done(op, NULL);
}

static void safe_given_up(struct op *op, void *arg)
{
	struct command_probe *c = arg;

	(void)op;
	c->safe = NULL;
}

static void command_probe_make_safe(struct device *dev, struct op *op)
{
	struct command_probe *c = probe_of(dev);

	give_up(c, ERR_CANCELLED, "the board is made safe");
	if (!c->running) {
		op_done(op, NULL);
		return;
	}
	c->safe = op;
	op_on_cancel(op, safe_given_up, c);
}

static void command_probe_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct command_probe *c = probe_of(dev);
	struct op *safe = c->safe;

	c->closed = closed;
	c->closed_arg = arg;
	c->safe = NULL;
	if (safe) {
		op_on_cancel(safe, NULL, NULL);
		op_failf(safe, ERR_GONE, "the device was closed");
	}
	give_up(c, ERR_GONE, "the device was closed");
	go_on(c);
}

static void command_probe_check(struct device *dev, struct op *op)
{
	struct command_probe *c = probe_of(dev);

	op_done(op, json_pack("{s:[s+], s:[]}", "says", "writes with ", c->words[ACTION_PROGRAM][0],
			    "mend"));
}

static const struct probe_ops probe = {
	.program = command_probe_program,
	.verify = command_probe_verify,
	.read = command_probe_read,
	.write_word = command_probe_write_word,
	.halt = command_probe_unable,
	.resume = command_probe_unable,
	.reset = command_probe_reset,
	.hold_reset = command_probe_hold_reset,
	.breakpoint = command_probe_breakpoint,
	.release = command_probe_release,
	.command = command_probe_command,
	.version = command_probe_version,
	.gdb = command_probe_unable,
	.run_until = command_probe_run_until,
};

const struct driver driver_command_probe = {
	.name = "command-probe",
	.help = "a probe that is two programs, one that writes flash and one that reads it",
	.options = options,
	.create = command_probe_create,
	.open = command_probe_open,
	.make_safe = command_probe_make_safe,
	.close = command_probe_close,
	.check = command_probe_check,
	.probe = &probe,
};
