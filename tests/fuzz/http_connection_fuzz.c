#include <stdlib.h>

#include "base/log.h"
#include "http/server.h"

/// Whole connections: the input goes through a socket pair to a server that echoes bodies, in two
/// pieces, and the client then closes its half. The server must come to rest: each connection
/// closed, each request answered or given up.

static struct loop loop;
static struct http_server *server;
static size_t begun, ended;

struct client {
    struct socket socket;
    bool closed;
};

static void done(struct http_request *request, struct slice body, int error) {
    ended++;
    if (error) http_respond_status(request, error == 499 ? 400 : error);
    else http_respond(request, 200, "text/plain", body);
}
static void on_request(void *context, struct http_request *request) {
    (void)context;
    begun++;
    http_request_query(request, "a", NULL);
    http_request_cookie(request, "a");
    if (request->path.size > 1 && request->path.data[1] == 'n') {
        ended++;
        http_respond_status(request, 404); // without reading the body
    } else {
        http_request_read_all(request, 4096, done);
    }
}
static void on_data(struct socket *socket, const char *data, size_t size) {
    (void)socket, (void)data, (void)size;
}
static void on_end(struct socket *socket) { socket_close_now(socket, 0); }
static void on_close(struct socket *socket, int error) {
    (void)error;
    container_of(socket, struct client, socket)->closed = true;
}
static const struct socket_events events = {.on_data = on_data, .on_end = on_end, .on_close = on_close};
static void quiet(void *context, enum log_level level, struct slice line) {
    (void)context, (void)level, (void)line;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (!server) {
        struct http_server_options options = {.on_request = on_request, .trusted_proxies = "unix"};
        log_set_sink(quiet, NULL);
        http_limits_default(&options.limits);
        if (loop_init(&loop) != 0) abort();
        server = http_server_new(&loop, &options);
    }
    if (size < 2) return 0;
    size_t cut = (size_t)bytes[0] * 4 % size;
    int fds[2];
    struct client client = {0};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) abort();
    if (http_server_accept(server, fds[0]) != 0) abort();
    if (socket_open(&loop, &client.socket, fds[1], &events) != 0) abort();
    socket_write(&client.socket, bytes + 1, cut ? cut - 1 : 0);
    socket_flush(&client.socket);
    bool never = false;
    loop_run_until(&loop, &never, 0);
    if (!client.closed && size > cut + 1) {
        socket_write(&client.socket, bytes + cut + (cut ? 0 : 1), size - cut - (cut ? 0 : 1));
        socket_flush(&client.socket);
    }
    loop_run_until(&loop, &never, 0);
    if (!client.closed) shutdown(client.socket.fd, SHUT_WR);
    for (int i = 0; i < 2000 && (!client.closed || http_server_connections(server)); i++)
        loop_run_until(&loop, &never, 1);
    if (!client.closed || http_server_connections(server)) abort();
    if (begun != ended) abort();
    return 0;
}
