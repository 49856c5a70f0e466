/*
 * Serial ports found, opened, lost and taken up again, and the console driver over them.
 */
#include "fake_serial.h"

#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

/* --- a console on a bench --------------------------------------------------------------------- */

struct console {
	uv_loop_t loop;
	struct driver_env env;
	struct fake_serial *port;
	struct device *dev;
	char in[4 << 20];
	size_t in_len;
	int lost, back, notes;
	char text[1024]; /* of the last event */
};

static void event_of(void *arg, const char *name, json_t *fields)
{
	struct console *c = arg;
	const char *text = json_string_value(json_object_get(fields, "text"));

	c->lost += strcmp(name, "lost") == 0;
	c->back += strcmp(name, "back") == 0;
	c->notes += strcmp(name, "note") == 0;
	if (!text)
		text = json_string_value(json_object_get(fields, "reason"));
	snprintf(c->text, sizeof(c->text), "%s", text ? text : "");
	json_decref(fields);
}

static void bytes_of(void *arg, const char *data, size_t len)
{
	struct console *c = arg;

	assert_true(c->in_len + len <= sizeof(c->in));
	memcpy(c->in + c->in_len, data, len);
	c->in_len += len;
}

static int setup(void **state)
{
	struct console *c = calloc(1, sizeof(*c));

	uv_loop_init(&c->loop);
	c->env = (struct driver_env){.loop = &c->loop,
		.board = "b",
		.capability = "console",
		.console_in = bytes_of,
		.event = event_of,
		.arg = c};
	c->port = fake_serial_create();
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct console *c = *state;

	if (c->dev)
		close_device(&c->loop, c->dev);
	close_loop(&c->loop);
	fake_serial_destroy(c->port);
	free(c);
	return 0;
}

static struct device *create(struct console *c, const char *changes, struct err *e)
{
	const struct driver *driver = driver_find("serial");
	json_t *options = options_of(driver, changes);
	struct device *dev = driver->create(&c->env, options, e);

	json_decref(options);
	return dev;
}

static struct device *open_start(struct console *c, const char *changes, struct outcome *o)
{
	struct err e;
	struct device *dev = create(c, changes, &e);

	if (!dev)
		fail_msg("create: %s", e.msg);
	dev->driver->open(dev, outcome_start(&c->loop, o, 10000));
	return dev;
}

static void open_it(struct console *c, const char *changes)
{
	struct outcome o;

	c->dev = open_start(c, changes, &o);
	assert_done(&c->loop, &o);
	outcome_finish(&o);
}

static void assert_refuses(
	struct console *c, const char *changes, enum err_code code, const char *text)
{
	struct outcome o;
	struct device *dev = open_start(c, changes, &o);

	assert_failed(&c->loop, &o, code, text);
	close_device(&c->loop, dev);
}

static void write_start(struct console *c, const char *data, size_t len, struct outcome *o)
{
	c->dev->driver->console->write(c->dev, data, len, outcome_start(&c->loop, o, 30000));
}

static void until(struct console *c, const int *counter, int value)
{
	while (*counter < value)
		uv_run(&c->loop, UV_RUN_ONCE);
}

static void until_in(struct console *c, size_t len)
{
	while (c->in_len < len)
		uv_run(&c->loop, UV_RUN_ONCE);
}

static void says(struct console *c, const char *text)
{
	assert_int_equal(write(c->port->master, text, strlen(text)), strlen(text));
}

#define RIG1 "{\"usb_serial\": \"RIG1\"}"

/* --- finding ---------------------------------------------------------------------------------- */

