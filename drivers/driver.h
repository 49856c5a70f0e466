/*
 * What a driver is.
 *
 * One file per kind of device, one constant descriptor, one line in drivers.c. A driver knows its
 * own device, the loop and this header; nothing of Lua, the journal or other drivers.
 *
 * Rules
 * - No function blocks. What takes time gets a struct op and completes it exactly once, with
 *   op_done() or op_fail(); the core owns the deadline (rig/op.h), and a driver whose operation can
 *   be abandoned registers op_on_cancel().
 * - State lives in the instance. A driver can be opened many times in one process.
 * - create() allocates, checks options against each other and does no I/O. open() does the I/O;
 * when it fails, the core still calls close(). close() never fails, may be called at any time after
 * create(), fails operations under way with ERR_GONE and frees the instance before it calls
 * closed().
 * - Messages name the device and what to do; the core puts "board B: power (virtual): " before
 * them.
 * - An error of the bench is ERR_BENCH; ERR_DUT is for what the DUT itself got wrong.
 */
#ifndef DRIVER_H
#define DRIVER_H

#include "../rig/err.h"
#include "../rig/op.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct console_port;
struct probe_port;

enum driver_option_type {
	OPTION_STRING,
	OPTION_INTEGER,
	OPTION_BOOLEAN,
	OPTION_NUMBER, /* whole or not */
	OPTION_LIST,   /* of strings and whole numbers, at least one */
};

/* The only source for validation, `rig drivers` and the docs. A list ends with name NULL. */
struct driver_option {
	const char *name;
	enum driver_option_type type;
	bool required;
	const char *fallback; /* as it would be written in rig.conf; NULL: none */
	const char *help;     /* one line */
};

/* What the core gives an instance; all of it outlives the instance and is borrowed. */
struct driver_env {
	uv_loop_t *loop;
	const char *board;      /* the board's name */
	const char *capability; /* what this instance was opened for: "power", "console" … */
	const char *board_dir;  /* absolute folder kept for this board over runs; exists */
	const char *log_dir;    /* absolute folder for this lease's logs; exists */
	json_t *board_conf; /* the board as config resolved it (docs/protocol.md): flash, regions,
			       openocd … */
	struct console_port
		*console; /* the board's console, for a driver with .needs_console; else NULL */
	struct probe_port *probe; /* the board's probe, for a driver with .needs_probe; else NULL */
	/* Bytes that came in from a console. Only for a driver that offers console. */
	void (*console_in)(void *arg, const char *data, size_t len);
	/* An event of the device: "trigger" (fired; fields op, kind, address, cut), "lost" (the
	 * device went away; field reason: the driver fails what is under way on it, and nothing
	 * more is asked of it), "back" (it is there again and works; field text), "note" (field
	 * text: worth a line in the journal). Steals fields. A trigger that has taken the power
	 * itself may add drained, as power_ops.set; one that knows when it happened adds t_ns, by
	 * uv_hrtime()'s clock. */
	void (*event)(void *arg, const char *name, json_t *fields);
	void *arg; /* for the two above */
};

/* Every instance begins with this. */
struct device {
	const struct driver *driver;
};

struct power_ops {
	/* Result {"verified": "read-back"|"none"}: how it is known that the power is so;
	 * "read-back" only where that was measured, and is not just what was asked for. Off may
	 * add "drained": true: every byte that the DUT had sent to the console is on this host, so
	 * that one that comes later was sent without power. */
	void (*set)(struct device *dev, bool on, struct op *op);
	/* Result {"on": bool}. ERR_UNSUPPORTED: it cannot be asked. */
	void (*get)(struct device *dev, struct op *op);
};

/* A supply whose voltage can be set; of a driver that offers power too. */
struct supply_ops {
	/* Goes from the voltage it has to volts within ramp_ms (0: at once). Completes when it is
	 * there: {"volts": as measured}. The next power on finds the voltage of rig.conf again. */
	void (*set_volts)(struct device *dev, double volts, unsigned ramp_ms, struct op *op);
};

struct meter_ops {
	/* Result {"volts": x or null, "amps": x or null}: what the DUT gets now. */
	void (*measure)(struct device *dev, struct op *op);
};

/* A line of the DUT's: reset, or a strap that says how it boots. */
struct line_ops {
	/* Asserts it (reset is held, the strap is set), or lets go of it. Safe: let go. */
	void (*set)(struct device *dev, bool on, struct op *op);
	/* Result {"on": bool}. */
	void (*get)(struct device *dev, struct op *op);
};

