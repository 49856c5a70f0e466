/*
 * What serial_port.c (opening, losing, bytes) and serial_port_lines.c (DTR, RTS, break, the lock of
 * a shared port, check, scan) share.
 */
#ifndef DRIVERS_SERIAL_PORT_PRIV_H
#define DRIVERS_SERIAL_PORT_PRIV_H

#include "serial_link.h"
#include "serial_port.h"

enum state { PORT_IDLE, PORT_UP, PORT_GONE };

struct line {
	uv_poll_t poll; /* first: the handle is this */
	uv_work_t work;
	struct serial_port *port;
	struct serial_link link;
	bool polled;  /* poll was initialised */
	bool closing; /* its port has let go of it */
	unsigned jobs;
};

struct attempt {
	uv_work_t work;
	struct serial_port *port;
	struct serial_want want;
	struct line *line;
	int code;
	struct err e;
};

struct sending {
	struct sending *next;
	struct serial_port *port;
	struct op *op; /* may be NULL */
	size_t len, off;
	char data[];
};

struct watch {
	uv_poll_t poll; /* first: the handle is this */
	struct serial_port *port;
	int fd;
};

/* One setting of lines. */
struct setting {
	struct op *op; /* NULL: given up, or nobody asked */
	int dtr, rts, brk;
	unsigned break_ms;
	bool wanted;
};

struct checking {
	uv_work_t work;
	struct line *line;
	struct op *op; /* NULL: given up */
	json_t *says, *mend;
};

struct serial_port {
	uv_loop_t *loop;
	const struct serial_port_handlers *handlers;
	void *arg;
	bool shared, may_be_absent;
	struct serial_want want, again; /* again: what finds the same one when it is back */
	bool known;                     /* again holds */
	struct serial_settings settings;
	char name[512];
	char *in;

	enum state state;
	struct line *line; /* while UP */
	unsigned lines;    /* that are not closed yet */
	struct attempt *attempt;
	struct op *opening;
	bool try_again; /* something happened during an attempt */
	uint64_t lost_ns;
	struct watch *watch;
	uv_timer_t retry;

	struct sending *first, **last;

	uv_work_t set_work;
	struct setting set, then; /* under way, and what comes after it */
	struct line *set_line;
	int set_code;
	struct err set_e;
	bool in_break;
	int dtr, rts;
	uv_timer_t break_timer;
	struct checking *checking;

	struct op *locking;
	bool locked;
	uint64_t lock_until;
	uv_timer_t lock_timer;

	struct serial_counts counted, told;
	bool counts;
	uint64_t told_ns;

	bool closing;
	unsigned handles;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* Completes *op, if there is one, and forgets it. */
void serial_port_end_op(struct op **op, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Fails an operation on a port that is not open. */
void serial_port_not_open(const struct serial_port *port, struct op *op);

/* Reads until there is nothing more, or about so many bytes. Bytes of a shared port that nobody
 * here waits for are another's, or late: they go nowhere. */
void serial_port_take_in(struct serial_port *port, size_t most);

/* Waits for what is of interest now. */
void serial_port_poll(struct serial_port *port);

/* Closes a line that its port has let go of, once no job is done with it any more. */
void serial_port_line_idle(struct line *line);

/* Ends what is under way with the lines, the lock and the check. */
void serial_port_lines_fail(struct serial_port *port, enum err_code code, const char *why);

#endif
