/*
 * usb-hub-port: the power of a DUT on a port of a USB hub that switches its ports one by one.
 *
 * Linux 6.0 and later have a file for it, <hub>:1.0/<hub>-portN/disable, with which the kernel
 * takes the device away too; before that, or without permission for it, the hub is asked by control
 * transfers (USB 2.0, 11.24.2). Either way what is read back is the hub's own word. A port of a USB
 * 3 hub is two, one of each speed, with one VBUS: both are switched.
 */
#include "usb_instance.h"

#include <libusb.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HUB_CLASS 0x09
#define SUPERSPEED 3 /* bDeviceProtocol of a USB 3 hub */
#define OFF_MS_MAX 60000
#define PORTS_MAX 255

#define CLASS_HUB (LIBUSB_REQUEST_TYPE_CLASS | LIBUSB_RECIPIENT_DEVICE)
#define CLASS_PORT (LIBUSB_REQUEST_TYPE_CLASS | LIBUSB_RECIPIENT_OTHER)
#define GET_STATUS 0
#define CLEAR_FEATURE 1
#define SET_FEATURE 3
#define GET_DESCRIPTOR 6
#define PORT_POWER 8
#define DESCRIPTOR_HUB 0x2900            /* USB 2.0, 11.23.2.1 */
#define DESCRIPTOR_SUPERSPEED_HUB 0x2a00 /* USB 3.2, 10.15.2.1 */
#define CHARACTERISTICS 3                /* its place in either */
#define STATUS_POWER 0x0100              /* USB 2.0, table 11-21 */
#define STATUS_POWER_SUPERSPEED 0x0200   /* USB 3.2, table 10-13 */

enum method {
	BY_EITHER,
	BY_SYSFS,
	BY_CONTROL,
};

struct hub_port {
	struct usb_instance usb;
	char hub[32]; /* as sysfs has it: "1-1.4", "usb1" */
	unsigned port;
	unsigned off_ms;
	enum method method;
	bool vbus_switched;
};

/* One port, or one half of a USB 3 port. */
struct target {
	struct usb_info info; /* the hub */
	struct usb_handle *h;
	unsigned port;
	enum method method;
};

static const struct driver_option options[] = {
	{"hub", OPTION_STRING, true, NULL,
		"the hub by bus and ports, such as 1-1.4; usb1 is the root hub of bus 1"},
	{"port", OPTION_INTEGER, true, NULL, "the hub's port, from 1"},
	{"off_ms", OPTION_INTEGER, false, "500",
		"milliseconds that off takes: what the DUT's capacitors need"},
	{"method", OPTION_STRING, false, "auto",
		"sysfs: the kernel's file; control: requests to the hub; auto: what there is"},
	{"vbus_switched", OPTION_BOOLEAN, false, "false",
		"true: a meter has shown that this hub switches VBUS, so its word counts as "
		"read-back"},
	{NULL, OPTION_STRING, false, NULL, NULL},
};

static struct hub_port *hub_of(struct usb_instance *u)
{
	return (struct hub_port *)u;
}

static struct hub_port *hub_of_device(struct device *dev)
{
	return (struct hub_port *)dev;
}

static const char *on_off(bool on)
{
	return on ? "on" : "off";
}

/* --- one port by sysfs, on a thread ----------------------------------------------------------- */

/* A file of a port's folder, such as 1-1.4:1.0/1-1.4-port2/disable. */
static void port_file(const struct target *t, const char *name, char *buf, size_t size)
{
	const char *hub = t->info.path;

	if (strncmp(hub, "usb", 3) == 0)
		usb_path(buf, size, "/sys/bus/usb/devices/%s-0:1.0/%s-port%u/%s", hub + 3, hub,
			t->port, name);
	else
		usb_path(buf, size, "/sys/bus/usb/devices/%s:1.0/%s-port%u/%s", hub, hub, t->port,
			name);
}

static int sysfs_failed(const char *path, int errnum, struct err *e)
{
	switch (errnum) {
	case EACCES:
	case EPERM:
		return err_set(e, ERR_BENCH,
			"%s: no permission: install the udev rules 60-rig.rules, put this user "
			"into the group plugdev, log in and plug the hub again",
			path);
	case ENOENT:
		return err_set(e, ERR_BENCH,
			"%s is not there: this kernel has no such file (Linux 6.0 has), or the "
			"hub is gone; set method to \"control\" in rig.conf",
			path);
	case ENODEV:
		return err_set(e, ERR_BENCH, "%s: the hub is gone: was it unplugged?", path);
	default:
		return err_errno(e, ERR_BENCH, errnum, "%s", path);
	}
}

