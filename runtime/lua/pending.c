#include "lua/pending.h"

#include <assert.h>
#include <stdarg.h>

#include "base/memory.h"
#include "lua/coroutine.h"
#include "lua/handles.h"

struct operation {
    struct lua_coroutine *co;
    lua_State *L; // the thread that waits: the coroutine's, or one that its Lua code made
    void (*cancel)(void *data);
    void *data;
    struct timer limit;
    lua_pending handle;
    bool idle;
};

static struct handles operations;

enum { SPARES_MOST = 64 };
static struct operation *spares[SPARES_MOST]; // freed ones: every request waits a few times
static unsigned spare_count;

size_t lua_pending_count(void) {
    return operations.live;
}

static void release(struct operation *op) {
    loop_timer_stop(op->co->anchor.host->runtime->loop, &op->limit);
    op->co->waiting = 0;
    handles_remove(&operations, op->handle);
    if (spare_count < SPARES_MOST) {
        spares[spare_count++] = op;
    } else {
        memory_free(op);
    }
}

static void abandon_quietly(struct operation *op) {
    void (*cancel)(void *) = op->cancel;
    void *data = op->data;
    release(op);
    if (cancel) cancel(data);
}

static void on_limit(struct timer *timer) {
    struct operation *op = container_of(timer, struct operation, limit);
    struct lua_coroutine *co = op->co;
    lua_State *L = op->L;
    abandon_quietly(op);
    co->resume_on = L;
    lua_pushliteral(L, "timeout");
    lua_coroutine_continue(co, 1, false, false);
}

lua_pending lua_pending_begin(lua_State *L, const char *what, void (*cancel)(void *data),
                              void *data) {
    struct lua_coroutine *co = lua_coroutine_current();
    if (!co || co->anchor.host != lua_host_of(L)) {
        luaL_error(L, "%s would wait, which code cannot do while modules load", what);
    }
    lua_coroutine_check(L, co);
    if (!lua_isyieldable(L)) {
        luaL_error(L,
                   "%s would wait, which cannot be done here (inside a C function's callback, such "
                   "as table.sort's or gsub's)",
                   what);
    }
    // An operation that its binding raised out of before yielding.
    if (co->waiting) abandon_quietly(handles_get(&operations, co->waiting));
    struct operation *op = spare_count ? spares[--spare_count] : memory_alloc(sizeof *op);
    *op = (struct operation){.co = co, .L = L, .cancel = cancel, .data = data};
    timer_init(&op->limit, on_limit);
    op->handle = handles_add(&operations, op);
    co->waiting = op->handle;
    return op->handle;
}

void lua_pending_after(lua_pending handle, uint64_t milliseconds) {
    struct operation *op = handles_get(&operations, handle);
    if (op) loop_timer_start(op->co->anchor.host->runtime->loop, &op->limit, milliseconds);
}

void lua_pending_idle(lua_pending handle) {
    struct operation *op = handles_get(&operations, handle);
    if (!op) return;
    op->idle = true;
    if (op->co->anchor.host->retiring && !op->co->deadline_at) {
        lua_coroutine_doom(op->co, LUA_FATE_CANCELLED, "cancelled: reload");
    }
}

bool lua_pending_is_idle(lua_pending handle) {
    struct operation *op = handles_get(&operations, handle);
    return op && op->idle;
}

static uint64_t time_left(const struct operation *op) {
    uint64_t now = loop_now(op->co->anchor.host->runtime->loop);
    return op->limit.due > now ? op->limit.due - now : 0;
}

uint64_t lua_pending_skip(uint64_t most) {
    struct operation *op;
    for (uint32_t cursor = 0; (op = handles_next(&operations, &cursor));) {
        if (op->co == lua_coroutine_current() || !timer_active(&op->limit)) continue;
        if (time_left(op) < most) most = time_left(op);
    }
    for (uint32_t cursor = 0; most > 0 && (op = handles_next(&operations, &cursor));) {
        if (op->co == lua_coroutine_current() || !timer_active(&op->limit)) continue;
        loop_timer_start(op->co->anchor.host->runtime->loop, &op->limit, time_left(op) - most);
    }
    return most;
}

void lua_pending_end(lua_pending handle) {
    struct operation *op = handles_get(&operations, handle);
    if (op) abandon_quietly(op);
}

void lua_pending_drop(lua_pending handle) {
    struct operation *op = handles_get(&operations, handle);
    if (op) release(op);
}

void lua_pending_abandon(lua_pending handle) {
    struct operation *op = handles_get(&operations, handle);
    if (!op) return;
    struct lua_coroutine *co = op->co;
    lua_State *L = op->L;
    abandon_quietly(op);
    co->resume_on = L;
    lua_pushstring(L, co->reason ? co->reason : "cancelled");
    lua_coroutine_continue(co, 1, true, true);
}

int lua_pending_throw(lua_State *L) {
    struct lua_coroutine *co = lua_coroutine_of(L);
    if (co && co->fate) co->raised = true;
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int go_on(lua_State *L, int status, lua_KContext context) {
    (void)status;
    struct lua_coroutine *co = lua_coroutine_current();
    int values = co->resume_values;
    bool failed = co->resume_failed;
    co->resume_values = 0;
    co->resume_failed = false;
    int (*then)(lua_State *, int, bool) = (int (*)(lua_State *, int, bool))context;
    if (then) return then(L, values, failed);
    return failed ? lua_pending_throw(L) : values;
}

int lua_pending_yield_then(lua_State *L, lua_pending handle,
                           int (*then)(lua_State *L, int values, bool failed)) {
    struct lua_coroutine *co = lua_coroutine_current();
    assert(co && co->waiting == handle);
    (void)handle;
    co->suspending = true;
    co->resume_on = L;
    return lua_yieldk(L, 0, (lua_KContext)then, go_on);
}

int lua_pending_yield(lua_State *L, lua_pending handle) {
    return lua_pending_yield_then(L, handle, NULL);
}

lua_State *lua_pending_take(lua_pending handle) {
    struct operation *op = handles_get(&operations, handle);
    if (!op) return NULL;
    lua_State *L = op->L;
    struct lua_coroutine *co = op->co;
    assert(co != lua_coroutine_current()); // it must have yielded
    release(op);
    co->resume_on = L;
    return L;
}

void lua_pending_resume(lua_State *L, int values) {
    lua_coroutine_continue(lua_coroutine_of(L), values, false, false);
}

void lua_pending_fail(lua_State *L, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    lua_pushvfstring(L, format, arguments);
    va_end(arguments);
    lua_pending_raise(L);
}

void lua_pending_raise(lua_State *L) {
    lua_coroutine_continue(lua_coroutine_of(L), 1, true, false);
}

unsigned lua_pending_left(lua_State *L, unsigned most) {
    struct lua_coroutine *co = lua_coroutine_of(L);
    if (!co || !co->deadline_at) return most;
    uint64_t now = loop_now(co->anchor.host->runtime->loop);
    if (co->deadline_at <= now) return 1;
    uint64_t left = co->deadline_at - now;
    return left < most ? (unsigned)left : most;
}
