#ifndef FOOTLIGHT_WEBSOCKET_HIXIE76_H
#define FOOTLIGHT_WEBSOCKET_HIXIE76_H
#include "base/buffer.h"
#include "http/request.h"

/// The draft of 2010 (draft-hixie-thewebsocketprotocol-76), which SockJS 0.3.3 still lists: two keys
/// in the head and eight bytes behind it are answered by an MD5 sum; a message is 0x00 TEXT 0xff; a
/// goodbye is 0xff 0x00. connection.c keeps one of these for a peer that speaks it.
struct hixie76 {
    uint32_t numbers[2];  ///< of the two keys
    uint8_t challenge[8];
    uint8_t challenged;   ///< bytes of it that have come
    bool in_text, in_close;
    struct buffer text;   ///< of a message that is not whole yet
    struct buffer held;   ///< what was sent before the challenge was answered
};

enum hixie76_event { HIXIE76_MORE, HIXIE76_KEYED, HIXIE76_TEXT, HIXIE76_GOODBYE, HIXIE76_BROKEN };

/// NULL if the request is no such handshake, or a wrong one.
struct hixie76 *hixie76_new(const struct http_request *request);
void hixie76_free(struct hixie76 *old);
bool hixie76_keyed(const struct hixie76 *old); ///< the challenge has come
/// Writes the 101 response's head. It goes out before the challenge has come: proxies wait for it.
void hixie76_answer(const struct http_request *request, struct buffer *out);
/// Takes input off the front of `in` up to the next event. KEYED: `out` is the sum to answer with,
/// and what was held behind it; TEXT: the message is in old->text, to be cleared by the caller.
enum hixie76_event hixie76_take(struct hixie76 *old, struct slice *in, size_t limit,
                                struct buffer *out);
/// Appends a message, or holds it until the challenge is answered.
void hixie76_write(struct hixie76 *old, struct slice text, struct buffer *out);
void hixie76_write_goodbye(struct hixie76 *old, struct buffer *out); ///< likewise
#endif
