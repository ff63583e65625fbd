#include <assert.h>
#include "base/escape.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "http/response.h"
#include "sockjs/internal.h"

/// The HTTP transports: a session that outlives its requests. At most one request at a time, the
/// receiver, carries frames to the client; others bring messages.
enum { KEEP_MS = 20000 }; ///< a claim on a session's name is renewed so often

struct polling {
    struct sockjs_session session;
    char *id;
    const struct sockjs_transport *transport; ///< of the present receiver, or of the last
    struct sockjs_receiver *receiver;
    size_t response_size; ///< bytes of frames in the present response
    struct sockjs_message **queue;
    size_t queue_count, queue_room, queue_bytes;
    struct timer timer; ///< heartbeat while there is a receiver, disconnect while there is none
    struct deferred flush;
    uint64_t kept_ms; ///< when the claim on the name was last renewed
    int close_code;
    char *close_reason;
    char callback[SOCKJS_CALLBACK_MAX + 1];
    bool open, closed, told, blocked, aborted;
};

// ---- the session -----------------------------------------------------------------------------

static struct polling *of(const struct sockjs_session *session) {
    assert(session->kind == SOCKJS_POLLING);
    return container_of(session, struct polling, session);
}

static void clear_queue(struct polling *p) {
    for (size_t i = 0; i < p->queue_count; i++) sockjs_message_release(p->queue[i]);
    p->queue_count = p->queue_bytes = 0;
}

/// An aborted session leaves the table at once, and its id may be in use again by now.
static void forget(struct polling *p) {
    struct hash *table = &p->session.endpoint->polling;
    if (hash_get(table, slice_of(p->id)) != p) return;
    hash_remove(table, slice_of(p->id));
    sockjs_relay_release(p->session.endpoint, slice_of(p->id));
}

static void destroy(struct polling *p) {
    struct sockjs_endpoint *endpoint = p->session.endpoint;
    assert(!p->receiver);
    loop_timer_stop(endpoint->loop, &p->timer);
    loop_undefer(&p->flush);
    forget(p);
    clear_queue(p);
    memory_free(p->queue);
    memory_free(p->id);
    memory_free(p->close_reason);
    sockjs_session_leave(&p->session);
    memory_free(p);
}

static void detach(struct polling *p) {
    p->receiver = NULL;
    p->blocked = false;
    loop_timer_start(p->session.endpoint->loop, &p->timer,
                     p->session.endpoint->options.disconnect_ms);
}

static void end_response(struct polling *p) {
    struct sockjs_receiver *receiver = p->receiver;
    detach(p);
    sockjs_receiver_end(receiver);
}

void sockjs_polling_drained(struct sockjs_session *session) {
    struct polling *p = of(session);
    p->blocked = false;
    loop_defer(session->endpoint->loop, &p->flush);
}

/// Sends one frame by the receiver; ends the response if it was the last one that it may carry.
static void emit(struct polling *p, struct slice frame) {
    struct buffer out = {0};
    p->transport->format(&out, p->callback, frame);
    if (!p->transport->streaming) {
        struct sockjs_receiver *receiver = p->receiver;
        detach(p);
        sockjs_receiver_respond(receiver, buffer_slice(&out));
    } else {
        p->response_size += out.size;
        size_t queued = sockjs_receiver_write(p->receiver, buffer_slice(&out));
        if (p->response_size >= p->session.endpoint->options.response_limit) {
            end_response(p);
        } else if (queued > SOCKJS_HIGH_WATER) {
            p->blocked = true;
            sockjs_receiver_await_drain(p->receiver);
        }
    }
    buffer_free(&out);
}

static void emit_queue(struct polling *p) {
    struct buffer frame = {0};
    buffer_append_text(&frame, "a[");
    for (size_t i = 0; i < p->queue_count; i++) {
        if (i > 0) buffer_append_char(&frame, ',');
        buffer_append_slice(&frame, chunk_slice(sockjs_message_quoted(p->queue[i])));
    }
    buffer_append_char(&frame, ']');
    clear_queue(p);
    emit(p, buffer_slice(&frame));
    buffer_free(&frame);
}

static void emit_close(struct polling *p, int code, const char *reason) {
    struct buffer frame = {0};
    sockjs_close_frame(&frame, code, slice_of(reason));
    emit(p, buffer_slice(&frame));
    buffer_free(&frame);
    if (p->receiver) end_response(p);
}

static void flush(struct polling *p) {
    if (p->receiver && p->queue_count > 0 && !p->blocked) emit_queue(p);
    if (p->receiver && p->closed && p->queue_count == 0)
        emit_close(p, p->close_code, p->close_reason);
}

