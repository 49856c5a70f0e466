#include "lua_json.h"

#include "err.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 40 /* deeper is a cycle, or nonsense */

void lua_json_push(lua_State *L, const json_t *value)
{
	const char *key;
	json_t *item;
	size_t i;

	luaL_checkstack(L, 4, "JSON");
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_OBJECT:
		lua_createtable(L, 0, (int)json_object_size(value));
		json_object_foreach ((json_t *)(uintptr_t)value, key, item) {
			lua_pushstring(L, key);
			lua_json_push(L, item);
			lua_rawset(L, -3);
		}
		return;
	case JSON_ARRAY:
		lua_createtable(L, (int)json_array_size(value), 0);
		json_array_foreach (value, i, item) {
			lua_json_push(L, item);
			lua_rawseti(L, -2, (lua_Integer)i + 1);
		}
		return;
	case JSON_STRING:
		lua_pushlstring(L, json_string_value(value), json_string_length(value));
		return;
	case JSON_INTEGER:
		lua_pushinteger(L, json_integer_value(value));
		return;
	case JSON_REAL:
		lua_pushnumber(L, json_real_value(value));
		return;
	case JSON_TRUE:
	case JSON_FALSE:
		lua_pushboolean(L, json_is_true(value));
		return;
	case JSON_NULL:
		lua_pushnil(L);
		return;
	}
}

static json_t *get(lua_State *L, int index, int depth, struct err *e);

static json_t *get_array(lua_State *L, int index, int depth, struct err *e)
{
	json_t *array = json_array();
	lua_Integer n = (lua_Integer)lua_rawlen(L, index);

	for (lua_Integer i = 1; i <= n; i++) {
		json_t *item;

		/* how long a list with holes is, is anybody's guess, up to 2^63 */
		if (lua_rawgeti(L, index, i) == LUA_TNIL) {
			item = NULL;
			err_set(e, ERR_SCRIPT, "a hole in a list");
		} else {
			item = get(L, lua_gettop(L), depth + 1, e);
		}
		lua_pop(L, 1);
		if (!item) {
			err_prefix(e, "[%lld]", (long long)i);
			json_decref(array);
			return NULL;
		}
		json_array_append_new(array, item);
	}
	return array;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Lua's tables have another order in every process; what goes into a journal must not. Steals. */
static json_t *in_order(json_t *object)
{
	size_t n = json_object_size(object), i = 0;
	const char **names = calloc(n ? n : 1, sizeof(*names)), *name;
	json_t *sorted = json_object(), *value;

	if (!names || !sorted) {
		free(names);
		json_decref(sorted);
		json_decref(object);
		return NULL;
	}
	json_object_foreach (object, name, value)
		names[i++] = name;
	qsort(names, n, sizeof(*names), by_name);
	for (i = 0; i < n; i++)
		json_object_set(sorted, names[i], json_object_get(object, names[i]));
	free(names);
	json_decref(object);
	return sorted;
}

static json_t *get_object(lua_State *L, int index, int depth, struct err *e)
{
	json_t *object = json_object();

	lua_pushnil(L);
	while (lua_next(L, index)) {
		json_t *item = NULL;

		if (lua_type(L, -2) != LUA_TSTRING)
			err_set(e, ERR_SCRIPT, "a key that is a %s, where a name was expected",
				luaL_typename(L, -2));
		else
			item = get(L, lua_gettop(L), depth + 1, e);
		if (!item || json_object_set_new(object, lua_tostring(L, -2), item) != 0) {
			if (lua_type(L, -2) == LUA_TSTRING)
				err_prefix(e, "%s", lua_tostring(L, -2));
			lua_pop(L, 2);
			json_decref(object);
			return NULL;
		}
		lua_pop(L, 1);
	}
	object = in_order(object);
	if (!object)
		err_set(e, ERR_NOMEM, "out of memory");
	return object;
}

static json_t *get(lua_State *L, int index, int depth, struct err *e)
{
	json_t *value = NULL;
	size_t len;
	const char *text;
	int first;

	if (depth > DEPTH_MAX || !lua_checkstack(L, 4)) {
		err_set(e, ERR_SCRIPT, "nested too deep, or a cycle");
		return NULL;
	}
	switch (lua_type(L, index)) {
	case LUA_TNIL:
	case LUA_TNONE:
		return json_null();
	case LUA_TBOOLEAN:
		return json_boolean(lua_toboolean(L, index));
	case LUA_TNUMBER:
		if (lua_isinteger(L, index))
			return json_integer(lua_tointeger(L, index));
		value = json_real(lua_tonumber(L, index));
		if (!value)
			err_set(e, ERR_SCRIPT, "a number that JSON has not (NaN or infinite)");
		return value;
	case LUA_TSTRING:
		text = lua_tolstring(L, index, &len);
		value = json_stringn(text, len);
		if (!value)
			err_set(e, ERR_SCRIPT, "a string that is not UTF-8");
		return value;
	case LUA_TTABLE:
		first = lua_rawgeti(L, index, 1);
		lua_pop(L, 1);
		return first != LUA_TNIL ? get_array(L, index, depth, e)
					 : get_object(L, index, depth, e);
	default:
		err_set(e, ERR_SCRIPT, "a %s, where plain data was expected",
			luaL_typename(L, index));
		return NULL;
	}
}

json_t *lua_json_get(lua_State *L, int index, struct err *e)
{
	return get(L, lua_absindex(L, index), 0, e);
}

int lua_json_give(lua_State *L, json_t *result)
{
	lua_json_push(L, result);
	json_decref(result);
	return 1;
}

int lua_json_give_err(lua_State *L, const struct err *e)
{
	lua_pushnil(L);
	lua_pushstring(L, err_name(e->code));
	lua_pushstring(L, e->msg);
	return 3;
}
