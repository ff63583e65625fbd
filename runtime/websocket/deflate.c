#include <assert.h>
#include <limits.h>
#include <zlib.h>
#include "base/memory.h"
#include "websocket/deflate.h"

static z_stream *deflater(void) {
    static z_stream stream;
    static bool ready;
    if (!ready) {
        int result = deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
        assert(result == Z_OK);
        (void)result;
        ready = true;
    } else {
        deflateReset(&stream);
    }
    return &stream;
}

static z_stream *inflater(void) {
    static z_stream stream;
    static bool ready;
    if (!ready) {
        int result = inflateInit2(&stream, -15);
        assert(result == Z_OK);
        (void)result;
        ready = true;
    } else {
        inflateReset(&stream);
    }
    return &stream;
}

void websocket_deflate(struct buffer *out, struct slice message) {
    assert(message.size < UINT_MAX);
    z_stream *z = deflater();
    size_t start = out->size;
    z->next_in = (Bytef *)(uintptr_t)message.data;
    z->avail_in = (uInt)message.size;
    do {
        size_t room = deflateBound(z, z->avail_in) + 16;
        z->next_out = (Bytef *)buffer_reserve(out, room);
        z->avail_out = (uInt)room;
        deflate(z, Z_SYNC_FLUSH);
        buffer_added(out, room - z->avail_out);
    } while (z->avail_out == 0);
    // A sync flush ends in an empty stored block, whose last four bytes do not travel.
    assert(out->size >= start + 4 && memcmp(out->data + out->size - 4, "\0\0\377\377", 4) == 0);
    out->size -= 4;
    if (out->size == start) buffer_append_char(out, 0); // an empty message is one empty block
}

int websocket_inflate(struct buffer *out, struct slice data, size_t limit) {
    static const char tail[4] = {0, 0, (char)0xff, (char)0xff};
    z_stream *z = inflater();
    size_t start = out->size;
    struct slice parts[2] = {data, {tail, sizeof tail}};
    for (int i = 0; i < 2; i++) {
        z->next_in = (Bytef *)(uintptr_t)parts[i].data;
        z->avail_in = (uInt)parts[i].size;
        for (;;) {
            enum { STEP = 16 * 1024 };
            z->next_out = (Bytef *)buffer_reserve(out, STEP);
            z->avail_out = STEP;
            int result = inflate(z, Z_SYNC_FLUSH);
            buffer_added(out, STEP - z->avail_out);
            if (out->size - start > limit) return 1009;
            if (result == Z_STREAM_END) {
                // A peer may end a message with a final block; what follows it starts afresh.
                if (z->avail_in == 0) return 0;
                inflateReset(z);
                continue;
            }
            if (result != Z_OK && result != Z_BUF_ERROR) return 1007;
            if (z->avail_out > 0) break;
        }
    }
    return 0;
}
