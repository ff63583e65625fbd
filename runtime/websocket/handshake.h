#ifndef FOOTLIGHT_WEBSOCKET_HANDSHAKE_H
#define FOOTLIGHT_WEBSOCKET_HANDSHAKE_H
#include "base/buffer.h"
#include "http/request.h"

/// The opening handshake of RFC 6455, section 4.2, apart from the socket.
struct websocket_handshake {
    int status;          ///< 101, or what to answer with: 400, 405, 426
    const char *problem; ///< the text of a refusal
    bool deflate;        ///< permessage-deflate was agreed
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
/// Whether one of the offers of a Sec-WebSocket-Extensions header is permessage-deflate in a form
/// that we can serve: any parameters but a window of the server's smaller than 15 bits, since one
/// deflated frame is shared by all peers.
bool websocket_handshake_deflates(struct slice extensions);
#endif
