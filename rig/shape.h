/*
 * The shape of JSON that one part of the rig hands to another: which fields there are, and of what
 * type. Unknown fields do not fit, because a misspelt one would silently go unread.
 */
#ifndef RIG_SHAPE_H
#define RIG_SHAPE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum shape_type { SHAPE_TEXT, SHAPE_FLAG, SHAPE_NUMBER, SHAPE_TABLE, SHAPE_LIST };

/* A field; a list of them ends with SHAPE_END. null counts as missing. */
struct shape {
	const char *name;
	enum shape_type type;
	bool required;
	const struct shape
		*of; /* fields of the table, or of a list's tables; NULL: not looked into */
};

#define SHAPE_END                                                                                  \
	{                                                                                          \
		NULL, SHAPE_TEXT, false, NULL                                                      \
	}

/*
 * Whether table has the shape. When not, wrong becomes one line that names the field
 * ("boots[1].ready is missing"), or what when table is no table. An empty table also fits where a
 * list is asked for, because Lua cannot tell them apart.
 */
bool shape_fits(
	const json_t *table, const struct shape *shape, const char *what, char *wrong, size_t size);

#endif