/* Ports as on a bench: two adapters alike without a serial number, one with two ports. */
static void plug_many(struct console *c)
{
	struct scratch *s = c->port->scratch;

	fake_tty_sysfs(s, "ttyUSB1", "devices/usb1/1-1/1-1.1", "0", NULL);
	fake_tty_sysfs(s, "ttyUSB2", "devices/usb1/1-1/1-1.2", "0", NULL);
	fake_tty_sysfs(s, "ttyUSB3", "devices/usb1/1-1/1-1.3", "0", "DUAL\n");
	fake_tty_sysfs(s, "ttyUSB10", "devices/usb1/1-1/1-1.3", "1", "DUAL\n");
	scratch_write(s, "sys/devices/platform/serial8250/x", "");
	scratch_write(s, "sys/class/tty/ttyS0/type", "4\n");
	scratch_write(s, "sys/class/tty/ttyS1/type", "0\n");
	scratch_write(s, "sys/class/tty/tty1/x", "");
	assert_return_code(symlink("../../../devices/platform/serial8250",
				   scratch_path(s, "sys/class/tty/ttyS0/device")),
		errno);
	assert_return_code(symlink("../../../devices/platform/serial8250",
				   scratch_path(s, "sys/class/tty/ttyS1/device")),
		errno);
}

static void every_port_of_hardware_is_listed_with_what_names_it(void **state)
{
	static const char *const names[] = {
		"ttyS0", "ttyUSB0", "ttyUSB1", "ttyUSB2", "ttyUSB3", "ttyUSB10"};
	static const char *const confs[] = {"ttyS0\"", "usb_serial = \"RIG1\"",
		"usb_path = \"1-1.1:1.0\"", "usb_path = \"1-1.2:1.0\"",
		"usb_serial = \"DUAL\", interface = 0", "usb_serial = \"DUAL\", interface = 1"};
	struct console *c = *state;
	struct serial_place *list;
	char conf[300];
	struct err e;

	plug_many(c);
	assert_int_equal(serial_list(&list, &e), 6);
	for (size_t i = 0; i < 6; i++) {
		assert_string_equal(strrchr(list[i].path, '/') + 1, names[i]);
		serial_place_conf(&list[i], list, 6, conf, sizeof(conf));
		if (!strstr(conf, confs[i]))
			fail_msg("%s: %s", list[i].path, conf);
	}
	assert_int_equal(list[1].vendor, 0x0403);
	assert_int_equal(list[1].product, 0x6001);
	assert_int_equal(list[1].interface, 0);
	assert_string_equal(list[1].usb_path, "1-1.4:1.0");
	assert_string_equal(list[1].product_name, "RS232 adapter");
	assert_int_equal(list[0].vendor, -1);
	free(list);
}

static int find(const char *options, struct serial_place *place, struct err *e)
{
	json_t *json = json_loads(options, 0, NULL);
	struct serial_want want;
	int ret = serial_want_parse(&want, json, e);

	json_decref(json);
	return ret ? ret : serial_find(&want, place, e);
}

static void a_port_is_found_by_what_names_it(void **state)
{
	static const struct {
		const char *options, *name;
	} cases[] = {
		{"{\"usb_serial\": \"RIG1\"}", "ttyUSB0"},
		{"{\"usb_path\": \"1-1.2\"}", "ttyUSB2"},
		{"{\"usb_path\": \"1-1.1:1.0\"}", "ttyUSB1"},
		{"{\"usb_serial\": \"DUAL\", \"interface\": 1}", "ttyUSB10"},
		{"{\"usb_path\": \"1-1.3:1.0\"}", "ttyUSB3"},
		{"{\"usb_vendor\": 1027, \"usb_product\": 24577, \"usb_path\": \"1-1.4\"}",
			"ttyUSB0"},
	};
	struct serial_place place;
	struct err e;

	plug_many(*state);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (find(cases[i].options, &place, &e) != 0)
			fail_msg("%s: %s", cases[i].options, e.msg);
		assert_string_equal(strrchr(place.path, '/') + 1, cases[i].name);
	}
}

