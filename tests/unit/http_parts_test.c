#include "http_support.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "http/address.h"
#include "http/compress.h"
#include "http/cookies.h"
#include "http/multipart.h"
#include "http/proxies.h"
#include "http/query.h"
#include "http/static.h"

/// The small parsers of runtime/http, without connections.

static void query_parts_are_decoded_in_order(void **state) {
    (void)state;
    struct arena arena = {0};
    struct slice rest = SLICE("a=1&&b=x+y%21&c&=v&%zz=%4&e=a=b"), name, value;
    static const char *const wanted[] = {"a", "1", "b", "x y!", "c", "", "", "v", "%zz", "%4", "e", "a=b"};
    size_t i = 0;
    while (http_query_next(&arena, &rest, &name, &value)) {
        assert_true(slice_equal(name, slice_of(wanted[i++])));
        assert_true(slice_equal(value, slice_of(wanted[i++])));
    }
    assert_int_equal(i, 12);
    arena_free(&arena);
}

static void query_check_counts_and_refuses(void **state) {
    (void)state;
    assert_int_equal(http_query_check(SLICE(""), 10), 0);
    assert_int_equal(http_query_check(SLICE("a=1&b=2&&"), 10), 2);
    assert_int_equal(http_query_check(SLICE("a&b&c"), 2), -1);
    assert_int_equal(http_query_check(SLICE("a=%4"), 10), -1);
    assert_int_equal(http_query_check(SLICE("a=%zz"), 10), -1);
    assert_int_equal(http_query_check(SLICE("a=%00"), 10), -1);
    assert_int_equal(http_query_check(SLICE("a=\0"), 10), -1);
}

static void paths_are_normalised_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"/", "/"},           {"/a/b", "/a/b"},       {"/a/", "/a/"},       {"//a///b", "/a/b"},
        {"/a/./b", "/a/b"},   {"/a/../b", "/b"},      {"/a/b/..", "/a/"},   {"/a/.", "/a/"},
        {"/a/..", "/"},       {"/%61%20b", "/a b"},   {"/caf%C3%A9", "/caf\xc3\xa9"},
        {"/a/%2e%2e/b", "/b"}, {"/a+b", "/a+b"},      {"/...", "/..."},
        {"/..", NULL},        {"/../a", NULL},        {"/a/../../b", NULL}, {"/%2e%2e/a", NULL},
        {"/%", NULL},         {"/%1", NULL},          {"/%zz", NULL},       {"/%00", NULL},
        {"/a%2fb", NULL},     {"/a%2Fb", NULL},       {"/%ff", NULL},       {"/%c0%af", NULL},
        {"/a%0d%0ab", NULL},  {"/a\\b", NULL},        {"/a%5cb", NULL},     {"", NULL},
        {"a", NULL},          {"/%7f", NULL},
    };
    struct arena arena = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice out;
        bool good = http_path_decode(&arena, slice_of(cases[i].in), &out);
        if (good != (cases[i].out != NULL)) fail_msg("%s: %s", cases[i].in, good ? "taken" : "refused");
        if (good && !slice_equal(out, slice_of(cases[i].out)))
            fail_msg("%s became %.*s", cases[i].in, SLICE_FORMAT(out));
    }
    arena_free(&arena);
}

static void cookies_that_are_malformed_are_skipped(void **state) {
    (void)state;
    struct slice rest = SLICE("a=1; b=\"2\";c=; bad; =x; d e=1; f=a b; g=\xff; h=x=y; a=3"), name, value;
    static const char *const wanted[] = {"a", "1", "b", "2", "c", "", "h", "x=y", "a", "3"};
    size_t i = 0;
    while (http_cookie_next(&rest, &name, &value)) {
        assert_true(i < 10);
        assert_true(slice_equal(name, slice_of(wanted[i++])));
        assert_true(slice_equal(value, slice_of(wanted[i++])));
    }
    assert_int_equal(i, 10);
}

struct form {
    struct buffer log;
    int fail_at;
};
static int on_part(void *context, const struct http_part *part) {
    struct form *form = context;
    buffer_printf(&form->log, "[%.*s|%.*s|%.*s]", SLICE_FORMAT(part->name), SLICE_FORMAT(part->filename),
                  SLICE_FORMAT(part->type));
    return 0;
}
static int on_data(void *context, struct slice data) {
    struct form *form = context;
    buffer_append_slice(&form->log, data);
    return form->fail_at && form->log.size > (size_t)form->fail_at ? 413 : 0;
}
static int on_part_end(void *context) {
    buffer_append_char(&((struct form *)context)->log, ';');
    return 0;
}
static const struct http_multipart_events events = {on_part, on_data, on_part_end};