static int sysfs_set(const struct target *t, bool on, struct err *e)
{
	char path[PATH_MAX];
	int fd, errnum = 0;

	port_file(t, "disable", path, sizeof(path));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return sysfs_failed(path, errno, e);
	if (write(fd, on ? "0" : "1", 1) != 1)
		errnum = errno;
	close(fd);
	return errnum ? sysfs_failed(path, errnum, e) : 0;
}

static int sysfs_get(const struct target *t, bool *on, struct err *e)
{
	char path[PATH_MAX], text[16];
	int ret;

	port_file(t, "disable", path, sizeof(path));
	ret = usb_read_attribute(path, text, sizeof(text), e);
	if (ret)
		return err_set(e, ERR_BENCH, "%s cannot be read: was the hub unplugged?", path);
	if ((text[0] != '0' && text[0] != '1') || text[1])
		return err_set(e, ERR_BENCH, "%s reads \"%.8s\" and not 0 or 1", path, text);
	*on = text[0] == '0';
	return 0;
}

/* --- one port by control transfers, on a thread ----------------------------------------------- */

static int control_set(const struct target *t, bool on, struct err *e)
{
	const struct usb_request request = {CLASS_PORT | LIBUSB_ENDPOINT_OUT,
		on ? SET_FEATURE : CLEAR_FEATURE, PORT_POWER, (uint16_t)t->port,
		on ? "switch the port on (SET_FEATURE)" : "switch the port off (CLEAR_FEATURE)"};
	int n = usb_control(t->h, &request, NULL, 0, e);

	return n < 0 ? n : 0;
}

static int control_get(const struct target *t, bool *on, struct err *e)
{
	const struct usb_request request = {CLASS_PORT | LIBUSB_ENDPOINT_IN, GET_STATUS, 0,
		(uint16_t)t->port, "read the port's status (GET_STATUS)"};
	uint8_t data[4] = {0};
	int n = usb_control(t->h, &request, data, sizeof(data), e);
	unsigned mask = t->info.protocol == SUPERSPEED ? STATUS_POWER_SUPERSPEED : STATUS_POWER;

	if (n < 0)
		return n;
	if (n != sizeof(data))
		return err_set(e, ERR_BENCH, "hub %s: its port's status has %d bytes and not %zu",
			t->info.described, n, sizeof(data));
	*on = (((unsigned)data[0] | (unsigned)data[1] << 8) & mask) != 0;
	return 0;
}

/* Whether the hub can switch one port alone. */
static int check_switching(
	const struct usb_info *info, struct usb_handle *h, bool *switches, struct err *e)
{
	const struct usb_request request = {CLASS_HUB | LIBUSB_ENDPOINT_IN, GET_DESCRIPTOR,
		info->protocol == SUPERSPEED ? DESCRIPTOR_SUPERSPEED_HUB : DESCRIPTOR_HUB, 0,
		"read the hub's descriptor (GET_DESCRIPTOR)"};
	uint8_t data[64] = {0};
	int n = usb_control(h, &request, data, sizeof(data), e);

	*switches = false;
	if (n < 0)
		return n;
	if (n < CHARACTERISTICS + 2)
		return err_set(e, ERR_BENCH, "hub %s: its descriptor is cut short (%d bytes)",
			info->described, n);
	switch (data[CHARACTERISTICS] & 3) { /* logical power switching mode */
	case 1:
		*switches = true;
		return 0;
	case 0:
		if (info->ports == 1) {
			*switches = true;
			return 0;
		}
		return err_set(e, ERR_BENCH,
			"hub %s switches all its ports together (ganged): take a hub that "
			"switches each port (rig check --scan lists those here)",
			info->described);
	default:
		return err_set(e, ERR_BENCH,
			"hub %s does not switch power: take a hub that switches each port (rig "
			"check --scan lists those here)",
			info->described);
	}
}

/* --- finding the hub, on a thread ------------------------------------------------------------- */

