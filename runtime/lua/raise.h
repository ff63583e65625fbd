#ifndef FOOTLIGHT_LUA_RAISE_H
#define FOOTLIGHT_LUA_RAISE_H
#include <lauxlib.h>
#include <lua.h>

// Lua declares these as returning int so that one may write "return luaL_error(…)". They do not
// return; said again here, compilers and analysers know it too.
int luaL_error(lua_State *L, const char *format, ...) __attribute__((noreturn));
int luaL_typeerror(lua_State *L, int argument, const char *type) __attribute__((noreturn));
int luaL_argerror(lua_State *L, int argument, const char *more) __attribute__((noreturn));
int lua_error(lua_State *L) __attribute__((noreturn));
#endif
