#include <sys/socket.h>

#include "http/chunked.h"
#include "http/parser.h"
#include "lua/lua_request.h"
#include "lua/lua_template.h"

/// runtime.request.dispatch: a request to on_request from inside the process, for tests. It goes
/// through a socket pair and the real server, so that a test sees what a browser would: limits,
/// framing, streaming and all.

enum { ANSWER_LIMIT = 64 * 1024 * 1024 };

struct dispatch {
    struct socket socket;
    struct buffer answer;
    lua_pending waiting;
    bool head; ///< the method was HEAD
};

static void dispatch_free(struct dispatch *dispatch) {
    buffer_free(&dispatch->answer);
    memory_free(dispatch);
}

static void on_data(struct socket *socket, const char *data, size_t size) {
    struct dispatch *dispatch = container_of(socket, struct dispatch, socket);
    if (dispatch->answer.size + size > ANSWER_LIMIT) socket_close_now(socket, 0);
    else buffer_append(&dispatch->answer, data, size);
}

static void on_end(struct socket *socket) {
    socket_close_now(socket, 0);
}

static void on_close(struct socket *socket, int error) {
    struct dispatch *dispatch = container_of(socket, struct dispatch, socket);
    (void)error;
    lua_State *co = lua_pending_take(dispatch->waiting);
    if (!co) {
        dispatch_free(dispatch);
        return;
    }
    lua_pushlightuserdata(co, dispatch); // from here on it is dispatch_then's
    lua_pending_resume(co, 1);
}

static const struct socket_events dispatch_events = {.on_data = on_data, .on_end = on_end, .on_close = on_close};

static void on_cancel(void *data) {
    socket_close_now(&((struct dispatch *)data)->socket, 0); // on_close frees it
}

static void add_header(lua_State *L, struct slice name, struct slice value) {
    lua_pushlstring(L, name.data, name.size); // [-1] name; headers at -2
    int kind = lua_rawget(L, -2);
    if (kind == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushlstring(L, name.data, name.size);
        lua_pushlstring(L, value.data, value.size);
        lua_rawset(L, -3);
        return;
    }
    if (kind != LUA_TTABLE) {
        lua_createtable(L, 2, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
        lua_pushlstring(L, name.data, name.size);
        lua_pushvalue(L, -2);
        lua_rawset(L, -4);
    }
    lua_pushlstring(L, value.data, value.size);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

static bool unchunk(struct slice body, struct buffer *out) {
    struct http_chunked chunked = {0};
    enum http_chunked_result result;
    size_t used;
    struct slice part;
    do {
        result = http_chunked_read(&chunked, body, &used, &part);
        buffer_append_slice(out, part);
        body = slice_sub(body, used, body.size);
    } while (result == HTTP_CHUNKED_PART);
    http_chunked_free(&chunked);
    return result == HTTP_CHUNKED_END;
}

/// Pushes { status, headers, body } or nil and what is wrong.
static int push_answer(lua_State *L, const struct dispatch *dispatch) {
    struct slice all = buffer_slice(&dispatch->answer);
    while (slice_starts(all, SLICE("HTTP/1.1 100 "))) {
        size_t end = slice_search(all, SLICE("\r\n\r\n"));
        all = slice_sub(all, end + 4, all.size);
    }
    size_t end = all.size ? slice_search(all, SLICE("\r\n\r\n")) : 0;
    if (end >= all.size || !slice_starts(all, SLICE("HTTP/1.1 "))) {
        lua_pushnil(L);
        lua_pushliteral(L, "the connection was closed without an answer");
        return 2;
    }
    struct slice head = slice_sub(all, 0, end), body = slice_sub(all, end + 4, all.size), line;
    uint64_t status = 0, length = UINT64_MAX;
    bool chunked = false;
    slice_to_u64(slice_sub(head, 9, 3), &status);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)status);
    lua_setfield(L, -2, "status");
    lua_newtable(L);
    slice_next(&head, '\n', &line);
    while (head.data && slice_next(&head, '\n', &line)) {
        if (line.size && line.data[line.size - 1] == '\r') line.size--;
        size_t colon = slice_find(line, ':', 0);
        char name[128];
        size_t size = colon < sizeof name ? colon : sizeof name;
        for (size_t i = 0; i < size; i++)
            name[i] = (char)(line.data[i] >= 'A' && line.data[i] <= 'Z' ? line.data[i] + 32 : line.data[i]);
        struct slice key = slice_make(name, size);
        struct slice value = slice_trim(slice_sub(line, colon + 1, line.size));
        if (slice_equal(key, SLICE("content-length"))) slice_to_u64(value, &length);
        if (slice_equal(key, SLICE("transfer-encoding"))) chunked = true;
        add_header(L, key, value);
    }
    lua_setfield(L, -2, "headers");
    bool whole = true, none = dispatch->head || status == 204 || status == 304;
    if (chunked && !none) {
        struct buffer *out = template_buffer_push(L); // the collector's, should the next line raise
        whole = unchunk(body, out);
        lua_pushlstring(L, out->data ? out->data : "", out->size);
        lua_remove(L, -2);
    } else {
        whole = none || length == UINT64_MAX || length == body.size;
        lua_pushlstring(L, body.data ? body.data : "", body.size);
    }
    lua_setfield(L, -2, "body");
    if (!whole) {
        lua_pop(L, 1);
        lua_pushnil(L);
        lua_pushliteral(L, "the answer was cut off");
        return 2;
    }
    return 1;
}