static void what_names_no_port_or_several_is_told_with_what_there_is(void **state)
{
	static const struct {
		const char *options;
		int code;
		const char *texts[3];
	} cases[] = {
		{"{\"usb_serial\": \"RIG9\"}", ERR_GONE,
			{"usb_serial RIG9", "is it plugged in", "serial RIG1"}},
		{"{\"usb_serial\": \"DUAL\"}", ERR_BENCH,
			{"2 ports", "say which by interface", ""}},
		{"{\"usb_vendor\": 1027, \"interface\": 0}", ERR_BENCH,
			{"4 ports", "say which by usb_path", "1-1.2:1.0"}},
		{"{\"usb_path\": \"1-1\"}", ERR_GONE, {"usb_path 1-1", "", ""}},
		{"{\"path\": \"/dev/no-such-port\"}", ERR_GONE,
			{"/dev/no-such-port", "check --scan", ""}},
		{"{\"path\": \"/etc/passwd\"}", ERR_BENCH, {"is no serial port", "", ""}},
	};
	struct serial_place place;
	struct err e;

	plug_many(*state);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(find(cases[i].options, &place, &e), -cases[i].code);
		for (size_t j = 0; j < 3; j++)
			if (!strstr(e.msg, cases[i].texts[j]))
				fail_msg("%s: %s", cases[i].options, e.msg);
	}
}

static void options_that_cannot_be_are_refused(void **state)
{
	static const struct {
		const char *options, *text;
	} cases[] = {
		{"{}", "no port is named"},
		{"{\"interface\": 0}", "no port is named"},
		{"{\"path\": \"ttyUSB0\"}", "absolute"},
		{"{\"path\": \"/dev/ttyUSB0\", \"usb_serial\": \"x\"}", "alone"},
		{"{\"usb_serial\": \"\"}", "usb_serial is empty"},
		{"{\"usb_vendor\": 65536}", "usb_vendor must be 0 to 65535"},
		{"{\"usb_serial\": \"x\", \"interface\": -1}", "interface must be"},
		{"{\"usb_serial\": \"x\", \"baud\": 49}", "baud must be 50 to 4000000"},
		{"{\"usb_serial\": \"x\", \"baud\": 4000001}", "baud must be"},
		{"{\"usb_serial\": \"x\", \"data_bits\": 9}", "data_bits must be 5 to 8"},
		{"{\"usb_serial\": \"x\", \"stop_bits\": 0}", "stop_bits must be"},
		{"{\"usb_serial\": \"x\", \"parity\": \"mark\"}", "parity is \"none\""},
		{"{\"usb_serial\": \"x\", \"flow\": \"yes\"}", "not \"yes\""},
	};
	struct err e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_null(create(*state, cases[i].options, &e));
		assert_int_equal(e.code, ERR_CONFIG);
		if (!strstr(e.msg, cases[i].text))
			fail_msg("%s: %s", cases[i].options, e.msg);
	}
}

/* --- opening ---------------------------------------------------------------------------------- */

static void the_line_is_set_as_the_options_say(void **state)
{
	struct console *c = *state;
	char text[64];

	open_it(c, "{\"usb_serial\": \"RIG1\", \"baud\": 3000000, \"data_bits\": 7, \"parity\": "
		   "\"even\", \"stop_bits\": 2, \"flow\": \"rtscts\", \"dtr\": false}");
	serial_settings_text(&fake_line.settings, text, sizeof(text));
	assert_string_equal(text, "3000000 7E2 rtscts");
	assert_false(fake_line.settings.dtr);
	assert_true(fake_line.settings.rts);
}

static void a_link_of_udevs_is_followed(void **state)
{
	struct console *c = *state;
	char options[300];

	scratch_write(c->port->scratch, "dev/serial/by-id/x", "");
	assert_return_code(symlink("../../" FAKE_TTY,
				   scratch_path(c->port->scratch, "dev/serial/by-id/usb-RIG1")),
		errno);
	snprintf(options, sizeof(options), "{\"path\": \"%s\"}",
		scratch_path(c->port->scratch, "dev/serial/by-id/usb-RIG1"));
	open_it(c, options);
	says(c, "hello");
	until_in(c, 5);
}

