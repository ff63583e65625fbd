#include "http/client.h"

#include "base/escape.h"
#include "base/memory.h"
#include "lua/pending.h"
#include "lua/runtime.h"

/// runtime.http: outgoing requests and mail.

enum { HEADERS_MOST = 100, RECIPIENTS_MOST = 100, TIMEOUT_MS = 10000, REDIRECTS_MOST = 10 };

/// A call under way. Belongs to the transfer until on_done hands it to the coroutine; a cancelled
/// one is freed with its transfer.
struct call {
    struct http_client *client;
    http_client_handle transfer;
    lua_pending waiting;
    bool mail;
    char *error;
    int status;
    struct buffer headers, body;
};

static void call_free(struct call *call) {
    memory_free(call->error);
    buffer_free(&call->headers);
    buffer_free(&call->body);
    memory_free(call);
}

static void on_done(void *context, const struct http_client_response *response) {
    struct call *call = context;
    lua_State *co = lua_pending_take(call->waiting);
    if (!co) {
        call_free(call);
        return;
    }
    if (response->error) call->error = memory_copy_string(response->error);
    call->status = response->status;
    buffer_append_slice(&call->headers, response->headers);
    buffer_append_slice(&call->body, response->body);
    lua_pushlightuserdata(co, call);
    lua_pending_resume(co, 1);
}

static void on_cancel(void *data) {
    struct call *call = data;
    http_client_cancel(call->client, call->transfer);
    call_free(call);
}

static void push_headers(lua_State *L, struct slice text) {
    struct slice line;
    lua_newtable(L); // [-1] headers: lower-case name → value; a repeated one is a list
    while (text.data && slice_next(&text, '\n', &line)) {
        if (line.size && line.data[line.size - 1] == '\r') line.size--;
        size_t colon = slice_find(line, ':', 0);
        if (colon == line.size || colon == 0) continue;
        struct slice value = slice_trim(slice_sub(line, colon + 1, line.size));
        luaL_Buffer name;
        char *out = luaL_buffinitsize(L, &name, colon);
        for (size_t i = 0; i < colon; i++)
            out[i] = (char)(line.data[i] >= 'A' && line.data[i] <= 'Z' ? line.data[i] + 32 : line.data[i]);
        luaL_pushresultsize(&name, colon); // [-1] name
        lua_pushvalue(L, -1);
        int kind = lua_rawget(L, -3); // [-2] name, [-1] before
        if (kind == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlstring(L, value.data, value.size);
            lua_rawset(L, -3);
            continue;
        }
        if (kind != LUA_TTABLE) {
            lua_createtable(L, 2, 0);
            lua_insert(L, -2);
            lua_rawseti(L, -2, 1);
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, -5);
        }
        lua_pushlstring(L, value.data, value.size);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        lua_pop(L, 2);
    }
}

static int push_response(lua_State *L) { // [1] struct call
    struct call *call = lua_touserdata(L, 1);
    if (call->error) {
        lua_pushnil(L);
        lua_pushstring(L, call->error);
        return 2;
    }
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, call->status);
    lua_setfield(L, -2, "status");
    if (!call->mail) {
        push_headers(L, buffer_slice(&call->headers));
        lua_setfield(L, -2, "headers");
        lua_pushlstring(L, call->body.data ? call->body.data : "", call->body.size);
        lua_setfield(L, -2, "body");
    }
    return 1;
}

static int call_then(lua_State *L, int values, bool failed) {
    if (failed || values == 0) return lua_pending_throw(L);
    struct call *call = lua_touserdata(L, -1);
    int below = lua_gettop(L);
    lua_pushcfunction(L, push_response);
    lua_pushlightuserdata(L, call);
    int status = lua_pcall(L, 1, LUA_MULTRET, 0); // memory may run out while the table is made
    call_free(call);
    if (status != LUA_OK) return lua_error(L);
    return lua_gettop(L) - below;
}

static struct http_client *client_of(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    if (!runtime->http) luaL_error(L, "runtime.http is not available in the %s service", runtime->service);
    return runtime->http;
}

static const char *text_field(lua_State *L, const char *name, bool needed) {
    int kind = lua_getfield(L, 1, name); // stays on the stack: the text must live until it is sent
    if (kind == LUA_TNIL && !needed) return NULL;
    if (kind != LUA_TSTRING) luaL_error(L, "'%s' must be a string", name);
    size_t size;
    const char *text = lua_tolstring(L, -1, &size);
    if (memchr(text, 0, size)) luaL_error(L, "'%s' holds a NUL", name);
    return text;
}

static lua_Integer integer_field(lua_State *L, const char *name, lua_Integer otherwise, lua_Integer most) {
    int kind = lua_getfield(L, 1, name);
    lua_Integer value = kind == LUA_TNIL ? otherwise : luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    if (value < 0 || value > most) luaL_error(L, "'%s' is out of range", name);
    return value;
}

