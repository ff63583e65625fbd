#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include "base/random.h"
#include "base/utf8.h"
#include "http/response.h"
#include "websocket/connection.h"
#include "websocket/deflate.h"
#include "websocket/frame.h"
#include "websocket/handshake.h"

enum state {
    OPEN,
    CLOSING, ///< our close frame is out, we wait for the peer's
    FAILED,  ///< as CLOSING, but the peer's bytes mean nothing any more
    DONE,    ///< the socket is closing
};

enum {
    CLOSE_WAIT_MS = 5000,
    // After a protocol error we close soon, but not at once: with unread input in the kernel,
    // close() would send RST, and the peer would never see why.
    FAIL_WAIT_MS = 250,
    STALL_FROM = 16 * 1024, ///< queued bytes from which we watch for progress
    USER_TIMEOUT_MS = 20000,
};

/// Bytes that came behind the request's head, until the end of the tick.
struct early {
    struct deferred deferred;
    struct websocket *ws;
    struct buffer bytes;
};

struct websocket {
    struct socket *socket;
    const struct websocket_events *events;
    void *data;
    struct timer timer;
    uint64_t last_seen; ///< loop time of the last byte from the peer
    uint64_t written;   ///< bytes given to the socket
    uint64_t progress;  ///< how many of them had gone at the last look
    uint64_t frame_size, frame_done;
    struct buffer message; ///< the payload so far of a message that is still incomplete
    struct buffer control; ///< likewise of a control frame
    struct early *early;
    char *reason;
    uint32_t message_limit, queue_limit, ping_ms, pong_ms, stall_ms;
    uint32_t control_second;
    uint16_t control_rate, control_count;
    uint16_t code;
    struct utf8_state utf8;
    uint8_t mask[4];
    uint8_t head[WEBSOCKET_HEAD_MAX], head_size;
    uint8_t opcode;         ///< of the frame
    uint8_t message_opcode; ///< of the message; 0 if none has begun
    uint8_t state;
    bool in_frame, fin, deflated, takes_deflated, pinged, watching, closed_by_peer;
};

static void on_data(struct socket *socket, const char *data, size_t size);
static void on_end(struct socket *socket);
static void on_drain(struct socket *socket);
static void on_close(struct socket *socket, int error);
static const struct socket_events socket_events = {
    .on_data = on_data, .on_end = on_end, .on_drain = on_drain, .on_close = on_close};

static struct websocket *of(struct socket *socket) { return http_upgrade_data(socket); }

void *websocket_data(const struct websocket *ws) { return ws->data; }
void websocket_set_data(struct websocket *ws, void *data) { ws->data = data; }
void websocket_set_events(struct websocket *ws, const struct websocket_events *events) {
    ws->events = events;
}
bool websocket_deflates(const struct websocket *ws) { return ws->takes_deflated; }
size_t websocket_queued(const struct websocket *ws) { return socket_queued(ws->socket); }
void websocket_flush(struct websocket *ws) { socket_flush(ws->socket); }
uint64_t websocket_sent(const struct websocket *ws) {
    return ws->written - socket_queued(ws->socket);
}
bool websocket_closing(const struct websocket *ws) { return ws->state != OPEN; }
void websocket_pause(struct websocket *ws) { socket_pause(ws->socket); }
void websocket_resume(struct websocket *ws) { socket_resume(ws->socket); }

// ---- time ------------------------------------------------------------------------------------

static void schedule(struct websocket *ws, uint64_t after) {
    if (ws->watching && after > ws->stall_ms) after = ws->stall_ms;
    loop_timer_start(ws->socket->loop, &ws->timer, after);
}

static void give_up(struct websocket *ws, int error) {
    if (ws->state == OPEN) ws->code = 1006;
    ws->state = DONE;
    loop_timer_stop(ws->socket->loop, &ws->timer);
    socket_close_reset(ws->socket, error);
}

static void send_control(struct websocket *ws, uint8_t opcode, struct slice payload) {
    char head[WEBSOCKET_HEAD_MAX];
    size_t size = websocket_head_write(head, opcode, false, payload.size);
    socket_write(ws->socket, head, size);
    socket_write_slice(ws->socket, payload);
    ws->written += size + payload.size;
}

