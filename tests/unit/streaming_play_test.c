#include "streaming_hooks_support.h"

// Playing: tickets, shows, money, orders to cut, and restarts, by the callbacks alone.

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
        CASE(a_ticket_plays_once),
        CASE(nobody_plays_what_is_not_live_or_may_not_be_seen),
        CASE(a_show_has_the_stream_to_itself),
        CASE(a_show_cuts_whom_it_does_not_know_and_lets_go_when_it_is_over),
        CASE(an_order_that_was_lost_is_made_up_for),
        CASE(one_connection_has_one_stream),
        CASE(an_update_that_names_another_stream_ends_the_session),
        CASE(the_last_credit_ends_the_show),
        CASE(no_credit_no_picture),
        CASE(an_end_that_is_told_thrice_and_too_early_is_one_end),
        CASE(orders_cut),
        CASE(a_new_process_knows_the_sessions_of_the_old),
        CASE(client_numbers_begin_again_with_a_new_nginx),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