static int find_hub(const char *path, struct usb_info *hub, struct err *e)
{
	struct usb_info *list;
	size_t count, i;
	int ret = usb_list(&list, &count, e);

	if (ret)
		return ret;
	for (i = 0; i < count && strcmp(list[i].path, path) != 0; i++)
		;
	if (i == count)
		ret = err_set(e, ERR_BENCH,
			"no USB device at %s: plug the hub in, or mend hub in rig.conf (rig check "
			"--scan lists hubs)",
			path);
	else if (list[i].device_class != HUB_CLASS)
		ret = err_set(e, ERR_BENCH,
			"%s is no hub but %04x:%04x \"%s\": hub in rig.conf is the hub's own path, "
			"without the DUT's port",
			path, list[i].vendor, list[i].product, list[i].name);
	else
		*hub = list[i];
	free(list);
	return ret;
}

static int check_port(const struct target *t, struct err *e)
{
	if (t->info.ports && t->port > t->info.ports)
		return err_set(e, ERR_BENCH, "port %u: hub %s has %u ports: mend port in rig.conf",
			t->port, t->info.described, t->info.ports);
	return 0;
}

static int hub_attach(struct usb_instance *u, const atomic_bool *abandoned, struct err *e)
{
	struct hub_port *p = hub_of(u);
	struct target t = {.port = p->port};
	bool switches;
	int ret = find_hub(p->hub, &t.info, e);

	(void)abandoned; /* all of it takes a second or two at most */
	if (!ret)
		ret = check_port(&t, e);
	if (!ret)
		ret = usb_open(&t.info, &t.h, e);
	if (!ret)
		ret = check_switching(&t.info, t.h, &switches, e);
	if (ret) {
		usb_close(t.h);
		return ret;
	}
	snprintf(u->what, sizeof(u->what), "port %u of hub %s", p->port, t.info.described);
	usb_instance_take(u, t.h, &t.info);
	return 0;
}

/* --- both halves of a port, on a thread ------------------------------------------------------- */

/* The other half: its folder's name is <hub>-port<N>, and "peer" is a link to it. */
static bool find_peer(const struct target *t, struct target *peer)
{
	char path[PATH_MAX], link[PATH_MAX], *name, *port;
	ssize_t n;
	struct err e;

	port_file(t, "peer", path, sizeof(path));
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = '\0';
	name = strrchr(link, '/');
	name = name ? name + 1 : link;
	port = strstr(name, "-port");
	if (!port)
		return false;
	*port = '\0';
	peer->port = (unsigned)strtoul(port + strlen("-port"), NULL, 10);
	peer->method = t->method;
	return peer->port && peer->port <= PORTS_MAX && find_hub(name, &peer->info, &e) == 0;
}

/* How t is switched: what was asked for, or what there is. */
static enum method method_of(const struct target *t)
{
	char path[PATH_MAX];

	if (t->method != BY_EITHER)
		return t->method;
	port_file(t, "disable", path, sizeof(path));
	return access(path, R_OK | W_OK) == 0 ? BY_SYSFS : BY_CONTROL;
}

static int target_set(const struct target *t, bool on, struct err *e)
{
	return method_of(t) == BY_SYSFS ? sysfs_set(t, on, e) : control_set(t, on, e);
}

static int target_get(const struct target *t, bool *on, struct err *e)
{
	return method_of(t) == BY_SYSFS ? sysfs_get(t, on, e) : control_get(t, on, e);
}

/* The port and its other half, if it has one: *count of them. Given back by targets_close(). */
static int targets_open(struct hub_port *p, struct target targets[2], size_t *count, struct err *e)
{
	struct target *own = &targets[0], *peer = &targets[1];
	int ret = find_hub(p->hub, &own->info, e);

	*count = 0;
	own->h = p->usb.handle;
	own->port = p->port;
	own->method = p->method;
	if (ret)
		return ret;
	*count = 1;
	peer->h = NULL;
	if (!find_peer(own, peer))
		return 0;
	ret = usb_open(&peer->info, &peer->h, e);
	if (!ret)
		*count = 2;
	return ret;
}

static void targets_close(struct target targets[2], size_t count)
{
	if (count == 2)
		usb_close(targets[1].h);
}

static int target_verify(const struct target *t, bool on, struct err *e)
{
	bool reads;
	int ret = target_get(t, &reads, e);

	if (!ret && reads != on)
		ret = err_set(e, ERR_BENCH,
			"port %u of hub %s: set %s: read-back says %s: the hub does not switch "
			"this port, or another program switches it too",
			t->port, t->info.described, on_off(on), on_off(reads));
	return ret;
}

