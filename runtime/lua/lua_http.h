#ifndef FOOTLIGHT_LUA_LUA_HTTP_H
#define FOOTLIGHT_LUA_LUA_HTTP_H
#include "http/server.h"
#include "http/static.h"
#include "lua/runtime.h"

/// Makes Lua the handler of a server: sets on_request and context of the options. Each request calls
/// the export on_request(req) of the current generation in a coroutine and sends what it returns;
/// assets under /assets/ and single files of public/ (robots.txt) are answered without Lua.
/// docs: lua/types/request.lua. Needs runtime->generations and ->settings to be set.
void lua_http_attach(struct runtime *runtime, struct http_server_options *options);
/// For services that answer some paths in C: hands one request to Lua.
void lua_http_on_request(struct runtime *runtime, struct http_request *request);
/// The assets of public/ and <var>/deploy; made at first use.
struct http_assets *lua_http_assets(struct runtime *runtime);
/// Closes the WebSockets whose handlers are in Lua: the service stops.
void lua_http_drain(struct runtime *runtime);
/// Frees what attach and the in-process client made. No request may be under way.
void lua_http_detach(struct runtime *runtime);
#endif
