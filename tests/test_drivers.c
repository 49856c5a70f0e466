/*
 * The table of drivers, and the contract that each of them keeps.
 */
#include "driver_contract.h"
#include "fake_openocd.h"
#include "rig/rpc.h"
#include "scratch.h"

#include <poll.h>
#include <sys/socket.h>

/* --- smp --- */

static void *smp_setup(struct driver_env *env)
{
	struct console_port *port = port_create(env->loop);

	env->console = port;
	return port;
}

static void smp_teardown(void *bench)
{
	port_destroy(bench);
}

static void smp_start(struct device *dev, struct op *op)
{
	json_t *params = json_pack(
		"{s:s, s:i, s:i, s:{s:s}}", "op", "write", "group", 0, "id", 0, "body", "d", "x");

	dev->driver->transport->request(dev, params, op);
	json_decref(params);
}

static void smp_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct console_port *port = bench;

	port->silent = true;
	smp_start(dev, op);
}

static void smp_unstick(void *bench)
{
	struct console_port *port = bench;

	port->silent = false;
}

static void smp_unplug(void *bench)
{
	port_power_lost(bench);
}

/* --- openocd --- */

struct openocd_bench {
	uv_loop_t *loop;
	void *scratch;
	json_t *conf;
	char *path; /* PATH as it was */
};

static const char *openocd_file(const struct openocd_bench *b, const char *name)
{
	return scratch_path(b->scratch, name);
}

static void openocd_mode(const struct openocd_bench *b, const char *mode)
{
	scratch_write(b->scratch, "mode", mode);
}

static void *openocd_setup(struct driver_env *env)
{
	struct openocd_bench *b = calloc(1, sizeof(*b));
	char self[4096], *path;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	assert_true(n > 0);
	self[n] = '\0';
	b->loop = env->loop;
	assert_int_equal(scratch_setup(&b->scratch), 0);
	assert_return_code(symlink(self, openocd_file(b, "openocd")), 0);
	b->path = strdup(getenv("PATH"));
	assert_true(asprintf(&path, "%s:%s", openocd_file(b, ""), b->path) > 0);
	setenv("PATH", path, 1);
	free(path);
	setenv("FAKE_DIR", ((struct scratch *)b->scratch)->dir, 1);
	b->conf = json_pack("{s:{s:s}, s:{s:i, s:i, s:i}}", "openocd", "target", "x.cfg", "flash",
		"base", FAKE_BASE, "size", FAKE_SIZE, "page", FAKE_PAGE);
	env->board_conf = b->conf;
	env->board_dir = env->log_dir = ((struct scratch *)b->scratch)->dir;
	return b;
}

static void openocd_teardown(void *bench)
{
	struct openocd_bench *b = bench;

	setenv("PATH", b->path, 1);
	free(b->path);
	json_decref(b->conf);
	scratch_teardown(&b->scratch);
	free(b);
}

static bool openocd_break_open(void *bench, unsigned step, json_t *options)
{
	(void)bench;
	json_object_set_new(options, "program", json_string("no such program"));
	return step == 0;
}

static void openocd_mend(void *bench)
{
	openocd_mode(bench, "");
}

static void openocd_start(struct device *dev, struct op *op)
{
	dev->driver->probe->halt(dev, op);
}

/* Whether the stand-in has got that verb. */
static bool openocd_got(const struct openocd_bench *b, const char *verb)
{
	FILE *f = fopen(openocd_file(b, "scripts"), "r");
	char line[256];
	bool got = false;

	while (f && fgets(line, sizeof(line), f))
		got |= strstr(line, verb) != NULL;
	if (f)
		fclose(f);
	return got;
}

