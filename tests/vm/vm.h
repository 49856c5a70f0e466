/*
 * What tests in the bench VM share (docs/bench-vm.md): the kernel's simulated devices, and the
 * host, which plugs and unplugs the machine's. They run as root. A call that cannot do its work
 * fails the test. Deadlines are in seconds and generous: load alone stretches time there five
 * times.
 */
#ifndef TESTS_VM_VM_H
#define TESTS_VM_VM_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define VM_WITHIN_S 60 /* what a device gets to come or to go */

/* --- waiting ---------------------------------------------------------------------------------- */

static inline double vm_now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Whether there is something that fits pattern (glob's, or a plain path); its first path goes to
 * path[PATH_MAX], unless that is NULL. */
static inline bool vm_find(const char *pattern, char *path)
{
	glob_t found;
	bool any = glob(pattern, 0, NULL, &found) == 0;

	if (any && path)
		snprintf(path, PATH_MAX, "%s", found.gl_pathv[0]);
	globfree(&found);
	return any;
}

static inline bool vm_exists(const char *pattern)
{
	return vm_find(pattern, NULL);
}

/* Waits until something fits pattern (there true) or nothing does (false). */
static inline bool vm_comes_to(const char *pattern, bool there, unsigned seconds)
{
	double until = vm_now_s() + seconds;

	while (vm_exists(pattern) != there) {
		if (vm_now_s() > until)
			return false;
		poll(NULL, 0, 10);
	}
	return true;
}

static inline void vm_wait_for(const char *pattern, unsigned seconds)
{
	if (!vm_comes_to(pattern, true, seconds))
		fail_msg("%s did not come within %u s", pattern, seconds);
}

static inline void vm_wait_gone(const char *pattern, unsigned seconds)
{
	if (!vm_comes_to(pattern, false, seconds))
		fail_msg("%s was still there after %u s", pattern, seconds);
}

/* --- files of sysfs and configfs -------------------------------------------------------------- */

/* Writes text into a file that is there. */
static inline void vm_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	if (write(fd, text, strlen(text)) < 0) {
		int why = errno;

		close(fd);
		fail_msg("%s: writing \"%s\": %s", path, text, strerror(why));
	}
	close(fd);
}

/* The first line of a file, without its end. */
static inline void vm_read(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");

	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	if (!fgets(buf, (int)size, f))
		buf[0] = '\0';
	fclose(f);
	buf[strcspn(buf, "\n")] = '\0';
}

static inline void vm_mkdir(const char *path)
{
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		fail_msg("%s: %s", path, strerror(errno));
}

/* --- programs --------------------------------------------------------------------------------- */

/* Starts a program of the guest, argv[0] looked up on PATH, its output being the test's. Returns
 * its process id. */
