#ifndef FOOTLIGHT_HTTP_QUERY_H
#define FOOTLIGHT_HTTP_QUERY_H
#include "base/arena.h"

/// Walks application/x-www-form-urlencoded text, decoding on the way: *rest starts as the whole
/// text; false at its end. Pairs that are empty are skipped. A pair with a malformed escape is
/// handed out as it was sent, which no decoder of a well-formed form can confuse with anything.
/// Slices point into the text or the arena.
bool http_query_next(struct arena *arena, struct slice *rest, struct slice *name,
                     struct slice *value);

/// Walks a whole form strictly: returns the number of pairs, or -1 if an escape is malformed, there
/// are more than `most` pairs, or a decoded part holds a NUL.
int http_query_check(struct slice text, size_t most);

/// Decodes and normalises a request path: percent escapes, "." and ".." segments. False on
/// malformed escapes, an escaped NUL or slash, invalid UTF-8, control bytes, a backslash, or a path that
/// climbs above its root. *out is on the arena and NUL-terminated.
bool http_path_decode(struct arena *arena, struct slice path, struct slice *out);
#endif
