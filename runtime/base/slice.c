#include "base/slice.h"

#include <assert.h>

static char fold(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

bool slice_equal_fold(struct slice a, struct slice b) {
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; i++)
        if (fold(a.data[i]) != fold(b.data[i])) return false;
    return true;
}

bool slice_starts(struct slice s, struct slice prefix) {
    return s.size >= prefix.size && slice_equal(slice_make(s.data, prefix.size), prefix);
}

bool slice_ends(struct slice s, struct slice suffix) {
    return s.size >= suffix.size &&
           slice_equal(slice_make(s.data + (s.size - suffix.size), suffix.size), suffix);
}

size_t slice_find(struct slice s, char c, size_t from) {
    if (from >= s.size) return s.size;
    const char *found = memchr(s.data + from, c, s.size - from);
    return found ? (size_t)(found - s.data) : s.size;
}

size_t slice_search(struct slice s, struct slice needle) {
    if (needle.size == 0) return 0;
    if (s.size == 0) return s.size;
    const char *found = memmem(s.data, s.size, needle.data, needle.size);
    return found ? (size_t)(found - s.data) : s.size;
}

struct slice slice_sub(struct slice s, size_t from, size_t size) {
    if (from > s.size) from = s.size;
    if (size > s.size - from) size = s.size - from;
    return slice_make(s.data ? s.data + from : s.data, size);
}

struct slice slice_trim(struct slice s) {
    while (s.size && (s.data[0] == ' ' || s.data[0] == '\t')) s.data++, s.size--;
    while (s.size && (s.data[s.size - 1] == ' ' || s.data[s.size - 1] == '\t')) s.size--;
    return s;
}

bool slice_next(struct slice *rest, char separator, struct slice *part) {
    if (!rest->data) return false;
    size_t end = slice_find(*rest, separator, 0);
    *part = slice_make(rest->data, end);
    if (end == rest->size)
        *rest = slice_make(NULL, 0);
    else
        *rest = slice_make(rest->data + end + 1, rest->size - end - 1);
    return true;
}

bool slice_to_u64(struct slice s, uint64_t *value) {
    if (s.size == 0 || s.size > 20) return false;
    assert(s.data);
    uint64_t result = 0;
    for (size_t i = 0; i < s.size; i++) {
        unsigned digit = (unsigned)(unsigned char)s.data[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(result, 10u, &result) ||
            __builtin_add_overflow(result, digit, &result))
            return false;
    }
    *value = result;
    return true;
}

bool slice_to_i64(struct slice s, int64_t *value) {
    bool negative = s.size && s.data[0] == '-';
    uint64_t magnitude;
    if (!slice_to_u64(negative ? slice_sub(s, 1, s.size) : s, &magnitude)) return false;
    if (magnitude > (uint64_t)INT64_MAX + negative) return false;
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}
