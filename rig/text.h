/*
 * Bytes of the outside world as text that is safe in JSON, in a log and on a terminal.
 */
#ifndef RIG_TEXT_H
#define RIG_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum text_style {
	TEXT_STREAM, /* control characters stay (a terminal wants them), but for NUL */
	TEXT_LINE,   /* every control character but the tab is escaped */
};

/*
 * Writes src as valid UTF-8 into dst, ended by NUL. What is not UTF-8 (RFC 3629), NUL, and in a
 * TEXT_LINE the control characters too, become \xNN. A backslash stays one: the text is for
 * reading, not for turning back. Returns the length; what does not fit is left out whole.
 * size > 0; 4 * len + 1 always suffices.
 */
size_t text_escape(char *dst, size_t size, const char *src, size_t len, enum text_style style);

/* How many bytes at the end of src are the beginning of a UTF-8 character that may still be
 * completed: 0 to 3. */
size_t text_unfinished(const char *src, size_t len);

#endif
