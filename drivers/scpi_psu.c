/*
 * scpi-psu: a laboratory supply that speaks SCPI. It switches, measures what it gives, and lets its
 * voltage sag on purpose.
 *
 * What it is asked to do becomes a list of moves, which are made one after another. Off is said
 * before anything else is asked. A switch is believed when the voltage that the supply measures at
 * its terminals says so.
 */
#include "driver.h"

#include "scpi.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOVES 16
#define COMMAND_SIZE 128
#define STEP_MS 10 /* of a ramp, at least */

enum kind { KIND_ON, KIND_OFF, KIND_GET, KIND_MEASURE, KIND_RAMP, KIND_CHECK, KIND_OPEN };

enum move_type {
	MOVE_TELL,   /* text has no answer */
	MOVE_ERRORS, /* there must be none; clears what there is */
	MOVE_OUTPUT, /* the output's state, which must be as wanted if something is */
	MOVE_VOLTS,  /* measured, until it is as wanted if something is */
	MOVE_AMPS,   /* measured */
	MOVE_RAMP    /* the voltage moves on until it is there */
};

/* What a command is for, and its option. */
enum { C_SELECT, C_VOLTS, C_AMPS, C_ON, C_OFF, A_OUTPUT, A_VOLTS, A_AMPS, A_ERROR, COMMANDS };

static const char *const command_options[COMMANDS] = {"cmd_select", "cmd_volts", "cmd_amps",
	"cmd_on", "cmd_off", "ask_output", "ask_volts", "ask_amps", "ask_error"};

/* "": there is no such command. */
static const struct dialect {
	const char *name;
	const char *commands[COMMANDS];
} dialects[] = {
	{"scpi", {"INST:NSEL {channel}", "VOLT {volts}", "CURR {amps}", "OUTP ON", "OUTP OFF",
			 "OUTP?", "MEAS:VOLT?", "MEAS:CURR?", "SYST:ERR?"}},
	{"list", {"", "VOLT {volts},(@{channel})", "CURR {amps},(@{channel})",
			 "OUTP ON,(@{channel})", "OUTP OFF,(@{channel})", "OUTP? (@{channel})",
			 "MEAS:VOLT? (@{channel})", "MEAS:CURR? (@{channel})", "SYST:ERR?"}},
	{"rigol", {"", "SOUR{channel}:VOLT {volts}", "SOUR{channel}:CURR {amps}",
			  "OUTP CH{channel},ON", "OUTP CH{channel},OFF", "OUTP? CH{channel}",
			  "MEAS:VOLT? CH{channel}", "MEAS:CURR? CH{channel}", "SYST:ERR?"}},
	{"siglent", {"", "CH{channel}:VOLT {volts}", "CH{channel}:CURR {amps}",
			    "OUTP CH{channel},ON", "OUTP CH{channel},OFF", "",
			    "MEAS:VOLT? CH{channel}", "MEAS:CURR? CH{channel}", "SYST:ERR?"}},
};

struct move {
	enum move_type type;
	char text[COMMAND_SIZE];
};

struct psu;

struct job {
	struct job *next;
	struct psu *psu;
	struct op *op; /* NULL: given up */
	enum kind kind;
	struct move moves[MOVES];
	size_t count, at;
	double target; /* volts wanted */
	double from;   /* of a ramp */
	unsigned ramp_ms;
	uint64_t start_ns;  /* of the ramp, or of waiting for the voltage */
	double volts, amps; /* as measured; NAN: not */
	int output;         /* as the supply says; -1: it did not */
};