static inline pid_t vm_start(const char *const argv[])
{
	pid_t pid = fork();

	if (pid < 0)
		fail_msg("fork: %s", strerror(errno));
	if (pid == 0) {
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		fprintf(stderr, "# %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	return pid;
}

/* Waits for the end of a program: its exit status, or 128 and its signal. */
static inline int vm_wait(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail_msg("waiting for %d: %s", (int)pid, strerror(errno));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Ends a program with SIGTERM, and with SIGKILL when it has not ended after ten seconds. */
static inline int vm_stop(pid_t pid)
{
	double until = vm_now_s() + 10;
	siginfo_t ended = {0};

	kill(pid, SIGTERM);
	while (waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		!ended.si_pid) {
		if (vm_now_s() > until)
			kill(pid, SIGKILL);
		poll(NULL, 0, 10);
	}
	return vm_wait(pid);
}

/* --- the host --------------------------------------------------------------------------------- */

/* Asks the host and waits for its answer, of which answer[size] gets what follows "ok ". */
static inline void vm_ask(const char *line, char *answer, size_t size)
{
	char buf[4096];
	size_t len = 0;
	int fd = open("/dev/virtio-ports/rig.ask", O_RDWR | O_CLOEXEC);

	if (fd < 0) /* EBUSY: another program is asking */
		fail_msg("the port to the host: %s", strerror(errno));
	if (dprintf(fd, "%s\n", line) < 0)
		fail_msg("the port to the host: %s", strerror(errno));
	while (len < sizeof(buf) - 1 && !memchr(buf, '\n', len)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, VM_WITHIN_S * 1000) != 1) {
			close(fd);
			fail_msg("the host does not answer \"%s\"", line);
		}
		n = read(fd, buf + len, sizeof(buf) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(fd);
	buf[len] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	if (strncmp(buf, "ok", 2) != 0)
		fail_msg("the host, asked \"%s\": %s", line, buf);
	if (answer) {
		const char *rest = buf[2] ? buf + 3 : "";
		size_t rest_len = strnlen(rest, size - 1);

		memcpy(answer, rest, rest_len);
		answer[rest_len] = '\0';
	}
}

/* A command of QEMU's, as JSON on one line; returns when QEMU has answered. The answer, {"return":
 * …}, goes to answer[size], unless that is NULL. */
static inline void vm_qmp(const char *command, char *answer, size_t size)
{
	char line[4096];

	snprintf(line, sizeof(line), "qmp %s", command);
	vm_ask(line, answer, size);
}

/* Takes a device of the machine away, or puts it back, and waits until the guest's USB has noticed.
 * Names: "ftdi1" (serial number RIG1), "ftdi2" (RIG2), "ftdi3" (RIG3, the virtual board's). */
static inline bool vm_usb_serial(const char *serial)
{
	glob_t found;
	bool any = false;

	if (glob("/sys/bus/usb/devices/*/serial", 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc && !any; i++) {
			FILE *f = fopen(found.gl_pathv[i], "re");
			char text[128] = "";

			any = f && fgets(text, sizeof(text), f) &&
			      strncmp(text, serial, strlen(serial)) == 0 &&
			      text[strlen(serial)] == '\n';
			if (f)
				fclose(f);
		}
	globfree(&found);
	return any;
}

static inline void vm_switch(const char *verb, const char *name, bool there)
{
	double until = vm_now_s() + VM_WITHIN_S;
	char line[64], serial[16];

	snprintf(line, sizeof(line), "%s %s", verb, name);
	vm_ask(line, NULL, 0);
	snprintf(serial, sizeof(serial), "RIG%s", name + strcspn(name, "0123456789"));
	while (vm_usb_serial(serial) != there) {
		if (vm_now_s() > until)
			fail_msg("%s: the guest has not noticed after %d s", line, VM_WITHIN_S);
		poll(NULL, 0, 10);
	}
}

static inline void vm_unplug(const char *name)
{
	vm_switch("unplug", name, false);
}

/* Puts it back; returns when its tty is there too. */
static inline void vm_plug(const char *name)
{
	char link[PATH_MAX];

	vm_switch("plug", name, true);
	snprintf(link, sizeof(link), "/dev/serial/by-id/*RIG%s-*",
		name + strcspn(name, "0123456789"));
	vm_wait_for(link, VM_WITHIN_S);
}

/* The tty of the USB device with that serial number: "/dev/ttyUSB0", into tty[PATH_MAX]. Waits for
 * it. */
static inline void vm_tty(const char *serial, char *tty)
{
	char link[PATH_MAX], path[PATH_MAX];

	snprintf(link, sizeof(link), "/dev/serial/by-id/*%s-*", serial);
	vm_wait_for(link, VM_WITHIN_S);
	if (!vm_find(link, path) || !realpath(path, tty))
		fail_msg("%s: %s", link, strerror(errno));
}

/* --- GPIO ------------------------------------------------------------------------------------- */

struct vm_gpio {
	char name[32];  /* of the bank, one of its own for each */
	char conf[256]; /* its folder in configfs */
	char chip[64];  /* "gpiochip1" */
	char sim[256];  /* its folder in sysfs */
	unsigned lines;
	char label[64]; /* of the chip, "rig:NAME" */
};

/*
 * A chip of so many lines, of gpio-sim. names: of its lines from 0 on, ended by NULL or fewer than
 * lines; NULL inside a list is "". The chip is there, under /dev too, when this returns.
 */
static inline void vm_gpio_bank_create(
	struct vm_gpio *g, const char *name, unsigned lines, const char *const *names)
{
	char path[512], text[64], dev[64];

	memset(g, 0, sizeof(*g));
	g->lines = lines;
	snprintf(g->name, sizeof(g->name), "%s", name);
	snprintf(g->label, sizeof(g->label), "rig:%s", g->name);
	snprintf(g->conf, sizeof(g->conf), "/sys/kernel/config/gpio-sim/%s", g->name);
	vm_mkdir(g->conf);
	snprintf(path, sizeof(path), "%s/bank0", g->conf);
	vm_mkdir(path);
	snprintf(path, sizeof(path), "%s/bank0/num_lines", g->conf);
	snprintf(text, sizeof(text), "%u", lines);
	vm_write(path, text);
	snprintf(path, sizeof(path), "%s/bank0/label", g->conf);
	vm_write(path, g->label);
	for (unsigned i = 0; names && names[i] && i < lines; i++) {
		snprintf(path, sizeof(path), "%s/bank0/line%u", g->conf, i);
		vm_mkdir(path);
		snprintf(path, sizeof(path), "%s/bank0/line%u/name", g->conf, i);
		vm_write(path, names[i]);
	}
	snprintf(path, sizeof(path), "%s/live", g->conf);
	vm_write(path, "1");
	snprintf(path, sizeof(path), "%s/dev_name", g->conf);
	vm_read(path, dev, sizeof(dev));
	snprintf(path, sizeof(path), "%s/bank0/chip_name", g->conf);
	vm_read(path, g->chip, sizeof(g->chip));
	snprintf(g->sim, sizeof(g->sim), "/sys/devices/platform/%s/%s", dev, g->chip);
	snprintf(path, sizeof(path), "/dev/%s", g->chip);
	vm_wait_for(path, VM_WITHIN_S);
}

/* The chip is unplugged, whoever holds its lines; or comes back, maybe under another number. */
static inline void vm_gpio_unplug(struct vm_gpio *g)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/live", g->conf);
	vm_write(path, "0");
	vm_wait_gone(g->sim, VM_WITHIN_S);
}

static inline void vm_gpio_plug(struct vm_gpio *g)
{
	char path[512], dev[64];

	snprintf(path, sizeof(path), "%s/live", g->conf);
	vm_write(path, "1");
	snprintf(path, sizeof(path), "%s/dev_name", g->conf);
	vm_read(path, dev, sizeof(dev));
	snprintf(path, sizeof(path), "%s/bank0/chip_name", g->conf);
	vm_read(path, g->chip, sizeof(g->chip));
	snprintf(g->sim, sizeof(g->sim), "/sys/devices/platform/%s/%s", dev, g->chip);
	snprintf(path, sizeof(path), "/dev/%s", g->chip);
	vm_wait_for(path, VM_WITHIN_S);
}

static inline void vm_gpio_bank_destroy(struct vm_gpio *g)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/live", g->conf);
	vm_write(path, "0");
	for (unsigned i = 0; i < g->lines; i++) {
		snprintf(path, sizeof(path), "%s/bank0/line%u", g->conf, i);
		rmdir(path);
	}
	snprintf(path, sizeof(path), "%s/bank0", g->conf);
	rmdir(path);
	if (rmdir(g->conf) != 0)
		fail_msg("%s: %s", g->conf, strerror(errno));
}

/* What is on a line: what an output drives, or an input is pulled to. */
static inline bool vm_gpio_value(const struct vm_gpio *g, unsigned line)
{
	char path[512], text[16];

	snprintf(path, sizeof(path), "%s/sim_gpio%u/value", g->sim, line);
	vm_read(path, text, sizeof(text));
	return text[0] == '1';
}

static inline void vm_gpio_wait(const struct vm_gpio *g, unsigned line, bool high, unsigned seconds)
{
	double until = vm_now_s() + seconds;

	while (vm_gpio_value(g, line) != high) {
		if (vm_now_s() > until)
			fail_msg("%s line %u is not %d after %u s", g->chip, line, high, seconds);
		poll(NULL, 0, 5);
	}
}

/* Pulls an input up or down: an edge, if it was the other way. */
static inline void vm_gpio_pull(const struct vm_gpio *g, unsigned line, bool up)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/sim_gpio%u/pull", g->sim, line);
	vm_write(path, up ? "pull-up" : "pull-down");
}

/* --- a CDC-ACM device ------------------------------------------------------------------------- */

#define VM_GADGET "/sys/kernel/config/usb_gadget/rig"

/*
 * A USB serial device 1209:0001, serial number ACM1, that the guest is both ends of: /dev/ttyACMn
 * (vm_tty("ACM1", …)) is the host's, /dev/ttyGS0 the device's. One at a time.
 */
static inline void vm_acm_gadget_create(void)
{
	vm_mkdir(VM_GADGET);
	vm_write(VM_GADGET "/idVendor", "0x1209");
	vm_write(VM_GADGET "/idProduct", "0x0001");
	vm_mkdir(VM_GADGET "/strings/0x409");
	vm_write(VM_GADGET "/strings/0x409/serialnumber", "ACM1");
	vm_write(VM_GADGET "/strings/0x409/manufacturer", "rig");
	vm_write(VM_GADGET "/strings/0x409/product", "bench");
	vm_mkdir(VM_GADGET "/configs/c.1");
	vm_mkdir(VM_GADGET "/functions/acm.rig0");
	if (symlink(VM_GADGET "/functions/acm.rig0", VM_GADGET "/configs/c.1/acm.rig0") != 0 &&
		errno != EEXIST)
		fail_msg("the gadget's function: %s", strerror(errno));
	vm_write(VM_GADGET "/UDC", "dummy_udc.0");
	vm_wait_for("/dev/serial/by-id/*ACM1-*", VM_WITHIN_S);
	vm_wait_for("/dev/ttyGS0", VM_WITHIN_S);
}

/* Pulls the cable: ttyACM goes; ttyGS0 stays, and who holds it open is hung up. */
static inline void vm_acm_gadget_unplug(void)
{
	vm_write(VM_GADGET "/UDC", "\n");
	vm_wait_gone("/dev/serial/by-id/*ACM1-*", VM_WITHIN_S);
}

static inline void vm_acm_gadget_plug(void)
{
	vm_write(VM_GADGET "/UDC", "dummy_udc.0");
	vm_wait_for("/dev/serial/by-id/*ACM1-*", VM_WITHIN_S);
}

/* Nothing may hold ttyGS0 open any more. */
static inline void vm_acm_gadget_destroy(void)
{
	char udc[64];

	vm_read(VM_GADGET "/UDC", udc, sizeof(udc));
	if (udc[0])
		vm_acm_gadget_unplug();
	unlink(VM_GADGET "/configs/c.1/acm.rig0");
	rmdir(VM_GADGET "/functions/acm.rig0");
	rmdir(VM_GADGET "/configs/c.1");
	rmdir(VM_GADGET "/strings/0x409");
	if (rmdir(VM_GADGET) != 0)
		fail_msg(VM_GADGET ": %s", strerror(errno));
}

#endif
