#include "lua/generation.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "lua/coroutine.h"
#include "lua/limits.h"
#include "lua/state.h"
#include "lua/trace.h"
#include "lua/watch.h"

enum { LOAD_CPU_MS = 20000, MODULES_MOST = 4000, DEPTH_MOST = 12, RETIRE_MS = 5000 };

struct old_generation {
    struct list link;
    struct lua_host *host;
    struct timer retire;     // then jobs that did not come to rest are cancelled
    struct deferred removal; // not inside the last coroutine's own call
};

struct lua_generations {
    struct runtime *runtime;
    char *entry;
    struct lua_host *host; // the current one; NULL until the first load succeeded
    struct list old;
    uint64_t number;
    char *error;
    struct lua_limits limits;
    struct watch *watch;
    void (*changed)(void *context, bool ok);
    void *context;
    struct metric *reloads, *failures, *bytes, *coroutines, *waits, *old_ones;
};

static void collect_metrics(void *context) {
    const struct lua_generations *g = context;
    metric_set(g->bytes, (int64_t)lua_generations_memory(g));
    metric_set(g->coroutines, (int64_t)lua_generations_running(g));
    metric_set(g->waits, (int64_t)lua_pending_count());
    metric_set(g->old_ones, (int64_t)lua_generations_old(g));
}

struct lua_generations *lua_generations_new(struct runtime *runtime, const char *entry) {
    struct lua_generations *g = memory_zero(1, sizeof *g);
    const struct settings *settings = runtime->settings;
    g->runtime = runtime;
    g->entry = memory_copy_string(entry);
    list_init(&g->old);
    g->limits = (struct lua_limits){
        .deadline_ms = (unsigned)settings_integer(settings, "lua.deadline_ms", 10000),
        .cpu_ms = (unsigned)settings_integer(settings, "lua.cpu_ms", 500),
        .memory = (size_t)settings_integer(settings, "lua.memory", 32 * 1024 * 1024),
    };
    g->reloads =
        metrics_counter("footlight_lua_loads_total", "Generations of Lua code loaded", NULL);
    g->failures = metrics_counter("footlight_lua_load_failures_total",
                                  "Loads that failed and changed nothing", NULL);
    g->bytes = metrics_gauge("footlight_lua_memory_bytes", "Held by the current Lua state", NULL);
    g->coroutines = metrics_gauge("footlight_lua_coroutines", "Begun and not finished", NULL);
    g->waits = metrics_gauge("footlight_lua_waits", "Operations that coroutines wait for", NULL);
    g->old_ones = metrics_gauge("footlight_lua_old_generations", "That finish their work", NULL);
    metrics_on_export(collect_metrics, g);
    return g;
}

// ---- building -------------------------------------------------------------------------------

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
    char *list[MODULES_MOST];
    size_t count;
};

static void collect_modules(struct names *names, const char *root, const char *below, int depth) {
    char path[4096];
    if (depth > DEPTH_MOST) return;
    if ((size_t)snprintf(path, sizeof path, "%s/lua/%s", root, below) >= sizeof path) return;
    DIR *directory = opendir(path);
    if (!directory) return;
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        const char *name = entry->d_name;
        size_t size = strlen(name);
        char full[4096];
        if (*name == '.' ||
            (size_t)snprintf(full, sizeof full, "%s/%s", below, name) >= sizeof full) {
            continue;
        }
        if (entry->d_type == DT_DIR) {
            collect_modules(names, root, full, depth + 1);
        } else if (size > 4 && strcmp(name + size - 4, ".lua") == 0 &&
                   names->count < MODULES_MOST) {
            full[strlen(full) - 4] = '\0';
            size_t length = strlen(full);
            if (length > 5 && strcmp(full + length - 5, "/init") == 0) full[length - 5] = '\0';
            for (char *c = full; *c; c++) {
                if (*c == '/') *c = '.';
            }
            names->list[names->count++] = memory_copy_string(full);
        }
    }
    closedir(directory);
}

// Everything that a handler of this service could come to require later, so that a mistake shows at
// the reload and not at the first request that meets it.
static void collect_all(struct names *names, const struct lua_generations *g) {
    const struct runtime *runtime = g->runtime;
    if (lua_host_trusted(runtime)) return; // a command loads what it needs, and starts quickly
    collect_modules(names, runtime->root, "footlight", 0);
    if (runtime->db) collect_modules(names, runtime->root, "store", 0);
    collect_modules(names, runtime->root, g->entry, 0);
    if (strcmp(runtime->service, "web") == 0) {
        for (const char *const *folder =
                 (const char *const[]){"studio", "admin", "moderation", NULL};
             *folder; folder++) {
            collect_modules(names, runtime->root, *folder, 0);
        }
    }
    qsort(names->list, names->count, sizeof *names->list, compare_names);
}

struct build {
    struct lua_generations *generations;
    struct lua_host *host;
    struct names names;
};

