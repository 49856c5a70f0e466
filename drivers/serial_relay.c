/*
 * serial-relay: power over a relay board on a serial port.
 *
 * lcus: boards with a CH340 ("LCUS-1" … "LCUS-8"), channels from 1. Four bytes set one: 0xa0,
 * channel, 0 or 1, and the sum of the three; the byte 0xff asks, and boards that know it answer
 * with a line "CH1: ON" for each channel (the seller's "serial port relay module" sheet). There is
 * no answer to a set.
 *
 * numato: boards that are spoken to as a terminal, channels from 0, those above 9 as letters:
 * "relay on 0", "relay off 0", "relay read 0", each ended by CR, echoed, answered and followed by
 * the prompt ">" (Numato Lab's user guide, "The command set").
 *
 * The board's channels may be of several boards of the bench, each of which has the port open: it
 * is locked while a command is sent and answered.
 */
#include "driver.h"
#include "serial_port.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 500
#define LOCK_MS 2000 /* as long as every other channel of a large board is switched once */
#define OPEN_MS 4000
#define TRIES 2 /* a byte may get lost; a command comes to the same when sent again */
#define SETTLE_MAX_MS 60000

enum read_back { READ_BACK_AUTO, READ_BACK_ALWAYS, READ_BACK_NEVER };

struct protocol {
	const char *name;
	int first, last; /* channels */
	bool prompts;    /* every command is answered by a prompt */
	size_t (*set)(char *buf, size_t size, int channel, bool on);
	size_t (*query)(char *buf, size_t size, int channel);
	/* What in says of the channel: 1 on, 0 off, -1 nothing yet. */
	int (*state)(const char *in, int channel);
};

/* Something asked of the relay. */
enum job_kind { JOB_OPEN, JOB_SET, JOB_GET };

struct relay;

struct job {
	struct job *next;
	struct relay *relay;
	enum job_kind kind;
	bool on, safe;
	struct op *op;
};

struct relay {
	struct device dev;
	struct driver_env env;
	struct serial_port *port;
	const struct protocol *protocol;
	int channel;
	unsigned settle_ms;
	enum read_back read_back;

	bool ready;     /* the port is open, the channel ours, and it is known whether it answers */
	bool answers;   /* it tells its state */
	bool known, on; /* what it was switched to last */

	struct job *jobs; /* the first is under way */
	struct op *inner; /* what that waits for */
	void (*step)(struct relay *r);
	/* one exchange: what is sent, what came, and what comes after it */
	char out[32];
	size_t out_len;
	char in[1024];
	size_t in_len;
	bool for_state, exchanging;
	unsigned tries;
	void (*then)(struct relay *r, int state);
	uv_timer_t timer;

	bool closing;
	unsigned handles;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	{"protocol", OPTION_STRING, false, "lcus", "how the board is spoken to: lcus or numato"},
	{"channel", OPTION_INTEGER, true, NULL,
		"the relay, as the board counts: lcus from 1, numato from 0"},
	{"read_back", OPTION_STRING, false, "auto",
		"whether the board tells its state: auto (it is asked when it is opened), always, never"},
	{"settle_ms", OPTION_INTEGER, false, "20", "milliseconds until the contact has settled"},
	SERIAL_PORT_NAME_OPTIONS, SERIAL_PORT_LINE_OPTIONS("9600"),
	{NULL, OPTION_STRING, false, NULL, NULL}};

static struct relay *relay_of(struct device *dev)
{
	return (struct relay *)dev;
}

/* --- the protocols ---------------------------------------------------------------------------- */

static size_t lcus_set(char *buf, size_t size, int channel, bool on)
{
	(void)size;
	buf[0] = (char)0xa0;
	buf[1] = (char)channel;
	buf[2] = (char)on;
	buf[3] = (char)(0xa0 + channel + on);
	return 4;
}

static size_t lcus_query(char *buf, size_t size, int channel)
{
	(void)size;
	(void)channel;
	buf[0] = (char)0xff;
	return 1;
}

static int lcus_state(const char *in, int channel)
{
	char name[16];
	int state = -1;

	snprintf(name, sizeof(name), "CH%d:", channel);
	for (const char *p = in; (p = strcasestr(p, name)); p++) {
		const char *word = p + strlen(name);

		word += strspn(word, " ");
		if (strncasecmp(word, "ON", 2) == 0)
			state = 1;
		else if (strncasecmp(word, "OFF", 3) == 0)
			state = 0;
	}
	return state;
}

