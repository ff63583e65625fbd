#include "streaming/flv.h"
#include "streaming/rtmp_chunk.h"

static bool on_message(void *context, const struct rtmp_message *message) {
    (void)context;
    struct slice rest = message->body, text;
    double number;
    for (int i = 0; i < 16 && amf_take(&rest, "code", &number, &text); i++) continue;
    if (message->type == RTMP_AUDIO || message->type == RTMP_VIDEO) {
        unsigned head;
        flv_kind(message->type, message->body);
        chunk_release(flv_frame(message->type, message->timestamp, message->body, &head));
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rtmp_reader reader;
    if (size < 1) return 0;
    size_t step = data[0] ? data[0] : 1; // how the bytes are cut is part of the input
    rtmp_reader_init(&reader, on_message, NULL);
    for (size_t at = 1; at < size; at += step) {
        size_t part = size - at < step ? size - at : step;
        if (rtmp_reader_feed(&reader, (const char *)data + at, part)) break;
    }
    rtmp_reader_free(&reader);
    return 0;
}
