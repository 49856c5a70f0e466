/*
 * A board's console: what came in, who waits for it, and its log.
 *
 * Bytes have a position, counted from 0 over the life of the keeper. The last CONSOLE_RING_BYTES
 * are kept. A power-on begins an epoch; what waits is satisfied by bytes of the current epoch
 * alone, and by none while the power is off.
 *
 * Patterns are PCRE2, matched byte by byte (no UTF mode) against one line at a time, without its
 * line end. A line that is not complete yet is tried too, but matches only when no further byte
 * could change the match (PCRE2_PARTIAL_HARD): `version (\S+)` waits for the rest of the line,
 * `login: ` does not. A line longer than CONSOLE_LINE_MAX is cut into several.
 *
 * Only the line that is not complete is ever looked at again.
 */
#ifndef RIG_CONSOLE_H
#define RIG_CONSOLE_H

#include "console_port.h"
#include "err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONSOLE_RING_BYTES ((size_t)1 << 20) /* a multiple of the page size */
#define CONSOLE_LINE_MAX ((size_t)4096)

struct console;

struct console_conf {
	/* Appended to; NULL: no log. Each line begins with the monotonic time of its first byte in
	 * seconds; epochs are marked by "--- power on ---" and the like. */
	const char *log_path;
	bool powered; /* whether the board has power now */
	/* Sends bytes to the DUT, as console_ops.write. */
	void (*write)(void *arg, const char *data, size_t len, struct op *op);
	/* Bytes that came in, as TEXT_STREAM; called only while console_follow() is on. */
	void (*follow)(void *arg, const char *text, size_t len, uint64_t t_mono_ns);
	void *arg;
};

/* *conf is copied. Returns 0; ERR_IO for the log; ERR_NOMEM. */
int console_create(const struct console_conf *conf, struct console **out, struct err *e);

/* Fails what still waits with ERR_GONE, completes the log, frees. NULL is accepted. */
void console_destroy(struct console *console);

/* The console as drivers see it; lives as long as the console. */
struct console_port *console_port(struct console *console);

/* Bytes came in; t_read_ns is when they were read (uv_hrtime()). */
void console_input(struct console *console, const char *data, size_t len, uint64_t t_read_ns);

/* An epoch begins: everything that came in so far is void. */
void console_power_on(struct console *console);

/* The epoch is over; how is "off" or "cut" and goes into the log. What waits goes on waiting (for
 * the next power-on); who listens is told. Does nothing when the power was off already. */
void console_power_off(struct console *console, const char *how);

/*
 * Waits for pattern in bytes from a position on: from is "power-on" (or NULL), "now", or an integer
 * that an earlier answer gave as "next". Completes op with {"text", "groups", "line", "next"};
 * fails it at once with ERR_USAGE for a bad pattern or position. A group that took no part is null.
 */
void console_expect(struct console *console, const char *pattern, size_t pattern_len,
	const json_t *from, struct op *op);

/* The last lines since the last power-on, the incomplete one too, as TEXT_LINE: a new array. */
json_t *console_tail(const struct console *console, size_t lines);

/* Makes the message of a wait for pattern that timed out: adds the pattern and the last lines. */
void console_explain(const struct console *console, const char *pattern, struct err *e);

/*
 * The one watch of the cut engine: fired is called from within console_input(), before anything
 * else is done with the bytes, with the line as far as it is here, when pattern has matched in
 * count lines (at least 1) that come in from now on. It fires once. A watch that was set before is
 * replaced. ERR_USAGE for a bad pattern; ERR_NOMEM.
 */
int console_watch(struct console *console, const char *pattern, size_t pattern_len, unsigned count,
	void (*fired)(void *arg, const char *line, size_t len, uint64_t t_read_ns), void *arg,
	struct err *e);

/* Ends the watch, if there is one. */
void console_unwatch(struct console *console);

/*
 * The console went away, or is back: what it "was lost: …" or "is back: …" with is marked in the
 * log. What is not seen in this epoch from now on may have been missed.
 */
void console_gap(struct console *console, const char *what);

/* What was last told of a gap in this epoch, or NULL: it has none. */
const char *console_gap_text(const struct console *console);

/* Whether follow() is called. */
void console_follow(struct console *console, bool on);

/* Why the log is not complete (a full disk), or NULL. */
const char *console_log_trouble(const struct console *console);

#endif
