#ifndef FOOTLIGHT_LUA_LUA_WEBSOCKET_H
#define FOOTLIGHT_LUA_LUA_WEBSOCKET_H
#include "lua/lua_request.h"

/// WebSockets whose other end is Lua. The connection lives in C, and with it `state`, a text of the
/// framework's (JSON). Its handler is the export on_websocket(socket) of the current generation, in
/// a coroutine without a deadline. When a reload ends that coroutine, the export of the new
/// generation is called with the same connection; when it ends by itself, the connection is closed.
/// docs: lua/types/footlight/websocket.lua.
///
/// Accepts the upgrade of an exchange. The response at `index` of co: websocket = state, and
/// optionally protocols = "a, b", message_limit = bytes. The exchange's request is released.
void lua_websocket_accept(struct lua_exchange *exchange, lua_State *co, int index);
/// Closes all of them with 1001: the service stops.
void lua_websocket_drain(struct lua_http *http);
/// Cuts all of them off; the generations are gone.
void lua_websocket_abort(struct lua_http *http);
/// connect(text) → a stream: a socket into the server that serves in-process requests, for tests.
int lua_stream_connect(lua_State *L);
#endif
