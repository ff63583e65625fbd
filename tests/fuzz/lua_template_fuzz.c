// The template compiler (lua/footlight/template/) on whatever bytes a file could hold: it answers with
// a compiled template or with "file:line: message", and never raises past its door. Nothing is
// rendered: a template is code of the site, and may run for ever if it likes.
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lua/lua_template.h"

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static lua_State *L;

// The compiler is Lua, which libFuzzer cannot see into: each line that runs is a counter of its own.
#define COUNTERS 16384
__attribute__((used, section("__libfuzzer_extra_counters"))) static uint8_t counters[COUNTERS];

static void on_line(lua_State *state, lua_Debug *at) {
    lua_getinfo(state, "Sl", at);
    // Each chunk has one text for its name, at one address for as long as it lives.
    uint32_t hash = (uint32_t)((uintptr_t)at->source >> 4) * 31u + (uint32_t)at->currentline;
    uint8_t *counter = &counters[(hash * 2654435761u >> 8) % COUNTERS];
    if (*counter < UINT8_MAX) ++*counter;
}

static const char code[] =
    "local view = require 'footlight.view'\n"
    "return function(source)\n"
    "  local count, errors = view.load { ['t.html'] = source, ['t.txt'] = source,\n"
    "    ['base.html'] = '<p class=\"{% block a %}{% end %}\">{% block b %}{% end %}</p>',\n"
    "    ['part.html'] = '{% macro m(x) %}{{ x }}{% end %}' }\n"
    "  if count then return end\n"
    "  for _, message in ipairs(errors) do\n"
    "    if not message:find('^templates/t%.[a-z]+:%d*:? ') then error(message, 0) end\n"
    "  end\n"
    "end\n";

static int open_template(lua_State *state) {
    lua_settop(state, 0);
    return lua_open_template(state);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count;
    (void)arguments;
    // From the folder of the clone, or from a build folder in it.
    for (int up = 0; up < 4 && access("lua/footlight/view.lua", R_OK) != 0; up++)
        if (chdir("..") != 0) break;
    L = luaL_newstate();
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, open_template);
    lua_setfield(L, -2, "runtime.template");
    lua_pop(L, 1);
    if (luaL_dostring(L, "package.path = 'lua/?.lua'") != LUA_OK || luaL_dostring(L, code) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    return 0; // [-1] the function
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    lua_sethook(L, on_line, LUA_MASKLINE, 0);
    lua_pushvalue(L, -1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    // Garbage looks like a leak to libFuzzer, which would then walk the whole heap after each run.
    lua_gc(L, LUA_GCCOLLECT);
    return 0;
}
