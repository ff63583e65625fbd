#include <inttypes.h>
#include "base/clock.h"
#include "billing/meter.h"
#include "redis_server.h"

static struct loop loop;
static struct redis_server server;
static struct redis_client *client;
static struct billing *billing;

enum { CREDIT = 1000000, PER_SECOND = 60 * CREDIT };

/// What a meter told its owner.
struct owner {
    bool opened, cut, closed, ok, final;
    char reason[32], cut_reason[32];
    int cuts;
    int64_t price;
    uint64_t opened_at, cut_at;
};

static void on_opened(void *context, const struct meter_opened *opened) {
    struct owner *owner = context;
    owner->opened = true;
    owner->ok = opened->ok;
    owner->final = opened->final;
    owner->opened_at = loop_now(&loop);
    snprintf(owner->reason, sizeof owner->reason, "%s", opened->reason ? opened->reason : "");
}

static void on_cut(void *context, struct slice sid, const char *reason) {
    struct owner *owner = context;
    (void)sid;
    owner->cut = true;
    owner->cuts++;
    owner->cut_at = loop_now(&loop);
    snprintf(owner->cut_reason, sizeof owner->cut_reason, "%s", reason);
}

static void on_closed(void *context, struct slice sid, int64_t price) {
    struct owner *owner = context;
    (void)sid;
    owner->closed = true;
    owner->price = price;
}

static struct meter_callbacks callbacks(struct owner *owner) {
    return (struct meter_callbacks){on_opened, on_cut, on_closed, owner};
}

static bool came;
static struct billing_result last;
static void on_done(void *context, const struct billing_result *result) {
    (void)context;
    came = true;
    last = *result;
}

static void credit(int64_t account, const char *op, int64_t amount) {
    came = false;
    wallet_credit(billing,
                  &(struct billing_operation){.op = slice_of(op), .account = account,
                                              .amount = amount, .bucket = SLICE("paid"),
                                              .type = SLICE("purchase")},
                  on_done, NULL);
    assert_true(loop_run_until(&loop, &came, 10000));
    assert_null(last.error);
}

static struct balance balance_of(int64_t account) {
    came = false;
    wallet_balance(billing, account, on_done, NULL);
    assert_true(loop_run_until(&loop, &came, 10000));
    assert_null(last.error);
    return last.balance;
}

static struct billing_options options;

static void start_billing(void) {
    client = redis_client_new(&loop, &(struct redis_options){.name = "money",
                                                             .address = server.address});
    billing = billing_new(&loop, client, &options);
}

static void stop_billing(void) {
    billing_free(billing);
    redis_client_free(client);
}

static int set_up(void **state) {
    (void)state;
    assert_int_equal(loop_init(&loop), 0);
    server.fsync = "always";
    redis_server_start(&server);
    billing_options_default(&options);
    options.sweep_ms = 0;
    options.quantum_s = 2;
    options.evidence_s = 1;
    start_billing();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    stop_billing();
    assert_int_equal(loop_close(&loop), 0);
    redis_server_remove(&server);
    return 0;
}

static struct meter_terms terms_of(const char *sid) {
    return (struct meter_terms){
        .sid = slice_of(sid), .account = 7, .rate = PER_SECOND, .payee = 3};
}

static void wait_for(bool *flag) {
    assert_true(loop_run_until(&loop, flag, 20000));
    *flag = false;
}

/// Somebody watches until the flag comes.
static void watch_until(struct meter *meter, bool *flag) {
    for (int i = 0; i < 400 && !*flag; i++) {
        meter_evidence(meter);
        loop_run_until(&loop, flag, 100);
    }
    assert_true(*flag);
    *flag = false;
}

