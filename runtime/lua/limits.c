#include "lua/limits.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "lua/trace.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum {
    RETRY_FREES_PART = 8, ///< of the memory limit
    CLOSING_MS = 100,     ///< of computing, for a cancelled coroutine to close its variables
};

static lua_State *volatile running; // the thread that executes; NULL in the core
static volatile sig_atomic_t ticks; // since the running coroutine was entered, not yet accounted
static timer_t cpu_timer;
static bool watchdog;         // not for commands: nobody waits for them
static uint64_t load_left_ms; // budget of code that no coroutine runs

static void on_hook(lua_State *L, lua_Debug *frame);

// The hook comes at the next instruction of the Lua machine. One C function that computes for
// seconds (a hostile pattern in string.find) never gets there, and the process answers nobody: it
// ends itself, and the supervisor starts it anew.
static void end_process(void) {
    static const char line[] = "{\"level\":\"error\",\"event\":\"lua.stuck_in_c\",\"error\":\"a C "
                               "function called from Lua computes without end\"}\n";
    ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    (void)written;
    abort();
}

// lua_sethook is the one function of Lua that a signal handler may call.
static void on_tick(int number) {
    (void)number;
    lua_State *L = running;
    if (!L) return;
    int missed = timer_getoverrun(cpu_timer); // a kernel with a coarser tick sends several as one
    ticks += 1 + (missed > 0 ? missed : 0);
    if (ticks * LIMITS_TICK_MS >= LIMITS_STUCK_MS && watchdog) end_process();
    lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
}

void limits_install(bool end_when_stuck) {
    watchdog = end_when_stuck;
    static pid_t installed_for; // a fork has no timers
    if (installed_for == getpid()) return;
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    sigaction(SIGVTALRM, &action, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGVTALRM};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    const struct itimerspec period = {{0, LIMITS_TICK_MS * 1000000L},
                                      {0, LIMITS_TICK_MS * 1000000L}};
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &cpu_timer) != 0 ||
        timer_settime(cpu_timer, 0, &period, NULL) != 0) {
        log_error("lua.no_cpu_timer", LOG_TEXT("error", strerror(errno)));
        return;
    }
    installed_for = getpid();
}

static uint64_t take_ticks(void) {
    sig_atomic_t n = ticks;
    ticks -= n; // a tick in between is counted next time
    return (uint64_t)n;
}

static bool budget_spent(struct lua_coroutine *co, uint64_t more_ms) {
    if (!co->limits.cpu_ms || co->cpu_ms + more_ms < co->limits.cpu_ms) return false;
    char reason[96];
    snprintf(reason, sizeof reason, "computing limit of %u ms reached", co->limits.cpu_ms);
    lua_coroutine_doom(co, LUA_FATE_CPU, reason);
    return true;
}

static bool stalled(struct lua_coroutine *co, uint64_t more_ms) {
    unsigned most = co->anchor.host->stall_ms;
    if (!co->limits.cpu_ms || !most || co->stalled_ms + more_ms < most) return false;
    lua_coroutine_doom(co, LUA_FATE_CPU,
                       "computes for too long where it cannot give way to others (inside a C "
                       "function, such as string.find or a comparator of table.sort)");
    return true;
}

void limits_poll(lua_State *L) {
    uint64_t spent = (uint64_t)ticks * LIMITS_TICK_MS; // the hook accounts for them, later
    struct lua_coroutine *co = lua_coroutine_current();
    if (spent == 0) return;
    if (!co) {
        if (load_left_ms && spent >= load_left_ms)
            luaL_error(L, "loading takes too much computing time");
        return;
    }
    if (budget_spent(co, spent) || stalled(co, spent)) lua_coroutine_check(L, co);
}

