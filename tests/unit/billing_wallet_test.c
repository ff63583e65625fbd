#include <inttypes.h>
#include "base/clock.h"
#include "billing/errors.h"
#include "billing/outbox.h"
#include "redis_server.h"

static struct loop loop;
static struct redis_server server;
static struct redis_client *client;
static struct billing *billing;

enum { CREDIT = 1000000 };

struct outcome {
    bool came;
    struct billing_result result;
    char error[64];
};

static void on_done(void *context, const struct billing_result *result) {
    struct outcome *outcome = context;
    outcome->came = true;
    outcome->result = *result;
    snprintf(outcome->error, sizeof outcome->error, "%s", result->error ? result->error : "");
    char *space = strchr(outcome->error, ' ');
    if (space) *space = 0;
}

static int changes;
static struct balance last_change;
static void on_balance(void *context, const struct balance *balance) {
    (void)context;
    changes++;
    last_change = *balance;
}

static int set_up(void **state) {
    (void)state;
    assert_int_equal(loop_init(&loop), 0);
    redis_server_start(&server);
    client = redis_client_new(&loop, &(struct redis_options){.name = "money",
                                                             .address = server.address});
    struct billing_options options;
    billing_options_default(&options);
    options.sweep_ms = 0;
    billing = billing_new(&loop, client, &options);
    billing_on_balance(billing, on_balance, NULL);
    changes = 0;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    billing_free(billing);
    redis_client_free(client);
    assert_int_equal(loop_close(&loop), 0);
    redis_server_remove(&server);
    return 0;
}

static struct outcome wait_for(struct outcome *outcome) {
    assert_false(outcome->came); // never inside the call
    assert_true(loop_run_until(&loop, &outcome->came, 10000));
    return *outcome;
}

static struct outcome credit(int64_t account, const char *op, int64_t amount, const char *bucket) {
    struct outcome outcome = {0};
    wallet_credit(billing,
                  &(struct billing_operation){.op = slice_of(op), .account = account,
                                              .amount = amount, .bucket = slice_of(bucket),
                                              .type = SLICE("purchase"), .actor = SLICE("test")},
                  on_done, &outcome);
    return wait_for(&outcome);
}

static struct outcome tip(int64_t account, const char *op, int64_t amount) {
    struct outcome outcome = {0};
    wallet_debit(billing,
                 &(struct billing_operation){.op = slice_of(op), .account = account,
                                             .amount = amount, .payee = 3, .type = SLICE("tip")},
                 on_done, &outcome);
    return wait_for(&outcome);
}

static struct outcome refund(int64_t account, const char *op, int64_t amount, const char *original) {
    struct outcome outcome = {0};
    wallet_refund(billing,
                  &(struct billing_operation){.op = slice_of(op), .account = account,
                                              .amount = amount, .original = slice_of(original),
                                              .reason = SLICE("sorry")},
                  on_done, &outcome);
    return wait_for(&outcome);
}

static struct outcome chargeback(int64_t account, const char *op, int64_t amount) {
    struct outcome outcome = {0};
    wallet_chargeback(billing,
                      &(struct billing_operation){.op = slice_of(op), .account = account,
                                                  .amount = amount},
                      on_done, &outcome);
    return wait_for(&outcome);
}

static struct outcome freeze(int64_t account, const char *op, bool frozen) {
    struct outcome outcome = {0};
    wallet_freeze(billing, &(struct billing_operation){.op = slice_of(op), .account = account},
                  frozen, on_done, &outcome);
    return wait_for(&outcome);
}

static struct balance balance_of(int64_t account) {
    struct outcome outcome = {0};
    wallet_balance(billing, account, on_done, &outcome);
    wait_for(&outcome);
    assert_string_equal(outcome.error, "");
    return outcome.result.balance;
}

static void a_credit_with_the_same_key_counts_once(void **state) {
    (void)state;
    assert_string_equal(credit(7, "order:1", 5 * CREDIT, "paid").error, "");
    struct outcome again = credit(7, "order:1", 5 * CREDIT, "paid");
    assert_true(again.result.repeated);
    assert_int_equal(again.result.paid, 5 * CREDIT);
    assert_int_equal(balance_of(7).paid, 5 * CREDIT);
    assert_int_equal(balance_of(7).seq, 1);
    assert_int_equal(changes, 1);
    assert_int_equal(last_change.account, 7);
}

