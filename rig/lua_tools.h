/*
 * Pure helpers for the prelude (rig/board.lua): images, cuts, landing, judging. No devices, no
 * waiting.
 */
#ifndef RIG_LUA_TOOLS_H
#define RIG_LUA_TOOLS_H

#include <lua.h>

/* Adds the functions to the table on top of the stack. */
void lua_tools_register(lua_State *L);

#endif
