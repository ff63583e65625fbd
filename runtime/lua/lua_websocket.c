#include "lua/lua_websocket.h"

#include "base/log.h"
#include "base/utf8.h"
#include "lua/coroutine.h"
#include "lua/generation.h"
#include "websocket/connection.h"

#define SOCKET "runtime.websocket"
enum {
    INBOX_HIGH = 64 * 1024,  ///< unread bytes from which we do not read on
    INBOX_MESSAGES = 64,     ///< the same in messages
    SEND_HIGH = 64 * 1024,   ///< queued bytes from which send() waits
    SEND_MOST = 1024 * 1024, ///< bytes of one message
    STATE_MOST = 64 * 1024,
    GRACE_MS = 30000, ///< for a handler to end after the connection has
};

struct message {
    struct list link;
    size_t size;
    bool binary;
    char data[];
};

struct lua_websocket {
    struct list link;      ///< of lua_http.websockets
    struct lua_http *http; ///< NULL once that is gone
    struct websocket *ws;  ///< NULL once closed
    struct buffer state, reason;
    struct list inbox;
    size_t unread, unread_bytes;
    struct deferred bind;
    lua_run run;           ///< of the handler; 0: none, or not yet known
    lua_pending receiving;
    struct buffer senders; ///< lua_pending of each coroutine that waits in send()
    unsigned references;   ///< the connection's, the handler's, and those of userdata
    int code;
    char id[24];
    bool bound, resumed, paused;
};

struct userdata {
    struct lua_websocket *socket;
};

static void unref(struct lua_websocket *socket) {
    if (--socket->references) return;
    list_each(&socket->inbox, node) memory_free(container_of(node, struct message, link));
    buffer_free(&socket->state);
    buffer_free(&socket->reason);
    buffer_free(&socket->senders);
    memory_free(socket);
}

// ---- waking those who wait ------------------------------------------------------------------

static void wake_receiver(struct lua_websocket *socket) {
    lua_State *co = lua_pending_take(socket->receiving);
    socket->receiving = 0;
    if (co) lua_pending_resume(co, 0);
}

static void wake_senders(struct lua_websocket *socket) {
    struct buffer senders = socket->senders; // those who send again wait anew
    socket->senders = (struct buffer){0};
    for (size_t at = 0; at < senders.size; at += sizeof(lua_pending)) {
        lua_pending handle;
        memcpy(&handle, senders.data + at, sizeof handle);
        lua_State *co = lua_pending_take(handle);
        if (co) lua_pending_resume(co, 0);
    }
    buffer_free(&senders);
}

// ---- the handler ----------------------------------------------------------------------------

static void push_socket(lua_State *L, struct lua_websocket *socket) {
    lua_websocket_metatable(L);
    struct userdata *userdata = lua_newuserdatauv(L, sizeof *userdata, 1);
    userdata->socket = NULL;
    luaL_setmetatable(L, SOCKET);
    userdata->socket = socket;
    socket->references++;
}

static int push_arguments(lua_State *co, void *context) {
    struct lua_websocket *socket = context;
    lua_generations_label(co, socket->id);
    push_socket(co, socket);
    return 1;
}

static void on_done(void *context, lua_State *co, int results, const char *error) {
    struct lua_websocket *socket = context;
    (void)results;
    enum lua_fate fate = co ? lua_coroutine_of(co)->fate : LUA_FATE_NONE;
    bool cancelled = error && fate == LUA_FATE_CANCELLED;
    socket->bound = false;
    socket->run = 0;
    if (error && co && !cancelled)
        log_error("websocket.handler_failed", LOG_TEXT("request", socket->id),
                  LOG_TEXT("error", error));
    if (socket->ws && socket->http) {
        if (cancelled && lua_host_of(co)->retiring)
            loop_defer(socket->http->runtime->loop, &socket->bind);
        else
            websocket_close(socket->ws, !error ? 1000 : !co ? 1013 : cancelled ? 1001 : 1011, "");
    }
    unref(socket);
}

static void on_bind(struct deferred *deferred) {
    struct lua_websocket *socket = container_of(deferred, struct lua_websocket, bind);
    if (!socket->ws || socket->bound) return;
    struct runtime *runtime = socket->http->runtime;
    // CPU and memory are counted from one receive() to the next.
    struct lua_limits limits = {
        .cpu_ms = (unsigned)settings_integer(runtime->settings, "lua.cpu_ms", 500),
        .memory = (size_t)settings_integer(runtime->settings, "lua.memory", 32 * 1024 * 1024),
    };
    socket->bound = true;
    socket->references += 2; // the handler's, and this call's
    lua_run run = lua_generations_call(runtime->generations, "on_websocket", &limits,
                                       push_arguments, on_done, socket);
    if (socket->bound) socket->run = run;
    socket->resumed = true;
    unref(socket);
}

// ---- the connection -------------------------------------------------------------------------

