#ifndef FOOTLIGHT_SOCKJS_MESSAGE_H
#define FOOTLIGHT_SOCKJS_MESSAGE_H
#include "base/buffer.h"
#include "base/chunk.h"

/// One message for any number of clients of any transport. Each encoding is made when the first
/// client needs it, and shared by all that follow.
struct sockjs_message {
    uint32_t references;
    bool raw_tried, framed_tried;   ///< whether deflating was worth it is known
    struct chunk *text;             ///< the message itself
    struct chunk *raw;              ///< a WebSocket text frame of it
    struct chunk *raw_deflated;     ///< or NULL
    struct chunk *framed;           ///< a WebSocket frame of a["…"]
    struct chunk *framed_deflated;  ///< or NULL
    struct chunk *quoted;           ///< "…"
};

struct sockjs_message *sockjs_message_new(struct slice text); ///< valid UTF-8; one reference
static inline struct sockjs_message *sockjs_message_share(struct sockjs_message *message) {
    message->references++;
    return message;
}
void sockjs_message_release(struct sockjs_message *message);
/// The frame for a peer; the message keeps the reference.
struct chunk *sockjs_message_frame(struct sockjs_message *message, bool raw, bool deflated);
struct chunk *sockjs_message_quoted(struct sockjs_message *message);

/// Messages that go out together, in one run of bytes for each encoding. All zero is empty.
struct sockjs_bundle {
    struct sockjs_message **messages; ///< the adder's references
    size_t count, room;
    struct chunk *frames[2][2];       ///< by raw, deflated
};
void sockjs_bundle_add(struct sockjs_bundle *bundle, struct sockjs_message *message);
/// All their frames for a peer; the bundle keeps the reference.
struct chunk *sockjs_bundle_frames(struct sockjs_bundle *bundle, bool raw, bool deflated);
void sockjs_bundle_clear(struct sockjs_bundle *bundle); ///< keeps the room
void sockjs_bundle_free(struct sockjs_bundle *bundle);

/// Appends text as a JSON string with its quotes, escaping also what browsers' transports and
/// WebSocket implementations have been seen to mangle (SockJS protocol 0.3.3, "JSON Unicode
/// Encoding").
void sockjs_quote(struct buffer *out, struct slice text);
/// As above, and < too: for what stands inside a <script> element.
void sockjs_quote_script(struct buffer *out, struct slice text);
#endif
