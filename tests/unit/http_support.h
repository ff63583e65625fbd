#ifndef FOOTLIGHT_HTTP_SUPPORT_H
#define FOOTLIGHT_HTTP_SUPPORT_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "http/server.h"

/// A server and clients over socket pairs on one loop, for the tests of runtime/http.
struct peer {
    struct socket socket;
    struct buffer received;
    bool ended, closed;
};

static void peer_on_data(struct socket *socket, const char *data, size_t size) {
    buffer_append(&container_of(socket, struct peer, socket)->received, data, size);
}
static void peer_on_end(struct socket *socket) {
    container_of(socket, struct peer, socket)->ended = true;
}
static void peer_on_close(struct socket *socket, int error) {
    struct peer *peer = container_of(socket, struct peer, socket);
    (void)error;
    peer->closed = peer->ended = true;
}
static const struct socket_events peer_events = {
    .on_data = peer_on_data, .on_end = peer_on_end, .on_close = peer_on_close};

static inline struct peer *peer_open(struct loop *loop, struct http_server *server) {
    int fds[2];
    struct peer *peer = memory_zero(1, sizeof *peer);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(http_server_accept(server, fds[0]), 0);
    assert_int_equal(socket_open(loop, &peer->socket, fds[1], &peer_events), 0);
    return peer;
}

static inline void peer_send(struct peer *peer, struct slice text) {
    socket_write(&peer->socket, text.data, text.size);
}

/// Runs until `condition` holds; fails the test after five seconds.
#define wait_for(loop, condition)                                                                  \
    do {                                                                                           \
        uint64_t wait_limit = loop_now(loop) + 5000;                                               \
        while (!(condition) && loop_now(loop) < wait_limit) {                                      \
            bool wait_never = false;                                                               \
            loop_run_until(loop, &wait_never, 1);                                                  \
        }                                                                                          \
        if (!(condition)) fail_msg("waited in vain for %s", #condition);                           \
    } while (0)

static inline bool peer_has(struct peer *peer, const char *text) {
    struct slice all = buffer_slice(&peer->received);
    return all.size && slice_search(all, slice_of(text)) < all.size;
}

static inline unsigned peer_count(struct peer *peer, const char *text) {
    struct slice rest = buffer_slice(&peer->received), needle = slice_of(text);
    unsigned count = 0;
    for (size_t at; rest.size && (at = slice_search(rest, needle)) < rest.size; count++)
        rest = slice_sub(rest, at + needle.size, rest.size);
    return count;
}

static inline int peer_status(struct peer *peer) {
    struct slice all = buffer_slice(&peer->received);
    return all.size > 12 && slice_starts(all, SLICE("HTTP/1.1 ")) ? atoi(all.data + 9) : 0;
}

static inline void peer_close(struct loop *loop, struct peer *peer) {
    socket_close_now(&peer->socket, 0);
    wait_for(loop, peer->closed);
    buffer_free(&peer->received);
    memory_free(peer);
}

__attribute__((unused)) static void quiet(void *context, enum log_level level, struct slice line) {
    (void)context;
    (void)level;
    (void)line;
}

/// Answers "METHOD path?query host=… body=…".
static inline void echo_done(struct http_request *request, struct slice body, int error) {
    if (error) {
        if (error != 499) http_respond_status(request, error);
        else http_respond_status(request, 400);
        return;
    }
    struct buffer out = {0};
    buffer_printf(&out, "[%.*s %.*s?%.*s host=%.*s remote=%s body=%.*s]", SLICE_FORMAT(request->method),
                  SLICE_FORMAT(request->path), SLICE_FORMAT(request->query),
                  SLICE_FORMAT(request->host), request->remote, SLICE_FORMAT(body));
    http_respond(request, 200, "text/plain", buffer_slice(&out));
    buffer_free(&out);
}
static inline void echo_request(void *context, struct http_request *request) {
    (void)context;
    http_request_read_all(request, 64 * 1024, echo_done);
}
#endif
