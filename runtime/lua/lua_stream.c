#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lua/lua_websocket.h"

/// runtime.request.connect: a raw connection into the server that serves in-process requests, so
/// that the test client can speak what is no request with an answer: WebSocket.

#define STREAM "runtime.stream"
enum { INPUT_MOST = 16 * 1024 * 1024 };

struct stream {
    struct socket socket;
    struct buffer input;
    lua_pending waiting;
    bool collected, closed;
};

struct userdata {
    struct stream *stream;
};

static void stream_free(struct stream *stream) {
    buffer_free(&stream->input);
    memory_free(stream);
}

static void wake(struct stream *stream) {
    lua_State *co = lua_pending_take(stream->waiting);
    stream->waiting = 0;
    if (co) lua_pending_resume(co, 0);
}

static void on_data(struct socket *socket, const char *data, size_t size) {
    struct stream *stream = container_of(socket, struct stream, socket);
    if (stream->input.size + size > INPUT_MOST) {
        socket_close_now(socket, 0);
        return;
    }
    buffer_append(&stream->input, data, size);
    wake(stream);
}

static void on_close(struct socket *socket, int error) {
    struct stream *stream = container_of(socket, struct stream, socket);
    (void)error;
    stream->closed = true;
    if (stream->collected)
        stream_free(stream);
    else
        wake(stream);
}

static const struct socket_events events = {.on_data = on_data, .on_close = on_close};

static struct stream *check(lua_State *L) {
    struct userdata *userdata = luaL_checkudata(L, 1, STREAM);
    if (!userdata->stream) luaL_error(L, "the stream is closed");
    return userdata->stream;
}

static void on_cancel(void *data) {
    ((struct stream *)data)->waiting = 0;
}

static int read_then(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    struct stream *stream = check(L);
    if (stream->input.size == 0) {
        lua_pushnil(L);
        lua_pushstring(L, values ? "timeout" : "closed");
        return 2;
    }
    lua_pushlstring(L, stream->input.data, stream->input.size);
    buffer_clear(&stream->input, INPUT_MOST);
    return 1;
}

/// stream:read(seconds) → bytes, or nil and "timeout" or "closed"
static int stream_read(lua_State *L) {
    struct stream *stream = check(L);
    lua_Number seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e6, 2, "0 to 1,000,000 seconds");
    lua_settop(L, 1);
    if (stream->input.size || stream->closed) return read_then(L, 0, false);
    stream->waiting = lua_pending_begin(L, "stream:read", on_cancel, stream);
    lua_pending_after(stream->waiting, (uint64_t)(seconds * 1000));
    return lua_pending_yield_then(L, stream->waiting, read_then);
}

static int stream_write(lua_State *L) {
    struct stream *stream = check(L);
    size_t size;
    const char *data = luaL_checklstring(L, 2, &size);
    if (!stream->closed) socket_write(&stream->socket, data, size);
    lua_pushboolean(L, !stream->closed);
    return 1;
}

/// stream:pause(on): leaves what the server sends with it, as a peer that does not read would.
static int stream_pause(lua_State *L) {
    struct stream *stream = check(L);
    if (stream->closed) return 0;
    if (lua_toboolean(L, 2))
        socket_pause(&stream->socket);
    else
        socket_resume(&stream->socket);
    return 0;
}

static int stream_close(lua_State *L) {
    struct userdata *userdata = luaL_checkudata(L, 1, STREAM);
    struct stream *stream = userdata->stream;
    userdata->stream = NULL;
    if (!stream) return 0;
    lua_pending_drop(stream->waiting);
    stream->waiting = 0;
    if (stream->closed) {
        stream_free(stream);
    } else {
        stream->collected = true;
        socket_close(&stream->socket);
    }
    return 0;
}

int lua_stream_connect(lua_State *L) {
    static const luaL_Reg methods[] = {{"read", stream_read},   {"write", stream_write},
                                       {"pause", stream_pause}, {"close", stream_close},
                                       {NULL, NULL}};
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    struct lua_http *http = lua_http_of(runtime_of(L));
    struct userdata *userdata = lua_newuserdatauv(L, sizeof *userdata, 0);
    userdata->stream = NULL;
    if (luaL_newmetatable(L, STREAM)) {
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, stream_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return luaL_error(L, "connect: no sockets");
    if (http_server_accept(lua_http_inside(http), fds[0]) != 0) {
        close(fds[1]);
        return luaL_error(L, "connect: no sockets");
    }
    struct stream *stream = memory_zero(1, sizeof *stream);
    if (socket_open(http->runtime->loop, &stream->socket, fds[1], &events) != 0) {
        memory_free(stream);
        return luaL_error(L, "connect: no sockets");
    }
    userdata->stream = stream;
    socket_write(&stream->socket, text, size);
    return 1;
}
