#include "websocket/hixie76.h"
#include "base/md5.h"
#include "base/memory.h"

enum { HELD_MAX = 64 * 1024 };

/// The digits of a key, divided by its number of spaces.
static bool key_number(struct slice key, uint32_t *number) {
    uint64_t digits = 0;
    uint32_t spaces = 0;
    for (size_t i = 0; i < key.size; i++) {
        char c = key.data[i];
        if (c == ' ') spaces++;
        else if (c >= '0' && c <= '9') digits = digits * 10 + (uint64_t)(c - '0');
        if (digits > UINT32_MAX) return false;
    }
    if (spaces == 0 || digits % spaces != 0) return false;
    *number = (uint32_t)(digits / spaces);
    return true;
}

struct hixie76 *hixie76_new(const struct http_request *request) {
    struct hixie76 old = {0};
    if (!slice_equal(request->method, SLICE("GET")) || request->http10 || request->has_body ||
        !slice_equal_fold(http_request_header(request, "upgrade"), SLICE("websocket")) ||
        !slice_equal_fold(http_request_header(request, "connection"), SLICE("upgrade")) ||
        !key_number(http_request_header(request, "sec-websocket-key1"), &old.numbers[0]) ||
        !key_number(http_request_header(request, "sec-websocket-key2"), &old.numbers[1]))
        return NULL;
    struct hixie76 *kept = memory_alloc(sizeof *kept);
    *kept = old;
    return kept;
}

void hixie76_free(struct hixie76 *old) {
    if (!old) return;
    buffer_free(&old->text);
    buffer_free(&old->held);
    memory_free(old);
}

bool hixie76_keyed(const struct hixie76 *old) {
    return old->challenged == sizeof old->challenge;
}

void hixie76_answer(const struct http_request *request, struct buffer *out) {
    buffer_append_text(out, "HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Origin: ");
    buffer_append_slice(out, http_request_header(request, "origin"));
    buffer_append_text(out, request->secure ? "\r\nSec-WebSocket-Location: wss://"
                                            : "\r\nSec-WebSocket-Location: ws://");
    buffer_append_slice(out, request->host);
    buffer_append_slice(out, request->target);
    struct slice protocol = http_request_header(request, "sec-websocket-protocol");
    if (protocol.size > 0) {
        buffer_append_text(out, "\r\nSec-WebSocket-Protocol: ");
        buffer_append_slice(out, protocol);
    }
    buffer_append_text(out, "\r\n\r\n");
}

static void answer_challenge(struct hixie76 *old, struct buffer *out) {
    unsigned char text[16], sum[MD5_SIZE];
    for (size_t i = 0; i < 8; i++) text[i] = (unsigned char)(old->numbers[i / 4] >> (24 - 8 * (i % 4)));
    memcpy(text + 8, old->challenge, 8);
    md5(sum, text, sizeof text);
    buffer_append(out, sum, sizeof sum);
    buffer_append_slice(out, buffer_slice(&old->held));
    buffer_free(&old->held);
}

enum hixie76_event hixie76_take(struct hixie76 *old, struct slice *in, size_t limit,
                                struct buffer *out) {
    while (in->size > 0) {
        uint8_t c = (uint8_t)in->data[0];
        if (old->in_text) {
            size_t end = slice_find(*in, (char)0xff, 0);
            if (old->text.size + end > limit) return HIXIE76_BROKEN;
            buffer_append_slice(&old->text, slice_sub(*in, 0, end));
            bool whole = end < in->size;
            *in = slice_sub(*in, end + (whole ? 1 : 0), in->size);
            if (!whole) return HIXIE76_MORE;
            old->in_text = false;
            return HIXIE76_TEXT;
        }
        *in = slice_sub(*in, 1, in->size);
        if (old->challenged < sizeof old->challenge) {
            old->challenge[old->challenged++] = c;
            if (old->challenged < sizeof old->challenge) continue;
            answer_challenge(old, out);
            return HIXIE76_KEYED;
        }
        if (old->in_close) return c == 0 ? HIXIE76_GOODBYE : HIXIE76_BROKEN;
        if (c == 0) old->in_text = true;
        else if (c == 0xff) old->in_close = true;
        else return HIXIE76_BROKEN; // frames with a length were never used by any client
    }
    return HIXIE76_MORE;
}

static struct buffer *target(struct hixie76 *old, struct buffer *out) {
    return hixie76_keyed(old) ? out : &old->held;
}

void hixie76_write(struct hixie76 *old, struct slice text, struct buffer *out) {
    struct buffer *to = target(old, out);
    if (to == &old->held && to->size + text.size > HELD_MAX) return;
    buffer_append_char(to, 0);
    buffer_append_slice(to, text);
    buffer_append_char(to, (char)0xff);
}

void hixie76_write_goodbye(struct hixie76 *old, struct buffer *out) {
    buffer_append(target(old, out), "\xff", 2);
}
