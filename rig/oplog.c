#include "oplog.h"

#include "err.h"
#include "file.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {[OPLOG_ERASE] = "erase", [OPLOG_PROGRAM] = "program"};

struct cursor {
	const char *at, *end; /* of the line */
};

/* 0 to 15, or more for what is no digit. */
static unsigned digit_value(char c)
{
	unsigned decimal = (unsigned)(unsigned char)c - '0';
	unsigned letter = ((unsigned)(unsigned char)c | 0x20) - 'a';

	return decimal < 10 ? decimal : letter < 6 ? letter + 10 : 16;
}

/* A number that fits 32 bits, in the given base, with its prefix if that is 16. */
static bool take_number(struct cursor *c, unsigned base, uint32_t *value)
{
	uint64_t n = 0;
	const char *start;

	if (base == 16) {
		if (c->end - c->at < 2 || memcmp(c->at, "0x", 2) != 0)
			return false;
		c->at += 2;
	}
	for (start = c->at; c->at < c->end; c->at++) {
		unsigned digit = digit_value(*c->at);

		if (digit >= base)
			break;
		n = n * base + digit;
		if (n > UINT32_MAX)
			return false;
	}
	*value = (uint32_t)n;
	return c->at > start;
}

static bool take_word(struct cursor *c, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0)
		return false;
	c->at += len;
	return true;
}

/* Parses a line into *op; returns what was expected and is not there, or NULL. */
static const char *take_line(struct cursor *c, uint32_t expected, struct oplog_op *op)
{
	uint32_t number;

	if (!take_number(c, 10, &number) || number != expected || !take_word(c, " "))
		return "the next operation's number and a space";
	op->value = 0;
	op->size = OPLOG_PROGRAM_SIZE;
	if (take_word(c, "erase "))
		op->kind = OPLOG_ERASE;
	else if (take_word(c, "program "))
		op->kind = OPLOG_PROGRAM;
	else
		return "\"erase\" or \"program\" and a space";
	if (!take_number(c, 16, &op->address) || !take_word(c, " "))
		return "an address as 0x… of 32 bits and a space";
	if (op->kind == OPLOG_ERASE ? !take_number(c, 10, &op->size) || op->size == 0
				    : !take_number(c, 16, &op->value))
		return op->kind == OPLOG_ERASE ? "a size in bytes" : "a value as 0x… of 32 bits";
	if ((uint64_t)op->address + op->size > (uint64_t)1 << 32)
		return "an operation that ends within 32 bits of address";
	return c->at == c->end ? NULL : "nothing more";
}

int oplog_parse(struct oplog *log, const char *name, const char *text, size_t len, struct err *e)
{
	const char *end = text + len;
	size_t room = 0, line = 0;

	memset(log, 0, sizeof(*log));
	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		struct cursor c = {.at = text, .end = nl};
		const char *expected;

		line++;
		if (!nl) {
			oplog_finish(log);
			return err_set(e, ERR_PROTOCOL,
				"%s:%zu: the line is not ended: the trace is truncated", name,
				line);
		}
		if (log->count == room) {
			struct oplog_op *grown;

			room = room ? room * 2 : 4096;
			grown = realloc(log->ops, room * sizeof(*grown));
			if (!grown) {
				oplog_finish(log);
				return err_set(e, ERR_NOMEM, "%s: out of memory", name);
			}
			log->ops = grown;
		}
		expected = take_line(&c, (uint32_t)log->count + 1, &log->ops[log->count]);
		if (expected) {
			size_t column = (size_t)(c.at - text) + 1;

			oplog_finish(log);
			return err_set(e, ERR_PROTOCOL, "%s:%zu: before column %zu: expected %s",
				name, line, column, expected);
		}
		log->count++;
		text = nl + 1;
	}
	return 0;
}

int oplog_load(struct oplog *log, const char *path, struct err *e)
{
	char *text;
	size_t len;
	int code;

	memset(log, 0, sizeof(*log));
	code = file_read(path, OPLOG_FILE_MAX, &text, &len, e);
	if (code)
		return code;
	code = oplog_parse(log, path, text, len, e);
	free(text);
	return code;
}

void oplog_finish(struct oplog *log)
{
	free(log->ops);
	memset(log, 0, sizeof(*log));
}

const char *oplog_kind_name(enum oplog_kind kind)
{
	return kind_names[kind];
}
