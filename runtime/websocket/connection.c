#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include "base/random.h"
#include "base/utf8.h"
#include "http/response.h"
#include "websocket/handshake.h"
#include "websocket/internal.h"

enum {
    CLOSE_WAIT_MS = 5000,
    // After a protocol error we close soon, but not at once: with unread input in the kernel,
    // close() would send RST, and the peer would never see why.
    FAIL_WAIT_MS = 250,
    STALL_FROM = 16 * 1024, ///< queued bytes from which we watch for progress
    USER_TIMEOUT_MS = 20000,
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
bool websocket_deflates(const struct websocket *ws) { return ws->gets_deflated; }
size_t websocket_queued(const struct websocket *ws) { return socket_queued(ws->socket); }
void websocket_flush(struct websocket *ws) { socket_flush(ws->socket); }
uint64_t websocket_sent(const struct websocket *ws) {
    return ws->written - socket_queued(ws->socket);
}
bool websocket_old(const struct websocket *ws) { return ws->old; }
bool websocket_closing(const struct websocket *ws) { return ws->state != OPEN; }
void websocket_pause(struct websocket *ws) { socket_pause(ws->socket); }
void websocket_resume(struct websocket *ws) { socket_resume(ws->socket); }

// ---- time ------------------------------------------------------------------------------------

static void schedule(struct websocket *ws, uint64_t after) {
    if (ws->watching && after > ws->stall_ms) after = ws->stall_ms;
    loop_timer_start(ws->socket->loop, &ws->timer, after);
}

void websocket_give_up(struct websocket *ws, int error) {
    if (ws->state == OPEN) ws->code = 1006;
    ws->state = DONE;
    loop_timer_stop(ws->socket->loop, &ws->timer);
    socket_close_reset(ws->socket, error);
}

static void write_old(struct websocket *ws, struct buffer *out) {
    ws->written += out->size;
    socket_write_slice(ws->socket, buffer_slice(out));
    buffer_free(out);
}

void websocket_send_control(struct websocket *ws, uint8_t opcode, struct slice payload) {
    if (ws->old) { // knows but one control frame, the goodbye
        struct buffer out = {0};
        if (opcode == WEBSOCKET_CLOSE) hixie76_write_goodbye(ws->old, &out);
        write_old(ws, &out);
        return;
    }
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
            websocket_give_up(ws, -ETIMEDOUT);
            return;
        }
        ws->progress = sent;
    }
    uint64_t silence = loop_now(ws->socket->loop) - ws->last_seen;
    if (ws->old && hixie76_keyed(ws->old)) { // cannot be pinged
        schedule(ws, ws->ping_ms);
        return;
    }
    if (ws->pinged) {
        if (silence >= (uint64_t)ws->ping_ms + ws->pong_ms) {
            websocket_give_up(ws, -ETIMEDOUT);
            return;
        }
        schedule(ws, (uint64_t)ws->ping_ms + ws->pong_ms - silence);
    } else if (silence >= ws->ping_ms) {
        ws->pinged = true;
        websocket_send_control(ws, WEBSOCKET_PING, (struct slice){0});
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
    websocket_send_control(ws, WEBSOCKET_CLOSE, slice_make(payload, size));
}

static void begin_close(struct websocket *ws, enum websocket_state state, int code, struct slice reason,
                        unsigned wait_ms) {
    send_close(ws, code, reason);
    ws->state = (uint8_t)state;
    ws->code = (uint16_t)code;
    memory_free(ws->reason);
    ws->reason = memory_alloc(reason.size + 1);
    if (reason.size > 0) memcpy(ws->reason, reason.data, reason.size);
    ws->reason[reason.size] = 0;
    websocket_drop_parts(ws);
    ws->watching = false;
    loop_timer_start(ws->socket->loop, &ws->timer, wait_ms);
    if (ws->socket->readable_paused) socket_resume(ws->socket);
}

void websocket_close(struct websocket *ws, int code, const char *reason) {
    assert(websocket_close_code_valid(code));
    if (ws->state == OPEN) begin_close(ws, CLOSING, code, slice_of(reason), CLOSE_WAIT_MS);
}

void websocket_abort(struct websocket *ws) {
    if (ws->state != DONE) websocket_give_up(ws, -ECONNABORTED);
}

