#include "billing/wallet.h"
#include <inttypes.h>
#include <stdio.h>
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "billing/errors.h"
#include "billing/private.h"
#include "redis/slot.h"

enum { FCALL_MOST = 24 };

/// One operation that waits for its answer, or one that was refused before it was sent.
struct request {
    struct billing_flight flight;
    struct list link;
    billing_done_fn *done;
    void *context;
    int64_t account;
    const char *error;
    bool changes;
};

unsigned billing_shard(int64_t account) {
    char text[24];
    int size = snprintf(text, sizeof text, "%" PRId64, account);
    return redis_crc16(slice_make(text, (size_t)size)) % BILLING_SHARDS;
}

struct billing_key billing_key_of(unsigned shard, const char *kind, struct slice rest) {
    struct billing_key key;
    int size = snprintf(key.text, sizeof key.text, "b:{%02u}:%s%s%.*s", shard, kind,
                        rest.size ? ":" : "", SLICE_FORMAT(rest));
    key.size = size < BILLING_KEY_SIZE ? (size_t)size : BILLING_KEY_SIZE - 1;
    return key;
}

struct billing_key billing_wallet_key(int64_t account) {
    char text[24];
    int size = snprintf(text, sizeof text, "%" PRId64, account);
    return billing_key_of(billing_shard(account), "w", slice_make(text, (size_t)size));
}

void billing_fcall(struct billing *billing, const char *function, const struct billing_key *keys,
                   size_t key_count, const struct slice *arguments, size_t argument_count,
                   redis_reply_fn *done, void *context) {
    billing_fcall_within(billing, billing->options.settle_ms, function, keys, key_count, arguments,
                         argument_count, done, context);
}

void billing_fcall_within(struct billing *billing, unsigned limit_ms, const char *function,
                          const struct billing_key *keys, size_t key_count,
                          const struct slice *arguments, size_t argument_count,
                          redis_reply_fn *done, void *context) {
    struct slice all[FCALL_MOST];
    char count_text[8], now[24];
    size_t count = 0;
    all[count++] = SLICE("FCALL");
    all[count++] = slice_of(function);
    snprintf(count_text, sizeof count_text, "%zu", key_count);
    all[count++] = slice_of(count_text);
    for (size_t i = 0; i < key_count; i++) all[count++] = billing_key_slice(&keys[i]);
    for (size_t i = 0; i < argument_count; i++) all[count++] = arguments[i];
    if (billing->options.test_now_ms) {
        snprintf(now, sizeof now, "%" PRId64, billing->options.test_now_ms());
        all[count++] = slice_of(now);
    }
    redis_call(billing->money, all, count, limit_ms, done, context);
}

const char *billing_reply_error(const redisReply *reply, const char *error, size_t least) {
    if (error) return billing_error_of_redis(error);
    if (reply->type == REDIS_REPLY_ERROR) {
        // Words of Redis itself: nothing of ours ran, or none of it was kept.
        static const char *const own[] = {"ERR",  "MISCONF", "OOM",       "READONLY", "LOADING",
                                          "BUSY", "NOPERM",  "CLUSTERDOWN", "WRONGTYPE"};
        for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
            if (!billing_error_is(reply->str, own[i])) continue;
            log_error("billing.redis_error", LOG_TEXT("reason", reply->str));
            return "UNAVAILABLE billing is out of order";
        }
        return reply->str;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < least) {
        return "UNAVAILABLE billing gave an answer of another version";
    }
    return NULL;
}

bool billing_read_balance(const redisReply *reply, int64_t account, struct balance *balance) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 6) return false;
    *balance = (struct balance){
        .account = account,
        .seq = billing_reply_integer(reply, 0),
        .paid = billing_reply_integer(reply, 1),
        .bonus = billing_reply_integer(reply, 2),
        .held = billing_reply_integer(reply, 3),
        .frozen = billing_reply_integer(reply, 4) != 0,
        .debt = billing_reply_integer(reply, 5),
    };
    return true;
}

void billing_tell_balance(struct billing *billing, const struct balance *balance) {
    if (billing->on_balance) billing->on_balance(billing->on_balance_context, balance);
}

static struct request *request_new(struct billing *billing, int64_t account, bool changes,
                                   billing_done_fn *done, void *context) {
    struct request *request = memory_zero(1, sizeof *request);
    list_init(&request->link);
    billing_flight_start(billing, &request->flight);
    request->account = account;
    request->changes = changes;
    request->done = done;
    request->context = context;
    return request;
}

