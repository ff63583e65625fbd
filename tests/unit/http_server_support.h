#ifndef FOOTLIGHT_TESTS_HTTP_SERVER_SUPPORT_H
#define FOOTLIGHT_TESTS_HTTP_SERVER_SUPPORT_H
#include "http_support.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "http/exchange.h"

/// One server, made by serve() with the options that a test has set before, and its clients.

#define H "Host: a.example\r\n"

struct fixture {
    struct loop loop;
    struct http_server *server;
    struct http_server_options options;
    struct http_request *held; ///< answered by the test itself
    struct buffer parts;
    unsigned requests, gone, drains;
    int error;
    bool drained, last;
    struct socket *upgraded;
    struct buffer upgraded_input;
    bool upgraded_closed;
};
static struct fixture *f;

static inline int setup(void **state) {
    f = memory_zero(1, sizeof *f);
    *state = f;
    log_set_sink(quiet, NULL);
    assert_int_equal(loop_init(&f->loop), 0);
    http_limits_default(&f->options.limits);
    f->options.on_request = echo_request;
    f->options.access_log = true;
    f->options.name = "test";
    return 0;
}

static inline void serve(void (*on_request)(void *context, struct http_request *request)) {
    f->options.on_request = on_request;
    f->server = http_server_new(&f->loop, &f->options);
}

static inline int teardown(void **state) {
    (void)state;
    http_server_free(f->server);
    assert_int_equal(loop_close(&f->loop), 0);
    buffer_free(&f->parts);
    buffer_free(&f->upgraded_input);
    memory_free(f);
    return 0;
}

static inline struct peer *say(const char *text) {
    struct peer *peer = peer_open(&f->loop, f->server);
    peer_send(peer, slice_of(text));
    return peer;
}

static inline void hold(void *context, struct http_request *request) {
    (void)context;
    f->requests++;
    f->held = request;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#endif