void websocket_fail(struct websocket *ws, int code, const char *reason) {
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

void websocket_peer_closed(struct websocket *ws, struct slice payload) {
    int code = 1005;
    struct slice reason = {0};
    if (payload.size == 1) {
        websocket_fail(ws, 1002, "a close frame of one byte");
        return;
    }
    if (payload.size >= 2) {
        code = (uint8_t)payload.data[0] << 8 | (uint8_t)payload.data[1];
        reason = slice_sub(payload, 2, payload.size);
        if (!websocket_close_code_valid(code)) {
            websocket_fail(ws, 1002, "a close code that may not be sent");
            return;
        }
        if (!utf8_valid(reason)) {
            websocket_fail(ws, 1007, "a close reason that is not UTF-8");
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
    websocket_drop_parts(ws);
    hixie76_free(ws->old);
    memory_free(ws->reason);
    memory_free(ws);
    http_upgrade_free(socket);
}

// ---- what comes in: receive.c ----------------------------------------------------------------

static void feed_early(struct websocket *ws) {
    struct websocket_early *early = ws->early;
    ws->early = NULL;
    loop_undefer(&early->deferred);
    websocket_feed(ws, early->bytes.data, early->bytes.size);
    buffer_free(&early->bytes);
    memory_free(early);
}

static void on_early(struct deferred *deferred) {
    feed_early(container_of(deferred, struct websocket_early, deferred)->ws);
}

static void on_data(struct socket *socket, const char *data, size_t size) {
    struct websocket *ws = of(socket);
    if (ws->early) feed_early(ws);
    // The bytes lie in the loop's read buffer, which is nobody else's until we return: unmasking
    // them where they are saves the copy.
    websocket_feed(ws, (char *)(uintptr_t)data, size);
}

// ---- sending ---------------------------------------------------------------------------------

/// Whether `size` more bytes may be queued; accounts for them.
static bool admit(struct websocket *ws, size_t size) {
    if (ws->state != OPEN) return false;
    size_t queued = socket_queued(ws->socket);
    if (queued > 0 && queued + size > ws->queue_limit) {
        websocket_give_up(ws, -ENOBUFS);
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
    if (ws->gets_deflated && message.size >= WEBSOCKET_DEFLATE_FROM) {
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
    if (ws->old) {
        struct buffer out = {0};
        if (!binary) hixie76_write(ws->old, message, &out);
        write_old(ws, &out);
        return socket_queued(ws->socket);
    }
    socket_write(ws->socket, head, size);
    socket_write_slice(ws->socket, message);
    return socket_queued(ws->socket);
}

size_t websocket_send_chunk(struct websocket *ws, struct chunk *payload, bool binary) {
    if (ws->old) return websocket_send(ws, chunk_slice(payload), binary);
    char head[WEBSOCKET_HEAD_MAX];
    size_t size = websocket_head_write(head, binary ? WEBSOCKET_BINARY : WEBSOCKET_TEXT, false,
                                       payload->size);
    if (!admit(ws, size + payload->size)) return 0;
    socket_write(ws->socket, head, size);
    socket_write_chunk(ws->socket, payload);
    return socket_queued(ws->socket);
}

size_t websocket_send_frame(struct websocket *ws, struct chunk *frame) {
    if (ws->old) {
        struct websocket_head head;
        size_t at = (size_t)websocket_head_read(chunk_slice(frame), &head);
        return websocket_send(ws, slice_sub(chunk_slice(frame), at, frame->size),
                              head.opcode != WEBSOCKET_TEXT);
    }
    if (!admit(ws, frame->size)) return 0;
    socket_write_chunk(ws->socket, frame);
    return socket_queued(ws->socket);
}

void websocket_send_frames_now(struct websocket *ws, struct chunk *frames) {
    if (admit(ws, frames->size)) socket_write_chunk_now(ws->socket, frames);
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
    struct websocket_handshake handshake = {.status = 101};
    struct hixie76 *old = options->hixie76 ? hixie76_new(request) : NULL;
    if (!old)
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
    if (old) hixie76_answer(request, &answer);
    else websocket_handshake_answer(request, &handshake, &answer);
    struct websocket *ws = memory_zero(1, sizeof *ws);
    ws->events = events;
    ws->data = data;
    ws->takes_deflated = handshake.window > 0;
    ws->gets_deflated = handshake.window == WEBSOCKET_WINDOW;
    ws->old = old;
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
