/*
 * Serial ports in sysfs: /sys/class/tty/NAME/device is the USB interface (CDC-ACM) or a device
 * below it (usb-serial); the interface's folder is named by its physical path and holds
 * bInterfaceNumber, the folder above it is the USB device's and holds idVendor, idProduct and
 * serial.
 */
#include "serial_find.h"

#include "../rig/text.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LISTED_MAX 8 /* ports that a message names */

const char *serial_sys_dir = "/sys";
const char *serial_dev_dir = "/dev";

/* --- text ------------------------------------------------------------------------------------- */

/* Appends; what does not fit is left out. */
static void __attribute__((format(printf, 3, 4))) add(char *buf, size_t size, const char *fmt, ...)
{
	size_t len = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + len, size - len, fmt, ap);
	va_end(ap);
}

/* The first line of dir/name, safe to print; empty when there is none. */
static bool read_text(const char *dir, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX + 64], line[256] = "";
	FILE *f;

	buf[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		text_escape(buf, size, line, strlen(line), TEXT_LINE);
	}
	fclose(f);
	return true;
}

static int read_hex(const char *dir, const char *name)
{
	char text[32], *end;
	long value;

	if (!read_text(dir, name, text, sizeof(text)))
		return -1;
	value = strtol(text, &end, 16);
	return end == text || value < 0 || value > 0xffff ? -1 : (int)value;
}

void serial_want_text(const struct serial_want *want, char *buf, size_t size)
{
	buf[0] = '\0';
	if (want->path[0])
		add(buf, size, ", %s", want->path);
	if (want->serial[0])
		add(buf, size, ", usb_serial %s", want->serial);
	if (want->vendor >= 0)
		add(buf, size, ", usb_vendor 0x%04x", want->vendor);
	if (want->product >= 0)
		add(buf, size, ", usb_product 0x%04x", want->product);
	if (want->usb_path[0])
		add(buf, size, ", usb_path %s", want->usb_path);
	if (want->interface >= 0)
		add(buf, size, ", interface %d", want->interface);
	if (buf[0])
		memmove(buf, buf + 2, strlen(buf + 2) + 1);
}

void serial_place_text(const struct serial_place *place, char *buf, size_t size)
{
	snprintf(buf, size, "%s", place->path);
	if (place->vendor < 0)
		return;
	add(buf, size, " (%04x:%04x", place->vendor, place->product);
	if (place->serial[0])
		add(buf, size, ", serial %s", place->serial);
	else
		add(buf, size, ", at %s", place->usb_path);
	if (place->interface > 0)
		add(buf, size, ", interface %d", place->interface);
	add(buf, size, ")");
}

/* --- the list --------------------------------------------------------------------------------- */

/* Fills in what USB knows of the device that dir, below /sys/devices, belongs to. */
static void learn_usb(struct serial_place *place, char *dir)
{
	char *slash;

	while ((slash = strrchr(dir, '/')) && slash != dir) {
		if (place->interface < 0) {
			place->interface = read_hex(dir, "bInterfaceNumber");
			if (place->interface >= 0)
				snprintf(place->usb_path, sizeof(place->usb_path), "%s", slash + 1);
		} else if ((place->vendor = read_hex(dir, "idVendor")) >= 0) {
			place->product = read_hex(dir, "idProduct");
			read_text(dir, "serial", place->serial, sizeof(place->serial));
			read_text(dir, "product", place->product_name, sizeof(place->product_name));
			return;
		}
		*slash = '\0';
	}
}

/* Whether NAME of /sys/class/tty is a port of hardware that is there. */
static bool learn(struct serial_place *place, const char *name)
{
	char link[PATH_MAX], dir[PATH_MAX], type[16];

	*place = (struct serial_place){.vendor = -1, .product = -1, .interface = -1};
	if ((size_t)snprintf(place->path, sizeof(place->path), "%s/%s", serial_dev_dir, name) >=
		sizeof(place->path))
		return false;
	snprintf(link, sizeof(link), "%s/class/tty/%s", serial_sys_dir, name);
	/* the 8250 driver has names for ports that the machine may not have: type 0 */
	if (read_text(link, "type", type, sizeof(type)) && strcmp(type, "0") == 0)
		return false;
	snprintf(link, sizeof(link), "%s/class/tty/%s/device", serial_sys_dir, name);
	if (!realpath(link, dir))
		return false; /* a virtual terminal */
	learn_usb(place, dir);
	return true;
}

