#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "streaming/hook_request.h"

// Bodies are as nginx-rtmp 1.2.2 sent them (docs/streaming.md), with the attacks on them.

#define PREFIX                                                                                     \
    "app=live&flashver=LNX%2010,0,32,18&swfurl=&tcurl=rtmp://localhost/live&pageurl=&"             \
    "addr=127.0.0.1&clientid=7&"

static struct arena arena;

static const char *read_text(struct hook_request *hook, const char *body) {
    return hook_request_read(hook, &arena, slice_of(body));
}

static int teardown(void **state) {
    (void)state;
    arena_free(&arena);
    return 0;
}

static void assert_slice(struct slice s, const char *text) {
    assert_int_equal(s.size, strlen(text));
    assert_memory_equal(s.data, text, s.size);
}

static void reads_each_call(void **state) {
    (void)state;
    struct hook_request hook;
    assert_null(read_text(&hook, "app=publish&flashver=&swfurl=&tcurl=rtmp://h/publish&pageurl=&"
                                 "addr=10.0.0.1&epoch=10001578&call=connect&t=x"));
    assert_int_equal(hook.call, HOOK_CONNECT);
    assert_slice(hook.app, "publish");
    assert_int_equal(hook.client, 0);

    assert_null(read_text(&hook, PREFIX "call=publish&name=KEY123&type=live&a=b"));
    assert_int_equal(hook.call, HOOK_PUBLISH);
    assert_slice(hook.name, "KEY123");
    assert_slice(hook.type, "live");

    assert_null(read_text(&hook, PREFIX "call=play&name=luna&start=4294966296&duration=0&reset=0&t=T"));
    assert_int_equal(hook.call, HOOK_PLAY);
    assert_slice(hook.ticket, "T");
    assert_slice(hook.flashver, "LNX 10,0,32,18");

    assert_null(read_text(&hook, PREFIX "call=update_play&time=10&timestamp=10063&name=luna&t=T"));
    assert_int_equal(hook.call, HOOK_UPDATE_PLAY);
    assert_int_equal(hook.time, 10);
    assert_int_equal(hook.timestamp, 10063);

    assert_null(read_text(&hook, "app=&flashver=ngx-local-relay&swfurl=&tcurl=&pageurl=&"
                                 "addr=127.0.0.1:1935/live/luna&clientid=4&call=update_play&time=10&"
                                 "timestamp=10063&name=KEY123"));
    assert_slice(hook.app, "");
    assert_slice(hook.addr, "127.0.0.1:1935/live/luna");

    assert_null(read_text(&hook, PREFIX "call=disconnect&app=live&tok=9"));
    assert_int_equal(hook.call, HOOK_DISCONNECT);
    assert_null(read_text(&hook, PREFIX "call=record_done&recorder=&name=luna&path=/v/luna.flv"));
    assert_slice(hook.path, "/v/luna.flv");
    assert_null(read_text(&hook, PREFIX "call=done&name=luna"));
    assert_null(read_text(&hook, PREFIX "call=publish_done&name=luna"));
    assert_null(read_text(&hook, PREFIX "call=play_done&name=luna"));
}

static void players_arguments_do_not_become_fields(void **state) {
    (void)state;
    struct hook_request hook;
    assert_null(read_text(&hook, PREFIX "call=play&name=luna&start=0&duration=0&reset=0&"
                                        "clientid=777&name=other&call=publish&addr=1.2.3.4&t=A&t=B"));
    assert_int_equal(hook.client, 7);
    assert_int_equal(hook.call, HOOK_PLAY);
    assert_slice(hook.name, "luna");
    assert_slice(hook.addr, "127.0.0.1");
    assert_slice(hook.ticket, "A"); // the first wins
    // connect carries no clientid: one in the tail is not taken for it.
    assert_null(read_text(&hook, "app=live&flashver=&swfurl=&tcurl=&pageurl=&addr=127.0.0.1&epoch=1&"
                                 "call=connect&clientid=5"));
    assert_int_equal(hook.client, 0);
}

static void fields_must_stand_in_order(void **state) {
    (void)state;
    struct hook_request hook;
    assert_non_null(read_text(&hook, "clientid=7&app=live&flashver=&swfurl=&tcurl=&pageurl=&"
                                     "addr=127.0.0.1&call=done&name=luna"));
    assert_non_null(read_text(&hook, PREFIX "name=luna&call=done"));
    assert_non_null(read_text(&hook, PREFIX "call=play&name=luna"));
    assert_non_null(read_text(&hook, PREFIX "call=frobnicate&name=luna"));
    assert_non_null(read_text(&hook, PREFIX "call=connect"));
    assert_non_null(read_text(&hook, "app=live&flashver=&swfurl=&tcurl=&pageurl=&addr=127.0.0.1&"
                                     "epoch=1&call=play&name=luna&start=0&duration=0&reset=0"));
}

static void refuses_bad_values(void **state) {
    (void)state;
    struct hook_request hook;
    char long_body[HOOK_BODY_LIMIT + 64];
    assert_non_null(read_text(&hook, ""));
    assert_non_null(read_text(&hook, PREFIX "call=done&name=a%0d%0ab"));
    assert_non_null(read_text(&hook, PREFIX "call=done&name=a%00b"));
    assert_non_null(read_text(&hook, PREFIX "call=done&name=a%zz"));
    assert_non_null(read_text(&hook, PREFIX "call=update_play&time=-1&timestamp=0&name=luna"));
    assert_non_null(read_text(&hook, PREFIX "call=update_play&time=99999999999999999999&timestamp=0&name=x"));
    assert_non_null(read_text(&hook, "app=live&flashver=&swfurl=&tcurl=&pageurl=&addr=127.0.0.1&"
                                     "clientid=0&call=done&name=luna"));
    memset(long_body, 'a', sizeof long_body);
    long_body[sizeof long_body - 1] = '\0';
    assert_non_null(read_text(&hook, long_body));
    memcpy(long_body, PREFIX "call=done&name=", sizeof PREFIX + 14);
    long_body[HOOK_FIELD_LIMIT + sizeof PREFIX + 100] = '\0';
    assert_non_null(read_text(&hook, long_body));
}

static void slugs_are_safe_names(void **state) {
    (void)state;
    assert_true(slug_valid(SLICE("luna")));
    assert_true(slug_valid(SLICE("luna-2")));
    assert_false(slug_valid(SLICE("")));
    assert_true(slug_valid(SLICE("x")));
    assert_false(slug_valid(SLICE("../x")));
    assert_false(slug_valid(SLICE("lu/na")));
    assert_false(slug_valid(SLICE("Luna")));
    assert_false(slug_valid(SLICE("-luna")));
    assert_false(slug_valid(SLICE("luna-")));
    assert_false(slug_valid(SLICE("lun\xc3\xa4")));
    assert_false(slug_valid(SLICE("a1234567890123456789012345678901234567890")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_each_call),
        cmocka_unit_test(players_arguments_do_not_become_fields),
        cmocka_unit_test(fields_must_stand_in_order),
        cmocka_unit_test(refuses_bad_values),
        cmocka_unit_test(slugs_are_safe_names),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
