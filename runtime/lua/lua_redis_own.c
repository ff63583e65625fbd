// runtime.redis: a connection of one's own, and scripts by name.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lua/lua_redis.h"

#define CONNECTION "runtime.redis.connection"
enum {
    OWN_MOST = 64, ///< of a process at once
    OWN_LIMIT_MS =
        25000, ///< of a command: below the silence after which a connection counts as dead
    SCRIPT_MOST = 64 * 1024,
};

struct own {
    struct redis_client *client; ///< NULL once closed
};

static unsigned own_count;

static int own_close(lua_State *L) {
    struct own *own = luaL_checkudata(L, 1, CONNECTION);
    struct redis_client *client = own->client;
    own->client = NULL;
    if (!client) return 0;
    own_count--;
    redis_client_free(client); // who waits for an answer hears LOST
    return 0;
}

// connection:call(command, …): as redis.call, on this connection alone
static int own_call(lua_State *L) {
    struct own *own = luaL_checkudata(L, 1, CONNECTION);
    if (!own->client) return luaL_error(L, "redis: the connection is closed");
    size_t count;
    struct slice few[LUA_REDIS_FEW];
    const struct slice *arguments = lua_redis_arguments(L, 2, few, &count, false);
    lua_pending handle = lua_pending_begin(L, "redis.connection.call", NULL, NULL);
    redis_call(own->client, arguments, count, lua_pending_left(L, OWN_LIMIT_MS), lua_redis_reply,
               lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

static void own_metatable(lua_State *L) {
    static const luaL_Reg methods[] = {{"call", own_call}, {"close", own_close}, {NULL, NULL}};
    if (!luaL_newmetatable(L, CONNECTION)) return;
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, own_close);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, own_close);
    lua_setfield(L, -2, "__close");
}

// connect(): for MULTI, WATCH and what blocks. It is closed with its block or by the collector.
int lua_redis_connect(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    const struct settings *settings = runtime->settings;
    struct redis_options options = {
        .name = "own",
        .address = settings_text(settings, "redis.main.address", NULL),
        .password = settings_text(settings, "redis.main.password", NULL),
        .sentinel_password = settings_text(settings, "redis.main.sentinel_password", NULL),
        .command_ms = OWN_LIMIT_MS,
    };
    if (!runtime->redis_main || !options.address)
        return luaL_error(L, "redis is not available in the %s service", runtime->service);
    if (strncmp(options.address, "cluster:", 8) == 0)
        return luaL_error(L, "redis: a cluster has no connection that could be one's own");
    if (own_count >= OWN_MOST) return luaL_error(L, "redis: too many connections of one's own");
    struct own *own = lua_newuserdatauv(L, sizeof *own, 0);
    own->client = NULL;
    own_metatable(L);
    lua_setmetatable(L, -2);
    own->client = redis_client_new(runtime->loop, &options);
    own_count++;
    return 1;
}

// ---- scripts by name ------------------------------------------------------------------------

static bool name_good(const char *name, size_t size) {
    if (size == 0 || size > 64) return false;
    for (size_t i = 0; i < size; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789_", name[i])) return false;
    return true;
}

/// Pushes the text of lua/redis/<name>.lua; read once a generation, so a reload brings a new one.
static void push_script(lua_State *L, const char *name) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "runtime.redis.scripts");
    if (lua_getfield(L, -1, name) == LUA_TSTRING) return;
    lua_pop(L, 1);
    char path[1024], text[SCRIPT_MOST];
    snprintf(path, sizeof path, "%s/lua/redis/%s.lua", runtime_of(L)->root, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0) close(fd);
    if (size < 0) luaL_error(L, "redis: there is no script lua/redis/%s.lua", name);
    if ((size_t)size == sizeof text) luaL_error(L, "redis: lua/redis/%s.lua is too long", name);
    lua_pushlstring(L, text, (size_t)size);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, name);
}

int lua_redis_script(lua_State *L) {
    size_t size;
    const char *name = luaL_checklstring(L, 1, &size);
    luaL_argcheck(L, name_good(name, size), 1, "letters, digits and _ name a script");
    lua_settop(L, 3);
    push_script(L, name);
    lua_replace(L, 1);
    lua_settop(L, 3);
    return lua_redis_eval(L);
}
