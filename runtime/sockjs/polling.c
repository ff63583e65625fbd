#include <assert.h>
#include "base/escape.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "http/response.h"
#include "sockjs/internal.h"

/// The HTTP transports: a session that outlives its requests. At most one request at a time, the
/// receiver, carries frames to the client; others bring messages.
enum { CALLBACK_MAX = 32, HIGH_WATER = 64 * 1024, NEVER = -1 };

struct transport {
    const char *name, *type;
    bool post, streaming, callback;
    void (*prelude)(struct buffer *out, const char *callback);
    void (*format)(struct buffer *out, const char *callback, struct slice frame);
};

struct polling {
    struct sockjs_session session;
    char *id;
    const struct transport *transport; ///< of the present receiver, or of the last
    struct http_request *receiver;
    size_t response_size; ///< bytes of frames in the present response
    struct sockjs_message **queue;
    size_t queue_count, queue_room, queue_bytes;
    struct timer timer; ///< heartbeat while there is a receiver, disconnect while there is none
    struct deferred flush;
    int close_code;
    char *close_reason;
    char callback[CALLBACK_MAX + 1];
    bool open, closed, told, blocked, aborted;
};

// ---- what the transports look like -----------------------------------------------------------

static void prelude_xhr(struct buffer *out, const char *callback) {
    (void)callback;
    memset(buffer_reserve(out, 2048), 'h', 2048); // some browsers hold back the first 2 KiB
    buffer_added(out, 2048);
    buffer_append_char(out, '\n');
}

static void prelude_eventsource(struct buffer *out, const char *callback) {
    (void)callback;
    buffer_append_text(out, "\r\n"); // Opera needs it
}

static void prelude_htmlfile(struct buffer *out, const char *callback) {
    buffer_append_text(out,
        "<!doctype html>\n<html><head>\n"
        "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
        "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n"
        "</head><body><h2>Don't panic!</h2>\n  <script>\n"
        "    document.domain = document.domain;\n    var c = parent.");
    buffer_append_text(out, callback);
    buffer_append_text(out, ";\n    c.start();\n    function p(d) {c.message(d);};\n"
                            "    window.onload = function() {c.stop();};\n  </script>");
    while (out->size < 1024) buffer_append_char(out, ' '); // browsers render nothing before
    buffer_append_text(out, "\r\n\r\n");
}

static void format_xhr(struct buffer *out, const char *callback, struct slice frame) {
    (void)callback;
    buffer_append_slice(out, frame);
    buffer_append_char(out, '\n');
}

static void format_eventsource(struct buffer *out, const char *callback, struct slice frame) {
    (void)callback;
    buffer_append_text(out, "data: ");
    buffer_append_slice(out, frame);
    buffer_append_text(out, "\r\n\r\n");
}

static void format_htmlfile(struct buffer *out, const char *callback, struct slice frame) {
    (void)callback;
    buffer_append_text(out, "<script>\np(");
    sockjs_quote_script(out, frame); // the reference forgets </script> inside a message
    buffer_append_text(out, ");\n</script>\r\n");
}

static void format_jsonp(struct buffer *out, const char *callback, struct slice frame) {
    buffer_append_text(out, callback);
    buffer_append_char(out, '(');
    sockjs_quote_script(out, frame);
    buffer_append_text(out, ");\r\n");
}

#define JAVASCRIPT "application/javascript; charset=UTF-8"
static const struct transport transports[] = {
    {"xhr", JAVASCRIPT, true, false, false, NULL, format_xhr},
    {"xhr_streaming", JAVASCRIPT, true, true, false, prelude_xhr, format_xhr},
    {"eventsource", "text/event-stream; charset=UTF-8", false, true, false, prelude_eventsource,
     format_eventsource},
    {"htmlfile", "text/html; charset=UTF-8", false, true, true, prelude_htmlfile,
     format_htmlfile},
    {"jsonp", JAVASCRIPT, false, false, true, NULL, format_jsonp},
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
    if (hash_get(table, slice_of(p->id)) == p) hash_remove(table, slice_of(p->id));
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
    struct http_request *request = p->receiver;
    detach(p);
    http_response_end(request);
}

static void on_drain(struct http_request *request) {
    struct polling *p = request->data;
    if (!p || p->receiver != request) return;
    p->blocked = false;
    loop_defer(p->session.endpoint->loop, &p->flush);
}

