/*
 * Serial ports of the kernel's: two FTDI adapters joined by a null modem, and a CDC-ACM gadget,
 * unplugged in the middle of things. The gadget's other end is no port that libserialport takes.
 */
#include "vm.h"

#include "../driver_contract.h"
#include "drivers/serial_find.h"

#include <linux/serial.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <termios.h>

/* Opens a tty as it is without a driver of ours: raw, not blocking. */
static int raw_open(const char *tty, speed_t speed)
{
	int fd = open(tty, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct termios t;

	if (fd < 0)
		fail_msg("%s: %s", tty, strerror(errno));
	assert_int_equal(tcgetattr(fd, &t), 0);
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL | CREAD;
	cfsetspeed(&t, speed);
	assert_int_equal(tcsetattr(fd, TCSANOW, &t), 0);
	return fd;
}

/* --- the contract ----------------------------------------------------------------------------- */

/* A port for a driver under contract. When there are two benches, each has another device. */
struct port {
	bool gadget;
	int far; /* the gadget's own end; -1: none */
};

static unsigned benches;

static void *port_setup(struct driver_env *env, bool gadget)
{
	struct port *p = calloc(1, sizeof(*p));

	env->capability = "console";
	p->far = -1;
	p->gadget = gadget != (benches++ > 0);
	if (p->gadget) {
		vm_acm_gadget_create();
		p->far = raw_open("/dev/ttyGS0", B115200);
	}
	return p;
}

static void *ftdi_setup(struct driver_env *env)
{
	return port_setup(env, false);
}

static void *gadget_setup(struct driver_env *env)
{
	return port_setup(env, true);
}

static void port_mend(void *bench)
{
	struct port *p = bench;

	if (vm_exists(p->gadget ? "/dev/serial/by-id/*ACM1-*" : "/dev/serial/by-id/*RIG1-*"))
		return;
	if (p->gadget) {
		vm_acm_gadget_plug();
		p->far = raw_open("/dev/ttyGS0", B115200);
	} else {
		vm_plug("ftdi1");
	}
}

static void port_unplug(void *bench)
{
	struct port *p = bench;

	if (!p->gadget) {
		vm_unplug("ftdi1");
		vm_wait_gone("/dev/serial/by-id/*RIG1-*", VM_WITHIN_S);
		return;
	}
	vm_acm_gadget_unplug();
	close(p->far);
	p->far = -1;
}

static void port_teardown(void *bench)
{
	struct port *p = bench;

	port_mend(p);
	if (p->gadget) {
		close(p->far);
		vm_acm_gadget_destroy();
	}
	benches--;
	free(p);
}

static bool port_break_open(void *bench, unsigned step, json_t *options)
{
	if (step == 0)
		port_unplug(bench);
	else
		json_object_set_new(options, "usb_serial", json_string("NONE"));
	return step < 2;
}

static void port_write(struct device *dev, struct op *op)
{
	dev->driver->console->write(dev, "x", 1, op);
}

/* The null modem takes all that is sent: a break is what lasts. */
static void ftdi_start_stuck(void *bench, struct device *dev, struct op *op)
{
	json_t *lines = json_pack("{s:i}", "break_ms", 9000);

	(void)bench;
	dev->driver->modem->set(dev, lines, op);
	json_decref(lines);
}

static void ftdi_unstick(void *bench)
{
	(void)bench;
}

/* The gadget takes no more than it has room for while nobody reads there. */
static void gadget_start_stuck(void *bench, struct device *dev, struct op *op)
{
	char *much = calloc(1, 1 << 20);

	(void)bench;
	dev->driver->console->write(dev, much, 1 << 20, op);
	free(much);
}

static void gadget_unstick(void *bench)
{
	struct port *p = bench;
	struct pollfd fd = {p->far, POLLIN, 0};
	char buf[4096];

	while (p->far >= 0 && poll(&fd, 1, 300) == 1 && read(p->far, buf, sizeof(buf)) > 0)
		;
}

#define RIG1 "{\"usb_serial\": \"RIG1\"}"
#define ACM1 "{\"usb_serial\": \"ACM1\"}"

static const struct contract contract_ftdi = {"serial", RIG1, ftdi_setup, port_teardown,
	port_break_open, port_mend, port_write, ftdi_start_stuck, ftdi_unstick, port_unplug, false,
	ACM1, .tells = true};
static const struct contract contract_gadget = {"serial", ACM1, gadget_setup, port_teardown,
	port_break_open, port_mend, port_write, gadget_start_stuck, gadget_unstick, port_unplug,
	false, RIG1, .tells = true};

/* --- a console -------------------------------------------------------------------------------- */

#define MUCH (1 << 20)

struct console {
	uv_loop_t loop;
	struct driver_env env;
	struct device *dev;
	int lost, back, notes;
	char text[1024];
	char *in;
	atomic_size_t in_len;
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
	print_message("# %s: %s\n", name, c->text);
	json_decref(fields);
}

static void bytes_of(void *arg, const char *data, size_t len)
{
	struct console *c = arg;

	assert_true(c->in_len + len <= 4 * MUCH);
	memcpy(c->in + c->in_len, data, len);
	c->in_len += len;
}

static int setup(void **state)
{
	struct console *c = calloc(1, sizeof(*c));

	c->in = malloc(4 * MUCH);
	uv_loop_init(&c->loop);
	c->env = (struct driver_env){.loop = &c->loop,
		.board = "b",
		.capability = "console",
		.console_in = bytes_of,
		.event = event_of,
		.arg = c};
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct console *c = *state;

	if (c->dev)
		close_device(&c->loop, c->dev);
	close_loop(&c->loop);
	free(c->in);
	free(c);
	return 0;
}

static struct device *open_start(struct console *c, const char *changes, struct outcome *o)
{
	const struct driver *driver = driver_find("serial");
	json_t *options = options_of(driver, changes);
	struct device *dev;
	struct err e;

	dev = driver->create(&c->env, options, &e);
	json_decref(options);
	if (!dev)
		fail_msg("create: %s", e.msg);
	driver->open(dev, outcome_start(&c->loop, o, 30000));
	return dev;
}

static void open_it(struct console *c, const char *changes)
{
	struct outcome o;

	c->dev = open_start(c, changes, &o);
	assert_done(&c->loop, &o);
	outcome_finish(&o);
}

static void close_it(struct console *c)
{
	close_device(&c->loop, c->dev);
	c->dev = NULL;
}

static void send_all(struct console *c, const char *data, size_t len)
{
	struct outcome o;

	c->dev->driver->console->write(c->dev, data, len, outcome_start(&c->loop, &o, 60000));
	assert_done(&c->loop, &o);
}

static void until_in(struct console *c, size_t len)
{
	while (c->in_len < len)
		uv_run(&c->loop, UV_RUN_ONCE);
}

static void until(struct console *c, const int *counter, int value)
{
	while (*counter < value)
		uv_run(&c->loop, UV_RUN_ONCE);
}

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void the_latency_timer_is_one_millisecond(void **state)
{
	char tty[PATH_MAX], path[2 * PATH_MAX], text[16];
	struct console *c = *state;

	vm_tty("RIG1", tty);
	snprintf(path, sizeof(path), "/sys/bus/usb-serial/devices/%s/latency_timer",
		strrchr(tty, '/') + 1);
	vm_write(path, "16");
	open_it(c, RIG1);
	vm_read(path, text, sizeof(text));
	assert_string_equal(text, "1");
}

/* By serial number, by where it is plugged in, by udev's link, by ids and interface. */
static void a_port_is_found_by_each_of_its_names(void **state)
{
	char tty[PATH_MAX], link[PATH_MAX], options[2 * PATH_MAX], usb_path[64] = "";
	struct console *c = *state;
	struct serial_place *list;
	struct err e;
	ssize_t count = serial_list(&list, &e);
	int far;

	vm_tty("RIG1", tty);
	for (ssize_t i = 0; i < count; i++)
		if (strcmp(list[i].path, tty) == 0)
			snprintf(usb_path, sizeof(usb_path), "%s", list[i].usb_path);
	free(list);
	assert_true(vm_find("/dev/serial/by-id/*RIG1-*", link));
	vm_tty("RIG2", tty);
	far = raw_open(tty, B115200);
	for (int i = 0; i < 5; i++) {
		if (i == 0)
			snprintf(options, sizeof(options), RIG1);
		else if (i == 1)
			snprintf(options, sizeof(options), "{\"usb_path\": \"%s\"}", usb_path);
		else if (i == 2)
			snprintf(options, sizeof(options), "{\"usb_path\": \"%.*s\"}",
				(int)strcspn(usb_path, ":"), usb_path);
		else if (i == 3)
			snprintf(options, sizeof(options), "{\"path\": \"%s\"}", link);
		else
			snprintf(options, sizeof(options),
				"{\"usb_serial\": \"RIG1\", \"usb_vendor\": %d, \"usb_product\": "
				"%d, \"interface\": 0}",
				0x0403, 0x6001);
		c->in_len = 0;
		open_it(c, options);
		say(far, "hello");
		until_in(c, 5);
		assert_memory_equal(c->in, "hello", 5);
		close_it(c);
	}
	close(far);
}

/* --- a mebibyte each way ---------------------------------------------------------------------- */

/* What is under way at most: QEMU itself waits when the null modem is full. */
#define WINDOW 16384

struct peer {
	struct console *c;
	int fd;
	char *out, *in;
	size_t sent;
	atomic_size_t got;
	atomic_bool stop;
};

static void *peer_main(void *arg)
{
	struct peer *p = arg;

	while (!p->stop && (p->sent < MUCH || p->got < MUCH)) {
		size_t room = p->c->in_len + WINDOW - p->sent;
		size_t left = MUCH - p->sent;
		struct pollfd fd = {p->fd, POLLIN, 0};
		ssize_t n;

		if (poll(&fd, 1, 1) == 1 && (n = read(p->fd, p->in + p->got, MUCH - p->got)) > 0)
			p->got += (size_t)n;
		n = room ? write(p->fd, p->out + p->sent, left < room ? left : room) : 0;
		p->sent += n > 0 ? (size_t)n : 0;
	}
	return NULL;
}

static void mebibyte_each_way(struct console *c, int fd)
{
	struct peer p = {.c = c, .fd = fd, .out = malloc(MUCH), .in = malloc(MUCH)};
	double began = vm_now_s();
	pthread_t thread;

	for (size_t i = 0; i < MUCH; i++)
		p.out[i] = (char)(i * 2654435761U >> 24);
	c->in_len = 0;
	assert_int_equal(pthread_create(&thread, NULL, peer_main, &p), 0);
	for (size_t sent = 0; sent < MUCH; sent += WINDOW / 2) {
		while (sent > p.got + WINDOW / 2)
			uv_run(&c->loop, UV_RUN_NOWAIT);
		send_all(c, p.out + sent, WINDOW / 2);
	}
	while (c->in_len < MUCH || p.got < MUCH)
		uv_run(&c->loop, UV_RUN_NOWAIT);
	pthread_join(thread, NULL);
	assert_memory_equal(p.in, p.out, MUCH);
	assert_memory_equal(c->in, p.out, MUCH);
	assert_int_equal(c->lost + c->notes, 0);
	print_message("# 1 MiB each way in %.1f s\n", vm_now_s() - began);
	free(p.in);
	free(p.out);
}

static void a_mebibyte_goes_each_way_at_three_megabaud(void **state)
{
	struct console *c = *state;
	char tty[PATH_MAX];
	int far;

	vm_tty("RIG2", tty);
	far = raw_open(tty, B3000000);
	open_it(c, "{\"usb_serial\": \"RIG1\", \"baud\": 3000000}");
	mebibyte_each_way(c, far);
	close(far);
}

static void a_mebibyte_goes_each_way_to_a_gadget(void **state)
{
	struct console *c = *state;
	int far;

	vm_acm_gadget_create();
	far = raw_open("/dev/ttyGS0", B115200);
	open_it(c, ACM1);
	mebibyte_each_way(c, far);
	close_it(c);
	close(far);
	vm_acm_gadget_destroy();
}

/* --- gone and back ---------------------------------------------------------------------------- */

/* Talks without a pause, until it is told to stop. */
struct talker {
	int fd;
	atomic_bool stop;
};

static void *talk(void *arg)
{
	struct talker *t = arg;

	while (!t->stop) {
		if (write(t->fd, "0123456789abcde\n", 16) < 0)
			poll(NULL, 0, 1);
		poll(NULL, 0, 1);
	}
	return NULL;
}

/* Whether every line is whole but those around the gap, which begins at cut. */
static void assert_lines_whole(const char *data, size_t len, size_t cut)
{
	const char *const line = "0123456789abcde\n";
	size_t i = 0;

	while (i < len) {
		const char *end = memchr(data + i, '\n', len - i);
		size_t n = end ? (size_t)(end - data) + 1 - i : len - i;

		if (end && n != 16 && (i + n < cut || i > cut))
			fail_msg("a line of %zu bytes at %zu, the gap being at %zu", n, i, cut);
		if (end && n == 16)
			assert_memory_equal(data + i, line, 16);
		i += n;
	}
}

static void unplugged_in_the_middle_of_a_stream_the_gap_is_marked_and_it_goes_on(void **state)
{
	struct console *c = *state;
	struct talker t = {0};
	char tty[PATH_MAX];
	pthread_t thread;
	size_t cut;

	vm_tty("RIG2", tty);
	t.fd = raw_open(tty, B115200);
	open_it(c, RIG1);
	assert_int_equal(pthread_create(&thread, NULL, talk, &t), 0);
	until_in(c, 4096);
	vm_unplug("ftdi1");
	until(c, &c->lost, 1);
	assert_non_null(strstr(c->text, "serial RIG1) went away"));
	cut = c->in_len;
	vm_plug("ftdi1");
	until(c, &c->back, 1);
	assert_non_null(strstr(c->text, "was gone for "));
	until_in(c, cut + 4096);
	t.stop = true;
	pthread_join(thread, NULL);
	/* what the null modem held meanwhile comes too, from the middle of a line on */
	assert_lines_whole(c->in, cut, cut);
	assert_int_equal(c->lost, 1);
	assert_int_equal(c->back, 1);
	send_all(c, "to the other end", 16);
	close(t.fd);
}

static void a_duts_own_port_comes_and_goes_with_it(void **state)
{
	struct console *c = *state;
	struct outcome o;
	int far;

	vm_acm_gadget_create();
	vm_acm_gadget_unplug();
	open_it(c, "{\"usb_serial\": \"ACM1\", \"of_dut\": true}");
	for (size_t i = 1; i <= 2; i++) {
		vm_acm_gadget_plug();
		far = raw_open("/dev/ttyGS0", B115200);
		/* a gadget's bytes wait for somebody who reads */
		say(far, "booted");
		until_in(c, 6 * i);
		send_all(c, "x", 1);
		vm_acm_gadget_unplug();
		close(far);
		do {
			port_write(c->dev, outcome_start(&c->loop, &o, 30000));
			outcome_wait(&c->loop, &o);
		} while (o.e.code == ERR_NONE);
		assert_int_equal(o.e.code, ERR_DUT);
	}
	assert_int_equal(c->lost + c->back + c->notes, 0);
	close_it(c);
	vm_acm_gadget_destroy();
}

/* --- who has it ------------------------------------------------------------------------------- */

static void assert_refused(struct console *c, const char *text)
{
	struct outcome o;
	struct device *dev = open_start(c, RIG1, &o);

	assert_failed(&c->loop, &o, ERR_BENCH, text);
	close_device(&c->loop, dev);
}

static void a_port_named_twice_or_held_by_another_is_a_clear_error(void **state)
{
	struct console *c = *state;
	char tty[PATH_MAX], text[64], byte;
	int ready[2];
	pid_t pid;

	open_it(c, RIG1);
	assert_refused(c, "named twice in rig.conf");
	close_it(c);
	vm_tty("RIG1", tty);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		int fd = open(tty, O_RDWR | O_NOCTTY | O_NONBLOCK);

		if (fd < 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	snprintf(text, sizeof(text), "is held by vm_serial (pid %d)", (int)pid);
	assert_refused(c, text);
	vm_stop(pid);
	open_it(c, RIG1);
}

/* --- break ------------------------------------------------------------------------------------ */

static int breaks(int fd)
{
	struct serial_icounter_struct c = {0};

	assert_int_equal(ioctl(fd, TIOCGICOUNT, &c), 0);
	return c.brk;
}

static void a_break_of_the_other_end_is_counted_and_harms_nothing(void **state)
{
	struct console *c = *state;
	char tty[PATH_MAX];
	int far, near, before;

	vm_acm_gadget_create();
	vm_tty("ACM1", tty);
	far = raw_open("/dev/ttyGS0", B115200);
	open_it(c, ACM1);
	near = open(tty, O_RDWR | O_NOCTTY | O_NONBLOCK); /* root may */
	assert_true(near >= 0);
	before = breaks(near);
	say(far, "a");
	until_in(c, 1);
	assert_int_equal(ioctl(far, TCSBRK, 0), 0);
	for (double end = vm_now_s() + VM_WITHIN_S; breaks(near) == before;) {
		assert_true(vm_now_s() < end);
		uv_run(&c->loop, UV_RUN_NOWAIT);
	}
	say(far, "b");
	while (!memchr(c->in, 'b', c->in_len))
		uv_run(&c->loop, UV_RUN_ONCE);
	assert_int_equal(c->lost, 0);
	close(near);
	close_it(c);
	close(far);
	vm_acm_gadget_destroy();
}

/* The gadget has no break: that is said, and it works on. */
static void a_port_without_break_says_so(void **state)
{
	struct console *c = *state;
	struct outcome o;
	int far;

	vm_acm_gadget_create();
	far = raw_open("/dev/ttyGS0", B115200);
	open_it(c, ACM1);
	ftdi_start_stuck(NULL, c->dev, outcome_start(&c->loop, &o, 30000));
	assert_failed(&c->loop, &o, ERR_BENCH, "break");
	c->dev->driver->make_safe(c->dev, outcome_start(&c->loop, &o, 30000));
	assert_done(&c->loop, &o);
	send_all(c, "x", 1);
	close_it(c);
	close(far);
	vm_acm_gadget_destroy();
}

/* --- what the adapter is told ----------------------------------------------------------------- */

/* Everything that USB has carried since the last time, in usbmon's words. */
static void usbmon_read(int fd, char *buf, size_t size)
{
	size_t len = strlen(buf);
	ssize_t n;

	while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
}

/* QEMU's null modem carries no break: what the adapter is told is what is seen. FTDI's request 4
 * sets the line; bit 14 of its value is the break (linux/drivers/usb/serial/ftdi_sio.h). */
static void an_ftdi_adapter_is_told_to_begin_and_to_end_a_break(void **state)
{
	static char seen[1 << 20];
	struct console *c = *state;
	const char *begin, *end;
	struct outcome o;
	json_t *lines;
	int fd;

	if (!vm_exists("/sys/kernel/debug/usb"))
		assert_int_equal(mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL), 0);
	open_it(c, RIG1);
	fd = open("/sys/kernel/debug/usb/usbmon/0u", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	lines = json_pack("{s:i}", "break_ms", 100);
	c->dev->driver->modem->set(c->dev, lines, outcome_start(&c->loop, &o, 30000));
	json_decref(lines);
	assert_done(&c->loop, &o);
	seen[0] = '\0';
	usbmon_read(fd, seen, sizeof(seen));
	begin = strstr(seen, " s 40 04 4008 0000 0000 ");
	end = strstr(seen, " s 40 04 0008 0000 0000 ");
	assert_true(begin && end && begin < end);
	close(fd);
}

static void told_since(int fd, char *seen, size_t size, const char *value)
{
	char want[64];

	seen[0] = '\0';
	usbmon_read(fd, seen, size);
	snprintf(want, sizeof(want), " s 40 01 %s 0000 0000 ", value);
	if (!strstr(seen, want))
		fail_msg("the adapter was not told %s of its lines", value);
}

static void lines_set(struct console *c, const char *line, bool on)
{
	json_t *lines = json_pack("{s:b}", line, on);
	struct outcome o;

	c->dev->driver->modem->set(c->dev, lines, outcome_start(&c->loop, &o, 30000));
	json_decref(lines);
	assert_done(&c->loop, &o);
}

/* FTDI's request 1 sets DTR (bit 0) and RTS (bit 1); bits 8 and 9 say which of them are meant. */
static void an_ftdi_adapter_is_told_dtr_and_rts(void **state)
{
	static char seen[1 << 20];
	struct console *c = *state;
	struct outcome o;
	int fd;

	if (!vm_exists("/sys/kernel/debug/usb"))
		assert_int_equal(mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL), 0);
	fd = open("/sys/kernel/debug/usb/usbmon/0u", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	open_it(c, RIG1);
	lines_set(c, "dtr", false);
	told_since(fd, seen, sizeof(seen), "0100");
	lines_set(c, "dtr", true);
	told_since(fd, seen, sizeof(seen), "0101");
	lines_set(c, "rts", false);
	told_since(fd, seen, sizeof(seen), "0200");
	lines_set(c, "dtr", false);
	told_since(fd, seen, sizeof(seen), "0100");
	c->dev->driver->make_safe(c->dev, outcome_start(&c->loop, &o, 30000));
	assert_done(&c->loop, &o);
	seen[0] = '\0';
	usbmon_read(fd, seen, sizeof(seen));
	assert_non_null(strstr(seen, " s 40 01 0101 0000 0000 "));
	assert_non_null(strstr(seen, " s 40 01 0202 0000 0000 "));
	close_it(c);
	seen[0] = '\0';
	usbmon_read(fd, seen, sizeof(seen));
	open_it(c, "{\"usb_serial\": \"RIG1\", \"dtr\": false}");
	told_since(fd, seen, sizeof(seen), "0100");
	close(fd);
}

/* The kernel would wait for half a minute. */
static void closed_while_nobody_takes_its_bytes_it_is_closed_soon(void **state)
{
	struct console *c = *state;
	struct outcome o;
	double began;
	int far;

	vm_acm_gadget_create();
	far = raw_open("/dev/ttyGS0", B115200);
	open_it(c, ACM1);
	gadget_start_stuck(NULL, c->dev, outcome_start(&c->loop, &o, 60000));
	/* until no more of it is taken */
	for (int i = 0; i < 100; i++) {
		uv_run(&c->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 2);
	}
	assert_int_equal(o.done, 0);
	began = vm_now_s();
	close_it(c);
	assert_int_equal(o.e.code, ERR_GONE);
	print_message("# closed within %.1f s\n", vm_now_s() - began);
	assert_true(vm_now_s() - began < 25);
	close(far);
	vm_acm_gadget_destroy();
}

#define OWN 12

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	struct CMUnitTest tests[OWN + 2 * CONTRACT_CLAIMS] = {
		T(the_latency_timer_is_one_millisecond),
		T(a_port_is_found_by_each_of_its_names),
		T(a_mebibyte_goes_each_way_at_three_megabaud),
		T(a_mebibyte_goes_each_way_to_a_gadget),
		T(unplugged_in_the_middle_of_a_stream_the_gap_is_marked_and_it_goes_on),
		T(a_duts_own_port_comes_and_goes_with_it),
		T(a_port_named_twice_or_held_by_another_is_a_clear_error),
		T(a_break_of_the_other_end_is_counted_and_harms_nothing),
		T(a_port_without_break_says_so),
		T(an_ftdi_adapter_is_told_to_begin_and_to_end_a_break),
		T(an_ftdi_adapter_is_told_dtr_and_rts),
		T(closed_while_nobody_takes_its_bytes_it_is_closed_soon),
	};
#undef T
	int failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	contract_tests(&contract_ftdi, tests + OWN);
	contract_tests(&contract_gadget, tests + OWN + CONTRACT_CLAIMS);
	failed = _cmocka_run_group_tests("vm_serial", tests, OWN + 2 * CONTRACT_CLAIMS, NULL, NULL);
	for (size_t i = OWN; i < OWN + 2 * CONTRACT_CLAIMS; i++)
		free((char *)(uintptr_t)tests[i].name);
	return failed;
}
