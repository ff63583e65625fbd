#include "http_support.h"

#include <stdio.h>

#include "http/client.h"
#include "loop/listener.h"

/// Outgoing requests against our own server, and mail against a few lines of SMTP, on loopback.

struct fixture {
    struct loop loop;
    struct http_server *server;
    struct http_client *client;
    int port;
    char url[128];
    struct buffer body, headers;
    char error[256];
    int status;
    unsigned done;
    bool waiting;
};
static struct fixture *f;

static void hang_gone(struct http_request *request) { http_respond_status(request, 503); }
static void on_request(void *context, struct http_request *request) {
    if (slice_equal(request->path, SLICE("/hang"))) {
        f->waiting = true;
        http_request_on_gone(request, hang_gone);
    } else if (slice_equal(request->path, SLICE("/redirect"))) {
        http_response_header(request, SLICE("Location"), SLICE("/final"));
        http_respond(request, 302, NULL, SLICE(""));
    } else if (slice_equal(request->path, SLICE("/large"))) {
        char block[4096];
        memset(block, 'x', sizeof block);
        http_respond(request, 200, "text/plain", slice_make(block, sizeof block));
    } else {
        http_response_header(request, SLICE("X-Seen"), http_request_header(request, "x-test").data
                                                           ? http_request_header(request, "x-test")
                                                           : SLICE("none"));
        echo_request(context, request);
    }
}

static int setup(void **state) {
    f = memory_zero(1, sizeof *f);
    *state = f;
    log_set_sink(quiet, NULL);
    assert_int_equal(loop_init(&f->loop), 0);
    struct http_server_options options = {.on_request = on_request};
    http_limits_default(&options.limits);
    f->server = http_server_new(&f->loop, &options);
    int fd = listener_open("127.0.0.1:0", 16);
    assert_true(fd >= 0);
    f->port = listener_port(fd);
    assert_int_equal(http_server_listen(f->server, fd), 0);
    f->client = http_client_new(&f->loop);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    http_client_free(f->client);
    http_server_free(f->server);
    assert_int_equal(loop_close(&f->loop), 0);
    buffer_free(&f->body);
    buffer_free(&f->headers);
    memory_free(f);
    return 0;
}

static void on_done(void *context, const struct http_client_response *response) {
    (void)context;
    f->done++;
    f->status = response->status;
    snprintf(f->error, sizeof f->error, "%s", response->error ? response->error : "");
    buffer_clear(&f->body, SIZE_MAX);
    buffer_append_slice(&f->body, response->body);
    buffer_clear(&f->headers, SIZE_MAX);
    buffer_append_slice(&f->headers, response->headers);
}

static http_client_handle begin(struct http_client_request *request, const char *path) {
    const char *error = NULL;
    snprintf(f->url, sizeof f->url, "http://127.0.0.1:%d%s", f->port, path);
    request->url = f->url;
    http_client_handle handle = http_client_send(f->client, request, on_done, NULL, &error);
    assert_true(handle);
    return handle;
}
static void run(struct http_client_request request, const char *path) {
    unsigned before = f->done;
    begin(&request, path);
    assert_int_equal(f->done, before); // never inside the call
    wait_for(&f->loop, f->done > before);
}

static void requests_carry_method_headers_and_body(void **state) {
    (void)state;
    struct http_client_header header = {SLICE("X-Test"), SLICE("yes")};
    run((struct http_client_request){.headers = &header, .header_count = 1}, "/a?b=c");
    assert_string_equal(f->error, "");
    assert_int_equal(f->status, 200);
    assert_non_null(strstr(buffer_text(&f->body), "[GET /a?b=c"));
    assert_non_null(strstr(buffer_text(&f->headers), "X-Seen: yes"));
    run((struct http_client_request){.body = SLICE("hello")}, "/post");
    assert_non_null(strstr(buffer_text(&f->body), "[POST /post? "));
    assert_non_null(strstr(f->body.data, "body=hello]"));
    run((struct http_client_request){.method = "PUT", .body = SLICE("put")}, "/put");
    assert_non_null(strstr(buffer_text(&f->body), "[PUT /put? "));
    run((struct http_client_request){.method = "DELETE"}, "/d");
    assert_non_null(strstr(buffer_text(&f->body), "[DELETE /d? "));
    run((struct http_client_request){.method = "HEAD"}, "/h");
    assert_int_equal(f->status, 200);
    assert_int_equal(f->body.size, 0);
}

