/*
 * What a table of a configuration may hold, as data, and the one checker that holds a file to it.
 */
#ifndef RIG_CONFIG_SCHEMA_H
#define RIG_CONFIG_SCHEMA_H

#include "lua_data.h"

#include <jansson.h>
#include <stdbool.h>

struct err;

enum schema_type {
	SCHEMA_STRING,  /* not empty */
	SCHEMA_INTEGER, /* min to max */
	SCHEMA_NUMBER,  /* min to max */
	SCHEMA_BOOLEAN,
	SCHEMA_WORD, /* a string that is not empty, or an integer */
	SCHEMA_FUNCTION,
	SCHEMA_OBJECT, /* the names in .fields and no others */
	SCHEMA_MAP,    /* any names; .fields[0] is what each holds */
	SCHEMA_LIST,   /* min to max items; .fields[0] is what each holds */
	SCHEMA_TABLE,  /* names, checked by somebody else */
};

/* A list of these ends with name NULL; in .fields of a map or list there is one, name unused. */
struct schema {
	const char *name;
	enum schema_type type;
	bool required;
	double min, max;            /* both 0: any */
	const char *const *choices; /* of a string; NULL: any */
	const struct schema *fields;
};

/* A block of a file under check, and what messages put behind the line ("board \"demo-1\""). */
struct schema_where {
	const struct lua_data *data;
	const struct lua_data_block *block;
};

/*
 * Checks value, a table, against an object's fields. Empty tables that stand for lists become
 * arrays. ERR_CONFIG: FILE:LINE: block: key: what is wrong, what was expected.
 */
int schema_check(const struct schema_where *where, const struct schema *fields, json_t *value,
	const struct lua_data_path *path, struct err *e);

/* An ERR_CONFIG with the place in front. path NULL: the block. */
int schema_error(const struct schema_where *where, const struct lua_data_path *path, struct err *e,
	const char *fmt, ...) __attribute__((format(printf, 4, 5)));

#endif
