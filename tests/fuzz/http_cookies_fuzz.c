#include <stdlib.h>

#include "base/buffer.h"
#include "http/cookies.h"
#include "http/parser.h"

/// Cookie headers: only what a cookie may hold comes out, in order, and writing it down again gives
/// the same cookies.

static void check(bool holds) {
    if (!holds) abort();
}

static void check_value(struct slice value) {
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];
        check(c > 0x20 && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct slice all = slice_make(bytes, size), rest = all, name, value;
    struct buffer again = {0};
    const char *last = all.data;
    while (http_cookie_next(&rest, &name, &value)) {
        check(http_is_token(name));
        check_value(value);
        check(name.data >= last && value.data + value.size <= all.data + all.size);
        last = value.data + value.size;
        if (again.size) buffer_append(&again, "; ", 2);
        buffer_append_slice(&again, name);
        buffer_append_char(&again, '=');
        buffer_append_slice(&again, value);
    }
    struct slice first = all, second = buffer_slice(&again), other_name, other_value;
    while (http_cookie_next(&first, &name, &value)) {
        check(http_cookie_next(&second, &other_name, &other_value));
        check(slice_equal(name, other_name) && slice_equal(value, other_value));
    }
    check(!http_cookie_next(&second, &other_name, &other_value));
    buffer_free(&again);
    return 0;
}