static void on_flush(struct deferred *deferred) {
    struct polling *p = container_of(deferred, struct polling, flush);
    if (!p->aborted) flush(p);
    if (p->closed && !p->told) {
        p->told = true;
        p->session.endpoint->handler->on_close(&p->session, p->close_code,
                                               slice_of(p->close_reason));
    }
    if (p->aborted) destroy(p);
}

static void close_later(struct polling *p, int code, const char *reason) {
    if (p->closed) return;
    p->closed = true;
    p->close_code = code;
    p->close_reason = memory_copy_string(reason);
    loop_defer(p->session.endpoint->loop, &p->flush);
}

/// Renews what tells the other instances that the session lives here.
static void keep(struct polling *p) {
    uint64_t now = loop_now(p->session.endpoint->loop);
    if (now - p->kept_ms < KEEP_MS) return;
    p->kept_ms = now;
    sockjs_relay_keep(p->session.endpoint, slice_of(p->id));
}

static void on_timer(struct timer *timer) {
    struct polling *p = container_of(timer, struct polling, timer);
    if (p->receiver) {
        loop_timer_start(p->session.endpoint->loop, timer,
                         p->session.endpoint->options.heartbeat_ms);
        if (!p->blocked) {
            keep(p);
            emit(p, SLICE("h"));
            return;
        }
        sockjs_polling_abort(&p->session); // it has not read for a whole heartbeat
        return;
    }
    if (!p->told) {
        p->told = true;
        bool ours = p->closed;
        p->session.endpoint->handler->on_close(
            &p->session, ours ? p->close_code : 1006,
            ours ? slice_of(p->close_reason) : SLICE("The client stayed away"));
    }
    destroy(p);
}

void sockjs_polling_gone(struct sockjs_session *session) {
    // What was written last may not have arrived, so the session cannot go on as if it had.
    struct polling *p = of(session);
    detach(p);
    close_later(p, 1002, "Connection interrupted");
}

void sockjs_polling_send(struct sockjs_session *session, struct sockjs_message *message) {
    struct polling *p = of(session);
    if (p->closed) return;
    size_t size = message->text->size;
    if (p->queue_bytes + size > session->endpoint->options.queue_limit && p->queue_count > 0) {
        sockjs_polling_abort(session);
        return;
    }
    if (p->queue_count == p->queue_room) {
        p->queue_room = p->queue_room ? p->queue_room * 2 : 8;
        p->queue = memory_resize(p->queue, p->queue_room * sizeof *p->queue);
    }
    p->queue[p->queue_count++] = sockjs_message_share(message);
    p->queue_bytes += size;
    if (p->receiver) loop_defer(session->endpoint->loop, &p->flush);
}

void sockjs_polling_close(struct sockjs_session *session, int code, const char *reason) {
    close_later(of(session), code, reason);
}

void sockjs_polling_abort(struct sockjs_session *session) {
    struct polling *p = of(session);
    if (p->aborted) return;
    p->aborted = true;
    clear_queue(p);
    forget(p);
    if (p->receiver) {
        struct sockjs_receiver *receiver = p->receiver;
        detach(p);
        sockjs_receiver_abort(receiver);
    }
    close_later(p, 1006, "Aborted");
    loop_defer(session->endpoint->loop, &p->flush);
}

bool sockjs_polling_closing(const struct sockjs_session *session) { return of(session)->closed; }
size_t sockjs_polling_queued(const struct sockjs_session *session) {
    return of(session)->queue_bytes;
}
const char *sockjs_polling_transport(const struct sockjs_session *session) {
    return of(session)->transport->name;
}

// ---- receiving requests ----------------------------------------------------------------------

/// Tells a second receiver that there is one already; the session does not notice.
static void turn_away(struct sockjs_receiver *receiver) {
    const struct sockjs_transport *transport = receiver->transport;
    struct buffer frame = {0}, out = {0};
    sockjs_close_frame(&frame, 2010, SLICE("Another connection still open"));
    transport->format(&out, receiver->callback, buffer_slice(&frame));
    if (transport->streaming) {
        sockjs_receiver_begin(receiver);
        sockjs_receiver_write(receiver, buffer_slice(&out));
        sockjs_receiver_end(receiver);
    } else {
        sockjs_receiver_respond(receiver, buffer_slice(&out));
    }
    buffer_free(&frame);
    buffer_free(&out);
}

