#include "websocket_support.h"

#include <stdio.h>

#include "sockjs/endpoint.h"

/// The SockJS transports over socket pairs, with an owner that echoes. The public protocol tests
/// say what a client sees; here stands what they leave out.
static struct loop loop;
static struct http_server *server;
static struct sockjs_options options;
static struct sockjs_endpoint *endpoint;
static struct sockjs_session *session;
static int closed_code;
static unsigned opened, closed;
static bool freed;

static void on_open(void *context, struct sockjs_session *opened_session, const char *remote) {
    (void)context;
    (void)remote;
    session = opened_session;
    opened++;
}
static void on_message(struct sockjs_session *from, struct slice message, bool binary) {
    if (slice_equal(message, SLICE("close me"))) sockjs_session_close(from, 3001, "bye");
    else if (binary) sockjs_session_send_binary(from, message);
    else sockjs_session_send_text(from, message);
}
static void on_close(struct sockjs_session *closed_session, int code, struct slice reason) {
    (void)reason;
    if (closed_session == session) session = NULL;
    closed_code = code;
    closed++;
}
static const struct sockjs_handler handler = {on_open, on_message, on_close};

static void on_request(void *context, struct http_request *request) {
    (void)context;
    if (!sockjs_endpoint_serve(endpoint, request)) http_respond_status(request, 404);
}
static void on_freed(void *context) {
    (void)context;
    freed = true;
}

static int begin(void) {
    log_set_sink(quiet, NULL);
    opened = closed = 0;
    closed_code = 0;
    session = NULL;
    freed = false;
    assert_int_equal(loop_init(&loop), 0);
    struct http_server_options http = {.name = "test", .on_request = on_request};
    http_limits_default(&http.limits);
    server = http_server_new(&loop, &http);
    endpoint = sockjs_endpoint_new(&loop, &options, &handler, NULL);
    return 0;
}
static int set_up(void **state) {
    (void)state;
    options = (struct sockjs_options){.prefix = "/s"};
    return begin();
}
static int set_up_impatient(void **state) {
    (void)state;
    options = (struct sockjs_options){.prefix = "/s", .disconnect_ms = 60, .heartbeat_ms = 60};
    return begin();
}
static int tear_down(void **state) {
    (void)state;
    sockjs_endpoint_free(endpoint, on_freed, NULL);
    wait_for(&loop, freed);
    http_server_free(server);
    bool never = false;
    loop_run_until(&loop, &never, 20);
    assert_int_equal(loop_close(&loop), 0);
    log_set_sink(NULL, NULL);
    return 0;
}

static struct peer *request(const char *method, const char *path, const char *headers,
                            const char *body) {
    struct peer *peer = peer_open(&loop, server);
    struct buffer text = {0};
    buffer_printf(&text, "%s %s HTTP/1.1\r\nHost: test\r\n%sContent-Length: %zu\r\n\r\n%s", method,
                  path, headers, strlen(body), body);
    peer_send(peer, buffer_slice(&text));
    buffer_free(&text);
    return peer;
}
static struct peer *post(const char *path, const char *body) {
    return request("POST", path, "", body);
}
static void expect(struct peer *peer, const char *text) {
    wait_for(&loop, peer_has(peer, text));
    peer_close(&loop, peer);
}

static void a_session_hops_from_poll_to_poll(void **state) {
    (void)state;
    expect(post("/s/0/a/xhr", ""), "\r\n\r\no\n");
    assert_int_equal(opened, 1);
    expect(post("/s/0/a/xhr_send", "[\"one\",\"two\"]"), "HTTP/1.1 204");
    expect(post("/s/7/a/xhr", ""), "\r\n\r\na[\"one\",\"two\"]\n");
    expect(post("/s/0/b/xhr_send", "[\"one\"]"), "HTTP/1.1 404");
    assert_int_equal(opened, 1);
}

static void a_session_that_nobody_polls_ends(void **state) {
    (void)state;
    expect(post("/s/0/a/xhr", ""), "o\n");
    wait_for(&loop, closed == 1);
    assert_int_equal(closed_code, 1006);
    expect(post("/s/0/a/xhr_send", "[\"late\"]"), "HTTP/1.1 404");
    expect(post("/s/0/a/xhr", ""), "o\n"); // the id means a new session, which says so
    assert_int_equal(opened, 2);
}

