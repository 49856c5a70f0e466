#include "lua_evidence.h"

#include "err.h"
#include "evidence.h"
#include "file.h"
#include "lua_json.h"

#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>

/* file_bytes(path) → its size; 0 when there is no such file */
static int l_file_bytes(lua_State *L)
{
	struct stat st;

	lua_pushinteger(L, stat(luaL_checkstring(L, 1), &st) == 0 ? (lua_Integer)st.st_size : 0);
	return 1;
}

/* save(path, text) → true | nil, code, message */
static int l_save(lua_State *L)
{
	size_t len;
	const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &len);
	struct err e;

	if (file_write(path, text, len, &e))
		return lua_json_give_err(L, &e);
	lua_pushboolean(L, 1);
	return 1;
}

static int copy_files(const char *run_dir, const char *rel, const json_t *files, const json_t *logs,
	struct err *e)
{
	const char *name;
	json_t *value;
	int code = 0;

	json_object_foreach ((json_t *)(uintptr_t)files, name, value)
		if (code == 0)
			code = evidence_copy(run_dir, rel, name, json_string_value(value), 0, 0, e);
	json_object_foreach ((json_t *)(uintptr_t)logs, name, value) {
		const char *path = json_string_value(json_object_get(value, "path"));
		json_int_t from = json_integer_value(json_object_get(value, "from"));
		struct stat st;

		if (code == 0 && path && stat(path, &st) == 0)
			code = evidence_copy(
				run_dir, rel, name, path, (uint64_t)from, EVIDENCE_LOG_MAX, e);
	}
	return code;
}

/*
 * keep_evidence(run_dir, item, trial, {name = path}, {name = text}, {name = {path=, from=}}) → the
 * folder below run_dir | nil, code, message. Of logs that are not there nothing is kept.
 */
static int l_keep_evidence(lua_State *L)
{
	const char *run_dir = luaL_checkstring(L, 1), *item = luaL_checkstring(L, 2);
	const char *trial = luaL_checkstring(L, 3), *name;
	char rel[PATH_MAX];
	struct err e;
	json_t *files = lua_json_get(L, 4, &e), *text;
	json_t *texts = files ? lua_json_get(L, 5, &e) : NULL;
	json_t *logs = texts ? lua_json_get(L, 6, &e) : NULL;
	int code = logs ? evidence_create(rel, run_dir, item, trial, &e) : -1;

	if (code == 0)
		code = copy_files(run_dir, rel, files, logs, &e);
	json_object_foreach (texts, name, text)
		if (code == 0)
			code = evidence_write(run_dir, rel, name, json_string_value(text), &e);
	json_decref(files);
	json_decref(texts);
	json_decref(logs);
	if (code)
		return lua_json_give_err(L, &e);
	lua_pushstring(L, rel);
	return 1;
}

static const luaL_Reg functions[] = {
	{"file_bytes", l_file_bytes},
	{"keep_evidence", l_keep_evidence},
	{"save", l_save},
	{NULL, NULL},
};

void lua_evidence_register(lua_State *L)
{
	luaL_setfuncs(L, functions, 0);
}
