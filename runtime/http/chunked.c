#include "http/chunked.h"

#include "http/parser.h"

enum chunked_state {
    SIZE,
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER,
    TRAILER_LF,
    END_LF,
    DONE,
    BROKEN,
};

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool printable(char c) { return c == '\t' || ((unsigned char)c >= ' ' && c != 0x7f); }

/// Trailers may not change what has been decided by the head (RFC 9110, 6.5.1).
static bool trailer_allowed(struct slice line) {
    static const char *const refused[] = {
        "content-length", "transfer-encoding", "host", "content-type", "content-encoding",
        "content-range", "trailer", "authorization", "cookie", "connection", "expect", "te",
        "upgrade", "x-forwarded-for", "x-forwarded-proto",
    };
    size_t colon = slice_find(line, ':', 0);
    struct slice name = slice_sub(line, 0, colon);
    if (colon == line.size || !http_is_token(name)) return false;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (slice_equal_fold(name, slice_of(refused[i]))) return false;
    return true;
}

/// One byte outside of chunk data. False: broken.
static bool chunked_step(struct http_chunked *chunked, char c) {
    switch (chunked->state) {
    case SIZE: {
        int value = hex_value(c);
        if (value >= 0) {
            if (chunked->digits == 15) return false;
            chunked->digits++;
            chunked->left = chunked->left << 4 | (unsigned)value;
        } else if (chunked->digits == 0) {
            return false;
        } else if (c == ';') {
            chunked->state = EXTENSION;
        } else if (c == '\r') {
            chunked->state = SIZE_LF;
        } else {
            return false;
        }
        return true;
    }
    case EXTENSION:
        if (c == '\r') chunked->state = SIZE_LF;
        else if (!printable(c) || ++chunked->extension > HTTP_EXTENSION_LIMIT) return false;
        return true;
    case SIZE_LF:
        chunked->digits = 0;
        chunked->state = chunked->left ? DATA : TRAILER_START;
        return c == '\n';
    case DATA_CR:
        chunked->state = DATA_LF;
        return c == '\r';
    case DATA_LF:
        chunked->state = SIZE;
        return c == '\n';
    case TRAILER_START:
        if (c == '\r') {
            chunked->state = END_LF;
            return true;
        }
        if (++chunked->trailer_count > HTTP_TRAILER_COUNT) return false;
        chunked->line = (uint16_t)chunked->trailer.size;
        chunked->state = TRAILER;
        __attribute__((fallthrough));
    case TRAILER:
        if (c == '\r') {
            struct slice all = buffer_slice(&chunked->trailer);
            chunked->state = TRAILER_LF;
            return trailer_allowed(slice_sub(all, chunked->line, all.size));
        }
        if (!printable(c) || chunked->trailer.size >= HTTP_TRAILER_LIMIT) return false;
        buffer_append_char(&chunked->trailer, c);
        return true;
    case TRAILER_LF:
        buffer_append_char(&chunked->trailer, '\n');
        chunked->state = TRAILER_START;
        return c == '\n';
    case END_LF:
        chunked->state = DONE;
        return c == '\n';
    default:
        return false;
    }
}

enum http_chunked_result http_chunked_read(struct http_chunked *chunked, struct slice input,
                                           size_t *used, struct slice *part) {
    *used = 0;
    *part = SLICE("");
    while (*used < input.size) {
        if (chunked->state == DATA) {
            size_t size = input.size - *used;
            if (size > chunked->left) size = (size_t)chunked->left;
            *part = slice_sub(input, *used, size);
            *used += size;
            chunked->left -= size;
            if (chunked->left == 0) chunked->state = DATA_CR;
            return HTTP_CHUNKED_PART;
        }
        if (chunked->state == DONE) break;
        if (!chunked_step(chunked, input.data[(*used)++])) {
            chunked->state = BROKEN;
            return HTTP_CHUNKED_BAD;
        }
        if (chunked->state == DONE) break;
    }
    if (chunked->state == BROKEN) return HTTP_CHUNKED_BAD;
    return chunked->state == DONE ? HTTP_CHUNKED_END : HTTP_CHUNKED_MORE;
}

bool http_chunked_trailer(struct slice *rest, struct slice *name, struct slice *value) {
    struct slice line;
    if (rest->size == 0 || !slice_next(rest, '\n', &line) || line.size == 0) return false;
    size_t colon = slice_find(line, ':', 0);
    *name = slice_sub(line, 0, colon);
    *value = slice_trim(slice_sub(line, colon + 1, line.size));
    return true;
}

void http_chunked_free(struct http_chunked *chunked) { buffer_free(&chunked->trailer); }
