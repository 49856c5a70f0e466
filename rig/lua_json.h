/*
 * Values between Lua and JSON.
 */
#ifndef RIG_LUA_JSON_H
#define RIG_LUA_JSON_H

#include <jansson.h>
#include <lua.h>

struct err;

/* Pushes value: objects and arrays become tables, null and NULL become nil. One stack slot. */
void lua_json_push(lua_State *L, const json_t *value);

/*
 * The Lua value at index as new JSON, owned by the caller: tables with [1] are arrays, other tables
 * objects with string keys (an empty table is an object); nil is null. Functions, userdata, cycles,
 * strings that are not UTF-8 and other keys are refused: returns NULL and sets *e to ERR_SCRIPT
 * with the place inside the value ("params.body.data").
 */
json_t *lua_json_get(lua_State *L, int index, struct err *e);

/*
 * How a helper of the prelude ends: with its result, a reference that is stolen, or with nil, the
 * error's name and its message. Both return how many values they pushed.
 */
int lua_json_give(lua_State *L, json_t *result);
int lua_json_give_err(lua_State *L, const struct err *e);

#endif
