/*
 * From a line on a console to the request at what switches the power, by power driver: the real
 * keeper, beside a loop in C that does only this and a script in Python with pyserial. Each has a
 * pseudo terminal of its own; they take turns at one stand-in.
 */
#include "bench.h"
#include "stand_in.h"

#include "tests/keeper_client_sync.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>

#define ROUNDS 500
#define REST_US 2000 /* before each line, for what came before to be dealt with */
#define PYTHON "/usr/bin/python3"
#define SCPI_OFF "OUTP OFF\n"
#define HTTP_OFF                                                                                   \
	"GET /power/control/off?hostname=pdu&port=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n"               \
	"Accept: */*\r\n\r\n"

static const struct subject {
	const char *driver, *script; /* the script's word for it */
	enum stand_in_kind kind;
	const char *before, *after; /* of the power device's options: around the stand-in's place */
} subjects[] = {
	{"scpi-psu (TCP)", "scpi", STAND_IN_SCPI,
		"\"driver\": \"scpi-psu\", \"host\": \"127.0.0.1\", \"volts\": 3.3, \"port\": ",
		""},
	{"pdudaemon (HTTP)", "http", STAND_IN_HTTP,
		"\"driver\": \"pdudaemon\", \"pdu\": \"pdu\", \"outlet\": 1, \"port\": ", ""},
	{"command (/bin/sh)", "fifo", STAND_IN_FIFO,
		"\"driver\": \"command\", \"shell\": true, \"on\": \":\", \"off\": \"echo off >",
		"\""},
};

/* A console's two ends. */
struct terminal {
	int master, slave;
	char name[64];
};

static void terminal_open(struct terminal *t)
{
	struct termios raw;

	if (openpty(&t->master, &t->slave, t->name, NULL, NULL) != 0)
		bench_die("no pseudo terminal: %s", strerror(errno));
	tcgetattr(t->slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(t->slave, TCSANOW, &raw);
	fcntl(t->master, F_SETFD, FD_CLOEXEC);
	fcntl(t->slave, F_SETFD, FD_CLOEXEC);
}

static void terminal_close(struct terminal *t)
{
	close(t->master);
	close(t->slave);
}

/* Says the line; microseconds until the request has been read. */
static double fire(int fd, const char *line, struct stand_in *s, const char *who)
{
	uint64_t begin;

	bench_rest(REST_US);
	stand_in_forget(s);
	begin = bench_now_ns();
	if (write(fd, line, strlen(line)) < 0)
		bench_die("%s is gone", who);
	return (double)(stand_in_await_off(s, who) - begin) / 1000;
}

/* --- beside the rig --------------------------------------------------------------------------- */

/* A process that is ready once it has written to ready. */
struct beside {
	pid_t pid;
	struct terminal terminal;
	int orders, ready;
};

static int connect_to(const char *port)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		_exit(1);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	return fd;
}

