#ifndef FOOTLIGHT_WEBSOCKET_FRAME_H
#define FOOTLIGHT_WEBSOCKET_FRAME_H
#include "base/buffer.h"
#include "base/chunk.h"

/// The frame format of RFC 6455, section 5, without any state: what connection.c and the encoders
/// of shared messages agree on.
enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};
enum { WEBSOCKET_HEAD_MAX = 14, WEBSOCKET_CONTROL_MAX = 125 };

struct websocket_head {
    uint64_t size; ///< of the payload
    uint8_t mask[4];
    uint8_t opcode, rsv; ///< rsv: the three bits as they stand, RSV1 = 4
    bool fin, masked;
};

/// Reads a frame head. Returns its size, 0 if `s` holds only part of it, -1 if it breaks the RFC: a
/// reserved opcode, a fragmented or long control frame, a length not in its shortest form or
/// above 2^63. Whether masks and RSV bits are in order depends on the connection, not on the frame.
int websocket_head_read(struct slice s, struct websocket_head *head);
/// Writes an unmasked head with FIN; returns its size (2, 4 or 10).
size_t websocket_head_write(char out[WEBSOCKET_HEAD_MAX], uint8_t opcode, bool rsv1, uint64_t size);
/// XORs with the mask, starting at payload byte `offset`.
void websocket_mask(char *data, size_t size, const uint8_t mask[4], uint64_t offset);
/// Whether a close code may stand in a frame on the wire (RFC 6455, 7.4, and its registry).
bool websocket_close_code_valid(int code);

/// A whole unmasked frame, ready for any number of peers. One reference, the caller's.
struct chunk *websocket_frame_new(struct slice payload, uint8_t opcode);
/// The same message deflated, for peers with websocket_deflates(); NULL if it would not be smaller.
struct chunk *websocket_frame_deflated(struct slice payload, uint8_t opcode);
/// Messages below this size are never deflated: a chat message gains nothing (realtime.md, 1).
enum { WEBSOCKET_DEFLATE_FROM = 512 };
#endif