static void credits_run_out_and_the_cut_comes_at_the_last_paid_second(void **state) {
    (void)state;
    credit(7, "a", 3 * CREDIT);
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    struct meter *meter = meter_open(billing, &terms, &calls);
    assert_false(owner.opened);
    wait_for(&owner.opened);
    assert_true(owner.ok);
    assert_int_equal(balance_of(7).held, 2 * CREDIT);
    assert_true(meter_allows(meter));
    watch_until(meter, &owner.cut);
    assert_string_equal(owner.cut_reason, "funds");
    assert_false(meter_allows(meter));
    // Not a second early; how late a loaded machine may be is not for a test to say.
    assert_true(owner.cut_at - owner.opened_at >= 2990);
    meter_close(meter, 0, "funds");
    meter_close(meter, 0, "again");
    wait_for(&owner.closed);
    assert_int_equal(owner.price, 3 * CREDIT);
    struct balance after = balance_of(7);
    assert_int_equal(after.paid + after.bonus + after.held, 0);
    assert_int_equal(owner.cuts, 1);
    assert_int_equal(meter_count(billing), 0);
}

static void closing_early_returns_what_was_reserved(void **state) {
    (void)state;
    credit(7, "a", 30 * CREDIT);
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    struct meter *meter = meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    assert_false(owner.final);
    meter_close(meter, 0, "done");
    wait_for(&owner.closed);
    struct balance after = balance_of(7);
    assert_int_equal(after.held, 0);
    assert_int_equal(after.paid + owner.price, 30 * CREDIT);
    assert_true(owner.price <= CREDIT);
}

static void any_text_may_be_the_reason_of_a_close(void **state) {
    (void)state;
    credit(7, "a", 30 * CREDIT);
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    struct meter *meter = meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    meter_close(meter, 0, "Taken down (2nd time), by staff");
    wait_for(&owner.closed);
    assert_true(owner.price >= 0); // -1: it was left to the sweeper
    assert_int_equal(balance_of(7).held, 0);
}

static void without_credits_or_with_a_used_sid_nothing_opens(void **state) {
    (void)state;
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    assert_false(owner.ok);
    assert_string_equal(owner.reason, "NOFUNDS");
    credit(7, "a", 3 * CREDIT);
    meter_close(meter_open(billing, &terms, &calls), 0, "done");
    wait_for(&owner.closed);
    meter_open(billing, &terms, &calls);
    owner.opened = false;
    wait_for(&owner.opened);
    assert_string_equal(owner.reason, "CLOSED");
    terms.sid = SLICE("");
    meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    assert_string_equal(owner.reason, "BADKEY");
    assert_int_equal(meter_count(billing), 0);
}

static void a_silent_viewer_is_charged_to_the_last_evidence_only(void **state) {
    (void)state;
    credit(7, "a", 30 * CREDIT);
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    wait_for(&owner.cut);
    assert_string_equal(owner.cut_reason, "silent");
    wait_for(&owner.closed);
    assert_int_equal(owner.price, 0);
    assert_int_equal(balance_of(7).paid, 30 * CREDIT);
}

static void a_top_up_before_the_end_goes_on_seamlessly(void **state) {
    (void)state;
    credit(7, "a", 2 * CREDIT);
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    terms.limit_s = 5;
    struct meter *meter = meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    credit(7, "b", 10 * CREDIT);
    watch_until(meter, &owner.cut);
    assert_string_equal(owner.cut_reason, "limit");
    meter_close(meter, 0, "limit");
    wait_for(&owner.closed);
    assert_int_equal(owner.price, 5 * CREDIT);
}

static void a_free_session_needs_no_wallet_and_ends_at_its_limit(void **state) {
    (void)state;
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    terms.rate = 0;
    terms.limit_s = 1;
    redis_server_stop(&server, SIGKILL);
    struct meter *meter = meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    assert_true(owner.ok);
    wait_for(&owner.cut);
    assert_string_equal(owner.cut_reason, "limit");
    meter_close(meter, 0, "limit");
    wait_for(&owner.closed);
    assert_int_equal(owner.price, 0);
}

