// runtime.json. Not lua-cjson: it turns every number into a double, and amounts are integers of 64
// bits (9007199254740993 came back as 9007199254740992, and 1 as 1.0).
//
// Encoding works without any call that may raise, so that its buffer needs no protection; errors
// come back as texts. The buffers are static: one loop thread, and nothing here yields.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/escape.h"
#include "base/utf8.h"
#include "lua/runtime.h"

enum {
    JSON_DEPTH = 64,
    JSON_DEPTH_MOST = 200,
    JSON_SIZE_MOST = 32 * 1024 * 1024,
    JSON_VALUES_MOST = 2000000,
    JSON_NUMBER_MOST = 64,
    SCRATCH_KEEP = 64 * 1024
};

static struct buffer output, unescaped;

// ---- encoding -------------------------------------------------------------------------------

struct encoder {
    lua_State *L;
    int array_mark; // stack index of the metatable that marks arrays
    int depth;
    const char *error;
};

static bool encode_value(struct encoder *e, int index);

static bool encode_fails(struct encoder *e, const char *error) {
    e->error = error;
    return false;
}

static bool encode_number(struct encoder *e, int index) {
    if (lua_isinteger(e->L, index)) {
        buffer_append_i64(&output, lua_tointeger(e->L, index));
        return true;
    }
    double number = lua_tonumber(e->L, index);
    if (!isfinite(number)) return encode_fails(e, "a number is not finite");
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    buffer_append_text(&output, text);
    if (!strpbrk(text, ".e")) buffer_append_text(&output, ".0");
    return true;
}

static void encode_text(struct slice s) {
    buffer_append_char(&output, '"');
    escape_json(&output, s);
    buffer_append_char(&output, '"');
}

/// The length if the table has the keys 1..n and no others, -1 if it has others, 0 if it is empty.
static lua_Integer array_length(lua_State *L, int index) {
    lua_Integer count = 0, highest = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        lua_Integer key = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (key < 1) {
            lua_pop(L, 1);
            return -1;
        }
        count++;
        if (key > highest) highest = key;
    }
    return highest == count ? count : -1;
}

static bool encode_array(struct encoder *e, int index, lua_Integer length) {
    buffer_append_char(&output, '[');
    for (lua_Integer i = 1; i <= length; i++) {
        if (i > 1) buffer_append_char(&output, ',');
        lua_rawgeti(e->L, index, i);
        if (!encode_value(e, lua_gettop(e->L))) return false;
        lua_pop(e->L, 1);
    }
    buffer_append_char(&output, ']');
    return true;
}

static bool encode_object(struct encoder *e, int index) {
    lua_State *L = e->L;
    bool first = true;
    buffer_append_char(&output, '{');
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (!first) buffer_append_char(&output, ',');
        first = false;
        int key = lua_gettop(L) - 1;
        if (lua_type(L, key) == LUA_TSTRING) {
            size_t size;
            const char *text = lua_tolstring(L, key, &size);
            encode_text(slice_make(text, size));
        } else if (lua_isinteger(L, key)) {
            buffer_append_char(&output, '"');
            buffer_append_i64(&output, lua_tointeger(L, key));
            buffer_append_char(&output, '"');
        } else {
            return encode_fails(e, "a key is neither text nor integer");
        }
        buffer_append_char(&output, ':');
        if (!encode_value(e, key + 1)) return false;
        lua_pop(L, 1);
    }
    buffer_append_char(&output, '}');
    return true;
}

static bool encode_table(struct encoder *e, int index) {
    lua_State *L = e->L;
    if (++e->depth > JSON_DEPTH_MOST) return encode_fails(e, "tables are nested too deeply");
    if (!lua_checkstack(L, 8)) return encode_fails(e, "out of stack");
    bool marked = false;
    if (lua_getmetatable(L, index)) {
        marked = lua_rawequal(L, -1, e->array_mark);
        lua_pop(L, 1);
    }
    lua_Integer length = array_length(L, index);
    if (marked && length < 0) return encode_fails(e, "an array has other keys than 1 to n");
    bool fine = length > 0 || marked ? encode_array(e, index, length) : encode_object(e, index);
    e->depth--;
    return fine;
}

static bool encode_value(struct encoder *e, int index) {
    lua_State *L = e->L;
    if (output.size > JSON_SIZE_MOST) return encode_fails(e, "the text becomes too large");
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        buffer_append_text(&output, "null");
        return true;
    case LUA_TBOOLEAN:
        buffer_append_text(&output, lua_toboolean(L, index) ? "true" : "false");
        return true;
    case LUA_TNUMBER:
        return encode_number(e, index);
    case LUA_TSTRING: {
        size_t size;
        const char *text = lua_tolstring(L, index, &size);
        encode_text(slice_make(text, size));
        return true;
    }
    case LUA_TTABLE:
        return encode_table(e, index);
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index)) break;
        buffer_append_text(&output, "null");
        return true;
    default:
        break;
    }
    return encode_fails(e, "a value is neither table, text, number, boolean nor null");
}

