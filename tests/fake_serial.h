/*
 * Serial ports for tests: pseudo terminals, with folders that look like sysfs and /dev, and a
 * stand-in for libserialport, which does not take them.
 *
 * The first port is /dev/ttyUSB0, 0403:6001 serial RIG1, at 1-1.4:1.0. When a bench is set up while
 * another one is, the two share the folders, and who opens a port leaves the other one there.
 */
#ifndef TESTS_FAKE_SERIAL_H
#define TESTS_FAKE_SERIAL_H

#include "driver_bench.h"
#include "drivers/serial_find.h"
#include "drivers/serial_line.h"
#include "scratch.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <termios.h>

#define FAKE_TTY "ttyUSB0"
#define FAKE_USB "devices/usb1/1-1/1-1.4"

struct fake_serial {
	void *scratch;
	struct fake_serial *first; /* whose folders are used; itself, or the one before */
	int master, slave;         /* -1: unplugged */
	char pts[128];
};

/* What the stand-in does, and what it was told. */
struct fake_line {
	struct fake_serial *other; /* the bench that is to be opened next */
	struct serial_settings settings;
	bool fail_open, fail_lines, counting;
	int opens, dtr, rts, brk, breaks;
	struct serial_counts counts;
};

static struct fake_line fake_line;

/* --- the stand-in ----------------------------------------------------------------------------- */

static inline void fake_tty_link(struct fake_serial *f)
{
	const char *path = scratch_path(f->first->scratch, "dev/" FAKE_TTY);
	char next[600];

	snprintf(next, sizeof(next), "%s.next", path);
	assert_return_code(symlink(f->pts, next), errno);
	assert_return_code(rename(next, path), errno);
}

static inline int fake_tty_open(
	const char *path, const struct serial_settings *settings, void **handle, struct err *e)
{
	int fd, *kept;

	if (fake_line.fail_open)
		return err_set(e, ERR_BENCH, "%s: it does not take these settings", path);
	fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_errno(e, ERR_BENCH, errno, "%s", path);
	kept = malloc(sizeof(*kept));
	*kept = fd;
	*handle = kept;
	fake_line.settings = *settings;
	fake_line.opens++;
	if (fake_line.other) {
		fake_tty_link(fake_line.other);
		fake_line.other = NULL;
	}
	return fd;
}

static inline int fake_tty_lines(void *handle, int dtr, int rts, int brk, struct err *e)
{
	(void)handle;
	if (fake_line.fail_lines)
		return err_set(e, ERR_BENCH, "setting DTR and RTS: it hangs");
	fake_line.dtr = dtr >= 0 ? dtr : fake_line.dtr;
	fake_line.rts = rts >= 0 ? rts : fake_line.rts;
	fake_line.brk = brk >= 0 ? brk : fake_line.brk;
	fake_line.breaks += brk == 1;
	return 0;
}

static inline bool fake_tty_counts(int fd, struct serial_counts *counts)
{
	(void)fd;
	*counts = fake_line.counts;
	return fake_line.counting;
}

static inline void fake_tty_close(void *handle)
{
	int *kept = handle;

	close(*kept);
	free(kept);
}

static const struct serial_backend fake_tty_backend = {
	fake_tty_open, fake_tty_lines, fake_tty_counts, fake_tty_close};

/* --- the ports -------------------------------------------------------------------------------- */

