#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "streaming/internal.h"

// Which host a callback is from, and what a relay's address names.

static struct streaming streaming;

static int begin(void **state) {
    (void)state;
    memset(&streaming, 0, sizeof streaming);
    streaming.options = (struct streaming_options){
        .boot = "abc123", .rtmp_address = "10.0.0.1:1935", .control_url = "http://10.0.0.1:8088/control",
        .stat_url = "http://10.0.0.1:8088/stat", .host_count = 1,
        .hosts = {{"b", "10.0.0.2:1935", "http://10.0.0.2:8088/control", "http://10.0.0.2:8088/stat"}}};
    hosts_init(&streaming);
    return 0;
}

static int end(void **state) {
    (void)state;
    arena_free(&streaming.texts);
    return 0;
}

static void a_boot_word_names_its_host(void **state) {
    (void)state;
    assert_ptr_equal(host_of_boot(&streaming, SLICE("abc123")), &streaming.hosts[0]);
    assert_ptr_equal(host_of_boot(&streaming, SLICE("b.0f3e")), &streaming.hosts[1]);
    assert_null(host_of_boot(&streaming, SLICE("c.0f3e")));
    assert_ptr_equal(host_of_boot(&streaming, SLICE("b")), &streaming.hosts[0]); // a word, not a name
    assert_ptr_equal(host_of_id(&streaming, SLICE("b.0f3e:17")), &streaming.hosts[1]);
    assert_string_equal(host_name(&streaming.hosts[0]), "main");
    assert_string_equal(host_name(&streaming.hosts[1]), "b");
    assert_string_equal(streaming.hosts[0].boot, "abc123");
    assert_string_equal(streaming.hosts[1].boot, "");
}

static void a_relay_is_told_by_where_it_goes(void **state) {
    (void)state;
    const struct media_host *b = &streaming.hosts[1];
    assert_true(slice_equal(host_target(b, SLICE("10.0.0.2:1935/live/luna")), SLICE("luna")));
    assert_true(slice_equal(host_target(b, SLICE("10.0.0.2:1935/live/luna?t=x")), SLICE("luna")));
    assert_int_equal(host_target(b, SLICE("10.0.0.1:1935/live/luna")).size, 0);
    assert_int_equal(host_target(b, SLICE("10.0.0.2:1935/publish/luna")).size, 0);
    assert_int_equal(host_target(b, SLICE("10.0.0.2:19355/live/luna")).size, 0);
    assert_int_equal(host_target(b, SLICE("")).size, 0);
}

static void internal_tickets_come_from_hosts_only(void **state) {
    (void)state;
    assert_true(host_is_ours(&streaming, "127.0.0.1"));
    assert_true(host_is_ours(&streaming, "10.0.0.2"));
    assert_false(host_is_ours(&streaming, "10.0.0.22"));
    assert_false(host_is_ours(&streaming, "10.0.0"));
    assert_false(host_is_ours(&streaming, ""));
}

static const char *configure(const char *name, const char *address, bool control) {
    static char boot[STREAMING_BOOT_SIZE];
    static struct streaming_options options;
    char text[96];
    struct settings *settings = settings_new();
    static const char *const texts[] = {"secrets.hooks", "secrets.segment", "rtmp.address", "rtmp.control",
                                        "rtmp.stat", "media.hls", "media.keys"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) settings_set(settings, texts[i], "x");
    settings_set(settings, "secrets.ticket", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    settings_set(settings, "var", "/nowhere");
    snprintf(text, sizeof text, "rtmp.hosts.%s.address", name);
    settings_set(settings, text, address);
    snprintf(text, sizeof text, "rtmp.hosts.%s.stat", name);
    settings_set(settings, text, "http://10.0.0.2/stat");
    snprintf(text, sizeof text, "rtmp.hosts.%s.control", name);
    if (control) settings_set(settings, text, "http://10.0.0.2/control");
    const char *wrong = streaming_options_configure(&options, settings, boot);
    const char *result = !wrong                                              ? options.hosts[0].name
                         : strncmp(wrong, "rtmp.hosts.", 11) == 0 ? "wrong" : "other";
    settings_free(settings);
    return result;
}

static void settings_name_the_other_hosts(void **state) {
    (void)state;
    assert_string_equal(configure("b", "10.0.0.2:1935", true), "b");
    assert_string_equal(configure("b", "10.0.0.2:1935", false), "wrong");
    assert_string_equal(configure("a-b", "10.0.0.2:1935", true), "wrong");
    assert_string_equal(configure("sixteencharacter", "10.0.0.2:1935", true), "wrong");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_boot_word_names_its_host, begin, end),
        cmocka_unit_test_setup_teardown(a_relay_is_told_by_where_it_goes, begin, end),
        cmocka_unit_test_setup_teardown(internal_tickets_come_from_hosts_only, begin, end),
        cmocka_unit_test(settings_name_the_other_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