static void on_hook(lua_State *L, lua_Debug *frame) {
    (void)frame;
    lua_sethook(L, NULL, 0, 0);
    uint64_t spent = take_ticks() * LIMITS_TICK_MS;
    struct lua_coroutine *co = lua_coroutine_current();
    if (!co) {
        if (load_left_ms == 0) return;
        load_left_ms = load_left_ms > spent ? load_left_ms - spent : 0;
        if (load_left_ms == 0) luaL_error(L, "loading takes too much computing time");
        return;
    }
    co->cpu_ms += spent;
    budget_spent(co, 0);
    if (lua_isyieldable(L)) {
        co->stalled_ms = 0;
    } else if (spent > 0) {
        co->stalled_ms += spent;
        stalled(co, 0);
    }
    // What was cancelled may compute while it closes its variables: they put things in order, and a
    // tick must not tear that. Only its waits fail at once. Past its time it is treated as the rest.
    bool closes = co->raised && co->fate != LUA_FATE_CPU && (co->closing_ms += spent) < CLOSING_MS;
    if (co->fate != LUA_FATE_NONE && !closes) {
        // Code that catches the first error and goes on gets one at each instruction: no loop
        // around a pcall survives that, and nothing else runs between.
        if (co->raised) lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
        lua_coroutine_check(L, co);
    }
    if (spent > 0 && lua_isyieldable(L)) {
        lua_coroutine_requeue(L, true);
        lua_yield(L, 0);
    }
}

void limits_running(lua_State *L) {
    running = L;
    struct lua_coroutine *co = lua_coroutine_current();
    if (co && co->fate == LUA_FATE_CPU && co->raised) lua_sethook(L, on_hook, LUA_MASKCOUNT, 1);
}

void limits_enter(struct lua_coroutine *co) {
    struct lua_host *host = co->anchor.host;
    co->entered_bytes = host->bytes;
    host->refused = host->asking_again = false;
    size_t limit = co->limits.memory;
    if (limit) {
        size_t left = co->grown < limit ? limit - co->grown : 0;
        host->ceiling = host->bytes + left;
    }
    ticks = 0;
    limits_running(co->L);
    // Sliced code that was cancelled while it stood in the queue learns of it at its next
    // instruction.
    if (co->fate != LUA_FATE_NONE && !co->resume_failed && !co->raised) {
        lua_sethook(co->resume_on, on_hook, LUA_MASKCOUNT, 1);
    }
}

void limits_leave(struct lua_coroutine *co) {
    struct lua_host *host = co->anchor.host;
    running = NULL;
    host->ceiling = SIZE_MAX;
    co->cpu_ms += take_ticks() * LIMITS_TICK_MS;
    if (host->bytes > co->entered_bytes) {
        co->grown += host->bytes - co->entered_bytes;
    } else {
        size_t shrunk = co->entered_bytes - host->bytes;
        co->grown = co->grown > shrunk ? co->grown - shrunk : 0;
    }
}

void limits_load_begin(lua_State *L, unsigned cpu_ms) {
    load_left_ms = cpu_ms;
    ticks = 0;
    running = L;
}

void limits_load_end(lua_State *L) {
    running = NULL;
    load_left_ms = 0;
    lua_sethook(L, NULL, 0, 0);
}

void limits_size_text(size_t bytes, char out[24]) {
    if (bytes >= 1024 * 1024) {
        snprintf(out, 24, "%zu MiB", bytes / (1024 * 1024));
    } else {
        snprintf(out, 24, "%zu KiB", bytes / 1024);
    }
}

void *limits_allocate(void *context, void *block, size_t old_size, size_t new_size) {
    struct lua_host *host = context;
    if (!block) old_size = 0; // Lua passes the kind of the object there
    if (new_size == 0) {
        if (block) lua_blocks_resize(&host->blocks, block, old_size, 0);
        host->bytes -= old_size;
        return NULL;
    }
    struct lua_coroutine *co = lua_coroutine_current();
    size_t ceiling = host->ceiling;
    // That a collection of everything found a few bytes is no reason to go on: the next one would
    // come soon, and the one after it sooner.
    if (host->asking_again && co) ceiling -= co->limits.memory / RETRY_FREES_PART;
    if (new_size > old_size && host->bytes + (new_size - old_size) > ceiling) {
        // Lua collects everything and asks once more before it gives up; by then the message
        // handler cannot tell where it was, so the place is noted here.
        if (co && running && !host->asking_again) {
            struct buffer trace = {0};
            trace_stack(&trace, running, 0, TRACE_LEVELS);
            memory_free(co->trace);
            co->trace = memory_copy_string(buffer_text(&trace));
            buffer_free(&trace);
        }
        host->refused = true;
        host->asking_again = !host->asking_again;
        return NULL;
    }
    if (new_size > old_size) host->asking_again = false;
    void *moved = lua_blocks_resize(&host->blocks, block, old_size, new_size);
    if (moved) {
        host->bytes += new_size - old_size;
    } else if (new_size < old_size) {
        moved = block; // shrinking may not fail
    }
    return moved;
}
