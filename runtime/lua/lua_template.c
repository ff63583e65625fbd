// runtime.template: the output side of templates. See lua_template.h for the contract and
// lua/footlight/view.lua for the compiler that emits these calls.
#include "lua/lua_template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/escape.h"

#define JSON_DEPTH 32
#define FILE_LIMIT ((off_t)1 << 20)
#define FOLDER_DEPTH 16
#define FOLDER_FILES 10000
#define SIZE_HINT_MOST (64 << 10)

// ---- URLs ---------------------------------------------------------------------------------------

// Bytes that may stand in a URL as they are. The quotes, <, >, \, ^, `, {, |, } and everything that
// is not printable ASCII are encoded; & and ' are legal and become entities instead.
static const bool url_illegal[256] = {
    [0 ... 0x20] = true, [0x7f ... 0xff] = true, ['"'] = true, ['<'] = true, ['>'] = true,
    ['\\'] = true,       ['^'] = true,           ['`'] = true, ['{'] = true, ['|'] = true,
    ['}'] = true,
};

void template_append_url_part(struct buffer *out, struct slice s) {
    static const char digits[] = "0123456789ABCDEF";
    size_t start = 0;
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (!url_illegal[c] && c != '&' && c != '\'') continue;
        buffer_append(out, s.data + start, i - start);
        start = i + 1;
        if (c == '&') buffer_append_slice(out, SLICE("&amp;"));
        else if (c == '\'') buffer_append_slice(out, SLICE("&#39;"));
        else {
            char encoded[3] = {'%', digits[c >> 4], digits[c & 15]};
            buffer_append(out, encoded, sizeof encoded);
        }
    }
    buffer_append(out, s.data + start, s.size - start);
}

// A list of what is allowed, not of what is known to be bad: browsers drop tabs and newlines inside
// a scheme, and with such a list "java\tscript" needs no rule of its own.
static bool url_scheme_allowed(struct slice s) {
    static const char *const allowed[] = {"http", "https", "mailto", "tel",
                                          "rtmp", "rtmps", "ws",     "wss"};
    for (size_t i = 0; i < s.size; i++) {
        char c = s.data[i];
        if (c == '/' || c == '?' || c == '#') return true; // relative: no scheme
        if (c != ':') continue;
        struct slice scheme = slice_sub(s, 0, i);
        for (size_t k = 0; k < sizeof allowed / sizeof *allowed; k++)
            if (slice_equal_fold(scheme, slice_of(allowed[k]))) return true;
        return false;
    }
    return true;
}

void template_append_url(struct buffer *out, struct slice s) {
    while (s.size > 0 && (unsigned char)*s.data <= 0x20) s = slice_sub(s, 1, s.size - 1);
    if (url_scheme_allowed(s)) template_append_url_part(out, s);
    else buffer_append_slice(out, SLICE("about:invalid"));
}

void template_append_safe_attribute(struct buffer *out, struct slice s) {
    size_t start = 0;
    for (size_t i = 0; i < s.size; i++) {
        const char *entity = NULL;
        switch (s.data[i]) {
        case '"': entity = "&#34;"; break;
        case '\'': entity = "&#39;"; break;
        case '<': entity = "&lt;"; break;
        case '>': entity = "&gt;"; break;
        default: continue;
        }
        buffer_append(out, s.data + start, i - start);
        buffer_append_text(out, entity);
        start = i + 1;
    }
    buffer_append(out, s.data + start, s.size - start);
}

// ---- JSON ---------------------------------------------------------------------------------------

// escape_json takes care of < > & and the line separators; the quotes that JavaScript knows and JSON
// does not are encoded here, so that a value put between them by mistake still ends where it should.
static void json_text(struct buffer *out, struct slice s) {
    size_t before = out->size;
    escape_json(out, s);
    struct slice made = slice_make(out->data + before, out->size - before);
    size_t odd = 0;
    for (size_t i = 0; i < made.size; i++) odd += made.data[i] == '\'' || made.data[i] == '`';
    if (odd == 0) return;
    struct buffer copy = {0};
    buffer_append_slice(&copy, made);
    out->size = before;
    for (size_t i = 0; i < copy.size; i++) {
        char c = copy.data[i];
        if (c == '\'') buffer_append_slice(out, SLICE("\\u0027"));
        else if (c == '`') buffer_append_slice(out, SLICE("\\u0060"));
        else buffer_append_char(out, c);
    }
    buffer_free(&copy);
}