static int load_modules(lua_State *L) { // [1] struct build
    struct build *build = lua_touserdata(L, 1);
    lua_getglobal(L, "require"); // [2]
    lua_pushvalue(L, 2);
    lua_pushstring(L, build->generations->entry);
    lua_call(L, 1, 1); // [3] exports
    if (!lua_istable(L, 3)) {
        return luaL_error(L, "the entry module '%s' returns a %s, and must return a table",
                          build->generations->entry, luaL_typename(L, 3));
    }
    for (size_t i = 0; i < build->names.count; i++) {
        // Test helpers belong to the test service.
        if (strncmp(build->names.list[i], "footlight.testing", 17) == 0) continue;
        lua_pushvalue(L, 2);
        lua_pushstring(L, build->names.list[i]);
        lua_call(L, 1, 0);
    }
    lua_getfield(L, 3, "check");
    if (lua_isfunction(L, -1)) {
        lua_call(L, 0, 0);
    } else {
        lua_pop(L, 1);
    }
    lua_settop(L, 3);
    build->host->exports = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static int load_handler(lua_State *L) {
    struct buffer text = {0};
    trace_message(&text, L, 1);
    buffer_append_text(&text, "\nstack:\n");
    trace_stack(&text, L, 1, TRACE_LEVELS);
    while (text.size > 0 && text.data[text.size - 1] == '\n') text.size--;
    lua_pushlstring(L, text.data, text.size);
    buffer_free(&text);
    return 1;
}

static struct lua_host *build_host(struct lua_generations *g, char **error) {
    struct build *build = memory_zero(1, sizeof *build);
    build->generations = g;
    build->host = lua_host_new(g->runtime, g->number + 1);
    collect_all(&build->names, g);
    lua_State *L = build->host->L;
    lua_pushcfunction(L, load_handler);
    lua_pushcfunction(L, load_modules);
    lua_pushlightuserdata(L, build);
    limits_load_begin(L, LOAD_CPU_MS);
    int status = lua_pcall(L, 1, 0, 1);
    limits_load_end(L);
    struct lua_host *host = build->host;
    if (status != LUA_OK) {
        const char *text = lua_tostring(L, -1);
        *error = memory_copy_string(text ? text : "loading failed");
        lua_host_free(host);
        host = NULL;
    } else {
        lua_settop(L, 0);
        lua_gc(L, LUA_GCCOLLECT);
        host->settled = host->bytes;
    }
    for (size_t i = 0; i < build->names.count; i++) memory_free(build->names.list[i]);
    memory_free(build);
    return host;
}

// ---- swapping -------------------------------------------------------------------------------

static void remove_old(struct deferred *deferred) {
    struct old_generation *old = container_of(deferred, struct old_generation, removal);
    struct lua_host *host = old->host;
    loop_timer_stop(host->runtime->loop, &old->retire);
    list_remove(&old->link);
    log_debug("lua.generation_ended", LOG_INT("generation", host->number));
    lua_host_free(host);
    memory_free(old);
}

static void on_empty(struct lua_host *host) {
    struct old_generation *old = host->owner;
    loop_defer(host->runtime->loop, &old->removal);
}

static void cancel_endless(struct lua_host *host, bool idle_only) {
    list_each(&host->coroutines, node) {
        struct lua_coroutine *co = container_of(node, struct lua_coroutine, link);
        if (co->deadline_at || (idle_only && !lua_pending_is_idle(co->waiting))) continue;
        lua_coroutine_doom(co, LUA_FATE_CANCELLED, "cancelled: reload");
    }
}

static void on_retire(struct timer *timer) {
    struct old_generation *old = container_of(timer, struct old_generation, retire);
    cancel_endless(old->host, false);
}

/// The old state finishes what it has begun. What would go on for ever (jobs, timers) ends at its
/// next rest: the new generation starts its own.
static void retire(struct lua_generations *g, struct lua_host *host) {
    struct old_generation *old = memory_zero(1, sizeof *old);
    old->host = host;
    timer_init(&old->retire, on_retire);
    deferred_init(&old->removal, remove_old);
    list_push_back(&g->old, &old->link);
    host->retiring = true;
    host->owner = old;
    host->on_empty = on_empty;
    if (host->count == 0) {
        on_empty(host);
        return;
    }
    loop_timer_start(g->runtime->loop, &old->retire, RETIRE_MS);
    cancel_endless(host, true);
}

int lua_generations_reload(struct lua_generations *g) {
    uint64_t began = clock_monotonic_ns();
    char *error = NULL;
    struct lua_host *host = build_host(g, &error);
    memory_free(g->error);
    g->error = error;
    int64_t took = (int64_t)(clock_monotonic_ns() - began) / 1000000;
    if (!host) {
        metric_add(g->failures, 1);
        log_error("lua.load_failed", LOG_TEXT("entry", g->entry), LOG_TEXT("error", error));
    } else {
        struct lua_host *before = g->host;
        g->host = host;
        g->number = host->number;
        metric_add(g->reloads, 1);
        log_event(lua_host_trusted(g->runtime) ? LOG_DEBUG_LEVEL : LOG_INFO_LEVEL, "lua.loaded",
                  LOG_TEXT("entry", g->entry), LOG_INT("generation", host->number),
                  LOG_INT("milliseconds", took), LOG_INT("bytes", host->bytes));
        if (before) retire(g, before);
    }
    if (g->changed) g->changed(g->context, host != NULL);
    return host ? 0 : -1;
}

const char *lua_generations_error(const struct lua_generations *g) {
    return g->error;
}
uint64_t lua_generations_number(const struct lua_generations *g) {
    return g->number;
}

void lua_generations_on_reload(struct lua_generations *g, void (*changed)(void *context, bool ok),
                               void *context) {
    g->changed = changed;
    g->context = context;
}

static void on_files_changed(void *context) {
    (void)lua_generations_reload(context);
}

void lua_generations_watch(struct lua_generations *g) {
    if (g->watch) return;
    g->watch = watch_new(g->runtime->loop, on_files_changed, g);
    static const char *const folders[] = {"lua", "templates", "migrations", "conf"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[4096];
        if ((size_t)snprintf(path, sizeof path, "%s/%s", g->runtime->root, folders[i]) <
            sizeof path) {
            watch_add(g->watch, path);
        }
    }
}

void lua_generations_free(struct lua_generations *g) {
    if (!g) return;
    metrics_off_export(collect_metrics, g);
    watch_free(g->watch);
    if (g->host) {
        lua_host_cancel_all(g->host, "cancelled: the service stops");
        lua_host_free(g->host);
    }
    list_each(&g->old, node) {
        struct old_generation *old = container_of(node, struct old_generation, link);
        lua_host_cancel_all(old->host, "cancelled: the service stops");
        loop_undefer(&old->removal);
        remove_old(&old->removal);
    }
    memory_free(g->error);
    memory_free(g->entry);
    memory_free(g);
}

// ---- calling --------------------------------------------------------------------------------

/// Leaves the function (or nil) on top of L.
static bool push_export(struct lua_host *host, lua_State *L, const char *export) {
    const char *colon = strchr(export, ':');
    if (colon) {
        luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
        lua_pushlstring(L, export, (size_t)(colon - export));
        if (lua_rawget(L, -2) == LUA_TTABLE) {
            lua_pushstring(L, colon + 1);
            lua_rawget(L, -2);
            lua_replace(L, -3);
            lua_pop(L, 1);
        } else {
            lua_remove(L, -2);
        }
        return lua_isfunction(L, -1);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, host->exports);
    lua_pushstring(L, export);
    bool found = lua_rawget(L, -2) == LUA_TFUNCTION;
    lua_remove(L, -2);
    return found;
}

bool lua_generations_has(struct lua_generations *g, const char *export) {
    if (!g->host) return false;
    bool found = push_export(g->host, g->host->L, export);
    lua_pop(g->host->L, 1);
    return found;
}

lua_run
lua_generations_call(struct lua_generations *g, const char *export, const struct lua_limits *limits,
                     int (*push)(lua_State *co, void *context),
                     void (*done)(void *context, lua_State *co, int results, const char *error),
                     void *context) {
    struct lua_coroutine *co =
        g->host ? lua_coroutine_new(g->host, limits ? limits : &g->limits) : NULL;
    if (!co) {
        done(context, NULL, 0,
             g->host ? "too many coroutines: the service is busy" : "no Lua code is loaded");
        return 0;
    }
    co->done = done;
    co->context = context;
    lua_run run = co->run;
    if (!push_export(g->host, co->L, export)) {
        lua_pop(co->L, 1);
        lua_getglobal(co->L, "error");
        lua_pushfstring(co->L, "no export '%s' in '%s'", export, g->entry);
        lua_coroutine_start(co, 1, false);
        return lua_coroutine_find(run) ? run : 0;
    }
    int arguments = push ? push(co->L, context) : 0;
    lua_coroutine_start(co, arguments, false);
    return lua_coroutine_find(run) ? run : 0;
}

void lua_generations_label(lua_State *L, const char *request_id) {
    struct lua_coroutine *co = lua_coroutine_of(L);
    if (!co) return;
    size_t size = strnlen(request_id, sizeof co->request_id - 1);
    memcpy(co->request_id, request_id, size);
    co->request_id[size] = '\0';
}

void lua_cancel(struct lua_generations *g, lua_run run, const char *reason) {
    (void)g;
    struct lua_coroutine *co = lua_coroutine_find(run);
    if (!co) return;
    char text[128];
    snprintf(text, sizeof text, "cancelled: %s", reason);
    lua_coroutine_doom(co, LUA_FATE_CANCELLED, text);
}

size_t lua_generations_memory(const struct lua_generations *g) {
    return g->host ? g->host->bytes : 0;
}

size_t lua_generations_old(const struct lua_generations *g) {
    size_t count = 0;
    list_each(&g->old, node) count++;
    return count;
}

size_t lua_generations_running(const struct lua_generations *g) {
    size_t count = g->host ? g->host->count : 0;
    list_each(&g->old, node) count += container_of(node, struct old_generation, link)->host->count;
    return count;
}
