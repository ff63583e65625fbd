#include "lua/bindings.h"

#include "lua/runtime.h"

static const luaL_Reg modules[] = {
    {"runtime.task", lua_open_task},
    {"runtime.log", lua_open_log},
    {"runtime.metrics", lua_open_metrics},
    {"runtime.config", lua_open_config},
    {"runtime.json", lua_open_json},
    {"runtime.crypto", lua_open_crypto},
    {"runtime.process", lua_open_process},
    {"runtime.file", lua_open_file},
    {"runtime.cache", lua_open_cache},
    {"runtime.geo", lua_open_geo},
    {"runtime.text", lua_open_text},
    {"runtime.supervisor", lua_open_supervisor},
    {"runtime.request", lua_open_request},
    {"runtime.http", lua_open_http},
    {"runtime.redis", lua_open_redis},
    {"runtime.billing", lua_open_billing},
    {"runtime.realtime", lua_open_realtime},
    {"runtime.streaming", lua_open_streaming},
    {"runtime.template", lua_open_template},
    {"runtime.testing", lua_open_testing},
    {"runtime.db", lua_open_db},
};

// require calls the loader with (name, ":preload:"); openers expect an empty stack.
static int open_module(lua_State *L) {
    lua_CFunction open = lua_tocfunction(L, lua_upvalueindex(1));
    lua_settop(L, 0);
    return open(L);
}

void bindings_preload(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        lua_pushcfunction(L, modules[i].func);
        lua_pushcclosure(L, open_module, 1);
        lua_setfield(L, -2, modules[i].name);
    }
    lua_pop(L, 1);
}
