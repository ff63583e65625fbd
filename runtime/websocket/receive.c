#include <errno.h>
#include "base/memory.h"
#include "websocket/deflate.h"
#include "websocket/internal.h"

static struct websocket_parts *parts_of(struct websocket *ws) {
    if (!ws->parts) ws->parts = memory_zero(1, sizeof *ws->parts);
    return ws->parts;
}

static size_t held(const struct websocket *ws) { return ws->parts ? ws->parts->message.size : 0; }

void websocket_drop_parts(struct websocket *ws) {
    if (!ws->parts) return;
    buffer_free(&ws->parts->message);
    buffer_free(&ws->parts->control);
    memory_free(ws->parts);
    ws->parts = NULL;
}

static void deliver(struct websocket *ws, struct slice payload) {
    bool binary = ws->message_opcode == WEBSOCKET_BINARY;
    bool deflated = ws->deflated;
    ws->message_opcode = 0;
    ws->deflated = false;
    if (deflated) {
        struct buffer inflated = {0};
        int code = websocket_inflate(&inflated, payload, ws->message_limit);
        if (code == 0 && !binary && !utf8_valid(buffer_slice(&inflated))) code = 1007;
        if (code != 0) websocket_fail(ws, code, code == 1009 ? "message too big" : "broken message");
        else ws->events->on_message(ws, buffer_slice(&inflated), binary);
        buffer_free(&inflated);
    } else {
        ws->events->on_message(ws, payload, binary);
    }
}

static void on_control(struct websocket *ws, struct slice payload) {
    uint32_t second = (uint32_t)(loop_now(ws->socket->loop) / 1000);
    if (second != ws->control_second) ws->control_second = second, ws->control_count = 0;
    if (++ws->control_count > ws->control_rate) {
        websocket_fail(ws, 1008, "too many control frames");
        return;
    }
    if (ws->opcode == WEBSOCKET_CLOSE) {
        websocket_peer_closed(ws, payload);
    } else if (ws->opcode == WEBSOCKET_PING && ws->state == OPEN) {
        if (socket_queued(ws->socket) > ws->queue_limit) websocket_give_up(ws, -ENOBUFS);
        else websocket_send_control(ws, WEBSOCKET_PONG, payload);
    }
}

/// A frame's head is complete. False if it broke a rule.
static bool begin_frame(struct websocket *ws, const struct websocket_head *head) {
    bool control = head->opcode & 8, first = head->opcode != WEBSOCKET_CONTINUATION;
    if (!head->masked) {
        websocket_fail(ws, 1002, "an unmasked frame");
        return false;
    }
    bool rsv1 = head->rsv & 4;
    if ((head->rsv & 3) || (rsv1 && (!ws->takes_deflated || control || !first))) {
        websocket_fail(ws, 1002, "a reserved bit is set");
        return false;
    }
    if (!control) {
        if (first == (ws->message_opcode != 0)) {
            websocket_fail(ws, 1002, first ? "a message inside another" : "a continuation of nothing");
            return false;
        }
        if (head->size > ws->message_limit || held(ws) + head->size > ws->message_limit) {
            websocket_fail(ws, 1009, "message too big");
            return false;
        }
        if (first) {
            ws->message_opcode = head->opcode;
            ws->deflated = rsv1;
            ws->utf8 = (struct utf8_state){0};
        }
    }
    ws->in_frame = true;
    ws->opcode = head->opcode;
    ws->fin = head->fin;
    ws->frame_size = head->size;
    ws->frame_done = 0;
    memcpy(ws->mask, head->mask, 4);
    return true;
}

