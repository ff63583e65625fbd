#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include "base/md5.h"
#include "streaming/link.h"
#include "streaming/order.h"
#include "streaming/ticket.h"

static const unsigned char key[TICKET_KEY_SIZE] = "0123456789abcdef0123456789abcdef";

static struct ticket sample(void) {
    struct ticket ticket = {.account = 7, .rate = 60000000, .limit = 600, .policy = TICKET_PAID,
                            .show = 12, .free = 120, .minimum = 5000000, .increment = 60,
                            .off_bp = 2500, .expires = 1000, .slug = "luna"};
    return ticket;
}

static void a_ticket_says_what_was_put_into_it(void **state) {
    (void)state;
    struct ticket made = sample(), read;
    struct buffer text = {0};
    assert_true(ticket_make(&text, &made, key));
    assert_null(ticket_read(&read, buffer_slice(&text), key, 1000));
    assert_int_equal(read.account, 7);
    assert_int_equal(read.rate, 60000000);
    assert_int_equal(read.limit, 600);
    assert_int_equal(read.policy, TICKET_PAID);
    assert_int_equal(read.show, 12);
    assert_int_equal(read.free, 120);
    assert_int_equal(read.minimum, 5000000);
    assert_int_equal(read.increment, 60);
    assert_int_equal(read.off_bp, 2500);
    assert_string_equal(read.slug, "luna");
    assert_string_equal(read.nonce, made.nonce);
    buffer_free(&text);
}

static void the_longest_ticket_fits_into_160_characters(void **state) {
    (void)state;
    struct ticket made = sample();
    struct buffer text = {0};
    memset(made.slug, 'x', SLUG_LIMIT);
    made.slug[SLUG_LIMIT] = '\0';
    made.account = made.rate = INT64_MAX;
    assert_true(ticket_make(&text, &made, key));
    assert_in_range(text.size, 1, TICKET_TEXT_LIMIT);
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        assert_true((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_');
    }
    buffer_free(&text);
}

static void every_changed_character_is_noticed(void **state) {
    (void)state;
    struct ticket made = sample(), read;
    struct buffer text = {0};
    assert_true(ticket_make(&text, &made, key));
    for (size_t i = 0; i < text.size; i++) {
        char kept = text.data[i];
        text.data[i] = kept == 'A' ? 'B' : 'A';
        assert_non_null(ticket_read(&read, buffer_slice(&text), key, 0));
        text.data[i] = kept;
    }
    for (size_t size = 0; size < text.size; size++) {
        assert_non_null(ticket_read(&read, slice_make(text.data, size), key, 0));
    }
    unsigned char other[TICKET_KEY_SIZE] = {1};
    assert_string_equal(ticket_read(&read, buffer_slice(&text), other, 0), "forged");
    assert_string_equal(ticket_read(&read, buffer_slice(&text), key, 1001), "expired");
    buffer_free(&text);
}

static void out_of_bounds_is_not_made(void **state) {
    (void)state;
    struct buffer text = {0};
    struct ticket ticket = sample();
    ticket.account = -1;
    assert_false(ticket_make(&text, &ticket, key));
    ticket = sample();
    ticket.slug[0] = '.';
    assert_false(ticket_make(&text, &ticket, key));
    ticket = sample();
    ticket.expires = (int64_t)UINT32_MAX + 1;
    assert_false(ticket_make(&text, &ticket, key));
    assert_int_equal(text.size, 0);
    buffer_free(&text);
}

static void nonces_differ(void **state) {
    (void)state;
    struct ticket a = sample(), b = sample();
    struct buffer text = {0};
    assert_true(ticket_make(&text, &a, key));
    assert_true(ticket_make(&text, &b, key));
    assert_string_not_equal(a.nonce, b.nonce);
    buffer_free(&text);
}

static void md5_is_the_rfcs(void **state) {
    (void)state;
    static const struct {
        const char *text, *hex;
    } vectors[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        unsigned char digest[MD5_SIZE];
        char hex[2 * MD5_SIZE + 1];
        md5(digest, vectors[i].text, strlen(vectors[i].text));
        for (int b = 0; b < MD5_SIZE; b++) snprintf(hex + 2 * b, 3, "%02x", digest[b]);
        assert_string_equal(hex, vectors[i].hex);
    }
}

static void links_are_nginxs(void **state) {
    (void)state;
    struct buffer out = {0};
    // printf '1700000000/segments/luna/7.ts secret' | openssl md5 -binary | basenc --base64url
    link_sign(&out, SLICE("/segments/luna/7.ts"), 1700000000, "secret");
    assert_string_equal(buffer_text(&out),
                        "/segments/luna/7.ts?e=1700000000&s=6h5MbI_peQYSxC1Mh-TWWw");
    buffer_free(&out);
}

static void orders_read(void **state) {
    (void)state;
    struct order order;
    assert_null(order_read(&order, SLICE(" {\"do\":\"drop\",\"slug\":\"luna\",\"who\":\"viewers\","
                                         "\"other\":true,\"reason\":\"a \\\"ban\\\"\"} ")));
    assert_string_equal(order.verb, "drop");
    assert_string_equal(order.slug, "luna");
    assert_string_equal(order.who, "viewers");
    assert_string_equal(order.reason, "a \"ban\"");
    assert_null(order_read(&order, SLICE("{\"do\":\"kick\",\"account\":7}")));
    assert_int_equal(order.account, 7);
}

static void broken_orders_do_nothing(void **state) {
    (void)state;
    static const char *const broken[] = {
        "", "{", "[]", "{}", "{\"do\":\"cut\"", "{\"do\":\"cut\"}x", "{\"do\":1}",
        "{\"do\":\"cut\",}", "{\"do\" \"cut\"}", "{\"do\":\"cut\",\"sid\":[\"a\"]}",
        "{\"do\":\"averyveryverylongverb\"}", "{\"do\":\"cut\",\"account\":1.5}",
        "{\"do\":\"c\\u0075t\"}", "{\"do\":\"cu\nt\"}",
    };
    struct order order;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_non_null(order_read(&order, slice_of(broken[i])));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_says_what_was_put_into_it),
        cmocka_unit_test(the_longest_ticket_fits_into_160_characters),
        cmocka_unit_test(every_changed_character_is_noticed),
        cmocka_unit_test(out_of_bounds_is_not_made),
        cmocka_unit_test(nonces_differ),
        cmocka_unit_test(md5_is_the_rfcs),
        cmocka_unit_test(links_are_nginxs),
        cmocka_unit_test(orders_read),
        cmocka_unit_test(broken_orders_do_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
