#ifndef FOOTLIGHT_WEBSOCKET_CONNECTION_H
#define FOOTLIGHT_WEBSOCKET_CONNECTION_H
#include "base/chunk.h"
#include "http/request.h"
#include "loop/socket.h"

/// A WebSocket (RFC 6455) of which we are the server, with permessage-deflate (RFC 7692) without
/// context takeover. Everything that the RFC asks of a peer is checked here; owners see whole,
/// valid messages only. An idle connection owns this struct and its socket, and no buffer.
struct websocket;

struct websocket_events {
    /// A complete message: valid UTF-8 if it is text. The bytes are gone when this returns. The
    /// owner may close the connection in here, and may send.
    void (*on_message)(struct websocket *ws, struct slice message, bool binary);
    /// The output queue became empty after having been blocked. May be NULL.
    void (*on_drain)(struct websocket *ws);
    /// The last call, always exactly one; never inside another call on this connection. `code` is
    /// the peer's close code, ours if we closed first, 1005 if the peer gave none, 1006 if the
    /// connection was lost. The websocket is freed when this returns.
    void (*on_close)(struct websocket *ws, int code, struct slice reason);
};

/// Zero members take the default in brackets.
struct websocket_options {
    size_t message_limit;     ///< bytes of one message, inflated (64 KiB); more closes with 1009
    unsigned ping_ms;         ///< silence before we ping (25 s)
    unsigned pong_ms;         ///< silence after our ping before we give the peer up (10 s)
    unsigned stall_ms;        ///< a blocked output queue without progress for so long is reset (10 s)
    size_t queue_limit;       ///< bytes queued for a peer before it is reset (256 KiB)
    int send_buffer;          ///< SO_SNDBUF (64 KiB): what the kernel may hold for a stuck peer
    unsigned control_rate;    ///< control frames a second before we close with 1008 (200)
    bool deflate;             ///< offer permessage-deflate
    bool hixie76;             ///< take peers of the draft of 2010 too (hixie76.h): text only, no pings
    const char *protocols;    ///< comma-separated subprotocols that we speak, or NULL
};

/// Answers the upgrade request and takes its socket over; the request is released in every case,
/// so copy what is needed of it before. NULL if the handshake was refused (400, 405 or 426 was
/// sent). No event fires inside this call.
struct websocket *websocket_accept(struct http_request *request,
                                   const struct websocket_options *options,
                                   const struct websocket_events *events, void *data);
void *websocket_data(const struct websocket *ws);
void websocket_set_data(struct websocket *ws, void *data);
/// For an owner that learns what the connection is for after accepting it.
void websocket_set_events(struct websocket *ws, const struct websocket_events *events);

/// Sends one message (copied). Returns the bytes now queued for the peer; over its high-water mark
/// an owner should hold back until on_drain. Ignored once the connection is closing.
size_t websocket_send(struct websocket *ws, struct slice message, bool binary);
/// Sends a message whose payload is shared: only the frame's head is written for this peer.
size_t websocket_send_chunk(struct websocket *ws, struct chunk *payload, bool binary);
/// Sends a ready-made frame of frame.h: the cheapest way to one message for many peers.
size_t websocket_send_frame(struct websocket *ws, struct chunk *frame);
/// Sends ready-made frames at once where nothing is queued, in place of the end of the tick: for who
/// sends to many and knows that nothing else goes to this peer now. Not for a peer of the old draft.
void websocket_send_frames_now(struct websocket *ws, struct chunk *frames);
bool websocket_old(const struct websocket *ws); ///< speaks the draft of 2010
/// Whether the peer takes frames with RSV1 (deflated) at all.
bool websocket_deflates(const struct websocket *ws);
/// Sends what is queued now, in place of the end of the tick. What then stays is announced by on_drain.
void websocket_flush(struct websocket *ws);
size_t websocket_queued(const struct websocket *ws);
/// Bytes that reached the kernel so far; with websocket_queued tells a slow peer from a stuck one.
uint64_t websocket_sent(const struct websocket *ws);

void websocket_pause(struct websocket *ws); ///< stops reading (back-pressure on the peer)
void websocket_resume(struct websocket *ws);

/// Starts the close handshake: sends what is queued, then a close frame (1000 to 4999 but none that
/// the RFC reserves), then waits at most 5 s for the peer's. No on_message comes after this.
void websocket_close(struct websocket *ws, int code, const char *reason);
/// RST: for peers that do not read. on_close comes with 1006.
void websocket_abort(struct websocket *ws);
bool websocket_closing(const struct websocket *ws);
#endif
