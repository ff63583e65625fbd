#ifndef FOOTLIGHT_LUA_STATE_H
#define FOOTLIGHT_LUA_STATE_H
#include "lua/blocks.h"
#include "lua/runtime.h"

/// One Lua state with what its coroutines share: the body of a generation. The states of a process
/// do not know each other.
struct lua_coroutine;
struct lua_host;

/// What the extra space of a Lua thread points to. Threads that Lua code makes itself copy the main
/// thread's anchor, whose coroutine is NULL.
struct lua_anchor {
    struct lua_host *host;
    struct lua_coroutine *coroutine;
};

struct lua_host {
    struct lua_anchor anchor;
    struct runtime *runtime;
    lua_State *L;
    uint64_t number; ///< of the generation
    int exports;     ///< registry reference of the entry's table, LUA_NOREF before it is loaded

    struct lua_blocks blocks;
    size_t bytes;    ///< held by the state
    size_t ceiling;  ///< the allocator refuses to grow past it; SIZE_MAX outside of coroutines
    size_t settled;  ///< bytes after the last full cycle of the collector
    bool collecting; ///< the idle collector is in the middle of a cycle
    bool refused;    ///< the allocator has refused since this was cleared
    bool asking_again; ///< and Lua has collected everything, and will ask once more

    struct list coroutines;     ///< begun and not finished
    struct list ready;          ///< can go on
    unsigned stall_ms;          ///< see limits.h; 0: no limit
    size_t count, most;         ///< length of `coroutines`, and its limit
    struct lua_coroutine *idle; ///< finished ones, to be used again
    size_t idle_count;
    struct deferred turn;
    struct list busy;   ///< have used up a slice of computing, and wait for the next
    struct timer slice; ///< when that is
    struct timer collect;
    bool retiring; ///< a newer generation has taken over
    bool closing;
    void (*on_empty)(struct lua_host *host); ///< the last coroutine of a retiring state finished
    void *owner;
};

/// Makes a state with the standard library (as far as a service may have it) and all bindings
/// preloaded; loads nothing. Never NULL.
struct lua_host *lua_host_new(struct runtime *runtime, uint64_t number);
/// No coroutine may be left (lua_host_cancel_all).
void lua_host_free(struct lua_host *host);

static inline struct lua_anchor *lua_anchor_of(lua_State *L) {
    return *(struct lua_anchor **)lua_getextraspace(L);
}
static inline void lua_anchor_set(lua_State *L, struct lua_anchor *anchor) {
    *(struct lua_anchor **)lua_getextraspace(L) = anchor;
}
static inline struct lua_host *lua_host_of(lua_State *L) {
    return lua_anchor_of(L)->host;
}

/// Loads the text of a file under the root: pushes the chunk and returns LUA_OK, or pushes a
/// message. Binary chunks are refused. The chunk's name is the path from the root.
int lua_host_load(lua_State *L, const char *root, const char *path);
/// A service that may use io, os and Debian's Lua packages: "command" and "test".
bool lua_host_trusted(const struct runtime *runtime);
#endif
