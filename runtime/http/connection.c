#include "http/exchange.h"

#include <errno.h>

#include "base/log.h"

/// The states of a connection and what moves it from one to the next. Requests are handled one at a
/// time: while one is read or answered, what the client sends ahead waits in `input`, and beyond
/// head_size in the kernel. So answers are in order by construction, and pipelining costs nothing.

enum { LINGER_MS = 2000, LINGER_SIZE = 1024 * 1024, SLOWEST_BODY = 256 /* bytes a second */ };

static void connection_feed(struct http_connection *connection);

static const struct http_limits *limits_of(const struct http_connection *connection) {
    return &connection->server->options.limits;
}

static void connection_timer(struct http_connection *connection, unsigned after_ms) {
    loop_timer_start(connection->socket.loop, &connection->timer, after_ms);
}

void http_connection_write(struct http_connection *connection, const void *data, size_t size) {
    connection->written += size;
    socket_write(&connection->socket, data, size);
}

static void connection_lose(struct http_connection *connection, int error) {
    struct http_exchange *exchange = connection->exchange;
    socket_close_now(&connection->socket, error);
    if (exchange) http_exchange_lose(exchange);
}

static void linger_shut(struct http_connection *connection) {
    if (!connection->socket.closing && socket_queued(&connection->socket) == 0)
        (void)shutdown(connection->socket.fd, SHUT_WR);
}

void http_connection_shut(struct http_connection *connection) {
    if (!connection->cursor) buffer_free(&connection->input); // else connection_settle does it
    connection->state = HTTP_LINGER;
    if (connection->half_closed) {
        loop_timer_stop(connection->socket.loop, &connection->timer);
        socket_close(&connection->socket);
        return;
    }
    // A close while the peer still sends makes the kernel answer with a reset, which can overtake
    // the answer that says why. So: send all, say that nothing more comes, and take input for a
    // short while until the peer closes too.
    if (connection->socket.readable_paused) socket_resume(&connection->socket);
    if (!connection->socket.blocked) socket_flush(&connection->socket);
    linger_shut(connection);
    connection_timer(connection, LINGER_MS);
}

void http_connection_answered(struct http_connection *connection, bool close) {
    struct http_server *server = connection->server;
    if (connection->socket.closing) return;
    if (close || connection->half_closed || server->draining || server->closing) {
        http_connection_shut(connection);
        return;
    }
    connection->state = HTTP_IDLE;
    connection_timer(connection, limits_of(connection)->idle_ms);
    if (!connection->cursor && (connection->input.size || connection->socket.readable_paused))
        http_connection_continue(connection);
}

void http_connection_continue(struct http_connection *connection) {
    loop_defer(connection->socket.loop, &connection->deferred);
}

static void connection_run(struct deferred *deferred) {
    struct http_connection *connection = container_of(deferred, struct http_connection, deferred);
    if (connection->socket.closing || connection->state >= HTTP_LINGER) return;
    if (connection->socket.readable_paused) socket_resume(&connection->socket);
    connection_feed(connection);
}

void http_connection_body_wanted(struct http_connection *connection) {
    struct http_exchange *exchange = connection->exchange;
    struct http_body *body = &exchange->body;
    if (body->expects_continue && body->received == 0 && connection->input.size == 0) {
        struct slice answer = SLICE("HTTP/1.1 100 Continue\r\n\r\n");
        http_connection_write(connection, answer.data, answer.size);
    }
    body->expects_continue = false;
    connection_timer(connection, limits_of(connection)->body_ms);
    if (connection->socket.readable_paused) socket_resume(&connection->socket);
    connection_feed(connection);
}

static struct http_exchange *exchange_begin(struct http_connection *connection) {
    struct http_exchange *exchange = http_exchange_new(connection->server, connection);
    memcpy(exchange->request.remote, connection->peer, sizeof connection->peer);
    connection->exchange = exchange;
    connection->state = HTTP_BUSY;
    connection->requests++;
    loop_timer_stop(connection->socket.loop, &connection->timer);
    return exchange;
}

