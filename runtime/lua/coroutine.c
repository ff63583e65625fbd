#include "lua/coroutine.h"

#include <assert.h>
#include <malloc.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "lua/handles.h"
#include "lua/limits.h"
#include "lua/trace.h"

enum {
    IDLE_MOST = 256,
    TURN_MOST = 256,
    TURN_US = 2000, // whichever comes first: ten thousand that were begun at once are not all quick
    SLICE_GAP_MS = 2,
    COLLECT_AFTER_MS = 4,
    COLLECT_SLICE_US = 1000,
    COLLECT_STEP_KIB = 4, // work for that much: some 150 µs
    COLLECT_GROWTH = 512 * 1024, // and as much as lives, as in plain Lua: then marking is worth it
    TRIM_BYTES = 16 << 20
};

static struct handles runs;
static struct lua_coroutine *current;

struct lua_coroutine *lua_coroutine_current(void) {
    return current;
}

struct lua_coroutine *lua_coroutine_find(lua_run run) {
    return handles_get(&runs, run);
}

struct lua_coroutine *lua_coroutine_of(lua_State *L) {
    struct lua_anchor *anchor = lua_anchor_of(L);
    if (anchor->coroutine) return anchor->coroutine;
    return current && current->anchor.host == anchor->host ? current : NULL;
}

static void on_deadline(struct timer *timer) {
    struct lua_coroutine *co = container_of(timer, struct lua_coroutine, deadline);
    lua_coroutine_doom(co, LUA_FATE_DEADLINE, "deadline exceeded");
}

// Bottom of every coroutine, so that an error unwinds inside a protected call: there, to-be-closed
// variables may still wait, which they could not in lua_resetthread.
static int body_end(lua_State *L, int status, lua_KContext context) {
    (void)context;
    struct lua_coroutine *co = lua_anchor_of(L)->coroutine;
    co->body_failed = status != LUA_OK && status != LUA_YIELD;
    return lua_gettop(L) - 1; // [1] handler
}

static int body(lua_State *L) {
    lua_pushcfunction(L, trace_handler);
    lua_insert(L, 1); // [1] handler, [2] function, arguments
    return body_end(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, 0, body_end), 0);
}

struct lua_coroutine *lua_coroutine_new(struct lua_host *host, const struct lua_limits *limits) {
    if (host->count >= host->most || host->closing) return NULL;
    struct lua_coroutine *co = host->idle;
    if (co) {
        host->idle = co->next_idle;
        host->idle_count--;
    } else {
        co = memory_zero(1, sizeof *co);
        co->anchor = (struct lua_anchor){host, co};
        co->L = lua_newthread(host->L);
        co->reference = luaL_ref(host->L, LUA_REGISTRYINDEX);
        lua_anchor_set(co->L, &co->anchor);
        timer_init(&co->deadline, on_deadline);
        list_init(&co->link);
        list_init(&co->ready);
    }
    co->run = handles_add(&runs, co);
    co->limits = *limits;
    list_push_back(&host->coroutines, &co->link);
    host->count++;
    if (limits->deadline_ms) {
        lua_coroutine_set_deadline(co, loop_now(host->runtime->loop) + limits->deadline_ms);
    }
    lua_pushcfunction(co->L, body);
    return co;
}

void lua_coroutine_set_deadline(struct lua_coroutine *co, uint64_t at) {
    struct loop *loop = co->anchor.host->runtime->loop;
    co->deadline_at = at;
    loop_timer_stop(loop, &co->deadline);
    uint64_t now = loop_now(loop);
    if (at) loop_timer_start(loop, &co->deadline, at > now ? at - now : 0);
}

