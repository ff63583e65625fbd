// runtime.task: tasks. A task is a coroutine with a handle; it has limits of its own, as large as
// its spawner's, and the spawner's request id. It ends on its own account: a request that ends or
// is cancelled leaves its tasks running, unless it was waiting for them by wait_all.
#include "lua/lua_task.h"

#include <math.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "lua/trace.h"

#define TASK "runtime.task"

enum { SPAWNS_A_TURN = 100 };

struct task {
    lua_run run;
    int self; // registry reference while it runs
    bool finished, failed;
    struct waiters waiters;
};

// ---- waiters --------------------------------------------------------------------------------

void waiters_add(struct waiters *waiters, lua_pending handle) {
    if (waiters->count == waiters->capacity) {
        waiters->capacity = waiters->capacity ? waiters->capacity * 2 : 4;
        waiters->handles = memory_resize(waiters->handles, waiters->capacity * sizeof(lua_pending));
    }
    waiters->handles[waiters->count++] = handle;
}

static bool wake(lua_pending handle) {
    lua_State *L = lua_pending_take(handle);
    // At the end of the tick: tasks that wait for tasks must not nest on the C stack.
    if (L) lua_coroutine_continue(lua_coroutine_of(L), 0, false, true);
    return L != NULL;
}

bool waiters_wake_one(struct waiters *waiters) {
    size_t taken = 0;
    bool woken = false;
    while (taken < waiters->count && !woken) woken = wake(waiters->handles[taken++]);
    waiters->count -= taken;
    if (waiters->count > 0) {
        memmove(waiters->handles, waiters->handles + taken, waiters->count * sizeof(lua_pending));
    }
    return woken;
}

void waiters_wake_all(struct waiters *waiters) {
    for (size_t i = 0; i < waiters->count; i++) wake(waiters->handles[i]);
    waiters->count = 0;
}

void waiters_free(struct waiters *waiters) {
    memory_free(waiters->handles);
    *waiters = (struct waiters){0};
}

uint64_t task_check_seconds(lua_State *L, int index) {
    double seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, index, "seconds out of range");
    return (uint64_t)ceil(seconds * 1000);
}

void task_clear_fate(struct lua_coroutine *co) {
    memory_free(co->reason);
    co->reason = NULL;
    co->fate = LUA_FATE_NONE;
    co->raised = false;
}

// ---- tasks ----------------------------------------------------------------------------------

static void on_done(void *context, lua_State *co, int results, const char *error) {
    struct task *task = context;
    struct lua_coroutine *coroutine = lua_coroutine_of(co);
    task->finished = true;
    task->failed = error != NULL;
    if (error && coroutine->fate != LUA_FATE_CANCELLED && task->waiters.count == 0) {
        log_error("lua.task_failed", LOG_TEXT("request", coroutine->request_id),
                  LOG_TEXT("error", error));
    }
    lua_checkstack(co, 8);
    if (!error) { // the results in a table with n
        lua_createtable(co, results, 1);
        lua_insert(co, -results - 1);
        for (int i = results; i >= 1; i--) lua_rawseti(co, -i - 1, i);
        lua_pushinteger(co, results);
        lua_setfield(co, -2, "n");
    }
    lua_rawgeti(co, LUA_REGISTRYINDEX, task->self);
    lua_insert(co, -2);
    lua_setiuservalue(co, -2, 1); // the table, or the error value
    luaL_unref(co, LUA_REGISTRYINDEX, task->self);
    waiters_wake_all(&task->waiters); // the userdata is still on co's stack
    lua_pop(co, 1);
}

void task_spawn(lua_State *L, int arguments, const struct lua_limits *limits) {
    struct lua_host *host = lua_host_of(L);
    struct lua_coroutine *spawner = lua_coroutine_of(L);
    struct task *task = lua_newuserdatauv(L, sizeof *task, 1);
    memset(task, 0, sizeof *task);
    luaL_setmetatable(L, TASK);
    lua_pushvalue(L, -1);
    task->self = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_insert(L, -arguments - 2); // task, function, arguments
    struct lua_coroutine *co = lua_coroutine_new(host, limits);
    if (!co || !lua_checkstack(co->L, arguments + 4)) {
        luaL_unref(L, LUA_REGISTRYINDEX, task->self);
        luaL_error(L, "too many coroutines (limit %d)", (int)host->most);
    }
    if (spawner) memcpy(co->request_id, spawner->request_id, sizeof co->request_id);
    co->origin = trace_origin(L, spawner);
    co->done = on_done;
    co->context = task;
    task->run = co->run;
    lua_xmove(L, co->L, arguments + 1);
    lua_coroutine_start(co, arguments, true);
}