static void on_timer(struct timer *timer) {
    struct websocket *ws = container_of(timer, struct websocket, timer);
    if (ws->state != OPEN) {
        bool failed = ws->state == FAILED && socket_queued(ws->socket) == 0;
        ws->state = DONE;
        if (failed) socket_close(ws->socket);
        else socket_close_reset(ws->socket, -ETIMEDOUT);
        return;
    }
    if (ws->watching) {
        uint64_t sent = websocket_sent(ws);
        if (socket_queued(ws->socket) == 0) {
            ws->watching = false;
        } else if (sent == ws->progress) {
            give_up(ws, -ETIMEDOUT);
            return;
        }
        ws->progress = sent;
    }
    uint64_t silence = loop_now(ws->socket->loop) - ws->last_seen;
    if (ws->pinged) {
        if (silence >= (uint64_t)ws->ping_ms + ws->pong_ms) {
            give_up(ws, -ETIMEDOUT);
            return;
        }
        schedule(ws, (uint64_t)ws->ping_ms + ws->pong_ms - silence);
    } else if (silence >= ws->ping_ms) {
        ws->pinged = true;
        send_control(ws, WEBSOCKET_PING, (struct slice){0});
        schedule(ws, ws->pong_ms);
    } else {
        schedule(ws, ws->ping_ms - silence);
    }
}

// ---- closing ---------------------------------------------------------------------------------

static void send_close(struct websocket *ws, int code, struct slice reason) {
    char payload[WEBSOCKET_CONTROL_MAX];
    size_t size = 0;
    if (code != 1005) {
        payload[0] = (char)(code >> 8);
        payload[1] = (char)code;
        size = 2;
        if (reason.size > sizeof payload - 2) reason.size = sizeof payload - 2;
        while (reason.size > 0 && !utf8_valid(reason)) reason.size--; // not in mid-character
        if (reason.size > 0) memcpy(payload + 2, reason.data, reason.size);
        size += reason.size;
    }
    send_control(ws, WEBSOCKET_CLOSE, slice_make(payload, size));
}

static void begin_close(struct websocket *ws, enum state state, int code, struct slice reason,
                        unsigned wait_ms) {
    send_close(ws, code, reason);
    ws->state = (uint8_t)state;
    ws->code = (uint16_t)code;
    memory_free(ws->reason);
    ws->reason = memory_alloc(reason.size + 1);
    if (reason.size > 0) memcpy(ws->reason, reason.data, reason.size);
    ws->reason[reason.size] = 0;
    buffer_free(&ws->message);
    ws->watching = false;
    loop_timer_start(ws->socket->loop, &ws->timer, wait_ms);
    if (ws->socket->readable_paused) socket_resume(ws->socket);
}

void websocket_close(struct websocket *ws, int code, const char *reason) {
    assert(websocket_close_code_valid(code));
    if (ws->state == OPEN) begin_close(ws, CLOSING, code, slice_of(reason), CLOSE_WAIT_MS);
}

void websocket_abort(struct websocket *ws) {
    if (ws->state != DONE) give_up(ws, -ECONNABORTED);
}

static void fail(struct websocket *ws, int code, const char *reason) {
    if (ws->state == OPEN) {
        begin_close(ws, FAILED, code, slice_of(reason), FAIL_WAIT_MS);
    } else if (ws->state == CLOSING) { // said goodbye already; its broken frame changes nothing
        ws->state = FAILED;
        loop_timer_start(ws->socket->loop, &ws->timer, FAIL_WAIT_MS);
    }
}

static void finish(struct websocket *ws) {
    ws->state = DONE;
    // A peer that has stopped reading must not keep the socket: the queue has this long to go.
    loop_timer_start(ws->socket->loop, &ws->timer, CLOSE_WAIT_MS);
    socket_close(ws->socket);
}

static void peer_closed(struct websocket *ws, struct slice payload) {
    int code = 1005;
    struct slice reason = {0};
    if (payload.size == 1) {
        fail(ws, 1002, "a close frame of one byte");
        return;
    }
    if (payload.size >= 2) {
        code = (uint8_t)payload.data[0] << 8 | (uint8_t)payload.data[1];
        reason = slice_sub(payload, 2, payload.size);
        if (!websocket_close_code_valid(code)) {
            fail(ws, 1002, "a close code that may not be sent");
            return;
        }
        if (!utf8_valid(reason)) {
            fail(ws, 1007, "a close reason that is not UTF-8");
            return;
        }
    }
    ws->closed_by_peer = true;
    if (ws->state == OPEN) begin_close(ws, CLOSING, code, reason, CLOSE_WAIT_MS);
    finish(ws);
}

static void on_end(struct socket *socket) {
    struct websocket *ws = of(socket);
    if (ws->state == OPEN) ws->code = 1006;
    if (ws->state != DONE) finish(ws);
}

static void on_drain(struct socket *socket) {
    struct websocket *ws = of(socket);
    if (ws->state == OPEN && ws->events->on_drain) ws->events->on_drain(ws);
}

