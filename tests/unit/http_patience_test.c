#include "http_server_support.h"

/// What a connection does with slow clients, with those that leave, and with too many: time limits,
/// back-pressure, draining.

static void drained(struct http_request *request) {
    (void)request;
    f->drains++;
}

static void a_slow_reader_holds_the_writer_back(void **state) {
    (void)state;
    f->options.limits.write_high = 64 * 1024;
    serve(hold);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, f->held);
    socket_pause(&peer->socket);
    http_response_on_drain(f->held, drained);
    http_response_begin(f->held, 200, "text/plain", UINT64_MAX);
    char block[16 * 1024];
    memset(block, 'x', sizeof block);
    size_t total = 0;
    while (http_response_write(f->held, slice_make(block, sizeof block)) <= 64 * 1024) {
        total += sizeof block;
        assert_true(total < 64 * 1024 * 1024);
    }
    assert_int_equal(f->drains, 0);
    socket_resume(&peer->socket);
    wait_for(&f->loop, f->drains > 0);
    http_response_end(f->held);
    wait_for(&f->loop, peer_has(peer, "\r\n0\r\n\r\n"));
    peer_close(&f->loop, peer);
}

static bool on_part(struct http_request *request, struct slice part, bool last, int error) {
    (void)request;
    buffer_append_slice(&f->parts, part);
    f->last = last;
    f->error = error;
    return false; // one at a time
}
static void read_slowly(void *context, struct http_request *request) {
    (void)context;
    f->held = request;
    http_request_read_parts(request, 10 * 1024 * 1024, on_part);
}

static void a_paused_reader_stops_the_sender(void **state) {
    (void)state;
    serve(read_slowly);
    struct peer *peer = peer_open(&f->loop, f->server);
    struct buffer text = {0};
    buffer_append_text(&text, "POST / HTTP/1.1\r\n" H "Content-Length: 2000000\r\n\r\n");
    for (int i = 0; i < 2000000; i++) buffer_append_char(&text, (char)('a' + i % 26));
    peer_send(peer, buffer_slice(&text));
    wait_for(&f->loop, f->parts.size > 0);
    bool never = false;
    for (int i = 0; i < 50; i++) loop_run_until(&f->loop, &never, 1);
    assert_true(socket_queued(&peer->socket) > 1000000); // most of it is still with the sender
    while (!f->last) {
        size_t before = f->parts.size;
        http_request_resume(f->held);
        wait_for(&f->loop, f->parts.size > before || f->last);
    }
    assert_int_equal(f->error, 0);
    assert_int_equal(f->parts.size, 2000000);
    assert_memory_equal(f->parts.data, text.data + text.size - 2000000, 2000000);
    http_respond(f->held, 200, "text/plain", SLICE("thanks"));
    wait_for(&f->loop, peer_has(peer, "thanks"));
    buffer_free(&text);
    peer_close(&f->loop, peer);
}

static void gone(struct http_request *request) {
    f->gone++;
    http_respond_status(request, 200); // allowed, and goes nowhere
    f->held = NULL;
}
static void hold_and_watch(void *context, struct http_request *request) {
    hold(context, request);
    http_request_on_gone(request, gone);
}

static void a_client_that_leaves_is_reported(void **state) {
    (void)state;
    serve(hold_and_watch);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, f->held);
    http_response_begin(f->held, 200, "text/plain", UINT64_MAX);
    peer_close(&f->loop, peer);
    wait_for(&f->loop, f->gone == 1);
    wait_for(&f->loop, http_server_connections(f->server) == 0);
}

static void a_proxy_that_ends_has_lost_its_client(void **state) {
    (void)state;
    f->options.trusted_proxies = "unix";
    serve(hold_and_watch);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, f->held);
    shutdown(peer->socket.fd, SHUT_WR);
    wait_for(&f->loop, f->gone == 1);
    peer_close(&f->loop, peer);
}