static void recycle(struct lua_coroutine *co, bool reusable) {
    struct lua_host *host = co->anchor.host;
    memory_free(co->reason);
    memory_free(co->origin);
    memory_free(co->trace);
    lua_State *L = co->L;
    int reference = co->reference;
    if (reusable && host->idle_count < IDLE_MOST) {
        lua_settop(L, 0);
        lua_sethook(L, NULL, 0, 0);
        struct lua_anchor anchor = co->anchor;
        memset(co, 0, sizeof *co);
        co->anchor = anchor;
        co->L = L;
        co->reference = reference;
        timer_init(&co->deadline, on_deadline);
        list_init(&co->link);
        list_init(&co->ready);
        co->next_idle = host->idle;
        host->idle = co;
        host->idle_count++;
        return;
    }
    // The thread may be kept by Lua code (coroutine.running); it must not point at freed memory.
    lua_anchor_set(L, &host->anchor);
    luaL_unref(host->L, LUA_REGISTRYINDEX, reference);
    memory_free(co);
}

static void finish(struct lua_coroutine *co, int status, int results) {
    struct lua_host *host = co->anchor.host;
    lua_State *L = co->L;
    bool failed = status != LUA_OK || co->body_failed;
    struct buffer text = {0};
    if (failed) {
        results = 1;
        trace_describe(&text, L, -1, co);
    }
    if (co->waiting) lua_pending_end(co->waiting);
    handles_remove(&runs, co->run);
    co->run = 0;
    loop_timer_stop(host->runtime->loop, &co->deadline);
    list_remove(&co->ready);
    if (co->done) co->done(co->context, L, results, failed ? buffer_text(&text) : NULL);
    buffer_free(&text);
    list_remove(&co->link);
    host->count--;
    recycle(co, status == LUA_OK);
    if (!host->closing && !timer_active(&host->collect)) {
        loop_timer_start(host->runtime->loop, &host->collect, COLLECT_AFTER_MS);
    }
    if (host->count == 0 && host->on_empty) host->on_empty(host);
}

static void run(struct lua_coroutine *co) {
    struct lua_host *host = co->anchor.host;
    struct lua_coroutine *outer = current;
    assert(!outer);
    int values = co->resume_on == co->L ? co->resume_values : 0, results = 0;
    co->suspending = false;
    co->stalled_ms = 0;
    co->spawned = 0;
    current = co;
    limits_enter(co);
    int status = lua_resume(co->L, host->L, values, &results);
    limits_leave(co);
    current = outer;
    if (status != LUA_YIELD) {
        finish(co, status, results);
        return;
    }
    // A fate that came while it ran finds it waiting now.
    if (co->fate && co->waiting) lua_pending_abandon(co->waiting);
}

static void ready(struct lua_coroutine *co) {
    struct lua_host *host = co->anchor.host;
    if (!list_empty(&co->ready)) return;
    list_push_back(&host->ready, &co->ready);
    loop_defer(host->runtime->loop, &host->turn);
}

void lua_coroutine_start(struct lua_coroutine *co, int arguments, bool later) {
    co->resume_on = co->L;
    co->resume_values = arguments + 1; // the function
    if (later || current) {
        ready(co);
    } else {
        run(co);
    }
}

void lua_coroutine_continue(struct lua_coroutine *co, int values, bool failed, bool later) {
    co->resume_values = values;
    co->resume_failed = failed;
    if (later || current) {
        ready(co);
    } else {
        run(co);
    }
}

void lua_coroutine_requeue(lua_State *L, bool busy) {
    struct lua_coroutine *co = current;
    co->suspending = true;
    co->resume_on = L;
    co->resume_values = 0;
    co->resume_failed = false;
    if (!busy) {
        ready(co);
        return;
    }
    struct lua_host *host = co->anchor.host;
    list_push_back(&host->busy, &co->ready);
    if (!timer_active(&host->slice)) {
        // The loop's clock stood still during the slice, and would make the gap none at all.
        uv_update_time(&host->runtime->loop->uv);
        loop_timer_start(host->runtime->loop, &host->slice, SLICE_GAP_MS);
    }
}

void lua_coroutine_doom(struct lua_coroutine *co, enum lua_fate fate, const char *reason) {
    if (co->fate != LUA_FATE_NONE) return;
    co->fate = fate;
    co->reason = memory_copy_string(reason);
    if (co->waiting && co != current) lua_pending_abandon(co->waiting);
}

void lua_coroutine_check(lua_State *L, struct lua_coroutine *co) {
    if (co->fate == LUA_FATE_NONE) return;
    co->raised = true;
    luaL_error(L, "%s", co->reason);
}

