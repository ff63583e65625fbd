// runtime.task: sleep, every and deadline.
#include <stdio.h>

#include "base/log.h"
#include "lua/lua_task.h"
#include "lua/trace.h"

static int after_sleep(lua_State *L, int values, bool failed) {
    (void)values;
    return failed ? lua_pending_throw(L) : 0;
}

static int after_turn(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    lua_coroutine_check(L, lua_coroutine_current());
    return 0;
}

// sleep(seconds). A job's sleep is where a reload may end it. sleep(0) lets everybody else run
// first.
static int sleep_for(lua_State *L) {
    uint64_t wait = task_check_seconds(L, 1);
    lua_pending handle = lua_pending_begin(L, "task.sleep", NULL, NULL);
    if (wait == 0) {
        lua_pending_drop(handle);
        lua_coroutine_requeue(L, false);
        return lua_yieldk(L, 0, 0, after_turn);
    }
    lua_pending_idle(handle);
    lua_pending_after(handle, wait);
    return lua_pending_yield_then(L, handle, after_sleep);
}

// ---- every ----------------------------------------------------------------------------------
// Body of the task, stack: [1] milliseconds, [2] function, [3] deadline of one run in ms.

static int every_rest(lua_State *L);

static int every_after(lua_State *L, int status, lua_KContext context) {
    (void)context;
    struct lua_coroutine *co = lua_coroutine_current();
    if (status != LUA_OK && status != LUA_YIELD) {
        if (co->fate == LUA_FATE_CANCELLED) return lua_error(L);
        struct buffer text = {0};
        trace_describe(&text, L, -1, co);
        log_error("lua.timer_failed", LOG_TEXT("error", buffer_text(&text)));
        buffer_free(&text);
    }
    task_clear_fate(co);
    lua_coroutine_set_deadline(co, 0);
    co->cpu_ms = 0;
    co->grown = 0;
    lua_settop(L, 3);
    return every_rest(L);
}

static int every_due(lua_State *L, int values, bool failed) {
    (void)values;
    if (failed) return lua_error(L);
    struct lua_coroutine *co = lua_coroutine_current();
    lua_settop(L, 3);
    uint64_t limit = (uint64_t)lua_tointeger(L, 3);
    if (limit) lua_coroutine_set_deadline(co, loop_now(runtime_of(L)->loop) + limit);
    lua_pushcfunction(L, trace_handler);
    lua_pushvalue(L, 2);
    return every_after(L, lua_pcallk(L, 0, 0, 4, 0, every_after), 0);
}

static int every_rest(lua_State *L) {
    lua_pending handle = lua_pending_begin(L, "task.every", NULL, NULL);
    lua_pending_idle(handle);
    lua_pending_after(handle, (uint64_t)lua_tointeger(L, 1));
    return lua_pending_yield_then(L, handle, every_due);
}

// every(seconds, fn): a task that calls fn again and again, that long after the end of the last
// call. An error is logged and the next call comes all the same. Each call has the spawner's
// limits.
static int every(lua_State *L) {
    uint64_t wait = task_check_seconds(L, 1);
    luaL_argcheck(L, wait > 0, 1, "must be more than 0");
    luaL_checktype(L, 2, LUA_TFUNCTION);
    struct lua_coroutine *spawner = lua_coroutine_of(L);
    if (!spawner) return luaL_error(L, "timers cannot be started while modules load");
    struct lua_limits limits = spawner->limits;
    lua_settop(L, 2);
    lua_pushcfunction(L, every_rest);
    lua_pushinteger(L, (lua_Integer)wait);
    lua_pushvalue(L, 2);
    lua_pushinteger(L, limits.deadline_ms);
    limits.deadline_ms = 0;
    task_spawn(L, 3, &limits);
    return 1;
}

// ---- deadline -------------------------------------------------------------------------------
// Stack: [1] the deadline that stood before, [2] this one, [3] function, arguments.

static int deadline_after(lua_State *L, int status, lua_KContext context) {
    (void)context;
    struct lua_coroutine *co = lua_coroutine_current();
    uint64_t before = (uint64_t)lua_tointeger(L, 1), mine = (uint64_t)lua_tointeger(L, 2);
    bool expired = co->fate == LUA_FATE_DEADLINE && co->deadline_at == mine && mine != before;
    if (expired) task_clear_fate(co);
    if (co->deadline_at == mine) lua_coroutine_set_deadline(co, before);
    if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - 2;
    return lua_error(L);
}

// deadline(seconds, fn, ...): fn's results; an error "deadline exceeded" inside fn when it takes
// longer. An earlier deadline around it stays in force.
static int deadline(lua_State *L) {
    uint64_t limit = task_check_seconds(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    struct lua_coroutine *co = lua_coroutine_current();
    if (!co || !lua_isyieldable(L)) return luaL_error(L, "task.deadline cannot be used here");
    uint64_t mine = loop_now(runtime_of(L)->loop) + limit, before = co->deadline_at;
    if (before && before < mine) mine = before;
    lua_pushinteger(L, (lua_Integer)mine);
    lua_replace(L, 1);
    lua_pushinteger(L, (lua_Integer)before);
    lua_insert(L, 1); // before, mine, fn, arguments
    if (mine != before) lua_coroutine_set_deadline(co, mine);
    return deadline_after(L, lua_pcallk(L, lua_gettop(L) - 3, LUA_MULTRET, 0, 0, deadline_after),
                          0);
}

void task_open_timers(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"sleep", sleep_for}, {"every", every}, {"deadline", deadline}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
