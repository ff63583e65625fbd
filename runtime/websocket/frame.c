#include "websocket/deflate.h"
#include "websocket/frame.h"

int websocket_head_read(struct slice s, struct websocket_head *head) {
    const uint8_t *p = (const uint8_t *)s.data;
    if (s.size < 2) return 0;
    head->fin = p[0] & 0x80;
    head->rsv = (p[0] >> 4) & 7;
    head->opcode = p[0] & 15;
    head->masked = p[1] & 0x80;
    bool control = head->opcode & 8;
    if ((head->opcode & 7) > 2) return -1;
    uint64_t size = p[1] & 127;
    if (control && (!head->fin || size > WEBSOCKET_CONTROL_MAX)) return -1;
    size_t used = 2, extra = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (s.size < used + extra) return 0;
    if (extra > 0) {
        size = 0;
        for (size_t i = 0; i < extra; i++) size = size << 8 | p[2 + i];
        if (size < (extra == 2 ? 126 : 65536) || size >> 63) return -1;
        used += extra;
    }
    head->size = size;
    if (head->masked) {
        if (s.size < used + 4) return 0;
        memcpy(head->mask, p + used, 4);
        used += 4;
    }
    return (int)used;
}

size_t websocket_head_write(char out[WEBSOCKET_HEAD_MAX], uint8_t opcode, bool rsv1,
                            uint64_t size) {
    out[0] = (char)(0x80 | (rsv1 ? 0x40 : 0) | opcode);
    size_t extra = size < 126 ? 0 : size < 65536 ? 2 : 8;
    out[1] = (char)(extra == 0 ? size : extra == 2 ? 126 : 127);
    for (size_t i = 0; i < extra; i++) out[2 + i] = (char)(size >> (8 * (extra - 1 - i)));
    return 2 + extra;
}

void websocket_mask(char *data, size_t size, const uint8_t mask[4], uint64_t offset) {
    uint8_t turned[8];
    for (int i = 0; i < 8; i++) turned[i] = mask[(offset + (unsigned)i) & 3];
    uint64_t wide;
    memcpy(&wide, turned, 8);
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < size; i++) data[i] = (char)((uint8_t)data[i] ^ turned[i & 7]);
}

bool websocket_close_code_valid(int code) {
    if (code >= 3000 && code <= 4999) return true;
    return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

struct chunk *websocket_frame_new(struct slice payload, uint8_t opcode) {
    char head[WEBSOCKET_HEAD_MAX];
    size_t size = websocket_head_write(head, opcode, false, payload.size);
    struct chunk *frame = chunk_new(NULL, size + payload.size);
    memcpy(frame->data, head, size);
    if (payload.size > 0) memcpy(frame->data + size, payload.data, payload.size);
    return frame;
}

struct chunk *websocket_frame_deflated(struct slice payload, uint8_t opcode) {
    if (payload.size < WEBSOCKET_DEFLATE_FROM) return NULL;
    struct buffer deflated = {0};
    websocket_deflate(&deflated, payload);
    struct chunk *frame = NULL;
    if (deflated.size < payload.size) {
        char head[WEBSOCKET_HEAD_MAX];
        size_t size = websocket_head_write(head, opcode, true, deflated.size);
        frame = chunk_new(NULL, size + deflated.size);
        memcpy(frame->data, head, size);
        memcpy(frame->data + size, deflated.data, deflated.size);
    }
    buffer_free(&deflated);
    return frame;
}
