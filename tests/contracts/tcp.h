/* tcp: a serial port server on the loopback interface (tests/driver_contract.h). */
#ifndef TESTS_CONTRACTS_TCP_H
#define TESTS_CONTRACTS_TCP_H

#include "../driver_contract.h"
#include "../rfc2217_server.h"

static void tcp_ignore(void *arg, const char *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
}

static void *tcp_setup(struct driver_env *env)
{
	struct rfc2217_server *s = calloc(1, sizeof(*s));

	env->capability = "console";
	env->console_in = tcp_ignore;
	rfc2217_start(s, env->loop);
	return s;
}

/* A server goes in the loop's next turn only, for its connections' sake. */
static void tcp_free(uv_handle_t *handle)
{
	free(handle->data);
	free(handle);
}

static void tcp_teardown(void *bench)
{
	struct rfc2217_server *s = bench;
	uv_timer_t *timer = calloc(1, sizeof(*timer));

	tcp_server_end(&s->tcp);
	uv_timer_init(s->tcp.loop, timer);
	timer->data = s;
	uv_close((uv_handle_t *)timer, tcp_free);
}

static void tcp_adapt(void *bench, json_t *options)
{
	struct rfc2217_server *s = bench;

	json_object_set_new(options, "port", json_integer(s->tcp.port));
}

static bool tcp_break_open(void *bench, unsigned step, json_t *options)
{
	struct rfc2217_server *s = bench;

	json_object_set_new(options, "timeout_ms", json_integer(300));
	switch (step) {
	case 0:
		tcp_server_down(&s->tcp);
		break;
	case 1:
		s->mute = true;
		break;
	case 2:
		s->refuses = true;
		break;
	case 3:
		s->tcp.closes = true;
		break;
	case 4:
		s->garbage = true;
		break;
	case 5:
		s->wrong = COM_BAUD;
		break;
	case 6:
		json_object_set_new(options, "host", json_string("no-such-host.invalid"));
		break;
	default:
		return false;
	}
	return true;
}

static void tcp_mend(void *bench)
{
	struct rfc2217_server *s = bench;

	s->refuses = s->tcp.closes = s->garbage = false;
	rfc2217_speak(s);
	s->wrong = 0;
	tcp_server_up(&s->tcp);
}

static void tcp_start(struct device *dev, struct op *op)
{
	json_t *lines = json_pack("{s:b, s:b}", "dtr", 1, "rts", 0);

	dev->driver->modem->set(dev, lines, op);
	json_decref(lines);
}

static void tcp_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct rfc2217_server *s = bench;

	s->mute = true;
	tcp_start(dev, op);
}

static void tcp_unplug(void *bench)
{
	struct rfc2217_server *s = bench;

	tcp_server_down(&s->tcp);
}

static const struct contract contract_tcp = {.driver = "tcp",
	.options = "{\"host\": \"127.0.0.1\", \"mode\": \"rfc2217\"}",
	.setup = tcp_setup,
	.teardown = tcp_teardown,
	.adapt = tcp_adapt,
	.break_open = tcp_break_open,
	.mend = tcp_mend,
	.start_good = tcp_start,
	.start_stuck = tcp_start_stuck,
	.unstick = tcp_mend,
	.unplug = tcp_unplug,
	.tells = true};

#endif
