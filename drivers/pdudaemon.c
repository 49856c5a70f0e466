/*
 * pdudaemon: power through a running pdudaemon, which drives some thirty makes of network power
 * switches. Over its HTTP listener.
 *
 * The daemon puts a request in the queue of its switch, tries it up to five times, and says "OK"
 * when it has stopped trying, whether or not that succeeded. So nothing is verified here.
 */
#include "driver.h"

#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAFE_MS 9000 /* what making safe waits for the answer, at most */

struct pdudaemon {
	struct device dev;
	struct driver_env env;
	char *base;   /* http://host:port */
	char *outlet; /* the query that names the outlet */
	char *name;   /* the outlet, for messages */
	unsigned timeout_ms, wait_ms;
	struct http *http;
	struct http_request *request; /* under way */
	bool opens;                   /* it only asks whether the daemon is there */
	struct op *op;
	uv_timer_t wait;
	unsigned handles;
	void (*closed)(void *arg);
	void *closed_arg;
};

static const struct driver_option options[] = {
	{"host", OPTION_STRING, false, "127.0.0.1", "where pdudaemon listens for HTTP"},
	{"port", OPTION_INTEGER, false, "16421", "its port"},
	{"pdu", OPTION_STRING, false, NULL, "the switch, as pdudaemon's configuration calls it"},
	{"outlet", OPTION_INTEGER, false, NULL, "its outlet"},
	{"alias", OPTION_STRING, false, NULL, "instead of pdu and outlet: a name for both"},
	{"timeout_ms", OPTION_INTEGER, false, "20000",
		"milliseconds for the answer, which comes after the switch was tried"},
	{"wait_ms", OPTION_INTEGER, false, "0", "milliseconds more until the outlet has switched"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct pdudaemon *pdudaemon_of(struct device *dev)
{
	return (struct pdudaemon *)dev;
}

/* Ends what is under way, and returns its operation, or NULL. */
static struct op *take_op(struct pdudaemon *p)
{
	struct op *op = p->op;

	if (p->request)
		http_cancel(p->request);
	p->request = NULL;
	p->op = NULL;
	uv_timer_stop(&p->wait);
	if (op)
		op_on_cancel(op, NULL, NULL);
	return op;
}

static void give_up(struct pdudaemon *p, enum err_code code, const char *why)
{
	struct op *op = take_op(p);

	if (op)
		op_failf(op, (int)code, "%s", why);
}

static void given_up(struct op *op, void *arg)
{
	struct pdudaemon *p = arg;

	(void)op;
	take_op(p);
}

static void waited(uv_timer_t *timer)
{
	struct pdudaemon *p = timer->data;

	op_done(take_op(p), json_pack("{s:s}", "verified", "none"));
}

static void answered(void *arg, const struct err *e, long status, const char *body)
{
	struct pdudaemon *p = arg;

	p->request = NULL;
	if (e) {
		op_failf(take_op(p), ERR_BENCH,
			"%s: %s (is pdudaemon running, with listener http?)", p->base, e->msg);
	} else if (p->opens && (status == 404 || status == 200)) {
		op_done(take_op(p), NULL);
	} else if (p->opens || (status != 200 && status != 500)) {
		op_failf(take_op(p), ERR_BENCH,
			"%s answers with status %ld: is that pdudaemon? It says \"%.100s\"",
			p->base, status, body);
	} else if (status == 500) {
		op_failf(take_op(p), ERR_BENCH,
			"%s refuses %s (\"%.100s\"): is it in pdudaemon.conf, and is the outlet a "
			"number?",
			p->base, p->name, body);
	} else {
		uv_update_time(p->env.loop);
		uv_timer_start(&p->wait, waited, p->wait_ms, 0);
	}
}

static void ask(struct pdudaemon *p, const char *path, unsigned timeout_ms, struct op *op)
{
	char url[2048];

	snprintf(url, sizeof(url), "%s%s%s%s", p->base, path, p->opens ? "" : "?",
		p->opens ? "" : p->outlet);
	p->op = op;
	op_on_cancel(op, given_up, p);
	p->request = http_get(p->http, url, timeout_ms, answered, p);
	if (!p->request)
		op_failf(take_op(p), ERR_NOMEM, "out of memory");
}

static void switch_to(struct pdudaemon *p, bool on, unsigned timeout_ms, struct op *op)
{
	p->opens = false;
	ask(p, on ? "/power/control/on" : "/power/control/off", timeout_ms, op);
}

/* The root, which it does not have, shows that it is there and touches nothing. */
static void ask_whether_it_is_there(struct pdudaemon *p, struct op *op)
{
	p->opens = true;
	ask(p, "/", p->timeout_ms, op);
}

/* --- the driver ------------------------------------------------------------------------------- */

static void pdudaemon_set(struct device *dev, bool on, struct op *op)
{
	struct pdudaemon *p = pdudaemon_of(dev);

	give_up(p, ERR_CANCELLED, "the power was switched in the meantime");
	switch_to(p, on, p->timeout_ms, op);
}

static void pdudaemon_get(struct device *dev, struct op *op)
{
	(void)dev;
	op_failf(op, ERR_UNSUPPORTED, "pdudaemon does not tell whether an outlet is on");
}

static void pdudaemon_open(struct device *dev, struct op *op)
{
	struct pdudaemon *p = pdudaemon_of(dev);

	give_up(p, ERR_CANCELLED, "it was opened again");
	ask_whether_it_is_there(p, op);
}

static void pdudaemon_make_safe(struct device *dev, struct op *op)
{
	struct pdudaemon *p = pdudaemon_of(dev);

	give_up(p, ERR_CANCELLED, "the board is made safe");
	switch_to(p, false, p->timeout_ms < SAFE_MS ? p->timeout_ms : SAFE_MS, op);
}

static void pdudaemon_check(struct device *dev, struct op *op)
{
	struct pdudaemon *p = pdudaemon_of(dev);

	op_done(op,
		json_pack("{s:[s+++], s:[s]}", "says", p->base, " answers; ", p->name,
			" is not asked", "mend",
			"pdudaemon does not tell whether a switch succeeded: power is not verified"));
}

static void pdudaemon_free(struct pdudaemon *p)
{
	free(p->base);
	free(p->outlet);
	free(p->name);
	free(p);
}

static void part_closed(struct pdudaemon *p)
{
	void (*closed)(void *arg) = p->closed;
	void *arg = p->closed_arg;

	if (--p->handles)
		return;
	pdudaemon_free(p);
	closed(arg);
}

static void http_closed(void *arg)
{
	part_closed(arg);
}

static void wait_closed(uv_handle_t *handle)
{
	part_closed(handle->data);
}

static void pdudaemon_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	struct pdudaemon *p = pdudaemon_of(dev);

	give_up(p, ERR_GONE, "the device was closed");
	p->closed = closed;
	p->closed_arg = arg;
	p->handles = 2;
	http_destroy(p->http, http_closed, p);
	uv_close((uv_handle_t *)&p->wait, wait_closed);
}

/* Makes the query that names the outlet. */
static int take_outlet(struct pdudaemon *p, json_t *given, struct err *e)
{
	const char *pdu = json_string_value(json_object_get(given, "pdu"));
	const char *alias = json_string_value(json_object_get(given, "alias"));
	json_t *number = json_object_get(given, "outlet");
	json_int_t outlet = json_integer_value(number);
	char *escaped;
	int n;

	if (alias ? pdu || number : !pdu || !number)
		return err_set(e, ERR_CONFIG, "give either pdu and outlet, or alias");
	if (strlen(alias ? alias : pdu) > 200 || outlet < 0 || outlet > 100000)
		return err_set(e, ERR_CONFIG, "outlet must be 0 to 100000, and names short");
	escaped = http_escape(alias ? alias : pdu);
	if (!escaped)
		return err_set(e, ERR_NOMEM, "out of memory");
	if (alias)
		n = asprintf(&p->outlet, "alias=%s", escaped);
	else
		n = asprintf(&p->outlet, "hostname=%s&port=%lld", escaped, (long long)outlet);
	free(escaped);
	if (n >= 0 && alias)
		n = asprintf(&p->name, "\"%s\"", alias);
	else if (n >= 0)
		n = asprintf(&p->name, "\"%s\" outlet %lld", pdu, (long long)outlet);
	return n < 0 ? err_set(e, ERR_NOMEM, "out of memory") : 0;
}

static int take_options(struct pdudaemon *p, json_t *given, struct err *e)
{
	const char *host = json_string_value(json_object_get(given, "host"));
	json_int_t port = json_integer_value(json_object_get(given, "port"));
	json_int_t timeout_ms = json_integer_value(json_object_get(given, "timeout_ms"));
	json_int_t wait_ms = json_integer_value(json_object_get(given, "wait_ms"));

	if (!host[0] || host[strcspn(host, "/?#@ %")] || strlen(host) > 255)
		return err_set(e, ERR_CONFIG, "host is a name or an address, not \"%.60s\"", host);
	if (port < 1 || port > 65535)
		return err_set(e, ERR_CONFIG, "port must be 1 to 65535");
	if (timeout_ms < 10 || timeout_ms > 600000 || wait_ms < 0 || wait_ms > 60000)
		return err_set(
			e, ERR_CONFIG, "timeout_ms must be 10 to 600000, wait_ms 0 to 60000");
	p->timeout_ms = (unsigned)timeout_ms;
	p->wait_ms = (unsigned)wait_ms;
	if (asprintf(&p->base, strchr(host, ':') ? "http://[%s]:%lld" : "http://%s:%lld", host,
		    (long long)port) < 0)
		return err_set(e, ERR_NOMEM, "out of memory");
	return take_outlet(p, given, e);
}

extern const struct driver driver_pdudaemon;

static struct device *pdudaemon_create(const struct driver_env *env, json_t *given, struct err *e)
{
	struct pdudaemon *p = calloc(1, sizeof(*p));

	if (!p) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	p->dev.driver = &driver_pdudaemon;
	p->env = *env;
	if (take_options(p, given, e)) {
		pdudaemon_free(p);
		return NULL;
	}
	p->http = http_create(env->loop);
	if (!p->http) {
		err_set(e, ERR_NOMEM, "out of memory");
		pdudaemon_free(p);
		return NULL;
	}
	uv_timer_init(env->loop, &p->wait);
	p->wait.data = p;
	return &p->dev;
}

static const struct power_ops power = {.set = pdudaemon_set, .get = pdudaemon_get};

const struct driver driver_pdudaemon = {
	.name = "pdudaemon",
	.help = "power through pdudaemon, which drives many network power switches",
	.options = options,
	.create = pdudaemon_create,
	.open = pdudaemon_open,
	.make_safe = pdudaemon_make_safe,
	.close = pdudaemon_close,
	.check = pdudaemon_check,
	.power = &power,
};
