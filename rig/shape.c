#include "shape.h"

#include <stdio.h>
#include <string.h>

static const char *const type_names[] = {[SHAPE_TEXT] = "text",
	[SHAPE_FLAG] = "true or false",
	[SHAPE_NUMBER] = "a number",
	[SHAPE_TABLE] = "a table",
	[SHAPE_LIST] = "a list"};

struct check {
	char *wrong;
	size_t size;
};

static bool has_type(const json_t *value, enum shape_type type)
{
	switch (type) {
	case SHAPE_TEXT:
		return json_is_string(value);
	case SHAPE_FLAG:
		return json_is_boolean(value);
	case SHAPE_NUMBER:
		return json_is_number(value);
	case SHAPE_TABLE:
		return json_is_object(value);
	case SHAPE_LIST:
		return json_is_array(value) ||
		       (json_is_object(value) && json_object_size(value) == 0);
	}
	return false;
}

/* what: how the table is called; path: what stands before its fields' names. */
static bool table_fits(const struct check *check, const json_t *table, const struct shape *shape,
	const char *what, const char *path);

static bool field_fits(
	const struct check *check, const json_t *value, const struct shape *field, const char *path)
{
	char name[128], below[sizeof(name) + 1];
	json_t *item;
	size_t i;

	if (!value || json_is_null(value)) {
		if (field->required)
			snprintf(check->wrong, check->size, "%s%s is missing", path, field->name);
		return !field->required;
	}
	if (!has_type(value, field->type)) {
		snprintf(check->wrong, check->size, "%s%s: expected %s", path, field->name,
			type_names[field->type]);
		return false;
	}
	if (!field->of)
		return true;
	if (field->type == SHAPE_TABLE) {
		snprintf(name, sizeof(name), "%s%s", path, field->name);
		snprintf(below, sizeof(below), "%s.", name);
		return table_fits(check, value, field->of, name, below);
	}
	json_array_foreach (value, i, item) {
		snprintf(name, sizeof(name), "%s%s[%zu]", path, field->name, i + 1);
		snprintf(below, sizeof(below), "%s.", name);
		if (!table_fits(check, item, field->of, name, below))
			return false;
	}
	return true;
}

static bool table_fits(const struct check *check, const json_t *table, const struct shape *shape,
	const char *what, const char *path)
{
	const char *name;
	json_t *value;

	if (!json_is_object(table)) {
		snprintf(check->wrong, check->size, "%s: expected a table", what);
		return false;
	}
	json_object_foreach ((json_t *)table, name, value) {
		const struct shape *field = shape;

		while (field->name && strcmp(field->name, name) != 0)
			field++;
		if (!field->name) {
			snprintf(check->wrong, check->size, "%s%.64s is not known", path, name);
			return false;
		}
	}
	for (const struct shape *field = shape; field->name; field++)
		if (!field_fits(check, json_object_get(table, field->name), field, path))
			return false;
	return true;
}

bool shape_fits(
	const json_t *table, const struct shape *shape, const char *what, char *wrong, size_t size)
{
	const struct check check = {.wrong = wrong, .size = size};

	return table_fits(&check, table, shape, what, "");
}
