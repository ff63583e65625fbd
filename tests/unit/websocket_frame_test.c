#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "websocket/frame.h"
#include "websocket/handshake.h"
#include "websocket/sha1.h"

static void heads_read_back_as_written_in_the_shortest_form(void **state) {
    (void)state;
    static const struct {
        uint64_t payload;
        size_t size;
    } cases[] = {{0, 2}, {125, 2}, {126, 4}, {65535, 4}, {65536, 10}, {UINT64_MAX >> 1, 10}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char bytes[WEBSOCKET_HEAD_MAX];
        struct websocket_head head;
        size_t size = websocket_head_write(bytes, WEBSOCKET_BINARY, true, cases[i].payload);
        assert_int_equal(size, cases[i].size);
        for (size_t part = 0; part < size; part++)
            assert_int_equal(websocket_head_read(slice_make(bytes, part), &head), 0);
        assert_int_equal(websocket_head_read(slice_make(bytes, size), &head), size);
        assert_true(head.fin && !head.masked);
        assert_int_equal(head.rsv, 4);
        assert_int_equal(head.opcode, WEBSOCKET_BINARY);
        assert_true(head.size == cases[i].payload);
    }
}

static void masking_in_pieces_equals_masking_at_once(void **state) {
    (void)state;
    static const uint8_t mask[4] = {1, 200, 3, 77};
    for (size_t cut = 0; cut <= 37; cut++) {
        char whole[37], parts[37];
        for (size_t i = 0; i < sizeof whole; i++) whole[i] = parts[i] = (char)(i * 7);
        websocket_mask(whole, sizeof whole, mask, 0);
        websocket_mask(parts, cut, mask, 0);
        websocket_mask(parts + cut, sizeof parts - cut, mask, cut);
        assert_memory_equal(whole, parts, sizeof whole);
        for (size_t i = 0; i < sizeof whole; i++)
            assert_int_equal((uint8_t)whole[i], (uint8_t)(i * 7) ^ mask[i % 4]);
    }
}

static void close_codes_that_may_be_sent(void **state) {
    (void)state;
    static const int good[] = {1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999};
    static const int bad[] = {0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(websocket_close_code_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(websocket_close_code_valid(bad[i]));
}

static void extension_offers_are_taken_or_passed_over(void **state) {
    (void)state;
    static const char *const good[] = {
        "permessage-deflate", "permessage-deflate; client_max_window_bits",
        "permessage-deflate;server_no_context_takeover; client_max_window_bits=\"10\"",
        "x-webkit-deflate-frame, permessage-deflate",
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        "permessage-deflate; server_max_window_bits=15",
    };
    static const char *const bad[] = {
        "", "deflate", "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7", "permessage-deflate; unknown",
        "permessage-deflate; client_max_window_bits=016", "permessage-deflate; server_max_window_bits",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover=1",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(websocket_handshake_window(slice_of(good[i])), WEBSOCKET_WINDOW);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(websocket_handshake_window(slice_of(bad[i])), 0);
    struct slice small = SLICE("permessage-deflate; server_max_window_bits=9");
    assert_int_equal(websocket_handshake_window(small), 9);
}

static void digest_is(struct slice text, const char *hex) {
    uint8_t digest[SHA1_SIZE];
    char got[2 * SHA1_SIZE + 1];
    sha1(text, digest);
    for (size_t i = 0; i < SHA1_SIZE; i++) {
        static const char digits[] = "0123456789abcdef";
        got[2 * i] = digits[digest[i] >> 4];
        got[2 * i + 1] = digits[digest[i] & 15];
    }
    got[2 * SHA1_SIZE] = 0;
    assert_string_equal(got, hex);
}

static void sha1_of_the_standards_examples(void **state) {
    (void)state;
    digest_is(SLICE(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    digest_is(SLICE("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    digest_is(SLICE("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    char million[1000];
    memset(million, 'a', sizeof million);
    digest_is(slice_make(million, sizeof million), "291e9a6c66994949b57ba5e650361e98fc36b1ba");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_read_back_as_written_in_the_shortest_form),
        cmocka_unit_test(masking_in_pieces_equals_masking_at_once),
        cmocka_unit_test(close_codes_that_may_be_sent),
        cmocka_unit_test(extension_offers_are_taken_or_passed_over),
        cmocka_unit_test(sha1_of_the_standards_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
