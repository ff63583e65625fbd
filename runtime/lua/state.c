#include "lua/state.h"

#include <errno.h>
#include <fcntl.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "lua/bindings.h"
#include "lua/coroutine.h"
#include "lua/limits.h"
#include "lua/lua_match.h"

enum { SOURCE_SIZE_MOST = 4 * 1024 * 1024 };

struct runtime *runtime_of(lua_State *L) {
    return lua_host_of(L)->runtime;
}

bool lua_host_trusted(const struct runtime *runtime) {
    return strcmp(runtime->service, "command") == 0 || strcmp(runtime->service, "test") == 0;
}

static int on_panic(lua_State *L) {
    const char *text = lua_tostring(L, -1);
    log_error("lua.panic", LOG_TEXT("error", text ? text : "(not a text)"));
    abort();
}

static void on_warning(void *context, const char *text, int continued) {
    (void)context;
    if (!continued && *text != '@') log_warn("lua.warning", LOG_TEXT("text", text));
}

static bool read_source(const char *path, struct buffer *text, const char **problem) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        *problem = strerror(errno);
        if (fd >= 0) close(fd);
        return false;
    }
    *problem = NULL;
    if (!S_ISREG(info.st_mode)) *problem = "not a regular file";
    if (info.st_size > SOURCE_SIZE_MOST) *problem = "too large";
    while (!*problem) {
        ssize_t n = read(fd, buffer_reserve(text, 65536), 65536);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) *problem = strerror(errno);
        if (n <= 0) break;
        buffer_added(text, (size_t)n);
        if (text->size > SOURCE_SIZE_MOST) *problem = "too large";
    }
    close(fd);
    return *problem == NULL;
}

int lua_host_load(lua_State *L, const char *root, const char *path) {
    struct buffer full = {0}, text = {0};
    const char *problem;
    buffer_printf(&full, "%s/%s", root, path);
    if (!read_source(buffer_text(&full), &text, &problem)) {
        lua_pushfstring(L, "%s: %s", path, problem);
        buffer_free(&full);
        buffer_free(&text);
        return LUA_ERRFILE;
    }
    buffer_clear(&full, 0);
    buffer_printf(&full, "@%s", path);
    const char *start = buffer_text(&text);
    size_t size = text.size;
    if (size > 0 && *start == '#') { // a #! line; the newline stays, for the line numbers
        const char *line = memchr(start, '\n', size);
        size -= line ? (size_t)(line - start) : size;
        start = line ? line : "";
    }
    int status = luaL_loadbufferx(L, start, size, buffer_text(&full), "t");
    buffer_free(&full);
    buffer_free(&text);
    return status;
}

static bool is_module_name(const char *name) {
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return size > 0 && size < 200 && name[size] == '\0' && !strstr(name, "..") && *name != '.';
}

// package.searchers[2]: modules of the site, from <root>/lua only.
static int search_site(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    const char *root = runtime_of(L)->root;
    if (!is_module_name(name)) {
        lua_pushfstring(L, "'%s' is not a module name", name);
        return 1;
    }
    const char *path = luaL_gsub(L, name, ".", "/");
    const char *candidates[2];
    candidates[0] = lua_pushfstring(L, "lua/%s.lua", path);
    candidates[1] = lua_pushfstring(L, "lua/%s/init.lua", path);
    for (int i = 0; i < 2; i++) {
        const char *full = lua_pushfstring(L, "%s/%s", root, candidates[i]);
        if (access(full, R_OK) != 0) continue;
        if (lua_host_load(L, root, candidates[i]) != LUA_OK) {
            return luaL_error(L, "%s", lua_tostring(L, -1));
        }
        lua_pushstring(L, candidates[i]);
        return 2;
    }
    lua_pushfstring(L, "no file '%s' and no '%s'", candidates[0], candidates[1]);
    return 1;
}

// load(), for text only: crafted bytecode can do anything to the process.
static const char *next_piece(lua_State *L, void *context, size_t *size) {
    (void)context;
    luaL_checkstack(L, 2, "too many nested functions");
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        *size = 0;
        return NULL;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "reader function must return a string");
    lua_replace(L, 5); // keeps it alive
    return lua_tolstring(L, 5, size);
}

static int base_load(lua_State *L) {
    bool has_environment = !lua_isnone(L, 4);
    lua_settop(L, 5);
    int status;
    if (lua_isstring(L, 1)) {
        size_t size;
        const char *text = lua_tolstring(L, 1, &size);
        status = luaL_loadbufferx(L, text, size, luaL_optstring(L, 2, text), "t");
    } else {
        luaL_checktype(L, 1, LUA_TFUNCTION);
        status = lua_load(L, next_piece, NULL, luaL_optstring(L, 2, "=(load)"), "t");
    }
    if (status != LUA_OK) {
        luaL_pushfail(L);
        lua_insert(L, -2);
        return 2;
    }
    if (has_environment) {
        lua_pushvalue(L, 4);
        if (!lua_setupvalue(L, -2, 1)) lua_pop(L, 1);
    }
    return 1;
}

// collectgarbage(): what looks and what collects, but not what changes the collector for everybody.
static int base_collect(lua_State *L) {
    static const char *const options[] = {"collect", "count", "step", NULL};
    switch (luaL_checkoption(L, 1, "collect", options)) {
    case 0:
        lua_gc(L, LUA_GCCOLLECT);
        break;
    case 1:
        lua_pushnumber(L, (lua_Number)lua_host_of(L)->bytes / 1024);
        return 1;
    default:
        lua_gc(L, LUA_GCSTEP, 0);
    }
    lua_pushinteger(L, 0);
    return 1;
}