static void json_string(struct buffer *out, struct slice s) {
    buffer_append_char(out, '"');
    json_text(out, s);
    buffer_append_char(out, '"');
}

static struct slice slice_at(lua_State *L, int index) {
    size_t size;
    const char *data = lua_tolstring(L, index, &size);
    return slice_make(data, size);
}

static void json_number(lua_State *L, struct buffer *out, int index) {
    if (lua_isinteger(L, index)) {
        buffer_append_i64(out, lua_tointeger(L, index));
        return;
    }
    lua_Number number = lua_tonumber(L, index);
    if (isfinite(number)) buffer_printf(out, "%.14g", number);
    else buffer_append_slice(out, SLICE("null"));
}

static void json_value(lua_State *L, struct buffer *out, int index, int depth);

static void json_array(lua_State *L, struct buffer *out, int index, int depth) {
    lua_Integer count = (lua_Integer)lua_rawlen(L, index);
    buffer_append_char(out, '[');
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1) buffer_append_char(out, ',');
        lua_rawgeti(L, index, i);
        json_value(L, out, lua_gettop(L), depth + 1);
        lua_pop(L, 1);
    }
    buffer_append_char(out, ']');
}

static void json_object(lua_State *L, struct buffer *out, int index, int depth) {
    bool first = true;
    buffer_append_char(out, '{');
    lua_pushnil(L);
    while (lua_next(L, index)) { // [-1] value, [-2] key
        if (!first) buffer_append_char(out, ',');
        first = false;
        int type = lua_type(L, -2);
        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            luaL_error(L, "JSON has no key of type %s", luaL_typename(L, -2));
        lua_pushvalue(L, -2); // a copy: lua_tolstring would change a number under lua_next
        json_string(out, slice_at(L, -1));
        lua_pop(L, 1);
        buffer_append_char(out, ':');
        json_value(L, out, lua_gettop(L), depth + 1);
        lua_pop(L, 1);
    }
    buffer_append_char(out, '}');
}

static bool json_is_array(lua_State *L, int index) {
    if (lua_rawlen(L, index) > 0) return true;
    int type = luaL_getmetafield(L, index, "__jsontype");
    if (type == LUA_TNIL) return false;
    bool array = type == LUA_TSTRING && strcmp(lua_tostring(L, -1), "array") == 0;
    lua_pop(L, 1);
    return array;
}

static void json_value(lua_State *L, struct buffer *out, int index, int depth) {
    if (depth > JSON_DEPTH) luaL_error(L, "JSON is nested deeper than %d", JSON_DEPTH);
    if (out->size > TEMPLATE_LIMIT) luaL_error(L, "JSON is too large");
    luaL_checkstack(L, 6, "JSON");
    switch (lua_type(L, index)) {
    case LUA_TNIL: buffer_append_slice(out, SLICE("null")); return;
    case LUA_TBOOLEAN: buffer_append_text(out, lua_toboolean(L, index) ? "true" : "false"); return;
    case LUA_TNUMBER: json_number(L, out, index); return;
    case LUA_TSTRING: json_string(out, slice_at(L, index)); return;
    case LUA_TLIGHTUSERDATA: // db.null and json.null
        buffer_append_slice(out, SLICE("null"));
        return;
    case LUA_TTABLE:
        if (json_is_array(L, index)) json_array(L, out, index, depth);
        else json_object(L, out, index, depth);
        return;
    default: break;
    }
    struct buffer *markup = template_buffer_test(L, index);
    if (markup) json_string(out, buffer_slice(markup));
    else luaL_error(L, "JSON has no %s", luaL_typename(L, index));
}

void template_append_json(lua_State *L, struct buffer *out, int index) {
    json_value(L, out, lua_absindex(L, index), 0);
}

// ---- the buffer ---------------------------------------------------------------------------------

struct buffer *template_buffer_push(lua_State *L) {
    struct template_buffer *made = lua_newuserdatauv(L, sizeof *made, 0);
    *made = (struct template_buffer){0};
    luaL_setmetatable(L, TEMPLATE_BUFFER);
    return &made->buffer;
}

struct buffer *template_buffer_test(lua_State *L, int index) {
    struct template_buffer *found = luaL_testudata(L, index, TEMPLATE_BUFFER);
    return found ? &found->buffer : NULL;
}

