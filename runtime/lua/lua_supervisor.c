#include <string.h>

#include "lua/runtime.h"

// runtime.supervisor: ask(question) → the supervisor's answer (JSON text), or nil and the reason.
static int supervisor_ask(lua_State *L) {
    static const char *const questions[] = {"status", "reload", NULL};
    const char *question = questions[luaL_checkoption(L, 1, NULL, questions)];
    struct runtime *runtime = runtime_of(L);
    if (!runtime->ask_supervisor)
        return luaL_error(L, "runtime.supervisor is not available in the %s service",
                          runtime->service);
    struct buffer answer = {0};
    int error = runtime->ask_supervisor(runtime->settings, question, &answer);
    if (error)
        lua_pushnil(L), lua_pushstring(L, strerror(-error));
    else
        lua_pushlstring(L, answer.data, answer.size), lua_pushnil(L);
    buffer_free(&answer);
    return 2;
}

int lua_open_supervisor(lua_State *L) {
    static const luaL_Reg functions[] = {{"ask", supervisor_ask}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
