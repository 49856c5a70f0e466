/*
 * How a serial line is set, and the few calls that set it: libserialport's, or in tests a
 * stand-in's.
 */
#ifndef DRIVERS_SERIAL_LINE_H
#define DRIVERS_SERIAL_LINE_H

#include "../rig/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum serial_parity { SERIAL_PARITY_NONE, SERIAL_PARITY_EVEN, SERIAL_PARITY_ODD };
enum serial_flow { SERIAL_FLOW_NONE, SERIAL_FLOW_RTSCTS, SERIAL_FLOW_XONXOFF };

struct serial_settings {
	int baud, data_bits, stop_bits;
	enum serial_parity parity;
	enum serial_flow flow;
	bool dtr, rts; /* as they shall be once it is open */
};

/* What the kernel has counted on a line since it was set up (TIOCGICOUNT). */
struct serial_counts {
	int frame, parity;
	int overrun;     /* bytes that the UART lost */
	int buf_overrun; /* bytes that the kernel lost */
	int breaks;
};

/* All but counts() may block for some milliseconds, and for seconds when the device is stuck: they
 * are called on a thread of the pool. */
struct serial_backend {
	/* Opens and sets a port. Returns its descriptor, which does not block and is close()'s to
	 * close. Negative: ERR_BENCH. */
	int (*open)(const char *path, const struct serial_settings *settings, void **handle,
		struct err *e);
	/* Each 0, 1, or -1: stays as it is. */
	int (*lines)(void *handle, int dtr, int rts, int brk, struct err *e);
	/* false: this driver does not count. */
	bool (*counts)(int fd, struct serial_counts *counts);
	void (*close)(void *handle);
};

extern const struct serial_backend serial_backend_libserialport;
extern const struct serial_backend *serial_backend;

/* Takes the options of SERIAL_PORT_LINE_OPTIONS, with 115200 8N1 for those that are missing.
 * ERR_CONFIG. */
int serial_settings_parse(struct serial_settings *settings, const json_t *options, struct err *e);

/* "115200 8N1", "3000000 8N1 rtscts". */
void serial_settings_text(const struct serial_settings *settings, char *buf, size_t size);

#endif
