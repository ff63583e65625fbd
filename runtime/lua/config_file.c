#include "lua/config_file.h"

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"

enum { INSTRUCTIONS_MOST = 1000000, DEPTH_MOST = 8, FILE_MOST = 64 * 1024 };

// A text that stands for a file in secrets.directory until everything is merged.
#define SECRET_MARK "\x01secret:"

struct load {
    const char *root;
    struct settings *settings; // the file at hand
    const char *file;
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 2, 3))) static bool fails(struct load *load, const char *format,
                                                        ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(load->error, load->error_size, format, arguments);
    va_end(arguments);
    return false;
}

// ---- one file -------------------------------------------------------------------------------

static int file_env(lua_State *L) {
    const char *value = getenv(luaL_checkstring(L, 1));
    lua_settop(L, 2);
    if (value) lua_pushstring(L, value);
    return 1;
}

static int file_secret(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    luaL_argcheck(L,
                  *name && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(name),
                  1, "a secret's name is a word");
    lua_pushfstring(L, "%s%s", SECRET_MARK, name);
    return 1;
}

static void too_long(lua_State *L, lua_Debug *frame) {
    (void)frame;
    luaL_error(L, "runs for too long");
}

static void push_environment(lua_State *L, const char *root) {
    luaL_requiref(L, "_G", luaopen_base, 0);
    lua_newtable(L); // [-1] environment, [-2] _G
    for (const char *const *name = (const char *const[]){"tonumber", "tostring", "pairs", "ipairs",
                                                         "error", "assert", "type", NULL};
         *name; name++) {
        lua_getfield(L, -2, *name);
        lua_setfield(L, -2, *name);
    }
    lua_remove(L, -2);
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 0);
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    lua_setfield(L, -2, "string");
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 0);
    lua_setfield(L, -2, "math");
    lua_pushcfunction(L, file_env);
    lua_setfield(L, -2, "env");
    lua_pushcfunction(L, file_secret);
    lua_setfield(L, -2, "secret");
    lua_pushstring(L, root);
    lua_setfield(L, -2, "root");
}

static bool flatten(struct load *load, lua_State *L, int index, const char *prefix, int depth);

static bool flatten_value(struct load *load, lua_State *L, const char *key,
                          int depth) { // [-1] value
    char number[32];
    switch (lua_type(L, -1)) {
    case LUA_TTABLE:
        return flatten(load, L, lua_gettop(L), key, depth + 1);
    case LUA_TSTRING: {
        size_t size;
        const char *text = lua_tolstring(L, -1, &size);
        if (strlen(text) != size) return fails(load, "%s: %s holds a NUL", load->file, key);
        settings_set(load->settings, key, text);
        return true;
    }
    case LUA_TBOOLEAN:
        settings_set(load->settings, key, lua_toboolean(L, -1) ? "true" : "false");
        return true;
    case LUA_TNUMBER: {
        int whole;
        lua_Integer value = lua_tointegerx(L, -1, &whole);
        if (!whole) return fails(load, "%s: %s is not a whole number", load->file, key);
        snprintf(number, sizeof number, "%lld", (long long)value);
        settings_set(load->settings, key, number);
        return true;
    }
    default:
        return fails(load, "%s: %s is a %s", load->file, key, luaL_typename(L, -1));
    }
}

static bool flatten(struct load *load, lua_State *L, int index, const char *prefix, int depth) {
    if (depth > DEPTH_MOST || !lua_checkstack(L, 8))
        return fails(load, "%s: tables are too deep", load->file);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        char key[256];
        const char *dot = *prefix ? "." : "";
        int size;
        if (lua_type(L, -2) == LUA_TSTRING) {
            size = snprintf(key, sizeof key, "%s%s%s", prefix, dot, lua_tostring(L, -2));
        } else if (lua_isinteger(L, -2)) {
            size =
                snprintf(key, sizeof key, "%s%s%lld", prefix, dot, (long long)lua_tointeger(L, -2));
        } else {
            return fails(load, "%s: a key below '%s' is a %s", load->file, prefix,
                         luaL_typename(L, -2));
        }
        if ((size_t)size >= sizeof key) return fails(load, "%s: a key is too long", load->file);
        if (!flatten_value(load, L, key, depth)) return false;
        lua_pop(L, 1);
    }
    return true;
}

static bool check_keys(struct load *load) {
    size_t cursor = 0;
    const char *key, *value;
    while (settings_next(load->settings, &cursor, &key, &value)) {
        const struct config_key *known = config_key_find(key);
        if (!known) return fails(load, "%s: there is no setting '%s'", load->file, key);
        if (strncmp(value, SECRET_MARK, strlen(SECRET_MARK)) == 0 || strstr(value, "${")) continue;
        const char *expected = config_key_check(known, value);
        if (expected) return fails(load, "%s: %s should be %s", load->file, key, expected);
    }
    return true;
}