/* Sets (if asked to) and reads back every half. */
static int work_port(struct hub_port *p, bool set, bool on, struct err *e)
{
	struct target targets[2];
	size_t count;
	int ret = targets_open(p, targets, &count, e);

	for (size_t i = 0; set && !ret && i < count; i++)
		ret = target_set(&targets[i], on, e);
	for (size_t i = 0; !ret && i < count; i++)
		ret = target_verify(&targets[i], on, e);
	targets_close(targets, count);
	return ret;
}

static int work_verify(
	struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e)
{
	struct hub_port *p = hub_of(u);
	int ret = work_port(p, false, job->on, e);

	if (!ret)
		*result = json_pack("{s:s}", "verified", p->vbus_switched ? "read-back" : "none");
	return ret;
}

static int work_set(
	struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e)
{
	struct hub_port *p = hub_of(u);
	int ret = work_port(p, true, job->on, e);

	if (!ret)
		*result = json_pack("{s:s}", "verified", p->vbus_switched ? "read-back" : "none");
	return ret;
}

/* On when either half is: VBUS is then. */
static int read_port(struct hub_port *p, bool *on, enum method *method, struct err *e)
{
	struct target targets[2];
	size_t count;
	int ret = targets_open(p, targets, &count, e);

	*on = false;
	for (size_t i = 0; !ret && i < count; i++) {
		bool half = false;

		ret = target_get(&targets[i], &half, e);
		*on |= half;
		*method = method_of(&targets[0]);
	}
	targets_close(targets, count);
	return ret;
}

static int work_get(
	struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e)
{
	enum method method;
	bool on;
	int ret = read_port(hub_of(u), &on, &method, e);

	(void)job;
	if (!ret)
		*result = json_pack("{s:b}", "on", on);
	return ret;
}

static int work_check(
	struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e)
{
	struct hub_port *p = hub_of(u);
	enum method method = BY_CONTROL;
	char says[256];
	bool on;
	int ret = read_port(p, &on, &method, e);

	(void)job;
	if (ret)
		return ret;
	snprintf(says, sizeof(says), "%s reads %s, switched by %s", u->what, on_off(on),
		method == BY_SYSFS ? "the kernel (disable)" : "requests to the hub");
	*result = json_pack("{s:[s], s:[]}", "says", says, "mend");
	if (!p->vbus_switched)
		json_array_append_new(json_object_get(*result, "mend"),
			json_string("whether VBUS really goes is not known, many hubs only say so: "
				    "measure it once, then set vbus_switched = true; until then "
				    "the console must fall silent"));
	return 0;
}

static int work_open(
	struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e)
{
	enum method method;
	bool on;

	(void)job;
	(void)result;
	return read_port(hub_of(u), &on, &method, e);
}

/* --- the driver's operations, on the loop ----------------------------------------------------- */

static void hub_destroy(struct usb_instance *u)
{
	free(hub_of(u));
}

static const struct usb_instance_ops instance_ops = {hub_attach, hub_destroy};

/* "1-0" is another name of the root hub "usb1". */
static bool read_hub(const char *text, char *buf, size_t size)
{
	size_t bus = strspn(text, "0123456789");

	if (!*text || strlen(text) >= size - 3 || strspn(text, "0123456789-.usb") != strlen(text))
		return false;
	if (bus && strcmp(text + bus, "-0") == 0)
		snprintf(buf, size, "usb%.*s", (int)bus, text);
	else
		snprintf(buf, size, "%s", text);
	return true;
}

static int read_method(const char *text, enum method *method, struct err *e)
{
	static const char *const names[] = {"auto", "sysfs", "control"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(names[i], text) == 0) {
			*method = (enum method)i;
			return 0;
		}
	}
	return err_set(e, ERR_CONFIG, "method must be \"auto\", \"sysfs\" or \"control\"");
}

