/*
 * USB devices that are not there: a folder in place of /sys and /dev, and libusb's functions for
 * what is behind their nodes. Include it in one file of a test: its functions take the place of the
 * library's when the test is linked. Devices misbehave on demand.
 */
#ifndef TESTS_FAKE_USB_H
#define TESTS_FAKE_USB_H

#include "drivers/usb.h"
#include "scratch.h"

#include <libusb.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#define FAKE_USB_DEVICES 4
#define FAKE_USB_PORTS 4
#define FAKE_USB_POWER 0x0100
#define FAKE_USB_HELD 1000000 /* for good */

struct fake_usb_device {
	/* what it is */
	const char *path, *vendor, *product, *name, *device_class, *protocol;
	char id[6];     /* a relay board's */
	uint8_t relays; /* a relay board's, a bit each */
	unsigned mode;  /* a hub's logical power switching mode: 0 ganged, 1 each, 2 none */
	uint16_t status[FAKE_USB_PORTS + 1]; /* of a hub's ports, from 1 */
	bool plugged, kernel_driver;
	unsigned address;
	/* what it does wrong */
	bool mute;      /* no transfer is answered */
	bool denied;    /* it cannot be opened */
	bool stuck;     /* it takes what it is told, and does not do it */
	bool is_short;  /* its answers are cut short */
	unsigned noisy; /* the next so many transfers fail on the wire */
	unsigned held;  /* so many claims find another process there */
	/* what was done to it */
	unsigned opens, transfers, sets, claims, unclaimed;
	struct libusb_device_handle *claimed;
};

struct libusb_context {
	int contexts;
};

struct libusb_device_handle {
	struct fake_usb_device *device;
	unsigned address;
};

static struct {
	unsigned users;
	void *scratch;
	uv_mutex_t lock;
	uv_cond_t changed;
	struct fake_usb_device devices[FAKE_USB_DEVICES];
	struct libusb_context context;
	unsigned addresses, handles;
	bool no_discovery;
} fake_usb;

/* --- the folder --- */

static inline void fake_usb_attribute(
	const struct fake_usb_device *d, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "sys/bus/usb/devices/%s/%s", d->path, name);
	scratch_write(fake_usb.scratch, path, text);
}

/* A file of a hub's port in sysfs. */
static inline const char *fake_usb_port_file(
	const struct fake_usb_device *d, unsigned port, const char *name)
{
	static char path[256];

	if (strncmp(d->path, "usb", 3) == 0)
		snprintf(path, sizeof(path), "sys/bus/usb/devices/%s-0:1.0/%s-port%u/%s",
			d->path + 3, d->path, port, name);
	else
		snprintf(path, sizeof(path), "sys/bus/usb/devices/%s:1.0/%s-port%u/%s", d->path,
			d->path, port, name);
	return path;
}

static inline const char *fake_usb_node(const struct fake_usb_device *d)
{
	static char path[64];

	snprintf(path, sizeof(path), "dev/bus/usb/001/%03u", d->address);
	return path;
}

