#ifndef FOOTLIGHT_LUA_TASK_H
#define FOOTLIGHT_LUA_TASK_H
#include "lua/coroutine.h"

/// What the files of runtime.task share.

/// Coroutines that wait for something to change, by handle; those that gave up are skipped.
struct waiters {
    lua_pending *handles;
    size_t count, capacity;
};
void waiters_add(struct waiters *waiters, lua_pending handle);
bool waiters_wake_one(struct waiters *waiters); ///< false: nobody waits
void waiters_wake_all(struct waiters *waiters);
void waiters_free(struct waiters *waiters);

/// An argument in seconds, as milliseconds (rounded up).
uint64_t task_check_seconds(lua_State *L, int index);
/// After a scoped deadline or a run of a timer: the coroutine is as if nothing had happened.
void task_clear_fate(struct lua_coroutine *co);

void task_open_sync(lua_State *L);   ///< lua_task_sync.c: adds semaphore and channel to [-1]
void task_open_timers(lua_State *L); ///< lua_task_timer.c: adds sleep, every and deadline to [-1]
/// Makes a task whose function and `arguments` are on top of L (popped), pushes it, starts it.
void task_spawn(lua_State *L, int arguments, const struct lua_limits *limits);
#endif
