#include "http_server_support.h"

/// What a connection does with good requests: messages, bodies, upgrades, files and packed pages.

static void keep_alive_serves_one_request_after_the_other(void **state) {
    (void)state;
    serve(echo_request);
    struct peer *peer = say("GET /a HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, peer_has(peer, "[GET /a?"));
    assert_false(peer_has(peer, "Connection:"));
    peer_send(peer, SLICE("POST /b?x=1 HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc"));
    wait_for(&f->loop, peer_has(peer, "[POST /b?x=1 host=a.example remote=unix body=abc]"));
    assert_false(peer->ended);
    peer_send(peer, SLICE("GET /c HTTP/1.1\r\n" H "Connection: close\r\n\r\n"));
    wait_for(&f->loop, peer->ended);
    assert_int_equal(peer_count(peer, "HTTP/1.1 200 OK\r\n"), 3);
    assert_int_equal(peer_count(peer, "Connection: close\r\n"), 1);
    peer_close(&f->loop, peer);
}

static void pipelined_requests_are_answered_in_order(void **state) {
    (void)state;
    serve(echo_request);
    struct peer *peer = peer_open(&f->loop, f->server);
    struct buffer text = {0};
    for (int i = 0; i < 100; i++)
        buffer_printf(&text, "POST /%d HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nok", i);
    peer_send(peer, buffer_slice(&text));
    wait_for(&f->loop, peer_count(peer, "HTTP/1.1 200 OK") == 100);
    const char *at = buffer_text(&peer->received);
    for (int i = 0; i < 100; i++) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "[POST /%d?", i);
        at = strstr(at, wanted);
        assert_non_null(at);
    }
    buffer_free(&text);
    peer_close(&f->loop, peer);
}

