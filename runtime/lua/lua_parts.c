#include "lua/lua_request.h"

/// Bodies that are worked on while they arrive: `for part in req:parts(limit) do … end`. What has
/// come and was not asked for yet is kept; from 64 KiB on the client waits.

enum { PART_HIGH = 64 * 1024 };
static const lua_Integer limit_default = 1024 * 1024 * 1024;

static bool on_part(struct http_request *request, struct slice part, bool last, int error) {
    struct lua_exchange *exchange = request->data;
    buffer_append_slice(&exchange->part, part);
    if (last || error) {
        exchange->part_last = true;
        exchange->body_state = LUA_BODY_GONE;
        exchange->body_error = error;
    }
    exchange->part_paused = exchange->part.size >= PART_HIGH;
    lua_State *co = lua_pending_take(exchange->waiting);
    exchange->waiting = 0;
    // The handler goes on at once and may ask for more, or answer, before this returns.
    exchange->references++;
    if (co) lua_pending_resume(co, 0);
    bool go_on = !exchange->part_paused;
    lua_exchange_unref(exchange);
    return go_on;
}

static int parts_next(lua_State *L);

static int parts_then(lua_State *L, int values, bool failed) {
    (void)values;
    if (failed) return lua_pending_throw(L);
    return parts_next(L);
}

/// [1] req: the next piece, or nil at the end.
static int parts_next(lua_State *L) {
    lua_settop(L, 1);
    struct lua_exchange *exchange = lua_request_check(L);
    if (exchange->part.size) {
        lua_pushlstring(L, exchange->part.data, exchange->part.size);
        buffer_clear(&exchange->part, PART_HIGH);
        if (exchange->part_paused) {
            exchange->part_paused = false;
            http_request_resume(exchange->request);
        }
        return 1;
    }
    if (exchange->part_last) {
        if (exchange->body_error)
            return lua_request_raise(L, exchange->body_error,
                                     lua_body_reason(exchange->body_error));
        lua_pushnil(L);
        return 1;
    }
    if (exchange->waiting) return luaL_error(L, "the body of the request is being read already");
    exchange->waiting = lua_pending_begin(L, "req:parts", NULL, NULL);
    return lua_pending_yield_then(L, exchange->waiting, parts_then);
}

static int parts_iterate(lua_State *L) { // upvalue 1: req
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    return parts_next(L);
}

/// req:parts([limit]) → iterator of the body's pieces, as they arrive
int lua_request_parts(lua_State *L) {
    struct lua_exchange *exchange = lua_request_check(L);
    lua_Integer limit = luaL_optinteger(L, 2, limit_default);
    luaL_argcheck(L, limit >= 0, 2, "a limit is not negative");
    if (exchange->body_state != LUA_BODY_UNREAD)
        return luaL_error(L, "the body of the request has been read otherwise");
    exchange->body_state = LUA_BODY_READING;
    http_request_read_parts(exchange->request, (uint64_t)limit, on_part);
    lua_settop(L, 1);
    lua_pushcclosure(L, parts_iterate, 1);
    return 1;
}

/// req:trailer(name) → what stood behind a chunked body that has been read to its end, or nil
int lua_request_trailer(lua_State *L) {
    struct lua_exchange *exchange = lua_request_check(L);
    char name[64];
    size_t size;
    const char *text = luaL_checklstring(L, 2, &size);
    lua_pushnil(L);
    if (size >= sizeof name) return 1;
    for (size_t i = 0; i <= size; i++)
        name[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    struct slice value = http_request_trailer(exchange->request, name);
    if (!value.data) return 1;
    lua_pushlstring(L, value.data, value.size);
    return 1;
}
