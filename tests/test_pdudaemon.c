/*
 * pdudaemon: against a stand-in, and against Debian's own with its localcmdline driver.
 */
#include "contracts/pdudaemon.h"
#include "scratch.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

struct bench {
	struct driver_env env;
	struct events events;
	uv_loop_t loop;
	struct pdudaemon_server *server;
	void *scratch;
	pid_t pid;
	json_t *options;
};

static void use_options(struct bench *b, const char *text)
{
	json_decref(b->options);
	b->options = options_of(driver_find("pdudaemon"), text);
	pdudaemon_adapt(b->server, b->options);
	json_object_update_new(b->options, json_loads(text, 0, NULL));
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	uv_loop_init(&b->loop);
	b->env = (struct driver_env){
		.loop = &b->loop, .board = "b", .event = event_came, .arg = &b->events};
	b->server = pdudaemon_setup(&b->env);
	assert_int_equal(scratch_setup(&b->scratch), 0);
	use_options(b, "{\"pdu\": \"shelf-1\", \"outlet\": 3}");
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	if (b->pid > 0) {
		kill(b->pid, SIGKILL);
		waitpid(b->pid, NULL, 0);
	}
	pdudaemon_teardown(b->server);
	close_loop(&b->loop);
	scratch_teardown(&b->scratch);
	json_decref(b->options);
	free(b);
	return 0;
}

static struct device *create(struct bench *b)
{
	struct err e;
	struct device *dev = driver_find("pdudaemon")->create(&b->env, b->options, &e);

	if (!dev)
		fail_msg("create: %s", e.msg);
	return dev;
}

static void set(struct bench *b, struct device *dev, bool on)
{
	struct outcome o;

	dev->driver->power->set(dev, on, outcome_start(&b->loop, &o, 60000));
	assert_done(&b->loop, &o);
	assert_string_equal(json_string_value(json_object_get(o.result, "verified")), "none");
	outcome_finish(&o);
}

static void it_asks_as_pdudaemon_wants(void **state)
{
	struct bench *b = *state;
	struct device *dev = create(b);
	struct outcome o;

	b->server->byte_wise = true;
	dev->driver->open(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	set(b, dev, true);
	set(b, dev, false);
	close_device(&b->loop, dev);
	use_options(b, "{\"alias\": \"b&oard 1\", \"wait_ms\": 1}");
	dev = create(b);
	set(b, dev, true);
	close_device(&b->loop, dev);
	assert_string_equal(b->server->log, "/; /power/control/on?hostname=shelf-1&port=3; "
					    "/power/control/off?hostname=shelf-1&port=3; "
					    "/power/control/on?alias=b%26oard%201; ");
}

static void what_it_refuses_is_named(void **state)
{
	struct bench *b = *state;
	struct device *dev = create(b);
	struct outcome o;

	b->server->status = 500;
	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, 10000));
	assert_failed(
		&b->loop, &o, ERR_BENCH, "refuses \"shelf-1\" outlet 3 (\"Invalid request\")");
	b->server->status = 302;
	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "answers with status 302: is that pdudaemon?");
	tcp_server_down(&b->server->tcp);
	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_BENCH, "is pdudaemon running, with listener http?");
	dev->driver->power->get(dev, outcome_start(&b->loop, &o, 10000));
	assert_failed(&b->loop, &o, ERR_UNSUPPORTED, "does not tell");
	close_device(&b->loop, dev);
}

static void refused(struct bench *b, const char *options, const char *text)
{
	struct err e;

	use_options(b, options);
	assert_null(driver_find("pdudaemon")->create(&b->env, b->options, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	if (!strstr(e.msg, text))
		fail_msg("expected \"%s\" in: %s", text, e.msg);
}

static void options_that_cannot_work_are_refused(void **state)
{
	refused(*state, "{}", "either pdu and outlet, or alias");
	refused(*state, "{\"pdu\": \"x\"}", "either pdu and outlet, or alias");
	refused(*state, "{\"pdu\": \"x\", \"outlet\": 1, \"alias\": \"y\"}", "either pdu");
	refused(*state, "{\"pdu\": \"x\", \"outlet\": -1}", "outlet must be");
	refused(*state, "{\"alias\": \"y\", \"host\": \"a/b\"}", "host is a name or an address");
	refused(*state, "{\"alias\": \"y\", \"port\": 0}", "port must be");
	refused(*state, "{\"alias\": \"y\", \"timeout_ms\": 0}", "timeout_ms must be");
}

/* Debian's pdudaemon on the stand-in's port, with a switch that writes files. */
static void pdudaemon_real(struct bench *b)
{
	char conf[1024], path[512];
	char *argv[] = {"pdudaemon", "--conf", path, "--logfile", NULL, NULL};
	const char *dir = ((struct scratch *)b->scratch)->dir;

	snprintf(conf, sizeof(conf),
		"{\"daemon\": {\"hostname\": \"127.0.0.1\", \"port\": %u, \"listener\": \"http\"},"
		" \"pdus\": {\"shelf-1\": {\"driver\": \"localcmdline\","
		" \"cmd_on\": \"echo on >%s/outlet%%s\", \"cmd_off\": \"echo off >%s/outlet%%s\"}}}",
		b->server->tcp.port, dir, dir);
	snprintf(path, sizeof(path), "%s", scratch_write(b->scratch, "pdudaemon.conf", conf));
	argv[4] = (char *)(uintptr_t)scratch_path(b->scratch, "log");
	/* the port goes over to it: reserved without SO_REUSEPORT's help it could not bind */
	tcp_server_down(&b->server->tcp);
	close(b->server->tcp.reserved);
	b->server->tcp.reserved = -1;
	if (posix_spawn(&b->pid, "/usr/sbin/pdudaemon", NULL, NULL, argv, environ) != 0)
		fail_msg("/usr/sbin/pdudaemon cannot be started: is the package installed?");
}

static void assert_outlet(struct bench *b, const char *expected)
{
	char text[16] = "";
	FILE *f = fopen(scratch_path(b->scratch, "outlet3"), "r");

	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_string_equal(text, expected);
}

static void debians_own_switches(void **state)
{
	struct bench *b = *state;
	struct device *dev = create(b);
	struct outcome o;

	pdudaemon_real(b);
	do {
		assert_int_equal(waitpid(b->pid, NULL, WNOHANG), 0);
		poll(NULL, 0, 20);
		dev->driver->open(dev, outcome_start(&b->loop, &o, 60000));
		outcome_wait(&b->loop, &o);
	} while (o.e.code != ERR_NONE);
	set(b, dev, true);
	assert_outlet(b, "on\n");
	set(b, dev, false);
	assert_outlet(b, "off\n");
	set(b, dev, true);
	dev->driver->make_safe(dev, outcome_start(&b->loop, &o, 10000));
	assert_done(&b->loop, &o);
	outcome_finish(&o);
	assert_outlet(b, "off\n");
	close_device(&b->loop, dev);
	json_object_set_new(b->options, "pdu", json_string("nowhere"));
	dev = create(b);
	dev->driver->power->set(dev, true, outcome_start(&b->loop, &o, 60000));
	assert_failed(&b->loop, &o, ERR_BENCH, "refuses \"nowhere\" outlet 3");
	close_device(&b->loop, dev);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(it_asks_as_pdudaemon_wants),
		TEST(what_it_refuses_is_named),
		TEST(options_that_cannot_work_are_refused),
		TEST(debians_own_switches),
	};

	(void)contract_pdudaemon; /* under test in test_drivers.c */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