static void a_key_used_for_something_else_is_refused(void **state) {
    (void)state;
    credit(7, "order:1", 5 * CREDIT, "paid");
    assert_string_equal(credit(7, "order:1", 6 * CREDIT, "paid").error, "DUPLICATE");
    assert_string_equal(credit(7, "order:1", 5 * CREDIT, "bonus").error, "DUPLICATE");
    assert_string_equal(tip(7, "order:1", 5 * CREDIT).error, "DUPLICATE");
    assert_int_equal(balance_of(7).paid, 5 * CREDIT);
    assert_int_equal(balance_of(7).seq, 1);
}

static void bad_input_gets_a_name_and_changes_nothing(void **state) {
    (void)state;
    static const struct {
        int64_t account, amount;
        const char *op, *bucket, *error;
    } bad[] = {
        {7, 0, "a", "paid", "BADAMOUNT"},
        {7, -1, "a", "paid", "BADAMOUNT"},
        {7, INT64_MAX, "a", "paid", "BADAMOUNT"},
        {7, 9007199254740992, "a", "paid", "BADAMOUNT"},
        {0, 1, "a", "paid", "BADACCOUNT"},
        {-7, 1, "a", "paid", "BADACCOUNT"},
        {7, 1, "", "paid", "BADKEY"},
        {7, 1, "a b", "paid", "BADKEY"},
        {7, 1, "}{", "paid", "BADKEY"},
        {7, 1, "a", "gold", "BADBUCKET"},
        {7, 1, "a", "", "BADBUCKET"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct outcome outcome = credit(bad[i].account, bad[i].op, bad[i].amount, bad[i].bucket);
        assert_string_equal(outcome.error, bad[i].error);
        assert_int_equal(billing_error_fault(outcome.error), BILLING_CALLER);
    }
    char long_key[200];
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = 0;
    assert_string_equal(credit(7, long_key, 1, "paid").error, "BADKEY");
    assert_int_equal(balance_of(7).seq, 0);
    assert_int_equal(changes, 0);
}

static void a_wallet_counts_to_the_largest_amount_exactly(void **state) {
    (void)state;
    assert_string_equal(credit(7, "a", 9007199254740990, "paid").error, "");
    assert_string_equal(credit(7, "b", 1, "bonus").error, "");
    assert_string_equal(credit(7, "c", 1, "paid").error, "TOOMUCH");
    assert_int_equal(balance_of(7).paid, 9007199254740990);
    assert_string_equal(tip(7, "d", 9007199254740991).error, "");
    struct balance empty = balance_of(7);
    assert_int_equal(empty.paid + empty.bonus, 0);
}

static void a_tip_spends_bonus_first_and_a_refusal_is_not_remembered(void **state) {
    (void)state;
    credit(7, "a", 3 * CREDIT, "paid");
    credit(7, "b", 2 * CREDIT, "bonus");
    assert_string_equal(tip(7, "t1", 6 * CREDIT).error, "NOFUNDS");
    struct outcome four = tip(7, "t2", 4 * CREDIT);
    assert_int_equal(four.result.bonus, -2 * CREDIT);
    assert_int_equal(four.result.paid, -2 * CREDIT);
    credit(7, "c", 5 * CREDIT, "paid");
    assert_string_equal(tip(7, "t1", 6 * CREDIT).error, "");
    assert_int_equal(balance_of(7).paid, 0);
}

static void refunds_never_exceed_what_was_taken_and_go_back_where_it_came_from(void **state) {
    (void)state;
    credit(7, "a", 3 * CREDIT, "paid");
    credit(7, "b", 2 * CREDIT, "bonus");
    tip(7, "t", 4 * CREDIT);
    assert_string_equal(refund(7, "r0", 5 * CREDIT, "t").error, "TOOMUCH");
    assert_string_equal(refund(7, "r0", CREDIT, "none").error, "NOORIGINAL");
    assert_string_equal(refund(7, "r0", CREDIT, "a").error, "NOTREFUNDABLE");
    assert_string_equal(refund(8, "r0", CREDIT, "t").error, "NOORIGINAL");
    assert_string_equal(refund(7, "r1", 3 * CREDIT, "t").error, "");
    assert_true(refund(7, "r1", 3 * CREDIT, "t").result.repeated);
    struct outcome rest = refund(7, "r2", 0, "t");
    assert_int_equal(rest.result.bonus, CREDIT);
    assert_string_equal(refund(7, "r3", 0, "t").error, "TOOMUCH");
    struct balance after = balance_of(7);
    assert_int_equal(after.paid, 3 * CREDIT);
    assert_int_equal(after.bonus, 2 * CREDIT);
}

static struct outcome hold(const char *op, int64_t amount) {
    struct outcome outcome = {0};
    wallet_hold(billing,
                &(struct billing_operation){.op = slice_of(op), .account = 7, .amount = amount,
                                            .payee = 3, .type = SLICE("private"), .life_s = 60},
                on_done, &outcome);
    return wait_for(&outcome);
}

static struct outcome capture(const char *op, const char *held, int64_t amount) {
    struct outcome outcome = {0};
    wallet_capture(billing,
                   &(struct billing_operation){.op = slice_of(op), .account = 7, .amount = amount,
                                               .original = slice_of(held)},
                   on_done, &outcome);
    return wait_for(&outcome);
}

static struct outcome release(const char *op) {
    struct outcome outcome = {0};
    wallet_release(billing, &(struct billing_operation){.op = slice_of(op), .account = 7}, on_done,
                   &outcome);
    return wait_for(&outcome);
}

static void a_hold_is_captured_or_released_once(void **state) {
    (void)state;
    credit(7, "a", 10 * CREDIT, "paid");
    assert_string_equal(hold("h1", 11 * CREDIT).error, "NOFUNDS");
    assert_string_equal(hold("h1", 6 * CREDIT).error, "");
    assert_true(hold("h1", 6 * CREDIT).result.repeated);
    assert_string_equal(hold("h1", 5 * CREDIT).error, "DUPLICATE");
    assert_int_equal(balance_of(7).held, 6 * CREDIT);
    assert_string_equal(tip(7, "t", 5 * CREDIT).error, "NOFUNDS");
    assert_string_equal(capture("c1", "h1", 7 * CREDIT).error, "TOOMUCH");
    assert_string_equal(capture("c1", "h9", CREDIT).error, "NOORIGINAL");
    assert_string_equal(capture("c1", "h1", 4 * CREDIT).error, "");
    assert_true(capture("c1", "h1", 4 * CREDIT).result.repeated);
    assert_string_equal(capture("c2", "h1", CREDIT).error, "CLOSED");
    assert_string_equal(release("h1").error, "CLOSED");
    struct balance after = balance_of(7);
    assert_int_equal(after.paid, 6 * CREDIT);
    assert_int_equal(after.held, 0);
    assert_int_equal(after.seq, 2); // the purchase and the capture
    hold("h2", 6 * CREDIT);
    assert_string_equal(release("h2").error, "");
    assert_true(release("h2").result.repeated);
    assert_string_equal(capture("c3", "h2", CREDIT).error, "CLOSED");
    assert_int_equal(balance_of(7).paid, 6 * CREDIT);
    assert_string_equal(refund(7, "r", 0, "c1").error, "");
    assert_int_equal(balance_of(7).paid, 10 * CREDIT);
}

static void a_chargeback_takes_what_is_there_and_the_rest_becomes_debt(void **state) {
    (void)state;
    credit(7, "a", 5 * CREDIT, "paid");
    tip(7, "t", 4 * CREDIT);
    assert_string_equal(chargeback(7, "cb", 5 * CREDIT).error, "");
    struct balance broke = balance_of(7);
    assert_int_equal(broke.paid, 0);
    assert_int_equal(broke.debt, 4 * CREDIT);
    assert_true(broke.frozen);
    assert_string_equal(tip(7, "t2", 1).error, "FROZEN");
    credit(7, "b", 3 * CREDIT, "paid");
    assert_int_equal(balance_of(7).paid, 0);
    credit(7, "c", 3 * CREDIT, "paid");
    assert_int_equal(balance_of(7).debt, 0);
    assert_int_equal(balance_of(7).paid, 2 * CREDIT);
    assert_string_equal(freeze(7, "f", false).error, "");
    assert_string_equal(tip(7, "t2", 1).error, "");
}

struct entries {
    bool came;
    size_t count;
    int64_t epoch;
    uint64_t ms, n;
    char ops[8][32];
    char text[400];
};

static void on_entries(void *context, const struct outbox_batch *batch) {
    struct entries *entries = context;
    entries->came = true;
    assert_null(batch->error);
    entries->count = batch->count;
    entries->epoch = batch->epoch;
    for (size_t i = 0; i < batch->count; i++) {
        const struct outbox_entry *entry = &batch->entries[i];
        entries->ms = entry->ms;
        entries->n = entry->n;
        entries->text[0] = 0;
        for (size_t k = 0; k < entry->fields; k++) {
            size_t used = strlen(entries->text);
            snprintf(entries->text + used, sizeof entries->text - used, "%.*s=%.*s ",
                     SLICE_FORMAT(entry->names[k]), SLICE_FORMAT(entry->values[k]));
        }
    }
}

static void on_look(void *context, const struct outbox_state *state) {
    *(struct outbox_state *)context = *state;
    last_change.account = -1;
    changes = -1;
}

static struct entries read_behind(unsigned shard, uint64_t ms, uint64_t n, unsigned count) {
    struct entries entries = {0};
    outbox_read(billing, shard, ms, n, count, on_entries, &entries);
    assert_true(loop_run_until(&loop, &entries.came, 10000));
    return entries;
}

static void the_outbox_gives_each_change_once_behind_a_cursor(void **state) {
    (void)state;
    unsigned shard = billing_shard(7);
    credit(7, "a", 3 * CREDIT, "paid");
    tip(7, "t", CREDIT);
    tip(7, "t", CREDIT);
    struct entries first = read_behind(shard, 0, 0, 1);
    assert_int_equal(first.count, 1);
    assert_non_null(strstr(first.text, "w=7 s=1 t=purchase o=a "));
    assert_non_null(strstr(first.text, "p=3000000 b=0 d=0 c=test "));
    struct entries second = read_behind(shard, first.ms, first.n, 10);
    assert_int_equal(second.count, 1);
    assert_non_null(strstr(second.text, "w=7 s=2 t=tip o=t "));
    assert_non_null(strstr(second.text, "p=-1000000 b=0 d=0 y=3 "));
    struct outcome trimmed = {0};
    outbox_trim(billing, shard, first.ms, first.n, on_done, &trimmed);
    wait_for(&trimmed);
    assert_int_equal(read_behind(shard, 0, 0, 10).count, 1);
    struct outbox_state look = {0};
    outbox_look(billing, on_look, &look);
    for (int i = 0; i < 100 && changes != -1; i++) {
        bool never = false;
        loop_run_until(&loop, &never, 10);
    }
    assert_int_equal(look.shard[shard].length, 1);
    assert_int_equal(look.shard[shard].last_ms, second.ms);
    assert_int_equal(look.shard[(shard + 1) % BILLING_SHARDS].length, 0);
}

static void shards_are_those_of_redis_cluster(void **state) {
    (void)state;
    // CRC16 of "123456789" is 0x31C3 (Redis Cluster specification, appendix A).
    assert_int_equal(billing_shard(123456789), 0x31C3 % BILLING_SHARDS);
}

static void without_redis_every_operation_says_so(void **state) {
    (void)state;
    credit(7, "a", 3 * CREDIT, "paid");
    redis_server_stop(&server, SIGKILL);
    struct outcome outcome = tip(7, "t", CREDIT);
    assert_int_equal(billing_error_fault(outcome.error), BILLING_SERVICE);
}

static void adjust(int64_t amount, const char *op, const char *reason, struct outcome *outcome) {
    *outcome = (struct outcome){0};
    wallet_adjust(billing,
                  &(struct billing_operation){.op = slice_of(op), .account = 7, .amount = amount,
                                              .bucket = SLICE("paid"), .type = SLICE("adjustment"),
                                              .reason = slice_of(reason), .actor = SLICE("account:1")},
                  on_done, outcome);
    assert_true(loop_run_until(&loop, &outcome->came, 10000));
}

static void staff_adjusts_both_ways_with_a_reason_and_never_below_zero(void **state) {
    (void)state;
    struct outcome outcome;
    adjust(5, "a", "sorry", &outcome);
    assert_string_equal(outcome.error, "");
    adjust(-3, "b", "too much", &outcome);
    assert_int_equal(outcome.result.balance.paid, 2);
    adjust(-3, "c", "too much", &outcome);
    assert_string_equal(outcome.error, "NOFUNDS");
    adjust(-1, "d", " ", &outcome);
    assert_string_equal(outcome.error, "BADREASON");
    adjust(0, "e", "nothing", &outcome);
    assert_string_equal(outcome.error, "BADAMOUNT");
    adjust(-3, "a", "sorry", &outcome);
    assert_string_equal(outcome.error, "DUPLICATE");
    adjust(5, "a", "sorry", &outcome);
    assert_true(outcome.result.repeated);
    assert_int_equal(outcome.result.balance.paid, 2);
}

static void a_reversal_undoes_the_whole_once(void **state) {
    (void)state;
    struct outcome outcome;
    adjust(5, "a", "sorry", &outcome);
    struct billing_operation undo = {.op = SLICE("r"), .account = 7, .original = SLICE("a"),
                                     .type = SLICE("reversal"), .actor = SLICE("account:1")};
    outcome = (struct outcome){0};
    wallet_reverse(billing, &undo, on_done, &outcome);
    assert_true(loop_run_until(&loop, &outcome.came, 10000));
    assert_string_equal(outcome.error, "");
    assert_int_equal(outcome.result.balance.paid, 0);
    undo.op = SLICE("r2");
    outcome = (struct outcome){0};
    wallet_reverse(billing, &undo, on_done, &outcome);
    assert_true(loop_run_until(&loop, &outcome.came, 10000));
    assert_string_equal(outcome.error, "NOTREFUNDABLE");
}

static void what_redis_forgot_can_be_told_again_and_refunded(void **state) {
    (void)state;
    struct outcome outcome;
    adjust(5, "a", "sorry", &outcome);
    struct billing_memory memory = {.op = SLICE("old"), .account = 7, .type = SLICE("tip"), .payee = 3,
                                    .paid = 4, .bonus = 2, .refunded_paid = 1, .at_ms = 1700000000000,
                                    .seq = 2};
    outcome = (struct outcome){0};
    wallet_remember(billing, &memory, on_done, &outcome);
    assert_true(loop_run_until(&loop, &outcome.came, 10000));
    assert_string_equal(outcome.error, "STALE");
    memory.seq = 1;
    outcome = (struct outcome){0};
    wallet_remember(billing, &memory, on_done, &outcome);
    assert_true(loop_run_until(&loop, &outcome.came, 10000));
    assert_string_equal(outcome.error, "");
    struct billing_operation back = {.op = SLICE("back"), .account = 7, .original = SLICE("old"),
                                     .type = SLICE("refund"), .amount = 6};
    outcome = (struct outcome){0};
    wallet_refund(billing, &back, on_done, &outcome);
    assert_true(loop_run_until(&loop, &outcome.came, 10000));
    assert_string_equal(outcome.error, "TOOMUCH"); // one of the six came back already
    back.amount = 0;
    outcome = (struct outcome){0};
    wallet_refund(billing, &back, on_done, &outcome);
    assert_true(loop_run_until(&loop, &outcome.came, 10000));
    assert_int_equal(outcome.result.paid, 3);
    assert_int_equal(outcome.result.bonus, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(staff_adjusts_both_ways_with_a_reason_and_never_below_zero),
        TEST(a_reversal_undoes_the_whole_once),
        TEST(what_redis_forgot_can_be_told_again_and_refunded),
        TEST(a_credit_with_the_same_key_counts_once),
        TEST(a_key_used_for_something_else_is_refused),
        TEST(bad_input_gets_a_name_and_changes_nothing),
        TEST(a_wallet_counts_to_the_largest_amount_exactly),
        TEST(a_tip_spends_bonus_first_and_a_refusal_is_not_remembered),
        TEST(refunds_never_exceed_what_was_taken_and_go_back_where_it_came_from),
        TEST(a_hold_is_captured_or_released_once),
        TEST(a_chargeback_takes_what_is_there_and_the_rest_becomes_debt),
        TEST(the_outbox_gives_each_change_once_behind_a_cursor),
        TEST(shards_are_those_of_redis_cluster),
        TEST(without_redis_every_operation_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
