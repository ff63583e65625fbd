#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sockjs/json.h"
#include "sockjs/message.h"

static void valid_and_broken_values(void **state) {
    (void)state;
    static const char *const good[] = {
        "null", " true ", "false", "0", "-0", "-12.5e+3", "1E5", "\"\"", "\"a\\u00e4\\n\"", "[]",
        "[ ]", "{}", "[1, [2], {\"a\": [ ]}]", "{\"a\":1,\"a\":2}", "\t[\r\n1]\n",
    };
    static const char *const bad[] = {
        "", " ", "nul", "tru e", "01", "+1", "1.", ".5", "1e", "-", "\"", "\"\\x\"", "\"\\u12g4\"",
        "\"\\u12\"", "\"a\nb\"", "[1,]", "[,1]", "[1 2]", "[1", "{\"a\"}", "{\"a\":}", "{a:1}",
        "{\"a\":1,}", "{1:2}", "[] []", "1 2", "]", "\"\\",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(json_parse(slice_of(good[i]), 8).kind != JSON_NONE);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (json_parse(slice_of(bad[i]), 8).kind != JSON_NONE) fail_msg("taken: %s", bad[i]);
}

static void every_truncation_of_a_value_is_broken(void **state) {
    (void)state;
    struct slice text = SLICE("{\"a\":[1,-2.5e3,\"x\\u0041\\\\\"],\"b\":{\"c\":null,\"d\":true}}");
    assert_int_equal(json_parse(text, 8).kind, JSON_OBJECT);
    for (size_t size = 0; size < text.size; size++) {
        char *copy = malloc(size ? size : 1); // so that a sanitizer sees a read past the end
        memcpy(copy, text.data, size);
        assert_int_equal(json_parse(slice_make(copy, size), 8).kind, JSON_NONE);
        free(copy);
    }
}

static void nesting_is_limited(void **state) {
    (void)state;
    assert_int_equal(json_parse(SLICE("[[[]]]"), 3).kind, JSON_ARRAY);
    assert_int_equal(json_parse(SLICE("[[[]]]"), 2).kind, JSON_NONE);
    char deep[20000];
    memset(deep, '[', sizeof deep);
    assert_int_equal(json_parse(slice_make(deep, sizeof deep), 100).kind, JSON_NONE);
}

static void members_are_found_and_the_last_of_two_wins(void **state) {
    (void)state;
    struct json_value object =
        json_parse(SLICE("{ \"a\" : 1 , \"b\" : { \"a\" : 7 } , \"a\" : 3 }"), 4);
    int64_t number;
    assert_true(json_integer(json_member(object, "a"), &number));
    assert_int_equal(number, 3);
    assert_true(json_integer(json_member(json_member(object, "b"), "a"), &number));
    assert_int_equal(number, 7);
    assert_int_equal(json_member(object, "c").kind, JSON_NONE);
    assert_int_equal(json_member(json_parse(SLICE("[1]"), 4), "a").kind, JSON_NONE);
    assert_false(json_integer(json_parse(SLICE("1.5"), 1), &number));
    assert_false(json_integer(json_parse(SLICE("99999999999999999999"), 1), &number));
}

static void text_is(const char *json, struct slice wanted) {
    struct buffer out = {0};
    assert_true(json_string(json_parse(slice_of(json), 1), &out));
    assert_int_equal(out.size, wanted.size);
    if (wanted.size) assert_memory_equal(out.data, wanted.data, wanted.size);
    buffer_free(&out);
}

static void strings_are_decoded(void **state) {
    (void)state;
    text_is("\"\"", SLICE(""));
    text_is("\"a\\n\\t\\\"\\\\\\/\\b\\f\\r\"", SLICE("a\n\t\"\\/\b\f\r"));
    text_is("\"\\u0000\\u00e4\\u20ac\"", SLICE("\0\xc3\xa4\xe2\x82\xac"));
    text_is("\"\\ud83d\\ude00\"", SLICE("\xf0\x9f\x98\x80"));
    text_is("\"\\ud83dx\"", SLICE("\xef\xbf\xbdx"));
    text_is("\"\\ude00\\ud83d\"", SLICE("\xef\xbf\xbd\xef\xbf\xbd"));
    text_is("\"\\ud83d\\ud83d\\ude00\"", SLICE("\xef\xbf\xbd\xf0\x9f\x98\x80"));
}

static void quoting_escapes_what_browsers_mangle(void **state) {
    (void)state;
    struct buffer out = {0};
    sockjs_quote(&out, SLICE("a\"\\\n\x01<\xe2\x80\xa8\xef\xbf\xbf\xe2\x82\xac\xc3\xa4"));
    assert_string_equal(buffer_text(&out),
                        "\"a\\\"\\\\\\n\\u0001<\\u2028\\uffff\xe2\x82\xac\xc3\xa4\"");
    buffer_clear(&out, 0);
    sockjs_quote_script(&out, SLICE("</script><!--"));
    assert_string_equal(buffer_text(&out), "\"\\u003c/script>\\u003c!--\"");
    buffer_free(&out);
}

static void a_message_is_encoded_once_for_all(void **state) {
    (void)state;
    struct sockjs_message *message = sockjs_message_new(SLICE("hi"));
    struct chunk *raw = sockjs_message_frame(message, true, false);
    assert_memory_equal(raw->data, "\x81\x02hi", 4);
    assert_ptr_equal(sockjs_message_frame(message, true, true), raw); // too small to deflate
    struct chunk *framed = sockjs_message_frame(message, false, false);
    assert_memory_equal(framed->data, "\x81\x07" "a[\"hi\"]", 9);
    assert_ptr_equal(sockjs_message_frame(message, false, false), framed);
    sockjs_message_release(message);
    char text[1000];
    memset(text, 'm', sizeof text);
    message = sockjs_message_new(slice_make(text, sizeof text));
    struct chunk *deflated = sockjs_message_frame(message, true, true);
    assert_true(deflated->size < 100);
    assert_int_equal((uint8_t)deflated->data[0], 0xc1);
    assert_ptr_equal(sockjs_message_frame(message, true, true), deflated);
    assert_true(sockjs_message_frame(message, true, false)->size > 1000);
    sockjs_message_release(message);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_and_broken_values),
        cmocka_unit_test(every_truncation_of_a_value_is_broken),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(members_are_found_and_the_last_of_two_wins),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(quoting_escapes_what_browsers_mangle),
        cmocka_unit_test(a_message_is_encoded_once_for_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