/* Lines of a serial port; of a driver that offers console too. */
struct modem_ops {
	/* lines: any of {"dtr": bool, "rts": bool, "break_ms": n}; completes when that is done. */
	void (*set)(struct device *dev, json_t *lines, struct op *op);
};

struct console_ops {
	/* Completes when the bytes are handed over. data is borrowed for the call only. */
	void (*write)(struct device *dev, const char *data, size_t len, struct op *op);
	/* Delivers through console_in, before it returns, every byte that has already arrived at
	 * this host. */
	void (*drain)(struct device *dev);
};

/*
 * A debug probe. Starting one holds the DUT's debug port; release lets go of it, so that the DUT
 * runs as it does without one; the next operation takes it up again. Addresses and sizes in bytes.
 */
struct probe_ops {
	/*
	 * Makes flash hold exactly the given contents and verifies by reading back. spec:
	 * {"segments": [{"address": A, "path": FILE}], "erase": [[address, size], …]}. Files are
	 * raw binary. Erase ranges and segment rests of a page become 0xff. Pages that hold the
	 * wanted bytes already are not touched. Result {"pages_written": n, "pages_kept": n,
	 * "bytes_written": n, "pages": [[first page, pages], …]}: pages lists what was erased,
	 * numbered from the start of flash, and is what counts as wear; without it nothing does.
	 */
	void (*program)(struct device *dev, json_t *spec, struct op *op);
	/* Compares flash with the file's bytes. Result {"same": bool, "first_difference": address}.
	 */
	void (*verify)(struct device *dev, uint32_t address, const char *path, struct op *op);
	/* Reads memory into a file that is created or replaced. */
	void (*read)(struct device *dev, uint32_t address, uint32_t size, const char *path,
		struct op *op);
	/* Writes one word of memory, or of flash when it lies there (through the flash driver):
	 * then the result has "pages", as program's. */
	void (*write_word)(struct device *dev, uint32_t address, uint32_t value, struct op *op);
	void (*halt)(struct device *dev, struct op *op);
	void (*resume)(struct device *dev, struct op *op);
	/* halt true: stops before the first instruction. */
	void (*reset)(struct device *dev, bool halt, struct op *op);
	/* Holds (true) or frees the DUT's reset line, also while the DUT has no power. */
	void (*hold_reset)(struct device *dev, bool hold, struct op *op);
	void (*breakpoint)(struct device *dev, uint32_t address, bool set, struct op *op);
	/* Lets go of the debug port. Completes when the DUT is free of it. */
	void (*release)(struct device *dev, struct op *op);
	/* The probe's own command language, for scripts that want it. Result {"text": answer}. */
	void (*command)(struct device *dev, const char *text, struct op *op);
	/* Result {"tool": "openocd", "version": "0.12.0"}, without touching the DUT. */
	void (*version)(struct device *dev, struct op *op);
	/*
	 * Opens a port for gdb, or names the one that is open. Result {"host": "127.0.0.1",
	 * "port": n}; it listens on the loopback interface only. The DUT must have power; its reset
	 * line is freed, it runs on, and the debug port stays held until release, which closes the
	 * port. ERR_UNSUPPORTED: it cannot serve gdb.
	 */
	void (*gdb)(struct device *dev, struct op *op);
	/*
	 * Takes up the debug port and lets the DUT run until it comes to a place for the count-th
	 * time, and stops it there. spec: {"break": address} or {"watch": [address, size]} (before
	 * or just after a write there), "count": N (0: it only counts), with "break" maybe "reg":
	 * name, "from": a, "to": b (it counts only when a <= the register < b), and maybe "log":
	 * FILE, which gets a line "N breakpoint 0xADDRESS" for each time, ADDRESS being the
	 * register's value if one is named, else that of the place. Result {"hits": n, "address":
	 * as in the log, "t_ns": when it was seen, by uv_hrtime()'s clock}. Cancelled, it clears
	 * the place and lets the DUT run on. It survives a reset of the DUT that the probe
	 * survives. ERR_UNSUPPORTED: this probe cannot.
	 */
	void (*run_until)(struct device *dev, json_t *spec, struct op *op);
};

