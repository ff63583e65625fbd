#include "websocket_support.h"

#include <stdio.h>

#include "websocket/connection.h"
#include "websocket/deflate.h"

/// An echo over socket pairs: the rules of RFC 6455 as seen by a client that may break them.
static struct loop loop;
static struct http_server *server;
static struct websocket_options options;
static struct websocket *last;
static int closed_code;
static unsigned closed_count;
static char closed_reason[128];

static void on_message(struct websocket *ws, struct slice message, bool binary) {
    if (slice_equal(message, SLICE("close me"))) websocket_close(ws, 4001, "as you wish");
    else if (slice_equal(message, SLICE("abort me"))) websocket_abort(ws);
    else websocket_send(ws, message, binary);
}

static void on_close(struct websocket *ws, int code, struct slice reason) {
    if (ws == last) last = NULL;
    closed_code = code;
    closed_count++;
    snprintf(closed_reason, sizeof closed_reason, "%.*s", SLICE_FORMAT(reason));
}

static const struct websocket_events events = {.on_message = on_message, .on_close = on_close};

static void on_request(void *context, struct http_request *request) {
    (void)context;
    last = websocket_accept(request, &options, &events, NULL);
}

static int set_up(void **state) {
    (void)state;
    log_set_sink(quiet, NULL);
    options = (struct websocket_options){.message_limit = 1000, .deflate = true};
    closed_code = 0;
    closed_count = 0;
    assert_int_equal(loop_init(&loop), 0);
    struct http_server_options http = {.name = "test", .on_request = on_request};
    http_limits_default(&http.limits);
    server = http_server_new(&loop, &http);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    if (last) websocket_abort(last);
    wait_for(&loop, !last);
    http_server_free(server);
    bool never = false;
    loop_run_until(&loop, &never, 20);
    assert_int_equal(loop_close(&loop), 0);
    log_set_sink(NULL, NULL);
    return 0;
}

static struct peer *join(const char *more) {
    struct peer *peer = peer_open(&loop, server);
    peer_send(peer, SLICE(HANDSHAKE("/")));
    peer_send(peer, slice_of(more));
    peer_send(peer, SLICE("\r\n"));
    wait_head(&loop, peer);
    return peer;
}

static void the_handshake_answers_the_sample_key(void **state) {
    (void)state;
    struct peer *peer = peer_open(&loop, server);
    peer_send(peer, SLICE(HANDSHAKE("/") "\r\n"));
    wait_for(&loop, peer_has(peer, "\r\n\r\n"));
    assert_int_equal(peer_status(peer), 101);
    assert_true(peer_has(peer, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert_false(peer_has(peer, "Extensions"));
    peer_close(&loop, peer);
}

static void bad_handshakes_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 426},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2hvcnQ=\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer *peer = peer_open(&loop, server);
        peer_send(peer, slice_of(cases[i].text));
        wait_for(&loop, peer_has(peer, "\r\n\r\n"));
        assert_int_equal(peer_status(peer), cases[i].status);
        peer_close(&loop, peer);
    }
}

static void messages_of_every_length_come_back(void **state) {
    (void)state;
    options.message_limit = 100000;
    struct peer *peer = join("");
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *text = memory_zero(1, sizes[i] + 1);
        memset(text, 'a' + (int)i, sizes[i]);
        send_text(peer, text);
        expect_frame(&loop, peer, WEBSOCKET_TEXT, text);
        memory_free(text);
    }
    peer_close(&loop, peer);
}

static void a_message_may_come_byte_by_byte(void **state) {
    (void)state;
    struct peer *peer = join("");
    struct buffer frame = {0};
    put_frame(&frame, 0x01, SLICE("k\xc3"));
    put_frame(&frame, 0x00, SLICE("\xa4"));
    put_frame(&frame, 0x80, SLICE("se"));
    for (size_t i = 0; i < frame.size; i++) {
        peer_send(peer, slice_make(frame.data + i, 1));
        bool never = false;
        loop_run_until(&loop, &never, 1);
    }
    expect_frame(&loop, peer, WEBSOCKET_TEXT, "k\xc3\xa4se");
    buffer_free(&frame);
    peer_close(&loop, peer);
}

