#ifndef FOOTLIGHT_LUA_LUA_REALTIME_H
#define FOOTLIGHT_LUA_LUA_REALTIME_H
#include "lua/runtime.h"
#include "realtime/hub.h"

/// Makes the export `on_chat` of lua/realtime/init.lua the hub's judge of chat messages. Both
/// outlive the hub; reloads need nothing: each message asks the generation of its moment.
void lua_realtime_attach(struct runtime *runtime, struct hub *hub);
#endif