static void a_waiting_stream_gets_heartbeats(void **state) {
    (void)state;
    struct peer *stream = post("/s/0/b/xhr_streaming", "");
    wait_for(&loop, peer_count(stream, "h\n\r\n") >= 3); // the prelude and two beats
    peer_close(&loop, stream);
}

static void a_close_is_told_to_every_later_poll_until_the_end(void **state) {
    (void)state;
    expect(post("/s/0/a/xhr", ""), "o\n");
    expect(post("/s/0/a/xhr_send", "[\"last words\",\"close me\",\"unheard\"]"), "HTTP/1.1 204");
    wait_for(&loop, closed == 1);
    assert_int_equal(closed_code, 3001);
    expect(post("/s/0/a/xhr", ""), "a[\"last words\"]\n");
    expect(post("/s/0/a/xhr", ""), "c[3001,\"bye\"]\n");
    expect(post("/s/0/a/xhr", ""), "c[3001,\"bye\"]\n");
    expect(post("/s/0/a/xhr_send", "[\"x\"]"), "HTTP/1.1 404");
}

static void a_broken_off_poll_ends_the_session(void **state) {
    (void)state;
    expect(post("/s/0/a/xhr", ""), "o\n");
    struct peer *poll = post("/s/0/a/xhr", "");
    bool never = false;
    loop_run_until(&loop, &never, 20);
    peer_close(&loop, poll);
    wait_for(&loop, closed == 1);
    assert_int_equal(closed_code, 1002);
    expect(post("/s/0/a/xhr", ""), "c[1002,\"Connection interrupted\"]\n");
}

static void a_second_receiver_is_turned_away_and_the_first_goes_on(void **state) {
    (void)state;
    struct peer *stream = post("/s/0/a/xhr_streaming", "");
    wait_for(&loop, peer_has(stream, "o\n"));
    expect(post("/s/0/a/xhr", ""), "c[2010,\"Another connection still open\"]\n");
    expect(post("/s/0/a/xhr_send", "[\"still here\"]"), "HTTP/1.1 204");
    wait_for(&loop, peer_has(stream, "a[\"still here\"]\n"));
    assert_int_equal(closed, 0);
    peer_close(&loop, stream);
}

static void scripts_cannot_break_out_of_htmlfile_and_jsonp(void **state) {
    (void)state;
    struct peer *stream = request("GET", "/s/0/a/htmlfile?c=cb", "", "");
    wait_for(&loop, peer_has(stream, "p(\"o\");"));
    expect(post("/s/0/a/xhr_send", "[\"</script><script>alert(1)\"]"), "HTTP/1.1 204");
    wait_for(&loop, peer_has(stream, "\\u003c/script>\\u003cscript>alert(1)"));
    peer_close(&loop, stream);
    expect(request("GET", "/s/0/j/jsonp?c=cb", "", ""), "cb(\"o\");\r\n");
    static const char *const bad[] = {"?c=", "?c=a(b", "?c=%3Cscript%3E", "?x=1", "",
                                      "?c=aaaaaaaaaabbbbbbbbbbccccccccccddd"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char path[128];
        snprintf(path, sizeof path, "/s/0/k/jsonp%s", bad[i]);
        expect(request("GET", path, "", ""), "HTTP/1.1 500");
    }
    assert_int_equal(opened, 2);
}

static void foreign_origins_are_refused(void **state) {
    (void)state;
    expect(request("POST", "/s/0/a/xhr", "Origin: http://evil.example\r\n", ""), "HTTP/1.1 403");
    expect(request("POST", "/s/0/a/xhr", "Origin: http://test\r\n", ""),
           "access-control-allow-origin: http://test");
    struct peer *peer = peer_open(&loop, server);
    peer_send(peer, SLICE(HANDSHAKE("/s/websocket") "Origin: https://evil.example\r\n\r\n"));
    expect(peer, "HTTP/1.1 403");
    assert_int_equal(opened, 1);
}