// json.encode(value): the text. Raises for what JSON cannot hold; that is the program's mistake.
static int json_encode(lua_State *L) {
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1)); // [2] the mark
    buffer_clear(&output, SCRATCH_KEEP);
    struct encoder e = {.L = L, .array_mark = 2};
    if (!encode_value(&e, 1)) return luaL_error(L, "json.encode: %s", e.error);
    lua_pushlstring(L, output.data, output.size);
    return 1;
}

// ---- decoding -------------------------------------------------------------------------------

struct decoder {
    lua_State *L;
    const char *start, *at, *end;
    int depth, depth_most;
    int values;
    const char *error;
};

static bool decode_value(struct decoder *d);

static bool decode_fails(struct decoder *d, const char *error) {
    if (!d->error) d->error = error;
    return false;
}

static void skip_space(struct decoder *d) {
    while (d->at < d->end && (*d->at == ' ' || *d->at == '\n' || *d->at == '\r' || *d->at == '\t'))
        d->at++;
}

static bool take(struct decoder *d, char c) {
    skip_space(d);
    if (d->at == d->end || *d->at != c) return false;
    d->at++;
    return true;
}

static bool take_word(struct decoder *d, const char *word) {
    size_t size = strlen(word);
    if ((size_t)(d->end - d->at) < size || memcmp(d->at, word, size) != 0) {
        return decode_fails(d, "unexpected character");
    }
    d->at += size;
    return true;
}

static size_t count_digits(const char *at, const char *end) {
    const char *start = at;
    while (at < end && *at >= '0' && *at <= '9') at++;
    return (size_t)(at - start);
}

static bool decode_number(struct decoder *d) {
    const char *start = d->at, *at = start;
    bool integer = true;
    if (*at == '-') at++;
    size_t digits = count_digits(at, d->end);
    if (digits == 0 || (digits > 1 && *at == '0')) return decode_fails(d, "malformed number");
    at += digits;
    if (at < d->end && *at == '.') {
        integer = false;
        digits = count_digits(++at, d->end);
        if (digits == 0) return decode_fails(d, "malformed number");
        at += digits;
    }
    if (at < d->end && (*at == 'e' || *at == 'E')) {
        integer = false;
        at++;
        if (at < d->end && (*at == '+' || *at == '-')) at++;
        digits = count_digits(at, d->end);
        if (digits == 0) return decode_fails(d, "malformed number");
        at += digits;
    }
    size_t size = (size_t)(at - start);
    if (size > JSON_NUMBER_MOST) return decode_fails(d, "number too long");
    d->at = at;
    int64_t whole;
    if (integer && slice_to_i64(slice_make(start, size), &whole)) {
        lua_pushinteger(d->L, whole);
        return true;
    }
    char text[JSON_NUMBER_MOST + 1];
    memcpy(text, start, size);
    text[size] = '\0';
    double number = strtod(text, NULL);
    if (!isfinite(number)) return decode_fails(d, "number out of range");
    lua_pushnumber(d->L, number);
    return true;
}

static int hex_four(const char *at) {
    int code = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        code = code * 16 + digit;
    }
    return code;
}

