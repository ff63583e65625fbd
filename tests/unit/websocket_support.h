#ifndef FOOTLIGHT_WEBSOCKET_SUPPORT_H
#define FOOTLIGHT_WEBSOCKET_SUPPORT_H
#include "http_support.h"

#include "websocket/frame.h"

/// The client's side of a WebSocket, over http_support.h's peers.
#define HANDSHAKE(path)                                                                            \
    "GET " path " HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"         \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static const uint8_t test_mask[4] = {0x12, 0x34, 0x56, 0x78};

/// Appends a frame as a client sends it. `first` is the first byte: FIN, RSV bits and opcode.
static inline void put_frame(struct buffer *out, uint8_t first, struct slice payload) {
    char head[WEBSOCKET_HEAD_MAX];
    size_t size = websocket_head_write(head, 0, false, payload.size);
    head[0] = (char)first;
    head[1] = (char)(head[1] | (char)0x80);
    buffer_append(out, head, size);
    buffer_append(out, test_mask, 4);
    size_t at = out->size;
    buffer_append_slice(out, payload);
    if (payload.size) websocket_mask(out->data + at, payload.size, test_mask, 0);
}

static inline void send_frame(struct peer *peer, uint8_t first, struct slice payload) {
    struct buffer out = {0};
    put_frame(&out, first, payload);
    peer_send(peer, buffer_slice(&out));
    buffer_free(&out);
}
static inline void send_text(struct peer *peer, const char *text) {
    send_frame(peer, 0x80 | WEBSOCKET_TEXT, slice_of(text));
}

/// Takes the response's head off what was received; true once it is whole.
static inline bool take_head(struct peer *peer) {
    struct slice all = buffer_slice(&peer->received);
    size_t end = all.size ? slice_search(all, SLICE("\r\n\r\n")) : 0;
    if (all.size == 0 || end == all.size) return false;
    assert_true(slice_starts(all, SLICE("HTTP/1.1 101 ")));
    buffer_consume(&peer->received, end + 4);
    return true;
}

/// Takes one frame off what was received; `payload` gets its bytes (with a NUL behind).
static inline bool take_frame(struct peer *peer, struct websocket_head *head,
                              struct buffer *payload) {
    int used = websocket_head_read(buffer_slice(&peer->received), head);
    assert_true(used >= 0);
    if (used == 0 || peer->received.size < (size_t)used + head->size) return false;
    assert_false(head->masked);
    buffer_clear(payload, SIZE_MAX);
    buffer_append(payload, peer->received.data + used, (size_t)head->size);
    buffer_text(payload);
    buffer_consume(&peer->received, (size_t)used + (size_t)head->size);
    return true;
}

static inline void wait_head(struct loop *loop, struct peer *peer) {
    bool taken = false; // wait_for looks at its condition once more at the end
    wait_for(loop, taken || (taken = take_head(peer)));
}
static inline void wait_frame(struct loop *loop, struct peer *peer, struct websocket_head *head,
                              struct buffer *payload) {
    bool taken = false;
    wait_for(loop, taken || (taken = take_frame(peer, head, payload)));
}

/// Waits for the next frame and checks what it is.
#define expect_frame(loop, peer, wanted_opcode, wanted)                                            \
    do {                                                                                           \
        struct websocket_head expect_head;                                                         \
        struct buffer expect_payload = {0};                                                        \
        wait_frame(loop, peer, &expect_head, &expect_payload);                                     \
        assert_int_equal(expect_head.opcode, wanted_opcode);                                       \
        assert_string_equal(buffer_text(&expect_payload), wanted);                                 \
        buffer_free(&expect_payload);                                                              \
    } while (0)

/// Waits for a close frame with this code (1005: none in it).
#define expect_close(loop, peer, code)                                                             \
    do {                                                                                           \
        struct websocket_head close_head;                                                          \
        struct buffer close_payload = {0};                                                         \
        wait_frame(loop, peer, &close_head, &close_payload);                                       \
        assert_int_equal(close_head.opcode, WEBSOCKET_CLOSE);                                      \
        int close_code = close_payload.size < 2 ? 1005                                             \
                                                : (uint8_t)close_payload.data[0] << 8 |            \
                                                      (uint8_t)close_payload.data[1];              \
        assert_int_equal(close_code, code);                                                        \
        buffer_free(&close_payload);                                                               \
    } while (0)
#endif