/// Takes payload of the present frame from the front of `data`; returns how much.
static size_t feed_payload(struct websocket *ws, char *data, size_t size) {
    uint64_t left = ws->frame_size - ws->frame_done;
    size_t take = size < left ? size : (size_t)left;
    if (take > 0) websocket_mask(data, take, ws->mask, ws->frame_done);
    struct slice part = {data, take};
    bool whole = take == ws->frame_size && ws->frame_done == 0;
    ws->frame_done += take;
    bool complete = ws->frame_done == ws->frame_size;
    if (complete) ws->in_frame = false;
    if (ws->opcode & 8) {
        if (!whole) buffer_append_slice(&parts_of(ws)->control, part);
        if (complete) {
            struct buffer kept = {0};
            if (!whole) kept = ws->parts->control, ws->parts->control = (struct buffer){0};
            on_control(ws, whole ? part : buffer_slice(&kept));
            buffer_free(&kept);
        }
        return take;
    }
    if (ws->state != OPEN) { // we have said goodbye: what still comes is not for the owner
        if (complete && ws->fin) ws->message_opcode = 0;
        return take;
    }
    bool text = ws->message_opcode == WEBSOCKET_TEXT && !ws->deflated;
    bool last = complete && ws->fin;
    if (text && (!utf8_feed(&ws->utf8, data, take) || (last && !utf8_done(&ws->utf8)))) {
        websocket_fail(ws, 1007, "text that is not UTF-8");
        return take;
    }
    if (last && whole && held(ws) == 0) {
        deliver(ws, part);
        return take;
    }
    buffer_append_slice(&parts_of(ws)->message, part);
    if (last) {
        struct buffer message = ws->parts->message;
        ws->parts->message = (struct buffer){0};
        websocket_drop_parts(ws);
        deliver(ws, buffer_slice(&message));
        buffer_free(&message);
    }
    return take;
}

static void feed_old(struct websocket *ws, struct slice in) {
    enum hixie76_event event = HIXIE76_KEYED;
    while (ws->state <= CLOSING && event != HIXIE76_MORE) {
        struct buffer out = {0};
        event = hixie76_take(ws->old, &in, ws->message_limit, &out);
        ws->written += out.size;
        socket_write_slice(ws->socket, buffer_slice(&out));
        buffer_free(&out);
        if (event == HIXIE76_GOODBYE) {
            websocket_peer_closed(ws, (struct slice){0});
        } else if (event == HIXIE76_BROKEN) {
            websocket_fail(ws, 1002, "a malformed frame");
        } else if (event == HIXIE76_TEXT) {
            struct buffer text = ws->old->text;
            ws->old->text = (struct buffer){0};
            if (!utf8_valid(buffer_slice(&text))) websocket_fail(ws, 1007, "text that is not UTF-8");
            else if (ws->state == OPEN) ws->events->on_message(ws, buffer_slice(&text), false);
            buffer_free(&text);
        }
    }
}

void websocket_feed(struct websocket *ws, char *data, size_t size) {
    ws->last_seen = loop_now(ws->socket->loop);
    ws->pinged = false;
    if (ws->old) {
        feed_old(ws, slice_make(data, size));
        return;
    }
    while (ws->state == OPEN || ws->state == CLOSING) {
        if (ws->in_frame) {
            size_t used = feed_payload(ws, data, size);
            data += used;
            size -= used;
            if (ws->in_frame) return;
            continue;
        }
        if (size == 0) return;
        struct websocket_head head;
        int used = 0;
        if (ws->head_size == 0) {
            used = websocket_head_read(slice_make(data, size), &head);
            if (used == 0) { // fewer than 14 bytes, or the head would be complete
                memcpy(ws->head, data, size);
                ws->head_size = (uint8_t)size;
                return;
            }
            if (used > 0) data += used, size -= (size_t)used;
        } else {
            while (used == 0 && size > 0) {
                ws->head[ws->head_size++] = (uint8_t)*data++;
                size--;
                used = websocket_head_read(slice_make(ws->head, ws->head_size), &head);
            }
            if (used == 0) return;
            ws->head_size = 0;
        }
        if (used < 0) {
            websocket_fail(ws, 1002, "a malformed frame");
            return;
        }
        if (!begin_frame(ws, &head)) return;
    }
}