static void one_empty_line_before_a_request_is_forgiven(void **state) {
    (void)state;
    serve(echo_request);
    struct peer *peer = say("\r\nGET /a HTTP/1.1\r\n" H "\r\n\r\nGET /b HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, peer_has(peer, "[GET /a?") && peer_has(peer, "[GET /b?"));
    peer_close(&f->loop, peer);
}

static void absolute_form_becomes_origin_form(void **state) {
    (void)state;
    serve(echo_request);
    struct peer *peer = say("GET http://a.example/x?y=1 HTTP/1.1\r\n" H "\r\n"
                            "GET http://a.example?y HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, peer_has(peer, "[GET /x?y=1 host=a.example") && peer_has(peer, "[GET /?y host=a.example"));
    peer_close(&f->loop, peer);
}

static void options_asterisk_is_answered_by_the_server(void **state) {
    (void)state;
    serve(echo_request);
    struct peer *peer = say("OPTIONS * HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, peer_has(peer, "\r\n\r\n"));
    assert_int_equal(peer_status(peer), 204);
    assert_true(peer_has(peer, "Allow: GET"));
    peer_close(&f->loop, peer);
}

static void version_1_0_closes_unless_asked(void **state) {
    (void)state;
    serve(echo_request);
    struct peer *peer = say("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n");
    wait_for(&f->loop, peer->ended);
    assert_int_equal(peer_count(peer, "HTTP/1.1 200"), 2);
    assert_int_equal(peer_count(peer, "Connection: keep-alive"), 1);
    assert_int_equal(peer_count(peer, "Connection: close"), 1);
    peer_close(&f->loop, peer);
}

static void head_gets_the_length_and_no_body(void **state) {
    (void)state;
    serve(echo_request);
    struct peer *peer = say("HEAD /a HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.1\r\n" H "Connection: close\r\n\r\n");
    wait_for(&f->loop, peer->ended);
    assert_false(peer_has(peer, "[HEAD"));
    assert_int_equal(peer_count(peer, "Content-Length: "), 2);
    assert_true(peer_has(peer, "[GET /b?"));
    peer_close(&f->loop, peer);
}

static void a_waiting_client_is_told_to_continue(void **state) {
    (void)state;
    serve(echo_request);
    struct peer *peer = say("POST /a HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    wait_for(&f->loop, peer_has(peer, "HTTP/1.1 100 Continue\r\n\r\n"));
    peer_send(peer, SLICE("abc"));
    wait_for(&f->loop, peer_has(peer, "body=abc]"));
    peer_close(&f->loop, peer);
}

static void refuse_at_once(void *context, struct http_request *request) {
    (void)context;
    http_respond_status(request, 403);
}

static void a_refused_upload_is_not_invited(void **state) {
    (void)state;
    serve(refuse_at_once);
    struct peer *peer = say("POST /a HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n");
    wait_for(&f->loop, peer->ended);
    assert_int_equal(peer_status(peer), 403);
    assert_true(peer_has(peer, "Connection: close"));
    peer_close(&f->loop, peer);
}

static void a_small_body_that_nobody_read_keeps_the_connection(void **state) {
    (void)state;
    serve(refuse_at_once);
    struct peer *peer = say("POST /a HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc"
                            "GET /b HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, peer_count(peer, "HTTP/1.1 403") == 2);
    assert_false(peer_has(peer, "Connection: close"));
    peer_close(&f->loop, peer);
}

static void trailer_done(struct http_request *request, struct slice body, int error) {
    assert_int_equal(error, 0);
    struct slice trailer = http_request_trailer(request, "x-sum");
    char *text = arena_printf(&request->arena, "<%.*s|%.*s>", SLICE_FORMAT(body), SLICE_FORMAT(trailer));
    http_respond(request, 200, "text/plain", slice_of(text));
}
static void trailer_request(void *context, struct http_request *request) {
    (void)context;
    http_request_read_all(request, 1000, trailer_done);
}

static void chunked_bodies_are_joined_and_trailers_kept(void **state) {
    (void)state;
    serve(trailer_request);
    const char *text = "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                       "3;note=\"x\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 42\r\n\r\n";
    for (size_t step = 1; step < 40; step += 6) {
        struct peer *peer = peer_open(&f->loop, f->server);
        for (size_t i = 0; i < strlen(text); i += step) {
            peer_send(peer, slice_sub(slice_of(text), i, step));
            socket_flush(&peer->socket);
            bool never = false;
            loop_run_until(&f->loop, &never, 0);
        }
        wait_for(&f->loop, peer_has(peer, "<abc0123456789|42>"));
        peer_close(&f->loop, peer);
    }
}

static void streamed_answers_are_chunked_on_1_1_and_closed_on_1_0(void **state) {
    (void)state;
    serve(hold);
    for (int version = 0; version < 2; version++) {
        struct peer *peer = say(version ? "GET / HTTP/1.1\r\n" H "\r\n"
                                        : "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        f->held = NULL;
        wait_for(&f->loop, f->held);
        http_response_begin(f->held, 200, "text/plain", UINT64_MAX);
        http_response_write(f->held, SLICE("hello "));
        wait_for(&f->loop, peer_has(peer, "hello "));
        struct chunk *chunk = chunk_new("world", 5);
        http_response_write_chunk(f->held, chunk);
        chunk_release(chunk);
        http_response_end(f->held);
        if (version) {
            wait_for(&f->loop, peer_has(peer, "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"));
            assert_false(peer->ended);
        } else {
            wait_for(&f->loop, peer->ended);
            assert_true(peer_has(peer, "\r\n\r\nhello world"));
            assert_false(peer_has(peer, "chunked"));
        }
        peer_close(&f->loop, peer);
    }
}

static void a_broken_promise_of_length_cuts_the_connection(void **state) {
    (void)state;
    serve(hold);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, f->held);
    http_response_begin(f->held, 200, "text/plain", 10);
    http_response_write(f->held, SLICE("12345"));
    http_response_end(f->held);
    wait_for(&f->loop, peer->ended);
    peer_close(&f->loop, peer);
}

static void headers_that_would_split_the_answer_are_refused(void **state) {
    (void)state;
    serve(hold);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "\r\n");
    wait_for(&f->loop, f->held);
    assert_false(http_response_header(f->held, SLICE("X"), SLICE("a\r\nY: b")));
    assert_false(http_response_header(f->held, SLICE("X"), SLICE("a\nb")));
    assert_false(http_response_header(f->held, SLICE("X"), SLICE("a\0b")));
    assert_false(http_response_header(f->held, SLICE("X: y"), SLICE("a")));
    assert_false(http_response_header(f->held, SLICE(""), SLICE("a")));
    assert_false(http_response_header(f->held, SLICE("Content-Length"), SLICE("5")));
    assert_false(http_response_header(f->held, SLICE("transfer-encoding"), SLICE("chunked")));
    assert_true(http_response_header(f->held, SLICE("X-Good"), SLICE("caf\xc3\xa9")));
    http_respond(f->held, 200, "text/plain", SLICE("x"));
    wait_for(&f->loop, peer_has(peer, "X-Good: caf\xc3\xa9\r\n"));
    peer_close(&f->loop, peer);
}

static void hooks_get_one_request_a_connection(void **state) {
    (void)state;
    f->options.one_request = true;
    serve(echo_request);
    struct peer *peer = say("POST /x HTTP/1.0\r\nHost: localhost\r\nConnection: Close\r\n"
                            "Content-Length: 3\r\n\r\na=b"
                            "GET /second HTTP/1.0\r\n\r\n");
    wait_for(&f->loop, peer->ended);
    assert_true(peer_has(peer, "body=a=b]"));
    assert_false(peer_has(peer, "second"));
    peer_close(&f->loop, peer);
}

static void upgraded_on_data(struct socket *socket, const char *data, size_t size) {
    (void)socket;
    buffer_append(&f->upgraded_input, data, size);
}
static void upgraded_on_close(struct socket *socket, int error) {
    (void)error;
    assert_ptr_equal(http_upgrade_data(socket), f);
    http_upgrade_free(socket);
    f->upgraded_closed = true;
}
static const struct socket_events upgraded_events = {.on_data = upgraded_on_data, .on_close = upgraded_on_close};
static void upgrade(void *context, struct http_request *request) {
    (void)context;
    struct slice early;
    assert_true(request->upgrade);
    f->upgraded = http_request_upgrade(request, &upgraded_events, f, &early);
    buffer_append_slice(&f->upgraded_input, early);
    socket_write(f->upgraded, "HTTP/1.1 101 Switching Protocols\r\n\r\n", 36);
    http_request_release(request);
}

static void an_upgrade_hands_over_socket_and_early_bytes(void **state) {
    (void)state;
    serve(upgrade);
    struct peer *peer = say("GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly");
    wait_for(&f->loop, peer_has(peer, "101 Switching"));
    assert_int_equal(http_server_connections(f->server), 0);
    peer_send(peer, SLICE(" and late"));
    wait_for(&f->loop, f->upgraded_input.size == 14);
    assert_memory_equal(f->upgraded_input.data, "early and late", 14);
    peer_close(&f->loop, peer);
    wait_for(&f->loop, f->upgraded_closed);
}

static char path[] = "/tmp/footlight-http-XXXXXX";
static void send_file(void *context, struct http_request *request) {
    (void)context;
    http_respond_file(request, open(path, O_RDONLY | O_CLOEXEC), "text/plain", "no-cache");
}

static int ask(const char *headers, const char *method, struct buffer *out) {
    struct buffer text = {0};
    buffer_printf(&text, "%s / HTTP/1.1\r\n" H "%sConnection: close\r\n\r\n", method, headers);
    struct peer *peer = peer_open(&f->loop, f->server);
    peer_send(peer, buffer_slice(&text));
    wait_for(&f->loop, peer->ended);
    buffer_clear(out, SIZE_MAX);
    buffer_append_slice(out, buffer_slice(&peer->received));
    int status = peer_status(peer);
    peer_close(&f->loop, peer);
    buffer_free(&text);
    return status;
}

static void files_answer_ranges_and_conditions(void **state) {
    (void)state;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    close(fd);
    serve(send_file);
    struct buffer out = {0};
    char etag[128] = "", text[256];
    assert_int_equal(ask("", "GET", &out), 200);
    assert_non_null(strstr(buffer_text(&out), "\r\n\r\n0123456789"));
    assert_int_equal(sscanf(strstr(out.data, "ETag: "), "ETag: %127s", etag), 1);
    assert_int_equal(ask("", "HEAD", &out), 200);
    assert_null(strstr(buffer_text(&out), "0123456789"));
    snprintf(text, sizeof text, "If-None-Match: \"x\", W/%s\r\n", etag);
    assert_int_equal(ask(text, "GET", &out), 304);
    assert_int_equal(ask("If-None-Match: \"other\"\r\n", "GET", &out), 200);
    assert_int_equal(ask("If-Match: \"other\"\r\n", "GET", &out), 412);
    assert_int_equal(ask("If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n", "GET", &out), 304);
    assert_int_equal(ask("If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n", "GET", &out), 412);
    static const struct {
        const char *range;
        int status;
        const char *body, *content_range;
    } ranges[] = {
        {"bytes=0-3", 206, "\r\n\r\n0123", "bytes 0-3/10"},  {"bytes=7-", 206, "\r\n\r\n789", "bytes 7-9/10"},
        {"bytes=-2", 206, "\r\n\r\n89", "bytes 8-9/10"},      {"bytes=-99", 206, "\r\n\r\n0123456789", "bytes 0-9/10"},
        {"bytes=8-99", 206, "\r\n\r\n89", "bytes 8-9/10"},    {"bytes=10-", 416, "", "bytes */10"},
        {"bytes=-0", 416, "", "bytes */10"},                  {"bytes=5-3", 200, "0123456789", NULL},
        {"bytes=0-1,4-5", 200, "0123456789", NULL},           {"lines=1-2", 200, "0123456789", NULL},
        {"bytes=a-b", 200, "0123456789", NULL},               {"bytes=99999999999999999999-", 200, "0123456789", NULL},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        snprintf(text, sizeof text, "Range: %s\r\n", ranges[i].range);
        assert_int_equal(ask(text, "GET", &out), ranges[i].status);
        assert_non_null(strstr(buffer_text(&out), ranges[i].body));
        if (ranges[i].content_range) assert_non_null(strstr(out.data, ranges[i].content_range));
    }
    snprintf(text, sizeof text, "Range: bytes=0-1\r\nIf-Range: %s\r\n", etag);
    assert_int_equal(ask(text, "GET", &out), 206);
    assert_int_equal(ask("Range: bytes=0-1\r\nIf-Range: \"old\"\r\n", "GET", &out), 200);
    unlink(path);
    assert_int_equal(ask("", "GET", &out), 404);
    buffer_free(&out);
}

static void send_page(void *context, struct http_request *request) {
    (void)context;
    struct buffer page = {0};
    for (int i = 0; i < 200; i++) buffer_append_text(&page, "<li>a line of a page</li>\n");
    http_respond(request, 200, "text/html; charset=utf-8", buffer_slice(&page));
    buffer_free(&page);
}

static void pages_are_packed_where_the_client_can(void **state) {
    (void)state;
    f->options.compress = true;
    serve(send_page);
    struct buffer out = {0};
    assert_int_equal(ask("", "GET", &out), 200);
    assert_null(strstr(buffer_text(&out), "Content-Encoding"));
    assert_non_null(strstr(out.data, "Vary: Accept-Encoding"));
    assert_true(out.size > 5000);
    ask("Accept-Encoding: gzip, deflate, br\r\n", "GET", &out);
    assert_non_null(strstr(buffer_text(&out), "Content-Encoding: br\r\n"));
    assert_true(out.size < 1000);
    ask("Accept-Encoding: gzip, br;q=0\r\n", "GET", &out);
    assert_non_null(strstr(buffer_text(&out), "Content-Encoding: gzip\r\n"));
    ask("Accept-Encoding: identity\r\n", "GET", &out);
    assert_null(strstr(buffer_text(&out), "Content-Encoding"));
    buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(keep_alive_serves_one_request_after_the_other),
        T(pipelined_requests_are_answered_in_order),
        T(one_empty_line_before_a_request_is_forgiven),
        T(absolute_form_becomes_origin_form),
        T(options_asterisk_is_answered_by_the_server),
        T(version_1_0_closes_unless_asked),
        T(head_gets_the_length_and_no_body),
        T(a_waiting_client_is_told_to_continue),
        T(a_refused_upload_is_not_invited),
        T(a_small_body_that_nobody_read_keeps_the_connection),
        T(chunked_bodies_are_joined_and_trailers_kept),
        T(streamed_answers_are_chunked_on_1_1_and_closed_on_1_0),
        T(a_broken_promise_of_length_cuts_the_connection),
        T(headers_that_would_split_the_answer_are_refused),
        T(hooks_get_one_request_a_connection),
        T(an_upgrade_hands_over_socket_and_early_bytes),
        T(files_answer_ranges_and_conditions),
        T(pages_are_packed_where_the_client_can),
    };
    return cmocka_run_group_tests_name("http_connection", tests, NULL, NULL);
}