/* The name of a channel: 0 … 9, A … V. */
static char numato_name(int channel)
{
	return (char)(channel < 10 ? '0' + channel : 'A' + channel - 10);
}

static size_t numato_set(char *buf, size_t size, int channel, bool on)
{
	return (size_t)snprintf(
		buf, size, "relay %s %c\r", on ? "on" : "off", numato_name(channel));
}

static size_t numato_query(char *buf, size_t size, int channel)
{
	return (size_t)snprintf(buf, size, "relay read %c\r", numato_name(channel));
}

/* Behind the echo, a line of its own, and the prompt behind that. */
static int numato_state(const char *in, int channel)
{
	const char *echo = NULL, *word;
	char query[32];

	numato_query(query, sizeof(query), channel);
	query[strcspn(query, "\r")] = '\0';
	for (const char *p = in; (p = strstr(p, query)); p++)
		echo = p;
	if (!echo)
		return -1;
	word = echo + strlen(query);
	word += strspn(word, "\r\n ");
	if (!strchr(word, '>'))
		return -1;
	if (strncmp(word, "on", 2) == 0 && isspace((unsigned char)word[2]))
		return 1;
	return strncmp(word, "off", 3) == 0 && isspace((unsigned char)word[3]) ? 0 : -1;
}

static const struct protocol protocols[] = {
	{"lcus", 1, 16, false, lcus_set, lcus_query, lcus_state},
	{"numato", 0, 31, true, numato_set, numato_query, numato_state},
};

/* --- jobs ------------------------------------------------------------------------------------- */

static void start_job(struct relay *r);

/* Nothing is waited for any more. */
static void drop_inner(struct relay *r)
{
	struct op *inner = r->inner;
	struct err e;

	r->inner = NULL;
	if (!inner)
		return;
	err_set(&e, ERR_CANCELLED, "given up");
	op_cancel(inner, &e);
}

static void stop_waiting(struct relay *r)
{
	r->exchanging = false;
	uv_timer_stop(&r->timer);
	drop_inner(r);
	serial_port_unlock(r->port);
}

/* Takes the first job off; its operation is the caller's to complete. */
static struct op *take_job(struct relay *r)
{
	struct job *job = r->jobs;
	struct op *op = job->op;

	stop_waiting(r);
	r->jobs = job->next;
	free(job);
	if (op)
		op_on_cancel(op, NULL, NULL);
	return op;
}

static void job_done(struct relay *r, json_t *result)
{
	struct op *op = take_job(r);

	if (op)
		op_done(op, result);
	else
		json_decref(result);
	start_job(r);
}

static void job_failed(struct relay *r, const struct err *why)
{
	bool safe = r->jobs->safe;
	struct err e = *why;
	struct op *op = take_job(r);

	if (safe)
		err_prefix(&e, "it could not be switched off");
	if (op)
		op_fail(op, &e);
	start_job(r);
}

