#include <stdlib.h>

#include "base/escape.h"
#include "http/query.h"

/// Forms in a query or a body: what is walked is what was counted, and encoding it anew gives a text
/// that means the same.

static void check(bool holds) {
    if (!holds) abort();
}

static bool within(struct slice part, struct slice all) {
    return part.data >= all.data && part.data + part.size <= all.data + all.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct slice all = slice_make(bytes, size), rest = all, name, value;
    struct arena arena = {0};
    struct buffer again = {0};
    int walked = 0, counted = http_query_check(all, SIZE_MAX);
    while (http_query_next(&arena, &rest, &name, &value)) {
        walked++;
        check(name.size + value.size <= size);
        // Not one byte is made up: a part is as it was sent, or shorter by what was decoded.
        if (within(name, all)) check(!memchr(name.data, '&', name.size));
        if (counted >= 0) check(!memchr(name.data, 0, name.size) && !memchr(value.data, 0, value.size));
        buffer_append_char(&again, '&');
        escape_url(&again, name);
        buffer_append_char(&again, '=');
        escape_url(&again, value);
    }
    check(counted < 0 || counted == walked);
    if (walked > 0) check(http_query_check(all, (size_t)walked - 1) < 0);
    if (counted >= 0) {
        struct slice first = all, second = buffer_slice(&again), other_name, other_value;
        check(http_query_check(second, (size_t)walked) == walked);
        while (http_query_next(&arena, &first, &name, &value)) {
            check(http_query_next(&arena, &second, &other_name, &other_value));
            check(slice_equal(name, other_name) && slice_equal(value, other_value));
        }
        check(!http_query_next(&arena, &second, &other_name, &other_value));
    }
    buffer_free(&again);
    arena_free(&arena);
    return 0;
}
