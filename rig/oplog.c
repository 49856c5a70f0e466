#include "oplog.h"

#include "err.h"
#include "file.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name, *source;
} kinds[] = {
	[OPLOG_ERASE] = {"erase", "operations"},
	[OPLOG_PROGRAM] = {"program", "operations"},
	[OPLOG_LINE] = {"line", "lines"},
	[OPLOG_EDGE] = {"edge", "edges"},
	[OPLOG_BREAKPOINT] = {"breakpoint", "breakpoints"},
	[OPLOG_TIME] = {"time", "time"},
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

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

/* Digits, of a number of any size. */
static bool skip_number(struct cursor *c)
{
	const char *start = c->at;

	while (c->at < c->end && digit_value(*c->at) < 10)
		c->at++;
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

/* Takes a kind's name, which a space or the line's end follows. */
static bool take_kind(struct cursor *c, enum oplog_kind *kind)
{
	for (size_t i = 0; i < KINDS; i++) {
		size_t len = strlen(kinds[i].name);
		const char *after = c->at + len;

		if ((size_t)(c->end - c->at) < len || memcmp(c->at, kinds[i].name, len) != 0 ||
			(after < c->end && *after != ' '))
			continue;
		c->at = after;
		*kind = (enum oplog_kind)i;
		return true;
	}
	return false;
}

/* What follows the kind, without the boot; returns what was expected and is not there, or NULL. */
static const char *take_fields(struct cursor *c, struct oplog_op *op)
{
	bool flash = oplog_kind_is_flash(op->kind);

	if (op->kind == OPLOG_LINE) {
		if (!take_word(c, " "))
			return "a space and the line's text";
		c->at = c->end;
	}
	if (op->kind == OPLOG_LINE || op->kind == OPLOG_EDGE)
		return NULL;
	if (op->kind == OPLOG_TIME)
		return take_word(c, " ") && skip_number(c) ? NULL : "a space and microseconds";
	if (!take_word(c, " ") || !take_number(c, 16, &op->address))
		return "a space and an address as 0x… of 32 bits";
	if (flash && !take_word(c, " "))
		return "a space";
	if (op->kind == OPLOG_ERASE && (!take_number(c, 10, &op->size) || op->size == 0))
		return "a size in bytes";
	if (op->kind == OPLOG_PROGRAM && !take_number(c, 16, &op->value))
		return "a value as 0x… of 32 bits";
	if (op->kind == OPLOG_PROGRAM)
		op->size = OPLOG_PROGRAM_SIZE;
	if ((uint64_t)op->address + op->size > (uint64_t)1 << 32)
		return "an operation that ends within 32 bits of address";
	return NULL;
}

/*
 * Parses a line into *op; returns what was expected and is not there, or NULL. before is the
 * operation before it, or NULL.
 */
static const char *take_line(
	struct cursor *c, uint32_t expected, const struct oplog_op *before, struct oplog_op *op)
{
	const char *missing;
	uint32_t number;

	memset(op, 0, sizeof(*op));
	if (!take_number(c, 10, &number) || number != expected || !take_word(c, " "))
		return "the next operation's number and a space";
	if (!take_kind(c, &op->kind))
		return "\"erase\", \"program\", \"line\", \"edge\", \"breakpoint\" or \"time\"";
	if (before && before->kind != op->kind &&
		!(oplog_kind_is_flash(before->kind) && oplog_kind_is_flash(op->kind)))
		return "flash operations alone, or operations of one other kind";
	missing = take_fields(c, op);
	if (missing)
		return missing;
	if (c->at < c->end && (!take_word(c, " ") || !take_number(c, 10, &op->boot)))
		return "a space and the number of resets, or nothing more";
	if (before && op->boot < before->boot)
		return "no fewer resets than before";
	return c->at == c->end ? NULL : "nothing more";
}

static struct oplog_op *add(struct oplog *log, size_t *room)
{
	if (!log->ops || log->count == *room) {
		size_t larger = *room ? *room * 2 : 4096;
		struct oplog_op *grown = realloc(log->ops, larger * sizeof(*grown));

		if (!grown)
			return NULL;
		log->ops = grown;
		*room = larger;
	}
	return &log->ops[log->count];
}

int oplog_parse_from(struct oplog *log, const char *name, const char *text, size_t len,
	uint32_t first, struct err *e)
{
	const char *end = text + len;
	size_t room = 0, line = 0;

	memset(log, 0, sizeof(*log));
	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		struct cursor c = {.at = text, .end = nl};
		struct oplog_op *op = add(log, &room);
		const char *expected;

		line++;
		if (!op || !nl) {
			oplog_finish(log);
			if (!op)
				return err_set(e, ERR_NOMEM, "%s: out of memory", name);
			return err_set(e, ERR_PROTOCOL,
				"%s:%zu: the line is not ended: the trace is truncated", name,
				line);
		}
		expected =
			take_line(&c, first + (uint32_t)log->count, log->count ? op - 1 : NULL, op);
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

int oplog_parse(struct oplog *log, const char *name, const char *text, size_t len, struct err *e)
{
	return oplog_parse_from(log, name, text, len, 1, e);
}

int oplog_load_from(struct oplog *log, const char *path, uint32_t first, struct err *e)
{
	char *text;
	size_t len;
	int code;

	memset(log, 0, sizeof(*log));
	code = file_read(path, OPLOG_FILE_MAX, &text, &len, e);
	if (code)
		return code;
	code = oplog_parse_from(log, path, text, len, first, e);
	free(text);
	return code;
}

int oplog_load(struct oplog *log, const char *path, struct err *e)
{
	return oplog_load_from(log, path, 1, e);
}

void oplog_finish(struct oplog *log)
{
	free(log->ops);
	memset(log, 0, sizeof(*log));
}

const char *oplog_kind_name(enum oplog_kind kind)
{
	return kinds[kind].name;
}

bool oplog_kind_is_flash(enum oplog_kind kind)
{
	return kind == OPLOG_ERASE || kind == OPLOG_PROGRAM;
}

const char *oplog_source(const struct oplog *log)
{
	return kinds[log->count ? log->ops[0].kind : OPLOG_ERASE].source;
}
