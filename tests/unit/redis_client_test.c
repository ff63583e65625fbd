#include "redis/client.h"
#include "redis_server.h"

static struct loop loop;
static struct redis_server server;

struct answer {
    bool came;
    int calls, type;
    long long integer;
    char text[256], error[256];
    size_t elements;
};

static void on_answer(void *context, const redisReply *reply, const char *error) {
    struct answer *answer = context;
    answer->came = true;
    answer->calls++;
    assert_true((reply == NULL) != (error == NULL));
    if (error) {
        snprintf(answer->error, sizeof answer->error, "%s", error);
        return;
    }
    answer->type = reply->type;
    answer->integer = reply->integer;
    answer->elements = reply->elements;
    if (reply->str) snprintf(answer->text, sizeof answer->text, "%s", reply->str);
}

static void on_state(void *context, bool up) {
    int *states = context;
    states[up]++;
}

static struct redis_options options_of(void) {
    return (struct redis_options){.name = "test", .address = server.address};
}

static bool starts(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static void wait_answer(struct answer *answer) {
    assert_true(loop_run_until(&loop, &answer->came, 10000));
}

static int set_up(void **state) {
    (void)state;
    assert_int_equal(loop_init(&loop), 0);
    redis_server_start(&server);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    assert_int_equal(loop_close(&loop), 0);
    redis_server_remove(&server);
    return 0;
}

static void answers_come_in_order_and_with_their_types(void **state) {
    (void)state;
    struct redis_options options = options_of();
    struct redis_client *client = redis_client_new(&loop, &options);
    struct answer set = {0}, get = {0}, nil = {0}, increment = {0}, list = {0}, wrong = {0};
    // All before the connection is up: they wait for it.
    redis_call(client, (struct slice[]){SLICE("SET"), SLICE("k"), slice_make("a\0b", 3)}, 3, 0,
               on_answer, &set);
    redis_format(client, on_answer, &get, "STRLEN %s", "k");
    redis_format(client, on_answer, &nil, "GET %b", "none", (size_t)4);
    redis_format(client, on_answer, &increment, "INCRBY n %lld", -9007199254740991LL);
    redis_format(client, on_answer, &list, "MGET k n none");
    redis_format(client, on_answer, &wrong, "INCR k");
    assert_false(set.came);
    wait_answer(&wrong);
    assert_int_equal(set.type, REDIS_REPLY_STATUS);
    assert_int_equal(get.integer, 3);
    assert_int_equal(nil.type, REDIS_REPLY_NIL);
    assert_int_equal(increment.integer, -9007199254740991LL);
    assert_int_equal(list.elements, 3);
    assert_int_equal(wrong.type, REDIS_REPLY_ERROR);
    assert_true(redis_client_ready(client));
    redis_client_free(client);
}

static void a_late_reply_is_not_taken_for_the_next_ones(void **state) {
    (void)state;
    struct redis_options options = options_of();
    struct redis_client *client = redis_client_new(&loop, &options);
    struct answer first = {0}, slow = {0}, next = {0};
    redis_format(client, on_answer, &first, "SET k v");
    wait_answer(&first);
    redis_server_stop(&server, SIGSTOP);
    redis_call(client, (struct slice[]){SLICE("ECHO"), SLICE("slow")}, 2, 50, on_answer, &slow);
    wait_answer(&slow);
    assert_true(starts(slow.error, "TIMEOUT"));
    redis_format(client, on_answer, &next, "ECHO next");
    redis_server_stop(&server, SIGCONT);
    wait_answer(&next);
    assert_string_equal(next.text, "next");
    assert_int_equal(slow.calls, 1);
    redis_client_free(client);
}

static void a_stuck_server_is_not_waited_for_again_until_it_is_heard(void **state) {
    (void)state;
    struct redis_options options = options_of();
    struct redis_client *client = redis_client_new(&loop, &options);
    struct answer first = {0}, slow = {0}, refused = {0}, next = {0};
    redis_format(client, on_answer, &first, "SET k v");
    wait_answer(&first);
    redis_server_stop(&server, SIGSTOP);
    redis_call(client, (struct slice[]){SLICE("ECHO"), SLICE("slow")}, 2, 1500, on_answer, &slow);
    wait_answer(&slow);
    assert_true(starts(slow.error, "TIMEOUT"));
    redis_format(client, on_answer, &refused, "ECHO refused");
    wait_answer(&refused);
    assert_true(starts(refused.error, "UNAVAILABLE")); // and not TIMEOUT, after its own limit
    redis_server_stop(&server, SIGCONT);
    for (int i = 0; i < 10000 && !next.text[0]; i++) { // until the late reply has come
        next = (struct answer){0};
        redis_format(client, on_answer, &next, "ECHO next");
        wait_answer(&next);
    }
    assert_string_equal(next.text, "next");
    redis_client_free(client);
}

static void a_lost_connection_fails_what_is_in_flight_and_comes_back(void **state) {
    (void)state;
    struct redis_options options = options_of();
    struct redis_client *client = redis_client_new(&loop, &options);
    int states[2] = {0};
    redis_client_on_state(client, on_state, states);
    struct answer first = {0}, lost = {0}, refused = {0};
    redis_format(client, on_answer, &first, "SET k v");
    wait_answer(&first);
    redis_server_stop(&server, SIGSTOP);
    redis_format(client, on_answer, &lost, "GET k");
    redis_server_stop(&server, SIGKILL);
    wait_answer(&lost);
    assert_true(starts(lost.error, "LOST"));
    assert_false(redis_client_ready(client));
    redis_format(client, on_answer, &refused, "GET k");
    assert_false(refused.came);
    wait_answer(&refused);
    assert_true(starts(refused.error, "UNAVAILABLE"));
    redis_server_start(&server);
    for (int i = 0; i < 200 && !redis_client_ready(client); i++) {
        bool never = false;
        loop_run_until(&loop, &never, 50);
    }
    assert_true(redis_client_ready(client));
    assert_int_equal(states[true], 2);
    assert_int_equal(states[false], 1);
    redis_client_free(client);
}

static void the_first_connection_is_waited_for_within_the_limit(void **state) {
    (void)state;
    struct redis_options options = options_of();
    redis_server_stop(&server, SIGKILL);
    struct redis_client *client = redis_client_new(&loop, &options);
    struct answer impatient = {0}, patient = {0};
    redis_call(client, (struct slice[]){SLICE("PING")}, 1, 50, on_answer, &impatient);
    redis_call(client, (struct slice[]){SLICE("PING")}, 1, 20000, on_answer, &patient);
    wait_answer(&impatient);
    assert_true(starts(impatient.error, "UNAVAILABLE"));
    redis_server_start(&server);
    wait_answer(&patient);
    assert_string_equal(patient.text, "PONG");
    redis_client_free(client);
}

static void a_full_queue_refuses_at_once(void **state) {
    (void)state;
    struct redis_options options = options_of();
    options.queue_limit = 2;
    struct redis_client *client = redis_client_new(&loop, &options);
    struct answer answers[3] = {0};
    for (int i = 0; i < 3; i++) redis_format(client, on_answer, &answers[i], "PING");
    wait_answer(&answers[1]);
    assert_string_equal(answers[1].text, "PONG");
    assert_true(starts(answers[2].error, "BUSY"));
    redis_client_free(client);
}

static void closing_tells_everyone_once(void **state) {
    (void)state;
    struct redis_options options = options_of();
    struct redis_client *client = redis_client_new(&loop, &options);
    struct answer first = {0}, flying = {0};
    redis_format(client, on_answer, &first, "PING");
    wait_answer(&first);
    redis_format(client, on_answer, &flying, "PING");
    redis_client_free(client);
    assert_int_equal(flying.calls, 1);
    assert_true(starts(flying.error, "LOST"));
}

static void free_on_answer(void *context, const redisReply *reply, const char *error) {
    (void)reply;
    (void)error;
    struct redis_client **client = context;
    struct redis_client *mine = *client;
    if (!mine) return;
    *client = NULL;
    redis_client_free(mine);
}

static void the_client_may_be_freed_inside_an_answer(void **state) {
    (void)state;
    struct redis_options options = options_of();
    struct redis_client *client = redis_client_new(&loop, &options);
    struct answer last = {0};
    redis_format(client, free_on_answer, &client, "PING");
    redis_format(client, on_answer, &last, "PING");
    wait_answer(&last);
    assert_null(client);
    assert_true(starts(last.error, "LOST"));
}

static void a_wrong_password_never_becomes_ready(void **state) {
    (void)state;
    struct redis_options options = options_of();
    options.password = "wrong";
    struct redis_client *client = redis_client_new(&loop, &options);
    struct answer ping = {0};
    redis_call(client, (struct slice[]){SLICE("PING")}, 1, 300, on_answer, &ping);
    wait_answer(&ping);
    assert_true(starts(ping.error, "UNAVAILABLE"));
    redis_client_free(client);
}

static const char code_one[] = "#!lua name=example\n-- version 1\n"
                               "redis.register_function('fl_test', function() return 1 end)\n";
static const char code_two[] = "#!lua name=example\n-- version 2\n"
                               "redis.register_function('fl_test', function() return 2 end)\n";

static long long version_after_loading(const char *code) {
    struct redis_options options = options_of();
    struct redis_client *client = redis_client_new(&loop, &options);
    redis_functions_keep(client, "example", code);
    struct answer answer = {0};
    redis_format(client, on_answer, &answer, "FCALL fl_test 0");
    wait_answer(&answer);
    redis_client_free(client);
    return answer.integer;
}

static void functions_are_loaded_and_an_older_text_does_not_replace_a_newer(void **state) {
    (void)state;
    assert_int_equal(version_after_loading(code_one), 1);
    assert_int_equal(version_after_loading(code_two), 2);
    assert_int_equal(version_after_loading(code_one), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(answers_come_in_order_and_with_their_types, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_late_reply_is_not_taken_for_the_next_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stuck_server_is_not_waited_for_again_until_it_is_heard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_connection_fails_what_is_in_flight_and_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_connection_is_waited_for_within_the_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_queue_refuses_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(closing_tells_everyone_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_client_may_be_freed_inside_an_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_password_never_becomes_ready, set_up, tear_down),
        cmocka_unit_test_setup_teardown(functions_are_loaded_and_an_older_text_does_not_replace_a_newer, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
