#ifndef FOOTLIGHT_WEBSOCKET_DEFLATE_H
#define FOOTLIGHT_WEBSOCKET_DEFLATE_H
#include "base/buffer.h"

/// permessage-deflate (RFC 7692) without context takeover in either direction: one pair of zlib
/// streams serves the whole process. A context for each connection would cost 9 to 268 KB a peer
/// and save next to nothing on chat messages (realtime.md, 1).

/// Appends the deflated message, without the 00 00 ff ff that the receiver puts back.
void websocket_deflate(struct buffer *out, struct slice message);
/// Appends the inflated message. 0, 1007 if the data is broken, 1009 if it comes to more than limit.
int websocket_inflate(struct buffer *out, struct slice data, size_t limit);
#endif
