/*
 * command: power through any program: one that switches on, one that switches off, and perhaps one
 * that tells how it is.
 *
 * One program runs at a time. Switching puts an end to whatever runs, and starts when that has
 * ended: two programs at one relay would fight over it.
 */
#include "driver.h"

#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SAFE_MS 4000 /* at most, for each of the two programs of make_safe */

enum step { STEP_ON, STEP_OFF, STEP_GET };

static const char *const step_names[] = {"on", "off", "get"};

struct command;

struct job {
	uint64_t number;
	struct job *next;
	struct command *c;
	struct op *op;  /* NULL: given up */
	enum step step; /* what runs, or is to run */
	bool switches, wanted;
	unsigned timeout_ms;
};

struct command {
	struct device dev;
	struct driver_env env;
	char **words[3]; /* by step; NULL: none */
	bool measures;
	unsigned timeout_ms;
	uint64_t job_number; /* of the next one */
	struct job *jobs;    /* the first is the one whose program runs */
	struct program *running;
	uv_timer_t patience; /* of close, with a program that does not end */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	{"on", OPTION_STRING, true, NULL, "the program that switches on, with its arguments"},
	{"off", OPTION_STRING, true, NULL, "the program that switches off, with its arguments"},
	{"get", OPTION_STRING, false, NULL,
		"one that prints on or off, or prints nothing and ends with 0 (on) or 1 (off)"},
	{"get_measures", OPTION_BOOLEAN, false, "false",
		"get measures the power, and does not repeat what was asked for"},
	{"shell", OPTION_BOOLEAN, false, "false", "on, off and get are lines for /bin/sh"},
	{"timeout_ms", OPTION_INTEGER, false, "5000", "milliseconds after which one is killed"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct command *command_of(struct device *dev)
{
	return (struct command *)dev;
}

/* --- jobs ------------------------------------------------------------------------------------- */

static void command_next(struct command *c);

/* Takes the job's operation away from it, to be completed. */
static struct op *job_take_op(struct job *job)
{
	struct op *op = job->op;

	job->op = NULL;
	if (op)
		op_on_cancel(op, NULL, NULL);
	return op;
}

/* The first job is over, its program has ended: completes its operation with *e, if e is not NULL,
 * or result. Whoever hears of it may start another. */
static void job_end(struct command *c, const struct err *e, json_t *result)
{
	struct job *job = c->jobs;
	struct op *op = job_take_op(job);

	c->jobs = job->next;
	free(job);
	if (op && e)
		op_fail(op, e);
	else if (op)
		op_done(op, json_incref(result));
	json_decref(result);
}

/* How the program that ended puts it: its last words, after ": ". */
static void last_words(const struct program_end *end, char *buf, size_t size)
{
	const char *words = end->err[0] ? end->err : end->out;

	snprintf(buf, size, "%s%s", words[0] ? ": " : "", words);
}

static int judge_end(const struct job *job, const struct program_end *end, struct err *e)
{
	const char *step = step_names[job->step], *program = job->c->words[job->step][0];
	char words[512];

	last_words(end, words, sizeof(words));
	if (end->timed_out)
		return err_set(e, ERR_BENCH,
			"%s: %.200s had not ended after %u ms (timeout_ms) and was killed%s", step,
			program, job->timeout_ms, words);
	if (end->signal)
		return err_set(e, ERR_BENCH, "%s: %.200s was ended by signal %d%s", step, program,
			end->signal, words);
	if (end->status && !(job->step == STEP_GET && end->status == 1 && !end->out[0]))
		return err_set(e, ERR_BENCH, "%s: %.200s ended with status %lld%s", step, program,
			(long long)end->status, words);
	return 0;
}

/* What get says. */
static int judge_get(const struct job *job, const struct program_end *end, bool *on, struct err *e)
{
	const char *says = end->out + strspn(end->out, " \t");
	size_t len = strcspn(says, " \t");
	bool alone = says[len + strspn(says + len, " \t")] == '\0';

	if (!says[0]) {
		*on = end->status == 0;
		/* one that failed to start with a word is no "off" */
		if (end->status && end->err[0])
			return err_set(e, ERR_BENCH, "get: %.200s ended with status 1: %s",
				job->c->words[STEP_GET][0], end->err);
		return 0;
	}
	*on = len == 2;
	if (alone && ((len == 2 && strncasecmp(says, "on", 2) == 0) ||
			     (len == 3 && strncasecmp(says, "off", 3) == 0)))
		return 0;
	return err_set(e, ERR_BENCH, "get: %.200s printed \"%.100s\", neither on nor off",
		job->c->words[STEP_GET][0], says);
}

static int judge_switch(const struct job *job, bool on, struct err *e)
{
	if (job->switches && on != job->wanted)
		return err_set(e, ERR_BENCH, "set %s: read-back by %.200s says %s",
			job->wanted ? "on" : "off", job->c->words[STEP_GET][0], on ? "on" : "off");
	return 0;
}

/* A step of the first job went well: ends the job, if there is no other step. */
static void job_went_well(struct command *c, const struct program_end *end)
{
	struct job *job = c->jobs;
	struct err e;
	bool on;

	if (job->step != STEP_GET && c->measures)
		job->step = STEP_GET;
	else if (job->step != STEP_GET)
		job_end(c, NULL, json_pack("{s:s}", "verified", "none"));
	else if (judge_get(job, end, &on, &e) || judge_switch(job, on, &e))
		job_end(c, &e, NULL);
	else if (job->switches)
		job_end(c, NULL, json_pack("{s:s}", "verified", "read-back"));
	else
		job_end(c, NULL, json_pack("{s:b}", "on", on));
}

static void program_over(void *arg, const struct program_end *end)
{
	struct command *c = arg;
	struct err e;

	c->running = NULL;
	if (!c->jobs->op)
		job_end(c, NULL, NULL);
	else if (judge_end(c->jobs, end, &e))
		job_end(c, &e, NULL);
	else
		job_went_well(c, end);
	command_next(c);
}

static void command_finish(struct command *c);

/* Starts the program that is next, unless one runs. */
static void command_next(struct command *c)
{
	while (c->jobs && !c->running) {
		struct job *job = c->jobs;
		struct err e;

		e.code = ERR_NONE;
		if (job->op)
			c->running = program_start(c->env.loop, c->words[job->step],
				job->timeout_ms, program_over, c, &e);
		if (e.code != ERR_NONE)
			err_prefix(&e, "%s", step_names[job->step]);
		if (!c->running)
			job_end(c, e.code != ERR_NONE ? &e : NULL, NULL);
	}
	if (c->closing && !c->jobs)
		command_finish(c);
}

static void job_given_up(struct op *op, void *arg)
{
	struct job *job = arg;

	(void)op;
	job->op = NULL;
	if (job == job->c->jobs && job->c->running)
		program_kill(job->c->running);
}

/* The first job with an operation, among those that there were before before. */
static struct job *job_alive(struct command *c, uint64_t before)
{
	struct job *job = c->jobs;

	while (job && job->number < before && !job->op)
		job = job->next;
	return job && job->number < before ? job : NULL;
}

/* Ends everything under way and waiting. Whoever hears of it may start something else. */
static void give_all_up(struct command *c, enum err_code code, const char *why)
{
	uint64_t before = c->job_number;
	struct job *job;

	if (c->running)
		program_kill(c->running);
	while ((job = job_alive(c, before)))
		op_failf(job_take_op(job), (int)code, "%s", why);
}

static void command_add(struct command *c, enum step step, unsigned timeout_ms, struct op *op)
{
	struct job *job = calloc(1, sizeof(*job)), **last = &c->jobs;

	if (!job) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	*job = (struct job){
		c->job_number++, NULL, c, op, step, step != STEP_GET, step == STEP_ON, timeout_ms};
	while (*last)
		last = &(*last)->next;
	*last = job;
	op_on_cancel(op, job_given_up, job);
	command_next(c);
}

/* --- the driver ------------------------------------------------------------------------------- */

static void command_set(struct device *dev, bool on, struct op *op)
{
	struct command *c = command_of(dev);

	give_all_up(c, ERR_CANCELLED, "the power was switched in the meantime");
	command_add(c, on ? STEP_ON : STEP_OFF, c->timeout_ms, op);
}

static void command_get(struct device *dev, struct op *op)
{
	struct command *c = command_of(dev);

	if (c->words[STEP_GET])
		command_add(c, STEP_GET, c->timeout_ms, op);
	else
		op_failf(op, ERR_UNSUPPORTED,
			"rig.conf names no program that tells: get = \"PROGRAM …\"");
}

static void command_make_safe(struct device *dev, struct op *op)
{
	struct command *c = command_of(dev);

	give_all_up(c, ERR_CANCELLED, "the board is made safe");
	command_add(c, STEP_OFF, c->timeout_ms < SAFE_MS ? c->timeout_ms : SAFE_MS, op);
}

static void command_open(struct device *dev, struct op *op)
{
	struct command *c = command_of(dev);
	struct err e;

	for (int i = 0; i < 3; i++) {
		if (c->words[i] && program_check(c->words[i], &e)) {
			err_prefix(&e, "%s", step_names[i]);
			op_fail(op, &e);
			return;
		}
	}
	op_done(op, NULL);
}

/* What get says goes into the answer of a check. */
struct check {
	struct op *op; /* NULL: given up */
	struct op *get;
	struct command *c;
};

static void check_got(void *arg, const struct err *e, json_t *result)
{
	struct check *check = arg;
	struct op *op = check->op;
	bool on = json_is_true(json_object_get(result, "on"));
	const char *program = check->c->words[STEP_GET][0];

	if (op) {
		op_on_cancel(op, NULL, NULL);
		if (e)
			op_fail(op, e);
		else
			op_done(op, json_pack("{s:[s+++], s:[]}", "says", "the power is ",
					    on ? "on" : "off", ", says ", program, "mend"));
	}
	free(check);
}

static void check_given_up(struct op *op, void *arg)
{
	struct check *check = arg;
	struct err why;

	(void)op;
	check->op = NULL;
	err_set(&why, ERR_CANCELLED, "the check was given up");
	op_cancel(check->get, &why);
}

static void command_check(struct device *dev, struct op *op)
{
	struct command *c = command_of(dev);
	struct check *check;

	if (!c->words[STEP_GET]) {
		op_done(op,
			json_pack("{s:[s++], s:[s]}", "says", "runs ", c->words[STEP_ON][0],
				" and the like", "mend",
				"nothing tells whether the power is on: give get = \"PROGRAM …\" "
				"if there is one"));
		return;
	}
	check = calloc(1, sizeof(*check));
	if (check)
		check->get = op_start(c->env.loop, "get", c->timeout_ms + 1000, check_got, check);
	if (!check || !check->get) {
		free(check);
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	check->op = op;
	check->c = c;
	op_on_cancel(op, check_given_up, check);
	command_get(dev, check->get);
}

/* The words of an option; NULL where there are none, and *e is set when they are wrong. */
static char **option_words(json_t *given, const char *name, struct err *e)
{
	const char *text = json_string_value(json_object_get(given, name));
	bool shell = json_is_true(json_object_get(given, "shell"));
	char **words;

	if (!text)
		return NULL;
	if (!shell) {
		words = program_words(text, e);
	} else {
		words = program_words("/bin/sh -c line", e);
		if (words) {
			free(words[2]);
			words[2] = strdup(text);
		}
	}
	if (!words) {
		err_prefix(e, "%s", name);
	} else if (strchr(words[0], '/') && words[0][0] != '/') {
		err_set(e, ERR_CONFIG,
			"%s: \"%.200s\": give the whole path, from / on, or a name on PATH", name,
			words[0]);
	}
	return words;
}

extern const struct driver driver_command;

static void command_free(struct command *c)
{
	for (int i = 0; i < 3; i++)
		program_words_free(c->words[i]);
	free(c);
}

static struct device *command_create(const struct driver_env *env, json_t *given, struct err *e)
{
	json_int_t timeout_ms = json_integer_value(json_object_get(given, "timeout_ms"));
	struct command *c = calloc(1, sizeof(*c));

	if (!c) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	c->dev.driver = &driver_command;
	c->env = *env;
	c->measures = json_is_true(json_object_get(given, "get_measures"));
	c->timeout_ms = (unsigned)timeout_ms;
	e->code = ERR_NONE;
	for (int i = 0; e->code == ERR_NONE && i < 3; i++)
		c->words[i] = option_words(given, step_names[i], e);
	if (e->code == ERR_NONE && (timeout_ms < 10 || timeout_ms > 600000))
		err_set(e, ERR_CONFIG, "timeout_ms must be 10 to 600000");
	else if (e->code == ERR_NONE && c->measures && !c->words[STEP_GET])
		err_set(e, ERR_CONFIG, "get_measures needs get, the program that measures");
	if (e->code != ERR_NONE) {
		command_free(c);
		return NULL;
	}
	uv_timer_init(env->loop, &c->patience);
	c->patience.data = c;
	return &c->dev;
}

static void patience_closed(uv_handle_t *handle)
{
	struct command *c = handle->data;
	void (*closed)(void *arg) = c->closed;
	void *arg = c->closed_arg;

	while (c->jobs)
		job_end(c, NULL, NULL);
	command_free(c);
	closed(arg);
}

static void command_finish(struct command *c)
{
	if (c->running)
		program_forget(c->running);
	c->running = NULL;
	if (!uv_is_closing((uv_handle_t *)&c->patience))
		uv_close((uv_handle_t *)&c->patience, patience_closed);
}

static void patience_over(uv_timer_t *timer)
{
	command_finish(timer->data);
}

static void command_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct command *c = command_of(dev);

	c->closing = true;
	c->closed = closed;
	c->closed_arg = arg;
	give_all_up(c, ERR_GONE, "the device was closed");
	/* the program is killed; one that the kernel holds on to is left behind */
	uv_timer_start(&c->patience, patience_over, 1000, 0);
	command_next(c);
}

static const struct power_ops power = {.set = command_set, .get = command_get};

const struct driver driver_command = {
	.name = "command",
	.help = "power through any program that switches it",
	.options = options,
	.create = command_create,
	.open = command_open,
	.make_safe = command_make_safe,
	.close = command_close,
	.check = command_check,
	.power = &power,
};
