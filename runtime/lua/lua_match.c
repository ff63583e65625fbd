#include "lua/lua_match.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "lua/limits.h"

enum {
    CAPTURES_MOST = 32,
    DEPTH_MOST = 200,   ///< of nested attempts: C's stack
    STEPS_A_LOOK = 1024 ///< between two looks at the limits
};

enum { SIZE_OPEN = -1, SIZE_POSITION = -2 }; ///< what a capture's size may be besides a size

struct capture {
    const char *start;
    ptrdiff_t size;
};

struct match {
    lua_State *L;
    const char *text, *text_end;
    const char *pattern, *pattern_end;
    unsigned steps;
    int depth, count;
    struct capture captures[CAPTURES_MOST];
};

static void step(struct match *m) {
    if (++m->steps % STEPS_A_LOOK == 0) limits_poll(m->L);
}

// ---- single characters --------------------------------------------------------------------------

/// Is c in the class of `letter`, as in %a? An upper-case letter is the complement; what names no
/// class is itself.
static bool class_has(unsigned char c, unsigned char letter) {
    bool in;
    switch (tolower(letter)) {
    case 'a': in = isalpha(c); break;
    case 'c': in = iscntrl(c); break;
    case 'd': in = isdigit(c); break;
    case 'g': in = isgraph(c); break;
    case 'l': in = islower(c); break;
    case 'p': in = ispunct(c); break;
    case 's': in = isspace(c); break;
    case 'u': in = isupper(c); break;
    case 'w': in = isalnum(c); break;
    case 'x': in = isxdigit(c); break;
    case 'z': in = c == 0; break; // gone from the manual, not from Lua
    default: return letter == c;
    }
    return isupper(letter) ? !in : in;
}

/// Behind the item (a character, a class or a set) that begins at p.
static const char *item_end(struct match *m, const char *p) {
    char first = *p++;
    if (first == '%') {
        if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (first != '[') return p;
    if (p < m->pattern_end && *p == '^') p++;
    // The first character is part of the set whatever it is, a closing bracket too.
    do {
        if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%' && p < m->pattern_end) p++;
    } while (p == m->pattern_end || *p != ']');
    return p + 1;
}

/// `set` is at the bracket, `last` at the closing one.
static bool set_has(unsigned char c, const char *set, const char *last) {
    bool in = true;
    const char *p = set + 1;
    if (*p == '^') {
        in = false;
        p++;
    }
    for (; p < last; p++) {
        unsigned char low = (unsigned char)*p;
        if (low == '%') {
            p++;
            if (class_has(c, (unsigned char)*p)) return in;
        } else if (p[1] == '-' && p + 2 < last) {
            p += 2;
            if (low <= c && c <= (unsigned char)*p) return in;
        } else if (low == c) {
            return in;
        }
    }
    return !in;
}

static bool item_has(const struct match *m, const char *s, const char *p, const char *end) {
    if (s == m->text_end) return false;
    unsigned char c = (unsigned char)*s;
    switch (*p) {
    case '.': return true;
    case '%': return class_has(c, (unsigned char)p[1]);
    case '[': return set_has(c, p, end - 1);
    default: return (unsigned char)*p == c;
    }
}

// ---- matching -----------------------------------------------------------------------------------

/// Where the match of the pattern from p on ends that begins at s, or NULL.
static const char *walk(struct match *m, const char *s, const char *p);

static const char *walk_greedy(struct match *m, const char *s, const char *p, const char *end) {
    ptrdiff_t count = 0;
    while (item_has(m, s + count, p, end)) {
        step(m);
        count++;
    }
    for (; count >= 0; count--) {
        const char *found = walk(m, s + count, end + 1);
        if (found) return found;
    }
    return NULL;
}

static const char *walk_lazy(struct match *m, const char *s, const char *p, const char *end) {
    for (;;) {
        const char *found = walk(m, s, end + 1);
        if (found) return found;
        if (!item_has(m, s, p, end)) return NULL;
        s++;
    }
}

static const char *walk_open(struct match *m, const char *s, const char *p, ptrdiff_t size) {
    if (m->count == CAPTURES_MOST) luaL_error(m->L, "too many captures");
    m->captures[m->count++] = (struct capture){s, size};
    const char *found = walk(m, s, p);
    if (!found) m->count--;
    return found;
}

static const char *walk_close(struct match *m, const char *s, const char *p) {
    int at = m->count - 1;
    while (at >= 0 && m->captures[at].size != SIZE_OPEN) at--;
    if (at < 0) luaL_error(m->L, "invalid pattern capture");
    m->captures[at].size = s - m->captures[at].start;
    const char *found = walk(m, s, p);
    if (!found) m->captures[at].size = SIZE_OPEN;
    return found;
}

/// %bxy: behind the closing one, or NULL. p is at x.
static const char *skip_balanced(struct match *m, const char *s, const char *p) {
    if (m->pattern_end - p < 2)
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s == m->text_end || *s != *p) return NULL;
    ptrdiff_t open = 1;
    for (s++; s < m->text_end; s++) {
        step(m);
        if (*s == p[1]) {
            if (--open == 0) return s + 1;
        } else if (*s == p[0]) {
            open++;
        }
    }
    return NULL;
}

