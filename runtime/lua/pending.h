#ifndef FOOTLIGHT_LUA_PENDING_H
#define FOOTLIGHT_LUA_PENDING_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "lua/raise.h"

/// How a binding waits. A C function called from Lua begins a pending operation, starts the work in
/// the core with the handle as its context, and returns lua_pending_yield(). When the core's
/// callback comes, it takes the coroutine back by the handle, pushes results and resumes. If the
/// request was cancelled or timed out in the meantime, or its state was thrown away, the handle
/// finds nothing: (slot, generation) instead of a pointer. The handle fits a void *.
///
///   static void on_reply(void *context, const redisReply *reply, const char *error) {
///       lua_State *co = lua_pending_take(lua_pending_of(context));
///       if (!co) return;                                   // nobody waits any more
///       if (error) { lua_pending_fail(co, "redis: %s", error); return; }
///       push_reply(co, reply);
///       lua_pending_resume(co, 1);                         // the Lua call returns that 1 value
///   }
///   static int redis_call_lua(lua_State *L) {
///       lua_pending handle = lua_pending_begin(L, "redis.call", NULL, NULL);
///       redis_call(client, args, n, limit, on_reply, lua_pending_context(handle));
///       return lua_pending_yield(L, handle);
///   }
///
/// - The core never calls back inside the call that started the work, so take always finds a
///   coroutine that has yielded.
/// - `cancel` (may be NULL) is called when the operation is abandoned: stop the work if it can be
///   stopped. It must not resume anything. After it, take() on the handle returns NULL.
/// - lua_pending_begin raises at once if the coroutine is already cancelled (stickiness), is past
///   its deadline, or may not yield here (e.g. inside a callback of table.sort): the message says
///   so.
/// - lua_pending_yield returns whatever values lua_pending_resume handed over; when the operation
///   failed it raises the message in the coroutine, with the position of the Lua caller.
/// - Between take and resume a binding runs unprotected: it pushes plain values only, calls nothing
///   that raises, and makes room with lua_checkstack for more than LUA_MINSTACK of them.
/// - Each operation carries the coroutine's remaining deadline; lua_pending_left() gives it.
typedef uint64_t lua_pending;

lua_pending lua_pending_begin(lua_State *L, const char *what, void (*cancel)(void *data),
                              void *data);
int lua_pending_yield(lua_State *L, lua_pending handle);
static inline void *lua_pending_context(lua_pending handle) {
    return (void *)(uintptr_t)handle;
}
static inline lua_pending lua_pending_of(void *context) {
    return (lua_pending)(uintptr_t)context;
}
lua_State *lua_pending_take(lua_pending handle);
void lua_pending_resume(lua_State *co, int values);
void lua_pending_fail(lua_State *co, const char *format, ...) __attribute__((format(printf, 2, 3)));
/// As fail, but raises the value on top of the coroutine's stack (a table with a code, say).
void lua_pending_raise(lua_State *co);
/// As lua_pending_yield, but calls `then` in the coroutine in place of returning or raising: with
/// the number of values on top, or with failed and the error on top (raise it by lua_pending_throw,
/// after cleaning up). `then` may begin and yield again.
int lua_pending_yield_then(lua_State *L, lua_pending handle,
                           int (*then)(lua_State *L, int values, bool failed));
/// Raises the value on top, with the caller's position if it is text.
int lua_pending_throw(lua_State *L);
/// When the operation still waits after so long, it returns the text "timeout" (abandoned by
/// `cancel` first, if there is one).
void lua_pending_after(lua_pending handle, uint64_t milliseconds);
/// Marks a wait that a reload may end at once where the coroutine has no deadline (a job's sleep).
void lua_pending_idle(lua_pending handle);
/// Forgets an operation that was begun but could not be started. `cancel` is not called.
void lua_pending_drop(lua_pending handle);
size_t lua_pending_count(void); ///< operations under way in this process
/// Milliseconds until the coroutine's deadline, capped to `most`; for passing on as a limit.
unsigned lua_pending_left(lua_State *L, unsigned most);
#endif
