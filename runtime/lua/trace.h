#ifndef FOOTLIGHT_LUA_TRACE_H
#define FOOTLIGHT_LUA_TRACE_H
#include "base/buffer.h"
#include "lua/coroutine.h"

enum { TRACE_LEVELS = 22, TRACE_ORIGIN_MOST = 4096 };

/// Appends one line a level, "  lua/site/rooms.lua:12: in function 'show'". Allocates nothing in
/// Lua, so it may be used when memory has run out.
void trace_stack(struct buffer *out, lua_State *L, int level, int most);
/// The spawner's stack and its own origin: what a task remembers of where it came from. The
/// caller frees it.
char *trace_origin(lua_State *L, const struct lua_coroutine *spawner);
/// Message handler of every coroutine: leaves the value alone and keeps the stack in co->trace.
int trace_handler(lua_State *L);
/// The whole story of a failed coroutine: message, stack, where it was spawned.
void trace_describe(struct buffer *out, lua_State *L, int index, const struct lua_coroutine *co);
/// The text of an error value: strings, tables with `message`, anything with __tostring.
void trace_message(struct buffer *out, lua_State *L, int index);
#endif
