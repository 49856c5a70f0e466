/*
 * tcp: a console at a TCP port: raw bytes, or a serial port server that speaks RFC 2217 (ser2net, a
 * terminal server), whose port is set as rig.conf says and whose lines can be driven.
 */
#include "driver.h"

#include "tcp_link.h"
#include "telnet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 2000
#define BREAK_MAX_MS 60000
#define STEPS 8

enum state {
	STATE_DOWN,        /* nothing wanted, or waiting for the next attempt */
	STATE_CONNECTING,  /* until the link is up */
	STATE_NEGOTIATING, /* until the server agrees to RFC 2217 */
	STATE_SETTING,     /* until the port is as rig.conf says */
	STATE_READY
};

/* A setting the server is asked for; one is under way at a time. */
struct step {
	uint8_t command;
	uint32_t value;
	const char *what; /* for messages */
};

struct tcp {
	struct device dev;
	struct driver_env env;
	char *host;
	unsigned port, timeout_ms;
	bool rfc2217;
	struct step line[STEPS]; /* the settings of rig.conf */
	size_t line_count;

	struct tcp_link *link;
	struct telnet telnet;
	enum state state;
	uv_timer_t
		timer; /* down: the next attempt; negotiating, setting: patience; ready: a break */
	unsigned retry_ms;
	struct op *opening;
	char lost[700];
	uint64_t lost_at_ns;

	struct step steps[STEPS]; /* under way */
	size_t step_count, step_at;
	bool confirmed;  /* the step under way, a line, was */
	unsigned fences; /* sent behind lines, and not answered yet */
	bool stale;      /* an answer to what was given up may still come */
	unsigned break_ms;
	bool in_break;
	struct op *modem;