/* fork and exec, and nothing else, of what the driver command runs. */
static void run_program(const char *fifo)
{
	char line[PATH_MAX + 16];
	pid_t pid;

	snprintf(line, sizeof(line), "echo off >%s", fifo);
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "/bin/sh", "-c", line, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static void bare_off(enum stand_in_kind kind, int fd, const char *where)
{
	const char *request = kind == STAND_IN_SCPI ? SCPI_OFF : HTTP_OFF;

	if (kind == STAND_IN_FIFO)
		run_program(where);
	else if (write(fd, request, strlen(request)) < 0)
		_exit(1);
}

/* Switches off at the text, or when a byte on orders says so. Never returns. */
static void bare_loop(const struct beside *b, enum stand_in_kind kind, const char *where)
{
	int out = kind == STAND_IN_FIFO ? -1 : connect_to(where);
	struct pollfd fds[] = {{.fd = b->terminal.slave, .events = POLLIN},
		{.fd = b->orders, .events = POLLIN}, {.fd = out, .events = POLLIN}};
	static char buf[65536], answer[4096];
	size_t len = 0;

	if (write(b->ready, "+", 1) != 1)
		_exit(1);
	for (;;) {
		poll(fds, 3, -1);
		if (fds[0].revents) {
			ssize_t n = read(fds[0].fd, buf + len, sizeof(buf) - len);

			if (n <= 0)
				_exit(0);
			len += (size_t)n;
			if (bench_lines_have(buf, &len))
				bare_off(kind, out, where);
		}
		if (fds[1].revents) {
			if (read(fds[1].fd, answer, 1) <= 0)
				_exit(0);
			bare_off(kind, out, where);
		}
		if (fds[2].revents && read(out, answer, sizeof(answer)) <= 0)
			_exit(0);
	}
}

static void run_script(const struct beside *b, const struct subject *subject, const char *where)
{
	dup2(b->ready, STDOUT_FILENO);
	execl(PYTHON, PYTHON, "tests/bench/reader.py", b->terminal.name, subject->script, where,
		(char *)NULL);
	_exit(127);
}

/* Starts the loop in C, or the script, and waits until it is ready. */
static void beside_start(
	struct beside *b, const struct subject *subject, const char *where, bool script)
{
	int orders[2], ready[2];
	char byte;

	terminal_open(&b->terminal);
	if (pipe2(orders, O_CLOEXEC) || pipe2(ready, O_CLOEXEC))
		bench_die("no pipe");
	b->orders = orders[0];
	b->ready = ready[1];
	b->pid = fork();
	if (b->pid == 0 && script)
		run_script(b, subject, where);
	if (b->pid == 0)
		bare_loop(b, subject->kind, where);
	close(orders[0]);
	close(ready[1]);
	b->orders = orders[1];
	b->ready = ready[0];
	if (read(b->ready, &byte, 1) != 1)
		bench_die("%s does not start%s", script ? "the script" : "the bare loop",
			script ? ": is python3-serial installed?" : "");
}

static void beside_end(struct beside *b)
{
	kill(b->pid, SIGKILL);
	waitpid(b->pid, NULL, 0);
	close(b->orders);
	close(b->ready);
	terminal_close(&b->terminal);
}

/* --- the rig ---------------------------------------------------------------------------------- */

static void rig_open(struct bench_keeper *k, const struct subject *subject,
	const struct terminal *terminal, const char *where)
{
	char devices[PATH_MAX + 512];

	snprintf(devices, sizeof(devices),
		"{\"console\": {\"driver\": \"pty\", \"path\": \"%s\"}, \"power\": {%s%s%s}}",
		terminal->name, subject->before, where, subject->after);
	bench_keeper_open(k, devices, json_pack("{s:{s:s}}", "power_off", "verify", "none"));
}

static double rig_once(struct bench_keeper *k, const struct terminal *terminal, struct stand_in *s)
{
	json_t *note;
	double us;

	json_decref(bench_call(k, "power.set", json_pack("{s:b}", "on", 1)));
	json_decref(
		bench_call(k, "cut.arm", json_pack("{s:{s:s}}", "on", "console", BENCH_PATTERN)));
	us = fire(terminal->master, BENCH_LINE, s, "rig-keeper");
	note = peer_note(k->owner, "cut");
	if (!note)
		bench_die("the keeper did not tell of the cut");
	json_decref(note);
	json_array_clear(k->owner->notes);
	return us;
}

/* --- what came of it -------------------------------------------------------------------------- */

enum { BARE, RIG, SCRIPT, PROGRAM, WAYS };

static void print_row(const char *driver, const char *way, struct samples *us, struct samples *bare,
	const char *target)
{
	printf("  %-18s %-22s %9.1f %9.1f %6zu", driver, way, samples_quantile(us, 0.5),
		samples_quantile(us, 0.99), us->count);
	if (bare)
		printf("   %5.2f x bare", samples_quantile(us, 0.5) / samples_quantile(bare, 0.5));
	printf("%s%s\n", *target ? "   target: " : "", target);
}

static void report(const struct subject *subject, struct samples us[WAYS])
{
	print_row(subject->driver, "bare poll loop in C", &us[BARE], NULL, "");
	print_row("", "rig-keeper", &us[RIG], &us[BARE], "1.3 x bare");
	print_row("", "pyserial script", &us[SCRIPT], &us[BARE], "");
	if (!us[PROGRAM].count)
		return;
	print_row("", "fork and exec alone", &us[PROGRAM], NULL, "");
	printf("  %-18s %-22s %9.1f   target: 1500\n", "", "the driver adds, p50",
		samples_quantile(&us[RIG], 0.5) - samples_quantile(&us[PROGRAM], 0.5));
}

static void measure(const struct subject *subject)
{
	struct samples us[WAYS] = {{0}};
	struct beside bare, script;
	struct terminal terminal;
	struct bench_keeper k;
	struct stand_in *s;

	bench_keeper_start(&k);
	s = stand_in_create(subject->kind, k.dir);
	terminal_open(&terminal);
	rig_open(&k, subject, &terminal, stand_in_where(s));
	beside_start(&bare, subject, stand_in_where(s), false);
	beside_start(&script, subject, stand_in_where(s), true);
	/* in turn, so that whatever else the machine does disturbs all alike */
	for (int i = 0; i < ROUNDS; i++) {
		samples_add(&us[BARE], fire(bare.terminal.master, BENCH_LINE, s, "the bare loop"));
		samples_add(&us[RIG], rig_once(&k, &terminal, s));
		samples_add(&us[SCRIPT], fire(script.terminal.master, BENCH_LINE, s, "the script"));
		if (subject->kind == STAND_IN_FIFO)
			samples_add(&us[PROGRAM], fire(bare.orders, "+", s, "the program"));
	}
	report(subject, us);
	for (int i = 0; i < WAYS; i++)
		samples_finish(&us[i]);
	bench_keeper_end(&k);
	beside_end(&bare);
	beside_end(&script);
	terminal_close(&terminal);
	stand_in_destroy(s);
}

void bench_drivers(void)
{
	printf("Console line to power-off request, by driver, us %13s %9s %6s\n", "p50", "p99",
		"n");
	for (size_t i = 0; i < sizeof(subjects) / sizeof(*subjects); i++)
		measure(&subjects[i]);
	printf("  gpio-relay needs the kernel's GPIO: edge to relay line is measured in the VM, "
	       "below.\n"
	       "  serial-relay, usb-hid-relay, usb-hub-port and a scpi-psu at a serial port have no "
	       "stand-in here\n"
	       "  (libserialport refuses ptys, libusb wants a device): tested in the VM, not "
	       "timed.\n");
}