static inline void fake_usb_remove(const char *name)
{
	nftw(scratch_path(fake_usb.scratch, name), scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

/* Its folder, then its node, as the kernel does. */
static inline void fake_usb_plug(struct fake_usb_device *d)
{
	char number[16];

	uv_mutex_lock(&fake_usb.lock);
	d->address = ++fake_usb.addresses;
	d->plugged = true;
	uv_mutex_unlock(&fake_usb.lock);
	snprintf(number, sizeof(number), "%u\n", d->address);
	fake_usb_attribute(d, "busnum", "1\n");
	fake_usb_attribute(d, "devnum", number);
	fake_usb_attribute(d, "idVendor", d->vendor);
	fake_usb_attribute(d, "idProduct", d->product);
	fake_usb_attribute(d, "product", d->name);
	fake_usb_attribute(d, "bDeviceClass", d->device_class);
	fake_usb_attribute(d, "bDeviceProtocol", d->protocol ? d->protocol : "00\n");
	if (strcmp(d->device_class, "09\n") == 0) {
		fake_usb_attribute(d, "maxchild", "4\n");
		for (unsigned port = 1; port <= FAKE_USB_PORTS; port++)
			scratch_write(
				fake_usb.scratch, fake_usb_port_file(d, port, "disable"), "0\n");
	}
	snprintf(number, sizeof(number), "%u\n", (unsigned)(d - fake_usb.devices));
	scratch_write(fake_usb.scratch, fake_usb_node(d), number);
}

static inline void fake_usb_unplug(struct fake_usb_device *d)
{
	char path[256];

	uv_mutex_lock(&fake_usb.lock);
	d->plugged = false;
	uv_cond_broadcast(&fake_usb.changed);
	uv_mutex_unlock(&fake_usb.lock);
	snprintf(path, sizeof(path), "sys/bus/usb/devices/%s", d->path);
	fake_usb_remove(path);
	snprintf(path, sizeof(path), "sys/bus/usb/devices/%s:1.0", d->path);
	fake_usb_remove(path);
	fake_usb_remove(fake_usb_node(d));
}

/* Changes what a device does wrong; what waits for it looks again. */
static inline void fake_usb_set(bool *what, bool value)
{
	uv_mutex_lock(&fake_usb.lock);
	*what = value;
	uv_cond_broadcast(&fake_usb.changed);
	uv_mutex_unlock(&fake_usb.lock);
}

static inline void fake_usb_count(unsigned *what, unsigned value)
{
	uv_mutex_lock(&fake_usb.lock);
	*what = value;
	uv_mutex_unlock(&fake_usb.lock);
}

/* Which relays are on, while the driver may be at work. */
static inline unsigned fake_usb_relays(const struct fake_usb_device *d)
{
	unsigned relays;

	uv_mutex_lock(&fake_usb.lock);
	relays = d->relays;
	uv_mutex_unlock(&fake_usb.lock);
	return relays;
}

/* A device that works again, and is plugged in. */
static inline void fake_usb_mend(struct fake_usb_device *d)
{
	uv_mutex_lock(&fake_usb.lock);
	d->mute = d->denied = d->stuck = d->is_short = false;
	d->noisy = d->held = 0;
	uv_cond_broadcast(&fake_usb.changed);
	uv_mutex_unlock(&fake_usb.lock);
	if (!d->plugged)
		fake_usb_plug(d);
}

/* One host for all who set it up at a time. */
static inline void fake_usb_setup(void)
{
	if (fake_usb.users++)
		return;
	memset(fake_usb.devices, 0, sizeof(fake_usb.devices));
	fake_usb.addresses = 1;
	uv_mutex_init(&fake_usb.lock);
	uv_cond_init(&fake_usb.changed);
	assert_int_equal(scratch_setup(&fake_usb.scratch), 0);
	scratch_write(fake_usb.scratch, "sys/bus/usb/devices/1-9:1.0/bInterfaceClass", "ff\n");
	scratch_write(fake_usb.scratch, "dev/bus/usb/001/001", "");
	usb_set_root(((struct scratch *)fake_usb.scratch)->dir);
}

static inline void fake_usb_teardown(void)
{
	if (--fake_usb.users)
		return;
	assert_int_equal(fake_usb.handles, 0);
	assert_int_equal(fake_usb.context.contexts, 0);
	usb_set_root(NULL);
	uv_mutex_destroy(&fake_usb.lock);
	uv_cond_destroy(&fake_usb.changed);
	scratch_teardown(&fake_usb.scratch);
}

static inline struct fake_usb_device *fake_usb_relay(unsigned at, const char *path, const char *id)
{
	struct fake_usb_device *d = &fake_usb.devices[at];

	if (d->path)
		return d;
	*d = (struct fake_usb_device){.path = path,
		.vendor = "16c0\n",
		.product = "05df\n",
		.name = "USBRelay2\n",
		.device_class = "00\n",
		.kernel_driver = true};
	snprintf(d->id, sizeof(d->id), "%s", id);
	fake_usb_plug(d);
	return d;
}

static inline struct fake_usb_device *fake_usb_hub(unsigned at, const char *path)
{
	struct fake_usb_device *d = &fake_usb.devices[at];

	if (d->path)
		return d;
	*d = (struct fake_usb_device){.path = path,
		.vendor = "0409\n",
		.product = "55aa\n",
		.name = "QEMU USB Hub\n",
		.device_class = "09\n",
		.mode = 1};
	for (unsigned port = 1; port <= FAKE_USB_PORTS; port++)
		d->status[port] = FAKE_USB_POWER;
	fake_usb_plug(d);
	return d;
}

/* --- what is behind the nodes --- */

static inline int fake_usb_relay_transfer(
	struct fake_usb_device *d, uint8_t type, uint8_t request, uint8_t *data, uint16_t len)
{
	if (type == 0xa1 && request == 0x01 && len == 8) {
		memset(data, 0, len);
		memcpy(data, d->id, 5);
		data[7] = d->relays;
		return d->is_short ? 7 : 8;
	}
	if (type != 0x21 || request != 0x09 || len != 8)
		return LIBUSB_ERROR_PIPE;
	d->sets++;
	if (d->stuck)
		return len;
	if (data[0] == 0xff)
		d->relays |= (uint8_t)(1U << (data[1] - 1));
	else if (data[0] == 0xfd)
		d->relays &= (uint8_t) ~(1U << (data[1] - 1));
	else
		return LIBUSB_ERROR_PIPE;
	return len;
}

static inline int fake_usb_hub_transfer(struct fake_usb_device *d, uint8_t type, uint8_t request,
	uint16_t value, uint16_t port, uint8_t *data, uint16_t len)
{
	if (type == 0xa0 && request == 6 && (value == 0x2900 || value == 0x2a00)) {
		const uint8_t descriptor[9] = {
			9, 0x29, FAKE_USB_PORTS, (uint8_t)d->mode, 0, 50, 0, 0, 0xff};

		assert_true(len >= sizeof(descriptor));
		memcpy(data, descriptor, sizeof(descriptor));
		return d->is_short ? 4 : (int)sizeof(descriptor);
	}
	if (port < 1 || port > FAKE_USB_PORTS)
		return LIBUSB_ERROR_PIPE;
	if (type == 0xa3 && request == 0 && len == 4) {
		memset(data, 0, len);
		data[0] = (uint8_t)d->status[port];
		data[1] = (uint8_t)(d->status[port] >> 8);
		return d->is_short ? 2 : 4;
	}
	if (type != 0x23 || value != 8 || len != 0 || (request != 1 && request != 3))
		return LIBUSB_ERROR_PIPE;
	d->sets++;
	if (!d->stuck) {
		uint16_t power = d->protocol ? FAKE_USB_POWER << 1 : FAKE_USB_POWER;

		d->status[port] = (uint16_t)(request == 3 ? d->status[port] | power
							  : d->status[port] & ~power);
	}
	return 0;
}

static inline bool fake_usb_has_left(const libusb_device_handle *h)
{
	return !h->device->plugged || h->device->address != h->address;
}

/* With the lock held: 0 when the device answers. */
static inline int fake_usb_answers(const libusb_device_handle *h, unsigned timeout_ms)
{
	uint64_t until = uv_hrtime() + timeout_ms * UINT64_C(1000000), now;

	while (!fake_usb_has_left(h) && h->device->mute && (now = uv_hrtime()) < until)
		uv_cond_timedwait(&fake_usb.changed, &fake_usb.lock, until - now);
	if (fake_usb_has_left(h))
		return LIBUSB_ERROR_NO_DEVICE;
	if (h->device->mute)
		return LIBUSB_ERROR_TIMEOUT;
	if (!h->device->noisy)
		return 0;
	h->device->noisy--;
	return LIBUSB_ERROR_IO;
}

int libusb_control_transfer(libusb_device_handle *h, uint8_t type, uint8_t request, uint16_t value,
	uint16_t index, unsigned char *data, uint16_t len, unsigned timeout_ms)
{
	struct fake_usb_device *d = h->device;
	int n;

	uv_mutex_lock(&fake_usb.lock);
	d->transfers++;
	uv_cond_broadcast(&fake_usb.changed);
	n = fake_usb_answers(h, timeout_ms);
	if (!n && (type & 0x1f) == LIBUSB_RECIPIENT_INTERFACE && d->claimed != h)
		d->unclaimed++;
	if (!n)
		n = strcmp(d->device_class, "09\n") == 0
			    ? fake_usb_hub_transfer(d, type, request, value, index, data, len)
			    : fake_usb_relay_transfer(d, type, request, data, len);
	uv_mutex_unlock(&fake_usb.lock);
	return n;
}

int libusb_set_option(libusb_context *context, enum libusb_option option, ...)
{
	assert_null(context);
	fake_usb.no_discovery |= option == LIBUSB_OPTION_NO_DEVICE_DISCOVERY;
	return 0;
}

int libusb_init(libusb_context **context)
{
	fake_usb.context.contexts++;
	*context = &fake_usb.context;
	return 0;
}

void libusb_exit(libusb_context *context)
{
	context->contexts--;
}

int libusb_wrap_sys_device(libusb_context *context, intptr_t fd, libusb_device_handle **handle)
{
	struct fake_usb_device *d;
	char number[16] = "";
	int ret = 0;

	assert_ptr_equal(context, &fake_usb.context);
	assert_true(pread((int)fd, number, sizeof(number) - 1, 0) > 0);
	d = &fake_usb.devices[strtoul(number, NULL, 10)];
	uv_mutex_lock(&fake_usb.lock);
	if (d->denied)
		ret = LIBUSB_ERROR_ACCESS;
	else if (!d->plugged)
		ret = LIBUSB_ERROR_NO_DEVICE;
	if (!ret) {
		*handle = malloc(sizeof(**handle));
		**handle = (struct libusb_device_handle){d, d->address};
		d->opens++;
		fake_usb.handles++;
	}
	uv_mutex_unlock(&fake_usb.lock);
	return ret;
}

void libusb_close(libusb_device_handle *h)
{
	uv_mutex_lock(&fake_usb.lock);
	if (h->device->claimed == h)
		h->device->claimed = NULL;
	fake_usb.handles--;
	uv_mutex_unlock(&fake_usb.lock);
	free(h);
}

int libusb_kernel_driver_active(libusb_device_handle *h, int interface)
{
	assert_int_equal(interface, 0);
	return fake_usb_has_left(h) ? LIBUSB_ERROR_NO_DEVICE : h->device->kernel_driver;
}

int libusb_detach_kernel_driver(libusb_device_handle *h, int interface)
{
	(void)interface;
	h->device->kernel_driver = false;
	return 0;
}

int libusb_claim_interface(libusb_device_handle *h, int interface)
{
	struct fake_usb_device *d = h->device;
	int ret = 0;

	(void)interface;
	uv_mutex_lock(&fake_usb.lock);
	d->claims++;
	uv_cond_broadcast(&fake_usb.changed);
	if (fake_usb_has_left(h)) {
		ret = LIBUSB_ERROR_NO_DEVICE;
	} else if (d->kernel_driver || d->held || (d->claimed && d->claimed != h)) {
		ret = LIBUSB_ERROR_BUSY;
		if (d->held && d->held != FAKE_USB_HELD)
			d->held--;
	} else {
		d->claimed = h;
	}
	uv_mutex_unlock(&fake_usb.lock);
	return ret;
}

int libusb_release_interface(libusb_device_handle *h, int interface)
{
	(void)interface;
	uv_mutex_lock(&fake_usb.lock);
	if (h->device->claimed == h)
		h->device->claimed = NULL;
	uv_mutex_unlock(&fake_usb.lock);
	return 0;
}

const char *libusb_error_name(int code)
{
	return code == LIBUSB_ERROR_IO ? "LIBUSB_ERROR_IO" : "LIBUSB_ERROR_OTHER";
}

#endif