static void a_restarted_process_takes_its_meters_over(void **state) {
    (void)state;
    credit(7, "a", 4 * CREDIT);
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    stop_billing();
    redis_server_stop(&server, SIGKILL); // and Redis dies with it
    redis_server_start(&server);
    start_billing();
    struct meter *meter = meter_adopt(billing, SLICE("b:1"), 7, &calls);
    wait_for(&owner.opened);
    assert_true(owner.ok);
    watch_until(meter, &owner.cut);
    assert_string_equal(owner.cut_reason, "funds");
    meter_close(meter, 0, "funds");
    wait_for(&owner.closed);
    assert_int_equal(owner.price, 4 * CREDIT);
    assert_int_equal(balance_of(7).paid, 0);
    meter_adopt(billing, SLICE("b:2"), 7, &calls);
    wait_for(&owner.opened);
    assert_string_equal(owner.reason, "UNKNOWN");
}

static void a_short_outage_of_redis_is_not_noticed(void **state) {
    (void)state;
    stop_billing();
    options.quantum_s = 6;
    start_billing();
    credit(7, "a", 100 * CREDIT);
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    terms.limit_s = 8;
    struct meter *meter = meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    redis_server_stop(&server, SIGKILL);
    bool never = false;
    loop_run_until(&loop, &never, 3500); // the first tick falls into it
    assert_false(owner.cut);
    redis_server_start(&server);
    watch_until(meter, &owner.cut);
    assert_string_equal(owner.cut_reason, "limit");
    meter_close(meter, 0, "limit");
    wait_for(&owner.closed);
    assert_int_equal(owner.price, 8 * CREDIT);
}

static void the_sweeper_closes_what_a_dead_process_left(void **state) {
    (void)state;
    credit(7, "a", 30 * CREDIT);
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    assert_int_equal(balance_of(7).held, 2 * CREDIT);
    stop_billing();
    options.sweep_ms = 100;
    options.grace_s = 0;
    start_billing();
    for (int i = 0; i < 100 && balance_of(7).held > 0; i++) {
        bool never = false;
        loop_run_until(&loop, &never, 100);
    }
    assert_int_equal(balance_of(7).held, 0);
    assert_int_equal(balance_of(7).paid, 30 * CREDIT);
    meter_adopt(billing, SLICE("b:1"), 7, &calls);
    wait_for(&owner.opened);
    assert_string_equal(owner.reason, "CLOSED");
}

static void the_sweeper_releases_a_hold_that_nobody_captured(void **state) {
    (void)state;
    stop_billing();
    options.sweep_ms = 100;
    options.grace_s = 0;
    start_billing();
    credit(7, "a", 5 * CREDIT);
    came = false;
    wallet_hold(billing,
                &(struct billing_operation){.op = SLICE("h"), .account = 7, .amount = 3 * CREDIT,
                                            .type = SLICE("private"), .life_s = 1},
                on_done, NULL);
    assert_true(loop_run_until(&loop, &came, 10000));
    assert_null(last.error);
    assert_int_equal(last.balance.held, 3 * CREDIT);
    for (int i = 0; i < 100 && balance_of(7).held > 0; i++) {
        bool never = false;
        loop_run_until(&loop, &never, 100);
    }
    assert_int_equal(balance_of(7).held, 0);
    assert_int_equal(balance_of(7).paid, 5 * CREDIT);
}

static void run_for(int ms) {
    bool never = false;
    loop_run_until(&loop, &never, (unsigned)ms);
}

