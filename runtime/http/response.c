#include "http/response.h"

#include "base/log.h"
#include "http/compress.h"
#include "http/exchange.h"

enum { COMPRESS_LEAST = 860, COMPRESS_MOST = 4 * 1024 * 1024 };

static bool usable(struct http_request *request, const char *what) {
    struct http_exchange *exchange = http_exchange_of(request);
    if (!exchange->finished && !exchange->response.ended) return true;
    log_error("http.answered_twice", LOG_TEXT("request", request->id), LOG_TEXT("call", what));
    return false;
}

bool http_response_header(struct http_request *request, struct slice name, struct slice value) {
    const struct slice ours[] = {SLICE("content-length"), SLICE("transfer-encoding"),
                                 SLICE("connection"),     SLICE("date"),
                                 SLICE("keep-alive"),     SLICE("x-request-id"),
                                 SLICE("trailer")};
    struct http_response *response = request->response;
    if (!http_is_token(name) || response->begun) return false;
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < 32 && c != '\t') || c == 127) return false;
    }
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (name.size == ours[i].size && slice_equal_fold(name, ours[i])) return false;
    if (slice_equal_fold(name, SLICE("content-type"))) {
        response->type = arena_slice(&request->arena, value);
        return true;
    }
    if (slice_equal_fold(name, SLICE("content-encoding"))) response->has_encoding = true;
    if (slice_equal_fold(name, SLICE("cache-control")) && http_list_has(value, "no-transform"))
        response->has_encoding = true; // as good as: it must not be packed
    struct buffer *out = &response->headers;
    buffer_append_slice(out, name);
    buffer_append(out, ": ", 2);
    buffer_append_slice(out, value);
    buffer_append(out, "\r\n", 2);
    return true;
}

