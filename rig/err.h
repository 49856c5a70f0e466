/*
 * Errors as values.
 *
 * A function that can fail returns 0 or the negative of an enum err_code, and fills the caller's
 * struct err (its last parameter, never NULL). Each layer prefixes what it alone knows, so that a
 * user reads "board demo-1: power (virtual): set off: the board's process is gone".
 */
#ifndef RIG_ERR_H
#define RIG_ERR_H

#include <stdarg.h>

/* code, name in the protocol and in the journal, what it means */
#define ERR_CODES(X)                                                                               \
	X(ERR_NONE, "none", "no error")                                                            \
	X(ERR_USAGE, "usage", "a command or a call was made wrongly")                              \
	X(ERR_CONFIG, "config", "a configuration, manifest, board type or scenario is wrong")      \
	X(ERR_SCRIPT, "script", "a scenario raised an error")                                      \
	X(ERR_NOMEM, "no-memory", "out of memory")                                                 \
	X(ERR_IO, "io", "a file of this host could not be read or written")                        \
	X(ERR_BENCH, "bench", "a device of the bench failed: relay, port, probe, tool")            \
	X(ERR_DUT, "dut", "the device under test answered wrongly, or refused")                    \
	X(ERR_TIMEOUT, "timeout", "a deadline passed")                                             \
	X(ERR_BUSY, "busy", "somebody else has it")                                                \
	X(ERR_CUT, "cut", "the power was cut on purpose while the operation ran")                  \
	X(ERR_CANCELLED, "cancelled", "cancelled on request")                                      \
	X(ERR_UNSUPPORTED, "unsupported", "the device or the board type does not offer this")      \
	X(ERR_PROTOCOL, "protocol", "a peer sent what it must not send")                           \
	X(ERR_GONE, "gone", "the peer or the device went away")

enum err_code {
#define X(code, name, text) code,
	ERR_CODES(X)
#undef X
		ERR_COUNT
};

struct err {
	enum err_code code;
	char msg[1024]; /* one line, no full stop at its end; cut short when longer */
};

/* Sets *e to code and the formatted text. Returns -code, so that "return err_set(e, ...)" reads
 * well. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for a va_list. */
int err_vset(struct err *e, enum err_code code, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

/* As err_set, with ": " and the text of errno value errnum appended. */
int err_errno(struct err *e, enum err_code code, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts the formatted text and ": " before the message *e holds. Returns -e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The name of a code as it stands in the protocol and in the journal ("bench"). Never NULL. */
const char *err_name(enum err_code code);

/* The code of that name; ERR_PROTOCOL for a name nobody knows. */
enum err_code err_code_of(const char *name);

#ifdef __clang_analyzer__
/* The analyzer looks at one file at a time; what it must know of err.c is that these never give 0.
 */
#define err_set(e, code, ...) (err_set(e, code, __VA_ARGS__), -(int)(code))
#define err_errno(e, code, ...) (err_errno(e, code, __VA_ARGS__), -(int)(code))
#define err_prefix(...) (err_prefix(__VA_ARGS__), -1)
#endif

#endif
