// runtime.text: text that people wrote. Lengths are code points.
#include <locale.h>
#include <wctype.h>

#include "base/escape.h"
#include "base/utf8.h"
#include "lua/runtime.h"

enum { MARKS_MOST = 4 }; // combining marks on one letter

static struct slice check_text(lua_State *L, int index) {
    size_t size;
    const char *text = luaL_checklstring(L, index, &size);
    return slice_make(text, size);
}

static int push_buffer(lua_State *L, struct buffer *buffer) {
    lua_pushlstring(L, buffer->data ? buffer->data : "", buffer->size);
    buffer_free(buffer);
    return 1;
}

static int valid(lua_State *L) {
    lua_pushboolean(L, utf8_valid(check_text(L, 1)));
    return 1;
}

// length(text): code points, nil if it is not UTF-8.
static int length(lua_State *L) {
    struct slice text = check_text(L, 1);
    if (!utf8_valid(text)) return 0;
    lua_pushinteger(L, (lua_Integer)utf8_length(text));
    return 1;
}

static bool is_space(int32_t c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool is_mark(int32_t c) {
    return (c >= 0x300 && c <= 0x36F) || (c >= 0x483 && c <= 0x489) ||
           (c >= 0x1AB0 && c <= 0x1AFF) || (c >= 0x1DC0 && c <= 0x1DFF) ||
           (c >= 0x20D0 && c <= 0x20FF) || (c >= 0xFE20 && c <= 0xFE2F);
}

// What makes text look like something else than it is, or breaks the line that it stands in.
static const char *objection(int32_t c) {
    if (c == '\n' || c == '\t' || c == '\r') return NULL;
    if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return "a control character";
    if ((c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069))
        return "a character that turns text around";
    if (c == 0x200B || c == 0x2060 || c == 0xFEFF || c == 0xAD || c == 0x115F || c == 0x1160 ||
        c == 0x3164)
        return "an invisible character";
    if (c == 0x2028 || c == 0x2029) return "a line separator";
    if (c >= 0xE0000 && c <= 0xE007F) return "a tag character";
    if ((c & 0xFFFE) == 0xFFFE || (c >= 0xFDD0 && c <= 0xFDEF))
        return "a character that does not exist";
    return NULL;
}

// clean(text [, multiline]): without spaces at its ends; one space for any run of spaces, tabs and
// line ends, or, where several lines are allowed, "\n" for line ends; nil and the reason if it is
// not UTF-8 or holds what text of people does not need.
static int clean(lua_State *L) {
    struct slice text = check_text(L, 1);
    bool multiline = lua_toboolean(L, 2), space = false;
    const char *problem = utf8_valid(text) ? NULL : "not valid UTF-8";
    struct buffer out = {0};
    size_t at = 0, marks = 0, start = 0;
    int32_t c;
    while (!problem && (c = utf8_next(text, &at)) >= 0) {
        problem = objection(c);
        marks = is_mark(c) ? marks + 1 : 0;
        if (marks > MARKS_MOST) problem = "too many marks on one letter";
        struct slice piece = slice_sub(text, start, at - start);
        start = at;
        if (c == '\r') continue;
        if (multiline || !is_space(c)) {
            if (space && out.size > 0) buffer_append_char(&out, ' ');
            space = false;
            buffer_append_slice(&out, piece);
        } else {
            space = true;
        }
    }
    if (problem) {
        buffer_free(&out);
        luaL_pushfail(L);
        lua_pushstring(L, problem);
        return 2;
    }
    struct slice trimmed = buffer_slice(&out);
    while (trimmed.size > 0 && strchr(" \t\n", trimmed.data[trimmed.size - 1])) trimmed.size--;
    while (trimmed.size > 0 && strchr(" \t\n", *trimmed.data)) trimmed.data++, trimmed.size--;
    lua_pushlstring(L, trimmed.data ? trimmed.data : "", trimmed.size);
    buffer_free(&out);
    return 1;
}

// cut(text, n): the first n code points.
static int cut(lua_State *L) {
    struct slice text = check_text(L, 1);
    lua_Integer n = luaL_checkinteger(L, 2);
    luaL_argcheck(L, utf8_valid(text), 1, "not valid UTF-8");
    size_t at = 0;
    while (n-- > 0 && utf8_next(text, &at) >= 0) continue;
    lua_pushlstring(L, text.data, at);
    return 1;
}

static void append_point(luaL_Buffer *b, uint32_t c) {
    if (c < 0x80) {
        luaL_addchar(b, (char)c);
        return;
    }
    if (c < 0x800) {
        luaL_addchar(b, (char)(0xC0 | c >> 6));
    } else {
        if (c < 0x10000) {
            luaL_addchar(b, (char)(0xE0 | c >> 12));
        } else {
            luaL_addchar(b, (char)(0xF0 | c >> 18));
            luaL_addchar(b, (char)(0x80 | (c >> 12 & 0x3F)));
        }
        luaL_addchar(b, (char)(0x80 | (c >> 6 & 0x3F)));
    }
    luaL_addchar(b, (char)(0x80 | (c & 0x3F)));
}

// fold(text): for comparing names without regard to case.
static int fold(lua_State *L) {
    static locale_t locale;
    if (!locale) locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    struct slice text = check_text(L, 1);
    luaL_argcheck(L, utf8_valid(text), 1, "not valid UTF-8");
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    size_t at = 0;
    int32_t c;
    while ((c = utf8_next(text, &at)) >= 0) {
        if (c == 0xDF) { // sharp s
            luaL_addstring(&b, "ss");
        } else {
            append_point(&b, locale ? (uint32_t)towlower_l((wint_t)c, locale) : (uint32_t)c);
        }
    }
    luaL_pushresult(&b);
    return 1;
}

static int html(lua_State *L) {
    struct buffer out = {0};
    escape_html(&out, check_text(L, 1));
    return push_buffer(L, &out);
}

static int url(lua_State *L) {
    struct buffer out = {0};
    escape_url(&out, check_text(L, 1));
    return push_buffer(L, &out);
}

// unurl(text [, plus]): nil when an escape is malformed.
static int unurl(lua_State *L) {
    struct buffer out = {0};
    if (unescape_url(&out, check_text(L, 1), lua_toboolean(L, 2))) return push_buffer(L, &out);
    buffer_free(&out);
    return 0;
}

int lua_open_text(lua_State *L) {
    static const luaL_Reg functions[] = {{"valid", valid}, {"length", length}, {"clean", clean},
                                         {"cut", cut},     {"fold", fold},     {"html", html},
                                         {"url", url},     {"unurl", unurl},   {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
