#include "streaming/flv.h"
#include "websocket/frame.h"

static char *put(char *at, uint32_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--) *at++ = (char)(value >> (8 * i));
    return at;
}

void flv_header(char out[FLV_HEADER_SIZE], bool audio, bool video) {
    memcpy(out, "FLV\1", 4);
    out[4] = (char)((audio ? 4 : 0) | (video ? 1 : 0));
    put(put(out + 5, 9, 4), 0, 4);
}

struct chunk *flv_frame(int type, uint32_t timestamp, struct slice body, unsigned *head) {
    char frame[WEBSOCKET_HEAD_MAX];
    size_t size = body.size + FLV_TAG_EXTRA;
    *head = (unsigned)websocket_head_write(frame, WEBSOCKET_BINARY, false, size);
    struct chunk *tag = chunk_new(NULL, *head + size);
    memcpy(tag->data, frame, *head);
    char *at = tag->data + *head;
    *at++ = (char)type;
    at = put(at, (uint32_t)body.size, 3);
    at = put(at, timestamp & 0xffffff, 3); // the lower 24 bits, then the upper 8
    *at++ = (char)(timestamp >> 24);
    at = put(at, 0, 3);
    if (body.size > 0) memcpy(at, body.data, body.size);
    put(at + body.size, (uint32_t)body.size + 11, 4);
    return tag;
}

enum flv_kind flv_kind(int type, struct slice body) {
    if (body.size < 2) return FLV_OTHER;
    unsigned char first = (unsigned char)body.data[0], second = (unsigned char)body.data[1];
    if (type == FLV_VIDEO) {
        bool avc = (first & 0x0f) == 7;
        if (avc && second == 0) return FLV_VIDEO_CONFIG;
        return first >> 4 == 1 ? FLV_VIDEO_KEY : FLV_VIDEO_INTER;
    }
    if (type == FLV_AUDIO) {
        bool aac = first >> 4 == 10;
        return aac && second == 0 ? FLV_AUDIO_CONFIG : FLV_AUDIO_FRAME;
    }
    return FLV_OTHER;
}
