#ifndef FOOTLIGHT_LUA_GENERATION_H
#define FOOTLIGHT_LUA_GENERATION_H
#include "lua/runtime.h"

/// A generation is one complete Lua state: every module of the service's entry loaded, every
/// template compiled. Reload builds a new one, checks it and swaps; coroutines of the old one
/// finish on it, then it is closed. If building fails the old one goes on and the error is kept.
///
/// The entry of a service is the module lua/<entry>/init.lua (web: "site", the others: their own
/// names; commands: "commands.<name>"). It returns a table of functions, the *exports*, which the
/// core calls by name.
struct lua_generations;
struct lua_limits {
    unsigned deadline_ms; ///< wall time, waits included; 0: none (here and below)
    unsigned cpu_ms;      ///< running time
    size_t memory;        ///< bytes that the state may grow by while this coroutine runs
};

struct lua_generations *lua_generations_new(struct runtime *runtime, const char *entry);
/// Builds and swaps. 0, or -1 with the message (file:line: text, and a stack) from _error().
int lua_generations_reload(struct lua_generations *generations);
const char *
lua_generations_error(const struct lua_generations *generations); ///< NULL: the last load was fine
uint64_t lua_generations_number(const struct lua_generations *generations);
/// Called after each reload: ok tells whether the new generation took over. `changed` may be NULL.
void lua_generations_on_reload(struct lua_generations *generations,
                               void (*changed)(void *context, bool ok), void *context);
/// Watches lua/, templates/, migrations/ and conf/ and reloads on change (development).
void lua_generations_watch(struct lua_generations *generations);
void lua_generations_free(struct lua_generations *generations); ///< cancels what still runs

/// A coroutine that runs an export. `push` puts the arguments on the new coroutine's stack and
/// returns their number. `done` comes exactly once — possibly inside this call, when the function
/// never waited — with the results on top of co (valid inside done only), or with an error text
/// (message and trace) and the raised value itself on top of co (results is then 1). limits NULL:
/// the settings' (lua.deadline_ms, lua.cpu_ms, lua.memory). When nothing is loaded or too many
/// coroutines run, done comes at once with co NULL and an error. Returns a handle for lua_cancel, 0
/// if it has already finished. An export that does not exist is an error "no export …"; ask
/// lua_generations_has first where it is optional. "module:function" is a function of a loaded
/// module in place of an export of the entry.
typedef uint64_t lua_run;
lua_run
lua_generations_call(struct lua_generations *generations, const char *export,
                     const struct lua_limits *limits, int (*push)(lua_State *co, void *context),
                     void (*done)(void *context, lua_State *co, int results, const char *error),
                     void *context);
bool lua_generations_has(struct lua_generations *generations, const char *export);
/// Sticky cancellation: the operation it waits for is abandoned, the coroutine unwinds through its
/// to-be-closed variables, and the next operation it tries fails at once. done still comes.
void lua_cancel(struct lua_generations *generations, lua_run run, const char *reason);
/// The request id that log lines and traces of this coroutine carry; call it in `push`.
void lua_generations_label(lua_State *co, const char *request_id);
/// Bytes held by the current state, and the number of older states that still finish their work.
size_t lua_generations_memory(const struct lua_generations *generations);
size_t lua_generations_old(const struct lua_generations *generations);
size_t lua_generations_running(const struct lua_generations *generations);
#endif
