#ifndef FOOTLIGHT_LUA_LUA_REDIS_H
#define FOOTLIGHT_LUA_LUA_REDIS_H
#include "lua/pending.h"
#include "lua/runtime.h"
#include "redis/client.h"

/// Shared by lua_redis.c and lua_redis_own.c.

/// The values first..top as arguments: in `few` if they fit, else in a userdata on the stack's top. On
/// the shared connection what blocks it or changes its state is refused.
enum { LUA_REDIS_FEW = 16 };
struct slice *lua_redis_arguments(lua_State *L, int first, struct slice few[LUA_REDIS_FEW],
                                  size_t *count, bool shared);
/// The reply function of a single command: pushes the answer, or raises what Redis calls an error.
void lua_redis_reply(void *context, const redisReply *reply, const char *error);
int lua_redis_eval(lua_State *L); // eval(code, keys, arguments)

int lua_redis_script(lua_State *L);  // script(name, keys, arguments)
int lua_redis_connect(lua_State *L); // connect()
#endif
