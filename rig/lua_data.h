/*
 * A Lua file as data: run in a state of its own that has no I/O and is bounded in memory and
 * instructions, its tables turned into JSON.
 *
 * There are string, table, math (without random numbers), ipairs, pairs, next, type, tostring,
 * tonumber, select, assert, error, and require for "boards.NAME" and "scenarios.lib.NAME". A table
 * with the keys 1 to n becomes an array, one with strings for keys an object with its members in
 * alphabetical order, an empty one an empty object, a function {"function": true}. Tables that
 * contain themselves, mix both kinds of keys or have holes, NaN, infinity and strings that are not
 * UTF-8 are refused.
 */
#ifndef RIG_LUA_DATA_H
#define RIG_LUA_DATA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct err;

/* A function that the file may call: NAME {…}, or, when named is true, NAME "which" {…}. */
struct lua_data_call {
	const char *name; /* NULL ends a list of these */
	bool named;
};

/* One table that the file gave, by a call or by returning it. */
struct lua_data_block {
	const char *call; /* the function's name, or "return" */
	char *which;      /* NULL when not named */
	int line;         /* where the block starts */
	json_t *value;
};

struct lua_data {
	char *file; /* path as it was given; messages begin with it */
	char *source;
	struct lua_data_block *blocks; /* in the order of the file */
	size_t count;
};

/* Where a value is inside a block: a chain of keys from the value up to the block (up NULL). */
struct lua_data_path {
	const struct lua_data_path *up;
	const char *key; /* NULL: an item of a list */
	size_t index;    /* of that item, from 0 */
};

/*
 * Runs the file. calls is what it may call; NULL: it must return one table. roots are the folders
 * under which require looks for boards/ and scenarios/lib/, ended by NULL. *data is the caller's to
 * destroy. ERR_CONFIG with "FILE:LINE: " in front, ERR_NOMEM.
 */
int lua_data_load(const char *path, const struct lua_data_call *calls, const char *const *roots,
	struct lua_data **data, struct err *e);

/* NULL is accepted. */
void lua_data_destroy(struct lua_data *data);

/*
 * The line where the value at path is written, by reading the block's source; of the innermost
 * table around it that is found when the value was computed elsewhere. path NULL: the block's.
 */
int lua_data_line(const struct lua_data *data, const struct lua_data_block *block,
	const struct lua_data_path *path);

/* Writes path as people know it into text: power.chip, releases[2].images. Cut short at size. */
void lua_data_path_text(const struct lua_data_path *path, char *text, size_t size);

#endif