static void on_close(struct socket *socket, int error) {
    (void)error;
    struct websocket *ws = of(socket);
    int code = ws->state == OPEN || ws->code == 0 ? 1006 : ws->code;
    loop_timer_stop(socket->loop, &ws->timer);
    if (ws->early) {
        loop_undefer(&ws->early->deferred);
        buffer_free(&ws->early->bytes);
        memory_free(ws->early);
        ws->early = NULL;
    }
    ws->state = DONE;
    ws->events->on_close(ws, code, slice_of(ws->reason));
    buffer_free(&ws->message);
    buffer_free(&ws->control);
    memory_free(ws->reason);
    memory_free(ws);
    http_upgrade_free(socket);
}

// ---- receiving -------------------------------------------------------------------------------

static void deliver(struct websocket *ws, struct slice payload) {
    bool binary = ws->message_opcode == WEBSOCKET_BINARY;
    bool deflated = ws->deflated;
    ws->message_opcode = 0;
    ws->deflated = false;
    if (deflated) {
        struct buffer inflated = {0};
        int code = websocket_inflate(&inflated, payload, ws->message_limit);
        if (code == 0 && !binary && !utf8_valid(buffer_slice(&inflated))) code = 1007;
        if (code != 0) fail(ws, code, code == 1009 ? "message too big" : "broken message");
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
        fail(ws, 1008, "too many control frames");
        return;
    }
    if (ws->opcode == WEBSOCKET_CLOSE) {
        peer_closed(ws, payload);
    } else if (ws->opcode == WEBSOCKET_PING && ws->state == OPEN) {
        if (socket_queued(ws->socket) > ws->queue_limit) give_up(ws, -ENOBUFS);
        else send_control(ws, WEBSOCKET_PONG, payload);
    }
}

/// A frame's head is complete. False if it broke a rule.
static bool begin_frame(struct websocket *ws, const struct websocket_head *head) {
    bool control = head->opcode & 8, first = head->opcode != WEBSOCKET_CONTINUATION;
    if (!head->masked) {
        fail(ws, 1002, "an unmasked frame");
        return false;
    }
    bool rsv1 = head->rsv & 4;
    if ((head->rsv & 3) || (rsv1 && (!ws->takes_deflated || control || !first))) {
        fail(ws, 1002, "a reserved bit is set");
        return false;
    }
    if (!control) {
        if (first == (ws->message_opcode != 0)) {
            fail(ws, 1002, first ? "a message inside another" : "a continuation of nothing");
            return false;
        }
        if (head->size > ws->message_limit || ws->message.size + head->size > ws->message_limit) {
            fail(ws, 1009, "message too big");
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
        if (!whole) buffer_append_slice(&ws->control, part);
        if (complete) {
            on_control(ws, whole ? part : buffer_slice(&ws->control));
            buffer_clear(&ws->control, 0);
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
        fail(ws, 1007, "text that is not UTF-8");
        return take;
    }
    if (last && whole && ws->message.size == 0) {
        deliver(ws, part);
        return take;
    }
    buffer_append_slice(&ws->message, part);
    if (last) {
        struct buffer message = ws->message;
        ws->message = (struct buffer){0};
        deliver(ws, buffer_slice(&message));
        buffer_free(&message);
    }
    return take;
}

static void feed(struct websocket *ws, char *data, size_t size) {
    ws->last_seen = loop_now(ws->socket->loop);
    ws->pinged = false;
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
            fail(ws, 1002, "a malformed frame");
            return;
        }
        if (!begin_frame(ws, &head)) return;
    }
}

static void feed_early(struct websocket *ws) {
    struct early *early = ws->early;
    ws->early = NULL;
    loop_undefer(&early->deferred);
    feed(ws, early->bytes.data, early->bytes.size);
    buffer_free(&early->bytes);
    memory_free(early);
}

static void on_early(struct deferred *deferred) {
    feed_early(container_of(deferred, struct early, deferred)->ws);
}

static void on_data(struct socket *socket, const char *data, size_t size) {
    struct websocket *ws = of(socket);
    if (ws->early) feed_early(ws);
    // The bytes lie in the loop's read buffer, which is nobody else's until we return: unmasking
    // them where they are saves the copy.
    feed(ws, (char *)(uintptr_t)data, size);
}

// ---- sending ---------------------------------------------------------------------------------

/// Whether `size` more bytes may be queued; accounts for them.
static bool admit(struct websocket *ws, size_t size) {
    if (ws->state != OPEN) return false;
    size_t queued = socket_queued(ws->socket);
    if (queued > 0 && queued + size > ws->queue_limit) {
        give_up(ws, -ENOBUFS);
        return false;
    }
    ws->written += size;
    if (queued >= STALL_FROM && !ws->watching) {
        ws->watching = true;
        ws->progress = ws->written - queued - size;
        schedule(ws, ws->stall_ms);
    }
    return true;
}