static void on_message(struct websocket *ws, struct slice text, bool binary) {
    struct lua_websocket *socket = websocket_data(ws);
    struct message *message = memory_alloc(sizeof *message + text.size);
    message->size = text.size;
    message->binary = binary;
    if (text.size) memcpy(message->data, text.data, text.size);
    list_push_back(&socket->inbox, &message->link);
    socket->unread++;
    socket->unread_bytes += text.size;
    if (!socket->paused &&
        (socket->unread >= INBOX_MESSAGES || socket->unread_bytes >= INBOX_HIGH)) {
        socket->paused = true;
        websocket_pause(ws);
    }
    wake_receiver(socket);
}

static void on_drain(struct websocket *ws) {
    wake_senders(websocket_data(ws));
}

static void on_close(struct websocket *ws, int code, struct slice reason) {
    struct lua_websocket *socket = websocket_data(ws);
    socket->ws = NULL;
    socket->code = code;
    buffer_append_slice(&socket->reason, reason);
    loop_undefer(&socket->bind);
    list_remove(&socket->link);
    // A handler that does not look at its socket any more is not left to run for ever.
    struct lua_coroutine *co = lua_coroutine_find(socket->run);
    if (co && !co->deadline_at)
        lua_coroutine_set_deadline(co, loop_now(co->anchor.host->runtime->loop) + GRACE_MS);
    wake_receiver(socket);
    wake_senders(socket);
    unref(socket);
}

static const struct websocket_events events = {
    .on_message = on_message, .on_drain = on_drain, .on_close = on_close};

void lua_websocket_accept(struct lua_exchange *exchange, lua_State *co, int index) {
    struct http_request *request = exchange->request;
    struct lua_websocket *socket = memory_zero(1, sizeof *socket);
    socket->http = exchange->http;
    socket->references = 1;
    list_init(&socket->inbox);
    list_init(&socket->link);
    deferred_init(&socket->bind, on_bind);
    snprintf(socket->id, sizeof socket->id, "%s", request->id);
    size_t size;
    lua_pushliteral(co, "websocket");
    lua_rawget(co, index);
    const char *state = lua_tolstring(co, -1, &size);
    buffer_append(&socket->state, state, size);
    lua_pushliteral(co, "message_limit");
    lua_rawget(co, index);
    lua_Integer limit = lua_tointeger(co, -1);
    lua_pushliteral(co, "protocols");
    lua_rawget(co, index);
    struct websocket_options options = {
        .message_limit = limit > 0 && limit <= SEND_MOST ? (size_t)limit : 0,
        .queue_limit = 2 * SEND_MOST,
        .deflate = true,
        .protocols = lua_tostring(co, -1),
    };
    socket->ws = websocket_accept(request, &options, &events, socket);
    lua_pop(co, 3);
    if (!socket->ws) {
        unref(socket);
        return;
    }
    list_push_back(&socket->http->websockets, &socket->link);
    loop_defer(socket->http->runtime->loop, &socket->bind);
}

void lua_websocket_drain(struct lua_http *http) {
    list_each(&http->websockets, node) {
        websocket_close(container_of(node, struct lua_websocket, link)->ws, 1001, "");
    }
}

void lua_websocket_abort(struct lua_http *http) {
    list_each(&http->websockets, node) {
        struct lua_websocket *socket = container_of(node, struct lua_websocket, link);
        list_remove(&socket->link);
        loop_undefer(&socket->bind);
        socket->http = NULL;
        websocket_abort(socket->ws);
    }
}

// ---- methods --------------------------------------------------------------------------------

static struct lua_websocket *check(lua_State *L) {
    return ((struct userdata *)luaL_checkudata(L, 1, SOCKET))->socket;
}

static int push_closed(lua_State *L, struct lua_websocket *socket) {
    lua_pushnil(L);
    lua_pushliteral(L, "closed");
    if (socket->ws) return 2; // it is closing; the peer has not said its part yet
    lua_pushinteger(L, socket->code);
    lua_pushlstring(L, socket->reason.data ? socket->reason.data : "", socket->reason.size);
    return 4;
}

static int push_message(lua_State *L, struct lua_websocket *socket) {
    struct message *message = list_first(&socket->inbox, struct message, link);
    lua_pushlstring(L, message->data, message->size); // may raise: the message stays
    lua_pushstring(L, message->binary ? "binary" : "text");
    list_remove(&message->link);
    socket->unread--;
    socket->unread_bytes -= message->size;
    memory_free(message);
    if (socket->paused && socket->unread <= INBOX_MESSAGES / 2 &&
        socket->unread_bytes <= INBOX_HIGH / 2) {
        socket->paused = false;
        if (socket->ws) websocket_resume(socket->ws);
    }
    return 2;
}

static void on_receive_cancel(void *data) {
    ((struct lua_websocket *)data)->receiving = 0;
}

static int receive_then(lua_State *L, int values, bool failed);

static int receive(lua_State *L, lua_Number seconds) { // [1] socket
    struct lua_websocket *socket = check(L);
    if (socket->unread) return push_message(L, socket);
    if (!socket->ws) return push_closed(L, socket);
    if (socket->receiving) return luaL_error(L, "another coroutine waits for this socket");
    lua_pending handle = lua_pending_begin(L, "socket:receive", on_receive_cancel, socket);
    socket->receiving = handle;
    lua_pending_idle(handle);
    if (seconds >= 0) lua_pending_after(handle, (uint64_t)(seconds * 1000));
    return lua_pending_yield_then(L, handle, receive_then);
}

