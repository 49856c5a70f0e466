/*
 * Where things are written in the text of a Lua file.
 */
#ifndef RIG_LUA_SOURCE_H
#define RIG_LUA_SOURCE_H

struct lua_data_path;

/* The line of the file's last "return" outside of any function; 1 when there is none. */
int lua_source_return_line(const char *source);

/*
 * The line of the value at path in the table that follows call at line ("board", 12), or of the
 * innermost table around it that is written there; line itself when none is.
 */
int lua_source_line(
	const char *source, const char *call, int line, const struct lua_data_path *path);

#endif
