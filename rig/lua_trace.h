/*
 * Traces for the prelude (rig/cuts.lua): what an uncut update did, its classes, where a cut in it
 * landed, and the campaign of cuts along it. No devices, no waiting.
 */
#ifndef RIG_LUA_TRACE_H
#define RIG_LUA_TRACE_H

#include <lua.h>

/* Adds "coverage", "open_trace" and "remember_trace" to the table on top of the stack. */
void lua_trace_register(lua_State *L);

#endif
