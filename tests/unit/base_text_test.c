#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/hash.h"
#include "base/metrics.h"
#include "base/settings.h"
#include "base/utf8.h"

static void assert_slice(struct slice s, const char *expected) {
    assert_int_equal(s.size, strlen(expected));
    assert_memory_equal(s.data, expected, s.size);
}

static void numbers_are_digits_only_and_do_not_overflow(void **state) {
    (void)state;
    uint64_t u;
    int64_t i;
    assert_true(slice_to_u64(SLICE("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_false(slice_to_u64(SLICE("18446744073709551616"), &u));
    assert_false(slice_to_u64(SLICE(""), &u));
    assert_false(slice_to_u64(SLICE("+1"), &u));
    assert_false(slice_to_u64(SLICE(" 1"), &u));
    assert_false(slice_to_u64(SLICE("0x1"), &u));
    assert_true(slice_to_i64(SLICE("-9223372036854775808"), &i) && i == INT64_MIN);
    assert_false(slice_to_i64(SLICE("9223372036854775808"), &i));
    assert_false(slice_to_i64(SLICE("-"), &i));
}

static void slices_split_into_all_parts(void **state) {
    (void)state;
    struct slice rest = SLICE("a,,b,"), part;
    const char *expected[] = {"a", "", "b", ""};
    for (int i = 0; i < 4; i++) {
        assert_true(slice_next(&rest, ',', &part));
        assert_slice(part, expected[i]);
    }
    assert_false(slice_next(&rest, ',', &part));
}

static void utf8_refuses_what_rfc_3629_refuses(void **state) {
    (void)state;
    assert_true(utf8_valid(SLICE("plain, \xc3\xa9, \xe2\x82\xac, \xf0\x9f\x98\x80, \xed\x9f\xbf")));
    static const char *const bad[] = {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                                      "\xe2\x82", "\xff", "12345678\xe2(\xa1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(utf8_valid(slice_of(bad[i])));
    // The same verdict when it comes byte by byte.
    struct utf8_state s = {0};
    const char *euro = "\xe2\x82\xac";
    for (int i = 0; i < 3; i++) {
        assert_true(utf8_feed(&s, euro + i, 1));
        assert_int_equal(utf8_done(&s), i == 2);
    }
}

static void escapes_for_html_json_and_urls(void **state) {
    (void)state;
    struct buffer b = {0};
    escape_html(&b, SLICE("<a href=\"x\">'&'</a>"));
    assert_slice(buffer_slice(&b), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
    buffer_clear(&b, 1024);
    escape_json(&b, SLICE("\"\\\n\x01</script>\xe2\x80\xa8\xff\xc3\xa9"));
    assert_slice(buffer_slice(&b),
                 "\\\"\\\\\\n\\u0001\\u003c/script\\u003e\\u2028\\ufffd\xc3\xa9");
    buffer_clear(&b, 1024);
    escape_url(&b, SLICE("a b/\xc3\xa9~"));
    assert_slice(buffer_slice(&b), "a%20b%2F%C3%A9~");
    buffer_clear(&b, 1024);
    assert_true(unescape_url(&b, SLICE("a+b%2f%41"), true));
    assert_slice(buffer_slice(&b), "a b/A");
    assert_false(unescape_url(&b, SLICE("%4"), false));
    assert_false(unescape_url(&b, SLICE("%zz"), false));
    buffer_free(&b);
}

static void base64_has_one_text_for_one_value(void **state) {
    (void)state;
    static const struct {
        const char *plain, *padded, *url;
    } rows[] = {{"", "", ""},           {"f", "Zg==", "Zg"},         {"fo", "Zm8=", "Zm8"},
                {"foo", "Zm9v", "Zm9v"}, {"\xfb\xff", "+/8=", "-_8"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buffer b = {0};
        escape_base64(&b, slice_of(rows[i].plain));
        assert_slice(buffer_slice(&b), rows[i].padded);
        buffer_clear(&b, 1024);
        escape_base64url(&b, slice_of(rows[i].plain));
        assert_slice(buffer_slice(&b), rows[i].url);
        buffer_clear(&b, 1024);
        assert_true(unescape_base64(&b, slice_of(rows[i].url)));
        assert_slice(buffer_slice(&b), rows[i].plain);
        buffer_free(&b);
    }
    struct buffer b = {0};
    assert_false(unescape_base64(&b, SLICE("Zh==")));  // stray bits
    assert_false(unescape_base64(&b, SLICE("Z")));
    assert_false(unescape_base64(&b, SLICE("Zg=")));
    assert_false(unescape_base64(&b, SLICE("Zm9v=")));
    assert_false(unescape_base64(&b, SLICE("Zm 9")));
    buffer_free(&b);
}

static void the_table_finds_what_was_put_and_not_what_was_removed(void **state) {
    (void)state;
    struct hash hash = {0};
    static int values[5000];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5000; i++) {
            char key[16];
            int size = snprintf(key, sizeof key, "key%d", i);
            assert_null(hash_put(&hash, slice_make(key, (size_t)size), &values[i]));
        }
        assert_int_equal(hash_count(&hash), 5000);
        for (int i = 0; i < 5000; i++) {
            char key[16];
            int size = snprintf(key, sizeof key, "key%d", i);
            assert_ptr_equal(hash_get(&hash, slice_make(key, (size_t)size)), &values[i]);
            assert_ptr_equal(hash_remove(&hash, slice_make(key, (size_t)size)), &values[i]);
            assert_null(hash_get(&hash, slice_make(key, (size_t)size)));
        }
        assert_int_equal(hash_count(&hash), 0);
    }
    hash_free(&hash);
}

static void arenas_keep_every_piece_apart(void **state) {
    (void)state;
    struct arena arena = {0};
    char *pieces[300];
    for (int i = 0; i < 300; i++) {
        size_t size = (size_t)(i * 37 % 3000) + 1;
        pieces[i] = arena_alloc(&arena, size);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], i, size);
    }
    for (int i = 0; i < 300; i++)
        for (size_t j = 0; j < (size_t)(i * 37 % 3000) + 1; j++)
            assert_int_equal((unsigned char)pieces[i][j], i & 255);
    arena_reset(&arena);
    assert_true(arena.total <= 4096);
    assert_string_equal(arena_printf(&arena, "%s-%d", "x", 7), "x-7");
    arena_free(&arena);
}

static void http_dates_go_both_ways(void **state) {
    (void)state;
    char date[CLOCK_HTTP_DATE_SIZE];
    clock_http_date(784111777, date);
    assert_string_equal(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_int_equal(clock_parse_http_date(date, strlen(date)), 784111777);
    assert_int_equal(clock_parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", 30), -1);
    assert_int_equal(clock_parse_http_date("Sun, 06 Foo 1994 08:49:37 GMT", 29), -1);
}

static void settings_keep_order_and_kinds(void **state) {
    (void)state;
    struct settings *settings = settings_new();
    settings_set(settings, "b.two", "2");
    settings_set(settings, "a.one", "true");
    settings_set(settings, "b.two", "22");
    assert_int_equal(settings_integer(settings, "b.two", 0), 22);
    assert_int_equal(settings_integer(settings, "a.one", 5), 5);
    assert_true(settings_boolean(settings, "a.one", false));
    assert_string_equal(settings_text(settings, "none", "x"), "x");
    size_t cursor = 0;
    const char *key, *value;
    assert_true(settings_next(settings, &cursor, &key, &value));
    assert_string_equal(key, "a.one");
    settings_free(settings);
}

static void metrics_export_as_prometheus_reads_them(void **state) {
    (void)state;
    struct metric *requests = metrics_counter("test_total", "Things.", "code=\"200\"");
    metric_add(requests, 3);
    assert_ptr_equal(requests, metrics_counter("test_total", "Things.", "code=\"200\""));
    struct metric *time = metrics_histogram("test_seconds", "Time.", NULL);
    metric_observe_us(time, 150);
    metric_observe_us(time, 20000000);
    struct buffer out = {0};
    metrics_export(&out);
    const char *text = buffer_text(&out);
    assert_non_null(strstr(text, "# TYPE test_total counter\ntest_total{code=\"200\"} 3\n"));
    assert_non_null(strstr(text, "test_seconds_bucket{le=\"0.0001\"} 0\n"));
    assert_non_null(strstr(text, "test_seconds_bucket{le=\"0.0002\"} 1\n"));
    assert_non_null(strstr(text, "test_seconds_bucket{le=\"10\"} 1\n"));
    assert_non_null(strstr(text, "test_seconds_bucket{le=\"+Inf\"} 2\n"));
    assert_non_null(strstr(text, "test_seconds_sum 20.000150\n"));
    buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_digits_only_and_do_not_overflow),
        cmocka_unit_test(slices_split_into_all_parts),
        cmocka_unit_test(utf8_refuses_what_rfc_3629_refuses),
        cmocka_unit_test(escapes_for_html_json_and_urls),
        cmocka_unit_test(base64_has_one_text_for_one_value),
        cmocka_unit_test(the_table_finds_what_was_put_and_not_what_was_removed),
        cmocka_unit_test(arenas_keep_every_piece_apart),
        cmocka_unit_test(http_dates_go_both_ways),
        cmocka_unit_test(settings_keep_order_and_kinds),
        cmocka_unit_test(metrics_export_as_prometheus_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