// Every function of the module carries the metatable as its first upvalue: comparing it is several
// times cheaper than luaL_checkudata's look-up by name, and a page makes a hundred of these calls.
static struct buffer *buffer_at(lua_State *L, int index) {
    void *found = lua_touserdata(L, index);
    if (!found || !lua_getmetatable(L, index)) return NULL;
    bool same = lua_rawequal(L, -1, lua_upvalueindex(1));
    lua_pop(L, 1);
    return same ? &((struct template_buffer *)found)->buffer : NULL;
}

static struct buffer *check_out(lua_State *L) {
    struct buffer *out = buffer_at(L, 1);
    if (!out) luaL_typeerror(L, 1, TEMPLATE_BUFFER);
    return out;
}

// The text of a value that is to be printed: nil is nothing, a table without __tostring is a mistake.
static struct slice check_text(lua_State *L, int index) {
    size_t size;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
    case LUA_TNUMBER: {
        const char *data = lua_tolstring(L, index, &size);
        return slice_make(data, size);
    }
    case LUA_TNIL:
    case LUA_TNONE: return SLICE("");
    case LUA_TBOOLEAN: return lua_toboolean(L, index) ? SLICE("true") : SLICE("false");
    case LUA_TLIGHTUSERDATA: return SLICE(""); // db.null
    default: break;
    }
    if (luaL_getmetafield(L, index, "__tostring") == LUA_TNIL)
        luaL_error(L, "cannot print a %s", luaL_typename(L, index));
    lua_pop(L, 1);
    const char *data = luaL_tolstring(L, index, &size);
    lua_replace(L, index); // keeps the text alive as long as the call
    return slice_make(data, size);
}

// buffer(size): `size` is what is expected to come.
static int template_buffer_lua(lua_State *L) {
    lua_Integer size = luaL_optinteger(L, 1, 0);
    struct buffer *out = template_buffer_push(L);
    if (size > SIZE_HINT_MOST) size = SIZE_HINT_MOST;
    if (size > 0) buffer_reserve(out, (size_t)size);
    return 1;
}

static void check_room(lua_State *L, const struct buffer *out, size_t extra) {
    if (out->size + extra > TEMPLATE_LIMIT)
        luaL_error(L, "the output is larger than %d MiB", (int)(TEMPLATE_LIMIT >> 20));
}

/// The ways to print a value, as the compiler names them; see template/compile.lua.
enum way {
    WAY_RAW = 'r',      ///< markup of the template itself, or that its author vouches for
    WAY_HTML = 'h',     ///< element content; a buffer is markup already
    WAY_ATTRIBUTE = 'a',
    WAY_URL = 'u',
    WAY_URL_PART = 'p',
    WAY_QUERY = 'q',
    WAY_JSON = 'j',
    WAY_JSON_INSIDE = 'i', ///< between quotes that stand in the template
};

static void append_text(struct buffer *out, enum way way, struct slice s) {
    switch (way) {
    case WAY_HTML:
    case WAY_ATTRIBUTE: escape_html(out, s); break;
    case WAY_URL: template_append_url(out, s); break;
    case WAY_URL_PART: template_append_url_part(out, s); break;
    case WAY_QUERY: escape_url(out, s); break;
    case WAY_JSON_INSIDE: json_text(out, s); break;
    default: buffer_append_slice(out, s); break;
    }
}

static void append_value(lua_State *L, struct buffer *out, enum way way, int index) {
    int type = lua_type(L, index);
    if (way == WAY_JSON) {
        if (type == LUA_TNONE) luaL_argerror(L, index, "value expected");
        template_append_json(L, out, index);
        return;
    }
    struct slice s;
    if (type == LUA_TSTRING) { // by far the most frequent
        s.data = lua_tolstring(L, index, &s.size);
    } else if (type == LUA_TNUMBER && lua_isinteger(L, index)) {
        // Digits need no escaping anywhere, and no Lua string.
        check_room(L, out, 24);
        buffer_append_i64(out, lua_tointeger(L, index));
        return;
    } else {
        struct buffer *markup = type == LUA_TUSERDATA ? buffer_at(L, index) : NULL;
        if (markup && (way == WAY_RAW || way == WAY_HTML || way == WAY_ATTRIBUTE)) {
            check_room(L, out, markup->size);
            if (markup == out) luaL_error(L, "a buffer cannot be appended to itself");
            if (way == WAY_ATTRIBUTE) template_append_safe_attribute(out, buffer_slice(markup));
            else buffer_append_slice(out, buffer_slice(markup));
            return;
        }
        s = check_text(L, index);
    }
    check_room(L, out, s.size);
    append_text(out, way, s);
}