static int receive_then(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    if (values == 0) return receive(L, -1);
    lua_pushnil(L); // [-2] "timeout"
    lua_insert(L, -2);
    return 2;
}

/// socket:receive([seconds]) → message, "text" or "binary"; nil, "timeout"; or nil, "closed", code,
/// reason.
static int socket_receive(lua_State *L) {
    check(L);
    lua_Number seconds = luaL_optnumber(L, 2, -1);
    luaL_argcheck(L, seconds < 1e9, 2, "too long");
    lua_settop(L, 1);
    struct lua_coroutine *co = lua_coroutine_current();
    if (co) {
        co->cpu_ms = 0;
        co->grown = 0;
    }
    return receive(L, seconds);
}

static int send_then(lua_State *L, int values, bool failed) {
    (void)values;
    if (failed) return lua_pending_throw(L);
    struct lua_websocket *socket = check(L);
    if (!socket->ws) return push_closed(L, socket);
    lua_pushboolean(L, 1);
    return 1;
}

/// socket:send(message [, binary]) → true, or nil, "closed", … Waits while the peer is behind.
static int socket_send(lua_State *L) {
    struct lua_websocket *socket = check(L);
    size_t size;
    const char *data = luaL_checklstring(L, 2, &size);
    struct slice message = slice_make(data, size);
    bool binary = lua_toboolean(L, 3);
    luaL_argcheck(L, size <= SEND_MOST, 2, "longer than 1 MiB");
    luaL_argcheck(L, binary || utf8_valid(message), 2, "not UTF-8: send it as binary");
    if (!socket->ws || websocket_closing(socket->ws)) return push_closed(L, socket);
    if (websocket_send(socket->ws, message, binary) > SEND_HIGH) websocket_flush(socket->ws);
    lua_settop(L, 1);
    if (websocket_queued(socket->ws) <= SEND_HIGH) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pending handle = lua_pending_begin(L, "socket:send", NULL, NULL);
    buffer_append(&socket->senders, &handle, sizeof handle);
    return lua_pending_yield_then(L, handle, send_then);
}

/// socket:close([code [, reason]])
static int socket_close_lua(lua_State *L) {
    struct lua_websocket *socket = check(L);
    lua_Integer code = luaL_optinteger(L, 2, 1000);
    size_t size;
    const char *reason = luaL_optlstring(L, 3, "", &size);
    bool allowed = code == 1000 || code == 1001 || (code >= 1007 && code <= 1014 && code != 1010) ||
                   (code >= 3000 && code <= 4999);
    luaL_argcheck(L, allowed, 2, "no close code for applications");
    luaL_argcheck(L, size <= 123 && utf8_valid(slice_make(reason, size)), 3,
                  "at most 123 bytes of UTF-8");
    if (socket->ws) websocket_close(socket->ws, (int)code, reason);
    return 0;
}

/// socket:state([text]) → what is kept with the connection; with a text, that from now on.
static int socket_state(lua_State *L) {
    struct lua_websocket *socket = check(L);
    if (!lua_isnoneornil(L, 2)) {
        size_t size;
        const char *text = luaL_checklstring(L, 2, &size);
        luaL_argcheck(L, size <= STATE_MOST, 2, "longer than 64 KiB");
        buffer_clear(&socket->state, STATE_MOST);
        buffer_append(&socket->state, text, size);
    }
    lua_pushlstring(L, socket->state.data ? socket->state.data : "", socket->state.size);
    return 1;
}

static int socket_is(lua_State *L) { // → open, resumed, id
    struct lua_websocket *socket = check(L);
    lua_pushboolean(L, socket->ws && !websocket_closing(socket->ws));
    lua_pushboolean(L, socket->resumed);
    lua_pushstring(L, socket->id);
    return 3;
}

// Fields that handlers set are kept in user value 1, methods come from the upvalue.
static int socket_index(lua_State *L) {
    if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE) {
        lua_pushvalue(L, 2);
        if (lua_rawget(L, -2) != LUA_TNIL) return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

static int socket_newindex(lua_State *L) { // [1] socket, [2] key, [3] value
    luaL_checkudata(L, 1, SOCKET);
    if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, 1);
    }
    lua_insert(L, 2);
    lua_rawset(L, 2);
    return 0;
}

static int socket_gc(lua_State *L) {
    struct userdata *userdata = luaL_checkudata(L, 1, SOCKET);
    if (userdata->socket) unref(userdata->socket);
    userdata->socket = NULL;
    return 0;
}

void lua_websocket_metatable(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"receive", socket_receive}, {"send", socket_send}, {"close", socket_close_lua},
        {"state", socket_state},     {"is", socket_is},     {NULL, NULL}};
    if (!luaL_newmetatable(L, SOCKET)) {
        lua_pop(L, 1);
        return;
    }
    luaL_newlib(L, methods);
    lua_pushcclosure(L, socket_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, socket_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, socket_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