static void control_frames_pass_between_fragments(void **state) {
    (void)state;
    struct peer *peer = join("");
    send_frame(peer, 0x01, SLICE("one "));
    send_frame(peer, 0x89, SLICE("ping"));
    send_frame(peer, 0x8a, SLICE("unasked"));
    send_frame(peer, 0x80, SLICE("two"));
    expect_frame(&loop, peer, WEBSOCKET_PONG, "ping");
    expect_frame(&loop, peer, WEBSOCKET_TEXT, "one two");
    peer_close(&loop, peer);
}

static void a_first_frame_behind_the_handshake_is_read(void **state) {
    (void)state;
    struct peer *peer = peer_open(&loop, server);
    struct buffer all = {0};
    buffer_append_text(&all, HANDSHAKE("/") "\r\n");
    put_frame(&all, 0x81, SLICE("early"));
    peer_send(peer, buffer_slice(&all));
    buffer_free(&all);
    wait_head(&loop, peer);
    expect_frame(&loop, peer, WEBSOCKET_TEXT, "early");
    peer_close(&loop, peer);
}

static void broken_frames_close_with_their_code(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        int code;
    } cases[] = {
#define CASE(text, code) {text, sizeof text - 1, code}
        CASE("\x81\x02hi", 1002),                              // not masked
        CASE("\xc1\x80\x01\x02\x03\x04", 1002),                // RSV1 without the extension
        CASE("\xa1\x80\x01\x02\x03\x04", 1002),                // RSV2
        CASE("\x83\x80\x01\x02\x03\x04", 1002),                // an opcode that does not exist
        CASE("\x8b\x80\x01\x02\x03\x04", 1002),
        CASE("\x80\x80\x01\x02\x03\x04", 1002),                // a continuation of nothing
        CASE("\x09\x80\x01\x02\x03\x04", 1002),                // a fragmented ping
        CASE("\x89\xfe\x00\x7e\x01\x02\x03\x04", 1002),        // a ping of 126 bytes
        CASE("\x81\xfe\x00\x7d\x01\x02\x03\x04", 1002),        // 125 bytes in the long form
        CASE("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00", 1002),// 2^63 bytes
        CASE("\x81\xff\x00\x00\x00\x00\x7f\xff\xff\xff\x01\x02\x03\x04", 1009),
        CASE("\x81\xfe\x03\xe9\x01\x02\x03\x04", 1009),        // one more than the limit
        CASE("\x81\x81\x00\x00\x00\x00\xff", 1007),            // not UTF-8
        CASE("\x81\x82\x00\x00\x00\x00\xc3\x28", 1007),
        CASE("\x81\x81\x00\x00\x00\x00\xc3", 1007),            // ends in mid-character
        CASE("\x88\x81\x00\x00\x00\x00\x03", 1002),            // a close frame of one byte
        CASE("\x88\x82\x00\x00\x00\x00\x03\xed", 1002),        // 1005 on the wire
        CASE("\x88\x82\x00\x00\x00\x00\x03\xe7", 1002),        // 999
        CASE("\x88\x82\x00\x00\x00\x00\x0b\xb7", 1002),        // 2999
        CASE("\x88\x83\x00\x00\x00\x00\x03\xe8\xff", 1007),    // a reason that is not UTF-8
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer *peer = join("");
        unsigned before = closed_count;
        peer_send(peer, slice_make(cases[i].bytes, cases[i].size));
        expect_close(&loop, peer, cases[i].code);
        wait_for(&loop, peer->ended && closed_count == before + 1);
        assert_int_equal(closed_code, cases[i].code);
        peer_close(&loop, peer);
    }
}

static void a_message_that_grows_past_the_limit_closes(void **state) {
    (void)state;
    struct peer *peer = join("");
    char part[600];
    memset(part, 'x', sizeof part);
    send_frame(peer, 0x01, slice_make(part, sizeof part));
    send_frame(peer, 0x80, slice_make(part, sizeof part));
    expect_close(&loop, peer, 1009);
    peer_close(&loop, peer);
}

static void a_text_inside_a_message_closes(void **state) {
    (void)state;
    struct peer *peer = join("");
    send_frame(peer, 0x01, SLICE("one"));
    send_frame(peer, 0x81, SLICE("two"));
    expect_close(&loop, peer, 1002);
    peer_close(&loop, peer);
}

