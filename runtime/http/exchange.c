#include "http/exchange.h"

#include "base/clock.h"
#include "base/log.h"

enum { KEPT_EXCHANGES = 64, KEPT_HEADERS = 4096 };

static void exchange_run(struct deferred *deferred);

struct http_exchange *http_exchange_new(struct http_server *server,
                                        struct http_connection *connection) {
    struct http_exchange *exchange = server->free;
    if (exchange) {
        // What a busy server asks for thousands of times a second is kept: the arena's first block
        // and the header buffer.
        server->free = exchange->next_free;
        server->free_count--;
        struct arena arena = exchange->request.arena;
        struct buffer headers = exchange->response.headers;
        memset(exchange, 0, sizeof *exchange);
        exchange->request.arena = arena;
        exchange->response.headers = headers;
    } else {
        exchange = memory_zero(1, sizeof *exchange);
    }
    exchange->server = server;
    server->references++;
    deferred_init(&exchange->deferred, exchange_run);
    struct http_request *request = &exchange->request;
    request->connection = connection;
    request->loop = server->loop;
    request->body = &exchange->body;
    request->response = &exchange->response;
    request->started_ns = clock_monotonic_ns();
    request->method = request->target = request->path = request->query = SLICE("");
    static const char digits[] = "0123456789abcdef";
    memcpy(request->id, server->id_prefix, 8);
    uint64_t number = server->next_id++;
    for (int i = 19; i >= 8; i--, number >>= 4) request->id[i] = digits[number & 15];
    return exchange;
}

static void exchange_free(struct http_exchange *exchange) {
    struct http_server *server = exchange->server;
    loop_undefer(&exchange->deferred);
    http_chunked_free(&exchange->body.chunked);
    buffer_free(&exchange->body.collected);
    if (server->free_count < KEPT_EXCHANGES && !server->closing) {
        arena_reset(&exchange->request.arena);
        buffer_clear(&exchange->response.headers, KEPT_HEADERS);
        exchange->next_free = server->free;
        server->free = exchange;
        server->free_count++;
    } else {
        arena_free(&exchange->request.arena);
        buffer_free(&exchange->response.headers);
        memory_free(exchange);
    }
    http_server_unref(server);
}

void http_exchange_hold(struct http_exchange *exchange) { exchange->holds++; }

void http_exchange_unhold(struct http_exchange *exchange) {
    if (--exchange->holds == 0 && exchange->finished) exchange_free(exchange);
}

static void log_request(struct http_exchange *exchange) {
    struct http_server *server = exchange->server;
    struct http_request *request = &exchange->request;
    struct http_response *response = &exchange->response;
    uint64_t us = (clock_monotonic_ns() - request->started_ns) / 1000;
    int class = response->status / 100;
    metric_add(server->requests[class >= 1 && class <= 5 ? class : 0], 1);
    metric_observe_us(server->seconds, us);
    if (!server->options.access_log) return;
    // The query is left out: it may carry one-time tokens.
    struct slice path = request->log_path.data ? request->log_path : request->path;
    log_info("http.request", LOG_TEXT("request", request->id), LOG_TEXT("remote", request->remote),
             LOG_SLICE("method", request->method), LOG_SLICE("path", path),
             LOG_INT("status", response->status), LOG_INT("bytes", response->sent),
             LOG_INT("us", us),
             LOG_SLICE("agent", slice_sub(http_request_header(request, "user-agent"), 0, 200)));
}

void http_exchange_finish(struct http_exchange *exchange) {
    if (exchange->finished) return;
    exchange->finished = true;
    exchange->response.ended = true;
    struct http_connection *connection = exchange->request.connection;
    if (!connection && !exchange->upgraded) exchange->response.status = 499;
    log_request(exchange);
    loop_undefer(&exchange->deferred);
    exchange->request.connection = NULL;
    if (connection) {
        connection->exchange = NULL;
        bool close = exchange->response.close || (exchange->request.has_body && !exchange->body.complete);
        http_connection_answered(connection, close);
    }
    if (exchange->holds == 0) exchange_free(exchange);
}

/// The reader's last call. The exchange is held by the caller.
static void body_tell(struct http_exchange *exchange, int error) {
    struct http_body *body = &exchange->body;
    if (!body->reading || body->told) return;
    body->told = true;
    body->reading = false;
    struct http_request *request = &exchange->request;
    if (body->on_all) body->on_all(request, error ? SLICE("") : buffer_slice(&body->collected), error);
    else body->on_part(request, SLICE(""), true, error);
}

