#include "lua/lua_request.h"

#include <ctype.h>

#include "base/utf8.h"
#include "http/cookies.h"
#include "http/query.h"
#include "lua/handles.h"

/// `req`: a userdata whose fields are made when asked for and then kept, together with what the
/// handlers put there, in a table of its own (user value 1).
///
/// It finds its exchange by a handle, which stops leading anywhere once the request is answered: so
/// it needs no finalizer, which would cost the collector several times what its memory does.

#define REQUEST "runtime.request"
enum { QUERY_PAIRS = 200, SPARES_MOST = 64 };

struct lua_request {
    uint64_t handle;
};

static struct handles exchanges;
static struct lua_exchange *spares; // finished ones, to be used again
static unsigned spare_count;
static char metatable_key; // its address, in the registry: the metatable of `req`

struct lua_exchange *lua_exchange_new(void) {
    struct lua_exchange *exchange = spares;
    if (exchange) {
        spares = exchange->next_spare;
        spare_count--;
        memset(exchange, 0, sizeof *exchange);
    } else {
        exchange = memory_zero(1, sizeof *exchange);
    }
    exchange->references = 1;
    exchange->handle = handles_add(&exchanges, exchange);
    return exchange;
}

void lua_exchange_end(struct lua_exchange *exchange) {
    handles_remove(&exchanges, exchange->handle);
    exchange->request = NULL;
    lua_exchange_unref(exchange);
}

void lua_exchange_unref(struct lua_exchange *exchange) {
    if (--exchange->references) return;
    buffer_free(&exchange->part);
    if (spare_count == SPARES_MOST) {
        memory_free(exchange);
        return;
    }
    exchange->next_spare = spares;
    spares = exchange;
    spare_count++;
}

int lua_request_raise(lua_State *L, int status, const char *reason) {
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "status");
    lua_pushstring(L, reason);
    lua_setfield(L, -2, "reason");
    return lua_error(L);
}

/// The exchange of the `req` at index 1, or NULL once it was answered.
static struct lua_exchange *request_find(lua_State *L) {
    struct lua_request *self = lua_touserdata(L, 1);
    bool same = false;
    if (self && lua_getmetatable(L, 1)) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
        same = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    if (!same) luaL_typeerror(L, 1, REQUEST);
    return handles_get(&exchanges, self->handle);
}

struct lua_exchange *lua_request_check(lua_State *L) {
    struct lua_exchange *exchange = request_find(L);
    if (!exchange) luaL_error(L, "the request has been answered");
    return exchange;
}

// ---- fields ---------------------------------------------------------------------------------

static void push_slice(lua_State *L, struct slice s) { lua_pushlstring(L, s.data ? s.data : "", s.size); }

void lua_push_urlencoded(lua_State *L, struct arena *arena, struct slice text) {
    struct slice rest = text, name, value;
    lua_newtable(L); // [-1] fields
    if (http_query_check(text, QUERY_PAIRS) < 0) lua_request_raise(L, 400, "malformed form");
    while (http_query_next(arena, &rest, &name, &value)) {
        if (!utf8_valid(name) || !utf8_valid(value)) lua_request_raise(L, 400, "text is not UTF-8");
        push_slice(L, name);
        lua_pushvalue(L, -1);
        int kind = lua_rawget(L, -3); // [-2] name, [-1] before
        if (kind == LUA_TNIL) {
            lua_pop(L, 1);
            push_slice(L, value);
            lua_rawset(L, -3);
            continue;
        }
        if (kind == LUA_TSTRING) { // a second one: make it a list
            lua_createtable(L, 2, 0);
            lua_insert(L, -2);
            lua_rawseti(L, -2, 1); // [-2] name, [-1] list
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        }
        push_slice(L, value);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        lua_pop(L, 2);
    }
}

static int headers_index(lua_State *L) { // [1] headers, [2] name in any case
    size_t size;
    const char *name = luaL_checklstring(L, 2, &size);
    luaL_Buffer lower;
    char *out = luaL_buffinitsize(L, &lower, size);
    for (size_t i = 0; i < size; i++) out[i] = (char)tolower((unsigned char)name[i]);
    luaL_pushresultsize(&lower, size);
    lua_rawget(L, 1);
    return 1;
}

static void push_headers(lua_State *L, const struct http_request *request) {
    lua_createtable(L, 0, (int)request->header_count);
    for (size_t i = 0; i < request->header_count; i++) {
        push_slice(L, request->headers[i].name);
        push_slice(L, request->headers[i].value);
        lua_rawset(L, -3);
    }
    if (luaL_newmetatable(L, "runtime.request.headers")) {
        lua_pushcfunction(L, headers_index);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
}

static void push_cookies(lua_State *L, const struct http_request *request) {
    struct slice rest = http_request_header(request, "cookie"), name, value;
    lua_newtable(L);
    while (http_cookie_next(&rest, &name, &value)) {
        // The first one counts: browsers send the one with the longer path first.
        push_slice(L, name);
        if (lua_rawget(L, -2) == LUA_TNIL) {
            push_slice(L, name);
            push_slice(L, value);
            lua_rawset(L, -4);
        }
        lua_pop(L, 1);
    }
}

static int query_repeated(lua_State *L) { // [1] query, [2] name; upvalue 1: names that are repeated
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNIL) return 1;
    lua_pushfstring(L, "the parameter '%s' is given more than once", lua_tostring(L, 2));
    return lua_request_raise(L, 400, lua_tostring(L, -1));
}