static void request_reply(void *context, const redisReply *reply, const char *error) {
    struct request *waiting = context, request = *waiting;
    struct billing_result result = {.error = billing_reply_error(reply, error, 10)};
    list_remove(&waiting->flight.link);
    memory_free(waiting);
    if (!result.error) {
        billing_read_balance(reply, request.account, &result.balance);
        result.paid = billing_reply_integer(reply, 6);
        result.bonus = billing_reply_integer(reply, 7);
        result.repeated = billing_reply_integer(reply, 9) != 0;
        if (request.changes && !result.repeated && request.flight.billing) {
            billing_tell_balance(request.flight.billing, &result.balance);
        }
    }
    if (request.done) request.done(request.context, &result);
}

static void request_refuse(struct request *request, const char *error) {
    request->error = error;
    list_push_back(&request->flight.billing->refused, &request->link);
    loop_defer(request->flight.billing->loop, &request->flight.billing->tell);
}

static void billing_tell_refused(struct deferred *deferred) {
    struct billing *billing = container_of(deferred, struct billing, tell);
    struct list refused;
    list_init(&refused);
    list_take_all(&refused, &billing->refused);
    while (!list_empty(&refused)) {
        struct request *request = list_first(&refused, struct request, link);
        struct billing_result result = {.error = request->error};
        list_remove(&request->link);
        list_remove(&request->flight.link);
        if (request->done) request->done(request->context, &result);
        memory_free(request);
    }
}

/// What is too long to be sent at all; everything else is judged by the function itself.
static const char *operation_error(const struct billing_operation *operation) {
    if (operation->op.size > BILLING_OP_SIZE || operation->original.size > BILLING_OP_SIZE) {
        return "BADKEY op must be 1 to 120 letters, digits or :._-";
    }
    if (operation->reason.size > BILLING_REASON_SIZE) return "BADREASON reason is too long";
    if (operation->actor.size > BILLING_ACTOR_SIZE) return "BADACTOR actor is too long";
    if (operation->extra.size > BILLING_EXTRA_SIZE) return "BADEXTRA extra is too long";
    if (operation->type.size > 64) return "BADTYPE type must be a lower-case word";
    if (operation->bucket.size > 64) return "BADBUCKET bucket must be paid or bonus";
    return NULL;
}

struct slice billing_number_of(struct billing_number *number, int64_t value) {
    int size = snprintf(number->text, sizeof number->text, "%" PRId64, value);
    return slice_make(number->text, (size_t)size);
}

/// Calls `function` with the keys wallet, out, op (and the original's two for a refund).
void billing_operation_call(struct billing *billing, const char *function,
                            const struct billing_operation *operation,
                            const struct slice *arguments, size_t count, billing_done_fn *done,
                            void *context) {
    struct request *request = request_new(billing, operation->account, true, done, context);
    const char *error = operation_error(operation);
    if (error) {
        request_refuse(request, error);
        return;
    }
    unsigned shard = billing_shard(operation->account);
    struct billing_key keys[5] = {
        billing_wallet_key(operation->account),
        billing_key_of(shard, "out", SLICE("")),
        billing_key_of(shard, "i", operation->op),
    };
    size_t key_count = 3;
    if (operation->original.size) {
        keys[key_count++] = billing_key_of(shard, "i", operation->original);
        keys[key_count++] = billing_key_of(shard, "s", operation->original);
    }
    billing_fcall(billing, function, keys, key_count, arguments, count, request_reply, request);
}

void wallet_credit(struct billing *billing, const struct billing_operation *operation,
                   billing_done_fn *done, void *context) {
    struct billing_number account, amount;
    struct slice arguments[] = {
        billing_number_of(&account, operation->account), operation->op,
        billing_number_of(&amount, operation->amount),   operation->bucket,
        operation->type,                         operation->reason,
        operation->actor,                        operation->extra,
    };
    billing_operation_call(billing, "fl_credit", operation, arguments, 8, done, context);
}

void wallet_debit(struct billing *billing, const struct billing_operation *operation,
                  billing_done_fn *done, void *context) {
    struct billing_number account, amount, payee;
    struct slice arguments[] = {
        billing_number_of(&account, operation->account), operation->op,
        billing_number_of(&amount, operation->amount),   billing_number_of(&payee, operation->payee),
        operation->type,                         operation->reason,
        operation->actor,                        operation->extra,
    };
    billing_operation_call(billing, "fl_debit", operation, arguments, 8, done, context);
}

