#include <stdbool.h>
#include "redis_server.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/server.h"
#include "loop/listener.h"
#include "streaming/streaming.h"

// The hooks service against a real Redis and an nginx that is played: callbacks in, /stat and
// /control out. The cases are those of docs/streaming.md that need no media.

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

static void on_status(void *context, const char *slug, const char *state, int64_t at_ms) {
    (void)context;
    (void)at_ms;
    assert_in_range(status_count, 0, 15);
    snprintf(statuses[status_count++], sizeof *statuses, "%s %s", slug, state);
}

static void nginx_on_request(void *context, struct http_request *request) {
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

static void call_data(struct socket *socket, const char *data, size_t size) {
    buffer_append(&container_of(socket, struct call, socket)->reply, data, size);
}

static void call_close(struct socket *socket, int error) {
    (void)error;
    struct call *call = container_of(socket, struct call, socket);
    call->status = call->reply.size > 12 ? atoi(buffer_text(&call->reply) + 9) : 0;
    call->done = true;
}

static void call_connect(struct socket *socket) { (void)socket; }

static const struct socket_events call_events = {
    .on_data = call_data, .on_close = call_close, .on_connect = call_connect};

static void call_send(struct call *call, const char *path, const char *body) {
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

static int call_wait(struct call *call) {
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

static int hook(const char *call_name, const char *app, uint64_t client, const char *rest) {
    struct call call;
    char path[128];
    snprintf(path, sizeof path, "/hooks/secret/boot1/%s", call_name);
    call_send(&call, path, body(app, client, rest));
    return call_wait(&call);
}

static int publish(uint64_t client, const char *stream_key) {
    char rest[256];
    snprintf(rest, sizeof rest, "call=publish&name=%s&type=live", stream_key);
    return hook("publish", "publish", client, rest);
}

static int disconnect(const char *app, uint64_t client) {
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

static int play(uint64_t client, const char *rest) { return hook("play", "live", client, rest); }

// Redis, from the test's side.

static struct {
    bool done;
    char text[256];
    int64_t integer;
} answer;

static void on_answer(void *context, const redisReply *reply, const char *error) {
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

static void on_wallet(void *context, const struct billing_result *result) {
    (void)context;
    assert_null(result->error);
    wallet = result->balance;
    wallet_done = true;
}

static void credit(int64_t account, int64_t amount, const char *op) {
    struct billing_operation operation = {
        .op = slice_of(op), .account = account, .amount = amount, .bucket = SLICE("paid"),
        .type = SLICE("purchase"), .reason = SLICE("test"), .actor = SLICE("command")};
    wallet_done = false;
    wallet_credit(billing, &operation, on_wallet, NULL);
    assert_true(loop_run_until(&loop, &wallet_done, 3000));
}

static void look_at_wallet(int64_t account) {
    wallet_done = false;
    wallet_balance(billing, account, on_wallet, NULL);
    assert_true(loop_run_until(&loop, &wallet_done, 3000));
}

static bool waited;
static void on_wait(struct timer *timer) {
    (void)timer;
    waited = true;
}
static void turn_for(uint64_t ms) {
    struct timer timer;
    timer_init(&timer, on_wait);
    waited = false;
    loop_timer_start(&loop, &timer, ms);
    loop_run_until(&loop, &waited, ms + 5000);
}

static bool freed;
static void on_freed(void *context) {
    (void)context;
    freed = true;
}

static void start_streaming(void) {
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

static void stop_streaming(void) {
    http_server_free(hooks_http);
    freed = false;
    streaming_free(streaming, on_freed, NULL);
    assert_true(loop_run_until(&loop, &freed, 5000));
}

static int setup(void **state) {
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

static int teardown(void **state) {
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
static int begin(void **state) {
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

static int end(void **state) {
    (void)state;
    stop_streaming();
    return 0;
}

// Publishing.

/// sha256 of once.0123456789abcdef
static const char once_hash[] = "1a80b16eff2483e29260036cdc3722b9483bbe8cc6a4c98489946b5368a73930";

static void a_key_publishes_and_another_does_not(void **state) {
    (void)state;
    struct call call;
    call_send(&call, "/hooks/secret/boot1/publish",
              body("publish", 1, "call=publish&name=LUNAKEY-1&type=live"));
    assert_true(loop_run_until(&loop, &call.done, 3000));
    assert_int_equal(call.status, 302);
    assert_non_null(strstr(buffer_text(&call.reply), "\r\nLocation: rtmp://127.0.0.1:1935/live/luna\r\n"));
    buffer_free(&call.reply);
    assert_string_equal(statuses[0], "luna starting");
    REDIS("HGET live:luna state");
    assert_string_equal(answer.text, "starting");
    assert_int_equal(publish(2, "LUNAKEY-9"), 403);
    assert_int_equal(publish(3, "short"), 403);
    assert_int_equal(publish(4, "..%2f..%2fetc"), 403);
}

static char asked_address[64];

static void note_question(void *context, const struct streaming_question *question,
                          struct streaming_answer *streaming_question_answer) {
    (void)context;
    snprintf(asked_address, sizeof asked_address, "%.*s", SLICE_FORMAT(question->address));
    streaming_answer(streaming_question_answer, true, "");
}

static void a_one_time_name_publishes_once_and_its_policy_sees_the_browser(void **state) {
    (void)state;
    streaming_set_policy(streaming, &(struct streaming_policy){.on_publish = note_question});
    REDIS("HSET p:once:%s model 5 slug luna address 192.0.2.7", once_hash);
    assert_int_equal(publish(1, "once.0123456789abcdef"), 302);
    assert_string_equal(asked_address, "192.0.2.7");
    disconnect("publish", 1);
    assert_int_equal(publish(2, "once.0123456789abcdef"), 403);
    REDIS("EXISTS p:once:%s", once_hash);
    assert_int_equal(answer.integer, 0);
}

static void a_one_time_name_opens_nothing_that_its_model_may_not(void **state) {
    (void)state;
    REDIS("HSET p:once:%s model 6 slug luna address 192.0.2.7", once_hash);
    assert_int_equal(publish(1, "once.0123456789abcdef"), 403); // luna is model 5
    REDIS("HSET p:once:%s model 5 slug luna address 192.0.2.7", once_hash);
    REDIS("HSET p:model:luna state suspended");
    assert_int_equal(publish(2, "once.0123456789abcdef"), 403);
    // A stream key is no one-time name, and the other way round.
    REDIS("HSET p:model:luna state approved");
    REDIS("HSET p:key:%s model 5 slug luna", once_hash);
    assert_int_equal(publish(3, "once.0123456789abcdef"), 403);
}

static void one_publisher_a_model_whatever_the_key(void **state) {
    (void)state;
    assert_int_equal(publish(1, "LUNAKEY-1"), 302);
    assert_int_equal(publish(2, "LUNAKEY-1"), 403);
    assert_int_equal(publish(3, "LUNAKEY-2"), 403);
    assert_int_equal(disconnect("publish", 1), 200);
    assert_int_equal(publish(4, "LUNAKEY-2"), 302);
}

static void two_that_come_at_once_are_one(void **state) {
    (void)state;
    struct call first, second;
    call_send(&first, "/hooks/secret/boot1/publish",
              body("publish", 1, "call=publish&name=LUNAKEY-1&type=live"));
    call_send(&second, "/hooks/secret/boot1/publish",
              body("publish", 2, "call=publish&name=LUNAKEY-2&type=live"));
    int a = call_wait(&first), b = call_wait(&second);
    assert_true((a == 302 && b == 403) || (a == 403 && b == 302));
}

static void an_unapproved_or_barred_model_does_not_publish(void **state) {
    (void)state;
    REDIS("HSET p:model:luna state suspended");
    assert_int_equal(publish(1, "LUNAKEY-1"), 403);
    REDIS("HSET p:model:luna state approved");
    REDIS("HSET p:account:50 state banned");
    assert_int_equal(publish(2, "LUNAKEY-1"), 403);
    REDIS("HSET p:account:50 state active");
    assert_int_equal(publish(3, "LUNAKEY-1"), 302);
}

static void a_silent_holder_gives_way_and_its_late_end_is_ignored(void **state) {
    (void)state;
    // A holder that no session of this process stands for, as after a restart without a record.
    REDIS("SET p:pub:5 boot1:40 PX 60000");
    listed.client = 40; // connected, but its media time stands
    listed.timestamp = 1000;
    assert_int_equal(publish(41, "LUNAKEY-1"), 302);
    REDIS("GET p:pub:5");
    assert_string_equal(answer.text, "boot1:41");
    assert_int_equal(hook("publish_done", "publish", 40, "call=publish_done&name=LUNAKEY-1"), 200);
    REDIS("HGET live:luna client");
    assert_string_equal(answer.text, "41");
    REDIS("GET p:pub:5");
    assert_string_equal(answer.text, "boot1:41");
}

static void a_holder_that_sends_stays(void **state) {
    (void)state;
    REDIS("SET p:pub:5 boot1:40 PX 60000");
    listed.client = 40;
    listed.timestamp = 1000;
    listed.step = 500;
    assert_int_equal(publish(41, "LUNAKEY-1"), 403);
    REDIS("GET p:pub:5");
    assert_string_equal(answer.text, "boot1:40");
}

static void a_lock_of_an_nginx_that_is_gone_holds_nobody(void **state) {
    (void)state;
    REDIS("SET p:pub:5 boot0:1 PX 60000");
    assert_int_equal(publish(1, "LUNAKEY-1"), 302);
}

static void a_publisher_without_media_is_refused(void **state) {
    (void)state;
    const char *still = "call=update_publish&time=5&timestamp=0&name=LUNAKEY-1";
    assert_int_equal(publish(1, "LUNAKEY-1"), 302);
    // The same callback again is no second silence.
    for (int i = 0; i < 4; i++) assert_int_equal(hook("update", "publish", 1, still), 200);
    still = "call=update_publish&time=10&timestamp=0&name=LUNAKEY-1";
    assert_int_equal(hook("update", "publish", 1, still), 403);
}

static void a_publisher_whose_lock_was_taken_is_cut(void **state) {
    (void)state;
    assert_int_equal(publish(1, "LUNAKEY-1"), 302);
    REDIS("SET p:pub:5 boot1:99 PX 60000");
    assert_int_equal(hook("update", "publish", 1, "call=update_publish&time=7&timestamp=7000&name=LUNAKEY-1"), 200);
    for (int i = 0; i < 100 && drops == 0; i++) turn_for(20);
    assert_int_equal(dropped[0], 1);
    assert_int_equal(hook("update", "publish", 1, "call=update_publish&time=14&timestamp=9000&name=LUNAKEY-1"), 403);
    REDIS("GET p:pub:5");
    assert_string_equal(answer.text, "boot1:99");
}

static void nginxs_own_push_is_let_in_once(void **state) {
    (void)state;
    const char *relay = "call=publish&name=luna&type=live";
    assert_int_equal(hook("live_publish", "live", 5, relay), 403); // nobody publishes yet
    assert_int_equal(publish(1, "LUNAKEY-1"), 302);
    assert_int_equal(hook("live_publish", "live", 6, relay), 200);
    assert_int_equal(hook("live_publish", "live", 7, relay), 403);
    assert_int_equal(hook("live_publish", "live", 8, "call=publish&name=nova&type=live"), 403);
    assert_int_equal(disconnect("live", 6), 200);
    assert_int_equal(hook("live_publish", "live", 9, relay), 200);
}

static void a_publisher_whose_push_is_lost_must_come_again(void **state) {
    (void)state;
    assert_int_equal(publish(1, "LUNAKEY-1"), 302);
    assert_int_equal(hook("live_publish", "live", 6, "call=publish&name=luna&type=live"), 200);
    assert_int_equal(disconnect("live", 6), 200);
    for (int i = 0; i < 250 && drops == 0; i++) turn_for(20);
    assert_int_equal(dropped[0], 1);
}

static void the_state_follows_the_publisher(void **state) {
    (void)state;
    assert_int_equal(publish(1, "LUNAKEY-1"), 302);
    assert_int_equal(disconnect("publish", 1), 200);
    // It never showed a picture: it is not waited for.
    assert_string_equal(statuses[1], "luna offline");
    REDIS("EXISTS live:luna");
    assert_int_equal(answer.integer, 0);
    REDIS("EXISTS p:pub:5");
    assert_int_equal(answer.integer, 0);
}

// Playing.

/// Publishes, and shows the first picture.
static void go_live(void) {
    assert_int_equal(publish(1, "LUNAKEY-1"), 302);
    REDIS("HSET live:luna state live");
}

static void a_ticket_plays_once(void **state) {
    (void)state;
    char kept[512];
    go_live();
    snprintf(kept, sizeof kept, "%s", play_rest("luna", 7, 0, 60));
    assert_int_equal(play(10, kept), 200);
    assert_int_equal(play(11, kept), 409);
    assert_int_equal(disconnect("live", 10), 200);
    assert_int_equal(play(12, kept), 409);
    assert_int_equal(play(13, play_rest("luna", 7, 0, -1)), 403);
    assert_int_equal(play(14, "call=play&name=luna&start=0&duration=0&reset=0"), 403);
    assert_int_equal(play(15, play_rest("nova", 7, 0, 60)), 403); // a ticket for luna
    assert_int_equal(play(16, play_rest("..%2fluna", 7, 0, 60)), 403);
}

static void nobody_plays_what_is_not_live_or_may_not_be_seen(void **state) {
    (void)state;
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 404);
    assert_int_equal(publish(1, "LUNAKEY-1"), 302);
    assert_int_equal(play(13, play_rest("luna", 7, 0, 60)), 404); // no picture yet
    REDIS("HSET live:luna state grace");
    assert_int_equal(play(14, play_rest("luna", 7, 0, 60)), 404);
    REDIS("HSET live:luna state live");
    REDIS("HSET p:account:7 state banned");
    assert_int_equal(play(11, play_rest("luna", 7, 0, 60)), 403);
    REDIS("HSET p:account:7 state active");
    REDIS("HSET p:model:luna rate 60000000");
    assert_int_equal(play(12, play_rest("luna", 7, 0, 60)), 403); // a free ticket, a paid room
}

static const char *show_rest(uint64_t show, int64_t account) {
    static char rest[640];
    struct buffer text = {0};
    struct ticket ticket = {.account = account, .policy = TICKET_PRIVATE, .show = show,
                            .expires = clock_wall_s() + 60, .slug = "luna"};
    assert_true(ticket_make(&text, &ticket, key));
    snprintf(rest, sizeof rest, "call=play&name=luna&start=0&duration=0&reset=0&t=%s",
             buffer_text(&text));
    buffer_free(&text);
    return rest;
}

static void a_show_has_the_stream_to_itself(void **state) {
    (void)state;
    char before[640];
    go_live();
    snprintf(before, sizeof before, "%s", play_rest("luna", 7, 0, 60)); // bought before, used after
    assert_int_equal(play(9, show_rest(9, 7)), 403);
    REDIS("HSET p:model:luna show 9 show_kind private show_at 1");
    assert_int_equal(play(10, before), 403);
    assert_int_equal(play(11, play_rest("luna", 7, 0, 60)), 403);
    assert_int_equal(play(12, show_rest(8, 7)), 403);
    assert_int_equal(play(13, show_rest(9, 7)), 200);
    REDIS("HSET p:model:luna show 0");
    assert_int_equal(play(14, show_rest(9, 7)), 403); // it is over
    assert_int_equal(play(15, play_rest("luna", 7, 0, 60)), 200);
}

static void a_show_cuts_whom_it_does_not_know_and_lets_go_when_it_is_over(void **state) {
    (void)state;
    go_live();
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 200);
    REDIS("HSET p:model:luna show 9");
    assert_int_equal(play(11, show_rest(9, 7)), 200);
    streaming_order(streaming, SLICE("{\"do\":\"show\",\"slug\":\"nova\",\"show\":9}"));
    assert_int_equal(hook("update", "live", 10, "call=update_play&time=7&timestamp=1&name=luna"), 200);
    streaming_order(streaming, SLICE("{\"do\":\"show\",\"slug\":\"luna\",\"show\":9}"));
    assert_int_equal(hook("update", "live", 10, "call=update_play&time=7&timestamp=1&name=luna"), 403);
    assert_int_equal(hook("update", "live", 11, "call=update_play&time=7&timestamp=1&name=luna"), 200);
    assert_int_equal(dropped[0], 10);
    // Its publisher is nobody's viewer.
    assert_int_equal(hook("update", "publish", 1, "call=update_publish&time=7&timestamp=5&name=LUNAKEY-1"),
                     200);
    REDIS("HSET p:model:luna show 0");
    streaming_order(streaming, SLICE("{\"do\":\"show\",\"slug\":\"luna\",\"show\":0}"));
    assert_int_equal(hook("update", "live", 11, "call=update_play&time=7&timestamp=1&name=luna"), 403);
}

static bool cut_by_now(void) {
    return hook("update", "live", 10, "call=update_play&time=7&timestamp=1&name=luna") == 403;
}

static void an_order_that_was_lost_is_made_up_for(void **state) {
    (void)state;
    go_live();
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 200);
    REDIS("HSET p:model:luna show 9");
    uint64_t limit = loop_now(&loop) + 8000;
    bool never = false;
    while (!cut_by_now() && loop_now(&loop) < limit) loop_run_until(&loop, &never, 100);
    assert_true(cut_by_now());
}

static void one_connection_has_one_stream(void **state) {
    (void)state;
    go_live();
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 200);
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 403);
    assert_int_equal(publish(10, "LUNAKEY-2"), 403);
    assert_int_equal(play(1, play_rest("luna", 7, 0, 60)), 403);
    // The first is as it was.
    assert_int_equal(hook("update", "live", 10, "call=update_play&time=7&timestamp=1&name=luna"), 200);
}

static void an_update_that_names_another_stream_ends_the_session(void **state) {
    (void)state;
    go_live();
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 200);
    assert_int_equal(hook("update", "live", 10, "call=update_play&time=7&timestamp=1&name=nova"), 403);
    assert_int_equal(dropped[0], 10);
    assert_int_equal(play(11, play_rest("luna", 7, 0, 60)), 200);
    assert_int_equal(hook("update", "live", 11, "call=update_publish&time=7&timestamp=1&name=luna"), 403);
}

static void arguments_cannot_pose_as_another_client(void **state) {
    (void)state;
    char rest[640];
    go_live();
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 200);
    snprintf(rest, sizeof rest, "%s&clientid=10&name=luna&call=done", play_rest("luna", 7, 0, 60));
    assert_int_equal(play(11, rest), 200);
    assert_int_equal(disconnect("live", 11), 200);
    assert_int_equal(hook("update", "live", 10, "call=update_play&time=7&timestamp=1&name=luna"), 200);
}

/// What nginx sends with `notify_method get`, as it was captured: all of it in the request line.
static int hook_get(const char *call_name, const char *query) {
    struct call call = {0};
    char text[4096];
    snprintf(text, sizeof text, "GET /hooks/secret/boot1/%s?%s HTTP/1.0\r\nHost: 127.0.0.1\r\n"
             "Content-Type: application/x-www-form-urlencoded\r\nConnection: Close\r\n\r\n",
             call_name, query);
    assert_int_equal(socket_connect_tcp(&loop, &call.socket, "127.0.0.1", hooks_port, &call_events), 0);
    socket_write_slice(&call.socket, slice_of(text));
    return call_wait(&call);
}

static void get_is_understood_like_post(void **state) {
    (void)state;
    go_live();
    assert_int_equal(hook_get("play", body("live", 10, play_rest("luna", 7, 0, 60))), 200);
    assert_int_equal(hook_get("update", body("live", 10, "call=update_play&time=5&timestamp=1&name=luna")), 200);
    assert_int_equal(hook_get("play", body("live", 10, play_rest("luna", 7, 0, 60))), 403);
    assert_int_equal(hook_get("disconnect", body("live", 10, "call=disconnect&app=live")), 200);
    assert_int_equal(hook_get("update", body("live", 10, "call=update_play&time=9&timestamp=2&name=luna")), 403);
    assert_int_equal(hook_get("publish", body("publish", 11, "call=publish&name=LUNAKEY-2&type=live")), 403);
    assert_int_equal(hook_get("play", ""), 400);
}

static void a_request_inside_a_get_is_not_heard(void **state) {
    (void)state;
    go_live();
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 200);
    // The player's own arguments, raw: they end nginx's request and begin another.
    char rest[1200];
    snprintf(rest, sizeof rest,
             "call=play&name=luna&start=0&duration=0&reset=0&t=x HTTP/1.1\r\nHost: x\r\n\r\n"
             "GET /hooks/secret/boot1/disconnect?%s",
             "app=live&flashver=&swfurl=&tcurl=&pageurl=&addr=1.2.3.4&clientid=10&call=disconnect&app=live");
    assert_int_equal(hook_get("play", body("live", 12, rest)), 403);
    // One connection, one answer: client 10 is still there.
    assert_int_equal(hook("update", "live", 10, "call=update_play&time=5&timestamp=1&name=luna"), 200);
}

static void unknown_sessions_are_refused(void **state) {
    (void)state;
    assert_int_equal(hook("update", "live", 99, "call=update_play&time=7&timestamp=1&name=luna"), 403);
    assert_int_equal(hook("play_done", "live", 99, "call=play_done&name=luna"), 200);
}

static void only_who_knows_the_secret_is_heard(void **state) {
    (void)state;
    static const char *const paths[] = {"/hooks/secreT/boot1/done", "/hooks/secret/boot1", "/hooks",
                                        "/hooks/secret/BOOT/done", "/hooks/secret//done",
                                        "/hooks/secret/boot1/done/more"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct call call;
        call_send(&call, paths[i], body("live", 1, "call=done&name=luna"));
        assert_int_equal(call_wait(&call), 404);
    }
    struct call call;
    call_send(&call, "/hooks/secret/boot1/done", "nonsense");
    assert_int_equal(call_wait(&call), 400);
}

// Money.

static void the_last_credit_ends_the_show(void **state) {
    (void)state;
    credit(7, 2000000, "op:last");
    go_live();
    assert_int_equal(play(10, play_rest("luna", 7, 60000000, 60)), 200);
    for (int i = 0; i < 300 && drops == 0; i++) turn_for(20);
    assert_int_equal(drops, 1);
    assert_int_equal(dropped[0], 10);
    assert_int_equal(hook("update", "live", 10, "call=update_play&time=7&timestamp=1&name=luna"), 403);
    assert_int_equal(disconnect("live", 10), 200);
    look_at_wallet(7);
    assert_int_equal(wallet.paid, 0);
    assert_int_equal(wallet.held, 0);
}

static void no_credit_no_picture(void **state) {
    (void)state;
    go_live();
    assert_int_equal(play(10, play_rest("luna", 8, 60000000, 60)), 402);
}

static void an_end_that_is_told_thrice_and_too_early_is_one_end(void **state) {
    (void)state;
    struct call playing, gone;
    credit(9, 100000000, "op:thrice");
    go_live();
    // disconnect overtakes the answer to play: nothing may stay open, nothing stay held.
    call_send(&playing, "/hooks/secret/boot1/play", body("live", 10, play_rest("luna", 9, 60000000, 60)));
    call_send(&gone, "/hooks/secret/boot1/disconnect", body("live", 10, "call=disconnect&app=live"));
    assert_int_equal(call_wait(&gone), 200);
    call_wait(&playing);
    assert_int_equal(disconnect("live", 10), 200);
    assert_int_equal(hook("play_done", "live", 10, "call=play_done&name=luna"), 200);
    assert_int_equal(hook("done", "live", 10, "call=done&name=luna"), 200);
    for (int i = 0; i < 100; i++) {
        look_at_wallet(9);
        if (wallet.held == 0) break;
        turn_for(20);
    }
    assert_int_equal(wallet.held, 0);
    assert_in_range(wallet.paid, 99000000, 100000000); // at most its one started second
    assert_int_equal(streaming_sessions(streaming), 1);
}

// Orders, restarts.

static void orders_cut(void **state) {
    (void)state;
    go_live();
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 200);
    assert_int_equal(play(11, play_rest("luna", 8, 0, 60)), 200);
    assert_int_equal(play(12, play_rest("luna", 8, 0, 60)), 200);
    streaming_order(streaming, SLICE("{\"do\":\"cut\",\"sid\":\"boot1:10\",\"reason\":\"ban\"}"));
    for (int i = 0; i < 100 && drops < 1; i++) turn_for(20);
    assert_int_equal(dropped[0], 10);
    streaming_order(streaming, SLICE("{\"do\":\"kick\",\"account\":8}"));
    for (int i = 0; i < 100 && drops < 3; i++) turn_for(20);
    assert_int_equal(dropped[1] + dropped[2], 23);
    streaming_order(streaming, SLICE("{\"do\":\"drop\",\"slug\":\"luna\",\"who\":\"publisher\"}"));
    for (int i = 0; i < 100 && drops < 4; i++) turn_for(20);
    assert_int_equal(dropped[3], 1);
    assert_int_equal(hook("update", "live", 11, "call=update_play&time=7&timestamp=1&name=luna"), 403);
}

