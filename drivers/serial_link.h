/*
 * An open serial port: found, taken, set. Every function here may block for some milliseconds, and
 * for seconds when the device is stuck: serial_port.c calls them on a thread of the pool, but for
 * serial_link_lock() and serial_link_unlock().
 */
#ifndef DRIVERS_SERIAL_LINK_H
#define DRIVERS_SERIAL_LINK_H

#include "serial_find.h"
#include "serial_line.h"

struct serial_link {
	struct serial_place place;
	const struct serial_settings *settings; /* borrowed */
	bool shared;
	void *handle; /* the backend's */
	int fd;       /* the backend's; does not block */
	int lock_fd;  /* flock(2) is on this one; opened first, so that nobody's line is set anew */
	int latency_ms; /* of an FTDI chip; -1: it has no such timer */
	int latency_errno;
};

/*
 * Finds the port and opens it. Exclusively, unless shared: then others of this same program may
 * have it open too. ERR_GONE: it is not there now; ERR_BENCH. Nothing is left open on failure.
 */
int serial_link_open(struct serial_link *link, const struct serial_want *want,
	const struct serial_settings *settings, bool shared, struct err *e);

/* Closes it. What the kernel has not sent yet is given 300 ms, and is thrown away then: closing
 * would wait for it, up to 30 s where flow control stops it. */
void serial_link_close(struct serial_link *link);

/* For a shared one: takes it for an operation; false when another has it. */
bool serial_link_lock(struct serial_link *link);
void serial_link_unlock(struct serial_link *link);

/* Keeps a part of a shared device, such as a relay's channel, for this link until it is closed;
 * false when another has it. */
bool serial_link_claim(struct serial_link *link, unsigned part);

/* Who has path: ERR_BENCH that names the process when /proc tells. */
int serial_link_busy(const char *path, struct err *e);

/* What serial_port_check() tells of it. named_by_path: rig.conf names it by its file. */
void serial_link_check(struct serial_link *link, bool named_by_path, json_t *says, json_t *mend);

#endif
