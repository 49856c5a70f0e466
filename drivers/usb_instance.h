/*
 * What the instances of the USB drivers have in common: their blocking work is done in order on
 * libuv's threads, a device that goes away is told ("lost") and taken up again when it is back
 * ("back").
 *
 * A driver's instance begins with struct usb_instance. Its functions that are called on a thread
 * may use the instance freely: only one runs at a time, and the loop keeps away from what they use
 * meanwhile.
 */
#ifndef DRIVERS_USB_INSTANCE_H
#define DRIVERS_USB_INSTANCE_H

#include "driver.h"
#include "usb.h"

struct usb_instance;

/* One operation's work. */
struct usb_job {
	/* On a thread: 0 with *result set (stolen; NULL: none), or a negative code with *e. */
	int (*work)(
		struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e);
	unsigned settle_ms; /* after work has succeeded the operation goes on after so long … */
	/* … with this, if it is not NULL, whose result is the operation's. */
	int (*settled)(
		struct usb_instance *u, const struct usb_job *job, json_t **result, struct err *e);
	bool on;               /* the driver's own: what is set */
	atomic_bool abandoned; /* nobody waits for it any more: work may give up */
};

struct usb_instance_ops {
	/*
	 * On a thread: finds the device and opens it; sets u->handle and u->what. Called when
	 * u->handle is NULL, before any work, and again when the device is back.
	 */
	int (*attach)(struct usb_instance *u, const atomic_bool *abandoned, struct err *e);
	/* Frees the instance. */
	void (*destroy)(struct usb_instance *u);
};

struct usb_queued; /* a job with its operation */

struct usb_instance {
	struct device dev;
	struct driver_env env;
	const struct usb_instance_ops *ops;
	/* the device, for attach and work */
	struct usb_handle *handle; /* NULL: not attached */
	unsigned bus, address;     /* of the handle; set by usb_instance_take() */
	char what[128];            /* for messages: "relay board 6QMBS at 1-1.4" */
	/* the rest is the loop's */
	struct usb_queued *first, *last; /* first is running, settling or about to run */
	uv_work_t work;
	bool running;    /* on a thread */
	bool letting_go; /* it closes the device; set before it begins */
	bool looking;    /* a node has changed while it ran */
	bool opened;     /* once with success */
	bool lost;
	unsigned tries; /* left to take it up again */
	uv_timer_t settle, again;
	struct usb_watch watch;
	bool watching, closing;
	unsigned handles; /* that are still to be closed */
	void (*closed)(void *arg);
	void *closed_arg;
};

/* Does not allocate and cannot fail; afterwards only close ends it. */
void usb_instance_init(
	struct usb_instance *u, const struct driver_env *env, const struct usb_instance_ops *ops);

/* On a thread, in attach: h becomes the instance's handle. */
void usb_instance_take(struct usb_instance *u, struct usb_handle *h, const struct usb_info *info);

/* Does job (copied) when all before it is done, and completes op. */
void usb_instance_do(struct usb_instance *u, const struct usb_job *job, struct op *op);

/* As driver.h's open: attaches, and does job's work. */
void usb_instance_open(struct usb_instance *u, const struct usb_job *job, struct op *op);

/* What is settling fails, and what was asked for before now will not settle: something newer is
 * asked for. */
void usb_instance_stop_settling(struct usb_instance *u);

/* As driver.h's make_safe: fails all that is under way, then does job. */
void usb_instance_make_safe(struct usb_instance *u, const struct usb_job *job, struct op *op);

/* As driver.h's close. */
void usb_instance_close(struct usb_instance *u, void (*closed)(void *arg), void *arg);

#endif
