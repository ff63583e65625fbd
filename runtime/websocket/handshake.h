#ifndef FOOTLIGHT_WEBSOCKET_HANDSHAKE_H
#define FOOTLIGHT_WEBSOCKET_HANDSHAKE_H
#include "base/buffer.h"
#include "http/request.h"

/// The opening handshake of RFC 6455, section 4.2, apart from the socket.
struct websocket_handshake {
    int status;          ///< 101, or what to answer with: 400, 405, 426
    const char *problem; ///< the text of a refusal
    unsigned window;     ///< permessage-deflate was agreed, ours with so many bits; or 0
    struct slice protocol; ///< the agreed subprotocol, or empty
};

/// Checks the request. `protocols`: comma-separated, ours in order of preference, or NULL.
void websocket_handshake_check(const struct http_request *request, bool deflate,
                               const char *protocols, struct websocket_handshake *result);
/// Writes the 101 response's head.
void websocket_handshake_answer(const struct http_request *request,
                                const struct websocket_handshake *result, struct buffer *out);
/// Sec-WebSocket-Accept for a key, base64.
void websocket_handshake_accept(struct slice key, struct buffer *out);
/// The window in bits that the best of a Sec-WebSocket-Extensions header's offers leaves us; 0 if
/// none can be taken. One deflated frame is shared by all peers, made with the largest window, so
/// a peer that insists on a smaller one gets its messages as they are.
enum { WEBSOCKET_WINDOW = 15 };
unsigned websocket_handshake_window(struct slice extensions);
#endif
