#include "err.h"

#include <stdio.h>
#include <string.h>

#undef err_set
#undef err_errno
#undef err_prefix

static const char *const names[] = {
#define X(code, name, text) name,
	ERR_CODES(X)
#undef X
};

int err_vset(struct err *e, enum err_code code, const char *fmt, va_list ap)
{
	char text[sizeof(e->msg)] = ""; /* an argument may well be e->msg itself */

	vsnprintf(text, sizeof(text), fmt, ap);
	e->code = code;
	memcpy(e->msg, text, strlen(text) + 1);
	return -(int)code;
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(e, code, fmt, ap);
	va_end(ap);
	return -(int)code;
}

int err_errno(struct err *e, enum err_code code, int errnum, const char *fmt, ...)
{
	char head[sizeof(e->msg)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	return err_set(e, code, "%s: %s", head, strerror(errnum));
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	char head[sizeof(e->msg)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(head, sizeof(head), fmt, ap);
	va_end(ap);
	return err_set(e, e->code, "%s: %s", head, e->msg);
}

const char *err_name(enum err_code code)
{
	return (unsigned)code < ERR_COUNT ? names[code] : "unknown";
}

enum err_code err_code_of(const char *name)
{
	for (int i = 0; i < ERR_COUNT; i++)
		if (name && strcmp(names[i], name) == 0)
			return (enum err_code)i;
	return ERR_PROTOCOL;
}
