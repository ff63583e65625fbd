// runtime.task: semaphores and channels between the coroutines of one state. Whoever is woken looks
// again: between the waking and its turn somebody else may have been quicker, and then it queues
// once more.
#include "lua/lua_task.h"

#define SEMAPHORE "runtime.semaphore"
#define PERMIT "runtime.permit"
#define CHANNEL "runtime.channel"

// Stack index 3 of both waiting functions: when to give up (loop ms, 0: never).
static void set_limit(lua_State *L, lua_pending handle) {
    lua_Integer until = lua_tointeger(L, 3), now = (lua_Integer)loop_now(runtime_of(L)->loop);
    if (until) lua_pending_after(handle, until > now ? (uint64_t)(until - now) : 0);
}

static void push_until(lua_State *L, int seconds) {
    lua_Integer until = 0;
    if (!lua_isnoneornil(L, seconds)) {
        until = (lua_Integer)(loop_now(runtime_of(L)->loop) + task_check_seconds(L, seconds));
    }
    lua_pushinteger(L, until);
}

static int timed_out(lua_State *L) {
    luaL_pushfail(L);
    lua_pushliteral(L, "timeout");
    return 2;
}

// ---- semaphore ------------------------------------------------------------------------------

struct semaphore {
    lua_Integer free;
    struct waiters waiters;
};

static int release(lua_State *L) { // a permit; a second time does nothing
    bool *held = luaL_checkudata(L, 1, PERMIT);
    if (!*held) return 0;
    *held = false;
    lua_getiuservalue(L, 1, 1);
    struct semaphore *semaphore = lua_touserdata(L, -1);
    semaphore->free++;
    waiters_wake_one(&semaphore->waiters);
    return 0;
}

static int acquire_again(lua_State *L, int values, bool failed);

static int acquire_step(lua_State *L) { // [1] semaphore, [2] -, [3] until
    struct semaphore *semaphore = lua_touserdata(L, 1);
    if (semaphore->free == 0) {
        lua_pending handle = lua_pending_begin(L, "semaphore:acquire", NULL, NULL);
        waiters_add(&semaphore->waiters, handle);
        set_limit(L, handle);
        return lua_pending_yield_then(L, handle, acquire_again);
    }
    bool *held = lua_newuserdatauv(L, sizeof *held, 1);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, PERMIT);
    *held = true;
    semaphore->free--;
    return 1;
}

static int acquire_again(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    if (values == 1) return timed_out(L);
    return acquire_step(L);
}

// semaphore:acquire([seconds]): a permit for `local permit <close> =`, or nil and "timeout".
static int acquire(lua_State *L) {
    luaL_checkudata(L, 1, SEMAPHORE);
    lua_settop(L, 2);
    push_until(L, 2);
    return acquire_step(L);
}

static int semaphore_new(lua_State *L) {
    lua_Integer permits = luaL_checkinteger(L, 1);
    luaL_argcheck(L, permits > 0, 1, "must be more than 0");
    struct semaphore *semaphore = lua_newuserdatauv(L, sizeof *semaphore, 0);
    *semaphore = (struct semaphore){.free = permits};
    luaL_setmetatable(L, SEMAPHORE);
    return 1;
}

static int semaphore_collect(lua_State *L) {
    waiters_free(&((struct semaphore *)luaL_checkudata(L, 1, SEMAPHORE))->waiters);
    return 0;
}

// ---- channel --------------------------------------------------------------------------------

struct channel { // its items are the uservalue table, keys first .. first + count - 1
    lua_Integer first, count, capacity;
    bool closed;
    struct waiters senders, receivers;
};

static struct channel *check_channel(lua_State *L) {
    return luaL_checkudata(L, 1, CHANNEL);
}

static int send_again(lua_State *L, int values, bool failed);