static void invalid_text_fails_before_its_last_fragment(void **state) {
    (void)state;
    struct peer *peer = join("");
    send_frame(peer, 0x01, SLICE("fine \xf0\x9f"));
    send_frame(peer, 0x00, SLICE("\x28"));
    expect_close(&loop, peer, 1007);
    peer_close(&loop, peer);
}

static void the_peers_close_is_echoed(void **state) {
    (void)state;
    struct peer *peer = join("");
    send_frame(peer, 0x88, SLICE("\x0f\xa0so long"));
    expect_close(&loop, peer, 4000);
    wait_for(&loop, peer->ended && closed_count == 1);
    assert_int_equal(closed_code, 4000);
    assert_string_equal(closed_reason, "so long");
    peer_close(&loop, peer);
    peer = join("");
    send_frame(peer, 0x88, SLICE(""));
    expect_close(&loop, peer, 1005);
    wait_for(&loop, closed_count == 2);
    assert_int_equal(closed_code, 1005);
    peer_close(&loop, peer);
}

static void our_close_waits_for_the_peers_and_hears_nothing_more(void **state) {
    (void)state;
    struct peer *peer = join("");
    send_text(peer, "close me");
    send_text(peer, "and answer this");
    expect_close(&loop, peer, 4001);
    assert_int_equal(closed_count, 0);
    send_frame(peer, 0x88, SLICE("\x0f\xa1"));
    wait_for(&loop, closed_count == 1 && peer->ended);
    assert_int_equal(closed_code, 4001);
    assert_int_equal(peer->received.size, 0);
    peer_close(&loop, peer);
}

static void a_lost_connection_is_1006(void **state) {
    (void)state;
    struct peer *peer = join("");
    peer_close(&loop, peer);
    wait_for(&loop, closed_count == 1);
    assert_int_equal(closed_code, 1006);
    peer = join("");
    send_text(peer, "abort me");
    wait_for(&loop, closed_count == 2);
    assert_int_equal(closed_code, 1006);
    peer_close(&loop, peer);
}

static void a_silent_peer_is_pinged_and_given_up(void **state) {
    (void)state;
    options.ping_ms = 40;
    options.pong_ms = 40;
    struct peer *peer = join("");
    expect_frame(&loop, peer, WEBSOCKET_PING, "");
    send_frame(peer, 0x8a, SLICE("")); // answers once: gets another ping
    expect_frame(&loop, peer, WEBSOCKET_PING, "");
    wait_for(&loop, closed_count == 1); // and then no more
    assert_int_equal(closed_code, 1006);
    peer_close(&loop, peer);
}

static void a_flood_of_pings_closes(void **state) {
    (void)state;
    options.control_rate = 50;
    struct peer *peer = join("");
    struct buffer flood = {0};
    for (int i = 0; i < 200; i++) put_frame(&flood, 0x89, SLICE("x"));
    peer_send(peer, buffer_slice(&flood));
    buffer_free(&flood);
    wait_for(&loop, closed_count == 1);
    assert_int_equal(closed_code, 1008);
    peer_close(&loop, peer);
}

static void a_peer_that_does_not_read_is_reset_at_the_limit(void **state) {
    (void)state;
    options.queue_limit = 200000;
    struct peer *peer = join("");
    socket_pause(&peer->socket);
    char *block = memory_zero(1, 50001);
    memset(block, 'b', 50000);
    for (int i = 0; i < 1000 && last; i++) {
        if (!websocket_closing(last)) websocket_send(last, slice_of(block), false);
        bool never = false;
        loop_run_until(&loop, &never, 0);
    }
    wait_for(&loop, closed_count == 1);
    assert_int_equal(closed_code, 1006);
    memory_free(block);
    peer_close(&loop, peer);
}

static void a_queue_without_progress_is_reset_in_time(void **state) {
    (void)state;
    options.stall_ms = 50;
    options.queue_limit = 100 * 1000 * 1000;
    struct peer *peer = join("");
    socket_pause(&peer->socket);
    char *block = memory_zero(1, 4000001);
    memset(block, 'b', 4000000);
    websocket_send(last, slice_of(block), false);
    bool never = false;
    loop_run_until(&loop, &never, 5);
    websocket_send(last, SLICE("one more"), false);
    wait_for(&loop, closed_count == 1);
    assert_int_equal(closed_code, 1006);
    memory_free(block);
    peer_close(&loop, peer);
}