static int by_path(const void *a, const void *b)
{
	return strverscmp(
		((const struct serial_place *)a)->path, ((const struct serial_place *)b)->path);
}

ssize_t serial_list(struct serial_place **places, struct err *e)
{
	struct serial_place *list = NULL, *more;
	size_t count = 0, room = 0;
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/class/tty", serial_sys_dir);
	dir = opendir(path);
	if (!dir)
		return err_errno(e, ERR_BENCH, errno, "%s", path);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (count == room) {
			room = room ? 2 * room : 16;
			more = realloc(list, room * sizeof(*list));
			if (!more) {
				free(list);
				closedir(dir);
				return err_set(e, ERR_NOMEM, "out of memory");
			}
			list = more;
		}
		if (learn(&list[count], entry->d_name))
			count++;
	}
	closedir(dir);
	if (count)
		qsort(list, count, sizeof(*list), by_path);
	*places = list;
	return (ssize_t)count;
}

/* --- what is wanted --------------------------------------------------------------------------- */

static int take_text(const json_t *options, const char *name, char *buf, size_t size, struct err *e)
{
	const char *text = json_string_value(json_object_get(options, name));

	if (text && (!text[0] || strlen(text) >= size))
		return err_set(e, ERR_CONFIG, "%s is %s", name, text[0] ? "too long" : "empty");
	snprintf(buf, size, "%s", text ? text : "");
	return 0;
}

static int take_number(
	const json_t *options, const char *name, json_int_t most, int *number, struct err *e)
{
	const json_t *value = json_object_get(options, name);
	json_int_t n = json_integer_value(value);

	*number = -1;
	if (!json_is_integer(value))
		return 0;
	if (n < 0 || n > most)
		return err_set(e, ERR_CONFIG, "%s must be 0 to %lld", name, (long long)most);
	*number = (int)n;
	return 0;
}

int serial_want_parse(struct serial_want *want, const json_t *options, struct err *e)
{
	bool usb;
	int ret = take_text(options, "path", want->path, sizeof(want->path), e);

	if (!ret)
		ret = take_text(options, "usb_serial", want->serial, sizeof(want->serial), e);
	if (!ret)
		ret = take_text(options, "usb_path", want->usb_path, sizeof(want->usb_path), e);
	if (!ret)
		ret = take_number(options, "usb_vendor", 0xffff, &want->vendor, e);
	if (!ret)
		ret = take_number(options, "usb_product", 0xffff, &want->product, e);
	if (!ret)
		ret = take_number(options, "interface", 255, &want->interface, e);
	if (ret)
		return ret;
	usb = want->serial[0] || want->usb_path[0] || want->vendor >= 0 || want->product >= 0;
	if (want->path[0] && (usb || want->interface >= 0))
		return err_set(e, ERR_CONFIG,
			"path names a port alone: leave out usb_serial, usb_vendor, usb_product, "
			"usb_path and interface, or path");
	if (!want->path[0] && !usb)
		return err_set(e, ERR_CONFIG,
			"no port is named: give usb_serial, usb_path, usb_vendor and usb_product, or "
			"path (`rig check --scan` lists the ports)");
	if (want->path[0] && want->path[0] != '/')
		return err_set(e, ERR_CONFIG, "path must be absolute, not \"%.100s\"", want->path);
	return 0;
}

/* Whether at, of an interface, is what wanted says, of an interface or of a device. */
static bool path_is(const char *at, const char *wanted)
{
	size_t len = strlen(wanted);

	return strncmp(at, wanted, len) == 0 && (at[len] == '\0' || at[len] == ':');
}

