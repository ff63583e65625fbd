#include "http/query.h"

#include "base/utf8.h"

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// Decodes into `out` (as long as the input); the size, or -1 on a malformed escape.
static ptrdiff_t decode(struct slice in, char *out, bool plus) {
    size_t size = 0;
    for (size_t i = 0; i < in.size; i++) {
        char c = in.data[i];
        if (c == '+' && plus) c = ' ';
        if (c == '%') {
            int high = i + 2 < in.size ? hex_value(in.data[i + 1]) : -1;
            int low = i + 2 < in.size ? hex_value(in.data[i + 2]) : -1;
            if (high < 0 || low < 0) return -1;
            c = (char)(high << 4 | low);
            i += 2;
        }
        out[size++] = c;
    }
    return (ptrdiff_t)size;
}

static struct slice decode_part(struct arena *arena, struct slice in) {
    if (slice_find(in, '%', 0) == in.size && slice_find(in, '+', 0) == in.size)
        return in.data ? in : SLICE("");
    char *out = arena_alloc(arena, in.size + 1);
    ptrdiff_t size = decode(in, out, true);
    return size < 0 ? in : slice_make(out, (size_t)size);
}

bool http_query_next(struct arena *arena, struct slice *rest, struct slice *name,
                     struct slice *value) {
    struct slice pair;
    while (rest->data && slice_next(rest, '&', &pair)) {
        if (pair.size == 0) continue;
        size_t equals = slice_find(pair, '=', 0);
        *name = decode_part(arena, slice_sub(pair, 0, equals));
        *value = equals == pair.size ? SLICE("")
                                     : decode_part(arena, slice_sub(pair, equals + 1, pair.size));
        return true;
    }
    return false;
}

static bool part_good(struct slice part) {
    if (memchr(part.data, 0, part.size)) return false;
    for (size_t i = 0; i < part.size; i++) {
        if (part.data[i] != '%') continue;
        int high = i + 2 < part.size ? hex_value(part.data[i + 1]) : -1;
        int low = i + 2 < part.size ? hex_value(part.data[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0)) return false;
        i += 2;
    }
    return true;
}

int http_query_check(struct slice text, size_t most) {
    struct slice rest = text, pair;
    size_t count = 0;
    while (rest.data && slice_next(&rest, '&', &pair)) {
        if (pair.size == 0) continue;
        if (++count > most || !part_good(pair)) return -1;
    }
    return (int)count;
}

bool http_path_decode(struct arena *arena, struct slice path, struct slice *out) {
    if (path.size == 0 || path.data[0] != '/') return false;
    char *raw = arena_alloc(arena, path.size + 1);
    // An escaped slash would be a separator for some and a letter for others.
    for (size_t i = 0; i + 2 < path.size; i++)
        if (path.data[i] == '%' && path.data[i + 1] == '2' && (path.data[i + 2] | 32) == 'f')
            return false;
    ptrdiff_t size = decode(path, raw, false);
    if (size < 0 || !utf8_valid(slice_make(raw, (size_t)size))) return false;
    for (ptrdiff_t i = 0; i < size; i++)
        if ((unsigned char)raw[i] < 32 || raw[i] == 127 || raw[i] == '\\') return false;

    char *clean = arena_alloc(arena, (size_t)size + 2);
    size_t length = 0;
    struct slice rest = slice_make(raw + 1, (size_t)size - 1), part;
    bool folder = true; // a path that ends in a slash, "." or ".." keeps its slash
    while (rest.data && slice_next(&rest, '/', &part)) {
        folder = false;
        if (part.size == 0 && rest.data == NULL) {
            folder = true;
        } else if (part.size == 0 || slice_equal(part, SLICE("."))) {
            folder = true;
        } else if (slice_equal(part, SLICE(".."))) {
            if (length == 0) return false;
            while (clean[--length] != '/') {}
            folder = true;
        } else {
            clean[length++] = '/';
            memcpy(clean + length, part.data, part.size);
            length += part.size;
        }
    }
    if (folder || length == 0) clean[length++] = '/';
    clean[length] = 0;
    *out = slice_make(clean, length);
    return true;
}