/* Writes what sysfs says of a port. serial NULL: the device has none. */
static inline void fake_tty_sysfs(struct scratch *s, const char *tty, const char *usb,
	const char *interface, const char *serial)
{
	const char *at = strrchr(usb, '/') + 1;
	char path[300], target[300];

	snprintf(path, sizeof(path), "sys/%s/idVendor", usb);
	scratch_write(s, path, "0403\n");
	snprintf(path, sizeof(path), "sys/%s/idProduct", usb);
	scratch_write(s, path, "6001\n");
	snprintf(path, sizeof(path), "sys/%s/product", usb);
	scratch_write(s, path, "RS232 adapter\n");
	snprintf(path, sizeof(path), "sys/%s/serial", usb);
	if (serial)
		scratch_write(s, path, serial);
	snprintf(path, sizeof(path), "sys/%s/%s:1.%s/bInterfaceNumber", usb, at, interface);
	scratch_write(s, path, interface);
	snprintf(path, sizeof(path), "sys/%s/%s:1.%s/%s/x", usb, at, interface, tty);
	scratch_write(s, path, "");
	snprintf(path, sizeof(path), "sys/class/tty/%s/x", tty);
	scratch_write(s, path, "");
	snprintf(target, sizeof(target), "../../../%s/%s:1.%s/%s", usb, at, interface, tty);
	snprintf(path, sizeof(path), "sys/class/tty/%s/device", tty);
	assert_return_code(symlink(target, scratch_path(s, path)), errno);
}

/* A port is plugged in: sysfs first, as the kernel does. */
static inline void fake_tty_plug(struct fake_serial *f)
{
	struct termios raw;
	const char *device = scratch_path(f->first->scratch, "sys/class/tty/" FAKE_TTY "/device");

	assert_return_code(openpty(&f->master, &f->slave, f->pts, NULL, NULL), errno);
	fcntl(f->master, F_SETFL, O_NONBLOCK);
	fcntl(f->master, F_SETFD, FD_CLOEXEC);
	fcntl(f->slave, F_SETFD, FD_CLOEXEC);
	tcgetattr(f->slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(f->slave, TCSANOW, &raw);
	if (access(device, F_OK) != 0)
		fake_tty_sysfs(f->first->scratch, FAKE_TTY, FAKE_USB, "0", "RIG1\n");
	fake_tty_link(f);
}

static inline void fake_tty_unplug(struct fake_serial *f)
{
	if (f->master < 0)
		return;
	unlink(scratch_path(f->first->scratch, "dev/" FAKE_TTY));
	unlink(scratch_path(f->first->scratch, "sys/class/tty/" FAKE_TTY "/device"));
	close(f->master);
	close(f->slave);
	f->master = f->slave = -1;
}

static inline struct fake_serial *fake_serial_create(void)
{
	static struct fake_serial *up; /* the bench that has the folders */
	struct fake_serial *f = calloc(1, sizeof(*f));

	assert_int_equal(scratch_setup(&f->scratch), 0);
	if (serial_backend == &fake_tty_backend) {
		f->first = up;
		fake_tty_plug(f);
		fake_tty_link(up);
		fake_line.other = f;
		return f;
	}
	up = f->first = f;
	fake_line = (struct fake_line){.dtr = 1, .rts = 1};
	serial_backend = &fake_tty_backend;
	serial_sys_dir = strdup(scratch_path(f->scratch, "sys"));
	serial_dev_dir = strdup(scratch_path(f->scratch, "dev"));
	scratch_write(f->scratch, "dev/null", "");
	fake_tty_plug(f);
	return f;
}

static inline void fake_serial_destroy(struct fake_serial *f)
{
	if (f->master >= 0) {
		close(f->master);
		close(f->slave);
	}
	if (f->first == f) {
		free((char *)(uintptr_t)serial_sys_dir);
		free((char *)(uintptr_t)serial_dev_dir);
		serial_sys_dir = "/sys";
		serial_dev_dir = "/dev";
		serial_backend = &serial_backend_libserialport;
	}
	scratch_teardown(&f->scratch);
	free(f);
}

/* Everything that the other end has got, till nothing comes for a moment. */
static inline size_t fake_tty_read(struct fake_serial *f, char *buf, size_t size)
{
	struct pollfd p = {f->master, POLLIN, 0};
	size_t len = 0;
	ssize_t n;

	while (len < size && poll(&p, 1, 50) == 1 &&
		(n = read(f->master, buf + len, size - len)) > 0)
		len += (size_t)n;
	return len;
}

static inline void fake_tty_drain(struct fake_serial *f)
{
	char buf[4096];

	while (f->master >= 0 && fake_tty_read(f, buf, sizeof(buf)))
		;
}

#endif
