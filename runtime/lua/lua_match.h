#ifndef FOOTLIGHT_LUA_LUA_MATCH_H
#define FOOTLIGHT_LUA_LUA_MATCH_H
#include "lua/runtime.h"

/// Puts string.find, match, gmatch and gsub into the string library: Lua's patterns as its manual has
/// them, but matched by code that looks at the computing limits (limits_poll). A hostile pattern on a
/// hostile text takes Lua's own matcher hours, inside one C function that no hook reaches. The same for
/// table.sort without a comparator.
void lua_match_library(lua_State *L);
#endif