static void a_half_closed_client_still_gets_its_answer(void **state) {
    (void)state;
    serve(hold_and_watch);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, f->held);
    shutdown(peer->socket.fd, SHUT_WR);
    bool never = false;
    for (int i = 0; i < 20; i++) loop_run_until(&f->loop, &never, 1);
    assert_int_equal(f->gone, 0);
    http_respond(f->held, 200, "text/plain", SLICE("late"));
    wait_for(&f->loop, peer->ended);
    assert_true(peer_has(peer, "late"));
    peer_close(&f->loop, peer);
}

static void body_lost(struct http_request *request, struct slice body, int error) {
    (void)body;
    f->error = error;
    http_respond_status(request, 400);
}
static void read_and_lose(void *context, struct http_request *request) {
    (void)context;
    f->requests++;
    http_request_read_all(request, 1000, body_lost);
}

static void a_body_that_ends_early_is_lost(void **state) {
    (void)state;
    serve(read_and_lose);
    struct peer *peer = say("POST / HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\nabc");
    wait_for(&f->loop, f->requests == 1);
    shutdown(peer->socket.fd, SHUT_WR);
    wait_for(&f->loop, f->error == 499);
    peer_close(&f->loop, peer);
}

static void slow_heads_bodies_and_idle_connections_time_out(void **state) {
    (void)state;
    f->options.limits.head_ms = 60;
    f->options.limits.body_ms = 60;
    f->options.limits.idle_ms = 60;
    serve(echo_request);
    struct peer *head = say("GET / HTTP/1.1\r\n");
    struct peer *body = say("POST / HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\nabc");
    struct peer *idle = say("GET / HTTP/1.1\r\n" H "\r\n");
    struct peer *mute = peer_open(&f->loop, f->server);
    wait_for(&f->loop, head->ended && body->ended && idle->ended && mute->ended);
    assert_int_equal(peer_status(head), 408);
    assert_int_equal(peer_status(body), 408);
    assert_int_equal(peer_status(idle), 200);
    assert_int_equal(mute->received.size, 0);
    peer_close(&f->loop, head);
    peer_close(&f->loop, body);
    peer_close(&f->loop, idle);
    peer_close(&f->loop, mute);
}

static void a_head_that_trickles_times_out(void **state) {
    (void)state;
    f->options.limits.head_ms = 150;
    serve(echo_request);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "X: ");
    bool never = false;
    uint64_t limit = loop_now(&f->loop) + 5000;
    while (!peer->ended && loop_now(&f->loop) < limit) {
        peer_send(peer, SLICE("x")); // always something, never the end
        loop_run_until(&f->loop, &never, 20);
    }
    assert_int_equal(peer_status(peer), 408);
    assert_true(peer_has(peer, "Connection: close"));
    peer_close(&f->loop, peer);
}

static void a_body_that_trickles_times_out(void **state) {
    (void)state;
    f->options.limits.body_ms = 50;
    serve(echo_request);
    struct peer *peer = say("POST / HTTP/1.1\r\n" H "Content-Length: 1000\r\n\r\n");
    bool never = false;
    uint64_t limit = loop_now(&f->loop) + 5000;
    while (!peer->ended && loop_now(&f->loop) < limit) {
        peer_send(peer, SLICE("x"));
        loop_run_until(&f->loop, &never, 20); // far below body_ms of silence
    }
    assert_int_equal(peer_status(peer), 408);
    peer_close(&f->loop, peer);
}

static void a_client_that_never_reads_is_cut(void **state) {
    (void)state;
    f->options.limits.write_ms = 60;
    serve(hold_and_watch);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, f->held);
    socket_pause(&peer->socket);
    http_response_begin(f->held, 200, "text/plain", UINT64_MAX);
    char block[64 * 1024] = {0};
    for (int i = 0; i < 100; i++) http_response_write(f->held, slice_make(block, sizeof block));
    wait_for(&f->loop, f->gone == 1);
    peer_close(&f->loop, peer);
}

static void on_drained(void *context) { *(bool *)context = true; }