static void check_can_spawn(lua_State *L) {
    if (!lua_coroutine_of(L)) luaL_error(L, "tasks cannot be spawned while modules load");
}

static int spawn_after_turn(lua_State *L, int status, lua_KContext context) { // [-1] task
    (void)status, (void)context;
    lua_coroutine_check(L, lua_coroutine_current());
    return 1;
}

// spawn(fn, ...): a task, which begins at the end of this tick. Who spawns very many lets those run
// from time to time: the first are then over before the last begin, and all take little memory.
static int spawn(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    check_can_spawn(L);
    struct lua_coroutine *co = lua_coroutine_of(L);
    struct lua_limits limits = co->limits;
    task_spawn(L, lua_gettop(L) - 1, &limits);
    if (++co->spawned < SPAWNS_A_TURN || co != lua_coroutine_current() || !lua_isyieldable(L)) return 1;
    lua_coroutine_requeue(L, false);
    return lua_yieldk(L, 0, 0, spawn_after_turn);
}

static struct task *check_task(lua_State *L, int index) {
    return luaL_checkudata(L, index, TASK);
}

static void cancel_task(struct task *task, const char *reason) {
    struct lua_coroutine *co = lua_coroutine_find(task->run);
    if (co) lua_coroutine_doom(co, LUA_FATE_CANCELLED, reason);
}

// task:cancel([reason]): the task unwinds; whoever waits for it gets the error.
static int cancel(lua_State *L) {
    struct task *task = check_task(L, 1);
    lua_pushfstring(L, "cancelled: %s", luaL_optstring(L, 2, "by task.cancel"));
    cancel_task(task, lua_tostring(L, -1));
    lua_settop(L, 1);
    return 1;
}

static int done(lua_State *L) {
    struct task *task = check_task(L, 1);
    lua_pushboolean(L, task->finished);
    lua_pushboolean(L, task->finished && !task->failed);
    return 2;
}

static int collect(lua_State *L) {
    waiters_free(&check_task(L, 1)->waiters);
    return 0;
}

static int describe(lua_State *L) {
    struct task *task = check_task(L, 1);
    const char *state = !task->finished ? "running" : task->failed ? "failed" : "done";
    lua_pushfstring(L, "task (%s)", state);
    return 1;
}

// ---- waiting --------------------------------------------------------------------------------
// Stack while waiting: [1] list of tasks, [2] mode, [3] when to give up (loop ms, 0: never).

enum { WAIT_ONE, WAIT_ANY, WAIT_ALL };

static int push_results(lua_State *L, struct task *task, int index) {
    lua_getiuservalue(L, index, 1);
    if (task->failed) return lua_error(L); // as it was raised, position and all
    lua_getfield(L, -1, "n");
    int n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, n, "too many results");
    int table = lua_gettop(L);
    for (int i = 1; i <= n; i++) lua_rawgeti(L, table, i);
    lua_remove(L, table);
    return n;
}

static void cancel_rest(lua_State *L) {
    lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        cancel_task(lua_touserdata(L, -1), "cancelled: nobody waits for it any more");
        lua_pop(L, 1);
    }
}

static int all_results(lua_State *L, lua_Integer count) {
    lua_createtable(L, (int)count, 0); // the first result of each
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        lua_getiuservalue(L, -1, 1);
        lua_rawgeti(L, -1, 1);
        lua_rawseti(L, -4, i);
        lua_pop(L, 2);
    }
    return 1;
}

static int look(lua_State *L);

static int on_woken(lua_State *L, int values, bool failed) {
    int mode = (int)lua_tointeger(L, 2);
    if (failed) {
        if (mode == WAIT_ALL) cancel_rest(L);
        return lua_pending_throw(L);
    }
    if (values == 1) { // the time is over
        luaL_pushfail(L);
        lua_pushliteral(L, "timeout");
        return 2;
    }
    lua_settop(L, 3);
    return look(L);
}