/// %1 … %9: behind the same text again, or NULL.
static const char *skip_reference(struct match *m, const char *s, unsigned char digit) {
    int at = digit - '1';
    if (at < 0 || at >= m->count || m->captures[at].size == SIZE_OPEN)
        luaL_error(m->L, "invalid capture index %%%d in pattern", at + 1);
    ptrdiff_t size = m->captures[at].size;
    if (size < 0 || m->text_end - s < size) return NULL;
    return memcmp(s, m->captures[at].start, (size_t)size) == 0 ? s + size : NULL;
}

/// %f[set]: between a character that is not in the set and one that is; NUL stands at both ends.
static bool at_frontier(struct match *m, const char *s, const char *set, const char *end) {
    unsigned char before = s == m->text ? 0 : (unsigned char)s[-1];
    unsigned char after = s == m->text_end ? 0 : (unsigned char)*s;
    return !set_has(before, set, end - 1) && set_has(after, set, end - 1);
}

static const char *walk_on(struct match *m, const char *s, const char *p) {
    for (;;) {
        step(m);
        if (p == m->pattern_end) return s;
        if (*p == '(') {
            bool position = p + 1 < m->pattern_end && p[1] == ')';
            return position ? walk_open(m, s, p + 2, SIZE_POSITION) : walk_open(m, s, p + 1, SIZE_OPEN);
        }
        if (*p == ')') return walk_close(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end) return s == m->text_end ? s : NULL;
        unsigned char special = *p == '%' && p + 1 < m->pattern_end ? (unsigned char)p[1] : 0;
        if (special == 'b') {
            s = skip_balanced(m, s, p + 2);
            if (!s) return NULL;
            p += 4;
            continue;
        }
        if (special == 'f') {
            p += 2;
            if (p == m->pattern_end || *p != '[')
                luaL_error(m->L, "missing '[' after '%%f' in pattern");
            const char *behind = item_end(m, p);
            if (!at_frontier(m, s, p, behind)) return NULL;
            p = behind;
            continue;
        }
        if (isdigit(special)) {
            s = skip_reference(m, s, special);
            if (!s) return NULL;
            p += 2;
            continue;
        }
        const char *end = item_end(m, p);
        char repeat = end < m->pattern_end ? *end : 0;
        if (repeat == '*') return walk_greedy(m, s, p, end);
        if (repeat == '-') return walk_lazy(m, s, p, end);
        bool has = item_has(m, s, p, end);
        if (repeat == '+') return has ? walk_greedy(m, s + 1, p, end) : NULL;
        if (repeat == '?') {
            const char *found = has ? walk(m, s + 1, end + 1) : NULL;
            if (found) return found;
            p = end + 1;
            continue;
        }
        if (!has) return NULL;
        s++;
        p = end;
    }
}

static const char *walk(struct match *m, const char *s, const char *p) {
    if (m->depth == DEPTH_MOST) luaL_error(m->L, "pattern too complex");
    m->depth++;
    const char *found = walk_on(m, s, p);
    m->depth--;
    return found;
}

static const char *attempt(struct match *m, const char *s) {
    m->depth = m->count = 0;
    return walk(m, s, m->pattern);
}

// ---- captures -----------------------------------------------------------------------------------