/// What says how a message is framed, routed, read or kept has no place behind it (RFC 9110, 6.5.1).
static bool may_trail(struct slice name) {
    static const char *const refused[] = {
        "host",       "content-type",  "content-encoding", "content-range", "set-cookie", "cache-control",
        "location",   "vary",          "authorization",    "te",            "age",        "expires",
        "retry-after", "www-authenticate"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (slice_equal_fold(name, slice_of(refused[i]))) return false;
    return true;
}

bool http_response_trailer(struct http_request *request, struct slice name, struct slice value) {
    struct http_response *response = request->response;
    struct http_exchange *exchange = http_exchange_of(request);
    if (exchange->finished || response->ended || !response->begun || !response->chunked ||
        response->no_body || !may_trail(name) ||
        !http_list_has(http_request_header(request, "te"), "trailers"))
        return false;
    // The head is out: its buffer takes what goes behind the body.
    response->begun = false;
    bool good = http_response_header(request, name, value);
    response->begun = true;
    return good;
}

void http_response_clear(struct http_request *request) {
    struct http_response *response = request->response;
    if (response->begun) return;
    response->headers.size = 0;
    response->type = (struct slice){0};
    response->has_encoding = false;
}

bool http_response_has_type(const struct http_request *request) {
    return request->response->type.size > 0;
}

/// A small body that has arrived but that nobody asked for need not cost the connection.
static void body_skip(struct http_exchange *exchange) {
    struct http_request *request = &exchange->request;
    struct http_body *body = &exchange->body;
    struct http_connection *connection = request->connection;
    if (!request->has_body || body->complete || body->reading || body->error ||
        request->content_length == UINT64_MAX)
        return;
    struct http_cursor *cursor = connection->cursor;
    size_t available = cursor ? cursor->size - cursor->used : connection->input.size;
    if (body->left > available) return;
    if (cursor) cursor->used += (size_t)body->left;
    else buffer_consume(&connection->input, (size_t)body->left);
    body->left = 0;
    body->complete = true;
}

static bool must_close(struct http_exchange *exchange) {
    struct http_server *server = exchange->server;
    struct http_connection *connection = exchange->request.connection;
    unsigned most = server->options.limits.requests;
    return exchange->response.close || !exchange->request.keep_alive || server->draining ||
           server->options.one_request || connection->half_closed ||
           (most && connection->requests >= most) ||
           (exchange->request.has_body && !exchange->body.complete);
}

static void append_header(struct buffer *out, const char *name, struct slice value) {
    buffer_append_text(out, name);
    buffer_append_slice(out, value);
    buffer_append(out, "\r\n", 2);
}

/// Puts the head into the server's scratch buffer. `length` UINT64_MAX: unknown.
static struct buffer *response_head(struct http_request *request, int status, struct slice type,
                                    uint64_t length) {
    struct http_exchange *exchange = http_exchange_of(request);
    struct http_response *response = &exchange->response;
    struct buffer *out = &exchange->server->scratch;
    response->begun = true;
    response->status = status;
    response->no_body = status == 204 || status == 304 || status < 200 ||
                        slice_equal(request->method, SLICE("HEAD"));
    response->promised = length;
    body_skip(exchange);
    response->chunked = length == UINT64_MAX && !request->http10;
    response->close = must_close(exchange) ||
                      (length == UINT64_MAX && request->http10 && !response->no_body);

    buffer_clear(out, 64 * 1024);
    buffer_append(out, "HTTP/1.1 ", 9);
    buffer_append_i64(out, status);
    buffer_append_char(out, ' ');
    buffer_append_text(out, http_status_text(status));
    append_header(out, "\r\nDate: ", slice_of(http_server_date(exchange->server)));
    if (type.size == 0) type = response->type;
    if (type.size) append_header(out, "Content-Type: ", type);
    if (status >= 200 && status != 204 && status != 304) {
        if (length != UINT64_MAX) {
            buffer_append_text(out, "Content-Length: ");
            buffer_append_i64(out, (int64_t)length);
            buffer_append(out, "\r\n", 2);
        } else if (response->chunked) {
            append_header(out, "Transfer-Encoding: ", SLICE("chunked"));
        }
    }
    if (response->close) append_header(out, "Connection: ", SLICE("close"));
    else if (request->http10) append_header(out, "Connection: ", SLICE("keep-alive"));
    append_header(out, "X-Request-Id: ", slice_of(request->id));
    buffer_append_slice(out, buffer_slice(&response->headers));
    buffer_append(out, "\r\n", 2);
    response->headers.size = 0; // from here on for trailers
    return out;
}

static struct slice response_pack(struct http_request *request, struct slice type, struct slice body,
                                  struct buffer *packed) {
    struct http_exchange *exchange = http_exchange_of(request);
    struct http_response *response = &exchange->response;
    if (!exchange->server->options.compress || response->has_encoding ||
        body.size < COMPRESS_LEAST || body.size > COMPRESS_MOST)
        return body;
    if (type.size == 0) type = response->type;
    if (!http_type_compresses(type)) return body;
    http_response_header(request, SLICE("Vary"), SLICE("Accept-Encoding"));
    enum http_coding coding = http_coding_choose(http_request_header(request, "accept-encoding"));
    if (!http_compress(packed, coding, body)) return body;
    http_response_header(request, SLICE("Content-Encoding"), slice_of(http_coding_name(coding)));
    return buffer_slice(packed);
}

void http_respond(struct http_request *request, int status, const char *type, struct slice body) {
    if (!usable(request, "respond")) return;
    struct http_exchange *exchange = http_exchange_of(request);
    struct http_connection *connection = request->connection;
    exchange->response.status = status;
    if (connection) {
        struct buffer packed = {0};
        body = response_pack(request, slice_of(type), body, &packed);
        struct buffer *out = response_head(request, status, slice_of(type), body.size);
        if (!exchange->response.no_body) {
            exchange->response.sent = body.size;
            // Small answers go out as one piece of memory; large ones are copied once only.
            if (body.size <= 16 * 1024) {
                buffer_append_slice(out, body);
                body.size = 0;
            }
        } else {
            body.size = 0;
        }
        http_connection_write(connection, out->data, out->size);
        if (body.size) http_connection_write(connection, body.data, body.size);
        buffer_free(&packed);
    }
    http_exchange_finish(exchange);
}

void http_respond_status(struct http_request *request, int status) {
    char *text = arena_printf(&request->arena, "%d %s\n", status, http_status_text(status));
    http_respond(request, status, "text/plain; charset=utf-8", slice_of(text));
}

void http_response_refuse(struct http_request *request, int status, const char *reason) {
    struct http_exchange *exchange = http_exchange_of(request);
    struct http_response *response = &exchange->response;
    metric_add(exchange->server->refused, 1);
    log_info("http.refused", LOG_TEXT("request", request->id), LOG_TEXT("remote", request->remote),
             LOG_INT("status", status), LOG_TEXT("reason", reason));
    if (response->begun) {
        http_response_abort(request);
        return;
    }
    response->close = true;
    http_response_clear(request);
    if (status == 405) http_response_header(request, SLICE("Allow"),
                                            SLICE("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    if (status == 503) http_response_header(request, SLICE("Retry-After"), SLICE("2"));
    http_respond_status(request, status);
}

void http_response_begin(struct http_request *request, int status, const char *type,
                         uint64_t length) {
    if (!usable(request, "begin") || request->response->begun) return;
    request->response->status = status;
    if (!request->connection) {
        request->response->begun = true;
        return;
    }
    struct buffer *out = response_head(request, status, slice_of(type), length);
    http_connection_write(request->connection, out->data, out->size);
}

/// What of `size` more bytes may be sent: nothing to HEAD, no more than was promised.
static size_t response_room(struct http_response *response, size_t size) {
    if (response->no_body) return 0;
    if (response->promised != UINT64_MAX && size > response->promised - response->sent)
        size = (size_t)(response->promised - response->sent);
    response->sent += size;
    return size;
}

static void chunk_begin(struct http_connection *connection, size_t size) {
    char line[24];
    int length = snprintf(line, sizeof line, "%zx\r\n", size);
    http_connection_write(connection, line, (size_t)length);
}

static size_t response_wrote(struct http_request *request) {
    struct http_connection *connection = request->connection;
    struct http_server *server = connection->server;
    // Above the mark, find out whether the kernel would take it: only then is there a drain to wait
    // for.
    if (socket_queued(&connection->socket) > server->options.limits.write_high &&
        !connection->socket.blocked)
        socket_flush(&connection->socket);
    if (!timer_active(&connection->timer))
        loop_timer_start(server->loop, &connection->timer, server->options.limits.write_ms);
    return socket_queued(&connection->socket);
}

size_t http_response_write(struct http_request *request, struct slice data) {
    struct http_connection *connection = request->connection;
    struct http_response *response = request->response;
    if (!usable(request, "write") || !connection || !response->begun) return 0;
    data.size = response_room(response, data.size);
    if (data.size == 0) return socket_queued(&connection->socket);
    if (response->chunked) chunk_begin(connection, data.size);
    http_connection_write(connection, data.data, data.size);
    if (response->chunked) http_connection_write(connection, "\r\n", 2);
    return response_wrote(request);
}

size_t http_response_write_chunk(struct http_request *request, struct chunk *chunk) {
    struct http_connection *connection = request->connection;
    struct http_response *response = request->response;
    if (!usable(request, "write") || !connection || !response->begun) return 0;
    if (response->promised != UINT64_MAX) return http_response_write(request, chunk_slice(chunk));
    if (response_room(response, chunk->size) == 0) return socket_queued(&connection->socket);
    if (response->chunked) chunk_begin(connection, chunk->size);
    connection->written += chunk->size;
    socket_write_chunk(&connection->socket, chunk);
    if (response->chunked) http_connection_write(connection, "\r\n", 2);
    return response_wrote(request);
}

void http_response_on_drain(struct http_request *request,
                            void (*drained)(struct http_request *request)) {
    request->response->drained = drained;
    // What was written in this tick has not been tried yet: if the kernel then takes it all, the
    // socket never blocks, and has nothing to tell.
    struct http_exchange *exchange = http_exchange_of(request);
    if (!drained || !request->connection || request->connection->socket.blocked) return;
    exchange->want_drain = true;
    loop_defer(request->loop, &exchange->deferred);
}

void http_response_end(struct http_request *request) {
    if (!usable(request, "end")) return;
    struct http_response *response = request->response;
    struct http_connection *connection = request->connection;
    if (connection && !response->no_body) {
        if (response->promised != UINT64_MAX && response->sent < response->promised) {
            http_response_abort(request);
            return;
        }
        if (response->chunked) {
            http_connection_write(connection, "0\r\n", 3);
            if (response->headers.size)
                http_connection_write(connection, response->headers.data, response->headers.size);
            http_connection_write(connection, "\r\n", 2);
        }
    }
    http_exchange_finish(http_exchange_of(request));
}

void http_response_abort(struct http_request *request) {
    if (!usable(request, "abort")) return;
    struct http_exchange *exchange = http_exchange_of(request);
    // Reset, not closed: on 1.0 a plain close would look like the whole answer.
    if (request->connection) {
        exchange->response.close = true;
        socket_close_reset(&request->connection->socket, 0);
    }
    http_exchange_finish(exchange);
}
