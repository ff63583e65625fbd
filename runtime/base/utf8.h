#ifndef FOOTLIGHT_BASE_UTF8_H
#define FOOTLIGHT_BASE_UTF8_H
#include "base/slice.h"

/// Incremental validation (RFC 3629: no surrogates, no overlong forms, nothing past U+10FFFF), e.g.
/// across WebSocket fragments. All zero is the start. utf8_feed is false at the first byte that
/// cannot belong to valid text; utf8_done tells whether the text may end here.
struct utf8_state {
    uint8_t needed, lower, upper;
};
bool utf8_feed(struct utf8_state *state, const void *data, size_t size);
static inline bool utf8_done(const struct utf8_state *state) { return state->needed == 0; }
bool utf8_valid(struct slice s);
size_t utf8_length(struct slice s); ///< code points; s must be valid
/// Reads one code point of valid text at *offset and moves on; -1 at the end.
int32_t utf8_next(struct slice s, size_t *offset);
#endif
