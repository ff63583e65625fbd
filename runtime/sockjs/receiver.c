#include "base/memory.h"
#include "http/response.h"
#include "sockjs/internal.h"

static void let_go(struct sockjs_receiver *receiver) {
    if (receiver->request) receiver->request->data = NULL;
    else sockjs_relay_forget(receiver);
    memory_free(receiver);
}

static void on_gone(struct http_request *request) {
    struct sockjs_receiver *receiver = request->data;
    if (receiver) {
        struct sockjs_session *session = receiver->session;
        let_go(receiver);
        if (session) sockjs_polling_gone(session);
    }
    http_response_end(request);
}

static void on_drain(struct http_request *request) {
    struct sockjs_receiver *receiver = request->data;
    if (receiver && receiver->session) sockjs_polling_drained(receiver->session);
}

struct sockjs_receiver *sockjs_receiver_new(struct http_request *request,
                                            const struct sockjs_transport *transport,
                                            const char *callback) {
    struct sockjs_receiver *receiver = memory_zero(1, sizeof *receiver);
    receiver->request = request;
    receiver->transport = transport;
    memcpy(receiver->callback, callback, strlen(callback) + 1);
    if (request) {
        request->data = receiver;
        http_request_on_gone(request, on_gone);
    }
    return receiver;
}

void sockjs_receiver_begin(struct sockjs_receiver *receiver) {
    if (!receiver->request) {
        sockjs_relay_tell(receiver, "begin", (struct slice){0});
        return;
    }
    struct buffer prelude = {0};
    http_response_begin(receiver->request, 200, receiver->transport->type, UINT64_MAX);
    receiver->transport->prelude(&prelude, receiver->callback);
    http_response_write(receiver->request, buffer_slice(&prelude));
    buffer_free(&prelude);
}

void sockjs_receiver_respond(struct sockjs_receiver *receiver, struct slice bytes) {
    struct http_request *request = receiver->request;
    const char *type = receiver->transport->type;
    if (!request) sockjs_relay_tell(receiver, "respond", bytes);
    let_go(receiver);
    if (request) http_respond(request, 200, type, bytes);
}

size_t sockjs_receiver_write(struct sockjs_receiver *receiver, struct slice bytes) {
    if (receiver->request) return http_response_write(receiver->request, bytes);
    sockjs_relay_tell(receiver, "write", bytes);
    return receiver->unread += bytes.size;
}

void sockjs_receiver_await_drain(struct sockjs_receiver *receiver) {
    if (receiver->request) http_response_on_drain(receiver->request, on_drain);
    else receiver->awaits_drain = true;
}

void sockjs_receiver_end(struct sockjs_receiver *receiver) {
    struct http_request *request = receiver->request;
    if (!request) sockjs_relay_tell(receiver, "end", (struct slice){0});
    let_go(receiver);
    if (request) http_response_end(request);
}

void sockjs_receiver_abort(struct sockjs_receiver *receiver) {
    struct http_request *request = receiver->request;
    if (!request) sockjs_relay_tell(receiver, "abort", (struct slice){0});
    let_go(receiver);
    if (request) http_response_abort(request);
}
