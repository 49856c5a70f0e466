/*
 * tcp against Debian's ser2net, which serves a pseudo-terminal that this test holds the other end
 * of.
 */
#include "scratch.h"
#include "tcp_bench.h"
#include "tcp_server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <termios.h>

extern char **environ;

struct bench {
	struct tcp_bench b; /* first */
	void *scratch;
	int master; /* the far end of the serial port */
	int reserved;
	unsigned port;
	pid_t pid;
};

static void ser2net_start(struct bench *x, const char *accepter)
{
	char name[64], conf[1024], path[512];
	char *argv[] = {"ser2net", "-n", "-c", path, NULL};

	assert_return_code(ptsname_r(x->master, name, sizeof(name)), 0);
	snprintf(conf, sizeof(conf),
		"%%YAML 1.1\n---\nconnection: &a\n  accepter: %s%stcp,127.0.0.1,%u\n"
		"  connector: serialdev,%s,9600n81,local\n  options:\n    kickolduser: true\n",
		accepter, accepter[0] ? "," : "", x->port, name);
	snprintf(path, sizeof(path), "%s", scratch_write(x->scratch, "ser2net.yaml", conf));
	if (posix_spawn(&x->pid, "/usr/sbin/ser2net", NULL, NULL, argv, environ) != 0)
		fail_msg("/usr/sbin/ser2net cannot be started: is the package ser2net installed?");
}

static void ser2net_stop(struct bench *x)
{
	if (x->pid <= 0)
		return;
	kill(x->pid, SIGKILL);
	waitpid(x->pid, NULL, 0);
	x->pid = 0;
}

static int setup(void **state)
{
	struct bench *x = calloc(1, sizeof(*x));
	struct sockaddr_in at;
	socklen_t len = sizeof(at);

	uv_loop_init(&x->b.loop);
	assert_int_equal(scratch_setup(&x->scratch), 0);
	x->master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	assert_return_code(unlockpt(x->master), 0);
	/* a free port; ser2net sets SO_REUSEADDR, so one that is only bound here is no hindrance */
	x->reserved = tcp_server_bind(0);
	assert_return_code(getsockname(x->reserved, (struct sockaddr *)&at, &len), 0);
	x->port = ntohs(at.sin_port);
	tcp_bench_init(&x->b, x->port, "{\"mode\": \"rfc2217\", \"timeout_ms\": 20000}");
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct bench *x = *state;

	ser2net_stop(x);
	close_loop(&x->b.loop);
	close(x->master);
	close(x->reserved);
	scratch_teardown(&x->scratch);
	json_decref(x->b.options);
	free(x);
	return 0;
}

/* Opens as soon as ser2net listens. */
static struct device *open_when_up(struct bench *x)
{
	for (;;) {
		struct device *dev = tcp_bench_create(&x->b);
		struct outcome o;

		dev->driver->open(dev, outcome_start(&x->b.loop, &o, 30000));
		outcome_wait(&x->b.loop, &o);
		if (o.e.code == ERR_NONE)
			return dev;
		if (!strstr(o.e.msg, "refused") || waitpid(x->pid, NULL, WNOHANG) != 0)
			fail_msg("%s", o.e.msg);
		close_device(&x->b.loop, dev);
		poll(NULL, 0, 5);
	}
}

static void bytes_pass(struct bench *x, struct device *dev)
{
	char all[256], back[256];
	size_t got = 0;

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	tcp_bench_write(&x->b, dev, all, 256);
	while (got < 256) {
		ssize_t n = read(x->master, back + got, 256 - got);

		got += n > 0 ? (size_t)n : 0;
		uv_run(&x->b.loop, UV_RUN_NOWAIT);
	}
	assert_memory_equal(back, all, 256);
	x->b.in_len = 0;
	assert_int_equal(write(x->master, all, 256), 256);
	while (x->b.in_len < 256)
		uv_run(&x->b.loop, UV_RUN_ONCE);
	assert_memory_equal(x->b.in, all, 256);
}

static void raw_every_byte_passes(void **state)
{
	struct bench *x = *state;
	struct device *dev;

	tcp_bench_init(&x->b, x->port, "{\"mode\": \"raw\"}");
	ser2net_start(x, "");
	dev = open_when_up(x);
	bytes_pass(x, dev);
	close_device(&x->b.loop, dev);
}

static void rfc2217_sets_the_port_and_every_byte_passes(void **state)
{
	struct bench *x = *state;
	struct termios t;
	struct device *dev;
	struct outcome o;
	json_t *lines;

	tcp_bench_init(&x->b, x->port,
		"{\"mode\": \"rfc2217\", \"timeout_ms\": 20000, \"baud\": 230400,"
		" \"stop_bits\": 2, \"flow\": \"xonxoff\"}");
	ser2net_start(x, "telnet(rfc2217)");
	dev = open_when_up(x);
	assert_return_code(tcgetattr(x->master, &t), 0);
	assert_int_equal(cfgetospeed(&t), B230400);
	assert_true(t.c_cflag & CSTOPB);
	assert_true(t.c_iflag & IXON);
	close_device(&x->b.loop, dev);
	tcp_bench_init(&x->b, x->port, "{\"mode\": \"rfc2217\", \"timeout_ms\": 20000}");
	dev = open_when_up(x);
	assert_return_code(tcgetattr(x->master, &t), 0);
	assert_int_equal(cfgetospeed(&t), B115200);
	assert_false(t.c_iflag & IXON);
	bytes_pass(x, dev);
	tcp_bench_lines(&x->b, dev, "{\"break_ms\": 10}");
	bytes_pass(x, dev);
	/* which a pseudo-terminal has not */
	lines = json_pack("{s:b}", "dtr", 0);
	dev->driver->modem->set(dev, lines, outcome_start(&x->b.loop, &o, 30000));
	assert_failed(&x->b.loop, &o, ERR_BENCH, "does not confirm DTR");
	json_decref(lines);
	bytes_pass(x, dev);
	close_device(&x->b.loop, dev);
}

static void a_ser2net_without_rfc2217_is_told_apart(void **state)
{
	struct bench *x = *state;
	struct device *dev;

	tcp_bench_init(&x->b, x->port, "{\"mode\": \"raw\"}");
	ser2net_start(x, "telnet");
	dev = open_when_up(x);
	close_device(&x->b.loop, dev);
	tcp_bench_init(&x->b, x->port, "{\"mode\": \"rfc2217\", \"timeout_ms\": 20000}");
	tcp_bench_open_fails(&x->b, "refuses RFC 2217");
}

static void a_ser2net_that_is_started_anew_is_taken_up_again(void **state)
{
	struct bench *x = *state;
	struct device *dev;

	ser2net_start(x, "telnet(rfc2217)");
	dev = open_when_up(x);
	ser2net_stop(x);
	while (!x->b.events.lost)
		uv_run(&x->b.loop, UV_RUN_ONCE);
	ser2net_start(x, "telnet(rfc2217)");
	while (!x->b.events.back)
		uv_run(&x->b.loop, UV_RUN_ONCE);
	bytes_pass(x, dev);
	close_device(&x->b.loop, dev);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(raw_every_byte_passes),
		TEST(rfc2217_sets_the_port_and_every_byte_passes),
		TEST(a_ser2net_without_rfc2217_is_told_apart),
		TEST(a_ser2net_that_is_started_anew_is_taken_up_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
