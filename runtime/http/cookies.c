#include "http/cookies.h"

#include "http/parser.h"

static bool value_good(struct slice value) {
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if (c < 0x21 || c > 0x7e || c == '"' || c == ',' || c == ';' || c == '\\') return false;
    }
    return true;
}

bool http_cookie_next(struct slice *rest, struct slice *name, struct slice *value) {
    struct slice pair;
    while (rest->data && slice_next(rest, ';', &pair)) {
        pair = slice_trim(pair);
        size_t equals = slice_find(pair, '=', 0);
        if (equals == pair.size) continue;
        *name = slice_sub(pair, 0, equals);
        *value = slice_sub(pair, equals + 1, pair.size);
        if (value->size >= 2 && value->data[0] == '"' && value->data[value->size - 1] == '"')
            *value = slice_sub(*value, 1, value->size - 2);
        if (http_is_token(*name) && value_good(*value)) return true;
    }
    return false;
}