static void redirects_are_followed_only_when_asked(void **state) {
    (void)state;
    run((struct http_client_request){0}, "/redirect");
    assert_int_equal(f->status, 302);
    run((struct http_client_request){.redirects = 2}, "/redirect");
    assert_int_equal(f->status, 200);
    assert_non_null(strstr(buffer_text(&f->body), "[GET /final?"));
    assert_null(strstr(buffer_text(&f->headers), "Location"));
}

static void limits_of_time_and_size_hold(void **state) {
    (void)state;
    run((struct http_client_request){.timeout_ms = 80}, "/hang");
    assert_non_null(strstr(f->error, "timeout: "));
    run((struct http_client_request){.max = 1000}, "/large");
    assert_non_null(strstr(f->error, "too large: "));
    run((struct http_client_request){.max = 4096}, "/large");
    assert_string_equal(f->error, "");
    assert_int_equal(f->body.size, 4096);
}

static void the_guard_refuses_our_own_network(void **state) {
    (void)state;
    run((struct http_client_request){0}, "/warm"); // a pooled connection must not be used either
    run((struct http_client_request){.guard = true}, "/a");
    assert_non_null(strstr(f->error, "refused: "));
    unsigned before = f->done;
    const char *error = NULL;
    snprintf(f->url, sizeof f->url, "http://localhost:%d/", f->port);
    struct http_client_request request = {.url = f->url, .guard = true};
    assert_true(http_client_send(f->client, &request, on_done, NULL, &error));
    wait_for(&f->loop, f->done > before);
    assert_non_null(strstr(f->error, "refused: "));
}

static void a_cancelled_request_calls_nobody(void **state) {
    (void)state;
    struct http_client_request request = {0};
    http_client_handle handle = begin(&request, "/hang");
    wait_for(&f->loop, f->waiting);
    http_client_cancel(f->client, handle);
    assert_int_equal(http_client_running(f->client), 0);
    run((struct http_client_request){0}, "/a");
    assert_int_equal(f->done, 1);
}

static void requests_that_could_be_split_are_not_sent(void **state) {
    (void)state;
    const char *error;
    struct http_client_header bad_value = {SLICE("X"), SLICE("a\r\nY: b")}, bad_name = {SLICE("X: y\r\nZ"), SLICE("a")};
    const char *to[] = {"a@b.example>\r\nRCPT TO:<c@d.example"};
    struct http_client_request requests[] = {
        {.url = "http://127.0.0.1/", .headers = &bad_value, .header_count = 1},
        {.url = "http://127.0.0.1/", .headers = &bad_name, .header_count = 1},
        {.url = "http://127.0.0.1/", .method = "GET / HTTP/1.1\r\nX:"},
        {.url = "http://127.0.0.1/a b"},
        {.url = "file:///etc/passwd"},
        {.url = "gopher://127.0.0.1/"},
        {.url = ""},
        {.url = "http://127.0.0.1/", .from = "a@b.example", .to = to, .to_count = 1},
        {.url = "smtp://127.0.0.1/", .from = "a@b.example", .to = to, .to_count = 1},
        {.url = "smtp://127.0.0.1/", .from = "a@b.example"},
        {.url = "smtp://127.0.0.1/", .from = "a@b.example\r\nX", .to = to, .to_count = 1},
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        error = NULL;
        assert_int_equal(http_client_send(f->client, &requests[i], on_done, NULL, &error), 0);
        assert_non_null(error);
    }
    assert_int_equal(f->done, 0);
}