static bool read_callback(struct http_request *request, char out[SOCKJS_CALLBACK_MAX + 1]) {
    struct slice name = http_request_query(request, "c", NULL);
    if (!name.data || name.size == 0) name = http_request_query(request, "callback", NULL);
    const char *problem = NULL;
    if (name.size == 0) problem = "\"callback\" parameter required\n";
    else if (name.size > SOCKJS_CALLBACK_MAX) problem = "invalid \"callback\" parameter\n";
    for (size_t i = 0; !problem && i < name.size; i++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-",
                    name.data[i]) || name.data[i] == 0)
            problem = "invalid \"callback\" parameter\n";
    if (problem) {
        http_respond(request, 500, "text/plain; charset=UTF-8", slice_of(problem));
        return false;
    }
    memcpy(out, name.data, name.size);
    out[name.size] = 0;
    return true;
}

static struct polling *create(struct sockjs_endpoint *endpoint, struct slice id) {
    struct polling *p = memory_zero(1, sizeof *p);
    p->session.kind = SOCKJS_POLLING;
    p->id = memory_alloc(id.size + 1);
    memcpy(p->id, id.data, id.size);
    p->id[id.size] = 0;
    timer_init(&p->timer, on_timer);
    deferred_init(&p->flush, on_flush);
    hash_put(&endpoint->polling, id, p);
    sockjs_session_enter(endpoint, &p->session);
    return p;
}

bool sockjs_polling_knows(const struct sockjs_endpoint *endpoint, struct slice id) {
    return hash_get(&endpoint->polling, id) != NULL;
}

bool sockjs_polling_refuses(const struct sockjs_endpoint *endpoint) {
    return endpoint->refusing || hash_count(&endpoint->polling) >= endpoint->options.session_limit;
}

void sockjs_polling_attach(struct sockjs_endpoint *endpoint, struct slice id,
                           struct sockjs_receiver *receiver, const char *remote) {
    struct polling *p = hash_get(&endpoint->polling, id);
    if (!p) p = create(endpoint, id);
    if (p->receiver) {
        turn_away(receiver);
        return;
    }
    p->transport = receiver->transport;
    memcpy(p->callback, receiver->callback, sizeof p->callback);
    p->receiver = receiver;
    p->response_size = 0;
    receiver->session = &p->session;
    keep(p);
    loop_timer_start(endpoint->loop, &p->timer, endpoint->options.heartbeat_ms);
    if (p->transport->streaming) sockjs_receiver_begin(receiver);
    if (!p->open) {
        p->open = true;
        emit(p, SLICE("o"));
        endpoint->handler->on_open(endpoint->context, &p->session, remote);
        return;
    }
    flush(p);
}

void sockjs_polling_refuse(struct http_request *request) {
    http_response_header(request, SLICE("retry-after"), SLICE("5"));
    http_respond_status(request, 503);
}

static void receive(struct sockjs_endpoint *endpoint, struct http_request *request,
                    struct slice id, const struct sockjs_transport *transport) {
    char callback[SOCKJS_CALLBACK_MAX + 1] = "";
    if (transport->callback && !read_callback(request, callback)) return;
    request->fin_ends = true;
    if (sockjs_polling_knows(endpoint, id) || !endpoint->options.relay) {
        if (!sockjs_polling_knows(endpoint, id) && sockjs_polling_refuses(endpoint))
            sockjs_polling_refuse(request);
        else
            sockjs_polling_attach(endpoint, id, sockjs_receiver_new(request, transport, callback),
                                  request->remote);
    } else {
        sockjs_relay_receive(endpoint, request, id, transport, callback);
    }
}

// ---- messages from the client ----------------------------------------------------------------

/// What an xhr_send needs to know when its body is here.
struct incoming {
    struct sockjs_endpoint *endpoint;
    struct slice id;
    bool jsonp;
};

/// The value of d in a form body; data is NULL if there is none.
static struct slice form_value(struct slice body, struct buffer *decoded) {
    struct slice pair;
    while (slice_next(&body, '&', &pair)) {
        if (!slice_starts(pair, SLICE("d="))) continue;
        if (!unescape_url(decoded, slice_sub(pair, 2, pair.size), true))
            buffer_clear(decoded, SIZE_MAX);
        return buffer_slice(decoded);
    }
    return (struct slice){0};
}

static void on_body(struct http_request *request, struct slice body, int error) {
    struct incoming *incoming = request->data;
    if (error == 499) {
        http_response_end(request);
        return;
    }
    if (error) {
        http_respond_status(request, error);
        return;
    }
    struct slice type = http_request_header(request, "content-type");
    enum sockjs_body form = SOCKJS_BODY_XHR;
    if (incoming->jsonp)
        form = slice_starts(type, SLICE("application/x-www-form-urlencoded")) ? SOCKJS_BODY_FORM
                                                                            : SOCKJS_BODY_JSONP;
    struct sockjs_endpoint *endpoint = incoming->endpoint;
    if (!sockjs_polling_knows(endpoint, incoming->id) && endpoint->options.relay)
        sockjs_relay_take(endpoint, request, incoming->id, form, body);
    else
        sockjs_polling_answer(request, sockjs_polling_take(endpoint, incoming->id, form, body));
}

