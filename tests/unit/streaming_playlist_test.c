#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "streaming/playlist.h"
#include "streaming/stat.h"

static const struct playlist_options options = {
    .slug = {"luna", 4}, .segment_secret = "secret", .now = 1700000000};

#define HEAD "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-MEDIA-SEQUENCE:4\n#EXT-X-TARGETDURATION:3\n"
#define KEY "#EXT-X-KEY:METHOD=AES-128,URI=\"/k/luna/0.key\",IV=0x00000000000000000000000000000000\n"

static void segments_become_links_and_keys_stay_under_the_ticket(void **state) {
    (void)state;
    struct buffer out = {0};
    unsigned target = 0;
    assert_true(playlist_rewrite(&out, SLICE(HEAD KEY "#EXTINF:2.907,\n4.ts\n#EXTINF:2.000,\n5.ts\n"),
                                 &options, &target));
    const char *text = buffer_text(&out);
    assert_int_equal(target, 3);
    assert_non_null(strstr(text, "URI=\"0.key\",IV=0x0"));
    assert_null(strstr(text, "/k/"));
    assert_non_null(strstr(text, "\n/segments/luna/4.ts?e="));
    assert_non_null(strstr(text, "\n/segments/luna/5.ts?e="));
    assert_null(strstr(text, "\n4.ts"));
    buffer_free(&out);
}

