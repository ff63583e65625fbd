#include "base/memory.h"
#include "base/utf8.h"
#include "http/response.h"
#include "sockjs/internal.h"
#include "sockjs/json.h"
#include "websocket/frame.h"

void *sockjs_session_data(const struct sockjs_session *session) { return session->data; }
void sockjs_session_set_data(struct sockjs_session *session, void *data) { session->data = data; }

void sockjs_session_enter(struct sockjs_endpoint *endpoint, struct sockjs_session *session) {
    session->endpoint = endpoint;
    list_push_back(&endpoint->sessions, &session->link);
    endpoint->count++;
}

void sockjs_session_leave(struct sockjs_session *session) {
    struct sockjs_endpoint *endpoint = session->endpoint;
    list_remove(&session->link);
    endpoint->count--;
    if (endpoint->freeing && endpoint->count == 0)
        loop_defer(endpoint->loop, &endpoint->free_later);
}

void sockjs_close_frame(struct buffer *out, int code, struct slice reason) {
    buffer_append_text(out, "c[");
    buffer_append_i64(out, code);
    buffer_append_char(out, ',');
    sockjs_quote(out, reason);
    buffer_append_char(out, ']');
}

bool sockjs_deliver(struct sockjs_session *session, struct slice payload) {
    struct json_value value = json_parse(payload, 1), item;
    struct buffer text = {0};
    const struct sockjs_handler *handler = session->endpoint->handler;
    if (value.kind == JSON_STRING) {
        json_string(value, &text);
        handler->on_message(session, buffer_slice(&text), false);
        buffer_free(&text);
        return true;
    }
    if (value.kind != JSON_ARRAY) return false;
    struct json_walk walk = json_begin(value);
    while (json_next(&walk, NULL, &item))
        if (item.kind != JSON_STRING) return false;
    walk = json_begin(value);
    while (json_next(&walk, NULL, &item) && !sockjs_session_closing(session)) {
        buffer_clear(&text, SIZE_MAX);
        json_string(item, &text);
        handler->on_message(session, buffer_slice(&text), false);
    }
    buffer_free(&text);
    return true;
}

// ---- WebSocket -------------------------------------------------------------------------------

static void on_message(struct websocket *ws, struct slice message, bool binary) {
    struct sockjs_session *session = websocket_data(ws);
    if (session->kind == SOCKJS_RAW) {
        session->endpoint->handler->on_message(session, message, binary);
        return;
    }
    if (message.size == 0) return; // the protocol asks for empty frames to be ignored
    if (binary || !sockjs_deliver(session, message))
        websocket_close(ws, 1002, "Broken JSON encoding.");
}

static void on_close(struct websocket *ws, int code, struct slice reason) {
    struct sockjs_session *session = websocket_data(ws);
    session->endpoint->handler->on_close(session, code, reason);
    sockjs_session_leave(session);
    memory_free(session);
}

static const struct websocket_events websocket_events = {.on_message = on_message,
                                                         .on_close = on_close};

void sockjs_websocket_serve(struct sockjs_endpoint *endpoint, struct http_request *request,
                            bool raw) {
    if (!slice_equal(request->method, SLICE("GET"))) {
        sockjs_refuse_method(request, "GET");
        return;
    }
    if (endpoint->options.websocket_off) {
        http_respond_status(request, 404);
        return;
    }
    if (!sockjs_origin_allowed(endpoint, request)) {
        http_respond_status(request, 403);
        return;
    }
    if (endpoint->refusing) {
        http_response_header(request, SLICE("retry-after"), SLICE("5"));
        http_respond_status(request, 503);
        return;
    }
    char remote[SOCKET_ADDRESS_SIZE];
    memcpy(remote, request->remote, sizeof remote);
    struct sockjs_session *session = memory_zero(1, sizeof *session);
    session->kind = raw ? SOCKJS_RAW : SOCKJS_WEBSOCKET;
    session->ws =
        websocket_accept(request, &endpoint->options.websocket, &websocket_events, session);
    if (!session->ws) {
        memory_free(session);
        return;
    }
    sockjs_session_enter(endpoint, session);
    if (!raw) websocket_send(session->ws, SLICE("o"), false);
    endpoint->handler->on_open(endpoint->context, session, remote);
}

// ---- any transport ---------------------------------------------------------------------------

void sockjs_session_send(struct sockjs_session *session, struct sockjs_message *message) {
    if (session->kind == SOCKJS_POLLING) {
        sockjs_polling_send(session, message);
    } else if (!websocket_closing(session->ws)) {
        bool raw = session->kind == SOCKJS_RAW;
        websocket_send_frame(
            session->ws, sockjs_message_frame(message, raw, websocket_deflates(session->ws)));
    }
}

void sockjs_session_send_bundle(struct sockjs_session *session, struct sockjs_bundle *bundle) {
    if (session->kind == SOCKJS_POLLING || websocket_old(session->ws)) {
        for (size_t i = 0; i < bundle->count; i++) sockjs_session_send(session, bundle->messages[i]);
    } else if (!websocket_closing(session->ws)) {
        bool raw = session->kind == SOCKJS_RAW;
        websocket_send_frames_now(
            session->ws, sockjs_bundle_frames(bundle, raw, websocket_deflates(session->ws)));
    }
}

void sockjs_session_send_text(struct sockjs_session *session, struct slice text) {
    struct sockjs_message *message = sockjs_message_new(text);
    sockjs_session_send(session, message);
    sockjs_message_release(message);
}

void sockjs_session_send_binary(struct sockjs_session *session, struct slice bytes) {
    if (session->kind == SOCKJS_RAW) websocket_send(session->ws, bytes, true);
}

void sockjs_session_close(struct sockjs_session *session, int code, const char *reason) {
    if (session->kind == SOCKJS_POLLING) {
        sockjs_polling_close(session, code, reason);
    } else if (session->kind == SOCKJS_RAW) {
        websocket_close(session->ws, code, reason);
    } else if (!websocket_closing(session->ws)) {
        struct buffer frame = {0};
        sockjs_close_frame(&frame, code, slice_of(reason));
        websocket_send(session->ws, buffer_slice(&frame), false);
        buffer_free(&frame);
        websocket_close(session->ws, code, reason);
    }
}

void sockjs_session_abort(struct sockjs_session *session) {
    if (session->kind == SOCKJS_POLLING) sockjs_polling_abort(session);
    else websocket_abort(session->ws);
}

bool sockjs_session_closing(const struct sockjs_session *session) {
    return session->kind == SOCKJS_POLLING ? sockjs_polling_closing(session)
                                           : websocket_closing(session->ws);
}

size_t sockjs_session_queued(const struct sockjs_session *session) {
    return session->kind == SOCKJS_POLLING ? sockjs_polling_queued(session)
                                           : websocket_queued(session->ws);
}

const char *sockjs_session_transport(const struct sockjs_session *session) {
    switch (session->kind) {
    case SOCKJS_RAW: return "websocket";
    case SOCKJS_WEBSOCKET: return "sockjs-websocket";
    default: return sockjs_polling_transport(session);
    }
}
