/*
 * What the drivers of USB devices share: finding a device in sysfs, one handle per device and
 * process, control transfers through libusb, and errors that name the mend.
 *
 * Devices are found in sysfs and opened by their node (libusb_wrap_sys_device), so nothing here
 * needs a running udevd, and libusb enumerates nothing. Every function but usb_set_root(),
 * usb_node() and usb_watch_*() blocks, for at most the times said at each: they are for libuv's
 * threads (usb_instance.h) and for scan().
 */
#ifndef DRIVERS_USB_H
#define DRIVERS_USB_H

#include "../rig/err.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define USB_TRANSFER_MS 1000 /* what one control transfer may take */
#define USB_CLAIM_MS 3000    /* how long another process may hold an interface that is wanted */

/* A device as sysfs shows it. */
struct usb_info {
	char path[32]; /* bus and ports: "1-1.4"; a root hub is "usb1" */
	unsigned bus, address;
	unsigned vendor, product;
	unsigned device_class, protocol;
	unsigned ports;     /* of a hub */
	char serial[128];   /* of the USB descriptor; "" when it has none */
	char name[128];     /* its product string; "" when it has none */
	char described[64]; /* "16c0:05df at 1-1.4" for messages */
};

/* An open device, shared by all who open it in this process. */
struct usb_handle;

/* Where /sys and /dev are looked for: a folder of a test's. NULL: the host's own. Borrowed. */
void usb_set_root(const char *root);

/* root + fmt in buf; cut short when longer. */
void usb_path(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The device's node, /dev/bus/usb/BBB/DDD. */
void usb_node(char *buf, size_t size, unsigned bus, unsigned address);

/*
 * All USB devices of this host, ordered by path, in *list; the caller frees it. Takes some
 * milliseconds. A device that goes away meanwhile is left out. No USB at all is an empty list.
 * ERR_NOMEM, ERR_IO.
 */
int usb_list(struct usb_info **list, size_t *count, struct err *e);

/* The first line of a file in sysfs. ERR_BENCH when it cannot be read, ERR_GONE when it is not
 * there. */
int usb_read_attribute(const char *path, char *buf, size_t size, struct err *e);

/*
 * Opens a device, or takes another reference to it when this process has it open. Takes 1 s at
 * most. ERR_BENCH: no permission (the message names the udev rules), or the device is gone.
 */
int usb_open(const struct usb_info *info, struct usb_handle **h, struct err *e);

/* Gives one reference back; the last one closes. NULL is accepted. */
void usb_close(struct usb_handle *h);

/* Whether a transfer has found the device gone; every further one fails. */
bool usb_is_gone(const struct usb_handle *h);

/*
 * Claims an interface, after taking the kernel's driver off it, and keeps others in this process
 * from using the handle until usb_unclaim(). While another process holds the interface it is tried
 * again, for within_ms at most or until *abandoned (may be NULL); then ERR_BUSY.
 *
 * The kernel wants a claim for control transfers to an interface; held only for the length of one
 * operation, several keepers can use the channels of one relay board.
 */
int usb_claim(struct usb_handle *h, int interface, unsigned within_ms, const atomic_bool *abandoned,
	struct err *e);
void usb_unclaim(struct usb_handle *h, int interface);

struct usb_request {
	uint8_t type, request; /* bmRequestType, bRequest (USB 2.0, 9.3) */
	uint16_t value, index;
	const char *what; /* for messages: "GET_REPORT" */
};

/*
 * One control transfer of len bytes in the direction of type. Returns the bytes transferred, or the
 * negative of ERR_BENCH. A transfer that failed on the wire is tried once more: the requests made
 * here can be repeated.
 */
int usb_control(struct usb_handle *h, const struct usb_request *request, uint8_t *data,
	uint16_t len, struct err *e);

/*
 * Tells that device nodes have come, gone or changed their permissions: inotify on /dev/bus/usb,
 * which needs neither udevd nor privileges. On the loop. A host without these folders, or out of
 * inotify instances, is told of nothing.
 */
struct usb_watch {
	uv_poll_t poll; /* first: the handle is this; its data is the user's */
	int fd;         /* -1: not watching */
	void (*changed)(void *arg);
	void *arg;
};

void usb_watch_init(struct usb_watch *w);
/* Once per watch. w must stay until closed() has been called. */
void usb_watch_start(struct usb_watch *w, uv_loop_t *loop, void (*changed)(void *arg), void *arg);
/* Whether poll was closed and closed() will be called with it (from the loop); else there was
 * nothing to close. */
bool usb_watch_stop(struct usb_watch *w, uv_close_cb closed);

#endif