static bool matches(const struct serial_want *want, const struct serial_place *place)
{
	return (want->vendor < 0 || want->vendor == place->vendor) &&
	       (want->product < 0 || want->product == place->product) &&
	       (want->interface < 0 || want->interface == place->interface) &&
	       (!want->serial[0] || strcmp(want->serial, place->serial) == 0) &&
	       (!want->usb_path[0] || path_is(place->usb_path, want->usb_path));
}

static void add_places(char *buf, size_t size, const struct serial_place *list, size_t count,
	const struct serial_want *want)
{
	char text[400];
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (want && !matches(want, &list[i]))
			continue;
		if (n++ == LISTED_MAX) {
			add(buf, size, " …");
			return;
		}
		serial_place_text(&list[i], text, sizeof(text));
		add(buf, size, "%s%s", n > 1 ? ", " : "", text);
	}
}

static bool is_port(const char *path, struct stat *st)
{
	return stat(path, st) == 0 && S_ISCHR(st->st_mode);
}

static int find_path(const struct serial_want *want, const struct serial_place *list, size_t count,
	struct serial_place *place, struct err *e)
{
	char real[PATH_MAX];
	struct stat st, other;

	if (!realpath(want->path, real))
		return err_set(e, ERR_GONE,
			"%.300s: %s: is it plugged in? `rig check --scan` lists the ports",
			want->path, strerror(errno));
	if (!is_port(real, &st))
		return err_set(e, ERR_BENCH,
			"%.300s is no serial port: `rig check --scan` lists them", want->path);
	for (size_t i = 0; i < count; i++) {
		if (!is_port(list[i].path, &other) || other.st_rdev != st.st_rdev)
			continue;
		*place = list[i];
		return 0;
	}
	*place = (struct serial_place){.vendor = -1, .product = -1, .interface = -1};
	if ((size_t)snprintf(place->path, sizeof(place->path), "%s", real) >= sizeof(place->path))
		return err_set(e, ERR_BENCH, "%.300s: the path is too long", want->path);
	return 0;
}

static int find_usb(const struct serial_want *want, const struct serial_place *list, size_t count,
	struct serial_place *place, struct err *e)
{
	char wanted[512], text[768] = "";
	size_t found = 0;
	bool interfaces = false;

	serial_want_text(want, wanted, sizeof(wanted));
	for (size_t i = 0; i < count; i++) {
		if (list[i].vendor < 0 || !matches(want, &list[i]))
			continue;
		interfaces |= found && list[i].interface != place->interface;
		if (!found++)
			*place = list[i];
	}
	if (found == 1)
		return 0;
	if (found) {
		add_places(text, sizeof(text), list, count, want);
		return err_set(e, ERR_BENCH, "%zu ports are %.200s: %s: say which by %s", found,
			wanted, text, interfaces ? "interface" : "usb_path");
	}
	add_places(text, sizeof(text), list, count, NULL);
	return err_set(e, ERR_GONE, "no serial port is %.200s: is it plugged in? There %s%s",
		wanted, count ? "are: " : "is none", text);
}

int serial_find(const struct serial_want *want, struct serial_place *place, struct err *e)
{
	struct serial_place *list = NULL;
	ssize_t count = serial_list(&list, e);
	int ret;

	if (count < 0 && !want->path[0])
		return (int)count;
	if (count < 0)
		count = 0; /* a path needs no sysfs */
	ret = want->path[0] ? find_path(want, list, (size_t)count, place, e)
			    : find_usb(want, list, (size_t)count, place, e);
	free(list);
	return ret;
}

bool serial_want_of(const struct serial_place *place, struct serial_want *want)
{
	*want = (struct serial_want){
		.vendor = place->vendor, .product = place->product, .interface = place->interface};
	if (place->vendor < 0)
		return false;
	/* without a serial number it is the one that is plugged in there */
	if (place->serial[0])
		memcpy(want->serial, place->serial, sizeof(want->serial));
	else
		memcpy(want->usb_path, place->usb_path, sizeof(want->usb_path));
	return true;
}