static int append_one(lua_State *L, enum way way) {
    append_value(L, check_out(L), way, 2);
    return 0;
}

static int template_raw_lua(lua_State *L) { return append_one(L, WAY_RAW); }
static int template_html_lua(lua_State *L) { return append_one(L, WAY_HTML); }
static int template_attribute_lua(lua_State *L) { return append_one(L, WAY_ATTRIBUTE); }
static int template_url_lua(lua_State *L) { return append_one(L, WAY_URL); }
static int template_url_part_lua(lua_State *L) { return append_one(L, WAY_URL_PART); }
static int template_query_lua(lua_State *L) { return append_one(L, WAY_QUERY); }
static int template_json_lua(lua_State *L) { return append_one(L, WAY_JSON); }
static int template_json_inside_lua(lua_State *L) { return append_one(L, WAY_JSON_INSIDE); }

// write(out, ways, …): several of these in one call; a letter of `ways` for each value.
static int template_write_lua(lua_State *L) {
    struct buffer *out = check_out(L);
    size_t count;
    const char *ways = luaL_checklstring(L, 2, &count);
    for (size_t i = 0; i < count; i++) append_value(L, out, (enum way)ways[i], (int)i + 3);
    return 0;
}

// The same as values, for filters: to_json(value), to_url(value), escape(value) → string.
static int to_text(lua_State *L, void (*append)(struct buffer *out, struct slice s)) {
    lua_settop(L, 1);
    struct slice s = check_text(L, 1);
    struct buffer *out = template_buffer_push(L); // collected even if something below raises
    append(out, s);
    lua_pushlstring(L, out->data ? out->data : "", out->size);
    return 1;
}

static int template_to_url_lua(lua_State *L) { return to_text(L, escape_url); }
static int template_escape_lua(lua_State *L) { return to_text(L, escape_html); }

static int template_to_json_lua(lua_State *L) {
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct buffer *out = template_buffer_push(L);
    template_append_json(L, out, 1);
    lua_pushlstring(L, out->data ? out->data : "", out->size);
    return 1;
}

// safe(text): a buffer that holds the text as markup. The only way to print unescaped.
static int template_safe_lua(lua_State *L) {
    if (template_buffer_test(L, 1)) {
        lua_settop(L, 1);
        return 1;
    }
    lua_settop(L, 1);
    struct slice s = check_text(L, 1);
    if (s.size > TEMPLATE_LIMIT) return luaL_error(L, "the output is too large");
    buffer_append_slice(template_buffer_push(L), s);
    return 1;
}

static int buffer_gc_lua(lua_State *L) {
    struct template_buffer *self = luaL_checkudata(L, 1, TEMPLATE_BUFFER);
    buffer_free(&self->buffer);
    return 0;
}

static int buffer_tostring_lua(lua_State *L) {
    struct template_buffer *self = luaL_checkudata(L, 1, TEMPLATE_BUFFER);
    lua_pushlstring(L, self->buffer.data ? self->buffer.data : "", self->buffer.size);
    return 1;
}

static int buffer_len_lua(lua_State *L) {
    struct template_buffer *self = luaL_checkudata(L, 1, TEMPLATE_BUFFER);
    lua_pushinteger(L, (lua_Integer)self->buffer.size);
    return 1;
}

// markup .. text: stays markup, and the text is escaped, whichever side it stands on.
static int buffer_concat_lua(lua_State *L) {
    lua_settop(L, 2);
    struct buffer *out = template_buffer_push(L); // [3]
    for (int side = 1; side <= 2; side++) {
        struct buffer *markup = template_buffer_test(L, side);
        if (markup) {
            buffer_append_slice(out, buffer_slice(markup));
        } else {
            size_t size;
            const char *data = luaL_checklstring(L, side, &size);
            escape_html(out, slice_make(data, size));
        }
        if (out->size > TEMPLATE_LIMIT) return luaL_error(L, "the output is too large");
    }
    return 1;
}

// ---- files --------------------------------------------------------------------------------------

