#ifndef FOOTLIGHT_TESTS_STREAMING_HOOKS_SUPPORT_H
#define FOOTLIGHT_TESTS_STREAMING_HOOKS_SUPPORT_H
#include <stdbool.h>
#include "redis_server.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/server.h"
#include "loop/listener.h"
#include "streaming/streaming.h"

/// The hooks service against a real Redis and an nginx that is played: callbacks in, /stat and
/// /control out. Each test has an empty Redis, a model `luna` with two keys and a viewer.

static struct redis_server main_server, money_server;
static struct loop loop;
static struct redis_client *redis, *money;
static struct billing *billing;
static struct streaming *streaming;
static struct http_server *hooks_http, *nginx_http;
static int hooks_port;
static char control_url[64], stat_url[64];
static const unsigned char key[TICKET_KEY_SIZE] = "0123456789abcdef0123456789abcdef";

// nginx, as far as it is asked.
static struct {
    uint64_t client, timestamp, step; ///< one client on /stat; its media time goes on by step
} listed;
static uint64_t dropped[16];
static int drops;
static char statuses[16][64];
static int status_count;

static inline void on_status(void *context, const char *slug, const char *state, int64_t at_ms) {
    (void)context;
    (void)at_ms;
    assert_in_range(status_count, 0, 15);
    snprintf(statuses[status_count++], sizeof *statuses, "%s %s", slug, state);
}

static inline void nginx_on_request(void *context, struct http_request *request) {
    (void)context;
    struct buffer page = {0};
    if (slice_equal(request->path, SLICE("/stat"))) {
        buffer_append_text(&page, "<rtmp><pid>1</pid><server><application><name>live</name><live><stream>"
                                  "<name>x</name>");
        if (listed.client) {
            listed.timestamp += listed.step;
            buffer_printf(&page, "<client><id>%llu</id><timestamp>%llu</timestamp><publishing/></client>",
                          (unsigned long long)listed.client, (unsigned long long)listed.timestamp);
        }
        buffer_append_text(&page, "</stream></live></application></server></rtmp>");
    } else {
        uint64_t client = 0;
        slice_to_u64(http_request_query(request, "clientid", NULL), &client);
        assert_in_range(drops, 0, 15);
        dropped[drops++] = client;
        buffer_append_text(&page, "1");
    }
    http_respond(request, 200, "text/plain", buffer_slice(&page));
    buffer_free(&page);
}

// A callback: one connection, one request, one status.
struct call {
    struct socket socket;
    struct buffer reply;
    bool done;
    int status;
};

static inline void call_data(struct socket *socket, const char *data, size_t size) {
    buffer_append(&container_of(socket, struct call, socket)->reply, data, size);
}

static inline void call_close(struct socket *socket, int error) {
    (void)error;
    struct call *call = container_of(socket, struct call, socket);
    call->status = call->reply.size > 12 ? atoi(buffer_text(&call->reply) + 9) : 0;
    call->done = true;
}

static inline void call_connect(struct socket *socket) { (void)socket; }

static const struct socket_events call_events = {
    .on_data = call_data, .on_close = call_close, .on_connect = call_connect};

static inline void call_send(struct call *call, const char *path, const char *body) {
    char head[512];
    memset(call, 0, sizeof *call);
    assert_int_equal(socket_connect_tcp(&loop, &call->socket, "127.0.0.1", hooks_port, &call_events), 0);
    snprintf(head, sizeof head,
             "POST %s HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded"
             "\r\nConnection: Close\r\nContent-Length: %zu\r\n\r\n",
             path, strlen(body));
    socket_write_slice(&call->socket, slice_of(head));
    socket_write_slice(&call->socket, slice_of(body));
}

static inline int call_wait(struct call *call) {
    assert_true(loop_run_until(&loop, &call->done, 8000));
    buffer_free(&call->reply);
    return call->status;
}

static char body_text[4096];

static const char *body(const char *app, uint64_t client, const char *rest) {
    snprintf(body_text, sizeof body_text,
             "app=%s&flashver=t&swfurl=&tcurl=rtmp://h/%s&pageurl=&addr=127.0.0.1&clientid=%llu&%s", app,
             app, (unsigned long long)client, rest);
    return body_text;
}

static inline int hook(const char *call_name, const char *app, uint64_t client, const char *rest) {
    struct call call;
    char path[128];
    snprintf(path, sizeof path, "/hooks/secret/boot1/%s", call_name);
    call_send(&call, path, body(app, client, rest));
    return call_wait(&call);
}

static inline int publish(uint64_t client, const char *stream_key) {
    char rest[256];
    snprintf(rest, sizeof rest, "call=publish&name=%s&type=live", stream_key);
    return hook("publish", "publish", client, rest);
}

static inline int disconnect(const char *app, uint64_t client) {
    char rest[64];
    snprintf(rest, sizeof rest, "call=disconnect&app=%s", app);
    return hook("disconnect", app, client, rest);
}

static char play_text[512];

static const char *play_rest(const char *slug, int64_t account, int64_t rate, int64_t ttl) {
    struct ticket ticket = {.account = account, .rate = rate, .expires = clock_wall_s() + ttl,
                            .policy = rate ? TICKET_PAID : TICKET_FREE};
    struct buffer text = {0};
    snprintf(ticket.slug, sizeof ticket.slug, "luna");
    assert_true(ticket_make(&text, &ticket, key));
    snprintf(play_text, sizeof play_text, "call=play&name=%s&start=0&duration=0&reset=0&t=%s", slug,
             buffer_text(&text));
    buffer_free(&text);
    return play_text;
}

static inline int play(uint64_t client, const char *rest) { return hook("play", "live", client, rest); }

// Redis, from the test's side.

static struct {
    bool done;
    char text[256];
    int64_t integer;
} answer;

