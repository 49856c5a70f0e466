/*
 * Talking SCPI (IEEE 488.2, SCPI-99) with an instrument over TCP or a serial port: one question at
 * a time, each with a bounded time to be answered. The connection is made when it is needed and
 * made anew when it went away in the meantime: many instruments close idle ones.
 *
 * An answer that came too late must not be taken for another one's. After one that did not come,
 * after garbage and on a new connection the instrument is asked who it is, and everything is thrown
 * away until that is answered.
 */
#ifndef DRIVERS_SCPI_H
#define DRIVERS_SCPI_H

#include "driver.h"
#include "serial_port.h"

struct scpi;

/* Options by which a driver lets its user say where the instrument is. */
#define SCPI_OPTIONS                                                                               \
	SERIAL_PORT_NAME_OPTIONS, SERIAL_PORT_LINE_OPTIONS("9600"),                                \
		{"host", OPTION_STRING, false, NULL,                                               \
			"the instrument's name or address, if not a serial port"},                 \
		{"port", OPTION_INTEGER, false, "5025", "its TCP port for raw SCPI"},              \
		{"ask_id", OPTION_STRING, false, "*IDN?", "asks who it is"},                       \
		{"line_end", OPTION_STRING, false, "lf", "what ends a line: lf, cr or crlf"},      \
		{"connect_ms", OPTION_INTEGER, false, "2000", "milliseconds to connect"},          \
	{                                                                                          \
		"answer_ms", OPTION_INTEGER, false, "1500", "milliseconds to answer a question"    \
	}

/* Checks the options; no I/O. NULL: ERR_CONFIG or ERR_NOMEM. */
struct scpi *scpi_create(uv_loop_t *loop, json_t *options, struct err *e);

/*
 * Sees to it that the instrument is connected and in step. done is called exactly once, within the
 * call when it is so already, with e NULL or ERR_BENCH. One at a time, and none while a question is
 * open.
 */
typedef void scpi_ready_fn(void *arg, const struct err *e);
void scpi_ready(struct scpi *s, scpi_ready_fn *done, void *arg);

/* Sends a line that has no answer. Nothing happens when the connection is gone: the next question
 * tells. */
void scpi_tell(struct scpi *s, const char *line);

/* Asks; done is called exactly once, from the loop, with the answer without its line end, or with
 * *e, ERR_BENCH. One question at a time, only when it is ready. */
typedef void scpi_answer_fn(void *arg, const struct err *e, const char *answer);
void scpi_ask(struct scpi *s, const char *line, scpi_answer_fn *done, void *arg);

/* Nobody asks any more; what was being waited for is thrown away when it comes. No done is called.
 */
void scpi_give_up(struct scpi *s);

/* What it said when it was asked who it is; "" until then. */
const char *scpi_id(const struct scpi *s);

/* The serial port it is at, or NULL. Valid till the next turn of the loop. */
const char *scpi_port(const struct scpi *s);

/* Calls closed when it is gone; done of what is under way is not called. */
void scpi_destroy(struct scpi *s, void (*closed)(void *arg), void *arg);

#endif
