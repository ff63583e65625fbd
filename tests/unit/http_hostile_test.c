#include "http_support.h"

/// Requests that are malformed or mean harm, and what each must get. `answers` is how many answers
/// may come at all: a second one would mean that a smuggled request was taken for real.
struct hostile {
    const char *name;
    struct slice request;
    int status;
    const char *absent; ///< must not appear in the answers
};

#define H "Host: a.example\r\n"
#define R(text) SLICE(text)

static const struct hostile table[] = {
    // Line structure
    {"bare LF after the request line", R("GET / HTTP/1.1\n" H "\r\n"), 400, NULL},
    {"bare LF after a header", R("GET / HTTP/1.1\r\nHost: a.example\n\r\n"), 400, NULL},
    {"bare LF as the empty line", R("GET / HTTP/1.1\r\n" H "\n"), 400, NULL},
    {"bare CR in a value", R("GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n"), 400, NULL},
    {"bare CR in the target", R("GET /a\rb HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"CR CR LF", R("GET / HTTP/1.1\r\r\n" H "\r\n"), 400, NULL},
    {"NUL in the target", R("GET /\0 HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"NUL in a name", R("GET / HTTP/1.1\r\n" H "X\0Y: 1\r\n\r\n"), 400, NULL},
    {"NUL in a value", R("GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n"), 400, NULL},
    {"folded header with a space", R("GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"), 400, NULL},
    {"folded header with a tab", R("GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n"), 400, NULL},
    {"folded first header", R("GET / HTTP/1.1\r\n Host: a\r\n" H "\r\n"), 400, NULL},
    {"space before the method", R(" GET / HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"two empty lines first", R("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"space before the colon", R("GET / HTTP/1.1\r\n" H "X : 1\r\n\r\n"), 400, NULL},
    {"no colon", R("GET / HTTP/1.1\r\n" H "nonsense\r\n\r\n"), 400, NULL},
    {"empty header name", R("GET / HTTP/1.1\r\n" H ": 1\r\n\r\n"), 400, NULL},
    {"control byte in a value", R("GET / HTTP/1.1\r\n" H "X: a\x01\r\n\r\n"), 400, NULL},
    {"DEL in a value", R("GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n"), 400, NULL},
    {"bracket in a name", R("GET / HTTP/1.1\r\n" H "X[]: 1\r\n\r\n"), 400, NULL},
    {"high byte in a name", R("GET / HTTP/1.1\r\n" H "X\xc3\xa9: 1\r\n\r\n"), 400, NULL},
    // Request line
    {"no version", R("GET /\r\n\r\n"), 400, NULL},
    {"version 0.9", R("GET / HTTP/0.9\r\n" H "\r\n"), 505, NULL},
    {"version 2.0", R("GET / HTTP/2.0\r\n" H "\r\n"), 505, NULL},
    {"version 1.2", R("GET / HTTP/1.2\r\n" H "\r\n"), 505, NULL},
    {"HTTP/2 preface", R("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505, NULL},
    {"lower-case protocol", R("GET / http/1.1\r\n" H "\r\n"), 400, NULL},
    {"other protocol", R("OPTIONS / RTSP/1.0\r\n" H "\r\n"), 400, NULL},
    {"space behind the version", R("GET / HTTP/1.1 \r\n" H "\r\n"), 400, NULL},
    {"space in the target", R("GET /a b HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"two spaces", R("GET  / HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"tab for a space", R("GET\t/ HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"fragment in the target", R("GET /a#b HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"raw UTF-8 in the target", R("GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"relative target", R("GET a HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"asterisk with GET", R("GET * HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"unknown method", R("BREW / HTTP/1.1\r\n" H "\r\n"), 501, NULL},
    {"lower-case method", R("get / HTTP/1.1\r\n" H "\r\n"), 501, NULL},
    {"method with a bad byte", R("G{T / HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"CONNECT", R("CONNECT a.example:443 HTTP/1.1\r\n" H "\r\n"), 405, NULL},
    {"TRACE", R("TRACE / HTTP/1.1\r\n" H "\r\n"), 405, NULL},
    {"TLS hello", R("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n"), 400, NULL},
    {"SSH banner", R("SSH-2.0-OpenSSH_9.2\r\n\r\n"), 400, NULL},
    // Host
    {"no Host on 1.1", R("GET / HTTP/1.1\r\nX: 1\r\n\r\n"), 400, NULL},
    {"two Hosts", R("GET / HTTP/1.1\r\n" H "Host: b.example\r\n\r\n"), 400, NULL},
    {"two equal Hosts", R("GET / HTTP/1.1\r\n" H H "\r\n"), 400, NULL},
    {"two Hosts on 1.0", R("GET / HTTP/1.0\r\n" H "Host: b\r\n\r\n"), 400, NULL},
    {"empty Host", R("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400, NULL},
    {"Host with a list", R("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), 400, NULL},
    {"Host with a path", R("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400, NULL},
    {"Host with a user", R("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), 400, NULL},
    {"Host with a bad port", R("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"), 400, NULL},
    {"Host with a port too large", R("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"), 400, NULL},
    {"Host with markup", R("GET / HTTP/1.1\r\nHost: <b>\r\n\r\n"), 400, NULL},
    {"absolute form, another Host", R("GET http://b.example/ HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"absolute form, another scheme", R("GET ftp://a.example/ HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    {"absolute form with a user", R("GET http://u@a.example/ HTTP/1.1\r\n" H "\r\n"), 400, NULL},
    // Framing
    {"Content-Length with Transfer-Encoding",
     R("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
       "0\r\n\r\nGET /smuggled HTTP/1.1\r\n" H "\r\n"),
     400, "smuggled"},
    {"Transfer-Encoding with Content-Length",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
       "0\r\n\r\nGET /smuggled HTTP/1.1\r\n" H "\r\n"),
     400, "smuggled"},
    {"two Content-Lengths",
     R("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 400, NULL},
    {"two equal Content-Lengths",
     R("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"), 400, NULL},
    {"Content-Length as a list", R("POST / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\na"), 400, NULL},
    {"Content-Length with a plus", R("POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\na"), 400, NULL},
    {"negative Content-Length", R("POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\na"), 400, NULL},
    {"hexadecimal Content-Length", R("POST / HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\na"), 400, NULL},
    {"Content-Length with a space", R("POST / HTTP/1.1\r\n" H "Content-Length: 1 1\r\n\r\na"), 400, NULL},
    {"Content-Length beyond 64 bits",
     R("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\na"), 400, NULL},
    {"Content-Length beyond 63 bits",
     R("POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775807\r\n\r\na"), 400, NULL},
    {"empty Content-Length", R("POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"), 400, NULL},
    {"unknown transfer coding",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n"), 501, NULL},
    {"coding before chunked",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501, NULL},
    {"chunked is not last",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 400, NULL},
    {"chunked twice",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
       "0\r\n\r\n"),
     400, NULL},
    {"chunked behind a vertical tab",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n"), 400, NULL},
    {"chunked with a parameter",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n"), 501, NULL},
    {"chunked on a folded line",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"), 400, NULL},
    {"tab before the colon of Transfer-Encoding",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"), 400, NULL},
    {"misspelt chunked",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), 501, NULL},
    {"chunked on 1.0",
     R("POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, NULL},
    {"POST on 1.0 without a length", R("POST / HTTP/1.0\r\n" H "\r\n"), 411, NULL},
    {"CVE-2023-30589: header ended by CR alone",
     R("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nX: x\rContent-Length: 0\r\n\r\n"
       "1\r\nA\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n" H "\r\n"),
     400, "smuggled"},
    {"unknown expectation", R("POST / HTTP/1.1\r\n" H "Expect: magic\r\nContent-Length: 1\r\n\r\n"),
     417, NULL},
    // Chunks
#define C "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
    {"chunk size is no number", R(C "xyz\r\n"), 400, NULL},
    {"empty chunk size", R(C "\r\n"), 400, NULL},
    {"chunk size with 0x", R(C "0x1\r\na\r\n0\r\n\r\n"), 400, NULL},
    {"negative chunk size", R(C "-1\r\n"), 400, NULL},
    {"space before the chunk size", R(C " 1\r\na\r\n0\r\n\r\n"), 400, NULL},
    {"space behind the chunk size", R(C "1 \r\na\r\n0\r\n\r\n"), 400, NULL},
    {"chunk size ended by LF", R(C "1\na\r\n0\r\n\r\n"), 400, NULL},
    {"chunk size of 17 digits", R(C "10000000000000001\r\na\r\n0\r\n\r\n"), 400, NULL},
    {"chunk size that would wrap around", R(C "ffffffffffffffff\r\na\r\n0\r\n\r\n"), 400, NULL},
    {"chunk size behind a plus", R(C "+1\r\na\r\n0\r\n\r\n"), 400, NULL},
    {"chunk size with an underscore", R(C "1_0\r\na\r\n0\r\n\r\n"), 400, NULL},
    {"request in place of the CRLF of a chunk", R(C "1\r\naGET /smuggled HTTP/1.1\r\n" H "\r\n"), 400, "smuggled"},
    {"chunk longer than it says", R(C "1\r\nab\r\n0\r\n\r\n"), 400, NULL},
    {"chunk data ended by LF", R(C "1\r\na\n0\r\n\r\n"), 400, NULL},
    {"CR in a chunk extension", R(C "1;a\rb\r\na\r\n0\r\n\r\n"), 400, NULL},
    {"NUL in a chunk extension", R(C "1;a\0b\r\na\r\n0\r\n\r\n"), 400, NULL},
    {"trailer without a colon", R(C "1\r\na\r\n0\r\nnonsense\r\n\r\n"), 400, NULL},
    {"folded trailer", R(C "1\r\na\r\n0\r\nX: a\r\n b\r\n\r\n"), 400, NULL},
    {"trailer that frames", R(C "1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n"), 400, NULL},
    {"trailer that names a host", R(C "1\r\na\r\n0\r\nHost: b\r\n\r\n"), 400, NULL},
    {"end of the body by LF", R(C "1\r\na\r\n0\r\n\n"), 400, NULL},
    {"last chunk runs on", R(C "0\r\nGET /smuggled HTTP/1.1\r\n" H "\r\n"), 400, "smuggled"},
    // Single values twice
    {"two Content-Types",
     R("GET / HTTP/1.1\r\n" H "Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n"), 400, NULL},
    {"two Authorizations",
     R("GET / HTTP/1.1\r\n" H "Authorization: a\r\nAuthorization: b\r\n\r\n"), 400, NULL},
};

_Static_assert(sizeof table / sizeof *table >= 100, "each of these is there for an attack that somebody has seen");

struct fixture {
    struct loop loop;
    struct http_server *server;
};

static int setup(void **state) {
    struct fixture *f = memory_zero(1, sizeof *f);
    log_set_sink(quiet, NULL);
    assert_int_equal(loop_init(&f->loop), 0);
    struct http_server_options options = {.on_request = echo_request, .access_log = true};
    http_limits_default(&options.limits);
    options.limits.per_address = 0;
    f->server = http_server_new(&f->loop, &options);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    http_server_free(f->server);
    assert_int_equal(loop_close(&f->loop), 0);
    memory_free(f);
    return 0;
}

static void expect_refusal(struct fixture *f, const struct hostile *hostile, bool byte_by_byte) {
    struct peer *peer = peer_open(&f->loop, f->server);
    if (byte_by_byte) {
        for (size_t i = 0; i < hostile->request.size && !peer->closed; i++) {
            peer_send(peer, slice_sub(hostile->request, i, 1));
            socket_flush(&peer->socket);
            bool never = false;
            if (i % 16 == 0) loop_run_until(&f->loop, &never, 0);
        }
    } else {
        peer_send(peer, hostile->request);
    }
    uint64_t limit = loop_now(&f->loop) + 3000;
    bool never = false;
    while (!peer->ended && loop_now(&f->loop) < limit) loop_run_until(&f->loop, &never, 1);
    if (!peer->ended) fail_msg("%s: not closed: %.*s", hostile->name, SLICE_FORMAT(buffer_slice(&peer->received)));
    int status = peer_status(peer);
    if (status != hostile->status)
        fail_msg("%s: got %d, not %d:\n%.*s", hostile->name, status, hostile->status,
                 SLICE_FORMAT(buffer_slice(&peer->received)));
    if (peer_count(peer, "HTTP/1.1 ") != 1) fail_msg("%s: more than one answer", hostile->name);
    if (!peer_has(peer, "Connection: close")) fail_msg("%s: no Connection: close", hostile->name);
    if (hostile->absent && peer_has(peer, hostile->absent))
        fail_msg("%s: the answer holds '%s'", hostile->name, hostile->absent);
    peer_close(&f->loop, peer);
}

static void hostile_requests_are_refused_and_closed(void **state) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) expect_refusal(*state, &table[i], false);
}

static void hostile_requests_in_pieces_are_refused_the_same(void **state) {
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) expect_refusal(*state, &table[i], true);
}

static void expect_text(struct fixture *f, const char *name, struct buffer *text, int status) {
    struct hostile hostile = {name, buffer_slice(text), status, NULL};
    expect_refusal(f, &hostile, false);
    buffer_free(text);
}

static void what_is_too_long_or_too_much_is_refused(void **state) {
    struct buffer text = {0};
    buffer_append_text(&text, "GET /");
    for (int i = 0; i < 9000; i++) buffer_append_char(&text, 'a');
    buffer_append_text(&text, " HTTP/1.1\r\n" H "\r\n");
    expect_text(*state, "long target", &text, 414);

    buffer_append_text(&text, "GET /");
    for (int i = 0; i < 40000; i++) buffer_append_char(&text, 'a');
    expect_text(*state, "target without an end", &text, 414);

    buffer_append_text(&text, "GET / HTTP/1.1\r\n" H "X: ");
    for (int i = 0; i < 40000; i++) buffer_append_char(&text, 'a');
    expect_text(*state, "header without an end", &text, 431);

    buffer_append_text(&text, "GET / HTTP/1.1\r\n" H);
    for (int i = 0; i < 101; i++) buffer_printf(&text, "X%d: 1\r\n", i);
    buffer_append_text(&text, "\r\n");
    expect_text(*state, "101 headers", &text, 431);

    buffer_append_text(&text, "GET / HTTP/1.1\r\n" H);
    for (int i = 0; i < 100000; i++) buffer_printf(&text, "X%d: 1\r\n", i);
    expect_text(*state, "100,000 headers", &text, 431);

    buffer_append_text(&text, "GET / HTTP/1.1\r\n" H);
    for (int i = 0; i < 300; i++) buffer_append_char(&text, 'x');
    buffer_append_text(&text, ": 1\r\n\r\n");
    expect_text(*state, "long header name", &text, 431);

    buffer_append_text(&text, C "1;");
    for (int i = 0; i < 2000; i++) buffer_append_char(&text, 'x');
    buffer_append_text(&text, "\r\na\r\n0\r\n\r\n");
    expect_text(*state, "long chunk extension", &text, 400);

    buffer_append_text(&text, C);
    for (int i = 0; i < 2000; i++) buffer_append_text(&text, "1;x\r\na\r\n");
    buffer_append_text(&text, "0\r\n\r\n");
    expect_text(*state, "many chunk extensions", &text, 400);

    buffer_append_text(&text, C "0\r\n");
    for (int i = 0; i < 100; i++) buffer_printf(&text, "X%d: 1\r\n", i);
    buffer_append_text(&text, "\r\n");
    expect_text(*state, "many trailers", &text, 400);

    buffer_append_text(&text, C "0\r\nX: ");
    for (int i = 0; i < 5000; i++) buffer_append_char(&text, 'x');
    buffer_append_text(&text, "\r\n\r\n");
    expect_text(*state, "long trailer", &text, 400);

    buffer_append_text(&text, "POST / HTTP/1.1\r\n" H "Content-Length: 70000\r\n\r\n");
    expect_text(*state, "body announced too large", &text, 413);

    buffer_append_text(&text, C "20000\r\n");
    for (int i = 0; i < 0x20000; i++) buffer_append_char(&text, 'x');
    expect_text(*state, "chunk too large", &text, 413);
}

static void long_posts_to_a_refusal_still_get_the_answer(void **state) {
    struct fixture *f = *state;
    struct peer *peer = peer_open(&f->loop, f->server);
    struct buffer text = {0};
    buffer_append_text(&text, "POST / HTTP/1.1\r\n" H "Content-Length: 700000\r\n\r\n");
    for (int i = 0; i < 700000; i++) buffer_append_char(&text, 'x');
    peer_send(peer, buffer_slice(&text));
    wait_for(&f->loop, peer->ended);
    assert_int_equal(peer_status(peer), 413);
    buffer_free(&text);
    peer_close(&f->loop, peer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hostile_requests_are_refused_and_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_requests_in_pieces_are_refused_the_same, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_too_long_or_too_much_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(long_posts_to_a_refusal_still_get_the_answer, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("http_hostile", tests, NULL, NULL);
}
