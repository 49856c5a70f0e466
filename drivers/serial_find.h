/*
 * Which serial ports there are, from sysfs, and which of them is meant. libserialport knows neither
 * the interface's number nor the physical path. Blocks for some milliseconds; keeps no state.
 */
#ifndef DRIVERS_SERIAL_FIND_H
#define DRIVERS_SERIAL_FIND_H

#include "../rig/err.h"

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A port that is there. Texts are empty, numbers -1, where it has none. */
struct serial_place {
	char path[256];      /* /dev/ttyUSB0 */
	int vendor, product; /* USB ids */
	int interface;
	char serial[128];
	char usb_path[64]; /* of the interface: 1-1.4:1.0 */
	char product_name[128];
};

/* What a port is known by; as serial_place, and path as the user wrote it. */
struct serial_want {
	char path[PATH_MAX];
	int vendor, product, interface;
	char serial[128];
	char usb_path[64];
};

/* Where ports are looked for; tests have folders of their own. */
extern const char *serial_sys_dir; /* "/sys" */
extern const char *serial_dev_dir; /* "/dev" */

/* Takes the options of SERIAL_PORT_NAME_OPTIONS. ERR_CONFIG. */
int serial_want_parse(struct serial_want *want, const json_t *options, struct err *e);

/* How want reads in a message: "serial RIG1, interface 0". */
void serial_want_text(const struct serial_want *want, char *buf, size_t size);

/* How a place reads in a message: "/dev/ttyUSB0 (0403:6001, serial RIG1)". */
void serial_place_text(const struct serial_place *place, char *buf, size_t size);

/*
 * The ports there are, by path. *places is allocated; the caller frees it. Returns how many;
 * negative: ERR_BENCH, ERR_NOMEM.
 */
ssize_t serial_list(struct serial_place **places, struct err *e);

/*
 * The one port that is meant. ERR_GONE: there is none now, and the message lists what there is;
 * ERR_BENCH: several match, and the message says by which option they differ.
 */
int serial_find(const struct serial_want *want, struct serial_place *place, struct err *e);

/* What finds place again wherever it comes back; false: only its path does. */
bool serial_want_of(const struct serial_place *place, struct serial_want *want);

/* The options of rig.conf that name place alone among so many: "usb_serial = \"RIG1\"". */
void serial_place_conf(const struct serial_place *place, const struct serial_place *among,
	size_t count, char *buf, size_t size);

/*
 * Which other process has path open, as far as /proc tells: "picocom (pid 123)". Processes of this
 * same program are left out when ours is false. Returns whether there is one.
 */
bool serial_holder(const char *path, bool ours, char *buf, size_t size);

/* Why this user cannot open path, and what to do; empty when he can. */
void serial_permission(const char *path, char *buf, size_t size);

#endif
