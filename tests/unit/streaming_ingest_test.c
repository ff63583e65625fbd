#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include "streaming/ingest.h"
#include "streaming/ingest_token.h"

static const unsigned char key[TICKET_KEY_SIZE] = "0123456789abcdef0123456789abcdef";

static struct ingest_token sample(void) {
    return (struct ingest_token){.account = 7, .model = 12, .expires = 1000, .slug = "luna"};
}

static void a_token_says_what_was_put_into_it(void **state) {
    (void)state;
    struct ingest_token made = sample(), read;
    struct buffer text = {0};
    assert_true(ingest_token_make(&text, &made, key));
    assert_true(text.size <= TICKET_TEXT_LIMIT);
    assert_null(ingest_token_read(&read, buffer_slice(&text), key, 1000));
    assert_int_equal(read.account, 7);
    assert_int_equal(read.model, 12);
    assert_string_equal(read.slug, "luna");
    assert_string_equal(read.nonce, made.nonce);
    assert_string_equal(ingest_token_read(&read, buffer_slice(&text), key, 1001), "expired");
    assert_string_equal(read.slug, "luna");
    buffer_free(&text);
}

static void the_longest_slug_fits(void **state) {
    (void)state;
    struct ingest_token made = sample(), read;
    struct buffer text = {0};
    memset(made.slug, 'x', SLUG_LIMIT);
    made.account = made.model = INT64_MAX;
    assert_true(ingest_token_make(&text, &made, key));
    assert_true(text.size <= TICKET_TEXT_LIMIT);
    assert_null(ingest_token_read(&read, buffer_slice(&text), key, 1000));
    buffer_free(&text);
}

static void a_token_for_another_room_or_with_any_letter_changed_is_refused(void **state) {
    (void)state;
    struct ingest_token made = sample(), read;
    struct buffer text = {0}, other = {0};
    assert_true(ingest_token_make(&text, &made, key));
    buffer_append_text(&other, "lena");
    buffer_append_slice(&other, slice_sub(buffer_slice(&text), 4, text.size));
    assert_string_equal(ingest_token_read(&read, buffer_slice(&other), key, 0), "forged");
    for (size_t i = 5; i < text.size; i++) {
        char was = text.data[i];
        text.data[i] = was == 'A' ? 'B' : 'A';
        assert_non_null(ingest_token_read(&read, buffer_slice(&text), key, 0));
        text.data[i] = was;
    }
    for (size_t size = 0; size < text.size; size++) {
        assert_non_null(ingest_token_read(&read, slice_make(text.data, size), key, 0));
    }
    buffer_free(&text);
    buffer_free(&other);
}

static void tickets_and_tokens_do_not_pass_for_each_other(void **state) {
    (void)state;
    struct ingest_token token = sample(), read_token;
    struct ticket ticket = {.account = 7, .policy = TICKET_FREE, .expires = 1000, .slug = "luna"}, read_ticket;
    struct buffer text = {0};
    assert_true(ingest_token_make(&text, &token, key));
    assert_string_equal(ticket_read(&read_ticket, buffer_slice(&text), key, 0), "malformed");
    struct slice tail = slice_sub(buffer_slice(&text), 5, text.size);
    assert_string_equal(ticket_read(&read_ticket, tail, key, 0), "malformed");
    text.size = 0;
    assert_true(ticket_make(&text, &ticket, key));
    assert_string_equal(ingest_token_read(&read_token, buffer_slice(&text), key, 0), "malformed");
    buffer_free(&text);
}

static void a_token_without_an_owner_is_not_made(void **state) {
    (void)state;
    struct buffer text = {0};
    struct ingest_token token = sample();
    token.model = 0;
    assert_false(ingest_token_make(&text, &token, key));
    token = sample();
    token.account = 0;
    assert_false(ingest_token_make(&text, &token, key));
    token = sample();
    memcpy(token.slug, "../x", 5);
    assert_false(ingest_token_make(&text, &token, key));
    assert_int_equal(text.size, 0);
}

static void join(struct buffer *out, const struct ingest_input *input) {
    const char *arguments[INGEST_ARGUMENTS];
    char kbit[2][16];
    ingest_arguments(arguments, input, "rtmp://127.0.0.1:1/publish/once.x", kbit);
    out->size = 0;
    for (int i = 0; arguments[i]; i++) {
        buffer_append_text(out, arguments[i]);
        buffer_append_char(out, ' ');
    }
    buffer_append_char(out, '\0');
}

static void h264_is_copied_and_other_video_is_encoded_at_the_asked_rate(void **state) {
    (void)state;
    struct buffer text = {0};
    join(&text, &(struct ingest_input){.h264 = true, .audio = true});
    assert_non_null(strstr(text.data, "-c:v copy -c:a aac "));
    assert_null(strstr(text.data, "libx264"));
    assert_non_null(strstr(text.data, " -f flv rtmp://127.0.0.1:1/publish/once.x "));
    join(&text, &(struct ingest_input){.kbit = 900});
    assert_non_null(strstr(text.data, "-c:v libx264 "));
    assert_non_null(strstr(text.data, "-b:v 900k -maxrate 900k -bufsize 1800k -an "));
    assert_null(strstr(text.data, "-c:v copy"));
    buffer_free(&text);
}

static void progress_is_read_in_whatever_pieces_it_comes(void **state) {
    (void)state;
    static const char text[] = "frame=120\nfps=29.97\nstream_0_0_q=-1.0\nbitrate=1503.2kbits/s\n"
                               "total_size=N/A\ndrop_frames=3\nprogress=continue\n";
    for (size_t piece = 1; piece < sizeof text; piece++) {
        struct ingest_progress progress = {0};
        for (size_t at = 0; at < sizeof text - 1; at += piece) {
            size_t left = sizeof text - 1 - at;
            assert_false(progress.whole);
            ingest_progress_feed(&progress, slice_make(text + at, left < piece ? left : piece));
        }
        assert_true(progress.whole);
        assert_int_equal(progress.frames, 120);
        assert_int_equal(progress.fps_hundredths, 2997);
        assert_int_equal(progress.kbit, 1503);
        assert_int_equal(progress.dropped, 3);
    }
}

static void progress_survives_long_lines_and_strange_numbers(void **state) {
    (void)state;
    struct ingest_progress progress = {0};
    for (int i = 0; i < 1000; i++) ingest_progress_feed(&progress, SLICE("xxxxxxxxxxxxxxxxxxxx"));
    ingest_progress_feed(&progress, SLICE("\nframe=99999999999999999999999999\nfps=N/A\nbitrate=\n=\nframe\n"));
    assert_true(progress.frames >= 0);
    assert_int_equal(progress.fps_hundredths, 0);
    ingest_progress_feed(&progress, SLICE("frame=7\n"));
    assert_int_equal(progress.frames, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_what_was_put_into_it),
        cmocka_unit_test(the_longest_slug_fits),
        cmocka_unit_test(a_token_for_another_room_or_with_any_letter_changed_is_refused),
        cmocka_unit_test(tickets_and_tokens_do_not_pass_for_each_other),
        cmocka_unit_test(a_token_without_an_owner_is_not_made),
        cmocka_unit_test(h264_is_copied_and_other_video_is_encoded_at_the_asked_rate),
        cmocka_unit_test(progress_is_read_in_whatever_pieces_it_comes),
        cmocka_unit_test(progress_survives_long_lines_and_strange_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
