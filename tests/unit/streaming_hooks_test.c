#include "streaming_hooks_support.h"

// Publishing, and what hooks understands at all: the cases of docs/streaming.md that need no media.

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

int main(void) {
    const struct CMUnitTest tests[] = {
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
        CASE(arguments_cannot_pose_as_another_client),
        CASE(unknown_sessions_are_refused),
        CASE(only_who_knows_the_secret_is_heard),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
