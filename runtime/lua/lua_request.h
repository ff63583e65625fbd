#ifndef FOOTLIGHT_LUA_LUA_REQUEST_H
#define FOOTLIGHT_LUA_LUA_REQUEST_H
#include "lua/lua_http.h"
#include "lua/pending.h"

/// Shared by lua_http.c, lua_request.c, lua_body.c, lua_parts.c and lua_dispatch.c.

struct lua_http {
    struct runtime *runtime;
    struct http_assets *assets;
    struct http_server *inside; ///< serves in-process requests (lua_dispatch.c)
    size_t write_high;
    struct list websockets; ///< lua_websocket.c
};
struct lua_http *lua_http_of(struct runtime *runtime);

/// One request in Lua's hands, until it is answered (or its client left). Whoever keeps `req` longer
/// finds nothing behind it.
struct lua_exchange {
    uint64_t handle;
    struct lua_exchange *next_spare;
    struct lua_http *http;
    struct http_request *request; ///< NULL once answered
    uint64_t run, stream;         ///< lua_run of on_request and of a streamed body
    lua_pending waiting;          ///< for the body or for a drain
    struct slice path;            ///< decoded
    struct slice body;
    struct lua_form *form;
    struct buffer part; ///< lua_parts.c: what has come and was not asked for yet
    bool part_last, part_paused;
    enum { LUA_BODY_UNREAD, LUA_BODY_READING, LUA_BODY_HERE, LUA_BODY_GONE } body_state;
    int body_error;
    unsigned references;
    bool gone;
};
struct lua_exchange *lua_exchange_new(void); ///< with one reference, the request's
/// The request is answered: `req` leads nowhere from now on. Drops the request's reference.
void lua_exchange_end(struct lua_exchange *exchange);
void lua_exchange_unref(struct lua_exchange *exchange);
/// Pushes the userdata `req`.
void lua_request_push(lua_State *L, const struct lua_exchange *exchange);
/// The exchange of `req` at index 1; raises if it is no request, or is already answered.
struct lua_exchange *lua_request_check(lua_State *L);
/// Raises { status = …, reason = … }: the handler's way out with an answer that is not 200.
int lua_request_raise(lua_State *L, int status, const char *reason);
void lua_request_metatable(lua_State *L); ///< pushes it, made at first use
void lua_request_methods(lua_State *L);   ///< pushes the table of methods, for the framework to add to

int lua_request_body(lua_State *L);   // lua_body.c: req:body(limit)
int lua_request_json(lua_State *L);   // req:json(limit)
int lua_request_form(lua_State *L);   // req:form(limits)
int lua_request_parts(lua_State *L);  // lua_parts.c: req:parts(limit)
int lua_request_trailer(lua_State *L); // req:trailer(name)
/// Why a body could not be read: a text for its status.
const char *lua_body_reason(int status);
void lua_form_free(struct lua_form *form); ///< unlinks temporary files that are still there
/// Pushes the table of urlencoded text: a string for each name, a list where it is repeated.
void lua_push_urlencoded(lua_State *L, struct arena *arena, struct slice text);

int lua_dispatch(lua_State *L); // lua_dispatch.c
struct http_server *lua_http_inside(struct lua_http *http); ///< made at first use
void lua_websocket_metatable(lua_State *L); ///< makes it (lua_websocket.c)
#endif
