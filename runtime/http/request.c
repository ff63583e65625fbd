#include "http/cookies.h"
#include "http/exchange.h"
#include "http/query.h"

struct slice http_request_header(const struct http_request *request, const char *name) {
    struct slice wanted = slice_of(name);
    for (size_t i = 0; i < request->header_count; i++)
        if (slice_equal(request->headers[i].name, wanted)) return request->headers[i].value;
    return (struct slice){0};
}

struct slice http_request_trailer(const struct http_request *request, const char *name) {
    struct slice rest = buffer_slice(&request->body->chunked.trailer), key, value;
    while (http_chunked_trailer(&rest, &key, &value))
        if (slice_equal_fold(key, slice_of(name))) return value;
    return (struct slice){0};
}

struct slice http_request_query(struct http_request *request, const char *name, bool *repeated) {
    struct slice rest = request->query, key, value, found = {0};
    if (repeated) *repeated = false;
    while (http_query_next(&request->arena, &rest, &key, &value)) {
        if (!slice_equal(key, slice_of(name))) continue;
        if (!found.data) found = value;
        else if (repeated) *repeated = true;
    }
    return found;
}

struct slice http_request_cookie(struct http_request *request, const char *name) {
    struct slice rest = http_request_header(request, "cookie"), key, value;
    while (http_cookie_next(&rest, &key, &value))
        if (slice_equal(key, slice_of(name))) return value;
    return (struct slice){0};
}

struct socket *http_request_upgrade(struct http_request *request, const struct socket_events *events,
                                    void *data, struct slice *early) {
    struct http_exchange *exchange = http_exchange_of(request);
    struct http_connection *connection = request->connection;
    if (!connection) return NULL;
    struct http_cursor *cursor = connection->cursor;
    struct slice rest = cursor ? slice_make(cursor->data + cursor->used, cursor->size - cursor->used)
                               : buffer_slice(&connection->input);
    *early = arena_slice(&request->arena, rest);
    if (cursor) cursor->used = cursor->size;
    else buffer_free(&connection->input);
    loop_timer_stop(connection->socket.loop, &connection->timer);
    loop_undefer(&connection->deferred);
    connection->state = HTTP_UPGRADED;
    connection->exchange = NULL;
    connection->upgrade_data = data;
    connection->socket.events = events;
    exchange->upgraded = true;
    exchange->response.status = 101;
    request->connection = NULL;
    http_server_connection_gone(connection->server, connection);
    if (connection->socket.readable_paused) socket_resume(&connection->socket);
    return &connection->socket;
}

void http_request_release(struct http_request *request) {
    http_exchange_finish(http_exchange_of(request));
}

void *http_upgrade_data(struct socket *socket) {
    return container_of(socket, struct http_connection, socket)->upgrade_data;
}

void http_upgrade_free(struct socket *socket) {
    struct http_connection *connection = container_of(socket, struct http_connection, socket);
    struct http_server *server = connection->server;
    buffer_free(&connection->input);
    http_server_release_address(server, connection);
    memory_free(connection);
    http_server_unref(server);
}