static void draining_finishes_what_is_under_way(void **state) {
    (void)state;
    serve(hold);
    struct peer *idle = peer_open(&f->loop, f->server);
    struct peer *busy = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, f->held);
    http_server_drain(f->server, on_drained, &f->drained);
    wait_for(&f->loop, idle->ended);
    assert_false(f->drained);
    assert_false(busy->ended);
    http_respond(f->held, 200, "text/plain", SLICE("done"));
    wait_for(&f->loop, busy->ended);
    assert_true(peer_has(busy, "Connection: close"));
    peer_close(&f->loop, busy);
    wait_for(&f->loop, f->drained);
    peer_close(&f->loop, idle);
}

static void freeing_the_server_cuts_requests_that_wait(void **state) {
    (void)state;
    serve(hold_and_watch);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, f->held);
    http_server_free(f->server);
    f->server = NULL;
    wait_for(&f->loop, f->gone == 1 && peer->ended);
    peer_close(&f->loop, peer);
}

static void forwarded_addresses_count_from_trusted_proxies_only(void **state) {
    (void)state;
    f->options.trusted_proxies = "unix, 10.0.0.0/8";
    serve(echo_request);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.2.3\r\n\r\n");
    wait_for(&f->loop, peer_has(peer, "remote=203.0.113.9 "));
    peer_send(peer, SLICE("GET / HTTP/1.1\r\n" H "X-Forwarded-For: <script>\r\n\r\n"));
    wait_for(&f->loop, peer_has(peer, "remote=unix "));
    peer_close(&f->loop, peer);
    http_server_free(f->server);
    f->options.trusted_proxies = "10.0.0.0/8";
    serve(echo_request);
    peer = say("GET / HTTP/1.1\r\n" H "X-Forwarded-For: 1.2.3.4\r\n\r\n");
    wait_for(&f->loop, peer_has(peer, "remote=unix "));
    peer_close(&f->loop, peer);
}

static void one_address_gets_so_many_connections(void **state) {
    (void)state;
    f->options.limits.per_address = 3;
    serve(echo_request);
    struct peer *peers[4];
    for (int i = 0; i < 4; i++) peers[i] = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, peers[3]->ended);
    assert_int_equal(peer_status(peers[3]), 503);
    wait_for(&f->loop, peer_status(peers[2]) == 200);
    for (int i = 0; i < 4; i++) peer_close(&f->loop, peers[i]);
    wait_for(&f->loop, http_server_connections(f->server) == 0);
    struct peer *again = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, peer_status(again) == 200);
    peer_close(&f->loop, again);
}

static void an_idle_connection_owns_little(void **state) {
    (void)state;
    assert_true(sizeof(struct http_connection) < 700);
    serve(echo_request);
    struct peer *peer = say("GET /a HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, peer_has(peer, "[GET /a?"));
    struct http_connection *connection = list_first(&f->server->connections, struct http_connection, link);
    assert_null(connection->input.data);
    assert_null(connection->exchange);
    assert_null(connection->socket.out_first);
    peer_close(&f->loop, peer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_slow_reader_holds_the_writer_back),
        T(a_paused_reader_stops_the_sender),
        T(a_client_that_leaves_is_reported),
        T(a_proxy_that_ends_has_lost_its_client),
        T(a_half_closed_client_still_gets_its_answer),
        T(a_body_that_ends_early_is_lost),
        T(slow_heads_bodies_and_idle_connections_time_out),
        T(a_head_that_trickles_times_out),
        T(a_body_that_trickles_times_out),
        T(a_client_that_never_reads_is_cut),
        T(draining_finishes_what_is_under_way),
        T(freeing_the_server_cuts_requests_that_wait),
        T(forwarded_addresses_count_from_trusted_proxies_only),
        T(one_address_gets_so_many_connections),
        T(an_idle_connection_owns_little),
    };
    return cmocka_run_group_tests_name("http_patience", tests, NULL, NULL);
}
