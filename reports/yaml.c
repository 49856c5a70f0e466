#include "yaml.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void write_value(FILE *out, json_t *value, int indent);

/* Takes one character off UTF-8 that jansson has checked. */
static uint32_t next_char(const unsigned char **p)
{
	const unsigned char *s = *p;
	uint32_t c = *s++;
	int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

	if (more)
		c &= 0x3fU >> more;
	while (more-- && (*s & 0xc0) == 0x80)
		c = c << 6 | (*s++ & 0x3f);
	*p = s;
	return c;
}

/* Not c-printable of YAML 1.2 section 5.1, or a line break for some reader. */
static bool needs_escape(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
	       c == 0xfffe || c == 0xffff;
}

static void write_escaped(FILE *out, uint32_t c)
{
	static const struct {
		uint32_t c;
		const char *text;
	} names[] = {{'\n', "\\n"}, {'\r', "\\r"}, {'\t', "\\t"}, {0x1b, "\\e"}};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].c == c) {
			fputs(names[i].text, out);
			return;
		}
	fprintf(out, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
}

/*
 * in_list: prove's reader takes an item that begins with a word, a colon and a space for a mapping
 * even when it is quoted; with the space escaped it does not.
 */
static void write_string(FILE *out, const char *text, bool in_list)
{
	const unsigned char *p = (const unsigned char *)text;
	uint32_t before = 0;

	putc('"', out);
	while (*p) {
		const unsigned char *from = p;
		uint32_t c = next_char(&p);

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", (char)c);
		else if (needs_escape(c) || (in_list && c == ' ' && before == ':'))
			write_escaped(out, c);
		else
			fwrite(from, 1, (size_t)(p - from), out);
		before = c;
	}
	putc('"', out);
}

static void write_key(FILE *out, const char *key)
{
	static const char *const words[] = {
		"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
	bool plain = isalpha((unsigned char)key[0]) || key[0] == '_';

	for (const char *p = key; *p; p++)
		plain = plain && (isalnum((unsigned char)*p) || *p == '_' || *p == '-');
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		plain = plain && strcasecmp(key, words[i]) != 0;
	if (plain)
		fputs(key, out);
	else
		write_string(out, key, false);
}

static void write_scalar(FILE *out, json_t *value, bool in_list)
{
	char *text;

	if (json_is_string(value)) {
		write_string(out, json_string_value(value), in_list);
		return;
	}
	text = json_is_null(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY);
	fputs(text ? text : "~", out);
	free(text);
}

static bool is_nested(json_t *value)
{
	return json_object_size(value) > 0 || json_array_size(value) > 0;
}

static void write_members(FILE *out, json_t *object, int indent, bool first_is_placed)
{
	const char *key;
	json_t *value;

	json_object_foreach (object, key, value) {
		if (!first_is_placed)
			fprintf(out, "%*s", indent, "");
		first_is_placed = false;
		write_key(out, key);
		putc(':', out);
		write_value(out, value, indent + 2);
	}
}

static void write_items(FILE *out, json_t *array, int indent)
{
	json_t *value;
	size_t i;

	json_array_foreach (array, i, value) {
		fprintf(out, "%*s-", indent, "");
		if (json_object_size(value) > 0) {
			putc(' ', out);
			write_members(out, value, indent + 2, true);
		} else if (is_nested(value)) {
			putc('\n', out);
			write_items(out, value, indent + 2);
		} else {
			putc(' ', out);
			write_scalar(out, value, true);
			putc('\n', out);
		}
	}
}

/* What follows "key:", with the line's end. */
static void write_value(FILE *out, json_t *value, int indent)
{
	if (!is_nested(value)) {
		putc(' ', out);
		write_scalar(out, value, false);
		putc('\n', out);
		return;
	}
	putc('\n', out);
	if (json_is_object(value))
		write_members(out, value, indent, false);
	else
		write_items(out, value, indent);
}

void yaml_write(FILE *out, json_t *object, int indent)
{
	write_members(out, object, indent, false);
}