static void openocd_start_stuck(void *bench, struct device *dev, struct op *op)
{
	struct openocd_bench *b = bench;

	openocd_mode(b, "mute rig_resume");
	dev->driver->probe->resume(dev, op);
	while (!openocd_got(b, "rig_resume")) {
		uv_run(b->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
}

static void openocd_unstick(void *bench)
{
	openocd_mode(bench, "");
}

static void openocd_unplug(void *bench)
{
	struct openocd_bench *b = bench;
	char text[32] = "";
	FILE *f = fopen(openocd_file(b, "pid"), "r");

	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	kill((pid_t)strtol(text, NULL, 10), SIGKILL);
}

/* --- virtual --- */

struct virtual_bench {
	void *scratch;
	uv_loop_t *loop;
};

static void *virtual_setup(struct driver_env *env)
{
	struct virtual_bench *b = calloc(1, sizeof(*b));

	assert_int_equal(scratch_setup(&b->scratch), 0);
	b->loop = env->loop;
	env->capability = "power";
	env->board_dir = env->log_dir = ((struct scratch *)b->scratch)->dir;
	return b;
}

/* Sends the board's process a signal, if there is one. */
static void virtual_signal(struct virtual_bench *b, int number)
{
	const char *path = scratch_path(b->scratch, "vboard/control.sock");
	struct ucred who;
	socklen_t len = sizeof(who);
	struct err e;
	int fd = rpc_connect_unix(path, &e);

	if (fd < 0)
		return;
	assert_return_code(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len), 0);
	close(fd);
	kill(who.pid, number);
	while (number == SIGKILL && (fd = rpc_connect_unix(path, &e)) >= 0) {
		close(fd);
		poll(NULL, 0, 1);
	}
}

static void virtual_teardown(void *bench)
{
	struct virtual_bench *b = bench;

	virtual_signal(b, SIGKILL);
	scratch_teardown(&b->scratch);
	free(b);
}

static bool virtual_break_open(void *bench, unsigned step, json_t *options)
{
	virtual_signal(bench, SIGKILL);
	if (step == 0)
		json_object_set_new(options, "program", json_string("/no/such/vboard"));
	else
		json_object_set_new(options, "soc", json_string("none"));
	return step < 2;
}

static void virtual_mend(void *bench)
{
	(void)bench; /* open starts the board's process */
}

static void virtual_start(struct device *dev, struct op *op)
{
	dev->driver->power->get(dev, op);
}

static void virtual_start_stuck(void *bench, struct device *dev, struct op *op)
{
	virtual_signal(bench, SIGSTOP);
	dev->driver->power->get(dev, op);
}

static void virtual_unstick(void *bench)
{
	virtual_signal(bench, SIGCONT);
}

static void virtual_unplug(void *bench)
{
	virtual_signal(bench, SIGKILL);
}

/* --- the table --- */

static const struct contract contracts[] = {
	{"openocd", "{\"adapter\": \"jlink\"}", openocd_setup, openocd_teardown, openocd_break_open,
		openocd_mend, openocd_start, openocd_start_stuck, openocd_unstick, openocd_unplug},
	{"smp", "{}", smp_setup, smp_teardown, NULL, smp_unstick, smp_start, smp_start_stuck,
		smp_unstick, smp_unplug},
	{"virtual", "{}", virtual_setup, virtual_teardown, virtual_break_open, virtual_mend,
		virtual_start, virtual_start_stuck, virtual_unstick, virtual_unplug},
};

#define CONTRACTS (sizeof(contracts) / sizeof(*contracts))

static void every_driver_of_the_table_is_under_contract(void **state)
{
	size_t n = 0;
	struct err e;

	(void)state;
	assert_return_code(drivers_check(&e), 0);
	for (; drivers[n]; n++) {
		bool found = false;

		for (size_t i = 0; i < CONTRACTS; i++)
			found |= strcmp(contracts[i].driver, drivers[n]->name) == 0;
		if (!found)
			fail_msg("no contract for %s", drivers[n]->name);
		assert_ptr_equal(driver_find(drivers[n]->name), drivers[n]);
	}
	assert_int_equal(n, CONTRACTS);
	assert_null(driver_find("no such driver"));
}

static void the_catalogue_tells_options_and_capabilities(void **state)
{
	json_t *catalogue = driver_catalogue(), *smp = json_object_get(catalogue, "smp");
	json_t *options = json_object_get(smp, "options"), *expected;

	(void)state;
	assert_int_equal(json_object_size(catalogue), CONTRACTS);
	expected = json_loads("[\"transport\"]", 0, NULL);
	assert_true(json_equal(json_object_get(smp, "caps"), expected));
	json_decref(expected);
	expected = json_loads(
		"{\"type\": \"integer\", \"required\": false, \"default\": 1000}", 0, NULL);
	json_object_set(
		expected, "help", json_object_get(json_object_get(options, "try_ms"), "help"));
	assert_true(json_equal(json_object_get(options, "try_ms"), expected));
	json_decref(expected);
	options = json_object_get(json_object_get(catalogue, "openocd"), "options");
	assert_true(json_is_true(json_object_get(json_object_get(options, "adapter"), "required")));
	assert_true(json_is_null(json_object_get(json_object_get(options, "serial"), "default")));
	json_decref(catalogue);
}

/* --- descriptors that are not whole --- */

static void nothing(struct device *dev, struct op *op)
{
	(void)dev;
	op_done(op, NULL);
}

static struct device *no_device(const struct driver_env *env, json_t *options, struct err *e)
{
	(void)env;
	(void)options;
	err_set(e, ERR_CONFIG, "no");
	return NULL;
}

static void no_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	(void)dev;
	closed(arg);
}