// os.time() and os.date() without a time follow the runtime's clock, which tests may move.
static int os_now(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    int arguments = lua_gettop(L) - 1;
    if (lua_toboolean(L, lua_upvalueindex(2))) { // date([format [, time]])
        if (arguments == 0) lua_pushliteral(L, "%c");
        if (lua_isnoneornil(L, 3)) {
            lua_settop(L, 2);
            lua_pushinteger(L, (lua_Integer)clock_wall_s());
        }
    } else if (lua_isnoneornil(L, 2)) {
        lua_pushinteger(L, (lua_Integer)clock_wall_s());
        return 1;
    }
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

static void wrap_clock(lua_State *L, const char *name, bool date) { // [-1] os
    lua_getfield(L, -1, name);
    lua_pushboolean(L, date);
    lua_pushcclosure(L, os_now, 2);
    lua_setfield(L, -2, name);
}

static void remove_fields(lua_State *L, const char *library, const char *const *names) {
    lua_getglobal(L, library);
    for (; *names; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
    lua_pop(L, 1);
}

static void open_libraries(lua_State *L, const struct runtime *runtime) {
    bool trusted = lua_host_trusted(runtime);
    luaL_openlibs(L);
    lua_match_library(L);
    lua_coroutine_library(L);
    lua_pushcfunction(L, base_load);
    lua_setglobal(L, "load");
    remove_fields(L, "string", (const char *const[]){"dump", NULL});
    lua_getglobal(L, "os");
    wrap_clock(L, "time", false);
    wrap_clock(L, "date", true);
    lua_pop(L, 1);
    if (!trusted) {
        lua_pushcfunction(L, base_collect);
        lua_setglobal(L, "collectgarbage");
        // These would block the loop, end the process or reach around the runtime's own modules.
        remove_fields(L, "_G", (const char *const[]){"dofile", "loadfile", "io", NULL});
        remove_fields(L, "os",
                      (const char *const[]){"execute", "exit", "remove", "rename", "tmpname",
                                            "setlocale", "getenv", NULL});
        remove_fields(L, "debug",
                      (const char *const[]){"debug", "getregistry", "getuservalue", "setuservalue",
                                            "sethook", "setmetatable", "setupvalue", "setlocal",
                                            "upvaluejoin", "upvalueid", "setcstacklimit", NULL});
        luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
        lua_pushnil(L);
        lua_setfield(L, -2, "io");
        lua_pop(L, 1);
    }
    lua_getglobal(L, "package");
    lua_pushfstring(L, "%s/lua/?.lua;%s/lua/?/init.lua%s", runtime->root, runtime->root,
                    trusted ? ";/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua" : "");
    lua_setfield(L, -2, "path");
    if (!trusted) {
        lua_pushliteral(L, "");
        lua_setfield(L, -2, "cpath");
    }
    if (!trusted) {
        lua_pushnil(L);
        lua_setfield(L, -2, "loadlib");
    }
    lua_getfield(L, -1, "searchers"); // [1] preload, [2] Lua, [3] C, [4] C root
    if (trusted) {                    // after the site's, Debian's
        for (int i = 4; i >= 2; i--) {
            lua_geti(L, -1, i);
            lua_seti(L, -2, i + 1);
        }
    }
    lua_pushcfunction(L, search_site);
    lua_seti(L, -2, 2);
    for (int i = 3; !trusted && i <= 4; i++) {
        lua_pushnil(L);
        lua_seti(L, -2, i);
    }
    lua_pop(L, 2);
}

static int open_all(lua_State *L) {
    open_libraries(L, runtime_of(L));
    bindings_preload(L);
    return 0;
}

struct lua_host *lua_host_new(struct runtime *runtime, uint64_t number) {
    limits_install(!lua_host_trusted(runtime));
    struct lua_host *host = memory_zero(1, sizeof *host);
    host->anchor.host = host;
    host->runtime = runtime;
    host->number = number;
    host->ceiling = SIZE_MAX;
    host->exports = LUA_NOREF;
    host->most = (size_t)settings_integer(runtime->settings, "lua.coroutines", 20000);
    host->stall_ms = (unsigned)settings_integer(runtime->settings, "lua.stall_ms", 20);
    lua_host_schedule_init(host);
    host->L = lua_newstate(limits_allocate, host);
    if (!host->L) {
        log_error("lua.no_memory");
        abort();
    }
    lua_anchor_set(host->L, &host->anchor);
    lua_atpanic(host->L, on_panic);
    lua_setwarnf(host->L, on_warning, NULL);
    if (settings_boolean(runtime->settings, "lua.collect_eagerly", false)) {
        lua_gc(host->L, LUA_GCINC, 1, 1000, 1); // what is not anchored does not live long
    } else {
        // In steps of some 50 µs. The multiplier counts units of work (an object to sweep, a slot to
        // mark) for each 16 bytes that are allocated, whatever the manual says: with the default of
        // 100 a whole cycle is done in a few steps, and everybody waits.
        lua_gc(host->L, LUA_GCINC, 200, 16, 10);
    }
    lua_pushcfunction(host->L, open_all);
    if (lua_pcall(host->L, 0, 0, 0) != LUA_OK) {
        log_error("lua.open_failed", LOG_TEXT("error", lua_tostring(host->L, -1)));
        abort(); // our own libraries: a bug, not input
    }
    return host;
}

void lua_host_free(struct lua_host *host) {
    struct loop *loop = host->runtime->loop;
    host->closing = true;
    loop_timer_stop(loop, &host->collect);
    loop_timer_stop(loop, &host->slice);
    loop_undefer(&host->turn);
    lua_close(host->L);
    lua_blocks_clear(&host->blocks);
    lua_coroutine_free_idle(host);
    memory_free(host);
}
