#include "http/compress.h"

#include <brotli/encode.h>
#include <zlib.h>

/// A quality as thousandths; 1000 if absent, 0 if malformed (the safe reading: not wanted).
static int quality_of(struct slice parameters) {
    struct slice part;
    while (parameters.data && slice_next(&parameters, ';', &part)) {
        part = slice_trim(part);
        if (part.size < 3 || (part.data[0] | 32) != 'q' || part.data[1] != '=') continue;
        part = slice_sub(part, 2, part.size);
        if (part.size > 5 || part.data[0] < '0' || part.data[0] > '1') return 0;
        int value = (part.data[0] - '0') * 1000, unit = 100;
        if (part.size > 1 && part.data[1] != '.') return 0;
        for (size_t i = 2; i < part.size; i++, unit /= 10) {
            if (part.data[i] < '0' || part.data[i] > '9') return 0;
            value += (part.data[i] - '0') * unit;
        }
        return value > 1000 ? 0 : value;
    }
    return 1000;
}

struct qualities {
    int gzip, brotli;
};

static struct qualities qualities_of(struct slice accept) {
    struct qualities q = {-1, -1};
    int any = 0;
    struct slice part;
    while (accept.data && slice_next(&accept, ',', &part)) {
        size_t semicolon = slice_find(part, ';', 0);
        struct slice name = slice_trim(slice_sub(part, 0, semicolon));
        int quality = semicolon == part.size ? 1000
                                             : quality_of(slice_sub(part, semicolon + 1, part.size));
        if (slice_equal_fold(name, SLICE("gzip")) || slice_equal_fold(name, SLICE("x-gzip")))
            q.gzip = quality;
        else if (slice_equal_fold(name, SLICE("br")))
            q.brotli = quality;
        else if (slice_equal(name, SLICE("*")))
            any = quality;
    }
    if (q.gzip < 0) q.gzip = any;
    if (q.brotli < 0) q.brotli = any;
    return q;
}

enum http_coding http_coding_choose(struct slice accept) {
    struct qualities q = qualities_of(accept);
    if (q.brotli > 0 && q.brotli >= q.gzip) return HTTP_BROTLI;
    return q.gzip > 0 ? HTTP_GZIP : HTTP_IDENTITY;
}

bool http_coding_allows(struct slice accept, enum http_coding coding) {
    struct qualities q = qualities_of(accept);
    return coding == HTTP_BROTLI ? q.brotli > 0 : coding == HTTP_GZIP ? q.gzip > 0 : true;
}

const char *http_coding_name(enum http_coding coding) {
    return coding == HTTP_BROTLI ? "br" : coding == HTTP_GZIP ? "gzip" : NULL;
}

bool http_type_compresses(struct slice type) {
    static const char *const exact[] = {
        "application/json", "application/javascript", "application/xml", "image/svg+xml",
        "application/problem+json", "application/manifest+json", "application/vnd.apple.mpegurl",
        "application/wasm", "application/atom+xml", "application/rss+xml", "application/ld+json",
    };
    type = slice_trim(slice_sub(type, 0, slice_find(type, ';', 0)));
    if (slice_equal(type, SLICE("text/event-stream"))) return false;
    if (slice_starts(type, SLICE("text/"))) return true;
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        if (slice_equal_fold(type, slice_of(exact[i]))) return true;
    return false;
}

static bool compress_gzip(struct buffer *out, struct slice body) {
    z_stream stream = {0};
    // Level 4 costs half of the default 6 and gives 3 % less on pages.
    if (deflateInit2(&stream, 4, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return false;
    stream.next_in = (Bytef *)(uintptr_t)body.data;
    stream.avail_in = (uInt)body.size;
    stream.next_out = (Bytef *)buffer_reserve(out, body.size);
    stream.avail_out = (uInt)body.size;
    bool done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    if (done) buffer_added(out, body.size - stream.avail_out);
    deflateEnd(&stream);
    return done;
}

static bool compress_brotli(struct buffer *out, struct slice body) {
    size_t size = body.size;
    uint8_t *to = (uint8_t *)buffer_reserve(out, body.size);
    if (!BrotliEncoderCompress(4, 18, BROTLI_MODE_TEXT, body.size, (const uint8_t *)body.data,
                               &size, to))
        return false; // also when it would not fit, that is, not get smaller
    buffer_added(out, size);
    return true;
}

bool http_compress(struct buffer *out, enum http_coding coding, struct slice body) {
    if (body.size == 0 || body.size > INT32_MAX || coding == HTTP_IDENTITY) return false;
    return coding == HTTP_BROTLI ? compress_brotli(out, body) : compress_gzip(out, body);
}