static unsigned timeout_field(lua_State *L) {
    int kind = lua_getfield(L, 1, "timeout");
    lua_Number seconds = kind == LUA_TNIL ? TIMEOUT_MS / 1000.0 : luaL_checknumber(L, -1);
    lua_pop(L, 1);
    if (!(seconds > 0 && seconds <= 600)) luaL_error(L, "'timeout' is between 0 and 600 seconds");
    return lua_pending_left(L, (unsigned)(seconds * 1000) ? (unsigned)(seconds * 1000) : 1);
}

static int start(lua_State *L, struct http_client *client, const struct http_client_request *request) {
    const char *wrong;
    struct call *call = memory_zero(1, sizeof *call);
    call->client = client;
    call->mail = request->from != NULL;
    call->transfer = http_client_send(client, request, on_done, call, &wrong);
    if (!call->transfer) {
        call_free(call);
        lua_pushnil(L);
        lua_pushstring(L, wrong);
        return 2;
    }
    // begin may raise (cancelled, past the deadline): then nobody would stop the transfer.
    call->waiting = lua_pending_begin(L, call->mail ? "http.smtp" : "http.request", on_cancel, call);
    return lua_pending_yield_then(L, call->waiting, call_then);
}

/// A wait that is bound to fail must fail before the transfer begins.
static void check_may_wait(lua_State *L, const char *what) {
    lua_pending handle = lua_pending_begin(L, what, NULL, NULL);
    lua_pending_drop(handle);
}

/// http.request{ url =, method =, headers = {}, body =, timeout = seconds, max = bytes, redirects =,
/// guard = true } → { status =, headers =, body = } or nil, reason
static int http_request_lua(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    check_may_wait(L, "http.request");
    struct http_client *client = client_of(L);
    struct http_client_header headers[HEADERS_MOST];
    struct http_client_request request = {.url = text_field(L, "url", true),
                                          .method = text_field(L, "method", false),
                                          .headers = headers};
    lua_getfield(L, 1, "body");
    if (!lua_isnil(L, -1)) request.body.data = luaL_checklstring(L, -1, &request.body.size);
    request.timeout_ms = timeout_field(L);
    request.max = (size_t)integer_field(L, "max", 1024 * 1024, 256 * 1024 * 1024);
    request.redirects = (unsigned)integer_field(L, "redirects", 0, REDIRECTS_MOST);
    lua_getfield(L, 1, "guard");
    request.guard = lua_toboolean(L, -1);
    luaL_checkstack(L, HEADERS_MOST + LUA_MINSTACK, "headers");
    if (lua_getfield(L, 1, "headers") != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TTABLE);
        int table = lua_gettop(L);
        lua_pushnil(L);
        while (lua_next(L, table)) { // [-2] name, [-1] value
            if (request.header_count == HEADERS_MOST) return luaL_error(L, "too many headers");
            if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
                return luaL_error(L, "headers are strings");
            struct http_client_header *header = &headers[request.header_count++];
            header->name.data = lua_tolstring(L, -2, &header->name.size);
            header->value.data = lua_tolstring(L, -1, &header->value.size);
            lua_pop(L, 1); // both are anchored in the table
        }
    }
    return start(L, client, &request);
}

/// http.smtp{ url =, from =, to = {…}, message =, username =, password =, timeout = } → { status = }
/// or nil, reason
static int http_smtp_lua(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    check_may_wait(L, "http.smtp");
    struct http_client *client = client_of(L);
    const char *to[RECIPIENTS_MOST];
    struct http_client_request request = {.url = text_field(L, "url", true),
                                          .from = text_field(L, "from", true),
                                          .username = text_field(L, "username", false),
                                          .password = text_field(L, "password", false),
                                          .to = to};
    lua_getfield(L, 1, "message");
    request.body.data = luaL_checklstring(L, -1, &request.body.size);
    request.timeout_ms = timeout_field(L);
    luaL_checkstack(L, RECIPIENTS_MOST + LUA_MINSTACK, "recipients");
    lua_getfield(L, 1, "to");
    if (lua_isstring(L, -1)) {
        to[request.to_count++] = lua_tostring(L, -1);
    } else {
        luaL_checktype(L, -1, LUA_TTABLE);
        int table = lua_gettop(L);
        for (lua_Integer i = 1; lua_rawgeti(L, table, i) != LUA_TNIL; i++) {
            if (request.to_count == RECIPIENTS_MOST) return luaL_error(L, "too many recipients");
            if (lua_type(L, -1) != LUA_TSTRING) return luaL_error(L, "recipients are strings");
            to[request.to_count++] = lua_tostring(L, -1);
            lua_pop(L, 1); // anchored in the table
        }
    }
    return start(L, client, &request);
}

/// http.escape(text): percent-encoded for a URL's path or query.
static int http_escape_lua(lua_State *L) {
    struct buffer out = {0};
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    escape_url(&out, slice_make(text, size));
    lua_pushlstring(L, out.data ? out.data : "", out.size);
    buffer_free(&out);
    return 1;
}

int lua_open_http(lua_State *L) {
    static const luaL_Reg functions[] = {{"request", http_request_lua}, {"smtp", http_smtp_lua},
                                         {"escape", http_escape_lua}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