/* Whether text can stand between quotes as it is. */
static bool is_plain(const char *text)
{
	for (const char *p = text; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr(" ._:-+/#", *p))
			return false;
	return text[0] != '\0';
}

void serial_place_conf(const struct serial_place *place, const struct serial_place *among,
	size_t count, char *buf, size_t size)
{
	struct serial_want serial = {.vendor = -1, .product = -1, .interface = -1}, whole;
	size_t same = 0, alone = 0;

	if (place->vendor < 0) {
		snprintf(buf, size, "path = \"%s\"", place->path);
		return;
	}
	memcpy(serial.serial, place->serial, sizeof(serial.serial));
	whole = serial;
	whole.interface = place->interface;
	for (size_t i = 0; i < count; i++) {
		same += matches(&serial, &among[i]);
		alone += matches(&whole, &among[i]);
	}
	if (!is_plain(place->serial) || alone != 1)
		snprintf(buf, size, "usb_path = \"%s\"", place->usb_path);
	else if (same == 1)
		snprintf(buf, size, "usb_serial = \"%s\"", place->serial);
	else
		snprintf(buf, size, "usb_serial = \"%s\", interface = %d", place->serial,
			place->interface);
}

/* --- who has it ------------------------------------------------------------------------------- */

/* Whether process pid has path open. */
static bool holds(const char *pid, const char *path)
{
	char fds[64], name[512], target[PATH_MAX];
	struct dirent *entry;
	bool found = false;
	ssize_t n;
	DIR *dir;

	snprintf(fds, sizeof(fds), "/proc/%.20s/fd", pid);
	dir = opendir(fds);
	while (dir && !found && (entry = readdir(dir))) {
		snprintf(name, sizeof(name), "%s/%s", fds, entry->d_name);
		n = readlink(name, target, sizeof(target) - 1);
		if (n <= 0)
			continue;
		target[n] = '\0';
		found = strcmp(target, path) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Whether process pid runs the program that this one runs. */
static bool is_ours(const char *pid)
{
	struct stat mine, its;
	char exe[64];

	snprintf(exe, sizeof(exe), "/proc/%.20s/exe", pid);
	return stat("/proc/self/exe", &mine) == 0 && stat(exe, &its) == 0 &&
	       mine.st_dev == its.st_dev && mine.st_ino == its.st_ino;
}

bool serial_holder(const char *path, bool ours, char *buf, size_t size)
{
	char real[PATH_MAX], self[32], dir_of[64], comm[64];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	buf[0] = '\0';
	snprintf(self, sizeof(self), "%ld", (long)getpid());
	dir = realpath(path, real) ? opendir("/proc") : NULL;
	while (dir && !found && (entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]) || strcmp(entry->d_name, self) == 0)
			continue;
		if (!holds(entry->d_name, real) || (!ours && is_ours(entry->d_name)))
			continue;
		snprintf(dir_of, sizeof(dir_of), "/proc/%.20s", entry->d_name);
		read_text(dir_of, "comm", comm, sizeof(comm));
		snprintf(buf, size, "%s (pid %.20s)", comm, entry->d_name);
		found = true;
	}
	if (dir)
		closedir(dir);
	return found;
}

void serial_permission(const char *path, char *buf, size_t size)
{
	struct group group, *found = NULL;
	char names[4096];
	struct stat st;

	buf[0] = '\0';
	if (stat(path, &st) != 0 || access(path, R_OK | W_OK) == 0)
		return;
	if ((st.st_mode & 0060) == 0060 && st.st_gid != 0 &&
		getgrgid_r(st.st_gid, &group, names, sizeof(names), &found) == 0 && found)
		snprintf(buf, size,
			"%s may be used by the group %s: add this user to it (usermod -aG %s USER) and "
			"log in again, or install 60-rig.rules (udev)",
			path, found->gr_name, found->gr_name);
	else
		snprintf(buf, size, "this user may not use %s: install 60-rig.rules (udev)", path);
}