void http_exchange_lose(struct http_exchange *exchange) {
    http_exchange_hold(exchange);
    if (exchange->request.connection) exchange->request.connection->exchange = NULL;
    exchange->request.connection = NULL;
    body_tell(exchange, 499);
    if (!exchange->finished && exchange->gone) exchange->gone(&exchange->request);
    http_exchange_unhold(exchange);
}

static void exchange_run(struct deferred *deferred) {
    struct http_exchange *exchange = container_of(deferred, struct http_exchange, deferred);
    struct http_body *body = &exchange->body;
    if (exchange->finished) return;
    http_exchange_hold(exchange);
    if (exchange->want_drain && exchange->response.drained) {
        exchange->want_drain = false;
        exchange->response.drained(&exchange->request);
    }
    if (!exchange->finished && body->reading && !body->paused) {
        if (!exchange->request.connection) body_tell(exchange, 499);
        else if (body->error) body_tell(exchange, body->error);
        else if (body->complete) body_tell(exchange, 0);
        else http_connection_body_wanted(exchange->request.connection);
    }
    http_exchange_unhold(exchange);
}

static bool body_part(struct http_exchange *exchange, struct slice part) {
    struct http_body *body = &exchange->body;
    body->received += part.size;
    if (body->received > body->limit) {
        body->error = 413;
        body_tell(exchange, 413);
        return false;
    }
    if (body->on_all) buffer_append_slice(&body->collected, part);
    else if (!body->on_part(&exchange->request, part, false, 0)) body->paused = true;
    return true;
}

bool http_exchange_read_body(struct http_exchange *exchange, struct http_cursor *cursor) {
    struct http_body *body = &exchange->body;
    bool more = true;
    http_exchange_hold(exchange);
    while (more && body->reading && !body->paused && !body->error && exchange->request.connection) {
        if (cursor->used == cursor->size) break;
        struct slice input = slice_make(cursor->data + cursor->used, cursor->size - cursor->used);
        struct slice part = SLICE("");
        size_t used = 0;
        if (exchange->request.content_length == UINT64_MAX) {
            switch (http_chunked_read(&body->chunked, input, &used, &part)) {
            case HTTP_CHUNKED_BAD:
                body->error = 400;
                body_tell(exchange, 400);
                more = false;
                break;
            case HTTP_CHUNKED_END:
                body->complete = true;
                break;
            default:
                break;
            }
        } else {
            used = body->left < input.size ? (size_t)body->left : input.size;
            part = slice_sub(input, 0, used);
            body->left -= used;
            body->complete = body->left == 0;
        }
        cursor->used += used;
        if (more && part.size) more = body_part(exchange, part);
        if (body->complete) break;
    }
    bool complete = body->complete && !exchange->finished;
    if (complete && !body->paused) body_tell(exchange, 0);
    complete = body->complete;
    http_exchange_unhold(exchange);
    return complete;
}

static void body_start(struct http_request *request, uint64_t limit) {
    struct http_exchange *exchange = http_exchange_of(request);
    struct http_body *body = &exchange->body;
    body->reading = true;
    body->limit = limit;
    body->began_ms = loop_now(request->loop);
    if (!request->has_body) body->complete = true;
    else if (request->content_length != UINT64_MAX && request->content_length > limit)
        body->error = 413;
    loop_defer(request->loop, &exchange->deferred);
}

void http_request_read_all(struct http_request *request, size_t limit,
                           void (*done)(struct http_request *, struct slice, int)) {
    struct http_body *body = request->body;
    if (body->reading || body->told || http_exchange_of(request)->finished) {
        log_error("http.second_reader", LOG_TEXT("request", request->id));
        return;
    }
    body->on_all = done;
    body_start(request, limit);
}

void http_request_read_parts(struct http_request *request, uint64_t limit,
                             bool (*on_part)(struct http_request *, struct slice, bool, int)) {
    struct http_body *body = request->body;
    if (body->reading || body->told || http_exchange_of(request)->finished) {
        log_error("http.second_reader", LOG_TEXT("request", request->id));
        return;
    }
    body->on_part = on_part;
    body_start(request, limit);
}

void http_request_resume(struct http_request *request) {
    struct http_exchange *exchange = http_exchange_of(request);
    exchange->body.paused = false;
    exchange->body.began_ms = loop_now(request->loop);
    exchange->body.began_at = exchange->body.received;
    if (exchange->body.reading) loop_defer(request->loop, &exchange->deferred);
}

void http_request_on_gone(struct http_request *request, void (*gone)(struct http_request *)) {
    http_exchange_of(request)->gone = gone;
}
