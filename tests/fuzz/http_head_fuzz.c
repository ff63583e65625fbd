#include <stdlib.h>

#include "http/chunked.h"
#include "http/parser.h"
#include "http/query.h"

/// Heads: the scan must not depend on how the bytes come, and what is accepted must be what the
/// strict grammar says.

static void check(bool holds) {
    if (!holds) abort();
}

static int scan_in_steps(const char *data, size_t size, size_t step, const struct http_limits *limits) {
    struct http_scan scan = {0};
    int result = 0;
    for (size_t seen = step; result == 0; seen += step) {
        if (seen > size) seen = size;
        result = http_scan_head(&scan, data, seen, limits);
        if (seen == size) break;
    }
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const char *data = (const char *)bytes;
    struct http_limits limits;
    http_limits_default(&limits);
    int head = scan_in_steps(data, size, size ? size : 1, &limits);
    for (size_t step = 1; step <= 7; step += 3) {
        int other = scan_in_steps(data, size, step, &limits);
        // Beyond a limit the reason may differ (414 or 431 against 400), never the outcome.
        check((head > 0) == (other > 0) && (head < 0) == (other < 0));
        if (head > 0) check(head == other);
    }
    if (head <= 0) return 0;
    check((size_t)head <= limits.head_size && data[head - 1] == '\n');
    check(!memchr(data, 0, (size_t)head));

    struct http_request request = {0};
    const char *reason = "";
    char *copy = arena_copy(&request.arena, slice_make(data, (size_t)head));
    int status = http_parse_head(&request, copy, (size_t)head, &limits, &reason);
    check(status == 0 || (status >= 400 && status < 600));
    if (status == 0) {
        check(http_is_token(request.method) && request.path.size > 0);
        check(request.path.data[0] == '/' || request.path.data[0] == '*');
        check(request.http10 || request.host.size > 0);
        check(request.header_count <= limits.header_count);
        struct slice length = http_request_header(&request, "content-length");
        check(!length.data || !http_request_header(&request, "transfer-encoding").data);
        for (size_t i = 0; i < request.header_count; i++) {
            struct http_header header = request.headers[i];
            check(http_is_token(header.name));
            check(!memchr(header.value.data, '\n', header.value.size));
            check(!memchr(header.value.data, '\r', header.value.size));
            for (size_t j = 0; j < i; j++) check(!slice_equal(header.name, request.headers[j].name));
        }
        struct slice path;
        if (http_path_decode(&request.arena, request.path, &path)) {
            check(path.data[0] == '/' && !memchr(path.data, 0, path.size));
            check(slice_search(path, SLICE("/../")) == path.size);
            check(!slice_ends(path, SLICE("/..")));
        }
        http_request_query(&request, "a", NULL);
        http_request_cookie(&request, "a");
    }
    arena_free(&request.arena);
    return 0;
}
