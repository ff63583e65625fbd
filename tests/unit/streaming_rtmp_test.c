#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "base/random.h"
#include "streaming/flv.h"
#include "streaming/rtmp_chunk.h"

struct collected {
    struct rtmp_message messages[64];
    char bodies[64][4096];
    int count;
};

static bool on_message(void *context, const struct rtmp_message *message) {
    struct collected *collected = context;
    assert_in_range(collected->count, 0, 63);
    assert_in_range(message->body.size, 0, 4096);
    int at = collected->count++;
    collected->messages[at] = *message;
    if (message->body.size > 0) {
        memcpy(collected->bodies[at], message->body.data, message->body.size);
    }
    collected->messages[at].body.data = collected->bodies[at];
    return true;
}

static const char *feed(struct collected *collected, struct slice bytes, size_t step) {
    struct rtmp_reader reader;
    const char *error = NULL;
    collected->count = 0;
    rtmp_reader_init(&reader, on_message, collected);
    for (size_t at = 0; at < bytes.size && !error; at += step) {
        struct slice part = slice_sub(bytes, at, step);
        char *copy = test_malloc(part.size); // a place of its own: reads past its end are found
        memcpy(copy, part.data, part.size);
        error = rtmp_reader_feed(&reader, copy, part.size);
        test_free(copy);
    }
    rtmp_reader_free(&reader);
    return error;
}

static struct collected collected;

static void messages_come_whole_however_the_bytes_are_cut(void **state) {
    (void)state;
    struct buffer bytes = {0};
    char body[1000];
    for (size_t i = 0; i < sizeof body; i++) body[i] = (char)(i * 7);
    rtmp_write(&bytes, 3, RTMP_COMMAND, 0, slice_make(body, 300));
    rtmp_write(&bytes, 4, RTMP_AUDIO, 1, slice_make(body, 5));
    rtmp_write(&bytes, 6, RTMP_VIDEO, 1, slice_make(body, sizeof body));
    rtmp_write(&bytes, 4, RTMP_AUDIO, 1, slice_make(body, 0));
    static const size_t steps[] = {1, 2, 3, 127, 128, 129, 500, 100000};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_null(feed(&collected, buffer_slice(&bytes), steps[i]));
        assert_int_equal(collected.count, 4);
        assert_int_equal(collected.messages[0].type, RTMP_COMMAND);
        assert_int_equal(collected.messages[2].body.size, sizeof body);
        assert_memory_equal(collected.bodies[2], body, sizeof body);
        assert_int_equal(collected.messages[2].stream, 1);
        assert_int_equal(collected.messages[3].body.size, 0);
    }
    buffer_free(&bytes);
}

static void shorter_heads_take_from_the_chunk_before(void **state) {
    (void)state;
    static const unsigned char bytes[] = {
        0x04, 0, 0, 100, 0, 0, 2, 8, 1, 0, 0, 0, 'a', 'b', // full: time 100, two bytes
        0x44, 0, 0, 20, 0, 0, 1, 8, 'c',                   // no stream: +20, one byte
        0x84, 0, 0, 30, 'd',                               // time only: +30
        0xc4, 'e',                                         // nothing: +30 again
        0x05, 0xff, 0xff, 0xff, 0, 0, 1, 9, 1, 0, 0, 0, 0x01, 0, 0, 0, 'f', // extended time
    };
    assert_null(feed(&collected, slice_make(bytes, sizeof bytes), 1));
    assert_int_equal(collected.count, 5);
    assert_int_equal(collected.messages[0].timestamp, 100);
    assert_int_equal(collected.messages[1].timestamp, 120);
    assert_int_equal(collected.messages[2].timestamp, 150);
    assert_int_equal(collected.messages[3].timestamp, 180);
    assert_int_equal(collected.messages[3].stream, 1);
    assert_int_equal(collected.messages[4].timestamp, 0x01000000);
}

static void interleaved_chunk_streams_are_put_together(void **state) {
    (void)state;
    struct buffer a = {0}, b = {0}, bytes = {0};
    char body[256];
    memset(body, 'v', sizeof body);
    rtmp_write(&a, 6, RTMP_VIDEO, 1, slice_make(body, 256));
    memset(body, 'a', sizeof body);
    rtmp_write(&b, 4, RTMP_AUDIO, 1, slice_make(body, 10));
    buffer_append(&bytes, a.data, 12 + 128); // first chunk of the video, then the audio between
    buffer_append_slice(&bytes, buffer_slice(&b));
    buffer_append(&bytes, a.data + 12 + 128, a.size - 12 - 128);
    assert_null(feed(&collected, buffer_slice(&bytes), 7));
    assert_int_equal(collected.count, 2);
    assert_int_equal(collected.messages[0].type, RTMP_AUDIO);
    assert_int_equal(collected.messages[1].body.size, 256);
    assert_int_equal(collected.bodies[1][255], 'v');
    buffer_free(&a);
    buffer_free(&b);
    buffer_free(&bytes);
}

static void hostile_chunks_are_refused(void **state) {
    (void)state;
    static const unsigned char unknown[] = {0xc4, 'a'};
    static const unsigned char high[] = {0x3f, 0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0, 'a'};
    static const unsigned char longest[] = {0x04, 0, 0, 0, 0xff, 0xff, 0xff, 8, 1, 0, 0, 0, 'a'};
    static const unsigned char zero[] = {0x02, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0};
    struct buffer within = {0};
    char body[200] = {0};
    assert_non_null(feed(&collected, slice_make(unknown, sizeof unknown), 1));
    assert_non_null(feed(&collected, slice_make(high, sizeof high), 1));
    assert_non_null(feed(&collected, slice_make(longest, sizeof longest), 1));
    assert_non_null(feed(&collected, slice_make(zero, sizeof zero), 1));
    rtmp_write(&within, 4, RTMP_AUDIO, 1, slice_make(body, 200));
    within.data[12 + 128] = 0x04; // a new message where the first goes on
    buffer_append(&within, body, 20);
    assert_non_null(feed(&collected, buffer_slice(&within), 3));
    buffer_free(&within);
}

