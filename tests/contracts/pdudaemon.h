/* pdudaemon: a stand-in for its HTTP listener (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_PDUDAEMON_H
#define TESTS_CONTRACTS_PDUDAEMON_H

#include "../driver_contract.h"
#include "../tcp_server.h"

#include <stdio.h>

struct pdudaemon_server {
	struct tcp_server tcp; /* first */
	bool mute, garbage, byte_wise;
	unsigned status; /* 0: as pdudaemon would */
	char log[4096];  /* the requested paths, "; " behind each */
};

static void pdudaemon_answer(struct tcp_peer *peer, const char *path)
{
	struct pdudaemon_server *s = (struct pdudaemon_server *)peer->server;
	bool control = strncmp(path, "/power/control/o", 16) == 0;
	unsigned status = s->status ? s->status : control ? 200 : 404;
	const char *body = status == 200   ? "OK - accepted request\n"
			   : status == 500 ? "Invalid request\n"
					   : "404: Not Found";
	char text[512];
	int n;

	n = snprintf(text, sizeof(text),
		"HTTP/1.1 %u Said\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s",
		status, strlen(body), body);
	if (s->garbage)
		n = snprintf(text, sizeof(text), "220 mail.lab ESMTP\r\n\r\n");
	for (int i = 0; s->byte_wise && i < n; i++)
		tcp_peer_send(peer, text + i, 1);
	if (!s->byte_wise)
		tcp_peer_send(peer, text, (size_t)n);
}

static void pdudaemon_data(struct tcp_peer *peer, const char *data, size_t len)
{
	struct pdudaemon_server *s = (struct pdudaemon_server *)peer->server;
	char request[2048], *end;
	size_t used = strlen(s->log);

	snprintf(request, sizeof(request), "%.*s", (int)len, data);
	assert_int_equal(strncmp(request, "GET ", 4), 0);
	end = strchr(request + 4, ' ');
	assert_non_null(end);
	*end = '\0';
	snprintf(s->log + used, sizeof(s->log) - used, "%s; ", request + 4);
	if (!s->mute)
		pdudaemon_answer(peer, request + 4);
}

static void *pdudaemon_setup(struct driver_env *env)
{
	struct pdudaemon_server *s = calloc(1, sizeof(*s));

	env->capability = "power";
	s->tcp.data = pdudaemon_data;
	tcp_server_start(&s->tcp, env->loop);
	return s;
}

static void pdudaemon_freed(uv_handle_t *handle)
{
	free(handle->data);
	free(handle);
}

static void pdudaemon_teardown(void *bench)
{
	struct pdudaemon_server *s = bench;
	uv_timer_t *timer = calloc(1, sizeof(*timer));

	tcp_server_end(&s->tcp);
	uv_timer_init(s->tcp.loop, timer);
	timer->data = s;
	uv_close((uv_handle_t *)timer, pdudaemon_freed);
}

static void pdudaemon_adapt(void *bench, json_t *options)
{
	struct pdudaemon_server *s = bench;

	json_object_set_new(options, "port", json_integer(s->tcp.port));
}

static bool pdudaemon_break_open(void *bench, unsigned step, json_t *options)
{
	struct pdudaemon_server *s = bench;

	json_object_set_new(options, "timeout_ms", json_integer(300));
	switch (step) {
	case 0:
		tcp_server_down(&s->tcp);
		break;
	case 1:
		s->mute = true;
		break;
	case 2:
		s->tcp.closes = true;
		break;
	case 3:
		s->garbage = true;
		break;
	case 4:
		s->status = 403;
		break;
	default:
		return false;
	}
	return true;
}

static void pdudaemon_mend(void *bench)
{
	struct pdudaemon_server *s = bench;

	s->mute = s->garbage = s->tcp.closes = false;
	s->status = 0;
	tcp_server_up(&s->tcp);
}

static void pdudaemon_start(struct device *dev, struct op *op)
{
	dev->driver->power->set(dev, true, op);
}

static void pdudaemon_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct pdudaemon_server *s = bench;

	s->mute = true;
	pdudaemon_start(dev, op);
}

static void pdudaemon_unplug(void *bench)
{
	struct pdudaemon_server *s = bench;

	tcp_server_down(&s->tcp);
}

/* What was asked for last: of outlet 3, and nothing else. */
static bool pdudaemon_is_on(void *bench)
{
	static const char on[] = "/power/control/on?hostname=shelf-1&port=3; ";
	static const char off[] = "/power/control/off?hostname=shelf-1&port=3; ";
	struct pdudaemon_server *s = bench;
	const char *last = s->log, *p;

	for (p = s->log; (p = strstr(p, "/power/")); p++)
		last = p;
	assert_true(strcmp(last, on) == 0 || strcmp(last, off) == 0);
	return strcmp(last, on) == 0;
}

static const struct contract contract_pdudaemon = {.driver = "pdudaemon",
	.options = "{\"pdu\": \"shelf-1\", \"outlet\": 3}",
	.setup = pdudaemon_setup,
	.teardown = pdudaemon_teardown,
	.adapt = pdudaemon_adapt,
	.break_open = pdudaemon_break_open,
	.mend = pdudaemon_mend,
	.start_good = pdudaemon_start,
	.start_stuck = pdudaemon_start_stuck,
	.unstick = pdudaemon_mend,
	.unplug = pdudaemon_unplug,
	.is_on = pdudaemon_is_on};

#endif