static char *read_all(const char *path, size_t most) {
    FILE *file = fopen(path, "re");
    if (!file) return NULL;
    char *text = memory_alloc(most + 1);
    size_t size = fread(text, 1, most + 1, file);
    bool fine = !ferror(file) && size <= most;
    fclose(file);
    if (!fine) {
        memory_free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

static bool run_file(struct load *load, lua_State *L, const char *text) {
    char name[PATH_MAX + 1];
    snprintf(name, sizeof name, "@%s", load->file);
    if (luaL_loadbufferx(L, text, strlen(text), name, "t") != LUA_OK) {
        return fails(load, "%s", lua_tostring(L, -1));
    }
    push_environment(L, load->root);
    lua_setupvalue(L, -2, 1);
    lua_sethook(L, too_long, LUA_MASKCOUNT, INSTRUCTIONS_MOST);
    if (lua_pcall(L, 0, 1, 0) != LUA_OK) {
        const char *message = lua_tostring(L, -1);
        return fails(load, "%s", message ? message : "the configuration raises an error");
    }
    if (!lua_istable(L, -1)) return fails(load, "%s: does not return a table", load->file);
    return flatten(load, L, lua_gettop(L), "", 0) && check_keys(load);
}

/// The settings of one file, or NULL.
static struct settings *load_file(struct load *load, const char *path, const char *shown) {
    char *text = read_all(path, FILE_MOST);
    if (!text) {
        fails(load, "%s: cannot be read", path);
        return NULL;
    }
    lua_State *L = luaL_newstate();
    load->file = shown;
    load->settings = settings_new();
    bool fine = run_file(load, L, text);
    lua_close(L);
    memory_free(text);
    if (fine) return load->settings;
    settings_free(load->settings);
    return NULL;
}

// ---- all together ---------------------------------------------------------------------------

static void merge(struct settings *into, const struct settings *from) {
    size_t cursor = 0;
    const char *key, *value;
    while (from && settings_next(from, &cursor, &key, &value)) settings_set(into, key, value);
}

static char *expand(const struct settings *settings, const char *value) {
    struct buffer out = {0};
    while (*value) {
        if (strncmp(value, "${root}", 7) == 0) {
            buffer_append_text(&out, settings_text(settings, "root", "."));
            value += 7;
        } else if (strncmp(value, "${var}", 6) == 0) {
            buffer_append_text(&out, settings_text(settings, "var", "var"));
            value += 6;
        } else {
            buffer_append_char(&out, *value++);
        }
    }
    char *text = memory_copy_string(buffer_text(&out));
    buffer_free(&out);
    return text;
}

static char *read_word(const char *folder, const char *name) {
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path) return NULL;
    char *text = read_all(path, 4096);
    if (text) text[strcspn(text, "\r\n")] = '\0';
    return text;
}

static bool finish_value(struct load *load, struct settings *settings, const char *key,
                         const char *value) {
    const struct config_key *known = config_key_find(key);
    char *text;
    if (strncmp(value, SECRET_MARK, strlen(SECRET_MARK)) == 0) {
        const char *folder = settings_text(settings, "secrets.directory", "secrets");
        const char *name = value + strlen(SECRET_MARK);
        text = read_word(folder, name);
        if (!text) return fails(load, "%s: the secret '%s' is not in %s", key, name, folder);
    } else {
        text = expand(settings, value);
        if (known->kind == CONFIG_PATH && *text && *text != '/' && strcmp(key, "root") != 0) {
            struct buffer full = {0};
            buffer_printf(&full, "%s/%s", load->root, text);
            memory_free(text);
            text = memory_copy_string(buffer_text(&full));
            buffer_free(&full);
        }
    }
    const char *expected = config_key_check(known, text);
    bool fine = !expected || fails(load, "%s should be %s", key, expected);
    if (fine) settings_set(settings, key, text);
    memory_free(text);
    return fine;
}

// var first, then secrets.directory, which stands below it; then everything.
static bool finish(struct load *load, struct settings *settings) {
    settings_set(settings, "root", load->root);
    for (const char *const *first = (const char *const[]){"var", "secrets.directory", NULL}; *first;
         first++) {
        const char *value = settings_text(settings, *first, NULL);
        if (value && !finish_value(load, settings, *first, value)) return false;
    }
    size_t cursor = 0;
    const char *key, *value;
    while (settings_next(settings, &cursor, &key, &value)) {
        if (!finish_value(load, settings, key, value)) return false;
    }
    static const char *const secrets[] = {"ticket", "token", "cookie", "hooks", "seal", "segment"};
    const char *folder = settings_text(settings, "secrets.directory", NULL);
    for (size_t i = 0; folder && i < sizeof secrets / sizeof *secrets; i++) {
        char name[40];
        snprintf(name, sizeof name, "secrets.%s", secrets[i]);
        if (settings_text(settings, name, NULL)) continue;
        char *text = read_word(folder, secrets[i]);
        if (!text) continue; // who needs it says so: not every command does
        const char *expected = config_key_check(config_key_find(name), text);
        if (!expected) settings_set(settings, name, text);
        memory_free(text);
        if (expected) return fails(load, "%s/%s should be %s", folder, secrets[i], expected);
    }
    char *boot = read_word(settings_text(settings, "var", "var"), "run/rtmp.boot");
    if (boot && *boot) settings_set(settings, "rtmp.boot", boot);
    memory_free(boot);
    return true;
}

struct settings *config_load(const char *root, const char *site_file, char *error, size_t size) {
    struct load load = {.root = root, .error = error, .error_size = size};
    struct settings *settings = settings_new(), *base, *site = NULL, *middle = NULL;
    char path[PATH_MAX], shown[64];
    bool fine = false;
    *error = '\0';
    snprintf(path, sizeof path, "%s/conf/footlight.conf.lua", root);
    base = load_file(&load, path, "conf/footlight.conf.lua");
    if (!base) goto out;
    if (site_file && *site_file) {
        site = load_file(&load, site_file, site_file);
        if (!site) goto out;
    }
    const char *environment = settings_text(base, "environment", "development");
    if (site) environment = settings_text(site, "environment", environment);
    snprintf(shown, sizeof shown, "conf/%.40s.lua", environment);
    snprintf(path, sizeof path, "%s/%s", root, shown);
    middle = load_file(&load, path, shown);
    if (!middle) goto out;
    merge(settings, base);
    merge(settings, middle);
    merge(settings, site);
    fine = finish(&load, settings);
out:
    settings_free(base);
    settings_free(middle);
    settings_free(site);
    if (fine) return settings;
    settings_free(settings);
    return NULL;
}