static void a_new_process_knows_the_sessions_of_the_old(void **state) {
    (void)state;
    credit(6, 100000000, "op:restart");
    go_live();
    assert_int_equal(hook("live_publish", "live", 2, "call=publish&name=luna&type=live"), 200);
    assert_int_equal(play(10, play_rest("luna", 6, 60000000, 60)), 200);
    assert_int_equal(play(11, play_rest("luna", 7, 0, 60)), 200);
    stop_streaming();
    start_streaming();
    assert_int_equal(hook("update", "live", 10, "call=update_play&time=7&timestamp=1&name=luna"), 200);
    assert_int_equal(hook("update", "live", 11, "call=update_play&time=7&timestamp=1&name=luna"), 200);
    assert_int_equal(hook("update", "publish", 1, "call=update_publish&time=7&timestamp=7000&name=LUNAKEY-1"), 200);
    assert_int_equal(hook("update", "live", 2, "call=update_publish&time=7&timestamp=7000&name=luna"), 200);
    struct call call; // the sending side of nginx's push
    call_send(&call, "/hooks/secret/boot1/update",
              "app=&flashver=ngx-local-relay&swfurl=&tcurl=&pageurl=&addr=127.0.0.1:1935/live/luna&"
              "clientid=3&call=update_play&time=7&timestamp=7000&name=LUNAKEY-1");
    assert_int_equal(call_wait(&call), 200);
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 403); // still one connection, one stream
    listed.client = 1; // which sends
    listed.step = 500;
    assert_int_equal(publish(20, "LUNAKEY-2"), 403); // still one publisher
    assert_int_equal(disconnect("live", 10), 200);
    for (int i = 0; i < 100; i++) {
        look_at_wallet(6);
        if (wallet.held == 0) break;
        turn_for(20);
    }
    assert_int_equal(wallet.held, 0);
    assert_true(wallet.paid < 100000000);
}