static inline void on_answer(void *context, const redisReply *reply, const char *error) {
    (void)context;
    assert_null(error);
    answer.done = true;
    answer.integer = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    snprintf(answer.text, sizeof answer.text, "%s",
             reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS ? reply->str : "");
}

#define REDIS(...)                                                                                 \
    do {                                                                                           \
        answer.done = false;                                                                       \
        redis_format(redis, on_answer, NULL, __VA_ARGS__);                                         \
        assert_true(loop_run_until(&loop, &answer.done, 3000));                                    \
    } while (0)

static struct balance wallet;
static bool wallet_done;

static inline void on_wallet(void *context, const struct billing_result *result) {
    (void)context;
    assert_null(result->error);
    wallet = result->balance;
    wallet_done = true;
}

static inline void credit(int64_t account, int64_t amount, const char *op) {
    struct billing_operation operation = {
        .op = slice_of(op), .account = account, .amount = amount, .bucket = SLICE("paid"),
        .type = SLICE("purchase"), .reason = SLICE("test"), .actor = SLICE("command")};
    wallet_done = false;
    wallet_credit(billing, &operation, on_wallet, NULL);
    assert_true(loop_run_until(&loop, &wallet_done, 3000));
}

static inline void look_at_wallet(int64_t account) {
    wallet_done = false;
    wallet_balance(billing, account, on_wallet, NULL);
    assert_true(loop_run_until(&loop, &wallet_done, 3000));
}

static bool waited;
static inline void on_wait(struct timer *timer) {
    (void)timer;
    waited = true;
}
static inline void turn_for(uint64_t ms) {
    struct timer timer;
    timer_init(&timer, on_wait);
    waited = false;
    loop_timer_start(&loop, &timer, ms);
    loop_run_until(&loop, &waited, ms + 5000);
}

static bool freed;
static inline void on_freed(void *context) {
    (void)context;
    freed = true;
}

static inline void start_streaming(void) {
    struct streaming_options options = {
        .service = STREAMING_HOOKS, .redis = redis, .billing = billing, .hooks_secret = "secret",
        .segment_secret = "s", .boot = "boot1", .rtmp_address = "127.0.0.1:1935",
        .control_url = control_url, .stat_url = stat_url, .hls = "/nowhere", .keys = "/nowhere",
        .grace_ms = 200, .on_status = on_status};
    memcpy(options.ticket_key, key, sizeof key);
    streaming = streaming_new(&loop, &options);
    struct http_server_options http = {.one_request = true, .name = "hooks", .context = streaming,
                                       .on_request = hooks_on_request};
    http_limits_default(&http.limits);
    hooks_http = http_server_new(&loop, &http);
    int fd = listener_open("127.0.0.1:0", 64);
    assert_true(fd >= 0);
    hooks_port = listener_port(fd);
    assert_int_equal(http_server_listen(hooks_http, fd), 0);
}

static inline void stop_streaming(void) {
    http_server_free(hooks_http);
    freed = false;
    streaming_free(streaming, on_freed, NULL);
    assert_true(loop_run_until(&loop, &freed, 5000));
}

static inline int setup(void **state) {
    (void)state;
    log_configure(LOG_ERROR_LEVEL, "test");
    money_server.fsync = "always";
    redis_server_start(&main_server);
    redis_server_start(&money_server);
    assert_int_equal(loop_init(&loop), 0);
    struct redis_options main_options = {.name = "main", .address = main_server.address};
    struct redis_options money_options = {.name = "money", .address = money_server.address};
    redis = redis_client_new(&loop, &main_options);
    money = redis_client_new(&loop, &money_options);
    struct billing_options options;
    billing_options_default(&options);
    billing = billing_new(&loop, money, &options);

    struct http_server_options http = {.name = "nginx", .on_request = nginx_on_request};
    http_limits_default(&http.limits);
    nginx_http = http_server_new(&loop, &http);
    int fd = listener_open("127.0.0.1:0", 64);
    snprintf(control_url, sizeof control_url, "http://127.0.0.1:%d/control", listener_port(fd));
    snprintf(stat_url, sizeof stat_url, "http://127.0.0.1:%d/stat", listener_port(fd));
    assert_int_equal(http_server_listen(nginx_http, fd), 0);
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    http_server_free(nginx_http);
    billing_free(billing);
    redis_client_free(redis);
    redis_client_free(money);
    assert_int_equal(loop_close(&loop), 0);
    redis_server_remove(&main_server);
    redis_server_remove(&money_server);
    return 0;
}

/// Each test has its own process and an empty Redis, a model `luna` with two keys and a viewer.
static inline int begin(void **state) {
    (void)state;
    // sha256 of LUNAKEY-1 and LUNAKEY-2
    static const char first[] = "f3702329d5693a938398faa73ea52f522dfd0cd1927c2e31583774807c1bd299";
    static const char second[] = "86525bfa15dab883ba0619dd1e020ea36687f2419c8f5f87afab18d8bcc7020d";
    drops = status_count = 0;
    memset(&listed, 0, sizeof listed);
    REDIS("FLUSHALL");
    REDIS("HSET p:key:%s model 5 slug luna", first);
    REDIS("HSET p:key:%s model 5 slug luna", second);
    REDIS("HSET p:model:luna id 5 account 50 name Luna state approved rate 0 version 1");
    REDIS("HSET p:account:50 state active");
    REDIS("HSET p:account:7 state active");
    start_streaming();
    return 0;
}

static inline int end(void **state) {
    (void)state;
    stop_streaming();
    return 0;
}

/// Publishes, and shows the first picture.
static inline void go_live(void) {
    assert_int_equal(publish(1, "LUNAKEY-1"), 302);
    REDIS("HSET live:luna state live");
}
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
#endif