enum sockjs_taken sockjs_polling_take(struct sockjs_endpoint *endpoint, struct slice id,
                                      enum sockjs_body form, struct slice body) {
    struct polling *p = hash_get(&endpoint->polling, id);
    if (!p || p->closed) return SOCKJS_NO_SESSION;
    struct buffer decoded = {0};
    struct slice payload = form == SOCKJS_BODY_FORM ? form_value(body, &decoded) : body;
    enum sockjs_taken taken = SOCKJS_BROKEN;
    if (payload.size == 0) taken = SOCKJS_EMPTY;
    else if (utf8_valid(payload) && sockjs_deliver(&p->session, payload))
        taken = form == SOCKJS_BODY_XHR ? SOCKJS_TAKEN : SOCKJS_TAKEN_JSONP;
    buffer_free(&decoded);
    return taken;
}

void sockjs_polling_answer(struct http_request *request, enum sockjs_taken taken) {
    static const struct { int status; const char *text; } answers[] = {
        [SOCKJS_TAKEN] = {204, ""},
        [SOCKJS_TAKEN_JSONP] = {200, "ok"}, // some browsers do odd things on an empty answer
        [SOCKJS_EMPTY] = {500, "Payload expected.\n"},
        [SOCKJS_BROKEN] = {500, "Broken JSON encoding.\n"},
    };
    if (taken == SOCKJS_NO_SESSION) http_respond_status(request, 404);
    else
        http_respond(request, answers[taken].status, "text/plain; charset=UTF-8",
                     slice_of(answers[taken].text));
}

static void take_messages(struct sockjs_endpoint *endpoint, struct http_request *request,
                          struct slice id, bool jsonp) {
    struct incoming *incoming = arena_zero(&request->arena, sizeof *incoming);
    *incoming = (struct incoming){endpoint, arena_slice(&request->arena, id), jsonp};
    request->data = incoming;
    http_request_read_all(request, endpoint->options.body_limit, on_body);
}

// ---- dispatch --------------------------------------------------------------------------------

/// Receivers are POSTs without a body that matters; but what was sent must be read before the
/// connection can carry the answer.
struct deferred_receive {
    struct sockjs_endpoint *endpoint;
    struct slice id;
    const struct sockjs_transport *transport;
};

static void on_receiver_body(struct http_request *request, struct slice body, int error) {
    (void)body;
    struct deferred_receive *later = request->data;
    request->data = NULL;
    if (error == 499) http_response_end(request);
    else if (error) http_respond_status(request, error);
    else receive(later->endpoint, request, later->id, later->transport);
}

static bool allowed(struct sockjs_endpoint *endpoint, struct http_request *request, bool post) {
    const char *methods = post ? "OPTIONS, POST" : "OPTIONS, GET";
    if (slice_equal(request->method, SLICE("OPTIONS"))) {
        sockjs_answer_options(endpoint, request, methods);
        return false;
    }
    if (!slice_equal(request->method, post ? SLICE("POST") : SLICE("GET"))) {
        sockjs_refuse_method(request, methods);
        return false;
    }
    if (!sockjs_origin_allowed(endpoint, request)) {
        http_respond_status(request, 403);
        return false;
    }
    sockjs_add_headers(endpoint, request);
    sockjs_add_cors(endpoint, request);
    return true;
}

bool sockjs_polling_serve(struct sockjs_endpoint *endpoint, struct http_request *request,
                          struct slice id, struct slice name) {
    bool xhr_send = slice_equal(name, SLICE("xhr_send"));
    if (xhr_send || slice_equal(name, SLICE("jsonp_send"))) {
        if (allowed(endpoint, request, true)) take_messages(endpoint, request, id, !xhr_send);
        return true;
    }
    const struct sockjs_transport *transport = sockjs_transport_find(name);
    if (!transport) return false;
    if (!allowed(endpoint, request, transport->post)) return true;
    if (!request->has_body) {
        receive(endpoint, request, id, transport);
        return true;
    }
    struct deferred_receive *later = arena_zero(&request->arena, sizeof *later);
    *later = (struct deferred_receive){endpoint, arena_slice(&request->arena, id), transport};
    request->data = later;
    http_request_read_all(request, endpoint->options.body_limit, on_receiver_body);
    return true;
}