static int parse(struct form *form, struct slice body, size_t step) {
    struct http_multipart multipart;
    int status = 0;
    buffer_clear(&form->log, SIZE_MAX);
    assert_true(http_multipart_init(&multipart, SLICE("multipart/form-data; boundary=XX"), 10, &events, form));
    for (size_t i = 0; !status && i < body.size; i += step)
        status = http_multipart_feed(&multipart, slice_sub(body, i, step));
    if (!status) status = http_multipart_finish(&multipart);
    http_multipart_free(&multipart);
    return status;
}

static void multipart_is_the_same_in_any_pieces(void **state) {
    (void)state;
    struct form form = {0};
    struct slice body = SLICE(
        "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nvalue\r\n--X \r\n--XY\r\n"
        "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"C:\\dir\\up.png\"\r\n"
        "Content-Type: image/png\r\n\r\n\r\n\r\n--XX\r\n"
        "content-disposition: form-data; name=empty\r\n\r\n\r\n--XX--\r\nepilogue");
    for (size_t step = 1; step < body.size; step++) {
        assert_int_equal(parse(&form, body, step), 0);
        assert_string_equal(buffer_text(&form.log),
                            "[a||]value\r\n--X \r\n--XY;[f|up.png|image/png]\r\n;[empty||];");
    }
    buffer_free(&form.log);
}

static void multipart_nonsense_is_refused(void **state) {
    (void)state;
    struct form form = {0};
    static const char *const bad[] = {
        "", "--XX", "--XX\r\n", "--XXY\r\n\r\n\r\n--XX--",
        "--XX\r\n\r\nno head\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--",
        "--XX\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\nx\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\nx\r\n--XX--",
        "--XX\r\nnonsense\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--XX--",
        "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--XX",
        "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\nnever ends",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(&form, slice_of(bad[i]), 7) != 400) fail_msg("taken: %s", bad[i]);
    struct buffer many = {0};
    for (int i = 0; i < 11; i++) buffer_append_text(&many, "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n");
    buffer_append_text(&many, "--XX--");
    assert_int_equal(parse(&form, buffer_slice(&many), 64), 413);
    buffer_clear(&many, 0);
    for (int i = 0; i < 2000; i++) buffer_append_char(&many, 'x');
    assert_int_equal(parse(&form, buffer_slice(&many), 64), 400); // preamble too long
    buffer_clear(&many, 0);
    buffer_append_text(&many, "--XX\r\nX: ");
    for (int i = 0; i < 5000; i++) buffer_append_char(&many, 'x');
    assert_int_equal(parse(&form, buffer_slice(&many), 64), 400); // part head too long
    form.fail_at = 10;
    assert_int_equal(parse(&form, SLICE("--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n12345678901234567890\r\n--XX--"), 5), 413);
    struct http_multipart multipart;
    static const char *const types[] = {
        "text/plain; boundary=x", "multipart/form-data", "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"", "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        assert_false(http_multipart_init(&multipart, slice_of(types[i]), 10, &events, &form));
        http_multipart_free(&multipart);
    }
    buffer_free(&many);
    buffer_free(&form.log);
}

static void codings_are_chosen_by_quality(void **state) {
    (void)state;
    assert_int_equal(http_coding_choose(SLICE("")), HTTP_IDENTITY);
    assert_int_equal(http_coding_choose(SLICE("gzip, deflate")), HTTP_GZIP);
    assert_int_equal(http_coding_choose(SLICE("GZIP;q=1.0, br;q=0.5")), HTTP_GZIP);
    assert_int_equal(http_coding_choose(SLICE("gzip;q=0.5, br")), HTTP_BROTLI);
    assert_int_equal(http_coding_choose(SLICE("*")), HTTP_BROTLI);
    assert_int_equal(http_coding_choose(SLICE("*, br;q=0")), HTTP_GZIP);
    assert_int_equal(http_coding_choose(SLICE("gzip;q=0")), HTTP_IDENTITY);
    assert_int_equal(http_coding_choose(SLICE("gzip;q=nonsense")), HTTP_IDENTITY);
    assert_true(http_type_compresses(SLICE("text/html; charset=utf-8")));
    assert_false(http_type_compresses(SLICE("image/png")));
    assert_false(http_type_compresses(SLICE("text/event-stream")));
}