static void connection_refuse(struct http_connection *connection, int status, const char *reason) {
    struct http_exchange *exchange = connection->exchange;
    if (!exchange) exchange = exchange_begin(connection);
    http_response_refuse(&exchange->request, status, reason);
}

static void connection_dispatch(struct http_connection *connection, struct http_exchange *exchange) {
    struct http_server *server = connection->server;
    struct http_request *request = &exchange->request;
    if (connection->proxied) http_proxies_apply(&server->proxies, request);
    exchange->body.left = request->content_length;
    exchange->body.expects_continue =
        request->has_body && !request->http10 && http_request_header(request, "expect").data;
    if (slice_equal(request->path, SLICE("*"))) {
        http_response_header(request, SLICE("Allow"),
                             SLICE("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        http_respond(request, 204, NULL, SLICE(""));
        return;
    }
    http_exchange_hold(exchange);
    server->options.on_request(server->options.context, request);
    http_exchange_unhold(exchange);
}

/// Reads (part of) a head. False: more input is needed, or the connection is done.
static bool connection_read_head(struct http_connection *connection, struct http_cursor *cursor) {
    struct http_server *server = connection->server;
    if (connection->state == HTTP_IDLE) {
        // One empty line before a request is allowed: old clients send it behind a POST.
        const char *start = cursor->data + cursor->used;
        size_t left = cursor->size - cursor->used;
        if (left >= 2 && start[0] == '\r' && start[1] == '\n') cursor->used += 2;
        else if (left == 1 && start[0] == '\r') return false;
        if (cursor->used == cursor->size) return false;
        connection->state = HTTP_HEAD;
        connection->scan = (struct http_scan){0};
        connection->continued = false;
    }
    const char *data = cursor->data + cursor->used;
    int size = http_scan_head(&connection->scan, data, cursor->size - cursor->used,
                              limits_of(connection));
    if (size == 0) {
        if (!connection->continued) connection_timer(connection, limits_of(connection)->head_ms);
        connection->continued = true;
        return false;
    }
    if (size < 0) {
        connection_refuse(connection, -size, "bad head");
        return false;
    }
    struct http_exchange *exchange = exchange_begin(connection);
    char *head = arena_copy(&exchange->request.arena, slice_make(data, (size_t)size));
    cursor->used += (size_t)size;
    const char *reason = NULL;
    int status = http_parse_head(&exchange->request, head, (size_t)size, &server->options.limits,
                                 &reason);
    if (status) {
        connection_refuse(connection, status, reason);
        return false;
    }
    connection_dispatch(connection, exchange);
    return true;
}

/// Bytes of a body have come: the silence is over, but drops every few seconds are no upload.
static void connection_body_moved(struct http_connection *connection,
                                  struct http_exchange *exchange) {
    struct http_body *body = &exchange->body;
    unsigned body_ms = limits_of(connection)->body_ms;
    if (!body->reading || body->paused || body->complete || body->error) return;
    uint64_t elapsed = loop_now(connection->socket.loop) - body->began_ms;
    if (elapsed > body_ms && (body->received - body->began_at) * 1000 / elapsed < SLOWEST_BODY) {
        body->error = 408;
        loop_defer(connection->socket.loop, &exchange->deferred);
        return;
    }
    connection_timer(connection, body_ms);
}

/// Goes through the input as far as it can: heads, bodies, and more requests.
static void connection_consume(struct http_connection *connection, struct http_cursor *cursor) {
    const struct http_limits *limits = limits_of(connection);
    unsigned turns = 0;
    connection->cursor = cursor;
    while (!connection->socket.closing && connection->state <= HTTP_BUSY) {
        struct http_exchange *exchange = connection->exchange;
        if (exchange) {
            if (exchange->body.complete || !exchange->request.has_body) break;
            size_t before = cursor->used;
            http_exchange_read_body(exchange, cursor);
            if (connection->exchange != exchange) continue;
            if (cursor->used != before) connection_body_moved(connection, exchange);
            break;
        }
        if (cursor->used == cursor->size) break;
        if (turns++ >= limits->pipeline) {
            http_connection_continue(connection);
            break;
        }
        if (socket_queued(&connection->socket) > limits->write_high) {
            // The answers are not being taken; on_drain goes on.
            if (!connection->socket.blocked) socket_flush(&connection->socket);
            if (socket_queued(&connection->socket) > limits->write_high) break;
            continue;
        }
        if (!connection_read_head(connection, cursor)) break;
    }
    connection->cursor = NULL;
}

/// After consuming: keeps the rest, and stops reading while nothing could be done with more.
static void connection_settle(struct http_connection *connection) {
    struct http_exchange *exchange = connection->exchange;
    if (connection->socket.closing || connection->state >= HTTP_LINGER) {
        buffer_free(&connection->input);
        return;
    }
    if (connection->input.size == 0) buffer_free(&connection->input);
    bool starving = exchange && exchange->request.has_body && !exchange->body.complete &&
                    exchange->body.reading && !exchange->body.paused && !exchange->body.error;
    if (starving && connection->half_closed) {
        // The end was told while reading was paused; has all that came before it been read?
        char next;
        if (recv(connection->socket.fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
            connection_lose(connection, 0);
            return;
        }
    }
    if (exchange && !starving && connection->input.size >= limits_of(connection)->head_size)
        socket_pause(&connection->socket);
}

static void connection_feed(struct http_connection *connection) {
    struct http_cursor cursor = {connection->input.data, connection->input.size, 0};
    connection_consume(connection, &cursor);
    if (cursor.used) buffer_consume(&connection->input, cursor.used < connection->input.size
                                                            ? cursor.used
                                                            : connection->input.size);
    connection_settle(connection);
}

static void on_data(struct socket *socket, const char *data, size_t size) {
    struct http_connection *connection = container_of(socket, struct http_connection, socket);
    if (connection->state == HTTP_LINGER) {
        connection->lingered += (uint32_t)size;
        if (connection->lingered > LINGER_SIZE) socket_close_now(socket, 0);
        return;
    }
    if (connection->input.size) {
        buffer_append(&connection->input, data, size);
        connection_feed(connection);
        return;
    }
    struct http_cursor cursor = {data, size, 0};
    connection_consume(connection, &cursor);
    if (connection->state < HTTP_LINGER && !socket->closing)
        buffer_append(&connection->input, data + cursor.used, size - cursor.used);
    connection_settle(connection);
}

static void on_end(struct socket *socket) {
    struct http_connection *connection = container_of(socket, struct http_connection, socket);
    struct http_exchange *exchange = connection->exchange;
    connection->half_closed = true;
    if (!exchange) {
        loop_timer_stop(socket->loop, &connection->timer);
        connection->state = HTTP_LINGER;
        socket_close(socket);
        return;
    }
    struct http_body *body = &exchange->body;
    bool unfinished = exchange->request.has_body && !body->complete;
    // A body that ends early has no other half to wait for. A proxy does not half-close: its FIN
    // means that the client has left. A client of our own may have sent all it had to say and wait
    // for the answer; only an endless one is then taken as unwanted.
    if (unfinished ? body->reading && !body->paused && connection->input.size == 0
                   : connection->proxied || exchange->request.fin_ends || exchange->response.begun)
        connection_lose(connection, 0);
}

static void on_drain(struct socket *socket) {
    struct http_connection *connection = container_of(socket, struct http_connection, socket);
    struct http_exchange *exchange = connection->exchange;
    if (connection->state == HTTP_LINGER) {
        linger_shut(connection);
    } else if (exchange) {
        exchange->want_drain = true;
        loop_defer(socket->loop, &exchange->deferred);
    } else {
        http_connection_continue(connection);
    }
}

static void on_close(struct socket *socket, int error) {
    struct http_connection *connection = container_of(socket, struct http_connection, socket);
    struct http_server *server = connection->server;
    (void)error;
    loop_timer_stop(socket->loop, &connection->timer);
    loop_undefer(&connection->deferred);
    if (connection->exchange) http_exchange_lose(connection->exchange);
    buffer_free(&connection->input);
    http_server_connection_gone(server, connection);
    http_server_release_address(server, connection);
    memory_free(connection);
    http_server_unref(server);
}

static const struct socket_events connection_events = {
    .on_data = on_data, .on_end = on_end, .on_drain = on_drain, .on_close = on_close};

/// No progress of the output since the last look?
static bool output_stalled(struct http_connection *connection) {
    size_t queued = socket_queued(&connection->socket);
    uint64_t out = connection->written - queued;
    bool stalled = queued && out == connection->written_seen;
    connection->written_seen = out;
    return stalled;
}

static void connection_busy_late(struct http_connection *connection) {
    struct http_exchange *exchange = connection->exchange;
    struct http_body *body = &exchange->body;
    const struct http_limits *limits = limits_of(connection);
    if (output_stalled(connection)) {
        struct http_exchange *lost = connection->exchange;
        socket_close_reset(&connection->socket, -ETIMEDOUT);
        http_exchange_lose(lost);
        return;
    }
    if (body->reading && !body->paused && !body->complete && !body->error) {
        body->error = 408;
        loop_defer(connection->socket.loop, &exchange->deferred);
        return;
    }
    if (socket_queued(&connection->socket)) connection_timer(connection, limits->write_ms);
}

static void on_timer(struct timer *timer) {
    struct http_connection *connection = container_of(timer, struct http_connection, timer);
    switch (connection->state) {
    case HTTP_IDLE:
        if (socket_queued(&connection->socket) && !output_stalled(connection)) {
            connection_timer(connection, limits_of(connection)->idle_ms);
            break;
        }
        if (socket_queued(&connection->socket)) socket_close_reset(&connection->socket, -ETIMEDOUT);
        else socket_close(&connection->socket);
        break;
    case HTTP_HEAD:
        connection_refuse(connection, 408, "slow head");
        break;
    case HTTP_BUSY:
        connection_busy_late(connection);
        break;
    case HTTP_LINGER:
        if (socket_queued(&connection->socket) && !output_stalled(connection)) {
            connection_timer(connection, limits_of(connection)->write_ms);
            break;
        }
        socket_close_now(&connection->socket, 0);
        break;
    default:
        break;
    }
}

int http_connection_open(struct http_server *server, int fd) {
    struct http_connection *connection = memory_zero(1, sizeof *connection);
    connection->server = server;
    list_init(&connection->link);
    timer_init(&connection->timer, on_timer);
    deferred_init(&connection->deferred, connection_run);
    int error = socket_open(server->loop, &connection->socket, fd, &connection_events);
    if (error) {
        memory_free(connection);
        return error;
    }
    server->references++;
    server->connection_count++;
    list_push_back(&server->connections, &connection->link);
    socket_peer(&connection->socket, connection->peer);
    connection->proxied = http_proxies_trust(&server->proxies, slice_of(connection->peer));
    const struct http_limits *limits = &server->options.limits;
    bool full = limits->connections && server->connection_count > limits->connections;
    if (!connection->proxied && limits->per_address) {
        struct slice key = slice_of(connection->peer);
        struct http_address *address = hash_get(&server->addresses, key);
        if (!address) {
            address = memory_zero(1, sizeof *address + key.size);
            memcpy(address + 1, key.data, key.size);
            address->key = slice_make(address + 1, key.size);
            hash_put(&server->addresses, key, address);
        }
        address->connections++;
        connection->address = address;
        full = full || address->connections > limits->per_address;
    }
    if (full) connection_refuse(connection, 503, "too many connections");
    else connection_timer(connection, limits->head_ms);
    return 0;
}
