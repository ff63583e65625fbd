// runtime.config: the settings, read only. config.get("site.name" [, default]); config.service,
// config.root, config.development; config.load_error(). Secrets are not here: crypto takes them by name.
#include "lua/generation.h"

static bool is_secret(const char *key) {
    return strncmp(key, "secrets.", 8) == 0 || strstr(key, "password") != NULL;
}

static void push_setting(lua_State *L, const char *text) {
    int64_t number;
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        lua_pushboolean(L, *text == 't');
    } else if (slice_to_i64(slice_of(text), &number)) {
        lua_pushinteger(L, number);
    } else {
        lua_pushstring(L, text);
    }
}

// Values come as booleans and integers where they read as such.
static int config_get(lua_State *L) {
    const char *key = luaL_checkstring(L, 1);
    lua_settop(L, 2);
    const char *text = is_secret(key) ? NULL : settings_text(runtime_of(L)->settings, key, NULL);
    if (!text) return 1;
    push_setting(L, text);
    return 1;
}

// config.section("site"): a table of the keys below, without the prefix.
static int config_section(lua_State *L) {
    size_t size;
    const char *section = luaL_checklstring(L, 1, &size), *key, *text;
    size_t cursor = 0;
    lua_newtable(L);
    while (settings_next(runtime_of(L)->settings, &cursor, &key, &text)) {
        if (strncmp(key, section, size) != 0 || key[size] != '.' || is_secret(key)) continue;
        push_setting(L, text);
        lua_setfield(L, -2, key + size + 1);
    }
    return 1;
}

// load_error(): why the last reload was not taken, or nil if it was.
static int config_load_error(lua_State *L) {
    struct lua_generations *generations = runtime_of(L)->generations;
    lua_pushstring(L, generations ? lua_generations_error(generations) : NULL);
    return 1;
}

int lua_open_config(lua_State *L) {
    static const luaL_Reg functions[] = {{"get", config_get},
                                         {"section", config_section},
                                         {"load_error", config_load_error},
                                         {NULL, NULL}};
    const struct runtime *runtime = runtime_of(L);
    luaL_newlib(L, functions);
    lua_pushstring(L, runtime->service);
    lua_setfield(L, -2, "service");
    lua_pushstring(L, runtime->root);
    lua_setfield(L, -2, "root");
    lua_pushboolean(L, runtime->development);
    lua_setfield(L, -2, "development");
    return 1;
}