	unsigned handles;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	{"host", OPTION_STRING, true, NULL, "the server's name or address"},
	{"port", OPTION_INTEGER, true, NULL, "its TCP port"},
	{"mode", OPTION_STRING, false, "raw", "raw: bytes and nothing else; rfc2217: telnet"},
	{"baud", OPTION_INTEGER, false, "115200", "bits a second (rfc2217, as all below)"},
	{"data_bits", OPTION_INTEGER, false, "8", "5 to 8"},
	{"parity", OPTION_STRING, false, "none", "none, even, odd, mark or space"},
	{"stop_bits", OPTION_INTEGER, false, "1", "1 or 2"},
	{"flow", OPTION_STRING, false, "none", "flow control: none, rtscts or xonxoff"},
	{"dtr", OPTION_BOOLEAN, false, "true", "whether DTR is asserted once it is open"},
	{"rts", OPTION_BOOLEAN, false, "true", "whether RTS is asserted once it is open"},
	{"timeout_ms", OPTION_INTEGER, false, "4000",
		"milliseconds to connect, and again for the server's settings"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct tcp *tcp_of(struct device *dev)
{
	return (struct tcp *)dev;
}

/* --- up and down ------------------------------------------------------------------------------ */

static void retry_or_time_out(uv_timer_t *timer);

static void modem_fail(struct tcp *t, enum err_code code, const char *why)
{
	struct op *op = t->modem;

	t->modem = NULL;
	if (!op)
		return;
	op_on_cancel(op, NULL, NULL);
	op_failf(op, (int)code, "%s", why);
}

/* The session is over, for the reason *e. Whoever opens hears of it; one that was open is taken up
 * again. */
static void session_over(struct tcp *t, const struct err *e)
{
	struct op *op = t->opening;
	bool was_ready = t->state == STATE_READY;

	t->state = STATE_DOWN;
	t->opening = NULL;
	t->in_break = false;
	t->step_at = t->step_count = 0;
	uv_timer_stop(&t->timer);
	if (op) {
		tcp_link_drop(t->link, e);
		op_on_cancel(op, NULL, NULL);
		op_fail(op, e);
		return;
	}
	if (was_ready) {
		snprintf(t->lost, sizeof(t->lost), "%.600s", e->msg);
		t->lost_at_ns = uv_hrtime();
		t->retry_ms = RETRY_FIRST_MS;
		t->env.event(t->env.arg, "lost", json_pack("{s:s}", "reason", t->lost));
		modem_fail(t, ERR_BENCH, t->lost);
	}
	tcp_link_drop(t->link, e);
	/* nobody tells when a server is there again */
	uv_timer_start(&t->timer, retry_or_time_out, t->retry_ms, 0);
	t->retry_ms = t->retry_ms * 2 < RETRY_MAX_MS ? t->retry_ms * 2 : RETRY_MAX_MS;
}

static void session_failed(struct tcp *t, const char *why)
{
	struct err e;

	err_set(&e, ERR_BENCH, "%.200s port %u: %s", t->host, t->port, why);
	session_over(t, &e);
}

static void session_start(struct tcp *t)
{
	t->state = STATE_CONNECTING;
	t->stale = false;
	t->fences = 0;
	tcp_link_connect(t->link, t->timeout_ms);
}

static void session_ready(struct tcp *t)
{
	struct op *op = t->opening;
	char text[300];

	t->state = STATE_READY;
	t->opening = NULL;
	uv_timer_stop(&t->timer);
	if (op) {
		op_on_cancel(op, NULL, NULL);
		op_done(op, NULL);
	} else if (t->lost[0]) {
		snprintf(text, sizeof(text), "%.200s port %u, after %llu ms", t->host, t->port,
			(unsigned long long)((uv_hrtime() - t->lost_at_ns) / 1000000));
		t->lost[0] = '\0';
		t->env.event(t->env.arg, "back", json_pack("{s:s}", "text", text));
	}
}

static const struct telnet_handlers telnet_handlers;

static void link_up(void *arg)
{
	struct tcp *t = arg;

	if (!t->rfc2217) {
		session_ready(t);
		return;
	}
	telnet_init(&t->telnet, &telnet_handlers, t);
	t->state = STATE_NEGOTIATING;
	uv_timer_start(&t->timer, retry_or_time_out, t->timeout_ms, 0);
	telnet_ask(&t->telnet, TELNET_COM_PORT, true);
	telnet_ask(&t->telnet, TELNET_BINARY, true);
	telnet_ask(&t->telnet, TELNET_BINARY, false);
	telnet_ask(&t->telnet, TELNET_SGA, true);
	telnet_ask(&t->telnet, TELNET_SGA, false);
}

static void link_down(void *arg, const struct err *e)
{
	session_over(arg, e);
}

/* --- settings --------------------------------------------------------------------------------- */

static void steps_done(struct tcp *t);

/*
 * DTR or RTS. Servers do not answer (ser2net) when the port has no such lines. So the baud rate is
 * asked for behind it: when that is answered, the line will not be.
 */
static bool is_line(const struct step *s)
{
	return s->command == COM_CONTROL && s->value >= COM_DTR_ON && s->value <= COM_RTS_OFF;
}

static void step_next(struct tcp *t)
{
	const struct step *s = &t->steps[t->step_at];

	t->confirmed = false;
	if (t->step_at == t->step_count) {
		steps_done(t);
		return;
	}
	telnet_com_port(&t->telnet, s->command, s->value, s->command == COM_BAUD ? 4 : 1);
	if (is_line(s)) {
		t->fences++;
		telnet_com_port(&t->telnet, COM_BAUD, 0, 4);
	}
}

static void steps_done(struct tcp *t)
{
	struct op *op = t->modem;

	t->step_at = t->step_count = 0;
	if (t->state == STATE_SETTING) {
		session_ready(t);
		return;
	}
	if (!op)
		return;
	if (t->break_ms) {
		t->in_break = true;
		uv_update_time(t->env.loop);
		uv_timer_start(&t->timer, retry_or_time_out, t->break_ms, 0);
		t->break_ms = 0;
		return;
	}
	t->modem = NULL;
	op_on_cancel(op, NULL, NULL);
	op_done(op, NULL);
}

/* Which of the things that COM_CONTROL sets a value is about. */
static unsigned control_group(uint32_t value)
{
	return value < 4 || value > 12 ? 0 : (value - 1) / 3;
}

/* The server's answer to the step under way. */
static void step_answered(struct tcp *t, uint32_t value)
{
	const struct step *s = &t->steps[t->step_at];
	char why[200];

	/* ser2net 4.3 answers "on" to both the beginning and the end of a break */
	if (value == s->value || (s->value == COM_BREAK_OFF && value == COM_BREAK_ON)) {
		t->confirmed = true;
		if (!is_line(s)) {
			t->stale = false;
			t->step_at++;
			step_next(t);
		}
		return;
	}
	/* an answer to what was given up, not to this */
	if (t->stale ||
		(s->command == COM_CONTROL && control_group(value) != control_group(s->value)))
		return;
	snprintf(why, sizeof(why),
		"the server set %s to %u instead of %u: its port, or its configuration, does not "
		"allow it",
		s->what, value, s->value);
	if (t->state == STATE_SETTING) {
		session_failed(t, why);
		return;
	}
	t->step_at = t->step_count = 0;
	modem_fail(t, ERR_BENCH, why);
}

/* What was asked behind a line is answered: the line was before, or never is. */
static void fence_answered(struct tcp *t)
{
	const struct step *s = &t->steps[t->step_at];
	char text[200];

	if (t->fences > 1) { /* it was behind one that was given up; what came before it too */
		t->fences--;
		t->confirmed = false;
		return;
	}
	t->fences = 0;
	t->stale = false;
	if (!t->confirmed) {
		snprintf(text, sizeof(text),
			"the server does not confirm %s: its port may have no such line", s->what);
		if (t->state != STATE_SETTING) {
			t->step_at = t->step_count = 0;
			modem_fail(t, ERR_BENCH, text);
			return;
		}
		if (t->opening)
			t->env.event(t->env.arg, "note", json_pack("{s:s}", "text", text));
	}
	t->step_at++;
	step_next(t);
}

static void break_ends(struct tcp *t)
{
	t->in_break = false;
	t->steps[0] = (struct step){COM_CONTROL, COM_BREAK_OFF, "the break"};
	t->step_at = 0;
	t->step_count = 1;
	step_next(t);
}

static void retry_or_time_out(uv_timer_t *timer)
{
	struct tcp *t = timer->data;

	if (t->state == STATE_DOWN)
		session_start(t);
	else if (t->state == STATE_NEGOTIATING)
		session_failed(t,
			"it does not answer as RFC 2217 servers do: is it raw, or another "
			"program?");
	else if (t->state == STATE_SETTING)
		session_failed(t, "it does not answer to the port's settings");
	else if (t->in_break)
		break_ends(t);
}

/* --- telnet ----------------------------------------------------------------------------------- */

static void telnet_data(void *arg, const uint8_t *data, size_t len)
{
	struct tcp *t = arg;

	if (t->state != STATE_DOWN)
		t->env.console_in(t->env.arg, (const char *)data, len);
}

static void telnet_option(void *arg, uint8_t option, bool local, bool on)
{
	struct tcp *t = arg;

	if (option != TELNET_COM_PORT || !local)
		return;
	if (!on) {
		session_failed(t, "the server refuses RFC 2217: let it offer that (ser2net: "
				  "telnet(rfc2217)), or set mode = \"raw\"");
	} else if (t->state == STATE_NEGOTIATING) {
		t->state = STATE_SETTING;
		memcpy(t->steps, t->line, sizeof(t->line));
		t->step_count = t->line_count;
		t->step_at = 0;
		step_next(t);
	}
}

static void telnet_sub(void *arg, uint8_t option, const uint8_t *data, size_t len)
{
	struct tcp *t = arg;
	const struct step *s = &t->steps[t->step_at];
	uint32_t value = 0;

	if (option != TELNET_COM_PORT || len < 2 || len > 5)
		return;
	if (t->step_at == t->step_count) {
		t->fences -= t->fences && data[0] == COM_BAUD + COM_ANSWER;
		return;
	}
	for (size_t i = 1; i < len; i++)
		value = value << 8 | data[i];
	if (data[0] == COM_BAUD + COM_ANSWER && is_line(s))
		fence_answered(t);
	else if (data[0] == COM_BAUD + COM_ANSWER && t->fences && t->state == STATE_READY)
		t->fences--;
	else if (data[0] == s->command + COM_ANSWER)
		step_answered(t, value);
	/* line and modem state, which servers tell unasked, are not asked for here */
}

static void telnet_send(void *arg, const uint8_t *data, size_t len)
{
	struct tcp *t = arg;

	tcp_link_write(t->link, (const char *)data, len, NULL);
}

static const struct telnet_handlers telnet_handlers = {
	telnet_data, telnet_option, telnet_sub, telnet_send};

static void link_in(void *arg, const char *data, size_t len)
{
	struct tcp *t = arg;

	if (t->rfc2217)
		telnet_receive(&t->telnet, (const uint8_t *)data, len);
	else
		t->env.console_in(t->env.arg, data, len);
}

static const struct tcp_link_handlers link_handlers = {link_up, link_down, link_in};

/* --- console, modem --------------------------------------------------------------------------- */

static bool refuse(struct tcp *t, struct op *op)
{
	if (t->state == STATE_READY)
		return false;
	op_failf(op, ERR_BENCH, "%s", t->lost[0] ? t->lost : "it is not open");
	return true;
}

static void tcp_write(struct device *dev, const char *data, size_t len, struct op *op)
{
	struct tcp *t = tcp_of(dev);
	uint8_t *escaped;

	if (refuse(t, op))
		return;
	if (!t->rfc2217) {
		tcp_link_write(t->link, data, len, op);
		return;
	}
	escaped = malloc(2 * len + 1);
	if (!escaped) {
		op_failf(op, ERR_NOMEM, "out of memory");
		return;
	}
	len = telnet_escape(&t->telnet, (const uint8_t *)data, len, escaped);
	tcp_link_write(t->link, (const char *)escaped, len, op);
	free(escaped);
}

static void tcp_drain(struct device *dev)
{
	struct tcp *t = tcp_of(dev);

	if (t->state == STATE_READY)
		tcp_link_drain(t->link);
}

static void steps_give_up(struct tcp *t)
{
	if (t->state != STATE_READY)
		return;
	t->stale |= t->step_at < t->step_count;
	if (t->in_break || t->break_ms) {
		/* nobody waits for the answer */
		telnet_com_port(&t->telnet, COM_CONTROL, COM_BREAK_OFF, 1);
		t->stale = true;
	}
	t->in_break = false;
	t->break_ms = 0;
	t->step_at = t->step_count = 0;
	uv_timer_stop(&t->timer);
}

static void modem_given_up(struct op *op, void *arg)
{
	struct tcp *t = arg;

	(void)op;
	t->modem = NULL;
	steps_give_up(t);
}

static void step_add(struct tcp *t, uint32_t value, const char *what)
{
	t->steps[t->step_count++] = (struct step){COM_CONTROL, value, what};
}

static void tcp_set_lines(struct device *dev, json_t *lines, struct op *op)
{
	struct tcp *t = tcp_of(dev);
	json_t *dtr = json_object_get(lines, "dtr"), *rts = json_object_get(lines, "rts");
	json_t *break_ms = json_object_get(lines, "break_ms");
	json_int_t ms = json_integer_value(break_ms);

	if (!t->rfc2217) {
		op_failf(op, ERR_UNSUPPORTED, "a raw connection has no lines: mode = \"rfc2217\"");
	} else if ((dtr && !json_is_boolean(dtr)) || (rts && !json_is_boolean(rts)) ||
		   (break_ms && (ms < 1 || ms > BREAK_MAX_MS))) {
		op_failf(op, ERR_USAGE, "dtr and rts are true or false, break_ms is 1 to %d",
			BREAK_MAX_MS);
	} else if (t->modem) {
		op_failf(op, ERR_BUSY, "the lines are being set already");
	} else if (!refuse(t, op)) {
		t->modem = op;
		op_on_cancel(op, modem_given_up, t);
		t->break_ms = (unsigned)ms;
		t->step_at = t->step_count = 0;
		if (dtr)
			step_add(t, json_is_true(dtr) ? COM_DTR_ON : COM_DTR_OFF, "DTR");
		if (rts)
			step_add(t, json_is_true(rts) ? COM_RTS_ON : COM_RTS_OFF, "RTS");
		if (break_ms)
			step_add(t, COM_BREAK_ON, "the break");
		step_next(t);
	}
}

/* --- options ---------------------------------------------------------------------------------- */

/* The number of text among names, from 1 on; 0: it is none of them. */
static unsigned number_of(const char *text, const char *const *names)
{
	for (unsigned i = 0; names[i]; i++)
		if (strcmp(text, names[i]) == 0)
			return i + 1;
	return 0;
}

static void line_add(struct tcp *t, uint8_t command, uint32_t value, const char *what)
{
	t->line[t->line_count++] = (struct step){command, value, what};
}

/* RFC 2217's numbers for parity and flow control are in the order of these names. */
static const char *const parities[] = {"none", "odd", "even", "mark", "space", NULL};
static const char *const flows[] = {"none", "xonxoff", "rtscts", NULL};

static int take_line(struct tcp *t, json_t *given, struct err *e)
{
	json_int_t baud = json_integer_value(json_object_get(given, "baud"));
	json_int_t bits = json_integer_value(json_object_get(given, "data_bits"));
	json_int_t stop = json_integer_value(json_object_get(given, "stop_bits"));
	unsigned parity = number_of(json_string_value(json_object_get(given, "parity")), parities);
	unsigned flow = number_of(json_string_value(json_object_get(given, "flow")), flows);

	if (baud < 1 || baud > 20000000)
		return err_set(e, ERR_CONFIG, "baud must be 1 to 20000000");
	if (bits < 5 || bits > 8)
		return err_set(e, ERR_CONFIG, "data_bits must be 5 to 8");
	if (stop < 1 || stop > 2)
		return err_set(e, ERR_CONFIG, "stop_bits must be 1 or 2");
	if (!parity)
		return err_set(e, ERR_CONFIG, "parity must be none, even, odd, mark or space");
	if (!flow)
		return err_set(e, ERR_CONFIG, "flow must be none, rtscts or xonxoff");
	line_add(t, COM_BAUD, (uint32_t)baud, "the baud rate");
	line_add(t, COM_DATA, (uint32_t)bits, "the data bits");
	line_add(t, COM_PARITY, parity, "the parity (1 none, 2 odd, 3 even, 4 mark, 5 space)");
	line_add(t, COM_STOP, (uint32_t)stop, "the stop bits");
	line_add(t, COM_CONTROL, flow, "flow control (1 none, 2 XON/XOFF, 3 RTS/CTS)");
	line_add(t, COM_CONTROL,
		json_is_true(json_object_get(given, "dtr")) ? COM_DTR_ON : COM_DTR_OFF, "DTR");
	if (flow != COM_FLOW_RTSCTS)
		line_add(t, COM_CONTROL,
			json_is_true(json_object_get(given, "rts")) ? COM_RTS_ON : COM_RTS_OFF,
			"RTS");
	return 0;
}

static int take_options(struct tcp *t, json_t *given, struct err *e)
{
	const char *mode = json_string_value(json_object_get(given, "mode"));
	json_int_t port = json_integer_value(json_object_get(given, "port"));
	json_int_t timeout_ms = json_integer_value(json_object_get(given, "timeout_ms"));

	t->rfc2217 = strcmp(mode, "rfc2217") == 0;
	if (!t->rfc2217 && strcmp(mode, "raw") != 0)
		return err_set(
			e, ERR_CONFIG, "mode is \"raw\" or \"rfc2217\", not \"%.40s\"", mode);
	if (port < 1 || port > 65535)
		return err_set(e, ERR_CONFIG, "port must be 1 to 65535");
	if (timeout_ms < 10 || timeout_ms > 60000)
		return err_set(e, ERR_CONFIG, "timeout_ms must be 10 to 60000");
	t->port = (unsigned)port;
	t->timeout_ms = (unsigned)timeout_ms;
	return take_line(t, given, e);
}

extern const struct driver driver_tcp;

static struct device *tcp_create(const struct driver_env *env, json_t *given, struct err *e)
{
	struct tcp *t = calloc(1, sizeof(*t));

	if (!t) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	t->dev.driver = &driver_tcp;
	t->env = *env;
	if (take_options(t, given, e)) {
		free(t);
		return NULL;
	}
	t->host = strdup(json_string_value(json_object_get(given, "host")));
	if (t->host)
		t->link = tcp_link_create(env->loop, t->host, t->port, &link_handlers, t);
	if (!t->link) {
		err_set(e, ERR_NOMEM, "out of memory");
		free(t->host);
		free(t);
		return NULL;
	}
	uv_timer_init(env->loop, &t->timer);
	t->timer.data = t;
	return &t->dev;
}

/* --- the driver ------------------------------------------------------------------------------- */

static void open_given_up(struct op *op, void *arg)
{
	struct tcp *t = arg;

	(void)op;
	t->opening = NULL;
	t->state = STATE_DOWN;
	uv_timer_stop(&t->timer);
	tcp_link_drop(t->link, NULL);
}

static void tcp_open(struct device *dev, struct op *op)
{
	struct tcp *t = tcp_of(dev);

	if (t->state == STATE_READY) {
		op_done(op, NULL);
		return;
	}
	t->opening = op;
	op_on_cancel(op, open_given_up, t);
	session_start(t);
}

/* A console does the board no harm; a break ends. */
static void tcp_make_safe(struct device *dev, struct op *op)
{
	struct tcp *t = tcp_of(dev);

	steps_give_up(t);
	modem_fail(t, ERR_CANCELLED, "the board is made safe");
	op_done(op, NULL);
}

static void part_closed(struct tcp *t)
{
	void (*closed)(void *arg) = t->closed;
	void *arg = t->closed_arg;

	if (--t->handles)
		return;
	free(t->host);
	free(t);
	closed(arg);
}

static void link_closed(void *arg)
{
	part_closed(arg);
}

static void timer_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void tcp_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct tcp *t = tcp_of(dev);
	struct op *op = t->opening;

	t->closed = closed;
	t->closed_arg = arg;
	t->handles = 2;
	t->opening = NULL;
	t->state = STATE_DOWN;
	modem_fail(t, ERR_GONE, "the console was closed");
	if (op) {
		op_on_cancel(op, NULL, NULL);
		op_failf(op, ERR_GONE, "the console was closed");
	}
	tcp_link_destroy(t->link, link_closed, t);
	uv_close((uv_handle_t *)&t->timer, timer_closed);
}

static void tcp_check(struct device *dev, struct op *op)
{
	struct tcp *t = tcp_of(dev);
	char says[400];

	if (refuse(t, op))
		return;
	if (t->rfc2217)
		snprintf(says, sizeof(says),
			"%.200s port %u is connected, and its port set to %u %u%c%u", t->host,
			t->port, t->line[0].value, t->line[1].value, "-NOEMS"[t->line[2].value],
			t -> line[3].value);
	else
		snprintf(says, sizeof(says),
			"%.200s port %u is connected; how its port is set is the server's affair",
			t->host, t->port);
	op_done(op, json_pack("{s:[s], s:[]}", "says", says, "mend"));
}

static const struct console_ops console = {.write = tcp_write, .drain = tcp_drain};
static const struct modem_ops modem = {.set = tcp_set_lines};

const struct driver driver_tcp = {
	.name = "tcp",
	.help = "a console at a TCP port: raw, or a serial port server (RFC 2217)",
	.options = options,
	.create = tcp_create,
	.open = tcp_open,
	.make_safe = tcp_make_safe,
	.close = tcp_close,
	.check = tcp_check,
	.console = &console,
	.modem = &modem,
};