/// Pushes capture `at`; without any, 0 is the whole match, from s to end.
static void push_capture(struct match *m, int at, const char *s, const char *end) {
    if (at >= m->count) {
        if (at > 0) luaL_error(m->L, "invalid capture index %%%d", at + 1);
        lua_pushlstring(m->L, s, (size_t)(end - s));
        return;
    }
    const struct capture *capture = &m->captures[at];
    if (capture->size == SIZE_OPEN) luaL_error(m->L, "unfinished capture");
    if (capture->size == SIZE_POSITION) lua_pushinteger(m->L, capture->start - m->text + 1);
    else lua_pushlstring(m->L, capture->start, (size_t)capture->size);
}

/// Pushes all; `s` NULL: nothing stands for the whole match.
static int push_captures(struct match *m, const char *s, const char *end) {
    int count = m->count == 0 && s ? 1 : m->count;
    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++) push_capture(m, i, s, end);
    return count;
}

// ---- the functions ------------------------------------------------------------------------------

static void match_init(struct match *m, lua_State *L, const char *text, size_t size,
                       const char *pattern, size_t pattern_size) {
    m->L = L;
    m->text = text;
    m->text_end = text + size;
    m->pattern = pattern;
    m->pattern_end = pattern + pattern_size;
    m->steps = 0;
}

/// The place in a text of `size` that an index names, from 0; `size` + 1 if it is behind the end.
static size_t place(lua_Integer index, size_t size) {
    if (index > 0) return (lua_Unsigned)index - 1 > size ? size + 1 : (size_t)index - 1;
    if (index == 0 || (lua_Unsigned)0 - (lua_Unsigned)index > size) return 0;
    return size + (size_t)index;
}

static bool has_specials(const char *pattern, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (pattern[i] && strchr("^$*+?.([%-", pattern[i])) return true;
    return false;
}

static int find_or_match(lua_State *L, bool find) { // [1] text, [2] pattern, [3] from, [4] plain
    size_t size, pattern_size;
    const char *text = luaL_checklstring(L, 1, &size);
    const char *pattern = luaL_checklstring(L, 2, &pattern_size);
    size_t from = place(luaL_optinteger(L, 3, 1), size);
    if (from > size) {
        lua_pushnil(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || !has_specials(pattern, pattern_size))) {
        const char *found = memmem(text + from, size - from, pattern, pattern_size);
        if (!found) {
            lua_pushnil(L);
            return 1;
        }
        lua_pushinteger(L, found - text + 1);
        lua_pushinteger(L, found - text + (ptrdiff_t)pattern_size);
        return 2;
    }
    struct match m;
    bool anchored = pattern_size > 0 && *pattern == '^';
    match_init(&m, L, text, size, pattern + anchored, pattern_size - anchored);
    for (const char *s = text + from; s <= m.text_end; s++) {
        const char *end = attempt(&m, s);
        if (end && find) {
            lua_pushinteger(L, s - text + 1);
            lua_pushinteger(L, end - text);
            return push_captures(&m, NULL, NULL) + 2;
        }
        if (end) return push_captures(&m, s, end);
        if (anchored) break;
    }
    lua_pushnil(L);
    return 1;
}

static int find(lua_State *L) { return find_or_match(L, true); }
static int match(lua_State *L) { return find_or_match(L, false); }

struct walker {
    struct match m;
    const char *at, *last; ///< where to go on, and the end of the match before
};

static int gmatch_next(lua_State *L) { // upvalues: 1 text, 2 pattern, 3 walker
    struct walker *walker = lua_touserdata(L, lua_upvalueindex(3));
    walker->m.L = L;
    for (const char *s = walker->at; s <= walker->m.text_end; s++) {
        const char *end = attempt(&walker->m, s);
        if (!end || end == walker->last) continue;
        walker->at = walker->last = end;
        return push_captures(&walker->m, s, end);
    }
    walker->at = walker->m.text_end + 1;
    return 0;
}

static int gmatch(lua_State *L) { // [1] text, [2] pattern, [3] from
    size_t size, pattern_size;
    const char *text = luaL_checklstring(L, 1, &size);
    const char *pattern = luaL_checklstring(L, 2, &pattern_size);
    size_t from = place(luaL_optinteger(L, 3, 1), size);
    lua_settop(L, 2);
    struct walker *walker = lua_newuserdatauv(L, sizeof *walker, 0);
    match_init(&walker->m, L, text, size, pattern, pattern_size);
    walker->at = text + from; // may be one behind the end: nothing to find
    walker->last = NULL;
    lua_pushcclosure(L, gmatch_next, 3);
    return 1;
}

