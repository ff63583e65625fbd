#include <stdlib.h>

#include "http/chunked.h"
#include "http/compress.h"
#include "http/multipart.h"
#include "http/parser.h"
#include "http/proxies.h"
#include "http/query.h"

/// The small parsers: paths, header parameters, content codings, proxies, chunks.

static void chunked(struct slice input) {
    struct buffer whole = {0}, pieces = {0};
    size_t results[2];
    for (int pass = 0; pass < 2; pass++) {
        struct http_chunked state = {0};
        struct slice rest = input;
        enum http_chunked_result result = HTTP_CHUNKED_MORE;
        while (rest.size && result != HTTP_CHUNKED_BAD && result != HTTP_CHUNKED_END) {
            size_t used;
            struct slice part;
            result = http_chunked_read(&state, pass ? slice_sub(rest, 0, 1) : rest, &used, &part);
            buffer_append_slice(pass ? &pieces : &whole, part);
            if (used == 0) abort();
            rest = slice_sub(rest, used, rest.size);
        }
        results[pass] = result == HTTP_CHUNKED_PART ? HTTP_CHUNKED_MORE : result;
        struct slice trailers = buffer_slice(&state.trailer), name, value;
        if (result == HTTP_CHUNKED_END)
            while (http_chunked_trailer(&trailers, &name, &value))
                if (!http_is_token(name)) abort();
        http_chunked_free(&state);
    }
    if (results[0] != results[1] || !slice_equal(buffer_slice(&whole), buffer_slice(&pieces))) abort();
    buffer_free(&whole);
    buffer_free(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct slice all = slice_make(bytes, size), path;
    struct arena arena = {0};
    struct buffer out = {0};
    http_path_decode(&arena, all, &path);
    http_header_parameter(all, "name", &out);
    http_coding_choose(all);
    http_list_has(all, "close");
    struct http_proxies proxies = {0};
    char *text = arena_copy(&arena, all);
    http_proxies_parse(&proxies, text);
    http_proxies_trust(&proxies, all);
    http_proxies_free(&proxies);
    chunked(all);
    arena_free(&arena);
    buffer_free(&out);
    return 0;
}