static void job_failedf(struct relay *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void job_failedf(struct relay *r, const char *fmt, ...)
{
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	err_vset(&e, ERR_BENCH, fmt, ap);
	va_end(ap);
	job_failed(r, &e);
}

static void fail_jobs(struct relay *r, enum err_code code, const char *why)
{
	while (r->jobs) {
		struct op *op = take_job(r);

		if (op)
			op_failf(op, code, "%s", why);
	}
}

static void give_up(struct op *op, void *arg)
{
	struct job *job = arg;
	struct relay *r = job->relay;
	struct job **p = &r->jobs;

	(void)op;
	job->op = NULL;
	if (r->jobs == job) {
		take_job(r);
		start_job(r);
		return;
	}
	while (*p != job)
		p = &(*p)->next;
	*p = job->next;
	free(job);
}

static void add_job(struct relay *r, enum job_kind kind, bool on, bool safe, struct op *op)
{
	struct job *job = calloc(1, sizeof(*job)), **p = &r->jobs;
	bool idle = !r->jobs;

	if (!job) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	*job = (struct job){NULL, r, kind, on, safe, op};
	while (*p)
		p = &(*p)->next;
	*p = job;
	op_on_cancel(op, give_up, job);
	if (idle)
		start_job(r);
}

/* --- one exchange: lock, send, wait for the answer, unlock ------------------------------------ */

static void exchange_try(struct relay *r);

/* What an inner operation was for is over. */
static void inner_came(void *arg, const struct err *e, json_t *result)
{
	struct relay *r = arg;

	(void)result;
	if (!r->inner)
		return; /* given up */
	r->inner = NULL;
	if (e)
		job_failed(r, e);
	else
		r->step(r);
}

static struct op *inner_start(struct relay *r, unsigned within_ms, void (*step)(struct relay *r))
{
	r->step = step;
	r->inner = op_start(r->env.loop, "relay", within_ms, inner_came, r);
	return r->inner;
}

static void exchange_over(struct relay *r, int state)
{
	r->exchanging = false;
	uv_timer_stop(&r->timer);
	serial_port_unlock(r->port);
	r->then(r, state);
}

static void no_answer(uv_timer_t *timer)
{
	struct relay *r = timer->data;

	stop_waiting(r);
	if (++r->tries < TRIES)
		exchange_try(r);
	else
		r->then(r, -1);
}

static void exchange_sent(struct relay *r)
{
	if (!r->for_state && !r->protocol->prompts)
		exchange_over(r, 0);
}

/* The answer may come before the write is over: it is waited for from here on. */
static void exchange_locked(struct relay *r)
{
	struct op *op;

	r->exchanging = true;
	r->in_len = 0;
	uv_timer_start(&r->timer, no_answer, ANSWER_MS, 0);
	op = inner_start(r, 2 * ANSWER_MS, exchange_sent);
	if (op)
		serial_port_write(r->port, r->out, r->out_len, op);
	else
		job_failedf(r, "out of memory");
}

static void exchange_try(struct relay *r)
{
	struct op *op = inner_start(r, LOCK_MS + 1000, exchange_locked);

	if (op)
		serial_port_lock(r->port, LOCK_MS, op);
	else
		job_failedf(r, "out of memory");
}

/* Sends out; then gets what the answer says of the state, 0 where none is waited for, or -1 when
 * there was no answer. */
static void exchange(
	struct relay *r, size_t out_len, bool for_state, void (*then)(struct relay *r, int state))
{
	r->out_len = out_len;
	r->for_state = for_state;
	r->then = then;
	r->tries = 0;
	exchange_try(r);
}

static void ask_state(struct relay *r, void (*then)(struct relay *r, int state))
{
	exchange(r, r->protocol->query(r->out, sizeof(r->out), r->channel), true, then);
}

static void came_in(void *arg, const char *data, size_t len)
{
	struct relay *r = arg;
	int state;

	if (!r->exchanging)
		return;
	if (len > sizeof(r->in) - 1 - r->in_len)
		len = sizeof(r->in) - 1 - r->in_len;
	for (size_t i = 0; i < len; i++)
		r->in[r->in_len++] = data[i] ? data[i] : ' ';
	r->in[r->in_len] = '\0';
	state = r->for_state ? r->protocol->state(r->in, r->channel) : strchr(r->in, '>') ? 0 : -1;
	if (state < 0 || (!r->for_state && !r->protocol->prompts))
		return;
	drop_inner(r);
	exchange_over(r, state);
}

/* --- switching -------------------------------------------------------------------------------- */

static void finish_set(struct relay *r)
{
	job_done(r, json_pack("{s:s}", "verified", r->answers ? "read-back" : "none"));
}

static void no_state(struct relay *r)
{
	job_failedf(r,
		"%s does not say how relay %d is: is it a board that speaks %s, with so many "
		"channels?",
		serial_port_name(r->port), r->channel, r->protocol->name);
}

static void read_back_again(struct relay *r, int state)
{
	bool on = r->jobs->on;

	if (state < 0)
		no_state(r);
	else if (state != on)
		job_failedf(r,
			"relay %d of %s was switched %s, and read-back says %s: is it another's too, or "
			"broken?",
			r->channel, serial_port_name(r->port), on ? "on" : "off",
			on ? "off" : "on");
	else
		finish_set(r);
}

/* An answer to a question that was given up may come late: what disagrees is asked once more. */
static void read_back(struct relay *r, int state)
{
	if (state >= 0 && state != r->jobs->on)
		ask_state(r, read_back_again);
	else
		read_back_again(r, state);
}

static void settled(uv_timer_t *timer)
{
	struct relay *r = timer->data;

	if (r->answers)
		ask_state(r, read_back);
	else
		finish_set(r);
}

static void set_sent(struct relay *r, int state)
{
	if (state < 0) {
		job_failedf(r, "%s does not answer: is it a board that speaks %s?",
			serial_port_name(r->port), r->protocol->name);
		return;
	}
	r->known = true;
	r->on = r->jobs->on;
	uv_timer_start(&r->timer, settled, r->settle_ms, 0);
}

static void got_state(struct relay *r, int state)
{
	if (state < 0)
		no_state(r);
	else
		job_done(r, json_pack("{s:b}", "on", state));
}

/* The job itself, the board being ready. */
static void do_job(struct relay *r)
{
	const struct job *job = r->jobs;

	if (job->kind == JOB_SET)
		exchange(r, r->protocol->set(r->out, sizeof(r->out), r->channel, job->on), false,
			set_sent);
	else if (job->kind == JOB_OPEN)
		job_done(r, NULL);
	else if (r->answers)
		ask_state(r, got_state);
	else /* one that nobody has switched yet is taken to be on: it may be */
		job_done(r, json_pack("{s:b}", "on", !r->known || r->on));
}

/* --- making it ready -------------------------------------------------------------------------- */

static void probed(struct relay *r, int state)
{
	r->answers = state >= 0;
	if (!r->answers && (r->read_back == READ_BACK_ALWAYS || r->protocol->prompts)) {
		no_state(r);
		return;
	}
	r->ready = true;
	do_job(r);
}

static void port_open(struct relay *r)
{
	struct err e;

	if (serial_port_claim(r->port, (unsigned)r->channel, "channel", &e) != 0) {
		job_failed(r, &e);
	} else if (r->read_back == READ_BACK_NEVER) {
		r->ready = true;
		do_job(r);
	} else {
		ask_state(r, probed);
	}
}

static void start_job(struct relay *r)
{
	struct op *op;

	if (!r->jobs || r->closing)
		return;
	if (r->ready) {
		do_job(r);
		return;
	}
	op = inner_start(r, OPEN_MS, port_open);
	if (op)
		serial_port_open(r->port, op);
	else
		job_failedf(r, "out of memory");
}

static void was_lost(void *arg, const char *reason)
{
	struct relay *r = arg;

	r->ready = r->known = false;
	fail_jobs(r, ERR_BENCH, reason);
	r->env.event(r->env.arg, "lost", json_pack("{s:s}", "reason", reason));
}

static void is_back(void *arg, const char *name, uint64_t gone_ms)
{
	struct relay *r = arg;
	char text[768];

	snprintf(text, sizeof(text),
		"%s was gone for %llu ms: a board that USB powers has let its relays go meanwhile",
		name, (unsigned long long)gone_ms);
	r->env.event(r->env.arg, "back", json_pack("{s:s}", "text", text));
}

static const struct serial_port_handlers handlers = {came_in, was_lost, is_back, NULL};

/* --- the driver ------------------------------------------------------------------------------- */

extern const struct driver driver_serial_relay;

static int choose(struct relay *r, json_t *opts, struct err *e)
{
	const char *protocol = json_string_value(json_object_get(opts, "protocol"));
	const char *read_back = json_string_value(json_object_get(opts, "read_back"));
	json_int_t channel = json_integer_value(json_object_get(opts, "channel"));
	json_int_t settle = json_integer_value(json_object_get(opts, "settle_ms"));

	for (size_t i = 0; protocol && i < sizeof(protocols) / sizeof(*protocols); i++)
		if (strcmp(protocols[i].name, protocol) == 0)
			r->protocol = &protocols[i];
	if (!r->protocol)
		return err_set(e, ERR_CONFIG, "protocol is \"lcus\" or \"numato\", not \"%.40s\"",
			protocol ? protocol : "");
	if (channel < r->protocol->first || channel > r->protocol->last)
		return err_set(e, ERR_CONFIG, "channel must be %d to %d with protocol %s",
			r->protocol->first, r->protocol->last, protocol);
	if (settle < 0 || settle > SETTLE_MAX_MS)
		return err_set(e, ERR_CONFIG, "settle_ms must be 0 to %d", SETTLE_MAX_MS);
	if (read_back && strcmp(read_back, "always") == 0)
		r->read_back = READ_BACK_ALWAYS;
	else if (read_back && strcmp(read_back, "never") == 0)
		r->read_back = READ_BACK_NEVER;
	else if (read_back && strcmp(read_back, "auto") != 0)
		return err_set(e, ERR_CONFIG,
			"read_back is \"auto\", \"always\" or \"never\", not \"%.40s\"", read_back);
	r->channel = (int)channel;
	r->settle_ms = (unsigned)settle;
	return 0;
}

static struct device *relay_create(const struct driver_env *env, json_t *opts, struct err *e)
{
	struct relay *r = calloc(1, sizeof(*r));
	struct serial_port_conf conf = {.loop = env->loop,
		.options = opts,
		.shared = true,
		.handlers = &handlers,
		.arg = r};

	if (!r) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	r->dev.driver = &driver_serial_relay;
	r->env = *env;
	if (choose(r, opts, e) == 0)
		r->port = serial_port_create(&conf, e);
	if (!r->port) {
		free(r);
		return NULL;
	}
	uv_timer_init(env->loop, &r->timer);
	r->timer.data = r;
	return &r->dev;
}

static void relay_open(struct device *dev, struct op *op)
{
	add_job(relay_of(dev), JOB_OPEN, false, false, op);
}

static void relay_make_safe(struct device *dev, struct op *op)
{
	struct relay *r = relay_of(dev);

	fail_jobs(r, ERR_CANCELLED, "the board is made safe");
	add_job(r, JOB_SET, false, true, op);
}

static void relay_set(struct device *dev, bool on, struct op *op)
{
	add_job(relay_of(dev), JOB_SET, on, false, op);
}

static void relay_get(struct device *dev, struct op *op)
{
	add_job(relay_of(dev), JOB_GET, false, false, op);
}

static void part_closed(struct relay *r)
{
	void (*closed)(void *arg) = r->closed;
	void *arg = r->closed_arg;

	if (--r->handles)
		return;
	free(r);
	closed(arg);
}

static void timer_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void port_closed(void *arg)
{
	part_closed(arg);
}

static void relay_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct relay *r = relay_of(dev);

	r->closing = true;
	r->closed = closed;
	r->closed_arg = arg;
	fail_jobs(r, ERR_GONE, "the device was closed");
	r->handles = 2;
	uv_close((uv_handle_t *)&r->timer, timer_closed);
	serial_port_close(r->port, port_closed, r);
}