static bool ignore(void *context, const struct rtmp_message *message) {
    (void)context;
    struct slice rest = message->body, text;
    double number;
    for (int i = 0; i < 8 && amf_take(&rest, "code", &number, &text); i++) continue;
    return true;
}

static void noise_is_survived(void **state) {
    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct rtmp_reader reader;
        unsigned char noise[512];
        random_bytes(noise, sizeof noise);
        noise[0] &= 0x3f; // a full head, so that something follows
        if (round % 2) noise[4] = noise[5] = 0;
        rtmp_reader_init(&reader, ignore, NULL);
        rtmp_reader_feed(&reader, (const char *)noise, 1 + random_below(sizeof noise));
        rtmp_reader_free(&reader);
        struct slice rest = slice_make(noise, sizeof noise), text;
        double number;
        noise[0] = (unsigned char)random_below(13);
        amf_take(&rest, "code", &number, &text);
    }
}

static void amf_values_come_back(void **state) {
    (void)state;
    struct buffer out = {0};
    double number;
    struct slice text;
    amf_text(&out, SLICE("onStatus"));
    amf_number(&out, 4);
    amf_null(&out);
    amf_object_begin(&out);
    amf_member(&out, "level");
    amf_text(&out, SLICE("status"));
    amf_member(&out, "code");
    amf_text(&out, SLICE("NetStream.Play.Start"));
    amf_object_end(&out);
    struct slice rest = buffer_slice(&out);
    assert_true(amf_take(&rest, NULL, &number, &text));
    assert_true(slice_equal(text, SLICE("onStatus")));
    assert_true(amf_take(&rest, NULL, &number, &text));
    assert_true(number == 4);
    assert_true(amf_take(&rest, NULL, &number, &text));
    assert_true(amf_take(&rest, "code", &number, &text));
    assert_true(slice_equal(text, SLICE("NetStream.Play.Start")));
    assert_int_equal(rest.size, 0);
    assert_false(amf_take(&rest, NULL, &number, &text));
    buffer_free(&out);
}

static void deeply_nested_amf_is_refused(void **state) {
    (void)state;
    struct buffer out = {0};
    for (int i = 0; i < 1000; i++) {
        amf_object_begin(&out);
        amf_member(&out, "a");
    }
    struct slice rest = buffer_slice(&out), text;
    double number;
    assert_false(amf_take(&rest, NULL, &number, &text));
    buffer_free(&out);
}

static void a_tag_is_flv_and_a_frame(void **state) {
    (void)state;
    unsigned head;
    struct chunk *frame = flv_frame(FLV_VIDEO, 0x12345678, SLICE("\x17\x01zz"), &head);
    const unsigned char *at = (const unsigned char *)frame->data;
    assert_int_equal(head, 2);
    assert_int_equal(at[0], 0x82); // FIN, binary
    assert_int_equal(at[1], 4 + FLV_TAG_EXTRA);
    static const unsigned char tag[] = {9, 0, 0, 4, 0x34, 0x56, 0x78, 0x12, 0, 0, 0,
                                        0x17, 1, 'z', 'z', 0, 0, 0, 15};
    assert_int_equal(frame->size, head + sizeof tag);
    assert_memory_equal(at + head, tag, sizeof tag);
    chunk_release(frame);
    char header[FLV_HEADER_SIZE];
    flv_header(header, false, true);
    assert_memory_equal(header, "FLV\1\1\0\0\0\x09\0\0\0\0", FLV_HEADER_SIZE);
    flv_header(header, true, true);
    assert_int_equal(header[4], 5);
}

static void kinds_of_tags(void **state) {
    (void)state;
    assert_int_equal(flv_kind(FLV_VIDEO, SLICE("\x17\x00")), FLV_VIDEO_CONFIG);
    assert_int_equal(flv_kind(FLV_VIDEO, SLICE("\x17\x01")), FLV_VIDEO_KEY);
    assert_int_equal(flv_kind(FLV_VIDEO, SLICE("\x27\x01")), FLV_VIDEO_INTER);
    assert_int_equal(flv_kind(FLV_AUDIO, SLICE("\xaf\x00")), FLV_AUDIO_CONFIG);
    assert_int_equal(flv_kind(FLV_AUDIO, SLICE("\xaf\x01")), FLV_AUDIO_FRAME);
    assert_int_equal(flv_kind(FLV_AUDIO, SLICE("\x2f\x00")), FLV_AUDIO_FRAME); // MP3
    assert_int_equal(flv_kind(FLV_VIDEO, SLICE("")), FLV_OTHER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_whole_however_the_bytes_are_cut),
        cmocka_unit_test(shorter_heads_take_from_the_chunk_before),
        cmocka_unit_test(interleaved_chunk_streams_are_put_together),
        cmocka_unit_test(hostile_chunks_are_refused),
        cmocka_unit_test(noise_is_survived),
        cmocka_unit_test(amf_values_come_back),
        cmocka_unit_test(deeply_nested_amf_is_refused),
        cmocka_unit_test(a_tag_is_flv_and_a_frame),
        cmocka_unit_test(kinds_of_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