static void write_segment(const char *folder, const char *name, int64_t ended_ms) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    struct timespec times[2] = {{ended_ms / 1000, ended_ms % 1000 * 1000000},
                                {ended_ms / 1000, ended_ms % 1000 * 1000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void what_a_show_left_behind_is_not_listed(void **state) {
    (void)state;
    char folder[] = "/tmp/footlight-playlist-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct playlist_options hiding = options;
    hiding.since_ms = 1700000000000;
    hiding.folder = folder;
    // Two seconds each: 4 is of the show, 5 began in it, 6 and 7 are everybody's.
    write_segment(folder, "4.ts", hiding.since_ms);
    write_segment(folder, "5.ts", hiding.since_ms + 1900);
    write_segment(folder, "6.ts", hiding.since_ms + 3900);
    write_segment(folder, "7.ts", hiding.since_ms + 5900);
    struct slice text = SLICE(HEAD KEY "#EXTINF:2.000,\n4.ts\n#EXTINF:2.000,\n5.ts\n#EXTINF:2.000,\n6.ts\n"
                              "#EXT-X-KEY:METHOD=AES-128,URI=\"/k/luna/7.key\",IV=0x7\n#EXTINF:2.000,\n7.ts\n");
    struct buffer out = {0};
    unsigned target = 0;
    assert_true(playlist_rewrite(&out, text, &hiding, &target));
    const char *shown = buffer_text(&out);
    assert_null(strstr(shown, "/4.ts"));
    assert_null(strstr(shown, "/5.ts"));
    assert_non_null(strstr(shown, "#EXT-X-MEDIA-SEQUENCE:6\n"));
    // The key that holds for the first that is shown comes before it, the next before its own.
    const char *first = strstr(shown, "/6.ts"), *key = strstr(shown, "URI=\"0.key\"");
    assert_non_null(first);
    assert_non_null(key);
    assert_true(key < first);
    assert_true(strstr(shown, "URI=\"7.key\"") > first);
    int lengths = 0;
    for (const char *at = shown; (at = strstr(at, "#EXTINF:")); at++) lengths++;
    assert_int_equal(lengths, 2);
    buffer_clear(&out, SIZE_MAX);
    hiding.since_ms += 10000;
    assert_false(playlist_rewrite(&out, text, &hiding, &target));
    // A file that is gone is old.
    hiding.since_ms = 1;
    assert_false(playlist_rewrite(&out, SLICE(HEAD KEY "#EXTINF:2.000,\n9.ts\n"), &hiding, &target));
    buffer_free(&out);
    for (char name[5] = "4.ts"; name[0] < '8'; name[0]++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        unlink(path);
    }
    rmdir(folder);
}

static void links_are_equal_within_half_a_minute_and_good_for_a_minute_and_a_half(void **state) {
    (void)state;
    struct buffer a = {0}, b = {0};
    unsigned target;
    struct slice text = SLICE(HEAD "#EXTINF:2.000,\n4.ts\n");
    struct playlist_options first = options, later = options;
    first.now = 1700000010 - 1700000010 % 30;
    later.now = first.now + 29;
    assert_true(playlist_rewrite(&a, text, &first, &target));
    assert_true(playlist_rewrite(&b, text, &later, &target));
    assert_string_equal(buffer_text(&a), buffer_text(&b));
    const char *expires = strstr(buffer_text(&a), "?e=");
    uint64_t end = 0;
    assert_non_null(expires);
    assert_true(slice_to_u64(slice_make(expires + 3, 10), &end));
    assert_true((int64_t)end >= later.now + 90);
    buffer_free(&a);
    buffer_free(&b);
}

static void half_written_and_foreign_playlists_are_not_handed_on(void **state) {
    (void)state;
    static const char *const broken[] = {
        "", "#EXTM3U\n", HEAD, HEAD "#EXTINF:2.000,\n4.t", HEAD "#EXTINF:2.000,\n../../secret.ts\n",
        HEAD "#EXTINF:2.000,\nhttp://elsewhere/4.ts\n", HEAD "#EXTINF:2.000,\n4.ts",
        HEAD "#EXT-X-KEY:METHOD=AES-128,URI=\"/k/luna/x.key\"\n#EXTINF:2.0,\n4.ts\n",
        HEAD "#EXT-X-KEY:METHOD=AES-128\n#EXTINF:2.0,\n4.ts\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:0\n#EXTINF:2.0,\n4.ts\n",
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct buffer out = {0};
        unsigned target;
        assert_false(playlist_rewrite(&out, slice_of(broken[i]), &options, &target));
        assert_int_equal(out.size, 0);
        buffer_free(&out);
    }
}

static void key_names_are_numbers(void **state) {
    (void)state;
    assert_true(playlist_key_name(SLICE("0.key")));
    assert_true(playlist_key_name(SLICE("123456789.key")));
    assert_false(playlist_key_name(SLICE(".key")));
    assert_false(playlist_key_name(SLICE("../0.key")));
    assert_false(playlist_key_name(SLICE("0.key\0")));
    assert_false(playlist_key_name(SLICE("0.ts")));
}

// A page as nginx-rtmp 1.2.2 wrote it, shortened.
#define PAGE                                                                                       \
    "<?xml version=\"1.0\" encoding=\"utf-8\" ?>\n<rtmp>\n<nginx_version>1.22.1</nginx_version>\n"  \
    "<pid>10369</pid>\n<uptime>5</uptime>\n<server>\n<application>\n<name>live</name>\n<live>\n"   \
    "<stream>\n<name>luna</name>\n<time>3169</time><bw_in>0</bw_in>\n<bytes_in>219047</bytes_in>\n" \
    "<client><id>5</id><address>127.0.0.1</address><time>3256</time><flashver>a&lt;b</flashver>"   \
    "<dropped>0</dropped><avsync>-12</avsync><timestamp>3263</timestamp><publishing/><active/>"    \
    "</client>\n<client><id>9</id><address>10.0.0.&amp;</address><time>1</time><timestamp>7"       \
    "</timestamp><active/></client>\n<meta><video><width>320</width></video></meta>\n"             \
    "<nclients>2</nclients>\n<publishing/>\n<active/>\n</stream>\n<nclients>2</nclients>\n"        \
    "</live>\n</application>\n</server>\n</rtmp>\n"

struct seen {
    struct stat_client clients[8];
    struct stat_stream streams[8];
    int client_count, stream_count;
};

static void on_client(void *context, const struct stat_client *client) {
    struct seen *seen = context;
    seen->clients[seen->client_count++] = *client;
}

static void on_stream(void *context, const struct stat_stream *stream) {
    struct seen *seen = context;
    seen->streams[seen->stream_count++] = *stream;
}

static void the_stat_page_is_read(void **state) {
    (void)state;
    struct seen seen = {0};
    struct stat_events events = {on_client, on_stream, &seen};
    uint64_t pid;
    assert_true(stat_read(SLICE(PAGE), &events, &pid));
    assert_int_equal(pid, 10369);
    assert_int_equal(seen.client_count, 2);
    assert_int_equal(seen.clients[0].id, 5);
    assert_int_equal(seen.clients[0].timestamp, 3263);
    assert_true(seen.clients[0].publishing);
    assert_string_equal(seen.clients[0].app, "live");
    assert_string_equal(seen.clients[0].stream, "luna");
    assert_int_equal(seen.clients[1].id, 9);
    assert_false(seen.clients[1].publishing);
    assert_string_equal(seen.clients[1].address, "10.0.0.&");
    assert_int_equal(seen.stream_count, 1);
    assert_true(seen.streams[0].video);
    assert_false(seen.streams[0].audio);
    assert_true(seen.streams[0].publishing);
    assert_int_equal(seen.streams[0].bytes_in, 219047);
}

static void a_cut_stat_page_is_never_whole(void **state) {
    (void)state;
    struct slice page = SLICE(PAGE);
    for (size_t size = 0; size + 1 < page.size; size++) { // the last byte is a newline
        struct seen seen = {0};
        struct stat_events events = {on_client, on_stream, &seen};
        uint64_t pid;
        assert_false(stat_read(slice_sub(page, 0, size), &events, &pid));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_become_links_and_keys_stay_under_the_ticket),
        cmocka_unit_test(what_a_show_left_behind_is_not_listed),
        cmocka_unit_test(links_are_equal_within_half_a_minute_and_good_for_a_minute_and_a_half),
        cmocka_unit_test(half_written_and_foreign_playlists_are_not_handed_on),
        cmocka_unit_test(key_names_are_numbers),
        cmocka_unit_test(the_stat_page_is_read),
        cmocka_unit_test(a_cut_stat_page_is_never_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