struct psu {
	struct device dev;
	struct driver_env env;
	struct scpi *scpi;
	char *commands[COMMANDS];
	int channel; /* 0: none */
	double volts, amps, off_below, set_volts;
	unsigned settle_ms;
	struct job *jobs; /* the first is under way */
	uv_timer_t step;  /* between two steps of a ramp */
	unsigned handles;
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	SCPI_OPTIONS,
	{"volts", OPTION_NUMBER, false, NULL, "the board's voltage; needed for power"},
	{"amps", OPTION_NUMBER, false, NULL, "the current limit; left as it is if not given"},
	{"channel", OPTION_INTEGER, false, NULL, "which output, from 1 on"},
	{"dialect", OPTION_STRING, false, "scpi",
		"scpi (INST:NSEL n), list ((@n)), rigol or siglent (CHn)"},
	{"off_below_volts", OPTION_NUMBER, false, "0.3", "measured below this, it is off"},
	{"settle_ms", OPTION_INTEGER, false, "2000",
		"milliseconds for the voltage to come, or to go"},
	{"cmd_select", OPTION_STRING, false, NULL, "instead of the dialect's; {channel}"},
	{"cmd_volts", OPTION_STRING, false, NULL, "the same; {volts}, {channel}"},
	{"cmd_amps", OPTION_STRING, false, NULL, "the same; {amps}, {channel}"},
	{"cmd_on", OPTION_STRING, false, NULL, "the same; {channel}"},
	{"cmd_off", OPTION_STRING, false, NULL, "the same; {channel}"},
	{"ask_output", OPTION_STRING, false, NULL, "the same; \"\": it cannot be asked"},
	{"ask_volts", OPTION_STRING, false, NULL, "the same"},
	{"ask_amps", OPTION_STRING, false, NULL, "the same"},
	{"ask_error", OPTION_STRING, false, NULL, "the same"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct psu *psu_of(struct device *dev)
{
	return (struct psu *)dev;
}

/* --- commands --------------------------------------------------------------------------------- */

/* Writes command with its places filled in. */
static void fill_in(const struct psu *p, int command, double value, char out[COMMAND_SIZE])
{
	const char *from = p->commands[command];
	size_t n = 0;

	while (*from && n < COMMAND_SIZE - 1) {
		size_t len = strcspn(from, "}");
		int wrote = 0;

		if (*from == '{' && strncmp(from, "{channel}", 9) == 0)
			wrote = snprintf(out + n, COMMAND_SIZE - n, "%d", p->channel);
		else if (*from == '{')
			wrote = snprintf(out + n, COMMAND_SIZE - n, "%.4f", value);
		else
			out[n] = *from;
		n += *from == '{' ? (size_t)wrote : 1;
		from += *from == '{' ? len + 1 : 1;
	}
	out[n < COMMAND_SIZE ? n : COMMAND_SIZE - 1] = '\0';
}

static bool can(const struct psu *p, int command)
{
	return p->commands[command][0] != '\0';
}

/* Adds a move that needs a command; nothing when the supply has none. */
static void add(struct job *job, enum move_type type, int command, double value)
{
	if (!can(job->psu, command) || job->count == MOVES)
		return;
	job->moves[job->count].type = type;
	fill_in(job->psu, command, value, job->moves[job->count++].text);
}

static void add_select(struct job *job)
{
	if (job->psu->channel)
		add(job, MOVE_TELL, C_SELECT, 0);
}

static void add_set(struct job *job, int command, double value)
{
	add(job, MOVE_TELL, command, value);
	add(job, MOVE_ERRORS, A_ERROR, 0);
}

static void plan(struct job *job)
{
	struct psu *p = job->psu;

	add_select(job);
	switch (job->kind) {
	case KIND_ON:
		add_set(job, C_VOLTS, p->volts);
		if (p->amps > 0)
			add_set(job, C_AMPS, p->amps);
		add_set(job, C_ON, 0);
		add(job, MOVE_OUTPUT, A_OUTPUT, 0);
		add(job, MOVE_VOLTS, A_VOLTS, 0);
		break;
	case KIND_OFF:
		add_set(job, C_OFF, 0);
		add(job, MOVE_OUTPUT, A_OUTPUT, 0);
		add(job, MOVE_VOLTS, A_VOLTS, 0);
		break;
	case KIND_GET:
		add(job, MOVE_OUTPUT, A_OUTPUT, 0);
		if (!can(p, A_OUTPUT))
			add(job, MOVE_VOLTS, A_VOLTS, 0);
		break;
	case KIND_RAMP:
		add(job, MOVE_RAMP, C_VOLTS, 0);
		add(job, MOVE_ERRORS, A_ERROR, 0);
		add(job, MOVE_VOLTS, A_VOLTS, 0);
		break;
	case KIND_OPEN: /* an error from before is none of ours */
		job->moves[job->count++] = (struct move){MOVE_TELL, "*CLS"};
		add(job, MOVE_ERRORS, A_ERROR, 0);
		add(job, MOVE_VOLTS, A_VOLTS, 0);
		break;
	case KIND_MEASURE:
	case KIND_CHECK:
	default:
		add(job, MOVE_VOLTS, A_VOLTS, 0);
		add(job, MOVE_AMPS, A_AMPS, 0);
		if (job->kind == KIND_CHECK)
			add(job, MOVE_OUTPUT, A_OUTPUT, 0);
		break;
	}
}

/* --- jobs ------------------------------------------------------------------------------------- */

static void job_start(struct psu *p);
static void job_move(struct job *job);

static struct op *job_take_op(struct job *job)
{
	struct op *op = job->op;

	job->op = NULL;
	if (op)
		op_on_cancel(op, NULL, NULL);
	return op;
}

/* Ends the first job, with *e or result, and starts the next. Steals result. */
static void job_end(struct psu *p, const struct err *e, json_t *result)
{
	struct job *job = p->jobs;
	struct op *op = job_take_op(job);

	uv_timer_stop(&p->step);
	p->jobs = job->next;
	free(job);
	job_start(p);
	if (op && e)
		op_fail(op, e);
	else if (op)
		op_done(op, json_incref(result));
	json_decref(result);
}

static void job_fail(struct job *job, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void job_fail(struct job *job, const char *fmt, ...)
{
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	err_vset(&e, ERR_BENCH, fmt, ap);
	va_end(ap);
	job_end(job->psu, &e, NULL);
}

static json_t *number_or_null(double x)
{
	return isnan(x) ? json_null() : json_real(x);
}

static json_t *check_result(const struct job *job)
{
	json_t *says = json_array(), *mend = json_array();

	json_array_append_new(says, json_sprintf("%s%s", scpi_id(job->psu->scpi),
					    job->output < 0 ? ""
					    : job->output   ? ", output on"
							    : ", output off"));
	if (!isnan(job->volts))
		json_array_append_new(says, json_sprintf("%.3f V", job->volts));
	if (!isnan(job->amps))
		json_array_append_new(says, json_sprintf("%.3f A", job->amps));
	if (!can(job->psu, A_VOLTS))
		json_array_append_new(mend,
			json_string("it cannot be asked for the voltage: that power is off is not "
				    "verified (ask_volts)"));
	if (scpi_port(job->psu->scpi))
		json_array_append_new(says, json_sprintf("at %s", scpi_port(job->psu->scpi)));
	return json_pack("{s:o, s:o}", "says", says, "mend", mend);
}

/* All moves are made. */
static void job_succeed(struct job *job)
{
	struct psu *p = job->psu;
	json_t *result = NULL;

	switch (job->kind) {
	case KIND_ON:
	case KIND_OFF:
		result = json_pack("{s:s}", "verified", can(p, A_VOLTS) ? "read-back" : "none");
		break;
	case KIND_GET:
		if (job->output < 0 && isnan(job->volts)) {
			job_fail(job, "it can be asked neither for its output nor for its voltage");
			return;
		}
		result = json_pack("{s:b}", "on",
			job->output < 0 ? job->volts >= p->off_below : job->output == 1);
		break;
	case KIND_RAMP:
		result = json_pack("{s:o}", "volts", number_or_null(job->volts));
		break;
	case KIND_CHECK:
		result = check_result(job);
		break;
	case KIND_OPEN:
		break;
	case KIND_MEASURE:
	default:
		result = json_pack("{s:o, s:o}", "volts", number_or_null(job->volts), "amps",
			number_or_null(job->amps));
		break;
	}
	job_end(p, NULL, result);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void job_next(struct job *job)
{
	job->at++;
	job->start_ns = 0;
	job_move(job);
}

/* A number, perhaps with its unit behind it. SCPI's 9.9E37 and 9.91E37 are no measurements. */
static bool take_number(const char *answer, double *value)
{
	char *end;

	*value = strtod(answer, &end);
	end += strspn(end, " ");
	if (end != answer && (*end == 'V' || *end == 'A'))
		end++;
	return end != answer && *end == '\0' && fabs(*value) < 9e37;
}

static double tolerance(double volts)
{
	return volts * 0.05 > 0.1 ? volts * 0.05 : 0.1;
}

/* Whether the voltage is as this job wants it. */
static bool volts_will_do(const struct job *job)
{
	if (job->kind == KIND_OFF)
		return job->volts < job->psu->off_below;
	if (job->kind == KIND_ON || job->kind == KIND_RAMP)
		return fabs(job->volts - job->target) <= tolerance(job->target);
	return true;
}

static void volts_are_wrong(struct job *job)
{
	if (job->kind == KIND_OFF)
		job_fail(job,
			"set off: %.3f V after %u ms (settle_ms): is something else feeding the "
			"board, or is off_below_volts (%.3g) too low?",
			job->volts, job->psu->settle_ms, job->psu->off_below);
	else
		job_fail(job,
			"%.3f V after %u ms (settle_ms) instead of %.3f V: does the current limit "
			"hold it down, or is the output off?",
			job->volts, job->psu->settle_ms, job->target);
}

static void got_volts(struct job *job, const char *answer)
{
	if (!take_number(answer, &job->volts)) {
		job_fail(job, "\"%.60s\" is no voltage", answer);
		return;
	}
	if (!job->start_ns)
		job->start_ns = uv_hrtime();
	if (volts_will_do(job))
		job_next(job);
	else if (uv_hrtime() - job->start_ns > (uint64_t)job->psu->settle_ms * 1000000)
		volts_are_wrong(job);
	else
		job_move(job); /* again, as fast as it answers */
}

static void got_output(struct job *job, const char *answer)
{
	bool on = strcmp(answer, "1") == 0 || strcasecmp(answer, "ON") == 0;

	if (!on && strcmp(answer, "0") != 0 && strcasecmp(answer, "OFF") != 0) {
		job_fail(job, "\"%.60s\" does not say whether the output is on", answer);
		return;
	}
	job->output = on;
	if (job->kind == KIND_ON && !on)
		job_fail(job, "set on: the supply says that its output is off: did a protection "
			      "(OVP, OCP) trip?");
	else if (job->kind == KIND_OFF && on)
		job_fail(job, "set off: the supply says that its output is on");
	else
		job_next(job);
}

static void got_error(struct job *job, const char *answer)
{
	char *end;
	long number = strtol(answer, &end, 10);
	char said[100];

	if (end != answer && number == 0) {
		job_next(job);
		return;
	}
	snprintf(said, sizeof(said), "%.99s", answer);
	scpi_tell(job->psu->scpi, "*CLS"); /* or it would be the next command's error */
	job_fail(job, "the supply refuses \"%s\": %s", job->moves[job->at - 1].text, said);
}

static void answered(void *arg, const struct err *e, const char *answer)
{
	struct psu *p = arg;
	struct job *job = p->jobs;

	if (e) {
		job_end(p, e, NULL);
		return;
	}
	switch (job->moves[job->at].type) {
	case MOVE_ERRORS:
		got_error(job, answer);
		break;
	case MOVE_OUTPUT:
		got_output(job, answer);
		break;
	case MOVE_AMPS:
		if (take_number(answer, &job->amps))
			job_next(job);
		else
			job_fail(job, "\"%.60s\" is no current", answer);
		break;
	case MOVE_VOLTS:
	case MOVE_TELL:
	case MOVE_RAMP: /* has an answer of its own */
	default:
		got_volts(job, answer);
		break;
	}
}

/* --- moves ------------------------------------------------------------------------------------ */

static void ramp_waited(uv_timer_t *timer)
{
	struct psu *p = timer->data;

	job_move(p->jobs);
}

static void ramp_answered(void *arg, const struct err *e, const char *answer)
{
	struct psu *p = arg;

	(void)answer;
	if (e)
		job_end(p, e, NULL);
	else
		uv_timer_start(&p->step, ramp_waited, STEP_MS, 0);
}

/* One step of a ramp: the voltage that belongs to this moment. The supply's answer to a question
 * says that it has taken it, so that steps do not heap up in a slow one. */
static void ramp_step(struct job *job)
{
	struct psu *p = job->psu;
	double part = 1;
	char text[COMMAND_SIZE];
	int ask = can(p, A_ERROR) ? A_ERROR : A_VOLTS;

	if (!job->start_ns)
		job->start_ns = uv_hrtime();
	if (job->ramp_ms)
		part = (double)(uv_hrtime() - job->start_ns) / 1e6 / job->ramp_ms;
	if (part > 1)
		part = 1;
	p->set_volts = job->from + (job->target - job->from) * part;
	fill_in(p, C_VOLTS, p->set_volts, text);
	scpi_tell(p->scpi, text);
	snprintf(job->moves[job->at].text, COMMAND_SIZE, "%s", text);
	if (part >= 1) {
		job_next(job);
		return;
	}
	if (!can(p, ask)) {
		uv_timer_start(&p->step, ramp_waited, STEP_MS, 0);
		return;
	}
	fill_in(p, ask, 0, text);
	scpi_ask(p->scpi, text, ramp_answered, p);
}

/* Makes the move that is next. */
static void job_move(struct job *job)
{
	struct psu *p = job->psu;

	while (job->at < job->count && job->moves[job->at].type == MOVE_TELL)
		scpi_tell(p->scpi, job->moves[job->at++].text);
	if (job->at == job->count)
		job_succeed(job);
	else if (job->moves[job->at].type == MOVE_RAMP)
		ramp_step(job);
	else
		scpi_ask(p->scpi, job->moves[job->at].text, answered, p);
}

static void psu_ready(void *arg, const struct err *e)
{
	struct psu *p = arg;

	if (e)
		job_end(p, e, NULL);
	else
		job_move(p->jobs);
}

/* Starts the first job, unless it was given up. */
static void job_start(struct psu *p)
{
	while (p->jobs && !p->jobs->op) {
		struct job *job = p->jobs;

		p->jobs = job->next;
		free(job);
	}
	if (p->jobs && !p->closing)
		scpi_ready(p->scpi, psu_ready, p);
}

/* The first job's moves are not made any more. */
static void job_abandon(struct psu *p)
{
	struct job *job = p->jobs;

	uv_timer_stop(&p->step);
	scpi_give_up(p->scpi);
	p->jobs = job->next;
	free(job);
	job_start(p);
}

static void job_given_up(struct op *op, void *arg)
{
	struct job *job = arg;

	(void)op;
	job->op = NULL;
	if (job == job->psu->jobs)
		job_abandon(job->psu);
}

/* Ends what is under way and what waits. Whoever hears of it may start something else, which comes
 * behind. */
static void give_all_up(struct psu *p, enum err_code code, const char *why)
{
	struct job *jobs = p->jobs;

	p->jobs = NULL;
	uv_timer_stop(&p->step);
	if (jobs)
		scpi_give_up(p->scpi);
	while (jobs) {
		struct job *job = jobs;
		struct op *op = job_take_op(job);

		jobs = job->next;
		free(job);
		if (op)
			op_failf(op, (int)code, "%s", why);
	}
}

static struct job *job_new(struct psu *p, enum kind kind, struct op *op)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return NULL;
	}
	job->psu = p;
	job->op = op;
	job->kind = kind;
	job->volts = job->amps = NAN;
	job->output = -1;
	job->target = p->volts;
	plan(job);
	return job;
}

static void job_add(struct job *job)
{
	struct psu *p = job->psu;
	struct job **last = &p->jobs;

	while (*last)
		last = &(*last)->next;
	*last = job;
	op_on_cancel(job->op, job_given_up, job);
	if (p->jobs == job)
		job_start(p);
}

static void job_run(struct psu *p, enum kind kind, struct op *op)
{
	struct job *job = job_new(p, kind, op);

	if (job)
		job_add(job);
}

/* --- the driver ------------------------------------------------------------------------------- */

static void psu_set(struct device *dev, bool on, struct op *op)
{
	struct psu *p = psu_of(dev);

	give_all_up(p, ERR_CANCELLED, "the power was switched in the meantime");
	if (on)
		p->set_volts = p->volts;
	job_run(p, on ? KIND_ON : KIND_OFF, op);
}

static void psu_get(struct device *dev, struct op *op)
{
	job_run(psu_of(dev), KIND_GET, op);
}

static void psu_measure(struct device *dev, struct op *op)
{
	job_run(psu_of(dev), KIND_MEASURE, op);
}

static void psu_check(struct device *dev, struct op *op)
{
	job_run(psu_of(dev), KIND_CHECK, op);
}

static void psu_set_volts(struct device *dev, double volts, unsigned ramp_ms, struct op *op)
{
	struct psu *p = psu_of(dev);
	struct job *job;

	if (!(volts >= 0 && volts <= 1000)) {
		op_failf(op, ERR_USAGE, "a voltage is 0 to 1000, not %g", volts);
		return;
	}
	job = job_new(p, KIND_RAMP, op);
	if (!job)
		return;
	job->from = p->set_volts;
	job->target = volts;
	job->ramp_ms = ramp_ms;
	job_add(job);
}

static void psu_open(struct device *dev, struct op *op)
{
	struct psu *p = psu_of(dev);

	/* who it is, and whether it answers */
	job_run(p, KIND_OPEN, op);
}

static void psu_make_safe(struct device *dev, struct op *op)
{
	struct psu *p = psu_of(dev);

	give_all_up(p, ERR_CANCELLED, "the board is made safe");
	if (strcmp(p->env.capability, "meter") == 0)
		op_done(op, NULL); /* one that only measures switches nothing off */
	else
		job_run(p, KIND_OFF, op);
}

static void psu_free(struct psu *p)
{
	for (int i = 0; i < COMMANDS; i++)
		free(p->commands[i]);
	free(p);
}

static void part_closed(struct psu *p)
{
	void (*closed)(void *arg) = p->closed;
	void *arg = p->closed_arg;

	if (--p->handles)
		return;
	psu_free(p);
	closed(arg);
}

static void scpi_closed(void *arg)
{
	part_closed(arg);
}

static void step_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void psu_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct psu *p = psu_of(dev);

	p->closing = true;
	give_all_up(p, ERR_GONE, "the device was closed");
	p->closed = closed;
	p->closed_arg = arg;
	p->handles = 2;
	scpi_destroy(p->scpi, scpi_closed, p);
	uv_close((uv_handle_t *)&p->step, step_closed);
}

/* --- options ---------------------------------------------------------------------------------- */

static const struct dialect *dialect_find(const char *name)
{
	for (size_t i = 0; i < sizeof(dialects) / sizeof(*dialects); i++)
		if (strcmp(dialects[i].name, name) == 0)
			return &dialects[i];
	return NULL;
}

/* Whether each brace in text is part of a place that can be filled in. */
static bool places_are_known(const char *text)
{
	static const char *const places[] = {"{channel}", "{volts}", "{amps}"};

	for (const char *p = strpbrk(text, "{}"); p; p = strpbrk(p, "{}")) {
		size_t i = 0;

		while (i < 3 && strncmp(p, places[i], strlen(places[i])) != 0)
			i++;
		if (i == 3)
			return false;
		p += strlen(places[i]);
	}
	return true;
}

static int take_commands(struct psu *p, json_t *given, struct err *e)
{
	const char *name = json_string_value(json_object_get(given, "dialect"));
	const struct dialect *dialect = dialect_find(name);

	if (!dialect)
		return err_set(e, ERR_CONFIG,
			"dialect is scpi, list, rigol or siglent, not \"%.40s\"", name);
	for (int i = 0; i < COMMANDS; i++) {
		const char *text = json_string_value(json_object_get(given, command_options[i]));

		p->commands[i] = strdup(text ? text : dialect->commands[i]);
		if (!p->commands[i])
			return err_set(e, ERR_NOMEM, "out of memory");
		if (strlen(p->commands[i]) > COMMAND_SIZE - 40 || !places_are_known(p->commands[i]))
			return err_set(e, ERR_CONFIG,
				"%s: \"%.60s\": at most %d characters, and no braces but in "
				"{channel}, {volts} and {amps}",
				command_options[i], p->commands[i], COMMAND_SIZE - 40);
		if (strstr(p->commands[i], "{channel}") && !p->channel && i != C_SELECT)
			return err_set(e, ERR_CONFIG, "channel is missing: \"%.60s\" needs it",
				p->commands[i]);
	}
	if (!can(p, C_ON) || !can(p, C_OFF) || !can(p, C_VOLTS))
		return err_set(e, ERR_CONFIG, "cmd_on, cmd_off and cmd_volts must not be empty");
	return 0;
}

static int take_options(struct psu *p, json_t *given, struct err *e)
{
	json_int_t channel = json_integer_value(json_object_get(given, "channel"));
	json_int_t settle_ms = json_integer_value(json_object_get(given, "settle_ms"));

	p->volts = p->set_volts = json_number_value(json_object_get(given, "volts"));
	p->amps = json_number_value(json_object_get(given, "amps"));
	p->off_below = json_number_value(json_object_get(given, "off_below_volts"));
	if (strcmp(p->env.capability, "meter") != 0 && !(p->volts > 0 && p->volts <= 1000))
		return err_set(e, ERR_CONFIG,
			"volts is missing, or not between 0 and 1000: the board's voltage");
	if (json_object_get(given, "amps") && !(p->amps > 0 && p->amps <= 1000))
		return err_set(e, ERR_CONFIG, "amps must be more than 0, at most 1000");
	if (!(p->off_below > 0 && p->off_below <= 1000))
		return err_set(e, ERR_CONFIG, "off_below_volts must be more than 0");
	if (channel < 0 || channel > 99 || (!channel && json_object_get(given, "channel")))
		return err_set(e, ERR_CONFIG, "channel must be 1 to 99");
	if (settle_ms < 0 || settle_ms > 60000)
		return err_set(e, ERR_CONFIG, "settle_ms must be 0 to 60000");
	p->channel = (int)channel;
	p->settle_ms = (unsigned)settle_ms;
	return take_commands(p, given, e);
}

extern const struct driver driver_scpi_psu;

static struct device *psu_create(const struct driver_env *env, json_t *given, struct err *e)
{
	struct psu *p = calloc(1, sizeof(*p));

	if (!p) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	p->dev.driver = &driver_scpi_psu;
	p->env = *env;
	if (!take_options(p, given, e))
		p->scpi = scpi_create(env->loop, given, e);
	if (!p->scpi) {
		psu_free(p);
		return NULL;
	}
	uv_timer_init(env->loop, &p->step);
	p->step.data = p;
	return &p->dev;
}

static const struct power_ops power = {.set = psu_set, .get = psu_get};
static const struct meter_ops meter = {.measure = psu_measure};
static const struct supply_ops supply = {.set_volts = psu_set_volts};

const struct driver driver_scpi_psu = {
	.name = "scpi-psu",
	.help = "a laboratory supply that speaks SCPI: switches, measures, ramps",
	.options = options,
	.create = psu_create,
	.open = psu_open,
	.make_safe = psu_make_safe,
	.close = psu_close,
	.check = psu_check,
	.power = &power,
	.meter = &meter,
	.supply = &supply,
};
