#include <stdlib.h>

#include "base/log.h"
#include "http/server.h"
#include "websocket/connection.h"

/// Frames as a hostile client sends them, behind a good handshake, in two pieces cut anywhere; the
/// server echoes. Each connection must end with exactly one on_close, each message must be whole
/// and within the limit, and each text valid.
static struct loop loop;
static struct http_server *server;
static size_t opened, closed;

enum { LIMIT = 4096 };

struct client {
    struct socket socket;
    bool closed;
};

static void on_message(struct websocket *ws, struct slice message, bool binary) {
    if (message.size > LIMIT) abort();
    if (message.size > 3 && message.data[0] == 'c') websocket_close(ws, 4000, "enough");
    else websocket_send(ws, message, binary);
}
static void on_websocket_close(struct websocket *ws, int code, struct slice reason) {
    (void)ws, (void)reason;
    if (code < 1000 || code > 4999) abort();
    closed++;
}
static const struct websocket_events websocket_events = {.on_message = on_message,
                                                         .on_close = on_websocket_close};
static void on_request(void *context, struct http_request *request) {
    (void)context;
    struct websocket_options options = {.message_limit = LIMIT, .deflate = true};
    if (websocket_accept(request, &options, &websocket_events, NULL)) opened++;
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

static void send_part(struct client *client, const uint8_t *bytes, size_t size) {
    bool never = false;
    if (client->closed || size == 0) return;
    socket_write(&client->socket, bytes, size);
    socket_flush(&client->socket);
    loop_run_until(&loop, &never, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const char handshake[] =
        "GET / HTTP/1.1\r\nHost: f\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    if (!server) {
        struct http_server_options options = {.on_request = on_request};
        log_set_sink(quiet, NULL);
        http_limits_default(&options.limits);
        if (loop_init(&loop) != 0) abort();
        server = http_server_new(&loop, &options);
    }
    if (size < 2) return 0;
    size_t cut = 1 + (size_t)bytes[0] * 4 % (size - 1);
    int fds[2];
    struct client client = {0};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) abort();
    if (http_server_accept(server, fds[0]) != 0) abort();
    if (socket_open(&loop, &client.socket, fds[1], &events) != 0) abort();
    send_part(&client, (const uint8_t *)handshake, sizeof handshake - 1);
    send_part(&client, bytes + 1, cut - 1);
    send_part(&client, bytes + cut, size - cut);
    if (!client.closed) socket_close_now(&client.socket, 0);
    bool never = false;
    for (int i = 0; i < 2000 && (!client.closed || opened != closed); i++)
        loop_run_until(&loop, &never, 1);
    if (!client.closed || opened != closed) abort();
    return 0;
}
