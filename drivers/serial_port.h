/*
 * A serial port for drivers: found by what does not change, opened for this process alone, read and
 * written without blocking the loop, noticed when it is unplugged and taken up again when it is
 * back.
 *
 * Blocking calls (finding, opening, setting lines, closing) are done on libuv's thread pool. A port
 * that went away is taken up again at the kernel's word that a device came (inotify on /dev); a
 * slow timer stands in where that says nothing, as when another process held it.
 *
 * A port is opened with flock(2) and TIOCEXCL. One that is shared is opened without, and is used
 * between serial_port_lock() and serial_port_unlock() only: several boards, in this process or in
 * others, have each a serial_port of their own on one device then.
 */
#ifndef DRIVERS_SERIAL_PORT_H
#define DRIVERS_SERIAL_PORT_H

#include "driver.h"

struct serial_port;

/* Options by which a driver lets its user name a port; part of its list of options. */
#define SERIAL_PORT_NAME_OPTIONS                                                                   \
	{"usb_serial", OPTION_STRING, false, NULL, "the USB device's serial number"},              \
		{"usb_vendor", OPTION_INTEGER, false, NULL, "its USB vendor id, as 0x0403"},       \
		{"usb_product", OPTION_INTEGER, false, NULL, "its USB product id, as 0x6001"},     \
		{"interface", OPTION_INTEGER, false, NULL,                                         \
			"the port's USB interface number, where the device has several ports"},    \
		{"usb_path", OPTION_STRING, false, NULL,                                           \
			"where it is plugged in: 1-1.4, or 1-1.4:1.0 with the interface"},         \
	{                                                                                          \
		"path", OPTION_STRING, false, NULL,                                                \
			"its file: a port that is not on USB, or "                                 \
			"/dev/serial/by-id/…"                                                    \
	}

/* Options by which it lets its user set the line; BAUD is the default, as text. All are optional to
 * serial_port_create() too. */
#define SERIAL_PORT_LINE_OPTIONS(BAUD)                                                             \
	{"baud", OPTION_INTEGER, false, BAUD, "bits a second, 50 to 4000000"},                     \
		{"data_bits", OPTION_INTEGER, false, "8", "5 to 8"},                               \
		{"parity", OPTION_STRING, false, "none", "none, even or odd"},                     \
		{"stop_bits", OPTION_INTEGER, false, "1", "1 or 2"},                               \
		{"flow", OPTION_STRING, false, "none", "flow control: none, rtscts or xonxoff"},   \
		{"dtr", OPTION_BOOLEAN, false, "true", "whether DTR is asserted once it is open"}, \
	{                                                                                          \
		"rts", OPTION_BOOLEAN, false, "true",                                              \
			"whether RTS is asserted once it is open (not with rtscts)"                \
	}

/* What the owner is told; each may be NULL. None is called once serial_port_close() has returned.
 */
struct serial_port_handlers {
	/* Bytes that came in. Borrowed for the call. */
	void (*bytes)(void *arg, const char *data, size_t len);
	/* The port went away; what was under way on it fails ERR_BENCH after this returns. reason
	 * is one line that names the port. Not called while it is being opened the first time. */
	void (*lost)(void *arg, const char *reason);
	/* It is there again and open, gone_ms milliseconds after it was lost. */
	void (*back)(void *arg, const char *name, uint64_t gone_ms);
	/* Something a person should read: bytes that the kernel counts as lost or damaged. */
	void (*note)(void *arg, const char *text);
};

struct serial_port_conf {
	uv_loop_t *loop;
	/* As a driver's create() got them; those of other names are left alone. Borrowed for the
	 * call. */
	json_t *options;
	bool shared;
	/* The port is the DUT's own and goes with its power: open succeeds also while it is not
	 * there, it is taken up when it comes, and what fails meanwhile fails ERR_DUT. */
	bool may_be_absent;
	const struct serial_port_handlers *handlers; /* outlive the port */
	void *arg;
};

/* Whether options name a port at all (usb_serial, usb_vendor, usb_product, usb_path or path). */
bool serial_port_named(const json_t *options);

/* Checks the options; no I/O. NULL: ERR_CONFIG says which is wrong and what it may be, or
 * ERR_NOMEM. Ended by serial_port_close() only. */
struct serial_port *serial_port_create(const struct serial_port_conf *conf, struct err *e);

/*
 * Finds and opens the port. op may be cancelled: the port is let go of then. Already open, it is
 * done at once; gone, it is tried again now. ERR_BENCH: none or several match (the message lists
 * what is there), another process holds it (which one, when /proc tells), no permission (what to
 * do), the settings are not taken.
 */
void serial_port_open(struct serial_port *port, struct op *op);

/* Whether it is open and was not lost. */
bool serial_port_is_open(const struct serial_port *port);

/* "/dev/ttyUSB0 (0403:6001, serial RIG1)", or as it was asked for before it was found. Valid till
 * the next turn of the loop. */
const char *serial_port_name(const struct serial_port *port);

/*
 * Sends bytes, after those that wait already; done when the kernel has taken the last. data is
 * borrowed for the call. Cancelled, what the kernel has not taken is not sent. ERR_BENCH when the
 * port is not open or goes away. op may be NULL: then nobody hears of it.
 */
void serial_port_write(struct serial_port *port, const char *data, size_t len, struct op *op);

/* Delivers, before it returns, every byte that has arrived at this host. */
void serial_port_drain(struct serial_port *port);

/*
 * Sets lines as modem_ops.set. Cancelled in the middle of a break, the break ends. ERR_USAGE for
 * what lines must not hold, ERR_BUSY while the lines are being set already, ERR_BENCH.
 */
void serial_port_set_lines(struct serial_port *port, json_t *lines, struct op *op);

/* Ends a break and gives DTR and RTS the state that the options say. Done at once when the port is
 * not open. */
void serial_port_reset_lines(struct serial_port *port, struct op *op);

/*
 * For a shared port: waits until nobody else uses it, throws away what came in before, and has
 * bytes delivered from now on. Waits at most within_ms (ERR_BENCH names who has it); done within
 * the call when it is free. serial_port_unlock() ends it; losing the port does too. One lock at a
 * time.
 */
void serial_port_lock(struct serial_port *port, unsigned within_ms, struct op *op);
void serial_port_unlock(struct serial_port *port);

/* For a shared port that is open: keeps a part of the device, such as a relay's channel, for this
 * one until it is closed or lost. what names such a part in the message. ERR_BENCH when another has
 * it.
 */
int serial_port_claim(struct serial_port *port, unsigned part, const char *what, struct err *e);

/*
 * Completes op as driver.check does, {"says": […], "mend": […]}: what port it is and how it is set;
 * and what to mend: the latency timer that could not be set, a name that may change, a line that is
 * not as flow control wants it. For a driver to complete its own check with, or to add to.
 */
void serial_port_check(struct serial_port *port, struct op *op);

/* The scan of a driver whose ports are those that wanted() says, or all when it is NULL: appends an
 * entry a port. conf is a line of rig.conf with %s where the port's options go. */
int serial_port_scan(
	json_t *found, bool (*wanted)(int vendor, int product), const char *conf, struct err *e);

/* Fails what is under way with ERR_GONE, closes and frees the port, then calls closed. Bytes that
 * the kernel has not sent yet are given 300 ms. */
void serial_port_close(struct serial_port *port, void (*closed)(void *arg), void *arg);

#endif