void wallet_refund(struct billing *billing, const struct billing_operation *operation,
                   billing_done_fn *done, void *context) {
    struct billing_number account, amount;
    struct billing_operation checked = *operation;
    if (checked.original.size == 0) checked.original = SLICE("-"); // no operation has this key
    struct slice arguments[] = {
        billing_number_of(&account, checked.account), checked.op,     billing_number_of(&amount, checked.amount),
        checked.original,                     checked.reason, checked.actor,
    };
    billing_operation_call(billing, "fl_refund", &checked, arguments, 6, done, context);
}

/// Keys of hold and capture: as billing_operation_call, then `due`, then the hold's.
static void hold_call(struct billing *billing, const char *function,
                      const struct billing_operation *operation, const struct slice *arguments,
                      size_t count, billing_done_fn *done, void *context) {
    struct request *request = request_new(billing, operation->account, true, done, context);
    const char *error = operation_error(operation);
    if (error) {
        request_refuse(request, error);
        return;
    }
    unsigned shard = billing_shard(operation->account);
    struct billing_key keys[5] = {
        billing_wallet_key(operation->account),       billing_key_of(shard, "out", SLICE("")),
        billing_key_of(shard, "i", operation->op),    billing_key_of(shard, "due", SLICE("")),
        billing_key_of(shard, "i", operation->original),
    };
    billing_fcall(billing, function, keys, 5, arguments, count, request_reply, request);
}

void wallet_hold(struct billing *billing, const struct billing_operation *operation,
                 billing_done_fn *done, void *context) {
    struct billing_number account, amount, payee, life;
    struct slice arguments[] = {
        billing_number_of(&account, operation->account),
        operation->op,
        billing_number_of(&amount, operation->amount),
        billing_number_of(&payee, operation->payee),
        operation->type,
        billing_number_of(&life, operation->life_s),
    };
    hold_call(billing, "fl_hold", operation, arguments, 6, done, context);
}

void wallet_capture(struct billing *billing, const struct billing_operation *operation,
                    billing_done_fn *done, void *context) {
    struct billing_number account, amount;
    struct slice arguments[] = {
        billing_number_of(&account, operation->account), operation->op,
        billing_number_of(&amount, operation->amount),   operation->original,
        operation->reason,                               operation->actor,
        operation->extra,
    };
    hold_call(billing, "fl_capture", operation, arguments, 7, done, context);
}

void billing_release(struct billing *billing, struct slice account, struct slice op,
                     struct slice grace, redis_reply_fn *done, void *context) {
    int64_t number = 0;
    slice_to_i64(account, &number);
    unsigned shard = billing_shard(number);
    struct billing_key keys[3] = {
        billing_wallet_key(number),
        billing_key_of(shard, "due", SLICE("")),
        billing_key_of(shard, "i", op),
    };
    struct slice arguments[] = {account, op, grace};
    billing_fcall(billing, "fl_release", keys, 3, arguments, 3, done, context);
}

void wallet_release(struct billing *billing, const struct billing_operation *operation,
                    billing_done_fn *done, void *context) {
    struct billing_number account;
    struct request *request = request_new(billing, operation->account, true, done, context);
    const char *error = operation_error(operation);
    if (error) {
        request_refuse(request, error);
        return;
    }
    billing_release(billing, billing_number_of(&account, operation->account), operation->op,
                    SLICE(""), request_reply, request);
}

void wallet_chargeback(struct billing *billing, const struct billing_operation *operation,
                       billing_done_fn *done, void *context) {
    struct billing_number account, amount;
    struct slice arguments[] = {
        billing_number_of(&account, operation->account), operation->op,
        billing_number_of(&amount, operation->amount),   operation->reason,
        operation->actor,
    };
    billing_operation_call(billing, "fl_chargeback", operation, arguments, 5, done, context);
}

void wallet_freeze(struct billing *billing, const struct billing_operation *operation, bool frozen,
                   billing_done_fn *done, void *context) {
    struct billing_number account;
    struct slice arguments[] = {
        billing_number_of(&account, operation->account),
        operation->op,
        frozen ? SLICE("1") : SLICE("0"),
        operation->reason,
        operation->actor,
    };
    billing_operation_call(billing, "fl_freeze", operation, arguments, 5, done, context);
}

