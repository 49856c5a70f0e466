#include "config_schema.h"

#include "config.h"
#include "err.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 64

int schema_error(const struct schema_where *where, const struct lua_data_path *path, struct err *e,
	const char *fmt, ...)
{
	const struct lua_data_block *b = where->block;
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	err_vset(e, ERR_CONFIG, fmt, ap);
	va_end(ap);
	lua_data_path_text(path, text, sizeof(text));
	if (*text)
		err_prefix(e, "%s", text);
	if (b->which)
		err_prefix(e, "%s \"%s\"", b->call, b->which);
	return err_prefix(e, "%s:%d", where->data->file, lua_data_line(where->data, b, path));
}

/* --- names that are near ------------------------------------------------------------------- */

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment distance, without regard to case: two letters swapped are one. */
static unsigned distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *row = rows[2];
	size_t n = strlen(a), m = strlen(b);

	if (n > WORD_MAX || m > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= m; j++)
		last[j] = (unsigned)j;
	memcpy(before, last, sizeof(rows[0]));
	for (size_t i = 1; i <= n; i++) {
		unsigned *spare = before;
		int x = tolower((unsigned char)a[i - 1]);

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			int y = tolower((unsigned char)b[j - 1]);

			row[j] = least(least(row[j - 1], last[j]) + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
				y == tolower((unsigned char)a[i - 2]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[m];
}

const char *nearest_key(const char *word, json_t *candidates)
{
	unsigned best = (unsigned)(strlen(word) + 2) / 3 + 1; /* about a third may be wrong */
	const char *key, *near = NULL;
	json_t *value;

	json_object_foreach (candidates, key, value) {
		unsigned d = distance(word, key);

		if (d < best) {
			best = d;
			near = key;
		}
	}
	return near;
}

/* "; did you mean "line"?", or else all that is known. */
static void suggest(const char *word, json_t *known, char *text, size_t size)
{
	const char *near = nearest_key(word, known), *key;
	json_t *value;
	int used;

	if (near) {
		snprintf(text, size, "did you mean \"%s\"?", near);
		return;
	}
	used = snprintf(text, size, "known are");
	json_object_foreach (known, key, value)
		if (used > 0 && (size_t)used < size)
			used += snprintf(text + used, size - (size_t)used, " %s", key);
}

static json_t *names_of(const struct schema *fields)
{
	json_t *names = json_object();

	for (; fields->name; fields++)
		json_object_set_new(names, fields->name, json_true());
	return names;
}

static json_t *names_of_choices(const char *const *choices)
{
	json_t *names = json_object();

	for (; *choices; choices++)
		json_object_set_new(names, *choices, json_true());
	return names;
}

/* --- one value ----------------------------------------------------------------------------- */

static bool is_function(const json_t *value)
{
	return json_object_size(value) == 1 && json_is_true(json_object_get(value, "function"));
}

static bool is_table(const json_t *value)
{
	return json_is_object(value) && !is_function(value);
}

static bool is_string(const json_t *value)
{
	return json_is_string(value) && json_string_length(value) > 0;
}

static bool is_integer(const json_t *value)
{
	return json_is_integer(value);
}

static bool is_number(const json_t *value)
{
	return json_is_number(value);
}

static bool is_boolean(const json_t *value)
{
	return json_is_boolean(value);
}

static bool is_word(const json_t *value)
{
	return is_string(value) || json_is_integer(value);
}

static bool is_list(const json_t *value)
{
	return json_is_array(value);
}

static const struct {
	const char *name;
	bool (*is)(const json_t *value);
} types[] = {
	[SCHEMA_STRING] = {"a string that is not empty", is_string},
	[SCHEMA_INTEGER] = {"an integer", is_integer},
	[SCHEMA_NUMBER] = {"a number", is_number},
	[SCHEMA_BOOLEAN] = {"true or false", is_boolean},
	[SCHEMA_WORD] = {"a string that is not empty or an integer", is_word},
	[SCHEMA_FUNCTION] = {"a function", is_function},
	[SCHEMA_OBJECT] = {"a table with names", is_table},
	[SCHEMA_MAP] = {"a table with names", is_table},
	[SCHEMA_LIST] = {"a list", is_list},
	[SCHEMA_TABLE] = {"a table with names", is_table},
};

/* A value as a message shows it. */
static void show(const json_t *value, char *text, size_t size)
{
	if (is_function(value))
		snprintf(text, size, "a function");
	else if (json_is_array(value))
		snprintf(text, size, "a list");
	else if (json_is_object(value))
		snprintf(text, size, "a table");
	else {
		char *dump = json_dumps(value, JSON_ENCODE_ANY);

		snprintf(text, size, "%.60s", dump ? dump : "?");
		free(dump);
	}
}

static int check_range(const struct schema_where *where, const struct schema *s,
	const json_t *value, const struct lua_data_path *path, struct err *e)
{
	bool list = s->type == SCHEMA_LIST;
	double x = list ? (double)json_array_size(value) : json_number_value(value);

	if ((s->min == 0 && s->max == 0) || (x >= s->min && x <= s->max))
		return 0;
	if (s->min == s->max)
		return schema_error(
			where, path, e, "expected %g%s, not %g", s->min, list ? " items" : "", x);
	return schema_error(where, path, e, "expected %g to %g%s, not %g", s->min, s->max,
		list ? " items" : "", x);
}

static int check_choice(const struct schema_where *where, const struct schema *s,
	const json_t *value, const struct lua_data_path *path, struct err *e)
{
	const char *word = json_string_value(value);
	char hint[400];
	json_t *names;

	for (const char *const *c = s->choices; *c; c++)
		if (strcmp(*c, word) == 0)
			return 0;
	names = names_of_choices(s->choices);
	suggest(word, names, hint, sizeof(hint));
	json_decref(names);
	return schema_error(where, path, e, "\"%.60s\" is unknown; %s", word, hint);
}

static int check_value(const struct schema_where *where, const struct schema *s, json_t *value,
	const struct lua_data_path *path, struct err *e);

static int check_items(const struct schema_where *where, const struct schema *s, json_t *list,
	const struct lua_data_path *path, struct err *e)
{
	int rc = check_range(where, s, list, path, e);

	for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
		const struct lua_data_path item = {path, NULL, i};

		rc = check_value(where, s->fields, json_array_get(list, i), &item, e);
	}
	return rc;
}

static int check_members(const struct schema_where *where, const struct schema *s, json_t *map,
	const struct lua_data_path *path, struct err *e)
{
	const char *key;
	json_t *value;

	json_object_foreach (map, key, value) {
		const struct lua_data_path member = {path, key, 0};
		int rc = check_value(where, s->fields, value, &member, e);

		if (rc != 0)
			return rc;
	}
	return 0;
}

static int check_value(const struct schema_where *where, const struct schema *s, json_t *value,
	const struct lua_data_path *path, struct err *e)
{
	char seen[80];

	if (!types[s->type].is(value)) {
		show(value, seen, sizeof(seen));
		return schema_error(
			where, path, e, "expected %s, not %s", types[s->type].name, seen);
	}
	switch (s->type) {
	case SCHEMA_INTEGER:
	case SCHEMA_NUMBER:
		return check_range(where, s, value, path, e);
	case SCHEMA_STRING:
		return s->choices ? check_choice(where, s, value, path, e) : 0;
	case SCHEMA_OBJECT:
		return schema_check(where, s->fields, value, path, e);
	case SCHEMA_MAP:
		return check_members(where, s, value, path, e);
	case SCHEMA_LIST:
		return check_items(where, s, value, path, e);
	case SCHEMA_BOOLEAN:
	case SCHEMA_WORD:
	case SCHEMA_FUNCTION:
	case SCHEMA_TABLE:
	default:
		return 0;
	}
}

/* --- a table with names -------------------------------------------------------------------- */

static int unknown_key(const struct schema_where *where, const struct schema *fields,
	const struct lua_data_path *path, struct err *e)
{
	json_t *names = names_of(fields);
	char hint[400];

	suggest(path->key, names, hint, sizeof(hint));
	json_decref(names);
	return schema_error(where, path, e, "unknown key; %s", hint);
}

static const struct schema *find_field(const struct schema *fields, const char *name)
{
	while (fields->name && strcmp(fields->name, name) != 0)
		fields++;
	return fields->name ? fields : NULL;
}

int schema_check(const struct schema_where *where, const struct schema *fields, json_t *value,
	const struct lua_data_path *path, struct err *e)
{
	const char *key;
	json_t *member;
	void *next;

	json_object_foreach_safe (value, next, key, member) {
		const struct lua_data_path at = {path, key, 0};
		const struct schema *s = find_field(fields, key);
		int rc;

		if (!s)
			return unknown_key(where, fields, &at, e);
		if (s->type == SCHEMA_LIST && json_is_object(member) &&
			json_object_size(member) == 0) {
			member = json_array();
			json_object_set_new(value, key, member);
		}
		rc = check_value(where, s, member, &at, e);
		if (rc != 0)
			return rc;
	}
	for (; fields->name; fields++)
		if (fields->required && !json_object_get(value, fields->name)) {
			return schema_error(where, path, e, "%s is missing; expected %s",
				fields->name, types[fields->type].name);
		}
	return 0;
}
