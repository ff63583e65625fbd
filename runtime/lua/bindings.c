#include "lua/bindings.h"

#include "lua/runtime.h"

// Files of this folder that define an opener; a binding that a build leaves out is a module that
// require does not find.
#if __has_include("lua/lua_http.c")
#define WITH_REQUEST {"runtime.request", lua_open_request},
#else
#define WITH_REQUEST
#endif
#if __has_include("lua/lua_client.c")
#define WITH_HTTP {"runtime.http", lua_open_http},
#else
#define WITH_HTTP
#endif
#if __has_include("lua/lua_redis.c")
#define WITH_REDIS {"runtime.redis", lua_open_redis},
#else
#define WITH_REDIS
#endif
#if __has_include("lua/lua_db.c")
#define WITH_DB {"runtime.db", lua_open_db},
#else
#define WITH_DB
#endif
#if __has_include("lua/lua_billing.c")
#define WITH_BILLING {"runtime.billing", lua_open_billing},
#else
#define WITH_BILLING
#endif
#if __has_include("lua/lua_realtime.c")
#define WITH_REALTIME {"runtime.realtime", lua_open_realtime},
#else
#define WITH_REALTIME
#endif
#if __has_include("lua/lua_streaming.c")
#define WITH_STREAMING {"runtime.streaming", lua_open_streaming},
#else
#define WITH_STREAMING
#endif
#if __has_include("lua/lua_template.c")
#define WITH_TEMPLATE {"runtime.template", lua_open_template},
#else
#define WITH_TEMPLATE
#endif

static const luaL_Reg modules[] = {
    {"runtime.task", lua_open_task},       {"runtime.log", lua_open_log},
    {"runtime.metrics", lua_open_metrics}, {"runtime.config", lua_open_config},
    {"runtime.json", lua_open_json},       {"runtime.crypto", lua_open_crypto},
    {"runtime.process", lua_open_process}, {"runtime.file", lua_open_file},
    {"runtime.cache", lua_open_cache},     {"runtime.text", lua_open_text},
    {"runtime.supervisor", lua_open_supervisor},
    WITH_REQUEST WITH_HTTP WITH_REDIS WITH_DB WITH_BILLING WITH_REALTIME WITH_STREAMING WITH_TEMPLATE
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