static void gzip_comes_back_as_it_was(void **state) {
    (void)state;
    struct buffer page = {0}, packed = {0};
    for (int i = 0; i < 500; i++) buffer_printf(&page, "line %d\n", i);
    assert_true(http_compress(&packed, HTTP_GZIP, buffer_slice(&page)));
    assert_true(packed.size < page.size / 2);
    char *back = memory_alloc(page.size);
    z_stream stream = {0};
    inflateInit2(&stream, 15 + 16);
    stream.next_in = (Bytef *)packed.data;
    stream.avail_in = (uInt)packed.size;
    stream.next_out = (Bytef *)back;
    stream.avail_out = (uInt)page.size;
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_memory_equal(back, page.data, page.size);
    inflateEnd(&stream);
    memory_free(back);
    assert_false(http_compress(&packed, HTTP_GZIP, SLICE("\x8a\x11\xfe"))); // would grow
    buffer_free(&page);
    buffer_free(&packed);
}

static bool is_public(const char *text) {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {0};
    if (inet_pton(AF_INET, text, &a.v4.sin_addr) == 1) a.any.sa_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &a.v6.sin6_addr) == 1) a.any.sa_family = AF_INET6;
    return address_public(&a.any);
}

static void only_public_addresses_pass_the_guard(void **state) {
    (void)state;
    static const char *const refused[] = {
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.255", "169.254.169.254",
        "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1",
        "198.51.100.7", "203.0.113.7", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fc00::1",
        "fd12::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2001:db8::1", "2001::1", "::127.0.0.1"};
    static const char *const passed[] = {"1.1.1.1", "172.32.0.1", "192.167.1.1", "100.128.0.1", "9.255.255.255",
                                         "2606:4700::1111", "::ffff:1.1.1.1"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (is_public(refused[i])) fail_msg("%s passes", refused[i]);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        if (!is_public(passed[i])) fail_msg("%s is refused", passed[i]);
}

static void networks_of_proxies_are_matched_by_their_bits(void **state) {
    (void)state;
    struct http_proxies proxies = {0};
    assert_true(http_proxies_parse(&proxies, "127.0.0.1, 10.0.0.0/8,192.168.4.0/22 , ::1, fd00::/9"));
    assert_true(http_proxies_trust(&proxies, SLICE("127.0.0.1")));
    assert_true(http_proxies_trust(&proxies, SLICE("10.255.0.1")));
    assert_true(http_proxies_trust(&proxies, SLICE("192.168.7.255")));
    assert_true(http_proxies_trust(&proxies, SLICE("fd7f::1")));
    assert_false(http_proxies_trust(&proxies, SLICE("127.0.0.2")));
    assert_false(http_proxies_trust(&proxies, SLICE("11.0.0.1")));
    assert_false(http_proxies_trust(&proxies, SLICE("192.168.8.0")));
    assert_false(http_proxies_trust(&proxies, SLICE("fd80::1")));
    assert_false(http_proxies_trust(&proxies, SLICE("unix")));
    assert_false(http_proxies_trust(&proxies, SLICE("")));
    assert_false(http_proxies_parse(&proxies, "10.0.0.0/33"));
    assert_false(http_proxies_parse(&proxies, "example.org"));
    http_proxies_free(&proxies);
}

static void put(const char *folder, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static struct http_assets *served;
static const struct http_roots *served_roots;
static void serve_asset(void *context, struct http_request *request) {
    (void)context;
    if (!http_assets_serve(served, request, request->path)) http_respond_status(request, 404);
}
static int fetch(struct loop *loop, struct http_server *server, const char *target, const char *headers,
                 struct buffer *out) {
    struct buffer text = {0};
    buffer_printf(&text, "GET %s HTTP/1.1\r\nHost: a\r\n%sConnection: close\r\n\r\n", target, headers);
    struct peer *peer = peer_open(loop, server);
    peer_send(peer, buffer_slice(&text));
    wait_for(loop, peer->ended);
    buffer_clear(out, SIZE_MAX);
    buffer_append_slice(out, buffer_slice(&peer->received));
    int status = peer_status(peer);
    peer_close(loop, peer);
    buffer_free(&text);
    return status;
}

static void assets_are_named_by_content_and_never_leave_their_roots(void **state) {
    (void)state;
    char base[] = "/tmp/footlight-assets-XXXXXX", a[256], b[256], path[512];
    assert_non_null(mkdtemp(base));
    snprintf(a, sizeof a, "%s/a", base);
    snprintf(b, sizeof b, "%s/b", base);
    mkdir(a, 0755);
    mkdir(b, 0755);
    snprintf(path, sizeof path, "%s/css", a);
    mkdir(path, 0755);
    put(base, "secret.txt", "secret");
    put(a, "css/site.css", "body{}");
    put(a, ".hidden", "hidden");
    put(b, "x.js", "first();");
    put(b, "x.js.gz", "packed");
    put(b, "both.txt", "of b");
    put(a, "both.txt", "of a");
    snprintf(path, sizeof path, "%s/link.txt", a);
    assert_int_equal(symlink("../secret.txt", path), 0);

    struct loop loop;
    log_set_sink(quiet, NULL);
    assert_int_equal(loop_init(&loop), 0);
    const char *paths[] = {a, b};
    struct http_roots roots = {paths, 2};
    served_roots = &roots;
    static const char *const outside[] = {"../secret.txt", "css/../../secret.txt", "link.txt", ".hidden",
                                          "css", "", "/etc/passwd", "css//site.css", "css/./site.css", "none.txt"};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        if (http_static_open(&roots, outside[i], NULL) >= 0) fail_msg("%s was opened", outside[i]);

    served = http_assets_new(&loop, &roots, 0);
    assert_int_equal(http_assets_count(served), 4);
    struct http_server_options options = {.on_request = serve_asset};
    http_limits_default(&options.limits);
    struct http_server *server = http_server_new(&loop, &options);
    struct buffer url = {0}, out = {0};
    assert_true(http_assets_url(served, "css/site.css", &url));
    assert_int_equal(url.size, strlen("/assets/0123456789abcdef/css/site.css"));
    assert_int_equal(fetch(&loop, server, buffer_text(&url), "", &out), 200);
    assert_non_null(strstr(buffer_text(&out), "immutable"));
    assert_non_null(strstr(out.data, "Content-Type: text/css"));
    assert_non_null(strstr(out.data, "body{}"));

    struct buffer before = {0};
    buffer_append_slice(&before, buffer_slice(&url));
    put(a, "css/site.css", "body{color:red}");
    buffer_clear(&url, SIZE_MAX);
    assert_true(http_assets_url(served, "css/site.css", &url));
    assert_false(slice_equal(buffer_slice(&url), buffer_slice(&before)));
    assert_int_equal(fetch(&loop, server, buffer_text(&before), "", &out), 200);
    assert_null(strstr(buffer_text(&out), "immutable")); // an old page gets today's file, for now only
    assert_non_null(strstr(out.data, "no-cache"));
    assert_non_null(strstr(out.data, "color:red"));

    buffer_clear(&url, SIZE_MAX);
    assert_true(http_assets_url(served, "both.txt", &url));
    fetch(&loop, server, buffer_text(&url), "", &out);
    assert_non_null(strstr(buffer_text(&out), "of a"));
    buffer_clear(&url, SIZE_MAX);
    assert_true(http_assets_url(served, "x.js", &url));
    fetch(&loop, server, buffer_text(&url), "Accept-Encoding: br, gzip\r\n", &out);
    assert_non_null(strstr(buffer_text(&out), "Content-Encoding: gzip"));
    assert_non_null(strstr(out.data, "packed"));
    fetch(&loop, server, buffer_text(&url), "", &out);
    assert_non_null(strstr(buffer_text(&out), "first();"));

    buffer_clear(&url, SIZE_MAX);
    assert_false(http_assets_url(served, "missing.css", &url));
    assert_int_equal(fetch(&loop, server, buffer_text(&url), "", &out), 404);
    assert_int_equal(fetch(&loop, server, "/assets/0123456789abcdef/../../secret.txt", "", &out), 404);
    assert_int_equal(fetch(&loop, server, "/assets/x/link.txt", "", &out), 404);

    http_server_free(server);
    http_assets_free(served);
    assert_int_equal(loop_close(&loop), 0);
    buffer_free(&url);
    buffer_free(&before);
    buffer_free(&out);
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", base);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_parts_are_decoded_in_order),
        cmocka_unit_test(query_check_counts_and_refuses),
        cmocka_unit_test(paths_are_normalised_or_refused),
        cmocka_unit_test(cookies_that_are_malformed_are_skipped),
        cmocka_unit_test(multipart_is_the_same_in_any_pieces),
        cmocka_unit_test(multipart_nonsense_is_refused),
        cmocka_unit_test(codings_are_chosen_by_quality),
        cmocka_unit_test(gzip_comes_back_as_it_was),
        cmocka_unit_test(only_public_addresses_pass_the_guard),
        cmocka_unit_test(networks_of_proxies_are_matched_by_their_bits),
        cmocka_unit_test(assets_are_named_by_content_and_never_leave_their_roots),
    };
    return cmocka_run_group_tests_name("http_parts", tests, NULL, NULL);
}