size_t websocket_send(struct websocket *ws, struct slice message, bool binary) {
    uint8_t opcode = binary ? WEBSOCKET_BINARY : WEBSOCKET_TEXT;
    if (ws->takes_deflated && message.size >= WEBSOCKET_DEFLATE_FROM) {
        struct chunk *frame = websocket_frame_deflated(message, opcode);
        if (frame) {
            size_t queued = websocket_send_frame(ws, frame);
            chunk_release(frame);
            return queued;
        }
    }
    char head[WEBSOCKET_HEAD_MAX];
    size_t size = websocket_head_write(head, opcode, false, message.size);
    if (!admit(ws, size + message.size)) return 0;
    socket_write(ws->socket, head, size);
    socket_write_slice(ws->socket, message);
    return socket_queued(ws->socket);
}

size_t websocket_send_chunk(struct websocket *ws, struct chunk *payload, bool binary) {
    char head[WEBSOCKET_HEAD_MAX];
    size_t size = websocket_head_write(head, binary ? WEBSOCKET_BINARY : WEBSOCKET_TEXT, false,
                                       payload->size);
    if (!admit(ws, size + payload->size)) return 0;
    socket_write(ws->socket, head, size);
    socket_write_chunk(ws->socket, payload);
    return socket_queued(ws->socket);
}

size_t websocket_send_frame(struct websocket *ws, struct chunk *frame) {
    if (!admit(ws, frame->size)) return 0;
    socket_write_chunk(ws->socket, frame);
    return socket_queued(ws->socket);
}

// ---- accepting -------------------------------------------------------------------------------

static uint32_t or_default(uint64_t value, uint32_t otherwise) {
    if (value == 0) return otherwise;
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static void configure(struct websocket *ws, const struct websocket_options *options) {
    ws->message_limit = or_default(options->message_limit, 64 * 1024);
    ws->queue_limit = or_default(options->queue_limit, 256 * 1024);
    ws->ping_ms = or_default(options->ping_ms, 25000);
    ws->pong_ms = or_default(options->pong_ms, 10000);
    ws->stall_ms = or_default(options->stall_ms, 10000);
    uint32_t rate = or_default(options->control_rate, 200);
    ws->control_rate = rate < UINT16_MAX ? (uint16_t)rate : UINT16_MAX - 1;
    int fd = ws->socket->fd, on = 1, timeout = USER_TIMEOUT_MS;
    int buffer = options->send_buffer ? options->send_buffer : 64 * 1024;
    // On a unix socket (behind nginx) the TCP options do not exist, and nothing is lost.
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

struct websocket *websocket_accept(struct http_request *request,
                                   const struct websocket_options *options,
                                   const struct websocket_events *events, void *data) {
    struct websocket_handshake handshake;
    websocket_handshake_check(request, options->deflate, options->protocols, &handshake);
    if (handshake.status != 101) {
        if (handshake.status == 405)
            http_response_header(request, SLICE("allow"), SLICE("GET"));
        if (handshake.status == 426) {
            http_response_header(request, SLICE("upgrade"), SLICE("websocket"));
            http_response_header(request, SLICE("sec-websocket-version"), SLICE("13"));
        }
        struct slice problem = slice_of(handshake.problem);
        http_respond(request, handshake.status,
                     problem.size > 0 ? "text/plain; charset=UTF-8" : NULL, problem);
        return NULL;
    }
    struct buffer answer = {0};
    websocket_handshake_answer(request, &handshake, &answer);
    struct websocket *ws = memory_zero(1, sizeof *ws);
    ws->events = events;
    ws->data = data;
    ws->takes_deflated = handshake.deflate;
    timer_init(&ws->timer, on_timer);
    struct slice early = {0};
    ws->socket = http_request_upgrade(request, &socket_events, ws, &early);
    configure(ws, options);
    socket_write_slice(ws->socket, buffer_slice(&answer));
    buffer_free(&answer);
    // The pings of many connections that came at once are spread out from the first one on.
    ws->last_seen = loop_now(ws->socket->loop) - random_below(ws->ping_ms / 2 + 1);
    if (early.size > 0) {
        ws->early = memory_zero(1, sizeof *ws->early);
        ws->early->ws = ws;
        deferred_init(&ws->early->deferred, on_early);
        buffer_append_slice(&ws->early->bytes, early);
        loop_defer(ws->socket->loop, &ws->early->deferred);
    }
    http_request_release(request);
    schedule(ws, ws->ping_ms / 2);
    return ws;
}
