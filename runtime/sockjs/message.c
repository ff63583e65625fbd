#include <stdio.h>
#include "base/memory.h"
#include "base/utf8.h"
#include "sockjs/message.h"
#include "websocket/frame.h"

struct sockjs_message *sockjs_message_new(struct slice text) {
    struct sockjs_message *message = memory_zero(1, sizeof *message);
    message->references = 1;
    message->text = chunk_new(text.data, text.size);
    return message;
}

void sockjs_message_release(struct sockjs_message *message) {
    if (!message || --message->references > 0) return;
    chunk_release(message->text);
    chunk_release(message->raw);
    chunk_release(message->raw_deflated);
    chunk_release(message->framed);
    chunk_release(message->framed_deflated);
    chunk_release(message->quoted);
    memory_free(message);
}

static bool mangled(int32_t c) {
    return (c >= 0x200c && c <= 0x200f) || (c >= 0x2028 && c <= 0x202f) ||
           (c >= 0x2060 && c <= 0x206f) || (c >= 0xfff0 && c <= 0xffff);
}

static void quote(struct buffer *out, struct slice text, bool script) {
    buffer_append_char(out, '"');
    size_t plain = 0; // start of what needs no escape
    for (size_t i = 0; i < text.size;) {
        unsigned char c = (unsigned char)text.data[i];
        size_t next = i + 1;
        char escape[8];
        int size = 0;
        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f || (script && c == '<')) {
            static const char from[] = "\b\f\n\r\t\"\\", to[] = "bfnrt\"\\";
            const char *at = c ? strchr(from, c) : NULL;
            if (at) escape[0] = '\\', escape[1] = to[at - from], size = 2;
            else size = snprintf(escape, sizeof escape, "\\u%04x", c);
        } else if (c == 0xe2 || c == 0xef) { // the ranges above start with one of these two
            next = i;
            int32_t point = utf8_next(text, &next);
            if (mangled(point)) size = snprintf(escape, sizeof escape, "\\u%04x", (unsigned)point);
        }
        if (size > 0) {
            buffer_append(out, text.data + plain, i - plain);
            buffer_append(out, escape, (size_t)size);
            plain = next;
        }
        i = next;
    }
    if (text.size > plain) buffer_append(out, text.data + plain, text.size - plain);
    buffer_append_char(out, '"');
}

void sockjs_quote(struct buffer *out, struct slice text) { quote(out, text, false); }
void sockjs_quote_script(struct buffer *out, struct slice text) { quote(out, text, true); }

struct chunk *sockjs_message_quoted(struct sockjs_message *message) {
    if (!message->quoted) {
        struct buffer text = {0};
        sockjs_quote(&text, chunk_slice(message->text));
        message->quoted = chunk_new(text.data, text.size);
        buffer_free(&text);
    }
    return message->quoted;
}

static struct chunk *array_frame(struct sockjs_message *message, bool deflated) {
    struct buffer text = {0};
    buffer_append_text(&text, "a[");
    buffer_append_slice(&text, chunk_slice(sockjs_message_quoted(message)));
    buffer_append_char(&text, ']');
    struct chunk *frame = deflated ? websocket_frame_deflated(buffer_slice(&text), WEBSOCKET_TEXT)
                                   : websocket_frame_new(buffer_slice(&text), WEBSOCKET_TEXT);
    buffer_free(&text);
    return frame;
}

struct chunk *sockjs_message_frame(struct sockjs_message *message, bool raw, bool deflated) {
    if (raw) {
        if (deflated && !message->raw_tried) {
            message->raw_tried = true;
            message->raw_deflated =
                websocket_frame_deflated(chunk_slice(message->text), WEBSOCKET_TEXT);
        }
        if (deflated && message->raw_deflated) return message->raw_deflated;
        if (!message->raw)
            message->raw = websocket_frame_new(chunk_slice(message->text), WEBSOCKET_TEXT);
        return message->raw;
    }
    if (deflated && !message->framed_tried) {
        message->framed_tried = true;
        if (message->text->size >= WEBSOCKET_DEFLATE_FROM)
            message->framed_deflated = array_frame(message, true);
    }
    if (deflated && message->framed_deflated) return message->framed_deflated;
    if (!message->framed) message->framed = array_frame(message, false);
    return message->framed;
}

// ---- several at once -------------------------------------------------------------------------

void sockjs_bundle_add(struct sockjs_bundle *bundle, struct sockjs_message *message) {
    if (bundle->count == bundle->room) {
        bundle->room = bundle->room ? bundle->room * 2 : 4;
        bundle->messages =
            memory_resize(bundle->messages, bundle->room * sizeof *bundle->messages);
    }
    bundle->messages[bundle->count++] = message;
}

struct chunk *sockjs_bundle_frames(struct sockjs_bundle *bundle, bool raw, bool deflated) {
    struct chunk **frames = &bundle->frames[raw][deflated];
    // cppcheck-suppress identicalInnerCondition ; it was assigned in between
    if (*frames) return *frames;
    if (bundle->count == 1)
        return *frames = chunk_share(sockjs_message_frame(bundle->messages[0], raw, deflated));
    struct buffer all = {0};
    for (size_t i = 0; i < bundle->count; i++)
        buffer_append_slice(&all,
                            chunk_slice(sockjs_message_frame(bundle->messages[i], raw, deflated)));
    *frames = chunk_new(all.data, all.size);
    buffer_free(&all);
    return *frames;
}

void sockjs_bundle_clear(struct sockjs_bundle *bundle) {
    for (int i = 0; i < 4; i++) {
        chunk_release(bundle->frames[i / 2][i % 2]);
        bundle->frames[i / 2][i % 2] = NULL;
    }
    bundle->count = 0;
}

void sockjs_bundle_free(struct sockjs_bundle *bundle) {
    sockjs_bundle_clear(bundle);
    memory_free(bundle->messages);
    *bundle = (struct sockjs_bundle){0};
}
