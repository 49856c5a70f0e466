/*
 * What lua_trace.c and lua_campaign.c share: traces as userdata.
 */
#ifndef RIG_LUA_TRACE_PRIV_H
#define RIG_LUA_TRACE_PRIV_H

#include "classes.h"
#include "cuts.h"
#include "oplog.h"

#include <jansson.h>
#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE "rig.trace"
#define REGIONS_MAX 64

struct trace {
	struct oplog log;
	struct classes classes;
	char *before; /* flash before operation 1 */
	char *rest;   /* flash at rest after the last one, or NULL: not known */
	size_t size;  /* bytes of each */
	uint32_t base, page;
	json_t *conf; /* owns the regions' names */
	struct cut_region regions[REGIONS_MAX], may_write[REGIONS_MAX];
	size_t region_count, may_write_count;
};

/* The trace at a place of the stack; raises when it is none. */
struct trace *lua_trace_at(lua_State *L, int index);

/* A type of userdata with these methods and collector. */
void lua_trace_new_type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);

/* Puts the functions of lua_campaign.c into the table on top of the stack, as
 * lua_trace_register(). */
void lua_campaign_register(lua_State *L);

/* A trace's method campaign(). */
int lua_trace_campaign(lua_State *L);

#endif
