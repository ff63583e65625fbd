#include "sockjs/json.h"

static void skip_space(const char **p, const char *end) {
    while (*p < end && (**p == ' ' || **p == '\n' || **p == '\r' || **p == '\t')) (*p)++;
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool scan_string(const char **p, const char *end) {
    for (const char *c = *p + 1; c < end; c++) {
        if (*c == '"') {
            *p = c + 1;
            return true;
        }
        if ((unsigned char)*c < 0x20) return false;
        if (*c != '\\') continue;
        if (++c == end) return false;
        if (*c == 'u') {
            if (end - c < 5) return false;
            for (int i = 1; i <= 4; i++)
                if (hex(c[i]) < 0) return false;
            c += 4;
        } else if (!strchr("\"\\/bfnrt", *c) || *c == 0) {
            return false;
        }
    }
    return false;
}

static bool digits(const char **c, const char *end) {
    const char *start = *c;
    while (*c < end && **c >= '0' && **c <= '9') (*c)++;
    return *c > start;
}

static bool scan_number(const char **p, const char *end) {
    const char *c = *p;
    if (*c == '-') c++;
    if (c < end && *c == '0') c++;
    else if (!digits(&c, end)) return false;
    if (c < end && *c == '.') {
        c++;
        if (!digits(&c, end)) return false;
    }
    if (c < end && (*c == 'e' || *c == 'E')) {
        c++;
        if (c < end && (*c == '+' || *c == '-')) c++;
        if (!digits(&c, end)) return false;
    }
    *p = c;
    return true;
}

static bool scan_word(const char **p, const char *end, struct slice word) {
    if ((size_t)(end - *p) < word.size || memcmp(*p, word.data, word.size) != 0) return false;
    *p += word.size;
    return true;
}

static enum json_kind scan(const char **p, const char *end, unsigned depth);

/// *p stands behind the opening bracket.
static bool scan_items(const char **p, const char *end, bool object, unsigned depth) {
    char close = object ? '}' : ']';
    skip_space(p, end);
    if (*p < end && **p == close) {
        (*p)++;
        return true;
    }
    for (;;) {
        if (object) {
            skip_space(p, end);
            if (*p == end || **p != '"' || !scan_string(p, end)) return false;
            skip_space(p, end);
            if (*p == end || *(*p)++ != ':') return false;
        }
        if (scan(p, end, depth) == JSON_NONE) return false;
        skip_space(p, end);
        if (*p == end) return false;
        char c = *(*p)++;
        if (c == close) return true;
        if (c != ',') return false;
    }
}

static enum json_kind scan(const char **p, const char *end, unsigned depth) {
    skip_space(p, end);
    if (*p == end) return JSON_NONE;
    switch (**p) {
    case '"': return scan_string(p, end) ? JSON_STRING : JSON_NONE;
    case '{':
    case '[': {
        if (depth == 0) return JSON_NONE;
        bool object = **p == '{';
        (*p)++;
        if (!scan_items(p, end, object, depth - 1)) return JSON_NONE;
        return object ? JSON_OBJECT : JSON_ARRAY;
    }
    case 't': return scan_word(p, end, SLICE("true")) ? JSON_TRUE : JSON_NONE;
    case 'f': return scan_word(p, end, SLICE("false")) ? JSON_FALSE : JSON_NONE;
    case 'n': return scan_word(p, end, SLICE("null")) ? JSON_NULL : JSON_NONE;
    case '-':
    case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9':
        return scan_number(p, end) ? JSON_NUMBER : JSON_NONE;
    default: return JSON_NONE;
    }
}

enum { WALK_DEPTH = 1000 }; // what is walked was parsed before, within its caller's limit

struct json_value json_parse(struct slice text, unsigned depth) {
    struct json_value value = {JSON_NONE, {0}};
    if (text.size == 0) return value;
    const char *p = text.data, *end = p + text.size;
    skip_space(&p, end);
    const char *start = p;
    enum json_kind kind = scan(&p, end, depth);
    value.raw = slice_make(start, (size_t)(p - start));
    skip_space(&p, end);
    if (p == end) value.kind = kind;
    return value;
}

struct json_walk json_begin(struct json_value value) {
    struct json_walk walk = {0};
    if (value.kind != JSON_ARRAY && value.kind != JSON_OBJECT) return walk;
    walk.at = value.raw.data + 1;
    walk.end = value.raw.data + value.raw.size - 1;
    walk.object = value.kind == JSON_OBJECT;
    return walk;
}

bool json_next(struct json_walk *walk, struct slice *key, struct json_value *value) {
    const char *p = walk->at;
    if (!p) return false;
    skip_space(&p, walk->end);
    if (p < walk->end && *p == ',') p++;
    skip_space(&p, walk->end);
    if (p == walk->end) return false;
    if (walk->object) {
        const char *start = p;
        if (!scan_string(&p, walk->end)) return false;
        if (key) *key = slice_make(start, (size_t)(p - start));
        skip_space(&p, walk->end);
        p++; // the colon
    }
    skip_space(&p, walk->end);
    const char *start = p;
    value->kind = scan(&p, walk->end, WALK_DEPTH);
    value->raw = slice_make(start, (size_t)(p - start));
    walk->at = p;
    return value->kind != JSON_NONE;
}

struct json_value json_member(struct json_value object, const char *name) {
    struct json_value found = {JSON_NONE, {0}}, value;
    if (object.kind != JSON_OBJECT) return found;
    struct json_walk walk = json_begin(object);
    struct slice key = {0}, wanted = slice_of(name);
    while (json_next(&walk, &key, &value))
        if (slice_equal(slice_sub(key, 1, key.size - 2), wanted)) found = value;
    return found;
}

static unsigned code_unit(const char *c) {
    return (unsigned)hex(c[0]) << 12 | (unsigned)hex(c[1]) << 8 | (unsigned)hex(c[2]) << 4 |
           (unsigned)hex(c[3]);
}

static void append_code_point(struct buffer *out, unsigned point) {
    char *o = buffer_reserve(out, 4);
    size_t n = 0;
    if (point < 0x80) {
        o[n++] = (char)point;
    } else if (point < 0x800) {
        o[n++] = (char)(0xc0 | point >> 6);
        o[n++] = (char)(0x80 | (point & 63));
    } else if (point < 0x10000) {
        o[n++] = (char)(0xe0 | point >> 12);
        o[n++] = (char)(0x80 | (point >> 6 & 63));
        o[n++] = (char)(0x80 | (point & 63));
    } else {
        o[n++] = (char)(0xf0 | point >> 18);
        o[n++] = (char)(0x80 | (point >> 12 & 63));
        o[n++] = (char)(0x80 | (point >> 6 & 63));
        o[n++] = (char)(0x80 | (point & 63));
    }
    buffer_added(out, n);
}

/// Reads \uXXXX (and the second half of a pair) at *c, which stands on the u; leaves it on the
/// last character used.
static unsigned read_escape(const char **c, const char *end) {
    unsigned unit = code_unit(*c + 1);
    *c += 4;
    if (unit < 0xd800 || unit > 0xdfff) return unit;
    if (unit < 0xdc00 && end - *c > 6 && (*c)[1] == '\\' && (*c)[2] == 'u') {
        unsigned low = code_unit(*c + 3);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *c += 6;
            return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return 0xfffd;
}

bool json_string(struct json_value value, struct buffer *out) {
    if (value.kind != JSON_STRING) return false;
    const char *c = value.raw.data + 1, *end = value.raw.data + value.raw.size - 1;
    while (c < end) {
        const char *plain = c;
        while (c < end && *c != '\\') c++;
        buffer_append(out, plain, (size_t)(c - plain));
        if (c == end) break;
        c++;
        if (*c == 'u') {
            append_code_point(out, read_escape(&c, end));
        } else {
            static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
            const char *at = strchr(from, *c);
            buffer_append_char(out, at ? to[at - from] : *c);
        }
        c++;
    }
    return true;
}

bool json_integer(struct json_value value, int64_t *out) {
    return value.kind == JSON_NUMBER && slice_to_i64(value.raw, out);
}