/// The replacement text at [3], with its %0 to %9.
static void add_text(struct match *m, luaL_Buffer *out, const char *s, const char *end) {
    size_t size;
    const char *text = lua_tolstring(m->L, 3, &size), *stop = text + size;
    for (;;) {
        const char *percent = memchr(text, '%', (size_t)(stop - text));
        luaL_addlstring(out, text, (size_t)((percent ? percent : stop) - text));
        if (!percent) return;
        char what = percent + 1 < stop ? percent[1] : 0;
        if (what == '%') {
            luaL_addchar(out, '%');
        } else if (what == '0') {
            luaL_addlstring(out, s, (size_t)(end - s));
        } else if (isdigit((unsigned char)what)) {
            push_capture(m, what - '1', s, end);
            luaL_tolstring(m->L, -1, NULL); // a position is a number
            lua_remove(m->L, -2);
            luaL_addvalue(out);
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement string");
        }
        text = percent + 2;
    }
}

static void add_replacement(struct match *m, luaL_Buffer *out, const char *s, const char *end,
                            int type) {
    lua_State *L = m->L;
    if (type == LUA_TSTRING || type == LUA_TNUMBER) {
        add_text(m, out, s, end);
        return;
    }
    if (type == LUA_TFUNCTION) {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, end), 1);
    } else {
        push_capture(m, 0, s, end);
        lua_gettable(L, 3);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, s, (size_t)(end - s));
        return;
    }
    if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(out);
}

static int gsub(lua_State *L) { // [1] text, [2] pattern, [3] replacement, [4] how many at most
    size_t size, pattern_size;
    const char *text = luaL_checklstring(L, 1, &size);
    const char *pattern = luaL_checklstring(L, 2, &pattern_size);
    int type = lua_type(L, 3);
    bool usable = type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE;
    luaL_argexpected(L, usable, 3, "string/function/table");
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)size + 1), count = 0;
    assert(text && pattern);
    struct match m;
    bool anchored = pattern_size > 0 && *pattern == '^';
    match_init(&m, L, text, size, pattern + anchored, pattern_size - anchored);
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    const char *s = text, *last = NULL;
    while (count < most) {
        const char *end = attempt(&m, s);
        if (end && end != last) {
            count++;
            add_replacement(&m, &out, s, end, type);
            s = last = end;
        } else if (s < m.text_end) {
            luaL_addchar(&out, *s++);
        } else {
            break;
        }
        if (anchored) break;
    }
    if (count == 0) {
        lua_pushvalue(L, 1);
    } else {
        luaL_addlstring(&out, s, (size_t)(m.text_end - s));
        luaL_pushresult(&out);
    }
    lua_pushinteger(L, count);
    return 2;
}

// ---- sorting ------------------------------------------------------------------------------------

static int less(lua_State *L) { // upvalue 1: calls so far
    lua_Integer calls = lua_tointeger(L, lua_upvalueindex(1)) + 1;
    lua_pushinteger(L, calls);
    lua_replace(L, lua_upvalueindex(1));
    if (calls % STEPS_A_LOOK == 0) limits_poll(L);
    lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
    return 1;
}

/// sort(list, comparator): long lists are always sorted with a comparator, for it can look at the
/// limits where the sort itself does not.
static int sort(lua_State *L) { // upvalue 1: Lua's own
    lua_settop(L, 2);
    if (!lua_isuserdata(L, 1)) luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
    if (lua_isnil(L, 2) && lua_istable(L, 1) && lua_rawlen(L, 1) > 4 * STEPS_A_LOOK) {
        lua_pushinteger(L, 0);
        lua_pushcclosure(L, less, 1);
        lua_replace(L, 2);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 0);
    return 0;
}

void lua_match_library(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"find", find}, {"match", match}, {"gmatch", gmatch}, {"gsub", gsub}, {NULL, NULL}};
    lua_getglobal(L, "string");
    luaL_setfuncs(L, functions, 0);
    lua_getglobal(L, "table");
    lua_getfield(L, -1, "sort");
    lua_pushcclosure(L, sort, 1);
    lua_setfield(L, -2, "sort");
    lua_pop(L, 2);
}
