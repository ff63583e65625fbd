#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "streaming/flv.h"
#include "streaming/health.h"

enum { START = 5000000 };

struct feed {
    unsigned fps, frame_bytes, key_ms;
    bool audio;
    unsigned burst_ms;  ///< what came within it arrives together
    char codec, sound;
};
static const struct feed good = {.fps = 30, .frame_bytes = 8000, .key_ms = 2000, .audio = true,
                                 .codec = 7, .sound = (char)0xaf};

/// Ten seconds of it; the advice of the last window.
static unsigned watch(const struct feed *feed, struct buffer *json) {
    static char video[70000], audio[300];
    struct health health;
    unsigned advice = 0, number = 0, key = 0;
    health_init(&health);
    static const char meta[] = "\2\0\12onMetaData\10\0\0\0\2"
                               "\0\5width\0\100\224\0\0\0\0\0\0" "\0\6height\0\100\206\200\0\0\0\0\0\0\0\11";
    health_meta(&health, slice_make(meta, sizeof meta - 1));
    audio[0] = feed->sound;
    video[1] = 1;
    for (unsigned ms = 0; ms < 10000; ms++) {
        uint64_t now = START + (feed->burst_ms ? (ms / feed->burst_ms + 1) * feed->burst_ms : ms);
        if (feed->fps && ms * feed->fps / 1000 != (ms + 1) * feed->fps / 1000) {
            bool is_key = number == 0 || (feed->key_ms && ms - key >= feed->key_ms);
            if (is_key) key = ms;
            video[0] = (char)((is_key ? 0x10 : 0x20) | feed->codec);
            number++;
            health_note(&health, FLV_VIDEO, ms, slice_make(video, feed->frame_bytes), now);
        }
        if (feed->audio && ms % 21 == 0) health_note(&health, FLV_AUDIO, ms, slice_make(audio, sizeof audio), now);
        if (ms % 2500 == 2499) {
            json->size = 0;
            health_report(&health, json, "luna", START + ms, &advice);
        }
    }
    return advice;
}

static unsigned advice_of(struct feed feed) {
    struct buffer json = {0};
    unsigned advice = watch(&feed, &json);
    buffer_free(&json);
    return advice;
}

static void a_good_stream_gets_no_advice_and_true_numbers(void **state) {
    (void)state;
    struct buffer json = {0};
    assert_int_equal(watch(&good, &json), 0);
    buffer_append_char(&json, '\0');
    assert_non_null(strstr(json.data, "\"width\":1280,\"height\":720,\"fps\":30.0,\"kbit\":1920,"));
    assert_non_null(strstr(json.data, "\"dropped\":0,\"video\":\"H.264\",\"audio\":\"AAC\",\"advice\":[]}"));
    buffer_free(&json);
}

static void each_fault_gets_its_own_advice(void **state) {
    (void)state;
    struct feed feed = good;
    feed.key_ms = 6000;
    assert_int_equal(advice_of(feed), HEALTH_KEYFRAME_GAP);
    feed = good;
    feed.key_ms = 0; // one at the beginning, never again
    assert_int_equal(advice_of(feed), HEALTH_KEYFRAME_GAP);
    feed = good;
    feed.codec = 2;
    assert_int_equal(advice_of(feed), HEALTH_CODEC);
    feed = good;
    feed.sound = 0x2f; // MP3
    assert_int_equal(advice_of(feed), HEALTH_CODEC);
    feed = good;
    feed.audio = false;
    assert_int_equal(advice_of(feed), HEALTH_NO_AUDIO);
    feed = good;
    feed.fps = 0;
    assert_int_equal(advice_of(feed), HEALTH_NO_VIDEO);
    feed = good;
    feed.frame_bytes = 1000;
    assert_int_equal(advice_of(feed), HEALTH_LOW_KBIT);
    feed = good;
    feed.frame_bytes = 40000;
    assert_int_equal(advice_of(feed), HEALTH_HIGH_KBIT);
    feed = good;
    feed.fps = 10;
    assert_int_equal(advice_of(feed), HEALTH_LOW_FPS);
    feed = good;
    feed.burst_ms = 2000;
    assert_true(advice_of(feed) & HEALTH_LATE);
}

static void frames_that_are_missing_are_counted(void **state) {
    (void)state;
    // Two in a row of each ten: a gap of three intervals.
    struct health health;
    char video[100] = {0x17, 1};
    struct buffer json = {0};
    unsigned advice = 0;
    health_init(&health);
    for (unsigned i = 0; i < 300; i++) {
        if (i % 10 >= 8) continue;
        video[0] = i % 60 ? 0x27 : 0x17;
        health_note(&health, FLV_VIDEO, i * 33, slice_make(video, sizeof video), START + i * 33);
    }
    assert_true(health_report(&health, &json, "luna", START + 10000, &advice));
    assert_true(advice & HEALTH_DROPPED);
    buffer_free(&json);
}

static void a_configuration_without_a_picture_waits_for_a_key_frame(void **state) {
    (void)state;
    struct health health;
    struct buffer json = {0};
    unsigned advice = 0;
    static const char configuration[] = {0x17, 0, 0, 0, 0, 1}, frame[] = {0x27, 1, 0, 0, 0, 1};
    health_init(&health);
    health_note(&health, FLV_VIDEO, 0, slice_make(configuration, sizeof configuration), START);
    assert_true(health_report(&health, &json, "luna", START + 2500, &advice));
    assert_int_equal(advice, HEALTH_KEYFRAME_GAP | HEALTH_NO_AUDIO);
    // A picture that was there and has stopped is another matter.
    health_note(&health, FLV_VIDEO, 3000, slice_make(frame, sizeof frame), START + 3000);
    assert_true(health_report(&health, &json, "luna", START + 5000, &advice));
    assert_true(health_report(&health, &json, "luna", START + 7500, &advice));
    assert_int_equal(advice, HEALTH_NO_VIDEO | HEALTH_NO_AUDIO);
    buffer_free(&json);
}

static void a_window_that_is_too_short_says_nothing(void **state) {
    (void)state;
    struct health health;
    struct buffer json = {0};
    char video[100] = {0x17, 1};
    health_init(&health);
    health_note(&health, FLV_VIDEO, 0, slice_make(video, sizeof video), START);
    assert_false(health_report(&health, &json, "luna", START + 1999, NULL));
    assert_int_equal(json.size, 0);
    assert_true(health_report(&health, &json, "luna", START + 2000, NULL));
    buffer_free(&json);
}

static void broken_messages_and_metadata_are_harmless(void **state) {
    (void)state;
    struct health health;
    struct buffer json = {0};
    health_init(&health);
    static const char bytes[] = "\0\5width\0\177\377\377\377\377\377\377\377\0\6height\0";
    for (size_t size = 0; size < sizeof bytes; size++) {
        health_meta(&health, slice_make(bytes, size));
        health_note(&health, FLV_VIDEO, 0xffffffff, slice_make(bytes, size), START);
        health_note(&health, FLV_AUDIO, 0, slice_make(bytes, size), START);
    }
    assert_int_equal(health.width, 0);
    assert_true(health_report(&health, &json, "luna", START + 5000, NULL));
    buffer_free(&json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_stream_gets_no_advice_and_true_numbers),
        cmocka_unit_test(each_fault_gets_its_own_advice),
        cmocka_unit_test(frames_that_are_missing_are_counted),
        cmocka_unit_test(a_configuration_without_a_picture_waits_for_a_key_frame),
        cmocka_unit_test(a_window_that_is_too_short_says_nothing),
        cmocka_unit_test(broken_messages_and_metadata_are_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
