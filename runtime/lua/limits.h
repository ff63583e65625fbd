#ifndef FOOTLIGHT_LUA_LIMITS_H
#define FOOTLIGHT_LUA_LIMITS_H
#include "lua/coroutine.h"

/// Time and memory of coroutines. A timer on the thread's own CPU clock sends a signal for each
/// LIMITS_TICK_MS of computing (an idle process gets none); the handler arms a hook in the Lua
/// thread that runs, and the hook, which is an ordinary call in that thread, decides: on to the
/// back of the queue, or an error. A permanent count hook was measured at 1.9 times the running
/// time. Code that cannot be moved to the back of the queue (a comparator of table.sort) and goes
/// on for lua.stall_ms keeps everybody waiting, and fails.
enum { LIMITS_TICK_MS = 4, LIMITS_STUCK_MS = 5000 };

/// Once a process is enough. With end_when_stuck a process that computes for LIMITS_STUCK_MS inside
/// one C function aborts.
void limits_install(bool end_when_stuck);
/// Around each lua_resume of a coroutine by the scheduler.
void limits_enter(struct lua_coroutine *co);
void limits_leave(struct lua_coroutine *co);
/// The thread that is about to run inside the running coroutine (Lua's own coroutines).
void limits_running(lua_State *L);
/// A budget for code that no coroutine runs (loading modules); end with limits_load_end.
void limits_load_begin(lua_State *L, unsigned cpu_ms);
void limits_load_end(lua_State *L);

/// For a C function that may compute for long, in which no hook comes: raises once it has, as a loop
/// in Lua code would be made to.
void limits_poll(lua_State *L);

/// The allocator of a state; `context` is its lua_host.
void *limits_allocate(void *context, void *block, size_t old_size, size_t new_size);
/// "64 MiB" and the like, for messages.
void limits_size_text(size_t bytes, char out[24]);
#endif