static void client_numbers_begin_again_with_a_new_nginx(void **state) {
    (void)state;
    go_live();
    assert_int_equal(play(10, play_rest("luna", 7, 0, 60)), 200);
    struct call call;
    call_send(&call, "/hooks/secret/boot2/play", body("live", 10, play_rest("luna", 7, 0, 60)));
    assert_int_equal(call_wait(&call), 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
        CASE(a_key_publishes_and_another_does_not),
        CASE(a_one_time_name_publishes_once_and_its_policy_sees_the_browser),
        CASE(a_one_time_name_opens_nothing_that_its_model_may_not),
        CASE(one_publisher_a_model_whatever_the_key),
        CASE(two_that_come_at_once_are_one),
        CASE(an_unapproved_or_barred_model_does_not_publish),
        CASE(a_silent_holder_gives_way_and_its_late_end_is_ignored),
        CASE(a_holder_that_sends_stays),
        CASE(a_lock_of_an_nginx_that_is_gone_holds_nobody),
        CASE(a_publisher_without_media_is_refused),
        CASE(get_is_understood_like_post),
        CASE(a_request_inside_a_get_is_not_heard),
        CASE(a_publisher_whose_lock_was_taken_is_cut),
        CASE(nginxs_own_push_is_let_in_once),
        CASE(a_publisher_whose_push_is_lost_must_come_again),
        CASE(the_state_follows_the_publisher),
        CASE(a_ticket_plays_once),
        CASE(nobody_plays_what_is_not_live_or_may_not_be_seen),
        CASE(a_show_has_the_stream_to_itself),
        CASE(a_show_cuts_whom_it_does_not_know_and_lets_go_when_it_is_over),
        CASE(an_order_that_was_lost_is_made_up_for),
        CASE(one_connection_has_one_stream),
        CASE(an_update_that_names_another_stream_ends_the_session),
        CASE(arguments_cannot_pose_as_another_client),
        CASE(unknown_sessions_are_refused),
        CASE(only_who_knows_the_secret_is_heard),
        CASE(the_last_credit_ends_the_show),
        CASE(no_credit_no_picture),
        CASE(an_end_that_is_told_thrice_and_too_early_is_one_end),
        CASE(orders_cut),
        CASE(a_new_process_knows_the_sessions_of_the_old),
        CASE(client_numbers_begin_again_with_a_new_nginx),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
