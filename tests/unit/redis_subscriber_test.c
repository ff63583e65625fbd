#include "base/buffer.h"
#include "redis/client.h"
#include "redis_server.h"

static struct loop loop;
static struct redis_server server;
static struct redis_client *client;
static struct redis_subscriber *subscriber;

struct ear {
    bool ready, heard;
    int readies;
    struct buffer text;
};

static void on_ready(void *context, bool ok) {
    struct ear *ear = context;
    assert_true(ok);
    ear->ready = true;
    ear->readies++;
}

static void on_message(void *context, struct slice channel, struct slice message) {
    struct ear *ear = context;
    buffer_append_slice(&ear->text, channel);
    buffer_append_char(&ear->text, '=');
    buffer_append_slice(&ear->text, message);
    buffer_append_char(&ear->text, ';');
    ear->heard = true;
}

static void wait_for(bool *flag) {
    assert_true(loop_run_until(&loop, flag, 10000));
    *flag = false;
}

static int set_up(void **state) {
    (void)state;
    assert_int_equal(loop_init(&loop), 0);
    redis_server_start(&server);
    struct redis_options options = {.name = "test", .address = server.address};
    client = redis_client_new(&loop, &options);
    subscriber = redis_subscriber_new(&loop, &options);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    redis_subscriber_free(subscriber);
    redis_client_free(client);
    assert_int_equal(loop_close(&loop), 0);
    redis_server_remove(&server);
    return 0;
}

static void publish(const char *channel, const char *message) {
    redis_format(client, NULL, NULL, "PUBLISH %s %s", channel, message);
}

static void two_owners_hear_one_channel_and_leave_one_by_one(void **state) {
    (void)state;
    struct ear a = {0}, b = {0};
    redis_subscribe(subscriber, SLICE("x"), on_message, on_ready, &a);
    wait_for(&a.ready);
    redis_subscribe(subscriber, SLICE("x"), on_message, on_ready, &b);
    assert_false(b.ready);
    wait_for(&b.ready);
    publish("x", "1");
    wait_for(&b.heard);
    redis_unsubscribe(subscriber, SLICE("x"), on_message, &a);
    publish("x", "2");
    wait_for(&b.heard);
    assert_string_equal(buffer_text(&a.text), "x=1;");
    assert_string_equal(buffer_text(&b.text), "x=1;x=2;");
    assert_int_equal(a.readies, 1);
    redis_unsubscribe(subscriber, SLICE("x"), on_message, &b);
    buffer_free(&a.text);
    buffer_free(&b.text);
}

static void leaving_and_coming_back_is_ready_only_when_it_is_in_force(void **state) {
    (void)state;
    struct ear a = {0}, b = {0};
    redis_subscribe(subscriber, SLICE("x"), on_message, on_ready, &a);
    wait_for(&a.ready);
    redis_unsubscribe(subscriber, SLICE("x"), on_message, &a);
    redis_subscribe(subscriber, SLICE("x"), on_message, on_ready, &b);
    wait_for(&b.ready);
    publish("x", "1");
    wait_for(&b.heard);
    assert_string_equal(buffer_text(&b.text), "x=1;");
    assert_int_equal(a.text.size, 0);
    buffer_free(&b.text);
}

static bool up_again;
static void on_state(void *context, bool up) {
    (void)context;
    up_again = up;
}

static void everything_is_subscribed_again_after_a_loss(void **state) {
    (void)state;
    struct ear ears[600] = {{0}};
    char name[16];
    redis_subscriber_on_state(subscriber, on_state, NULL);
    for (int i = 0; i < 600; i++) {
        int size = snprintf(name, sizeof name, "c%d", i);
        redis_subscribe(subscriber, slice_make(name, (size_t)size), on_message, on_ready, &ears[i]);
    }
    for (int i = 0; i < 600; i++) wait_for(&ears[i].ready);
    redis_server_stop(&server, SIGKILL);
    up_again = false;
    redis_server_start(&server);
    assert_true(loop_run_until(&loop, &up_again, 10000));
    while (!redis_client_ready(client)) {
        bool never = false;
        loop_run_until(&loop, &never, 20);
    }
    // A second name behind all others is confirmed after them.
    struct ear last = {0};
    redis_subscribe(subscriber, SLICE("last"), on_message, on_ready, &last);
    wait_for(&last.ready);
    publish("c0", "a");
    publish("c599", "b");
    wait_for(&ears[0].heard);
    wait_for(&ears[599].heard);
    assert_string_equal(buffer_text(&ears[599].text), "c599=b;");
    buffer_free(&ears[0].text);
    buffer_free(&ears[599].text);
}

static void leave_on_message(void *context, struct slice channel, struct slice message) {
    struct ear *ear = context;
    (void)message;
    ear->heard = true;
    redis_unsubscribe(subscriber, channel, leave_on_message, ear);
}

static void a_listener_may_leave_inside_its_message(void **state) {
    (void)state;
    struct ear a = {0}, b = {0};
    redis_subscribe(subscriber, SLICE("x"), leave_on_message, on_ready, &a);
    redis_subscribe(subscriber, SLICE("x"), on_message, on_ready, &b);
    wait_for(&b.ready);
    publish("x", "1");
    publish("x", "2");
    wait_for(&a.heard);
    while (b.text.size < 8) wait_for(&b.heard);
    assert_string_equal(buffer_text(&b.text), "x=1;x=2;");
    assert_false(a.heard);
    buffer_free(&b.text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_owners_hear_one_channel_and_leave_one_by_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaving_and_coming_back_is_ready_only_when_it_is_in_force, set_up, tear_down),
        cmocka_unit_test_setup_teardown(everything_is_subscribed_again_after_a_loss, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_listener_may_leave_inside_its_message, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
