#include "base/memory.h"
#include "realtime/internal.h"

/// What the public test suites of SockJS and WebSocket run against, in test installations only:
/// /echo, /disabled_websocket_echo, /cookie_needed_echo, and /close.
enum { AT_ECHO, AT_ECHO_OFF, AT_ECHO_COOKIE, AT_CLOSE, ENDPOINTS };
enum { SUITE_MESSAGE = 64 * 1024 * 1024 }; // Autobahn sends up to 16 MiB

struct echo {
    struct sockjs_endpoint *endpoints[ENDPOINTS];
    unsigned left;
};

static void on_open(void *context, struct sockjs_session *session, const char *remote) {
    (void)context;
    (void)session;
    (void)remote;
}

static void on_message(struct sockjs_session *session, struct slice message, bool binary) {
    if (binary) sockjs_session_send_binary(session, message);
    else sockjs_session_send_text(session, message);
}

static void on_close(struct sockjs_session *session, int code, struct slice reason) {
    (void)session;
    (void)code;
    (void)reason;
}

static void on_open_close(void *context, struct sockjs_session *session, const char *remote) {
    (void)context;
    (void)remote;
    sockjs_session_close(session, 3000, "Go away!");
}

static const struct sockjs_handler echoing = {on_open, on_message, on_close};
static const struct sockjs_handler closing = {on_open_close, on_message, on_close};

struct echo *echo_new(struct hub *hub) {
    struct loop *loop = hub->loop;
    struct echo *echo = memory_zero(1, sizeof *echo);
    struct sockjs_options options = {
        .origins = "*",
        .response_limit = 4096,
        .body_limit = SUITE_MESSAGE,
        .queue_limit = SUITE_MESSAGE,
        .relay = hub->relay,
        .websocket = {.message_limit = SUITE_MESSAGE, .queue_limit = UINT32_MAX, .deflate = true,
                      .hixie76 = hub->options.hixie76, .control_rate = UINT16_MAX - 1},
    };
    options.prefix = "/echo";
    echo->endpoints[AT_ECHO] = sockjs_endpoint_new(loop, &options, &echoing, echo);
    options.prefix = "/close";
    echo->endpoints[AT_CLOSE] = sockjs_endpoint_new(loop, &options, &closing, echo);
    options.prefix = "/disabled_websocket_echo";
    options.websocket_off = true;
    echo->endpoints[AT_ECHO_OFF] = sockjs_endpoint_new(loop, &options, &echoing, echo);
    options.prefix = "/cookie_needed_echo";
    options.websocket_off = false;
    options.cookie = true;
    echo->endpoints[AT_ECHO_COOKIE] = sockjs_endpoint_new(loop, &options, &echoing, echo);
    return echo;
}

bool echo_serve(struct echo *echo, struct http_request *request) {
    for (int i = 0; i < ENDPOINTS; i++)
        if (sockjs_endpoint_serve(echo->endpoints[i], request)) return true;
    return false;
}

static void on_freed(void *context) {
    struct echo *echo = context;
    if (--echo->left == 0) memory_free(echo);
}

void echo_free(struct echo *echo) {
    echo->left = ENDPOINTS;
    for (int i = 0; i < ENDPOINTS; i++)
        sockjs_endpoint_free(echo->endpoints[i], on_freed, echo);
}