/// One round of the queue. What becomes ready meanwhile waits for the next one, behind the sockets.
static void take_turn(struct deferred *deferred) {
    struct lua_host *host = container_of(deferred, struct lua_host, turn);
    struct list round;
    list_init(&round);
    list_take_all(&round, &host->ready);
    uint64_t until = clock_monotonic_ns() + TURN_US * 1000;
    for (int i = 0; i < TURN_MOST && !list_empty(&round); i++) {
        if (i > 0 && clock_monotonic_ns() >= until) break;
        struct lua_coroutine *co = list_first(&round, struct lua_coroutine, ready);
        list_remove(&co->ready);
        run(co);
    }
    if (list_empty(&round)) return;
    list_take_all(&round, &host->ready);
    list_take_all(&host->ready, &round);
    loop_defer(host->runtime->loop, &host->turn);
}

/// The next slice of one that computes. They have a queue of their own with a gap after each slice,
/// so that however many there are, whoever only wants to answer a request waits for one slice.
static void next_slice(struct timer *timer) {
    struct lua_host *host = container_of(timer, struct lua_host, slice);
    if (list_empty(&host->busy)) return;
    struct lua_coroutine *co = list_first(&host->busy, struct lua_coroutine, ready);
    list_remove(&co->ready);
    if (!list_empty(&host->busy)) loop_timer_start(host->runtime->loop, timer, SLICE_GAP_MS);
    run(co);
}

/// The collector gets time that nobody else wants: short steps, after the work.
static void collect(struct timer *timer) {
    struct lua_host *host = container_of(timer, struct lua_host, collect);
    if (!host->collecting && host->bytes < host->settled * 2 + COLLECT_GROWTH) return;
    if (!host->collecting)
        host->settled = host->bytes; // the height of it, for the comparison below
    host->collecting = true;
    uint64_t until = clock_monotonic_ns() + COLLECT_SLICE_US * 1000;
    do {
        if (lua_gc(host->L, LUA_GCSTEP, COLLECT_STEP_KIB)) {
            // A burst is over: the kernel gets its pages back.
            if (host->settled > host->bytes + TRIM_BYTES) {
                lua_blocks_clear(&host->blocks);
                malloc_trim(TRIM_BYTES / 4);
            }
            host->settled = host->bytes;
            host->collecting = false;
            return;
        }
    } while (clock_monotonic_ns() < until);
    loop_timer_start(host->runtime->loop, &host->collect, COLLECT_AFTER_MS);
}

void lua_host_schedule_init(struct lua_host *host) {
    list_init(&host->coroutines);
    list_init(&host->ready);
    deferred_init(&host->turn, take_turn);
    list_init(&host->busy);
    timer_init(&host->collect, collect);
    timer_init(&host->slice, next_slice);
}

void lua_host_cancel_all(struct lua_host *host, const char *reason) {
    assert(!current);
    void (*on_empty)(struct lua_host *) = host->on_empty;
    host->on_empty = NULL;
    list_each(&host->coroutines, node) {
        lua_coroutine_doom(container_of(node, struct lua_coroutine, link), LUA_FATE_CANCELLED,
                           reason);
    }
    // Each waits for nothing any more, and every wait that it tries fails. A coroutine that
    // swallows that for ever runs out of its slices here.
    for (int round = 0; round < 1000 && host->count > 0; round++) {
        list_each(&host->coroutines, node) {
            struct lua_coroutine *co = container_of(node, struct lua_coroutine, link);
            if (round > 100) co->cpu_ms = UINT32_MAX;
            if (co->limits.cpu_ms == 0) co->limits.cpu_ms = 1000;
            list_remove(&co->ready); // from whichever queue
            ready(co);
        }
        take_turn(&host->turn);
    }
    if (host->count > 0) log_error("lua.stuck", LOG_INT("coroutines", host->count));
    host->on_empty = on_empty;
}

void lua_coroutine_free_idle(struct lua_host *host) {
    while (host->idle) {
        struct lua_coroutine *co = host->idle;
        host->idle = co->next_idle;
        memory_free(co);
    }
    host->idle_count = 0;
}