static int look(lua_State *L) {
    int mode = (int)lua_tointeger(L, 2);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 1), open = 0;
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        struct task *task = lua_touserdata(L, -1);
        if (!task->finished) {
            open++;
        } else if (mode == WAIT_ONE) {
            return push_results(L, task, 4);
        } else if (mode == WAIT_ANY) {
            lua_pushinteger(L, i);
            return push_results(L, task, 4) + 1;
        } else if (task->failed) {
            cancel_rest(L);
            return push_results(L, task, 4);
        }
        lua_pop(L, 1);
    }
    if (open == 0) return all_results(L, count);
    lua_pending handle = lua_pending_begin(L, "waiting for a task", NULL, NULL);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        struct task *task = lua_touserdata(L, -1);
        if (!task->finished) waiters_add(&task->waiters, handle);
        lua_pop(L, 1);
    }
    lua_Integer until = lua_tointeger(L, 3);
    if (until) {
        lua_Integer now = (lua_Integer)loop_now(runtime_of(L)->loop);
        lua_pending_after(handle, until > now ? (uint64_t)(until - now) : 0);
    }
    return lua_pending_yield_then(L, handle, on_woken);
}

static int wait_for(lua_State *L, int mode, int seconds) {
    lua_Integer until = 0;
    if (!lua_isnoneornil(L, seconds)) {
        until = (lua_Integer)(loop_now(runtime_of(L)->loop) + task_check_seconds(L, seconds));
    }
    lua_settop(L, 1);
    lua_pushinteger(L, mode);
    lua_pushinteger(L, until);
    return look(L);
}

// task:wait([seconds]): its results, or raises its error; nil and "timeout" when it takes longer.
static int wait_one(lua_State *L) {
    check_task(L, 1);
    lua_settop(L, 2);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, -2, 1);
    lua_replace(L, 1);
    return wait_for(L, WAIT_ONE, 2);
}

static int wait_list(lua_State *L, int mode) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
    luaL_argcheck(L, mode == WAIT_ALL || count > 0, 1, "no task to wait for");
    lua_settop(L, 2);
    lua_createtable(L, (int)count, 0); // a copy: the caller's may change while we wait
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        if (!luaL_testudata(L, -1, TASK)) return luaL_argerror(L, 1, "a list of tasks expected");
        lua_rawseti(L, 3, i);
    }
    lua_replace(L, 1);
    return wait_for(L, mode, 2);
}

// wait_all(tasks [, seconds]): the list of their first results; the first error cancels the rest.
static int wait_all(lua_State *L) {
    return wait_list(L, WAIT_ALL);
}
// wait_any(tasks [, seconds]): the index of one that ended, and its results.
static int wait_any(lua_State *L) {
    return wait_list(L, WAIT_ANY);
}

// ---- clocks and figures ---------------------------------------------------------------------

static int now_ms(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)clock_wall_ms());
    return 1;
}

static int monotonic_ms(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)(clock_monotonic_ns() / 1000000));
    return 1;
}

// figures(): what leak checks and the status page look at.
static int figures(lua_State *L) {
    const struct lua_host *host = lua_host_of(L);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, (lua_Integer)host->count);
    lua_setfield(L, -2, "coroutines");
    lua_pushinteger(L, (lua_Integer)lua_pending_count());
    lua_setfield(L, -2, "pending");
    lua_pushinteger(L, (lua_Integer)host->bytes);
    lua_setfield(L, -2, "bytes");
    lua_pushinteger(L, (lua_Integer)host->number);
    lua_setfield(L, -2, "generation");
    return 1;
}

int lua_open_task(lua_State *L) {
    static const luaL_Reg methods[] = {{"wait", wait_one}, {"cancel", cancel},       {"done", done},
                                       {"__gc", collect},  {"__tostring", describe}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"spawn", spawn},       {"wait_all", wait_all},
                                         {"wait_any", wait_any}, {"cancel", cancel},
                                         {"now_ms", now_ms},     {"monotonic_ms", monotonic_ms},
                                         {"figures", figures},   {NULL, NULL}};
    luaL_newmetatable(L, TASK);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    task_open_sync(L);
    task_open_timers(L);
    return 1;
}