static void no_time_passes_in_a_pause(void **state) {
    (void)state;
    credit(7, "a", 3 * CREDIT);
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    struct meter *meter = meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    meter_evidence(meter);
    meter_pause(meter);
    meter_pause(meter);
    run_for(4000); // longer than everything that is paid
    assert_false(owner.cut);
    assert_true(balance_of(7).paid + balance_of(7).held >= 2 * CREDIT);
    meter_resume(meter);
    uint64_t resumed = loop_now(&loop);
    watch_until(meter, &owner.cut);
    assert_string_equal(owner.cut_reason, "funds");
    assert_true(owner.cut_at - resumed >= 1900);
    meter_close(meter, 0, "funds");
    wait_for(&owner.closed);
    assert_int_equal(owner.price, 3 * CREDIT);
}

static void granted_seconds_come_before_credits_and_a_day_has_an_end(void **state) {
    (void)state;
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    came = false;
    wallet_grant(billing,
                 &(struct billing_operation){.op = SLICE("g"), .account = 7, .type = SLICE("grant"),
                                             .life_s = 2},
                 on_done, NULL);
    assert_true(loop_run_until(&loop, &came, 10000));
    assert_null(last.error);
    struct meter *meter = meter_open(billing, &terms, &calls); // without a credit
    wait_for(&owner.opened);
    assert_true(owner.ok);
    watch_until(meter, &owner.cut);
    assert_string_equal(owner.cut_reason, "funds");
    meter_close(meter, 0, "funds");
    wait_for(&owner.closed);
    assert_int_equal(owner.price, 0);
    credit(7, "a", 30 * CREDIT);
    came = false;
    wallet_limit(billing,
                 &(struct billing_operation){.op = SLICE("l"), .account = 7, .type = SLICE("limit"),
                                             .bucket = SLICE("own"), .life_s = 3},
                 on_done, NULL);
    assert_true(loop_run_until(&loop, &came, 10000));
    terms.sid = SLICE("b:2");
    meter = meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    assert_true(owner.ok);
    watch_until(meter, &owner.cut);
    assert_string_equal(owner.cut_reason, "daily");
    meter_close(meter, 0, "daily");
    wait_for(&owner.closed);
    assert_int_equal(owner.price, CREDIT); // two of the three were watched before
    terms.sid = SLICE("b:3");
    meter_open(billing, &terms, &calls);
    wait_for(&owner.opened);
    assert_string_equal(owner.reason, "DAYLIMIT");
}

static void forget_inside(void *context, const struct meter_opened *opened) {
    on_opened(context, opened);
    meter_forget(meter_find(billing, SLICE("b:1")));
}

static void an_owner_may_forget_its_meter_at_any_time(void **state) {
    (void)state;
    credit(7, "a", 30 * CREDIT);
    struct owner owner = {0};
    struct meter_callbacks calls = callbacks(&owner);
    struct meter_terms terms = terms_of("b:1");
    meter_forget(meter_open(billing, &terms, &calls)); // before its answer
    calls.on_opened = forget_inside;
    meter_open(billing, &terms, &calls); // inside its answer
    wait_for(&owner.opened);
    assert_true(owner.ok);
    assert_int_equal(meter_count(billing), 0);
    assert_int_equal(balance_of(7).held, 2 * CREDIT); // still open in Redis, once
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(credits_run_out_and_the_cut_comes_at_the_last_paid_second),
        TEST(no_time_passes_in_a_pause),
        TEST(granted_seconds_come_before_credits_and_a_day_has_an_end),
        TEST(closing_early_returns_what_was_reserved),
        TEST(any_text_may_be_the_reason_of_a_close),
        TEST(without_credits_or_with_a_used_sid_nothing_opens),
        TEST(a_silent_viewer_is_charged_to_the_last_evidence_only),
        TEST(a_top_up_before_the_end_goes_on_seamlessly),
        TEST(a_free_session_needs_no_wallet_and_ends_at_its_limit),
        TEST(a_restarted_process_takes_its_meters_over),
        TEST(a_short_outage_of_redis_is_not_noticed),
        TEST(the_sweeper_closes_what_a_dead_process_left),
        TEST(the_sweeper_releases_a_hold_that_nobody_captured),
        TEST(an_owner_may_forget_its_meter_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