void wallet_balance(struct billing *billing, int64_t account, billing_done_fn *done,
                    void *context) {
    struct request *request = request_new(billing, account, false, done, context);
    if (account < 1) {
        request_refuse(request, "BADACCOUNT account must be a number");
        return;
    }
    struct billing_key key = billing_wallet_key(account);
    billing_fcall(billing, "fl_balance", &key, 1, NULL, 0, request_reply, request);
}

void wallet_restore(struct billing *billing, const struct balance *balance, int64_t epoch,
                    billing_done_fn *done, void *context) {
    struct request *request = request_new(billing, balance->account, true, done, context);
    unsigned shard = billing_shard(balance->account);
    struct billing_number n[6];
    struct billing_key keys[3] = {
        billing_wallet_key(balance->account),
        billing_key_of(shard, "due", SLICE("")),
        billing_key_of(shard, "epoch", SLICE("")),
    };
    struct slice arguments[] = {
        billing_number_of(&n[0], balance->account), billing_number_of(&n[1], balance->paid),
        billing_number_of(&n[2], balance->bonus),   billing_number_of(&n[3], balance->debt),
        billing_number_of(&n[4], balance->seq),     balance->frozen ? SLICE("1") : SLICE("0"),
        billing_number_of(&n[5], epoch),
    };
    billing_fcall(billing, "fl_restore", keys, 3, arguments, 7, request_reply, request);
}

void billing_options_default(struct billing_options *options) {
    *options = (struct billing_options){
        .quantum_s = 10, .grace_s = 30, .sweep_ms = 5000, .evidence_s = 15, .settle_ms = 2000};
}

static void configure(unsigned *value, const struct settings *settings, const char *key,
                      int64_t least, int64_t most) {
    int64_t wanted = settings_integer(settings, key, *value);
    *value = (unsigned)(wanted < least ? least : wanted > most ? most : wanted);
}

void billing_options_configure(struct billing_options *options, const struct settings *settings) {
    configure(&options->quantum_s, settings, "billing.quantum_seconds", 2, 3600);
    configure(&options->evidence_s, settings, "billing.evidence_seconds", 1, 3600);
    configure(&options->grace_s, settings, "billing.grace_seconds", 0, 86400);
    configure(&options->sweep_ms, settings, "billing.sweep_ms", 0, 3600000);
}

struct billing *billing_new(struct loop *loop, struct redis_client *money,
                            const struct billing_options *options) {
    struct billing *billing = memory_zero(1, sizeof *billing);
    billing->loop = loop;
    billing->money = money;
    billing->options = *options;
    list_init(&billing->refused);
    list_init(&billing->flights);
    deferred_init(&billing->tell, billing_tell_refused);
    uint64_t name;
    random_bytes(&name, sizeof name);
    snprintf(billing->instance, sizeof billing->instance, "%016" PRIx64, name);
    billing->meters_open =
        metrics_gauge("footlight_billing_meters", "Meters that this process keeps.", NULL);
    billing->ticks = metrics_counter("footlight_billing_ticks_total", "Ticks that were sent.", NULL);
    billing->tick_lateness = metrics_histogram("footlight_billing_tick_lateness_seconds",
                                               "How late ticks were sent.", NULL);
    billing->cut_lateness = metrics_histogram("footlight_billing_cut_lateness_seconds",
                                              "How late after its deadline a cut was ordered.", NULL);
    billing->swept = metrics_counter("footlight_billing_swept_total",
                                     "Abandoned sessions that the sweeper closed.", NULL);
    billing->close_lost = metrics_counter("footlight_billing_close_lost_total",
                                          "Sessions left to the sweeper: Redis was away.", NULL);
    redis_functions_keep(money, "footlight_billing", billing_functions);
    billing_clock_start(billing);
    return billing;
}

void billing_free(struct billing *billing) {
    if (!billing) return;
    billing_clock_stop(billing);
    billing_meters_forget(billing);
    while (!list_empty(&billing->refused)) billing_tell_refused(&billing->tell);
    loop_undefer(&billing->tell);
    list_each(&billing->flights, node) {
        container_of(node, struct billing_flight, link)->billing = NULL;
        list_remove(node);
    }
    hash_free(&billing->meters);
    memory_free(billing);
}

bool billing_ready(const struct billing *billing) { return redis_client_ready(billing->money); }

void billing_on_balance(struct billing *billing,
                        void (*changed)(void *context, const struct balance *balance),
                        void *context) {
    billing->on_balance = changed;
    billing->on_balance_context = context;
}
