// runtime.testing: what the test runner needs of the inside. Only the test service has it.
#include <dirent.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "http/client.h"
#include "lua/lua_request.h"
#include "lua/lua_task.h"
#include "mariadb/pool.h"

enum { LINES_MOST = 1000 };

static struct {
    char *text;
    enum log_level level;
} lines[LINES_MOST];
static size_t line_count;

static void on_line(void *context, enum log_level level, struct slice line) {
    (void)context;
    if (line_count == LINES_MOST) return;
    char *text = memory_alloc(line.size + 1);
    memcpy(text, line.data, line.size);
    text[line.size] = '\0';
    while (line.size > 0 && text[line.size - 1] == '\n') text[--line.size] = '\0';
    lines[line_count].text = text;
    lines[line_count++].level = level;
}

static void forget_lines(void) {
    for (size_t i = 0; i < line_count; i++) memory_free(lines[i].text);
    line_count = 0;
}

// capture(on): log lines are kept for take_log in place of going to standard error.
static int capture(lua_State *L) {
    log_set_sink(lua_toboolean(L, 1) ? on_line : NULL, NULL);
    return 0;
}

// take_log(): the lines since the last call, as { level =, text = }.
static int take_log(lua_State *L) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    lua_createtable(L, (int)line_count, 0);
    for (size_t i = 0; i < line_count; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, names[lines[i].level]);
        lua_setfield(L, -2, "level");
        lua_pushstring(L, lines[i].text);
        lua_setfield(L, -2, "text");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    forget_lines();
    return 1;
}

// limit([seconds]): a deadline for the running coroutine from now on, or none; forgets one that has
// passed. Not task.deadline: that has a protected call, which would cut the stacks of failures
// short.
static int limit(lua_State *L) {
    struct lua_coroutine *co = lua_coroutine_current();
    if (!co) return luaL_error(L, "no coroutine");
    task_clear_fate(co);
    uint64_t at = 0;
    if (!lua_isnoneornil(L, 1)) at = loop_now(runtime_of(L)->loop) + task_check_seconds(L, 1);
    lua_coroutine_set_deadline(co, at);
    return 0;
}

// set(key, value): changes one setting; nil does not remove. Returns what it was, as text.
static int set(lua_State *L) {
    const char *key = luaL_checkstring(L, 1), *value = luaL_tolstring(L, 2, NULL);
    struct settings *settings = runtime_of(L)->settings;
    lua_pushstring(L, settings_text(settings, key, NULL));
    settings_set(settings, key, value);
    return 1;
}

// clock_offset(microseconds): added to the wall clock; 0 puts it right.
static int clock_offset(lua_State *L) {
    clock_offset_us(luaL_checkinteger(L, 1));
    return 0;
}

// skip(milliseconds): brings all timers of Lua code nearer, up to the first that is then due, and at most
// by so much. By how much.
static int skip(lua_State *L) {
    lua_Integer most = luaL_checkinteger(L, 1);
    luaL_argcheck(L, most >= 0, 1, "time does not go back");
    lua_pushinteger(L, (lua_Integer)lua_pending_skip((uint64_t)most));
    return 1;
}

struct handle_count {
    lua_Integer all, processes;
};

static void count_handle(uv_handle_t *handle, void *context) {
    struct handle_count *count = context;
    if (uv_is_closing(handle)) return;
    count->all++;
    if (handle->type == UV_PROCESS) count->processes++;
}

static lua_Integer busy_connections(const struct mariadb_pool *pool) {
    if (!pool) return 0;
    struct mariadb_pool_figures f = mariadb_pool_figures(pool);
    return (lua_Integer)f.open - f.idle - f.connecting;
}

static void add_figure(lua_State *L, const char *name, lua_Integer value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

// figures(): open descriptors and handles of the loop, and what a test may leave behind: connections to
// MariaDB that are in use, child processes, outgoing requests, connections to the in-process server.
static int figures(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    struct handle_count handles = {0};
    lua_Integer descriptors = 0;
    uv_walk(&runtime->loop->uv, count_handle, &handles);
    DIR *directory = opendir("/proc/self/fd");
    if (directory) {
        while (readdir(directory)) descriptors++;
        closedir(directory);
    }
    struct http_server *inside = lua_http_of(runtime)->inside;
    lua_createtable(L, 0, 6);
    add_figure(L, "handles", handles.all);
    add_figure(L, "descriptors", descriptors);
    add_figure(L, "processes", handles.processes);
    add_figure(L, "database", busy_connections(runtime->db) + busy_connections(runtime->db_replica));
    add_figure(L, "transfers", runtime->http ? (lua_Integer)http_client_running(runtime->http) : 0);
    add_figure(L, "connections", inside ? (lua_Integer)http_server_connections(inside) : 0);
    return 1;
}

static int program(lua_State *L) {
    char path[4096];
    size_t size = sizeof path;
    if (uv_exepath(path, &size) != 0) return luaL_error(L, "the program does not find itself");
    lua_pushlstring(L, path, size);
    return 1;
}

int lua_open_testing(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"capture", capture}, {"take_log", take_log},         {"limit", limit},     {"set", set},
        {"program", program}, {"clock_offset", clock_offset}, {"figures", figures},
        {"skip", skip}, {NULL, NULL}};
    if (strcmp(runtime_of(L)->service, "test") != 0) {
        return luaL_error(L, "runtime.testing is there in the test service only");
    }
    luaL_newlib(L, functions);
    return 1;
}