/* --- check, scan ------------------------------------------------------------------------------ */

struct checking {
	struct relay *relay;
	struct op *op; /* NULL: given up */
};

static void checked(void *arg, const struct err *e, json_t *result)
{
	struct checking *c = arg;
	struct relay *r = c->relay;
	struct op *op = c->op;
	char text[256];

	free(c);
	if (!op)
		return;
	op_on_cancel(op, NULL, NULL);
	if (e) {
		op_fail(op, e);
		return;
	}
	snprintf(text, sizeof(text), "%s, relay %d, %s", r->protocol->name, r->channel,
		r->answers ? "its state is read back"
			   : "it does not tell its state: what it switches is not verified by it");
	json_array_append_new(json_object_get(result, "says"), json_string(text));
	op_done(op, json_incref(result));
}

static void give_up_check(struct op *op, void *arg)
{
	struct checking *c = arg;

	(void)op;
	c->op = NULL;
}

static void relay_check(struct device *dev, struct op *op)
{
	struct checking *c = malloc(sizeof(*c));
	struct relay *r = relay_of(dev);
	/* the core owns the deadline: this one is only longer */
	struct op *inner = c ? op_start(r->env.loop, "check", 60000, checked, c) : NULL;

	if (!inner) {
		free(c);
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	*c = (struct checking){r, op};
	op_on_cancel(op, give_up_check, c);
	serial_port_check(r->port, inner);
}

static bool is_lcus(int vendor, int product)
{
	return vendor == 0x1a86 && (product == 0x7523 || product == 0x5523); /* CH340, CH341 */
}

static bool is_numato(int vendor, int product)
{
	(void)product;
	return vendor == 0x2a19;
}

static int relay_scan(json_t *found, struct err *e)
{
	int ret = serial_port_scan(
		found, is_lcus, "power = { driver = \"serial-relay\", %s, channel = 1 },", e);

	if (!ret)
		ret = serial_port_scan(found, is_numato,
			"power = { driver = \"serial-relay\", protocol = \"numato\", %s, channel = 0 },",
			e);
	return ret;
}

static const struct power_ops power_ops = {relay_set, relay_get};

const struct driver driver_serial_relay = {
	.name = "serial-relay",
	.help = "power over a relay board on a serial port: LCUS (CH340) and Numato",
	.options = options,
	.create = relay_create,
	.open = relay_open,
	.make_safe = relay_make_safe,
	.close = relay_close,
	.check = relay_check,
	.scan = relay_scan,
	.power = &power_ops,
};