static void a_port_named_twice_is_told(void **state)
{
	struct console *c = *state;

	open_it(c, RIG1);
	assert_refuses(c, RIG1, ERR_BENCH, "named twice in rig.conf");
}

/* Another process that has the port open; it ends when the pipe does. */
static pid_t hold(const char *pts, int *end)
{
	int ready[2], stay[2];
	pid_t pid;
	char c;

	assert_return_code(pipe(ready), errno);
	assert_return_code(pipe(stay), errno);
	pid = fork();
	if (pid == 0) {
		int fd = open(pts, O_RDWR | O_NOCTTY);

		close(stay[1]);
		_exit(fd < 0 || write(ready[1], "x", 1) != 1 || read(stay[0], &c, 1));
	}
	close(ready[1]);
	close(stay[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	*end = stay[1];
	return pid;
}

static void a_port_that_another_process_holds_is_told_with_its_name(void **state)
{
	struct console *c = *state;
	int end, opens = fake_line.opens;
	char text[64];
	pid_t pid = hold(c->port->pts, &end);

	snprintf(text, sizeof(text), "is held by test_serial (pid %d)", (int)pid);
	assert_refuses(c, RIG1, ERR_BENCH, text);
	/* its line was not touched */
	assert_int_equal(fake_line.opens, opens);
	close(end);
	waitpid(pid, NULL, 0);
	open_it(c, RIG1);
}

static void nobody_else_opens_what_is_held(void **state)
{
	struct console *c = *state;
	int fd = open(c->port->pts, O_RDWR | O_NOCTTY | O_CLOEXEC);

	open_it(c, RIG1);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	close_device(&c->loop, c->dev);
	c->dev = NULL;
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
}

static void the_latency_timer_is_set_or_its_mend_is_told(void **state)
{
	const char *file = "sys/bus/usb-serial/devices/" FAKE_TTY "/latency_timer";
	struct console *c = *state;
	const char *path = scratch_write(c->port->scratch, file, "16\n");
	char text[16] = "";
	struct outcome o;
	FILE *f;

	open_it(c, RIG1);
	f = fopen(path, "r");
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	assert_int_equal(strtol(text, NULL, 10), 1);
	c->dev->driver->check(c->dev, outcome_start(&c->loop, &o, 10000));
	assert_done(&c->loop, &o);
	assert_int_equal(json_array_size(json_object_get(o.result, "mend")), 0);
	outcome_finish(&o);
	close_device(&c->loop, c->dev);
	/* a number that may be read, and not even root may write */
	path = scratch_path(c->port->scratch, file);
	assert_return_code(unlink(path), errno);
	assert_return_code(symlink("/proc/sys/kernel/ngroups_max", path), errno);
	open_it(c, RIG1);
	c->dev->driver->check(c->dev, outcome_start(&c->loop, &o, 10000));
	assert_done(&c->loop, &o);
	assert_non_null(
		strstr(json_string_value(json_array_get(json_object_get(o.result, "mend"), 0)),
			"60-rig.rules"));
	outcome_finish(&o);
}

static void check_tells_the_port_and_a_name_that_may_change(void **state)
{
	struct console *c = *state;
	char options[300];
	struct outcome o;
	const char *text;

	snprintf(options, sizeof(options), "{\"path\": \"%s\"}",
		scratch_path(c->port->scratch, "dev/" FAKE_TTY));
	open_it(c, options);
	c->dev->driver->check(c->dev, outcome_start(&c->loop, &o, 10000));
	assert_done(&c->loop, &o);
	text = json_string_value(json_array_get(json_object_get(o.result, "says"), 0));
	assert_non_null(strstr(text, "0403:6001, serial RIG1"));
	assert_non_null(strstr(text, "1-1.4:1.0"));
	assert_non_null(strstr(text, "115200 8N1"));
	text = json_string_value(json_array_get(json_object_get(o.result, "mend"), 0));
	assert_non_null(strstr(text, "write usb_serial = \"RIG1\" instead"));
	outcome_finish(&o);
}

static void scan_prints_a_line_of_rig_conf_for_each(void **state)
{
	struct console *c = *state;
	json_t *found = json_array();
	struct err e;
	int end;
	pid_t pid;

	plug_many(c);
	pid = hold(c->port->pts, &end);
	assert_return_code(driver_find("serial")->scan(found, &e), 0);
	assert_int_equal(json_array_size(found), 6);
	assert_string_equal(json_string_value(json_object_get(json_array_get(found, 1), "conf")),
		"console = { driver = \"serial\", usb_serial = \"RIG1\", baud = 115200 },");
	assert_non_null(strstr(json_string_value(json_object_get(json_array_get(found, 1), "mend")),
		"is held by"));
	json_decref(found);
	close(end);
	waitpid(pid, NULL, 0);
}

/* --- bytes ------------------------------------------------------------------------------------ */

#define MUCH (1 << 20)

/* The other end: sends MUCH bytes and takes as many. */
struct peer {
	int fd;
	char *out, *in;
	size_t sent, got;
};

static void *peer_main(void *arg)
{
	struct peer *p = arg;

	while (p->sent < MUCH || p->got < MUCH) {
		struct pollfd fd = {p->fd, POLLIN | (p->sent < MUCH ? POLLOUT : 0), 0};
		ssize_t n;

		poll(&fd, 1, 1000);
		n = read(p->fd, p->in + p->got, MUCH - p->got);
		p->got += n > 0 ? (size_t)n : 0;
		n = write(p->fd, p->out + p->sent, MUCH - p->sent);
		p->sent += n > 0 ? (size_t)n : 0;
	}
	return NULL;
}

static void a_mebibyte_goes_each_way_unharmed(void **state)
{
	struct console *c = *state;
	struct peer peer = {.fd = c->port->master};
	struct outcome o;
	pthread_t thread;

	peer.out = malloc(MUCH);
	peer.in = malloc(MUCH);
	for (size_t i = 0; i < MUCH; i++)
		peer.out[i] = (char)(i * 2654435761U >> 24);
	open_it(c, RIG1);
	assert_int_equal(pthread_create(&thread, NULL, peer_main, &peer), 0);
	write_start(c, peer.out, MUCH, &o);
	assert_done(&c->loop, &o);
	until_in(c, MUCH);
	pthread_join(thread, NULL);
	assert_memory_equal(peer.in, peer.out, MUCH);
	assert_memory_equal(c->in, peer.out, MUCH);
	free(peer.in);
	free(peer.out);
}

static void writes_go_out_in_their_order_and_a_cancelled_one_does_not(void **state)
{
	struct console *c = *state;
	char *much = malloc(MUCH), buf[8192];
	struct outcome first, second, third;
	struct err why;
	size_t len = 0;

	memset(much, 'a', MUCH);
	open_it(c, RIG1);
	write_start(c, much, MUCH, &first);
	write_start(c, "second", 6, &second);
	write_start(c, "third", 5, &third);
	assert_int_equal(first.done, 0);
	err_set(&why, ERR_CANCELLED, "given up");
	op_cancel(second.op, &why);
	op_cancel(first.op, &why);
	while (!third.done || memchr(buf, 'd', len) == NULL) {
		len = fake_tty_read(c->port, buf, sizeof(buf));
		uv_run(&c->loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(third.e.code, ERR_NONE);
	assert_memory_equal(buf + len - 6, "athird", 6);
	free(much);
}

static void nothing_is_a_write_too(void **state)
{
	struct console *c = *state;
	struct outcome o;

	open_it(c, RIG1);
	write_start(c, "", 0, &o);
	assert_done(&c->loop, &o);
}

static void drain_delivers_what_has_arrived(void **state)
{
	struct console *c = *state;
	struct pollfd p;

	open_it(c, RIG1);
	says(c, "last words");
	p = (struct pollfd){c->port->slave, POLLIN, 0};
	assert_int_equal(poll(&p, 1, 5000), 1);
	c->dev->driver->console->drain(c->dev);
	assert_int_equal(c->in_len, 10);
	c->dev->driver->console->drain(c->dev);
	assert_int_equal(c->in_len, 10);
}

static void bytes_that_the_kernel_lost_are_noted(void **state)
{
	struct console *c = *state;

	fake_line.counting = true;
	fake_line.counts = (struct serial_counts){.overrun = 7, .breaks = 3};
	open_it(c, RIG1);
	says(c, "x");
	until_in(c, 1);
	assert_int_equal(c->notes, 0); /* what was before counts for nothing */
	fake_line.counts.overrun = 9;
	fake_line.counts.frame = 1;
	says(c, "x");
	until_in(c, 2);
	assert_int_equal(c->notes, 1);
	assert_non_null(strstr(c->text, "2 bytes lost in the UART"));
	assert_non_null(strstr(c->text, "1 framing errors"));
	fake_line.counts.breaks = 4;
	fake_line.counts.buf_overrun = 5;
	says(c, "x");
	until_in(c, 3);
	assert_int_equal(c->notes, 1); /* not one for each byte */
	close_device(&c->loop, c->dev);
	c->dev = NULL;
	assert_int_equal(c->notes, 2); /* and yet told, at the end */
	assert_non_null(strstr(c->text, "5 lost in its buffer"));
}

/* --- lines ------------------------------------------------------------------------------------ */

static void set_start(struct console *c, const char *lines, struct outcome *o)
{
	json_t *json = json_loads(lines, 0, NULL);

	c->dev->driver->modem->set(c->dev, json, outcome_start(&c->loop, o, 10000));
	json_decref(json);
}

static void make_safe(struct console *c)
{
	struct outcome o;

	c->dev->driver->make_safe(c->dev, outcome_start(&c->loop, &o, 10000));
	assert_done(&c->loop, &o);
}

static void dtr_rts_and_break_are_set_and_set_back(void **state)
{
	struct console *c = *state;
	struct outcome o;

	open_it(c, RIG1);
	set_start(c, "{\"dtr\": false, \"break_ms\": 20}", &o);
	assert_done(&c->loop, &o);
	assert_int_equal(fake_line.dtr, 0);
	assert_int_equal(fake_line.rts, 1);
	assert_int_equal(fake_line.breaks, 1);
	assert_int_equal(fake_line.brk, 0);
	set_start(c, "{\"rts\": false}", &o);
	assert_done(&c->loop, &o);
	assert_int_equal(fake_line.rts, 0);
	make_safe(c);
	assert_int_equal(fake_line.dtr, 1);
	assert_int_equal(fake_line.rts, 1);
	fake_line.fail_lines = true;
	set_start(c, "{\"rts\": false}", &o);
	assert_failed(&c->loop, &o, ERR_BENCH, "it hangs");
	fake_line.fail_lines = false;
	set_start(c, "{\"cts\": true}", &o);
	assert_failed(&c->loop, &o, ERR_USAGE, "cts");
	set_start(c, "{\"break_ms\": 0}", &o);
	assert_failed(&c->loop, &o, ERR_USAGE, "break_ms");
}

static void a_break_ends_when_it_is_given_up_or_made_safe(void **state)
{
	struct console *c = *state;
	struct outcome o, other;
	struct err why;

	open_it(c, RIG1);
	set_start(c, "{\"break_ms\": 9000}", &o);
	set_start(c, "{\"dtr\": false}", &other);
	assert_failed(&c->loop, &other, ERR_BUSY, "being set already");
	while (fake_line.breaks < 1)
		uv_run(&c->loop, UV_RUN_NOWAIT);
	err_set(&why, ERR_CANCELLED, "given up");
	op_cancel(o.op, &why);
	while (fake_line.brk != 0)
		uv_run(&c->loop, UV_RUN_NOWAIT);
	/* what is asked while that one still ends waits for it */
	set_start(c, "{\"break_ms\": 9000, \"rts\": false}", &o);
	while (fake_line.breaks < 2)
		uv_run(&c->loop, UV_RUN_NOWAIT);
	make_safe(c);
	assert_int_equal(o.e.code, ERR_CANCELLED);
	assert_int_equal(fake_line.brk, 0);
	assert_int_equal(fake_line.rts, 1);
	set_start(c, "{\"break_ms\": 9000}", &o);
	while (fake_line.breaks < 3)
		uv_run(&c->loop, UV_RUN_NOWAIT);
	fake_tty_unplug(c->port);
	assert_failed(&c->loop, &o, ERR_BENCH, "went away");
}

/* --- gone and back ---------------------------------------------------------------------------- */

static void unplugged_in_the_middle_of_a_stream_the_gap_is_told_and_it_goes_on(void **state)
{
	struct console *c = *state;
	char *much = calloc(1, MUCH);
	struct outcome o;

	open_it(c, RIG1);
	for (int i = 1; i <= 3; i++) {
		says(c, "before");
		until_in(c, 12 * (size_t)i - 6);
		write_start(c, much, MUCH, &o);
		fake_tty_unplug(c->port);
		assert_failed(&c->loop, &o, ERR_BENCH, "serial RIG1) went away");
		assert_int_equal(c->lost, i);
		write_start(c, "x", 1, &o);
		assert_failed(&c->loop, &o, ERR_BENCH, "plug it in again");
		fake_tty_plug(c->port);
		until(c, &c->back, i);
		assert_non_null(strstr(c->text, "was gone for "));
		assert_non_null(strstr(c->text, " ms"));
		write_start(c, "x", 1, &o);
		assert_done(&c->loop, &o);
		says(c, "after.");
		until_in(c, 12 * (size_t)i);
	}
	assert_int_equal(c->lost, 3);
	free(much);
}

/* It comes back as ttyUSB5, and another adapter has its old name. */
static void it_is_found_again_under_another_name(void **state)
{
	struct console *c = *state;
	struct scratch *s = c->port->scratch;
	char options[300], other[128], tty[512];
	int master, slave, opens;

	snprintf(options, sizeof(options), "{\"path\": \"%s\"}", scratch_path(s, "dev/" FAKE_TTY));
	open_it(c, options);
	fake_tty_unplug(c->port);
	until(c, &c->lost, 1);
	opens = fake_line.opens;
	fake_tty_sysfs(s, "ttyUSB0.new", "devices/usb1/1-1/1-1.2", "0", "OTHER\n");
	assert_return_code(rename(scratch_path(s, "sys/class/tty/ttyUSB0"),
				   scratch_path(s, "sys/class/tty/ttyUSB0.old")),
		errno);
	assert_return_code(rename(scratch_path(s, "sys/class/tty/ttyUSB0.new"),
				   scratch_path(s, "sys/class/tty/ttyUSB0")),
		errno);
	assert_return_code(openpty(&master, &slave, other, NULL, NULL), errno);
	assert_return_code(symlink(other, scratch_path(s, "dev/ttyUSB0")), errno);
	for (int i = 0; i < 50; i++) {
		uv_run(&c->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 2);
	}
	assert_int_equal(c->back, 0);
	assert_int_equal(fake_line.opens, opens);
	fake_tty_sysfs(s, "ttyUSB5", FAKE_USB, "0", "RIG1\n");
	assert_return_code(openpty(&c->port->master, &c->port->slave, tty, NULL, NULL), errno);
	assert_return_code(symlink(tty, scratch_path(s, "dev/ttyUSB5")), errno);
	until(c, &c->back, 1);
	assert_non_null(strstr(c->text, "ttyUSB5 (0403:6001, serial RIG1)"));
	close(master);
	close(slave);
}

/* No event tells that the other process lets go of it. */
static void held_by_another_when_it_is_back_it_is_taken_up_later(void **state)
{
	struct console *c = *state;
	char name[128], next[700];
	pid_t pid;
	int end;

	open_it(c, RIG1);
	fake_tty_unplug(c->port);
	until(c, &c->lost, 1);
	/* held before its name is there */
	assert_return_code(openpty(&c->port->master, &c->port->slave, name, NULL, NULL), errno);
	memcpy(c->port->pts, name, sizeof(name));
	pid = hold(name, &end);
	fake_tty_sysfs(c->port->scratch, FAKE_TTY, FAKE_USB, "0", "RIG1\n");
	snprintf(next, sizeof(next), "%s", scratch_path(c->port->scratch, "dev/" FAKE_TTY));
	assert_return_code(symlink(name, next), errno);
	for (int i = 0; i < 50; i++) {
		uv_run(&c->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 2);
	}
	assert_int_equal(c->back, 0);
	close(end);
	waitpid(pid, NULL, 0);
	until(c, &c->back, 1);
}

static void closed_while_it_is_gone_it_is_closed(void **state)
{
	struct console *c = *state;
	struct outcome o;

	open_it(c, RIG1);
	fake_tty_unplug(c->port);
	until(c, &c->lost, 1);
	make_safe(c);
	c->dev->driver->open(c->dev, outcome_start(&c->loop, &o, 10000));
	assert_failed(&c->loop, &o, ERR_BENCH, "no serial port is usb_serial RIG1");
	close_device(&c->loop, c->dev);
	c->dev = NULL;
	assert_int_equal(c->back, 0);
}

/* --- a port of the DUT's own ------------------------------------------------------------------ */

static void a_port_of_the_duts_own_comes_and_goes_without_a_word(void **state)
{
	struct console *c = *state;
	struct outcome o;

	fake_tty_unplug(c->port);
	open_it(c, "{\"usb_serial\": \"RIG1\", \"of_dut\": true}");
	write_start(c, "x", 1, &o);
	assert_failed(&c->loop, &o, ERR_DUT, "the DUT has no power");
	for (int i = 1; i <= 2; i++) {
		fake_tty_plug(c->port);
		says(c, "booted");
		until_in(c, 6 * (size_t)i);
		write_start(c, "x", 1, &o);
		assert_done(&c->loop, &o);
		fake_tty_unplug(c->port);
		do {
			write_start(c, "x", 1, &o);
			outcome_wait(&c->loop, &o);
		} while (o.e.code == ERR_NONE);
		assert_int_equal(o.e.code, ERR_DUT);
	}
	c->dev->driver->check(c->dev, outcome_start(&c->loop, &o, 10000));
	assert_done(&c->loop, &o);
	outcome_finish(&o);
	assert_int_equal(c->lost + c->back + c->notes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(every_port_of_hardware_is_listed_with_what_names_it),
		T(a_port_is_found_by_what_names_it),
		T(what_names_no_port_or_several_is_told_with_what_there_is),
		T(options_that_cannot_be_are_refused),
		T(the_line_is_set_as_the_options_say),
		T(a_link_of_udevs_is_followed),
		T(a_port_named_twice_is_told),
		T(a_port_that_another_process_holds_is_told_with_its_name),
		T(nobody_else_opens_what_is_held),
		T(the_latency_timer_is_set_or_its_mend_is_told),
		T(check_tells_the_port_and_a_name_that_may_change),
		T(scan_prints_a_line_of_rig_conf_for_each),
		T(a_mebibyte_goes_each_way_unharmed),
		T(writes_go_out_in_their_order_and_a_cancelled_one_does_not),
		T(nothing_is_a_write_too),
		T(drain_delivers_what_has_arrived),
		T(bytes_that_the_kernel_lost_are_noted),
		T(dtr_rts_and_break_are_set_and_set_back),
		T(a_break_ends_when_it_is_given_up_or_made_safe),
		T(unplugged_in_the_middle_of_a_stream_the_gap_is_told_and_it_goes_on),
		T(it_is_found_again_under_another_name),
		T(held_by_another_when_it_is_back_it_is_taken_up_later),
		T(closed_while_it_is_gone_it_is_closed),
		T(a_port_of_the_duts_own_comes_and_goes_without_a_word),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
