#include "openocd_usb.h"

#include "../rig/err.h"
#include "../rig/text.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEGGER 0x1366
#define ST 0x0483
#define PROBES_MAX 64 /* more are not looked at */

const char *openocd_sys_dir = "/sys";
const char *openocd_dev_dir = "/dev";
const char *openocd_proc_dir = "/proc";

/* OpenOCD's interface/stlink.cfg. */
static const unsigned stlink_products[] = {
	0x3744, 0x3748, 0x374b, 0x374d, 0x374e, 0x374f, 0x3752, 0x3753, 0x3754};

static const struct {
	const char *adapter, *name;
} kinds[] = {
	[PROBE_CMSIS_DAP] = {"cmsis-dap", "CMSIS-DAP probe"},
	[PROBE_JLINK] = {"jlink", "J-Link"},
	[PROBE_STLINK] = {"stlink", "ST-LINK"},
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

struct probe {
	enum openocd_probe_kind kind;
	unsigned vendor, product;
	char serial[128];  /* "": it has none */
	char name[128];    /* of the product */
	char port[64];     /* 1-2.3 */
	char node[320];    /* what a program opens */
	char blocked[320]; /* the node that cannot be opened for writing; "": none */
};

struct probes {
	struct probe list[PROBES_MAX];
	size_t count;
};

enum openocd_probe_kind openocd_probe_kind(const char *adapter)
{
	for (size_t i = 0; i < KINDS; i++)
		if (strncmp(adapter, kinds[i].adapter, strlen(kinds[i].adapter)) == 0)
			return (enum openocd_probe_kind)i;
	return PROBE_OTHER;
}

/* --- what sysfs says ----------------------------------------------------------------------------
 */

/* The text of a file below the device's folder, without its end of line; "" when there is none. */
static void read_text(const char *dir, const char *file, char *text, size_t size)
{
	char path[700], raw[256];
	ssize_t n = -1;
	int fd;

	text[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, raw, sizeof(raw));
	close(fd);
	while (n > 0 && isspace((unsigned char)raw[n - 1]))
		n--;
	if (n > 0)
		text_escape(text, size, raw, (size_t)n, TEXT_LINE);
}

static unsigned read_number(const char *dir, const char *file, int base)
{
	char text[64];

	read_text(dir, file, text, sizeof(text));
	return (unsigned)strtoul(text, NULL, base);
}

/* Whether the name that fn is given says so; it may fill in more. */
typedef bool each_fn(const char *dir, const char *name, void *arg);

/* Calls fn for each entry of a folder whose name begins so, until it returns true. */
static bool each(const char *dir, const char *prefix, each_fn *fn, void *arg)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	bool found = false;

	while (d && !found && (entry = readdir(d)))
		if (entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
			found = fn(dir, entry->d_name, arg);
	if (d)
		closedir(d);
	return found;
}

static bool hidraw_found(const char *dir, const char *name, void *arg)
{
	struct probe *p = arg;
	char node[sizeof(p->blocked)];

	(void)dir;
	snprintf(node, sizeof(node), "%.40s/%.60s", openocd_dev_dir, name);
	if (access(node, W_OK) && errno != ENOENT)
		memcpy(p->blocked, node, sizeof(node));
	return true;
}

/* A folder BUS:VENDOR:PRODUCT.N below an interface of a HID device. */
static bool hid_found(const char *dir, const char *name, void *arg)
{
	char path[700];

	snprintf(path, sizeof(path), "%.500s/%.100s/hidraw", dir, name);
	return each(path, "hidraw", hidraw_found, arg);
}

/* Whether an interface's name says that it is CMSIS-DAP. Version 1 of that is a HID device. */
static bool interface_is_dap(const char *dir, const char *name, void *arg)
{
	struct probe *p = arg;
	char path[700], text[128];

	if (!strchr(name, ':'))
		return false;
	snprintf(path, sizeof(path), "%.500s/%.100s", dir, name);
	read_text(path, "interface", text, sizeof(text));
	if (strstr(text, "CMSIS-DAP"))
		p->kind = PROBE_CMSIS_DAP;
	if (p->kind == PROBE_CMSIS_DAP && read_number(path, "bInterfaceClass", 16) == 3)
		each(path, "", hid_found, p);
	return false;
}

static void find_kind(struct probe *p, const char *dir)
{
	p->kind = strstr(p->name, "CMSIS-DAP") ? PROBE_CMSIS_DAP : PROBE_OTHER;
	each(dir, "", interface_is_dap, p);
	if (p->vendor == SEGGER)
		p->kind = PROBE_JLINK;
	for (size_t i = 0; p->vendor == ST && i < sizeof(stlink_products) / sizeof(unsigned); i++)
		if (p->product == stlink_products[i])
			p->kind = PROBE_STLINK;
}

static bool probe_found(const char *devices, const char *name, void *arg)
{
	struct probes *probes = arg;
	struct probe *p = &probes->list[probes->count];
	char dir[700];

	if (strchr(name, ':')) /* an interface */
		return false;
	memset(p, 0, sizeof(*p));
	snprintf(dir, sizeof(dir), "%.500s/%.100s", devices, name);
	p->vendor = read_number(dir, "idVendor", 16);
	p->product = read_number(dir, "idProduct", 16);
	read_text(dir, "product", p->name, sizeof(p->name));
	read_text(dir, "serial", p->serial, sizeof(p->serial));
	snprintf(p->port, sizeof(p->port), "%.60s", name);
	snprintf(p->node, sizeof(p->node), "%.200s/bus/usb/%03u/%03u", openocd_dev_dir,
		read_number(dir, "busnum", 10), read_number(dir, "devnum", 10));
	find_kind(p, dir);
	if (p->kind == PROBE_OTHER)
		return false;
	if (!p->blocked[0] && access(p->node, W_OK))
		memcpy(p->blocked, p->node, sizeof(p->node));
	return ++probes->count == PROBES_MAX;
}

static void find_probes(struct probes *probes)
{
	char devices[300];

	probes->count = 0;
	snprintf(devices, sizeof(devices), "%.200s/bus/usb/devices", openocd_sys_dir);
	each(devices, "", probe_found, probes);
}

/* A J-Link's number has zeros before it on USB, which nobody writes. */
static const char *bare(enum openocd_probe_kind kind, const char *serial)
{
	size_t zeros = kind == PROBE_JLINK ? strspn(serial, "0") : 0;

	return serial[zeros] ? serial + zeros : serial;
}

/* The first probe of that kind and number; *others is told the numbers of the rest. */
static const struct probe *find_one(const struct probes *probes, enum openocd_probe_kind kind,
	const char *serial, char *others, size_t size)
{
	const struct probe *found = NULL;
	size_t len = 0;

	others[0] = '\0';
	for (size_t i = 0; i < probes->count; i++) {
		const struct probe *p = &probes->list[i];
		const char *number = bare(kind, p->serial);
		int n;

		if (p->kind != kind)
			continue;
		if (!found && (!serial || strcmp(number, bare(kind, serial)) == 0)) {
			found = p;
			continue;
		}
		n = snprintf(others + len, size - len, "%s%s", len ? ", " : "",
			*number ? number : "one without");
		len = (size_t)n < size - len ? len + (size_t)n : size - 1;
	}
	return found;
}

/* --- who else holds it --------------------------------------------------------------------------
 */

struct holder {
	const char *node;
	long pid;
};

static bool fd_is_node(const char *dir, const char *name, void *arg)
{
	const struct holder *h = arg;
	char path[700], target[320];
	ssize_t n;

	snprintf(path, sizeof(path), "%.500s/%.60s", dir, name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = '\0';
	return strcmp(target, h->node) == 0;
}

static bool process_holds(const char *dir, const char *name, void *arg)
{
	struct holder *h = arg;
	char path[700];

	if (!isdigit((unsigned char)name[0]))
		return false;
	snprintf(path, sizeof(path), "%.500s/%.60s/fd", dir, name);
	if (!each(path, "", fd_is_node, h))
		return false;
	h->pid = strtol(name, NULL, 10);
	return true;
}

/* Fills in a process that has the node open, as far as this user may see that. */
static bool find_holder(const char *node, long *pid, char *name, size_t size)
{
	struct holder h = {.node = node};
	char dir[300];

	if (!each(openocd_proc_dir, "", process_holds, &h))
		return false;
	*pid = h.pid;
	snprintf(dir, sizeof(dir), "%.200s/%ld", openocd_proc_dir, h.pid);
	read_text(dir, "comm", name, size);
	return true;
}

/* --- what to do ---------------------------------------------------------------------------------
 */

static void say_blocked(const struct probe *p, char *buf, size_t size)
{
	snprintf(buf, size,
		"no permission to write %s: install the udev rules (60-rig.rules), plug the probe "
		"in again, and be a member of the group they name",
		p->blocked);
}

static void say_missing(enum openocd_probe_kind kind, const char *serial, const char *others,
	char *buf, size_t size)
{
	if (!*others)
		snprintf(buf, size,
			"no %s is on USB: look at its cable, its hub's power, and `lsusb`",
			kinds[kind].name);
	else
		snprintf(buf, size,
			"no %s with serial number %s is on USB, only %s: mend serial in rig.conf, "
			"or plug it in",
			kinds[kind].name, serial, others);
}

void openocd_usb_mend(enum openocd_probe_kind kind, const char *serial, char *buf, size_t size)
{
	struct probes probes;
	char others[400], name[64];
	const struct probe *p;
	long pid;

	buf[0] = '\0';
	if (kind == PROBE_OTHER)
		return;
	find_probes(&probes);
	p = find_one(&probes, kind, serial, others, sizeof(others));
	if (!p)
		say_missing(kind, serial, others, buf, size);
	else if (p->blocked[0])
		say_blocked(p, buf, size);
	else if (find_holder(p->node, &pid, name, sizeof(name)))
		snprintf(buf, size, "%s (process %ld) holds it: end that, or give it another probe",
			*name ? name : "another program", pid);
	else
		snprintf(buf, size,
			"it is on USB at port %s and free: unplug it and plug it in again, or "
			"switch its hub's port off and on",
			p->port);
}

void openocd_usb_check(enum openocd_probe_kind kind, const char *serial, char *buf, size_t size)
{
	struct probes probes;
	char others[400];
	const struct probe *p;

	buf[0] = '\0';
	if (kind == PROBE_OTHER)
		return;
	find_probes(&probes);
	p = find_one(&probes, kind, serial, others, sizeof(others));
	if (!p)
		say_missing(kind, serial, others, buf, size);
	else if (p->blocked[0])
		say_blocked(p, buf, size);
	else if (!serial && others[0])
		snprintf(buf, size,
			"there are several %ss, and which one this is was left open: set serial = "
			"\"%s\", or that of another (%s)",
			kinds[kind].name, bare(kind, p->serial), others);
}

/* --- scan ---------------------------------------------------------------------------------------
 */

static json_t *describe(const struct probe *p)
{
	const char *number = bare(p->kind, p->serial);
	char what[400], conf[300], mend[500];
	json_t *entry;

	snprintf(what, sizeof(what), "%s %04x:%04x%s%s%s%s", kinds[p->kind].name, p->vendor,
		p->product, p->name[0] ? ", " : "", p->name, *number ? ", serial " : "", number);
	/* a quote or a backslash in a serial number would end rig.conf's string */
	if (*number && !strpbrk(number, "\"\\"))
		snprintf(conf, sizeof(conf),
			"probe = { driver = \"openocd\", adapter = \"%s\", serial = \"%s\" },",
			kinds[p->kind].adapter, number);
	else
		snprintf(conf, sizeof(conf), "probe = { driver = \"openocd\", adapter = \"%s\" },",
			kinds[p->kind].adapter);
	entry = json_pack("{s:s, s:s, s:s}", "what", what, "at", p->port, "conf", conf);
	if (!p->blocked[0])
		return entry;
	say_blocked(p, mend, sizeof(mend));
	json_object_set_new(entry, "mend", json_string(mend));
	return entry;
}

static int by_port(const void *a, const void *b)
{
	return strcmp(((const struct probe *)a)->port, ((const struct probe *)b)->port);
}

int openocd_usb_scan(json_t *found, struct err *e)
{
	struct probes probes;

	find_probes(&probes);
	qsort(probes.list, probes.count, sizeof(*probes.list), by_port);
	for (size_t i = 0; i < probes.count; i++)
		if (json_array_append_new(found, describe(&probes.list[i])) != 0)
			return err_set(e, ERR_NOMEM, "out of memory");
	return 0;
}