static void append_code_point(uint32_t c) {
    if (c < 0x80) {
        buffer_append_char(&unescaped, (char)c);
    } else if (c < 0x800) {
        buffer_append_char(&unescaped, (char)(0xC0 | c >> 6));
        buffer_append_char(&unescaped, (char)(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
        buffer_append_char(&unescaped, (char)(0xE0 | c >> 12));
        buffer_append_char(&unescaped, (char)(0x80 | (c >> 6 & 0x3F)));
        buffer_append_char(&unescaped, (char)(0x80 | (c & 0x3F)));
    } else {
        buffer_append_char(&unescaped, (char)(0xF0 | c >> 18));
        buffer_append_char(&unescaped, (char)(0x80 | (c >> 12 & 0x3F)));
        buffer_append_char(&unescaped, (char)(0x80 | (c >> 6 & 0x3F)));
        buffer_append_char(&unescaped, (char)(0x80 | (c & 0x3F)));
    }
}

static bool decode_escape(struct decoder *d) { // at: behind the backslash
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (d->at == d->end) return decode_fails(d, "unfinished text");
    char c = *d->at++;
    if (c != 'u') {
        const char *found = c ? strchr(from, c) : NULL;
        if (!found) return decode_fails(d, "unknown escape");
        buffer_append_char(&unescaped, to[found - from]);
        return true;
    }
    int code = d->end - d->at >= 4 ? hex_four(d->at) : -1;
    if (code < 0) return decode_fails(d, "malformed \\u escape");
    d->at += 4;
    uint32_t point = (uint32_t)code;
    if (point >= 0xDC00 && point < 0xE000) return decode_fails(d, "lone surrogate");
    if (point >= 0xD800 && point < 0xDC00) {
        int low =
            d->end - d->at >= 6 && d->at[0] == '\\' && d->at[1] == 'u' ? hex_four(d->at + 2) : -1;
        if (low < 0xDC00 || low > 0xDFFF) return decode_fails(d, "lone surrogate");
        d->at += 6;
        point = 0x10000 + ((point - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    }
    append_code_point(point);
    return true;
}

static bool decode_text(struct decoder *d) { // at: behind the quote
    const char *start = d->at;
    while (d->at < d->end && *d->at != '"' && *d->at != '\\' && (unsigned char)*d->at >= 0x20)
        d->at++;
    if (d->at < d->end && *d->at == '"') { // nothing escaped: most texts
        lua_pushlstring(d->L, start, (size_t)(d->at++ - start));
        return true;
    }
    buffer_clear(&unescaped, SCRATCH_KEEP);
    buffer_append(&unescaped, start, (size_t)(d->at - start));
    while (d->at < d->end && *d->at != '"') {
        char c = *d->at++;
        if ((unsigned char)c < 0x20) return decode_fails(d, "control character in a text");
        if (c != '\\') {
            buffer_append_char(&unescaped, c);
        } else if (!decode_escape(d)) {
            return false;
        }
    }
    if (d->at == d->end) return decode_fails(d, "unfinished text");
    d->at++;
    lua_pushlstring(d->L, unescaped.data ? unescaped.data : "", unescaped.size);
    return true;
}

static bool decode_array(struct decoder *d) {
    lua_newtable(d->L);
    if (take(d, ']')) { // an empty one stays an array when it is encoded again
        lua_pushvalue(d->L, lua_upvalueindex(1));
        lua_setmetatable(d->L, -2);
        return true;
    }
    for (lua_Integer i = 1;; i++) {
        if (!decode_value(d)) return false;
        lua_rawseti(d->L, -2, i);
        if (take(d, ']')) return true;
        if (!take(d, ',')) return decode_fails(d, "',' or ']' expected");
    }
}

static bool decode_object(struct decoder *d) {
    lua_newtable(d->L);
    if (take(d, '}')) return true;
    for (;;) {
        if (!take(d, '"')) return decode_fails(d, "a key in quotes expected");
        if (!decode_text(d)) return false;
        if (!take(d, ':')) return decode_fails(d, "':' expected");
        if (!decode_value(d)) return false;
        lua_rawset(d->L, -3);
        if (take(d, '}')) return true;
        if (!take(d, ',')) return decode_fails(d, "',' or '}' expected");
    }
}

static bool decode_value(struct decoder *d) {
    skip_space(d);
    if (d->at == d->end) return decode_fails(d, "unexpected end");
    if (++d->values > JSON_VALUES_MOST) return decode_fails(d, "too many values");
    switch (*d->at) {
    case '{':
    case '[': {
        bool object = *d->at++ == '{';
        if (++d->depth > d->depth_most) return decode_fails(d, "nested too deeply");
        luaL_checkstack(d->L, 6, "json");
        bool fine = object ? decode_object(d) : decode_array(d);
        d->depth--;
        return fine;
    }
    case '"':
        d->at++;
        return decode_text(d);
    case 't':
        lua_pushboolean(d->L, 1);
        return take_word(d, "true");
    case 'f':
        lua_pushboolean(d->L, 0);
        return take_word(d, "false");
    case 'n':
        lua_pushlightuserdata(d->L, NULL);
        return take_word(d, "null");
    default:
        break;
    }
    if (*d->at == '-' || (*d->at >= '0' && *d->at <= '9')) return decode_number(d);
    return decode_fails(d, "unexpected character");
}

// json.decode(text [, depth]): the value, or nil and a reason with the position.
static int json_decode(lua_State *L) {
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    lua_Integer depth = luaL_optinteger(L, 2, JSON_DEPTH);
    luaL_argcheck(L, depth > 0 && depth <= JSON_DEPTH_MOST, 2, "depth out of range");
    struct decoder d = {
        .L = L, .start = text, .at = text, .end = text + size, .depth_most = (int)depth};
    bool fine = true;
    if (size > JSON_SIZE_MOST) fine = decode_fails(&d, "too large");
    if (fine && !utf8_valid(slice_make(text, size))) fine = decode_fails(&d, "not valid UTF-8");
    fine = fine && decode_value(&d);
    skip_space(&d);
    if (fine && d.at != d.end) fine = decode_fails(&d, "text behind the value");
    if (fine) return 1;
    lua_settop(L, 1);
    luaL_pushfail(L);
    lua_pushfstring(L, "%s at byte %d", d.error, (int)(d.at - d.start) + 1);
    return 2;
}

// json.array(t): marks a table, so that it is written as [] when it is empty. Returns it.
static int json_array(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setmetatable(L, 1);
    return 1;
}

int lua_open_json(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"encode", json_encode}, {"decode", json_decode}, {"array", json_array}, {NULL, NULL}};
    luaL_newlibtable(L, functions);
    lua_createtable(L, 0, 1); // the mark of arrays
    lua_pushliteral(L, "json array");
    lua_setfield(L, -2, "__name");
    luaL_setfuncs(L, functions, 1);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
