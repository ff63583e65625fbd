#ifndef FOOTLIGHT_LUA_BINDINGS_H
#define FOOTLIGHT_LUA_BINDINGS_H
#include <lua.h>

/// Preloads every "runtime.<name>" module of runtime.h.
void bindings_preload(lua_State *L);
#endif