/// req.query: a string for each name. Asking for one that came twice raises a 400: no handler then
/// has to think of it, and none can be made to see another value than the one that was checked.
static void push_query(lua_State *L, struct http_request *request) {
    lua_push_urlencoded(L, &request->arena, request->query); // [-1] all
    lua_newtable(L);                                         // [-1] query
    lua_newtable(L);                                         // [-1] repeated
    bool any = false;
    lua_pushnil(L);
    while (lua_next(L, -4)) { // [-2] name, [-1] value
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, lua_istable(L, -3) ? -5 : -6);
        any = any || lua_istable(L, -1);
        lua_pop(L, 1);
    }
    if (any) {
        lua_createtable(L, 0, 1);
        lua_insert(L, -2);
        lua_pushcclosure(L, query_repeated, 1);
        lua_setfield(L, -2, "__index");
        lua_setmetatable(L, -2);
    } else {
        lua_pop(L, 1);
    }
    lua_remove(L, -2);
}

/// Pushes a built-in field; false (nothing pushed) if there is none of that name.
static bool push_field(lua_State *L, struct lua_exchange *exchange, const char *key) {
    struct http_request *request = exchange->request;
    struct slice name = slice_of(key);
#define IS(text) slice_equal(name, SLICE(text))
    if (IS("method")) push_slice(L, request->method);
    else if (IS("path")) push_slice(L, exchange->path);
    else if (IS("raw_path")) push_slice(L, request->path);
    else if (IS("target")) push_slice(L, request->target);
    else if (IS("query_string")) push_slice(L, request->query);
    else if (IS("query")) push_query(L, request);
    else if (IS("query_all")) lua_push_urlencoded(L, &request->arena, request->query);
    else if (IS("headers")) push_headers(L, request);
    else if (IS("cookies")) push_cookies(L, request);
    else if (IS("remote")) lua_pushstring(L, request->remote);
    else if (IS("secure")) lua_pushboolean(L, request->secure);
    else if (IS("scheme")) lua_pushstring(L, request->secure ? "https" : "http");
    else if (IS("id")) lua_pushstring(L, request->id);
    else if (IS("host")) push_slice(L, request->host);
    else if (IS("upgrade")) lua_pushboolean(L, request->upgrade);
    else if (IS("has_body")) lua_pushboolean(L, request->has_body);
    else return false;
#undef IS
    return true;
}

void lua_request_methods(lua_State *L) { luaL_getsubtable(L, LUA_REGISTRYINDEX, "runtime.request.methods"); }

static int request_index(lua_State *L) { // [1] req, [2] key; upvalue 1: the methods
    struct lua_exchange *exchange = request_find(L);
    if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE) { // [3] own fields
        lua_pushvalue(L, 2);
        if (lua_rawget(L, 3) != LUA_TNIL) return 1;
        lua_pop(L, 1);
    }
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    lua_settop(L, 2);
    if (lua_type(L, 2) != LUA_TSTRING || !exchange) return 0;
    if (!push_field(L, exchange, lua_tostring(L, 2))) return 0;
    // Kept, so that req.query.x twice parses once, and that it can be read when all is over.
    if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 4);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, 1);
    } // [3] value, [4] fields
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_rawset(L, 4);
    lua_settop(L, 3);
    return 1;
}

static int request_newindex(lua_State *L) { // [1] req, [2] key, [3] value
    request_find(L);
    if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 4);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, 1);
    }
    lua_insert(L, 2); // [2] fields, [3] key, [4] value
    lua_rawset(L, 2);
    return 0;
}

static int request_header(lua_State *L) { // req:header(name) → string or nil
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_getfield(L, 1, "headers");
    lua_insert(L, 2);
    lua_gettable(L, 2);
    return 1;
}

/// req:log_as(path): what the access log shows in place of the path, where that holds a secret.
static int request_log_as(lua_State *L) {
    struct lua_exchange *exchange = lua_request_check(L);
    size_t size;
    const char *path = luaL_checklstring(L, 2, &size);
    exchange->request->log_path = arena_slice(&exchange->request->arena, slice_make(path, size));
    return 0;
}

static int request_tostring(lua_State *L) {
    lua_settop(L, 1);
    lua_getfield(L, 1, "method");
    lua_getfield(L, 1, "raw_path");
    lua_pushfstring(L, "request (%s %s)", lua_isstring(L, 2) ? lua_tostring(L, 2) : "answered",
                    lua_isstring(L, 3) ? lua_tostring(L, 3) : "");
    return 1;
}

void lua_request_metatable(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key) == LUA_TTABLE) return;
    lua_pop(L, 1);
    static const luaL_Reg meta[] = {
        {"__newindex", request_newindex}, {"__tostring", request_tostring}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"header", request_header}, {"body", lua_request_body}, {"json", lua_request_json},
        {"form", lua_request_form}, {"parts", lua_request_parts}, {"trailer", lua_request_trailer},
        {"log_as", request_log_as}, {NULL, NULL}};
    luaL_newmetatable(L, REQUEST);
    luaL_setfuncs(L, meta, 0);
    lua_request_methods(L);
    luaL_setfuncs(L, methods, 0);
    lua_pushcclosure(L, request_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable_key);
}

void lua_request_push(lua_State *L, const struct lua_exchange *exchange) {
    struct lua_request *self = lua_newuserdatauv(L, sizeof *self, 1);
    self->handle = exchange->handle;
    lua_request_metatable(L);
    lua_setmetatable(L, -2);
}