// ---- SMTP -----------------------------------------------------------------------------------

static struct mailbox {
    struct listener listener;
    struct socket socket;
    struct buffer input, mail;
    bool open, data, closed, stopped;
} box;

static void smtp_on_data(struct socket *socket, const char *data, size_t size) {
    buffer_append(&box.input, data, size);
    size_t end;
    while (box.input.size && (end = slice_search(buffer_slice(&box.input), SLICE("\r\n"))) < box.input.size) {
        struct slice line = slice_make(box.input.data, end);
        buffer_append_slice(&box.mail, line);
        buffer_append_char(&box.mail, '\n');
        struct slice reply = SLICE("250 ok\r\n");
        if (box.data) reply = slice_equal(line, SLICE(".")) ? reply : SLICE("");
        if (box.data && reply.size) box.data = false;
        else if (!box.data && slice_equal(line, SLICE("DATA"))) {
            box.data = true;
            reply = SLICE("354 go on\r\n");
        } else if (slice_equal(line, SLICE("QUIT"))) reply = SLICE("221 bye\r\n");
        socket_write(socket, reply.data, reply.size);
        buffer_consume(&box.input, end + 2);
    }
}
static void smtp_on_close(struct socket *socket, int error) {
    (void)socket;
    (void)error;
    box.closed = true;
}
static const struct socket_events smtp_events = {.on_data = smtp_on_data, .on_close = smtp_on_close};
static void smtp_on_accept(struct listener *listener, int fd) {
    (void)listener;
    box.open = true;
    assert_int_equal(socket_open(&f->loop, &box.socket, fd, &smtp_events), 0);
    socket_write(&box.socket, "220 test\r\n", 10);
}
static void smtp_stopped(struct listener *listener) {
    (void)listener;
    box.stopped = true;
}

static void mail_reaches_all_recipients(void **state) {
    (void)state;
    int fd = listener_open("127.0.0.1:0", 4), port = listener_port(fd);
    assert_int_equal(listener_start(&f->loop, &box.listener, fd, smtp_on_accept), 0);
    const char *to[] = {"one@b.example", "two@b.example"}, *error = NULL;
    snprintf(f->url, sizeof f->url, "smtp://127.0.0.1:%d/", port);
    struct http_client_request request = {.url = f->url, .from = "site@a.example", .to = to, .to_count = 2,
                                          .body = SLICE("Subject: hi\r\n\r\nhello\r\n.dot\r\n")};
    assert_true(http_client_send(f->client, &request, on_done, NULL, &error));
    wait_for(&f->loop, f->done == 1);
    assert_string_equal(f->error, "");
    assert_int_equal(f->status / 100, 2);
    const char *mail = buffer_text(&box.mail);
    assert_non_null(strstr(mail, "MAIL FROM:<site@a.example>"));
    assert_non_null(strstr(mail, "RCPT TO:<one@b.example>"));
    assert_non_null(strstr(mail, "RCPT TO:<two@b.example>"));
    assert_non_null(strstr(mail, "Subject: hi\n\nhello\n..dot\n"));
    if (!box.closed) socket_close_now(&box.socket, 0);
    listener_stop(&box.listener, false, smtp_stopped);
    wait_for(&f->loop, box.closed && box.stopped);
    buffer_free(&box.input);
    buffer_free(&box.mail);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(requests_carry_method_headers_and_body),
        T(redirects_are_followed_only_when_asked),
        T(limits_of_time_and_size_hold),
        T(the_guard_refuses_our_own_network),
        T(a_cancelled_request_calls_nobody),
        T(requests_that_could_be_split_are_not_sent),
        T(mail_reaches_all_recipients),
    };
    return cmocka_run_group_tests_name("http_client", tests, NULL, NULL);
}
