#include "base/utf8.h"

bool utf8_feed(struct utf8_state *state, const void *data, size_t size) {
    if (size == 0) return true; // data may be NULL
    const unsigned char *p = data, *end = p + size;
    uint8_t needed = state->needed, lower = state->lower, upper = state->upper;
    while (p < end) {
        if (needed == 0) {
            // Eight ASCII bytes at a time: most text is.
            while (end - p >= 8) {
                uint64_t word;
                memcpy(&word, p, 8);
                if (word & UINT64_C(0x8080808080808080)) break;
                p += 8;
            }
            if (p == end) break;
            unsigned char c = *p++;
            if (c < 0x80) continue;
            lower = 0x80, upper = 0xbf;
            if (c >= 0xc2 && c <= 0xdf) {
                needed = 1;
            } else if (c >= 0xe0 && c <= 0xef) {
                needed = 2;
                if (c == 0xe0) lower = 0xa0; // overlong
                if (c == 0xed) upper = 0x9f; // surrogates
            } else if (c >= 0xf0 && c <= 0xf4) {
                needed = 3;
                if (c == 0xf0) lower = 0x90; // overlong
                if (c == 0xf4) upper = 0x8f; // past U+10FFFF
            } else {
                return false;
            }
        } else {
            unsigned char c = *p++;
            if (c < lower || c > upper) return false;
            lower = 0x80, upper = 0xbf;
            needed--;
        }
    }
    *state = (struct utf8_state){needed, lower, upper};
    return true;
}

bool utf8_valid(struct slice s) {
    struct utf8_state state = {0};
    return utf8_feed(&state, s.data, s.size) && utf8_done(&state);
}

size_t utf8_length(struct slice s) {
    size_t length = 0;
    for (size_t i = 0; i < s.size; i++)
        if (((unsigned char)s.data[i] & 0xc0) != 0x80) length++;
    return length;
}

int32_t utf8_next(struct slice s, size_t *offset) {
    if (*offset >= s.size) return -1;
    unsigned char c = (unsigned char)s.data[(*offset)++];
    if (c < 0x80) return c;
    int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    int32_t point = c & (0x3f >> more);
    while (more-- && *offset < s.size)
        point = point << 6 | ((unsigned char)s.data[(*offset)++] & 0x3f);
    return point;
}