/// Sends one frame by the receiver; ends the response if it was the last one that it may carry.
static void emit(struct polling *p, struct slice frame) {
    struct buffer out = {0};
    p->transport->format(&out, p->callback, frame);
    if (!p->transport->streaming) {
        struct http_request *request = p->receiver;
        detach(p);
        http_respond(request, 200, p->transport->type, buffer_slice(&out));
    } else {
        p->response_size += out.size;
        size_t queued = http_response_write(p->receiver, buffer_slice(&out));
        if (p->response_size >= p->session.endpoint->options.response_limit) {
            end_response(p);
        } else if (queued > HIGH_WATER) {
            p->blocked = true;
            http_response_on_drain(p->receiver, on_drain);
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

static void on_timer(struct timer *timer) {
    struct polling *p = container_of(timer, struct polling, timer);
    if (p->receiver) {
        loop_timer_start(p->session.endpoint->loop, timer,
                         p->session.endpoint->options.heartbeat_ms);
        if (!p->blocked) {
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

static void on_gone(struct http_request *request) {
    struct polling *p = request->data;
    if (p && p->receiver == request) {
        // What was written last may not have arrived, so the session cannot go on as if it had.
        detach(p);
        close_later(p, 1002, "Connection interrupted");
    }
    http_response_end(request);
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
        struct http_request *request = p->receiver;
        detach(p);
        request->data = NULL;
        http_response_abort(request);
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

static void begin_response(struct http_request *request, const struct transport *transport,
                           const char *callback) {
    if (!transport->streaming) return;
    http_response_begin(request, 200, transport->type, UINT64_MAX);
    struct buffer prelude = {0};
    transport->prelude(&prelude, callback);
    http_response_write(request, buffer_slice(&prelude));
    buffer_free(&prelude);
}

/// Tells a second receiver that there is one already; the session does not notice.
static void turn_away(struct http_request *request, const struct transport *transport,
                      const char *callback) {
    struct buffer frame = {0}, out = {0};
    sockjs_close_frame(&frame, 2010, SLICE("Another connection still open"));
    transport->format(&out, callback, buffer_slice(&frame));
    if (transport->streaming) {
        begin_response(request, transport, callback);
        http_response_write(request, buffer_slice(&out));
        http_response_end(request);
    } else {
        http_respond(request, 200, transport->type, buffer_slice(&out));
    }
    buffer_free(&frame);
    buffer_free(&out);
}

static bool read_callback(struct http_request *request, char out[CALLBACK_MAX + 1]) {
    struct slice name = http_request_query(request, "c", NULL);
    if (!name.data || name.size == 0) name = http_request_query(request, "callback", NULL);
    const char *problem = NULL;
    if (name.size == 0) problem = "\"callback\" parameter required\n";
    else if (name.size > CALLBACK_MAX) problem = "invalid \"callback\" parameter\n";
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

static void receive(struct sockjs_endpoint *endpoint, struct http_request *request,
                    struct slice id, const struct transport *transport) {
    char callback[CALLBACK_MAX + 1] = "";
    if (transport->callback && !read_callback(request, callback)) return;
    struct polling *p = hash_get(&endpoint->polling, id);
    if (!p) {
        if (endpoint->refusing || hash_count(&endpoint->polling) >= endpoint->options.session_limit) {
            http_response_header(request, SLICE("retry-after"), SLICE("5"));
            http_respond_status(request, 503);
            return;
        }
        p = create(endpoint, id);
    }
    if (p->receiver) {
        turn_away(request, transport, callback);
        return;
    }
    p->transport = transport;
    memcpy(p->callback, callback, sizeof callback);
    p->receiver = request;
    p->response_size = 0;
    request->data = p;
    request->fin_ends = true;
    http_request_on_gone(request, on_gone);
    loop_timer_start(endpoint->loop, &p->timer, endpoint->options.heartbeat_ms);
    begin_response(request, transport, callback);
    if (!p->open) {
        p->open = true;
        emit(p, SLICE("o"));
        endpoint->handler->on_open(endpoint->context, &p->session, request->remote);
        return;
    }
    flush(p);
}

// ---- messages from the client ----------------------------------------------------------------

/// What an xhr_send needs to know when its body is here.
struct incoming {
    struct sockjs_endpoint *endpoint;
    struct slice id;
    bool jsonp;
};

static void answer_problem(struct http_request *request, int status, const char *text) {
    http_respond(request, status, "text/plain; charset=UTF-8", slice_of(text));
}

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
    struct polling *p = hash_get(&incoming->endpoint->polling, incoming->id);
    if (!p || p->closed) {
        http_respond_status(request, 404);
        return;
    }
    struct buffer decoded = {0};
    struct slice payload = body;
    struct slice type = http_request_header(request, "content-type");
    if (incoming->jsonp && slice_starts(type, SLICE("application/x-www-form-urlencoded")))
        payload = form_value(body, &decoded);
    if (payload.size == 0)
        answer_problem(request, 500, "Payload expected.\n");
    else if (!utf8_valid(payload) || !sockjs_deliver(&p->session, payload))
        answer_problem(request, 500, "Broken JSON encoding.\n");
    else if (incoming->jsonp) // some browsers do odd things on an empty answer
        answer_problem(request, 200, "ok");
    else
        http_respond(request, 204, "text/plain; charset=UTF-8", (struct slice){0});
    buffer_free(&decoded);
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
    const struct transport *transport;
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
    for (size_t i = 0; i < sizeof transports / sizeof *transports; i++) {
        const struct transport *transport = &transports[i];
        if (!slice_equal(name, slice_of(transport->name))) continue;
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
    return false;
}