static void paths_that_are_none_are_404(void **state) {
    (void)state;
    static const char *const paths[] = {"/s/a", "/s//", "/s/a/b", "/s/a/b/", "/s/a./b/xhr",
                                        "/s/a/b./xhr", "/s//b/xhr", "/s/a//xhr", "/s/a/b/c",
                                        "/s/a/b/xhr/c", "/sx", "/s/iframe-/.html", "/t/a/b/xhr"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        expect(post(paths[i], ""), "HTTP/1.1 404");
    assert_int_equal(opened, 0);
}

static struct peer *websocket_at(const char *handshake) {
    struct peer *peer = peer_open(&loop, server);
    peer_send(peer, slice_of(handshake));
    wait_head(&loop, peer);
    return peer;
}

static void the_websocket_transport_frames_its_messages(void **state) {
    (void)state;
    struct peer *peer = websocket_at(HANDSHAKE("/s/0/a/websocket") "\r\n");
    expect_frame(&loop, peer, WEBSOCKET_TEXT, "o");
    send_text(peer, "[\"a\",\"b\"]");
    expect_frame(&loop, peer, WEBSOCKET_TEXT, "a[\"a\"]");
    expect_frame(&loop, peer, WEBSOCKET_TEXT, "a[\"b\"]");
    send_text(peer, "");
    send_text(peer, "\"single\"");
    expect_frame(&loop, peer, WEBSOCKET_TEXT, "a[\"single\"]");
    send_text(peer, "[\"close me\"]");
    expect_frame(&loop, peer, WEBSOCKET_TEXT, "c[3001,\"bye\"]");
    expect_close(&loop, peer, 3001);
    peer_close(&loop, peer);
    peer = websocket_at(HANDSHAKE("/s/0/a/websocket") "\r\n");
    expect_frame(&loop, peer, WEBSOCKET_TEXT, "o");
    send_text(peer, "[\"a\",1]");
    expect_close(&loop, peer, 1002);
    peer_close(&loop, peer);
}

static void the_raw_websocket_passes_text_and_bytes_as_they_are(void **state) {
    (void)state;
    struct peer *peer = websocket_at(HANDSHAKE("/s/websocket") "\r\n");
    send_text(peer, "[\"a\"");
    expect_frame(&loop, peer, WEBSOCKET_TEXT, "[\"a\"");
    send_frame(peer, 0x82, SLICE("\xff\x01"));
    expect_frame(&loop, peer, WEBSOCKET_BINARY, "\xff\x01");
    peer_close(&loop, peer);
    wait_for(&loop, closed == 1);
}

static void new_sessions_are_refused_while_draining(void **state) {
    (void)state;
    sockjs_endpoint_refuse(endpoint, true);
    expect(post("/s/0/a/xhr", ""), "HTTP/1.1 503");
    sockjs_endpoint_refuse(endpoint, false);
    expect(post("/s/0/a/xhr", ""), "o\n");
}

static void a_queue_over_its_limit_cuts_the_client_off(void **state) {
    (void)state;
    expect(post("/s/0/a/xhr", ""), "o\n");
    char text[1001];
    memset(text, 'q', 1000);
    text[1000] = 0;
    for (int i = 0; i < 400 && session && !sockjs_session_closing(session); i++)
        sockjs_session_send_text(session, slice_of(text));
    wait_for(&loop, closed == 1);
    assert_int_equal(closed_code, 1006);
    expect(post("/s/0/a/xhr", ""), "o\n"); // it is as if it had never been
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_session_hops_from_poll_to_poll),
        cmocka_unit_test_setup_teardown(a_session_that_nobody_polls_ends, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(a_waiting_stream_gets_heartbeats, set_up_impatient, tear_down),
        TEST(a_close_is_told_to_every_later_poll_until_the_end),
        TEST(a_broken_off_poll_ends_the_session),
        TEST(a_second_receiver_is_turned_away_and_the_first_goes_on),
        TEST(scripts_cannot_break_out_of_htmlfile_and_jsonp),
        TEST(foreign_origins_are_refused),
        TEST(paths_that_are_none_are_404),
        TEST(the_websocket_transport_frames_its_messages),
        TEST(the_raw_websocket_passes_text_and_bytes_as_they_are),
        TEST(new_sessions_are_refused_while_draining),
        TEST(a_queue_over_its_limit_cuts_the_client_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