// Appends the files below `path` to the table at index 1; names are relative to the first folder.
static void list_folder(lua_State *L, const char *path, const char *prefix, int depth) {
    if (depth > FOLDER_DEPTH) luaL_error(L, "%s: folders are nested too deep", path);
    DIR *folder = opendir(path);
    if (!folder) {
        if (errno == ENOENT) return;
        luaL_error(L, "%s: %s", path, strerror(errno));
    }
    // Names first and the folder closed before anything can raise.
    struct buffer names = {0};
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (entry->d_name[0] == '.') continue;
        buffer_append(&names, entry->d_name, strlen(entry->d_name) + 1);
    }
    closedir(folder);
    lua_pushlstring(L, names.data ? names.data : "", names.size);
    buffer_free(&names);
    struct slice rest = slice_at(L, -1);
    luaL_checkstack(L, 8, "folders");
    while (rest.size > 0) {
        const char *name = rest.data;
        rest = slice_make(name + strlen(name) + 1, rest.size - strlen(name) - 1);
        const char *full = lua_pushfstring(L, "%s/%s", path, name);
        const char *relative = lua_pushfstring(L, "%s%s", prefix, name);
        struct stat info;
        if (stat(full, &info) == 0 && S_ISDIR(info.st_mode)) {
            const char *inner = lua_pushfstring(L, "%s/", relative);
            list_folder(L, full, inner, depth + 1);
            lua_pop(L, 1);
        } else if (stat(full, &info) == 0 && S_ISREG(info.st_mode)) {
            lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
            if (count >= FOLDER_FILES) luaL_error(L, "%s: more than %d files", path, FOLDER_FILES);
            lua_pushvalue(L, -1);
            lua_rawseti(L, 1, count + 1);
        }
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

// files(folder) → the regular files below it, relative, in no order; {} if there is no such folder.
static int template_files_lua(lua_State *L) {
    lua_pushvalue(L, 1);
    const char *path = luaL_checkstring(L, -1); // kept at [2]
    lua_newtable(L);
    lua_replace(L, 1); // [1] the list, [2] path
    lua_settop(L, 2);
    list_folder(L, path, "", 0);
    lua_settop(L, 1);
    return 1;
}

// read(path) → text, or nil and the reason. For source files, which are small: at most 1 MiB.
static int template_read_lua(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    const char *reason = NULL;
    struct buffer text = {0};
    if (fd < 0 || fstat(fd, &info) != 0) reason = strerror(errno);
    else if (!S_ISREG(info.st_mode)) reason = "not a regular file";
    else if (info.st_size > FILE_LIMIT) reason = "larger than 1 MiB";
    while (!reason && (off_t)text.size <= FILE_LIMIT) {
        ssize_t got = read(fd, buffer_reserve(&text, 16384), 16384);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) reason = strerror(errno);
        if (got <= 0) break;
        buffer_added(&text, (size_t)got);
    }
    if (fd >= 0) close(fd);
    if (reason) {
        buffer_free(&text);
        lua_pushnil(L);
        lua_pushfstring(L, "%s: %s", path, reason);
        return 2;
    }
    lua_pushlstring(L, text.data ? text.data : "", text.size);
    buffer_free(&text);
    return 1;
}

// root() → the folder that holds templates/, lua/ and public/.
static int template_root_lua(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    lua_pushstring(L, runtime && runtime->root ? runtime->root : ".");
    return 1;
}

static const luaL_Reg functions[] = {
    {"buffer", template_buffer_lua},
    {"raw", template_raw_lua},
    {"html", template_html_lua},
    {"attribute", template_attribute_lua},
    {"url", template_url_lua},
    {"url_part", template_url_part_lua},
    {"query", template_query_lua},
    {"json", template_json_lua},
    {"json_inside", template_json_inside_lua},
    {"write", template_write_lua},
    {"safe", template_safe_lua},
    {"escape", template_escape_lua},
    {"to_url", template_to_url_lua},
    {"to_json", template_to_json_lua},
    {"files", template_files_lua},
    {"read", template_read_lua},
    {"root", template_root_lua},
    {NULL, NULL},
};

static const luaL_Reg buffer_meta[] = {
    {"__gc", buffer_gc_lua},
    {"__tostring", buffer_tostring_lua},
    {"__len", buffer_len_lua},
    {"__concat", buffer_concat_lua},
    {NULL, NULL},
};

int lua_open_template(lua_State *L) {
    luaL_newmetatable(L, TEMPLATE_BUFFER);
    luaL_setfuncs(L, buffer_meta, 0);
    lua_pushliteral(L, "markup");
    lua_setfield(L, -2, "__name");
    luaL_newlibtable(L, functions);
    lua_insert(L, -2);              // [-2] module, [-1] metatable
    luaL_setfuncs(L, functions, 1); // the metatable as upvalue
    return 1;
}
