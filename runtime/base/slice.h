#ifndef FOOTLIGHT_BASE_SLICE_H
#define FOOTLIGHT_BASE_SLICE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/// A view of bytes that somebody else owns. Not NUL-terminated. `data` may be NULL only if size is 0.
struct slice {
    const char *data;
    size_t size;
};

/// For string literals only.
#define SLICE(literal) ((struct slice){"" literal, sizeof(literal) - 1})
/// For printf: `printf("%.*s", SLICE_FORMAT(s))`.
#define SLICE_FORMAT(s) (int)(s).size, (s).data

static inline struct slice slice_make(const void *data, size_t size) {
    return (struct slice){(const char *)data, size};
}
static inline struct slice slice_of(const char *text) {
    return (struct slice){text, text ? strlen(text) : 0};
}
static inline bool slice_equal(struct slice a, struct slice b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
/// ASCII case folding only, as header names and URL schemes want it.
bool slice_equal_fold(struct slice a, struct slice b);
bool slice_starts(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);
/// Index of the first `c` at or after `from`, or s.size if there is none.
size_t slice_find(struct slice s, char c, size_t from);
/// Index of `needle`, or s.size if there is none.
size_t slice_search(struct slice s, struct slice needle);
struct slice slice_sub(struct slice s, size_t from, size_t size); ///< clamped to s
struct slice slice_trim(struct slice s);                          ///< spaces and tabs at both ends
/// Takes the part before the next `separator` off *rest; false when *rest was used up
/// (data == NULL after the last part).
bool slice_next(struct slice *rest, char separator, struct slice *part);
/// 1 to 20 decimal digits and nothing else; false on overflow. No sign, space or prefix is taken.
bool slice_to_u64(struct slice s, uint64_t *value);
/// As above with an optional leading minus.
bool slice_to_i64(struct slice s, int64_t *value);
#endif
