#ifndef FOOTLIGHT_LUA_COROUTINE_H
#define FOOTLIGHT_LUA_COROUTINE_H
#include "lua/generation.h"
#include "lua/pending.h"
#include "lua/state.h"

/// A coroutine of the scheduler: one call from the core or one spawned task. Lua code may make
/// coroutines of its own inside (generators); waiting passes through them up to here.
///
///   idle -> running <-> waiting (for a pending operation) or ready (in the queue) -> finished

enum lua_fate { LUA_FATE_NONE, LUA_FATE_CANCELLED, LUA_FATE_DEADLINE, LUA_FATE_CPU };

struct lua_coroutine {
    struct lua_anchor anchor;
    struct list link, ready;
    lua_State *L;
    int reference; ///< keeps the thread alive in the registry
    lua_run run;   ///< its handle, 0 while idle

    struct timer deadline;
    uint64_t deadline_at; ///< loop milliseconds, 0: none
    struct lua_limits limits;
    uint64_t cpu_ms;
    uint64_t stalled_ms; ///< of computing since it was entered, where it could not give way
    unsigned spawned;    ///< tasks, since it was entered
    size_t grown;        ///< bytes that the state grew by while this ran
    size_t entered_bytes;
    enum lua_fate fate;
    char *reason; ///< of the fate
    bool raised;  ///< the fate has been raised in it at least once
    uint64_t closing_ms; ///< of computing since then

    lua_pending waiting;  ///< the operation that it waits for, 0: none
    lua_State *resume_on; ///< the thread that yielded (innermost)
    int resume_values;
    bool resume_failed;
    bool suspending; ///< it yields to the scheduler, not to Lua code
    bool body_failed;

    char request_id[24];
    char *origin; ///< where it was spawned, and where that was; NULL for calls from the core
    char *trace;  ///< stack of the error
    void (*done)(void *context, lua_State *co, int results, const char *error);
    void *context;
    struct lua_coroutine *next_idle;
};

/// NULL when the state has as many as it may have. Push the function and its arguments on ->L, then
/// start it. `done` as in lua_generations_call; on an error the raised value is on top of co.
struct lua_coroutine *lua_coroutine_new(struct lua_host *host, const struct lua_limits *limits);
/// Runs it at once, or at the end of the tick if `later` or if Lua code is running.
void lua_coroutine_start(struct lua_coroutine *co, int arguments, bool later);
/// The one that runs now, in whatever state; NULL in the core.
struct lua_coroutine *lua_coroutine_current(void);
/// The one that L belongs to: L may be a thread that Lua code made. NULL while modules load.
struct lua_coroutine *lua_coroutine_of(lua_State *L);
struct lua_coroutine *lua_coroutine_find(lua_run run);

/// Goes on with `values` results on co->resume_on: now, or at the end of the tick if `later` or if
/// Lua code is running.
void lua_coroutine_continue(struct lua_coroutine *co, int values, bool failed, bool later);
/// Ends the wait (pending.c) by raising the fate at the end of the tick.
void lua_pending_abandon(lua_pending handle);
/// Ends one whose coroutine does not wait any more (it raised between begin and yield).
void lua_pending_end(lua_pending handle);
bool lua_pending_is_idle(lua_pending handle);
/// For tests: brings the time limits of all waits nearer, the caller's own left alone, by so much that the
/// first is due, but at most `most` milliseconds. By how much.
uint64_t lua_pending_skip(uint64_t most);
/// Puts the running coroutine, in whose thread L it is, at the back of the queue, or of the queue
/// of those that compute (`busy`). The caller yields without values right after.
void lua_coroutine_requeue(lua_State *L, bool busy);
/// Decides the fate once (later ones are ignored), abandons what it waits for. The coroutine
/// unwinds at the end of the tick.
void lua_coroutine_doom(struct lua_coroutine *co, enum lua_fate fate, const char *reason);
/// Raises the fate in L if there is one.
void lua_coroutine_check(lua_State *L, struct lua_coroutine *co);
void lua_coroutine_set_deadline(struct lua_coroutine *co, uint64_t at);
/// A cancelled state is run until nothing is left in it.
void lua_host_cancel_all(struct lua_host *host, const char *reason);
void lua_host_schedule_init(struct lua_host *host); ///< for state.c
/// Replaces the coroutine library of L by one whose resume lets waits pass
/// (coroutine_library.c). Leaves nothing on the stack.
void lua_coroutine_library(lua_State *L);
void lua_coroutine_free_idle(struct lua_host *host);
#endif