static int read_options(struct hub_port *p, json_t *opts, struct err *e)
{
	json_int_t port = json_integer_value(json_object_get(opts, "port"));
	json_int_t off_ms = json_integer_value(json_object_get(opts, "off_ms"));

	if (!read_hub(json_string_value(json_object_get(opts, "hub")), p->hub, sizeof(p->hub)))
		return err_set(e, ERR_CONFIG,
			"hub must be a bus and ports, such as 1-1.4, or usb1 for a root hub");
	if (port < 1 || port > PORTS_MAX)
		return err_set(e, ERR_CONFIG, "port must be 1 to %d", PORTS_MAX);
	if (off_ms < 0 || off_ms > OFF_MS_MAX)
		return err_set(e, ERR_CONFIG, "off_ms must be 0 to %d", OFF_MS_MAX);
	p->port = (unsigned)port;
	p->off_ms = (unsigned)off_ms;
	p->vbus_switched = json_is_true(json_object_get(opts, "vbus_switched"));
	return read_method(json_string_value(json_object_get(opts, "method")), &p->method, e);
}

static struct device *hub_create(const struct driver_env *env, json_t *opts, struct err *e)
{
	struct hub_port *p = calloc(1, sizeof(*p));

	if (!p) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	if (read_options(p, opts, e) != 0) {
		free(p);
		return NULL;
	}
	snprintf(p->usb.what, sizeof(p->usb.what), "port %u of hub %s", p->port, p->hub);
	usb_instance_init(&p->usb, env, &instance_ops);
	return &p->usb.dev;
}

static void hub_open(struct device *dev, struct op *op)
{
	const struct usb_job job = {.work = work_open};

	usb_instance_open(&hub_of_device(dev)->usb, &job, op);
}

static void hub_set(struct device *dev, bool on, struct op *op)
{
	struct hub_port *p = hub_of_device(dev);
	const struct usb_job job = {.work = work_set,
		.on = on,
		.settle_ms = on ? 0 : p->off_ms,
		.settled = work_verify};

	usb_instance_stop_settling(&p->usb);
	usb_instance_do(&p->usb, &job, op);
}

static void hub_get(struct device *dev, struct op *op)
{
	const struct usb_job job = {.work = work_get};

	usb_instance_do(&hub_of_device(dev)->usb, &job, op);
}

static void hub_make_safe(struct device *dev, struct op *op)
{
	const struct usb_job job = {.work = work_set, .on = false};

	usb_instance_make_safe(&hub_of_device(dev)->usb, &job, op);
}

static void hub_check(struct device *dev, struct op *op)
{
	const struct usb_job job = {.work = work_check};

	usb_instance_do(&hub_of_device(dev)->usb, &job, op);
}

static void hub_close(struct device *dev, void (*closed)(void *arg), void *arg)
{
	usb_instance_close(&hub_of_device(dev)->usb, closed, arg);
}

/* --- scan ------------------------------------------------------------------------------------- */

/* A hub that switches each port, or may do so. Of a USB 3 hub its USB 2 half stands for both. */
static void scan_one(const struct usb_info *info, json_t *found)
{
	struct usb_handle *h = NULL;
	char what[96], conf[128];
	bool switches = false;
	json_t *entry;
	struct err e;
	int opened = usb_open(info, &h, &e);

	if (!opened)
		check_switching(info, h, &switches, &e);
	usb_close(h);
	if (!opened && !switches)
		return;
	snprintf(what, sizeof(what), "USB hub %04x:%04x, %u ports%s", info->vendor, info->product,
		info->ports, switches ? ", each switched" : "");
	snprintf(conf, sizeof(conf),
		"power = { driver = \"usb-hub-port\", hub = \"%s\", port = 1 },", info->path);
	entry = json_pack("{s:s, s:s, s:s}", "what", what, "at", info->path, "conf", conf);
	if (opened)
		json_object_set_new(entry, "mend", json_string(e.msg));
	json_array_append_new(found, entry);
}

static int hub_scan(json_t *found, struct err *e)
{
	struct usb_info *list;
	size_t count;
	int ret = usb_list(&list, &count, e);

	for (size_t i = 0; !ret && i < count; i++)
		if (list[i].device_class == HUB_CLASS && list[i].protocol != SUPERSPEED)
			scan_one(&list[i], found);
	free(list);
	return ret;
}

static const struct power_ops power_ops = {hub_set, hub_get};

extern const struct driver driver_usb_hub_port;
const struct driver driver_usb_hub_port = {
	.name = "usb-hub-port",
	.help = "the power of a port of a USB hub that switches each port",
	.options = options,
	.create = hub_create,
	.open = hub_open,
	.make_safe = hub_make_safe,
	.close = hub_close,
	.check = hub_check,
	.scan = hub_scan,
	.power = &power_ops,
};