static int dispatch_then(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    struct dispatch *dispatch = values ? lua_touserdata(L, -1) : NULL;
    if (!dispatch) return luaL_error(L, "dispatch: no answer");
    int count = push_answer(L, dispatch);
    dispatch_free(dispatch);
    return count;
}

static void write_head(lua_State *L, struct buffer *out, struct dispatch *dispatch) {
    size_t size;
    lua_getfield(L, 1, "method");
    const char *method = luaL_optstring(L, -1, "GET");
    lua_getfield(L, 1, "path");
    const char *path = luaL_optstring(L, -1, "/");
    dispatch->head = strcmp(method, "HEAD") == 0;
    buffer_printf(out, "%s %s HTTP/1.1\r\n", method, path);
    bool host = false, length = false;
    if (lua_getfield(L, 1, "headers") == LUA_TTABLE) {
        lua_pushnil(L);
        while (lua_next(L, -2)) {
            if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1))
                luaL_error(L, "dispatch: a header is no string");
            struct slice name = slice_of(lua_tostring(L, -2));
            host = host || slice_equal_fold(name, SLICE("host"));
            length = length || slice_equal_fold(name, SLICE("content-length")) ||
                     slice_equal_fold(name, SLICE("transfer-encoding"));
            const char *value = lua_tolstring(L, -1, &size);
            buffer_printf(out, "%.*s: ", SLICE_FORMAT(name));
            buffer_append(out, value, size);
            buffer_append_text(out, "\r\n");
            lua_pop(L, 1);
        }
    }
    lua_getfield(L, 1, "remote");
    buffer_printf(out, "X-Forwarded-For: %s\r\n", luaL_optstring(L, -1, "127.0.0.1"));
    lua_getfield(L, 1, "secure");
    if (lua_toboolean(L, -1)) buffer_append_text(out, "X-Forwarded-Proto: https\r\n");
    lua_getfield(L, 1, "body");
    const char *body = luaL_optlstring(L, -1, NULL, &size);
    if (body && !length) buffer_printf(out, "Content-Length: %zu\r\n", size);
    if (!host) buffer_append_text(out, "Host: localhost\r\n");
    buffer_append_text(out, "Connection: close\r\n\r\n");
    if (body) buffer_append(out, body, size);
}

static int dispatch_protected(lua_State *L) { // [1] options, [2] buffer, [3] dispatch
    write_head(L, lua_touserdata(L, 2), lua_touserdata(L, 3));
    return 0;
}

struct http_server *lua_http_inside(struct lua_http *http) {
    if (http->inside) return http->inside;
    struct http_server_options options = {.trusted_proxies = "unix", .access_log = true, .name = "inside"};
    http_limits_default(&options.limits);
    lua_http_attach(http->runtime, &options);
    http->inside = http_server_new(http->runtime->loop, &options);
    return http->inside;
}

/// dispatch{ method =, path =, headers = {…}, body =, remote =, secure = } →
/// { status =, headers =, body = } or nil, reason. Header names of the answer are in lower case; a
/// repeated one is a list.
int lua_dispatch(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct lua_http *http = lua_http_of(runtime_of(L));
    struct dispatch *dispatch = memory_zero(1, sizeof *dispatch);
    struct buffer head = {0};
    int fds[2] = {-1, -1};
    lua_pushcfunction(L, dispatch_protected);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, &head);
    lua_pushlightuserdata(L, dispatch);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
        buffer_free(&head);
        dispatch_free(dispatch);
        return lua_error(L);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0 ||
        http_server_accept(lua_http_inside(http), fds[0]) != 0 ||
        socket_open(http->runtime->loop, &dispatch->socket, fds[1], &dispatch_events) != 0) {
        buffer_free(&head);
        dispatch_free(dispatch);
        return luaL_error(L, "dispatch: no sockets");
    }
    socket_write(&dispatch->socket, head.data, head.size);
    buffer_free(&head);
    dispatch->waiting = lua_pending_begin(L, "request.dispatch", on_cancel, dispatch);
    return lua_pending_yield_then(L, dispatch->waiting, dispatch_then);
}
