#include <stdlib.h>

#include "base/utf8.h"
#include "sockjs/json.h"
#include "sockjs/message.h"

/// Bodies of xhr_send and messages of clients: what json_parse takes can be walked to the last
/// value without reading outside it, strings come out as valid UTF-8, and quoting them gives JSON
/// that says the same.
static void walk(struct json_value value, unsigned depth) {
    struct buffer text = {0};
    if (depth == 0) abort(); // deeper than the parser was allowed to go
    if (value.kind == JSON_STRING) {
        struct buffer quoted = {0}, again = {0};
        if (!json_string(value, &text) || !utf8_valid(buffer_slice(&text))) abort();
        sockjs_quote(&quoted, buffer_slice(&text));
        struct json_value copy = json_parse(buffer_slice(&quoted), 1);
        if (!json_string(copy, &again)) abort();
        if (!slice_equal(buffer_slice(&text), buffer_slice(&again))) abort();
        buffer_clear(&quoted, 0);
        sockjs_quote_script(&quoted, buffer_slice(&text));
        if (slice_find(buffer_slice(&quoted), '<', 0) < quoted.size) abort();
        buffer_free(&quoted);
        buffer_free(&again);
    }
    struct json_walk items = json_begin(value);
    struct json_value item;
    struct slice key;
    while (json_next(&items, &key, &item)) {
        const char *end = value.raw.data + value.raw.size;
        if (item.raw.data <= value.raw.data || item.raw.data + item.raw.size >= end) abort();
        walk(item, depth - 1);
    }
    json_member(value, "connect");
    buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct slice body = slice_make(bytes, size);
    if (!utf8_valid(body)) return 0; // refused before it gets so far
    struct json_value value = json_parse(body, 8);
    if (value.kind != JSON_NONE) walk(value, 9);
    return 0;
}