static void deflated_messages_are_understood_and_sent(void **state) {
    (void)state;
    options.message_limit = 100000;
    struct peer *peer = join("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
    char text[2001];
    memset(text, 'z', 2000);
    text[2000] = 0;
    struct buffer deflated = {0}, inflated = {0}, payload = {0};
    websocket_deflate(&deflated, slice_of(text));
    assert_true(deflated.size < 100);
    // In two fragments: RSV1 stands on the first only.
    send_frame(peer, 0x41, slice_make(deflated.data, 5));
    send_frame(peer, 0x80, slice_make(deflated.data + 5, deflated.size - 5));
    struct websocket_head head;
    wait_frame(&loop, peer, &head, &payload);
    assert_int_equal(head.rsv, 4);
    assert_true(payload.size < 100);
    assert_int_equal(websocket_inflate(&inflated, buffer_slice(&payload), 5000), 0);
    assert_true(slice_equal(buffer_slice(&inflated), slice_of(text)));
    send_text(peer, "small ones go as they are");
    wait_frame(&loop, peer, &head, &payload);
    assert_int_equal(head.rsv, 0);
    buffer_free(&deflated);
    buffer_free(&inflated);
    buffer_free(&payload);
    peer_close(&loop, peer);
}

static void a_deflate_bomb_stops_at_the_limit(void **state) {
    (void)state;
    struct peer *peer = join("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    char *zeros = memory_zero(1, 500000);
    struct buffer deflated = {0};
    websocket_deflate(&deflated, slice_make(zeros, 500000));
    assert_true(deflated.size < 1000);
    send_frame(peer, 0xc2, buffer_slice(&deflated));
    expect_close(&loop, peer, 1009);
    memory_free(zeros);
    buffer_free(&deflated);
    peer_close(&loop, peer);
    peer = join("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    send_frame(peer, 0xc2, SLICE("\xff\xff\xff\xff"));
    expect_close(&loop, peer, 1007);
    peer_close(&loop, peer);
}

static void a_peer_with_a_smaller_window_gets_messages_as_they_are(void **state) {
    (void)state;
    struct peer *peer = peer_open(&loop, server);
    peer_send(peer, SLICE(HANDSHAKE("/") "Sec-WebSocket-Extensions: permessage-deflate; "
                                         "server_max_window_bits=9\r\n\r\n"));
    wait_for(&loop, peer_has(peer, "\r\n\r\n"));
    assert_true(peer_has(peer, "; server_max_window_bits=9\r\n"));
    assert_true(take_head(peer));
    char *text = memory_zero(1, 801);
    memset(text, 'x', 800);
    struct buffer deflated = {0};
    websocket_deflate(&deflated, slice_make(text, 800));
    send_frame(peer, 0xc1, buffer_slice(&deflated));
    struct websocket_head head;
    struct buffer payload = {0};
    wait_frame(&loop, peer, &head, &payload);
    assert_int_equal(head.rsv, 0);
    assert_string_equal(buffer_text(&payload), text);
    buffer_free(&deflated);
    buffer_free(&payload);
    memory_free(text);
    peer_close(&loop, peer);
}

// ---- the draft of 2010 -----------------------------------------------------------------------

#define OLD_HANDSHAKE                                                                              \
    "GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"    \
    "Origin: http://example.com\r\n"

/// With the keys of the draft's own example.
static struct peer *join_old(const char *body) {
    options.hixie76 = true;
    struct peer *peer = peer_open(&loop, server);
    peer_send(peer, SLICE(OLD_HANDSHAKE "Sec-WebSocket-Key1: 18x 6]8vM;54 *(5:  {   U1]8  z [  8\r\n"
                                        "Sec-WebSocket-Key2: 1_ tx7X d  <  nw  334J702) 7]o}` 0\r\n"
                                        "\r\n"));
    peer_send(peer, slice_of(body));
    wait_for(&loop, peer_has(peer, "\r\n\r\n"));
    assert_true(peer_has(peer, "Sec-WebSocket-Location: ws://example.com/chat\r\n"));
    assert_true(peer_has(peer, "Sec-WebSocket-Origin: http://example.com\r\n"));
    return peer;
}

static void wait_bytes(struct peer *peer, struct slice wanted) {
    wait_for(&loop, slice_ends(buffer_slice(&peer->received), wanted));
}

static void a_peer_of_the_old_draft_is_understood(void **state) {
    (void)state;
    struct peer *peer = join_old("");
    assert_true(slice_ends(buffer_slice(&peer->received), SLICE("\r\n\r\n")));
    websocket_send(last, SLICE("early"), false); // before the challenge has come
    peer_send(peer, SLICE("Tm["));
    peer_send(peer, SLICE("K T2u"));
    wait_bytes(peer, SLICE("\r\n\r\nfQJ,fN/4F4!~K~MH\0early\xff"));
    peer_send(peer, SLICE("\0hel"));
    peer_send(peer, SLICE("lo\xff\0\xff"));
    wait_bytes(peer, SLICE("\0hello\xff\0\xff"));
    struct chunk *frame = websocket_frame_new(SLICE("shared"), WEBSOCKET_TEXT);
    websocket_send_frame(last, frame);
    chunk_release(frame);
    websocket_send(last, SLICE("no binary"), true);
    wait_bytes(peer, SLICE("\0shared\xff"));
    peer_send(peer, SLICE("\xff\0"));
    wait_bytes(peer, SLICE("\xff\0"));
    wait_for(&loop, closed_count == 1);
    assert_int_equal(closed_code, 1005);
    peer_close(&loop, peer);
}

static void broken_frames_of_the_old_draft_close(void **state) {
    (void)state;
    struct slice cases[] = {SLICE("Tm[K T2u\x80\x01z"), SLICE("Tm[K T2u\0\xc3\xff"),
                            SLICE("Tm[K T2u\xff\x01")};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer *peer = join_old("");
        peer_send(peer, cases[i]);
        wait_bytes(peer, SLICE("\xff\0"));
        wait_for(&loop, closed_count == i + 1);
        peer_close(&loop, peer);
    }
}

static void the_old_draft_is_refused_unless_it_is_wanted(void **state) {
    (void)state;
    options.hixie76 = true;
    static const char *const keys[] = {"Sec-WebSocket-Key1: 12\r\nSec-WebSocket-Key2: 1 2\r\n",
                                       "Sec-WebSocket-Key1: 1 2\r\nSec-WebSocket-Key2: 1 1 1\r\n",
                                       "Sec-WebSocket-Key1: 1 2\r\nSec-WebSocket-Key2: 2 2\r\n"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (i == 2) options.hixie76 = false; // the one whose keys are right
        struct peer *peer = peer_open(&loop, server);
        peer_send(peer, SLICE(OLD_HANDSHAKE));
        peer_send(peer, slice_of(keys[i]));
        peer_send(peer, SLICE("\r\n"));
        wait_for(&loop, peer_has(peer, "\r\n\r\n"));
        assert_int_equal(peer_status(peer), 426);
        peer_close(&loop, peer);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_handshake_answers_the_sample_key),
        TEST(bad_handshakes_are_refused),
        TEST(messages_of_every_length_come_back),
        TEST(a_message_may_come_byte_by_byte),
        TEST(control_frames_pass_between_fragments),
        TEST(a_first_frame_behind_the_handshake_is_read),
        TEST(broken_frames_close_with_their_code),
        TEST(a_message_that_grows_past_the_limit_closes),
        TEST(a_text_inside_a_message_closes),
        TEST(invalid_text_fails_before_its_last_fragment),
        TEST(the_peers_close_is_echoed),
        TEST(our_close_waits_for_the_peers_and_hears_nothing_more),
        TEST(a_lost_connection_is_1006),
        TEST(a_silent_peer_is_pinged_and_given_up),
        TEST(a_flood_of_pings_closes),
        TEST(a_peer_that_does_not_read_is_reset_at_the_limit),
        TEST(a_queue_without_progress_is_reset_in_time),
        TEST(deflated_messages_are_understood_and_sent),
        TEST(a_deflate_bomb_stops_at_the_limit),
        TEST(a_peer_with_a_smaller_window_gets_messages_as_they_are),
        TEST(a_peer_of_the_old_draft_is_understood),
        TEST(broken_frames_of_the_old_draft_close),
        TEST(the_old_draft_is_refused_unless_it_is_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
