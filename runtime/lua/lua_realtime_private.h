#ifndef FOOTLIGHT_LUA_LUA_REALTIME_PRIVATE_H
#define FOOTLIGHT_LUA_LUA_REALTIME_PRIVATE_H
#include "lua/runtime.h"
#include "realtime/publish.h"

/// Shared by lua_realtime.c and lua_realtime_room.c only.
struct redis_client *lua_realtime_redis(lua_State *L);          ///< raises where there is none
struct slice lua_realtime_channel(lua_State *L, int index); ///< raises unless it is one's name
/// Resumes the pending operation `context` with offset and epoch.
void lua_realtime_published(void *context, int64_t offset, const char *epoch, const char *error);
void lua_realtime_add_room(lua_State *L); ///< to the library on top of the stack
#endif