static void no_set(struct device *dev, bool on, struct op *op)
{
	(void)on;
	nothing(dev, op);
}

static void a_descriptor_that_is_not_whole_is_found_out(void **state)
{
	static const struct power_ops whole = {no_set, nothing}, half = {no_set, NULL};
	static const struct driver_option none[] = {{0}};
	static const struct driver_option no_help[] = {
		{"x", OPTION_STRING, false, NULL, NULL}, {0}};
	static const struct driver_option no_number[] = {
		{"x", OPTION_INTEGER, false, "1 s", "help"}, {0}};
	static const struct driver_option no_truth[] = {
		{"x", OPTION_BOOLEAN, false, "1", "help"}, {0}};
	static const struct driver_option both[] = {{"x", OPTION_STRING, true, "y", "help"}, {0}};
	static const struct driver_option good[] = {{"x", OPTION_BOOLEAN, false, "true", "help"},
		{"y", OPTION_INTEGER, false, "-1", "help"},
		{"z", OPTION_STRING, true, NULL, "help"}, {0}};
	struct driver d = {.name = "d",
		.help = "help",
		.options = good,
		.create = no_device,
		.open = nothing,
		.make_safe = nothing,
		.close = no_close,
		.power = &whole};
	struct driver bad;
	struct err e;

	(void)state;
	assert_return_code(driver_check(&d, &e), 0);
#define REFUSED(field, value, why)                                                                 \
	bad = d;                                                                                   \
	bad.field = value;                                                                         \
	assert_int_equal(driver_check(&bad, &e), -ERR_UNSUPPORTED);                                \
	assert_non_null(strstr(e.msg, why))
	REFUSED(name, "", "without a name");
	REFUSED(help, NULL, "missing");
	REFUSED(options, NULL, "missing");
	REFUSED(create, NULL, "missing");
	REFUSED(open, NULL, "missing");
	REFUSED(make_safe, NULL, "missing");
	REFUSED(close, NULL, "missing");
	REFUSED(power, NULL, "offers nothing");
	REFUSED(power, &half, "power: operation 2 is missing");
	REFUSED(options, no_help, "no help");
	REFUSED(options, no_number, "\"1 s\" is no integer");
	REFUSED(options, no_truth, "\"1\" is no boolean");
	REFUSED(options, both, "required");
#undef REFUSED
	d.options = none;
	assert_return_code(driver_check(&d, &e), 0);
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[3 + CONTRACTS * CONTRACT_CLAIMS] = {
		cmocka_unit_test(every_driver_of_the_table_is_under_contract),
		cmocka_unit_test(the_catalogue_tells_options_and_capabilities),
		cmocka_unit_test(a_descriptor_that_is_not_whole_is_found_out),
	};
	const char *name = strrchr(argv[0], '/');
	int failed;

	if (strcmp(name ? name + 1 : argv[0], "openocd") == 0)
		return fake_main(argc, argv);
	for (size_t i = 0; i < CONTRACTS; i++)
		contract_tests(&contracts[i], tests + 3 + i * CONTRACT_CLAIMS);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 3; i < sizeof(tests) / sizeof(*tests); i++)
		free((char *)(uintptr_t)tests[i].name);
	return failed;
}
