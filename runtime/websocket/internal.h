#ifndef FOOTLIGHT_WEBSOCKET_INTERNAL_H
#define FOOTLIGHT_WEBSOCKET_INTERNAL_H
#include "base/utf8.h"
#include "websocket/connection.h"
#include "websocket/frame.h"
#include "websocket/hixie76.h"

/// Shared by the files of this folder only. connection.c: life, closing, sending. receive.c: what
/// the peer sends.
enum websocket_state {
    OPEN,
    CLOSING, ///< our close frame is out, we wait for the peer's
    FAILED,  ///< as CLOSING, but the peer's bytes mean nothing any more
    DONE,    ///< the socket is closing
};

/// Payloads that have come in part. Most peers, most of the time, have none.
struct websocket_parts {
    struct buffer message; ///< of the message that is still incomplete
    struct buffer control; ///< likewise of a control frame
};

/// Bytes that came behind the request's head, until the end of the tick.
struct websocket_early {
    struct deferred deferred;
    struct websocket *ws;
    struct buffer bytes;
};

struct websocket {
    struct socket *socket;
    const struct websocket_events *events;
    void *data;
    struct timer timer;
    uint64_t last_seen; ///< loop time of the last byte from the peer
    uint64_t written;   ///< bytes given to the socket
    uint64_t progress;  ///< how many of them had gone at the last look
    uint64_t frame_size, frame_done;
    struct websocket_parts *parts; ///< NULL unless something is still incomplete
    struct websocket_early *early;
    struct hixie76 *old; ///< the peer speaks the draft of 2010; or NULL
    char *reason;
    uint32_t message_limit, queue_limit, ping_ms, pong_ms, stall_ms;
    uint32_t control_second;
    uint16_t control_rate, control_count;
    uint16_t code;
    struct utf8_state utf8;
    uint8_t mask[4];
    uint8_t head[WEBSOCKET_HEAD_MAX], head_size;
    uint8_t opcode;         ///< of the frame
    uint8_t message_opcode; ///< of the message; 0 if none has begun
    uint8_t state;
    bool in_frame, fin, deflated, pinged, watching, closed_by_peer;
    bool takes_deflated, gets_deflated; ///< whether the peer may send, and wants, deflated frames
};

/// Says goodbye because the peer broke a rule.
void websocket_fail(struct websocket *ws, int code, const char *reason);
/// The peer's close frame is whole.
void websocket_peer_closed(struct websocket *ws, struct slice payload);
void websocket_send_control(struct websocket *ws, uint8_t opcode, struct slice payload);
void websocket_give_up(struct websocket *ws, int error); ///< resets the connection
void websocket_drop_parts(struct websocket *ws);
/// Takes what the peer sent; the bytes are unmasked where they are.
void websocket_feed(struct websocket *ws, char *data, size_t size);
#endif