static int send_step(lua_State *L) { // [1] channel, [2] value, [3] until
    struct channel *channel = lua_touserdata(L, 1);
    if (channel->closed) {
        luaL_pushfail(L);
        lua_pushliteral(L, "closed");
        return 2;
    }
    if (channel->count >= channel->capacity) {
        lua_pending handle = lua_pending_begin(L, "channel:send", NULL, NULL);
        waiters_add(&channel->senders, handle);
        set_limit(L, handle);
        return lua_pending_yield_then(L, handle, send_again);
    }
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, channel->first + channel->count++);
    waiters_wake_one(&channel->receivers);
    lua_pushboolean(L, 1);
    return 1;
}

static int send_again(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    if (values == 1) return timed_out(L);
    return send_step(L);
}

// channel:send(value [, seconds]): true; nil and "timeout" or "closed".
static int channel_send(lua_State *L) {
    check_channel(L);
    luaL_argcheck(L, !lua_isnoneornil(L, 2), 2, "nil cannot be sent");
    lua_settop(L, 3);
    push_until(L, 3);
    lua_replace(L, 3);
    return send_step(L);
}

static int receive_again(lua_State *L, int values, bool failed);

static int receive_step(lua_State *L) { // [1] channel, [2] -, [3] until
    struct channel *channel = lua_touserdata(L, 1);
    if (channel->count == 0) {
        if (channel->closed) {
            luaL_pushfail(L);
            lua_pushliteral(L, "closed");
            return 2;
        }
        lua_pending handle = lua_pending_begin(L, "channel:receive", NULL, NULL);
        lua_pending_idle(handle);
        waiters_add(&channel->receivers, handle);
        set_limit(L, handle);
        return lua_pending_yield_then(L, handle, receive_again);
    }
    lua_getiuservalue(L, 1, 1);
    lua_rawgeti(L, -1, channel->first);
    lua_pushnil(L);
    lua_rawseti(L, -3, channel->first);
    channel->first++;
    channel->count--;
    waiters_wake_one(&channel->senders);
    return 1;
}

static int receive_again(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    if (values == 1) return timed_out(L);
    return receive_step(L);
}

// channel:receive([seconds]): the oldest value; nil and "timeout", or "closed" when it is empty
// too.
static int channel_receive(lua_State *L) {
    check_channel(L);
    lua_settop(L, 2);
    push_until(L, 2);
    return receive_step(L);
}

static int channel_close(lua_State *L) {
    struct channel *channel = check_channel(L);
    channel->closed = true;
    waiters_wake_all(&channel->senders);
    waiters_wake_all(&channel->receivers);
    return 0;
}

static int channel_length(lua_State *L) {
    lua_pushinteger(L, check_channel(L)->count);
    return 1;
}

static int channel_collect(lua_State *L) {
    waiters_free(&check_channel(L)->senders);
    waiters_free(&check_channel(L)->receivers);
    return 0;
}

// channel([capacity]): at least 1; a full one makes its senders wait.
static int channel_new(lua_State *L) {
    lua_Integer capacity = luaL_optinteger(L, 1, 1);
    luaL_argcheck(L, capacity > 0, 1, "must be more than 0");
    struct channel *channel = lua_newuserdatauv(L, sizeof *channel, 1);
    *channel = (struct channel){.first = 1, .capacity = capacity};
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, CHANNEL);
    return 1;
}

static void new_class(lua_State *L, const char *name, const luaL_Reg *methods) {
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

void task_open_sync(lua_State *L) {
    static const luaL_Reg semaphore[] = {
        {"acquire", acquire}, {"__gc", semaphore_collect}, {NULL, NULL}};
    static const luaL_Reg permit[] = {
        {"release", release}, {"__close", release}, {"__gc", release}, {NULL, NULL}};
    static const luaL_Reg channel[] = {{"send", channel_send},    {"receive", channel_receive},
                                       {"close", channel_close},  {"__len", channel_length},
                                       {"__gc", channel_collect}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"semaphore", semaphore_new}, {"channel", channel_new}, {NULL, NULL}};
    new_class(L, SEMAPHORE, semaphore);
    new_class(L, PERMIT, permit);
    new_class(L, CHANNEL, channel);
    luaL_setfuncs(L, functions, 0);
}
