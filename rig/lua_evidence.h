/*
 * Files that the prelude may write: traces in its work folder, and evidence. For the prelude alone;
 * a scenario has no files.
 */
#ifndef RIG_LUA_EVIDENCE_H
#define RIG_LUA_EVIDENCE_H

#include <lua.h>

/* Adds "file_bytes", "keep_evidence" and "save" to the table on top of the stack. */
void lua_evidence_register(lua_State *L);

#endif