/* Fires at chosen flash operations of the DUT, and may take the power itself. */
struct trigger_ops {
	/* Operations are numbered from 1 again. The result may be {"erases": {"page": n, …}}: the
	 * DUT's erases since the mark before, each told once; they are counted as wear. */
	void (*mark)(struct device *dev, struct op *op);
	/*
	 * Arms one cut: {"op": N, "tear": "clean"|"torn", "seed": n}. Firing is env->event
	 * "trigger"; its field cut true says that the power is gone already, else the core removes
	 * it.
	 */
	void (*arm)(struct device *dev, json_t *cut, struct op *op);
	void (*disarm)(struct device *dev, struct op *op);
	/* Result {"operations": since the mark, "power": bool, "cut": {…} where the last one fell,
	 * or null, …}. What is counted other than the flash's operations (lines, edges …) counts
	 * on until the power is gone. Who counts time adds "step_ns": how long one of them is. */
	void (*state)(struct device *dev, struct op *op);
	/* Writes the operations since the mark, from number from (1 …) on, to a file, a line each
	 * with its number (docs/protocol.md). Result {"operations": n since the mark}. */
	void (*trace)(struct device *dev, const char *path, uint64_t from, struct op *op);
};

struct snapshot_ops {
	/* Flash as it is, under a name; power must be off. */
	void (*save)(struct device *dev, const char *name, struct op *op);
	void (*restore)(struct device *dev, const char *name, struct op *op);
};

struct transport_ops {
	/* One request to the firmware's management protocol; params and result as docs/protocol.md
	 * says. */
	void (*request)(struct device *dev, json_t *params, struct op *op);
	/* Sends a whole file as an image. Result {"bytes": n, "chunks": n, "resumed_at": n}. */
	void (*send)(struct device *dev, const char *path, json_t *params, struct op *op);
};

struct driver {
	const char *name;
	const char *help; /* one line */
	const struct driver_option *options;
	bool needs_console, needs_probe;

	/* options: checked against the list above, with the defaults filled in; borrowed. */
	struct device *(*create)(const struct driver_env *env, json_t *options, struct err *e);
	void (*open)(struct device *dev, struct op *op);
	/* Brings the device into its safe state. Also called on a device that was never opened with
	 * success. */
	void (*make_safe)(struct device *dev, struct op *op);
	void (*close)(struct device *dev, void (*closed)(void *arg), void *arg);
	/*
	 * Tries an open device without harm to the DUT, beyond what open has tried; may be NULL.
	 * Result {"says": [text …], "mend": [text …]}: what is there and works ("channel 3 of 8,
	 * serial 6QMBS"), and what is not as it should be, each with how to mend it.
	 */
	void (*check)(struct device *dev, struct op *op);
	/*
	 * Lists what this driver could drive on this host, opening nothing that another may be
	 * using; may be NULL. Appends to found {"what": "USB relay board 16c0:05df, serial 6QMBS, 8
	 * channels", "at": where it is, "conf": a line of rig.conf for it, "mend": why it cannot be
	 * used yet and how to mend that, or left out}. May block for a second in all.
	 */
	int (*scan)(json_t *found, struct err *e);

	/* What it offers; NULL: not offered. */
	const struct power_ops *power;
	const struct console_ops *console;
	const struct probe_ops *probe;
	const struct trigger_ops *trigger;
	const struct snapshot_ops *snapshot;
	const struct transport_ops *transport;
	const struct meter_ops *meter;
	const struct line_ops *line; /* for the devices "reset" and "strap" */
	const struct supply_ops *supply;
	const struct modem_ops *modem;
};

/* The table, ended by NULL. */
extern const struct driver *const drivers[];

/* The driver of that name, or NULL. */
const struct driver *driver_find(const char *name);

/*
 * Whether a descriptor is whole: name, help, options that can be read, every function, at least one
 * capability, and no operation missing from one that is offered. ERR_UNSUPPORTED says what is
 * wrong. drivers_check() does so for the table, where no name may stand twice; the keeper calls it
 * before anything else.
 */
int driver_check(const struct driver *driver, struct err *e);
int drivers_check(struct err *e);

/*
 * All descriptors as JSON: {NAME: {"help", "caps": ["power", ...], "options": {NAME: {"type":
 * "string"|"integer"|"boolean", "required": bool, "default": a value of that type or null,
 * "help"}}}}. A new reference.
 */
json_t *driver_catalogue(void);

/*
 * What the drivers of a table, ended by NULL, find on this host, as JSON: {NAME: {"help", "caps":
 * ["power", ...], "found": [as scan() appends], "error": why it could not look, or left out}}, of
 * those that can look. A new reference. May block for a second for each of them.
 */
json_t *driver_scan(const struct driver *const *table);

#endif
