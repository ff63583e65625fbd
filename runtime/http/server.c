#include "http/exchange.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/random.h"

enum { DRAIN_IDLE_MS = 500 };

struct http_listener {
    struct listener listener;
    struct list link;
};

static void server_metrics(struct http_server *server) {
    static const char *const classes[6] = {"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    char labels[128];
    for (int i = 0; i < 6; i++) {
        snprintf(labels, sizeof labels, "server=\"%s\",code=\"%s\"", server->name, classes[i]);
        server->requests[i] = metrics_counter("footlight_http_requests_total",
                                              "Requests answered, by class of status.", labels);
    }
    snprintf(labels, sizeof labels, "server=\"%s\"", server->name);
    server->refused = metrics_counter("footlight_http_refused_total",
                                      "Requests refused by the protocol layer.", labels);
    server->accepted = metrics_counter("footlight_http_connections_total",
                                       "Connections accepted.", labels);
    server->open = metrics_gauge("footlight_http_connections", "Connections open.", labels);
    server->seconds = metrics_histogram("footlight_http_request_seconds",
                                        "From the end of a request's head to the end of its answer.",
                                        labels);
}

static void server_check_drained(struct http_server *server) {
    if (server->draining && server->connection_count == 0)
        loop_defer(server->loop, &server->drain_deferred);
}

static void drain_run(struct deferred *deferred) {
    struct http_server *server = container_of(deferred, struct http_server, drain_deferred);
    void (*drained)(void *) = server->drained;
    server->drained = NULL;
    if (drained) drained(server->drained_context);
}

struct http_server *http_server_new(struct loop *loop, const struct http_server_options *options) {
    struct http_server *server = memory_zero(1, sizeof *server);
    server->loop = loop;
    server->options = *options;
    server->name = memory_copy_string(options->name ? options->name : "http");
    server->references = 1;
    if (!http_proxies_parse(&server->proxies, options->trusted_proxies))
        log_warn("http.proxies", LOG_TEXT("bad", options->trusted_proxies));
    list_init(&server->connections);
    list_init(&server->listeners);
    deferred_init(&server->drain_deferred, drain_run);
    uint8_t seed[4];
    random_bytes(seed, sizeof seed);
    snprintf(server->id_prefix, sizeof server->id_prefix, "%02x%02x%02x%02x", seed[0], seed[1],
             seed[2], seed[3]);
    server_metrics(server);
    return server;
}

static void on_accept(struct listener *listener, int fd) { http_server_accept(listener->data, fd); }

int http_server_accept(struct http_server *server, int fd) {
    int error = http_connection_open(server, fd);
    if (error) return error;
    metric_add(server->accepted, 1);
    metric_set(server->open, (int64_t)server->connection_count);
    return 0;
}

int http_server_listen(struct http_server *server, int fd) {
    struct http_listener *listener = memory_zero(1, sizeof *listener);
    int error = listener_start(server->loop, &listener->listener, fd, on_accept);
    if (error) {
        memory_free(listener);
        return error;
    }
    listener->listener.data = server;
    server->references++;
    list_push_back(&server->listeners, &listener->link);
    return 0;
}

static void on_listener_closed(struct listener *stopped) {
    struct http_listener *listener = container_of(stopped, struct http_listener, listener);
    struct http_server *server = stopped->data;
    memory_free(listener);
    http_server_unref(server);
}

static void server_stop_listening(struct http_server *server) {
    while (!list_empty(&server->listeners)) {
        struct http_listener *listener = list_first(&server->listeners, struct http_listener, link);
        list_remove(&listener->link);
        listener_stop(&listener->listener, false, on_listener_closed);
    }
}

void http_server_drain(struct http_server *server, void (*drained)(void *), void *context) {
    server->draining = true;
    server->drained = drained;
    server->drained_context = context;
    server_stop_listening(server);
    list_each(&server->connections, node) {
        struct http_connection *connection = container_of(node, struct http_connection, link);
        if (connection->state == HTTP_IDLE && connection->input.size == 0)
            loop_timer_start(server->loop, &connection->timer, DRAIN_IDLE_MS);
    }
    server_check_drained(server);
}

size_t http_server_connections(const struct http_server *server) { return server->connection_count; }

void http_server_connection_gone(struct http_server *server, struct http_connection *connection) {
    if (list_empty(&connection->link)) return;
    list_remove(&connection->link);
    server->connection_count--;
    metric_set(server->open, (int64_t)server->connection_count);
    server_check_drained(server);
}

void http_server_release_address(struct http_server *server, struct http_connection *connection) {
    struct http_address *address = connection->address;
    connection->address = NULL;
    if (!address || --address->connections) return;
    hash_remove(&server->addresses, address->key);
    memory_free(address);
}

const char *http_server_date(struct http_server *server) {
    int64_t now = clock_wall_s();
    if (now != server->date_second) {
        server->date_second = now;
        clock_http_date(now, server->date);
    }
    return server->date;
}

void http_server_unref(struct http_server *server) {
    if (--server->references) return;
    for (struct http_exchange *exchange = server->free, *next; exchange; exchange = next) {
        next = exchange->next_free;
        arena_free(&exchange->request.arena);
        buffer_free(&exchange->response.headers);
        memory_free(exchange);
    }
    loop_undefer(&server->drain_deferred);
    http_proxies_free(&server->proxies);
    hash_free(&server->addresses);
    buffer_free(&server->scratch);
    memory_free(server->name);
    memory_free(server);
}

void http_server_free(struct http_server *server) {
    if (!server) return;
    server->closing = true;
    server->draining = false;
    server->drained = NULL;
    server_stop_listening(server);
    list_each(&server->connections, node) {
        struct http_connection *connection = container_of(node, struct http_connection, link);
        socket_close_now(&connection->socket, 0);
    }
    http_server_unref(server);
}
