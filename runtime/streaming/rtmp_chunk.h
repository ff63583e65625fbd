#ifndef FOOTLIGHT_STREAMING_RTMP_CHUNK_H
#define FOOTLIGHT_STREAMING_RTMP_CHUNK_H
#include "base/buffer.h"

/// RTMP's chunk stream (Adobe's RTMP 1.0, section 5.3), the reading side, and messages for writing.
/// Bytes go in as they come from the socket; whole messages come out.
struct rtmp_message {
    uint8_t type;
    uint32_t timestamp, stream;
    struct slice body; ///< valid inside the call only
};

enum {
    RTMP_SET_CHUNK_SIZE = 1,
    RTMP_ABORT = 2,
    RTMP_ACKNOWLEDGE = 3,
    RTMP_USER_CONTROL = 4,
    RTMP_WINDOW_SIZE = 5,
    RTMP_PEER_BANDWIDTH = 6,
    RTMP_AUDIO = 8,
    RTMP_VIDEO = 9,
    RTMP_DATA = 18,
    RTMP_COMMAND = 20,
    RTMP_CHUNK_STREAMS = 32,            ///< ids 2 … 33; nginx-rtmp uses seven
    RTMP_MESSAGE_LIMIT = 2 * 1024 * 1024,
};

struct rtmp_reader {
    struct buffer pending; ///< the beginning of a chunk
    uint32_t chunk_size;
    struct rtmp_chunk_stream {
        struct buffer message;
        uint32_t length, timestamp, delta, stream;
        uint8_t type;
        bool known, extended, open;
    } streams[RTMP_CHUNK_STREAMS];
    /// False ends the reading (the connection is being closed).
    bool (*on_message)(void *context, const struct rtmp_message *message);
    void *context;
};

void rtmp_reader_init(struct rtmp_reader *reader,
                      bool (*on_message)(void *context, const struct rtmp_message *message),
                      void *context);
/// NULL, or what is wrong with the peer's bytes. SET_CHUNK_SIZE and ABORT are obeyed, and passed on.
const char *rtmp_reader_feed(struct rtmp_reader *reader, const char *data, size_t size);
void rtmp_reader_free(struct rtmp_reader *reader);

/// Appends a message in chunks of 128 bytes (the size that holds until another is announced).
void rtmp_write(struct buffer *out, unsigned chunk_stream, uint8_t type, uint32_t stream,
                struct slice body);

/// AMF0, as much as a player's commands need.
void amf_number(struct buffer *out, double value);
void amf_text(struct buffer *out, struct slice text);
void amf_null(struct buffer *out);
void amf_object_begin(struct buffer *out);
void amf_member(struct buffer *out, const char *name); ///< its value follows
void amf_object_end(struct buffer *out);

/// Takes one value off *rest. Texts and numbers are handed out (*text empty, *number 0 otherwise);
/// objects and arrays are walked through, and the text of their member `wanted` (may be NULL) is
/// put into *text. False if the bytes are not AMF0 or nested too deep.
bool amf_take(struct slice *rest, const char *wanted, double *number, struct slice *text);
#endif
