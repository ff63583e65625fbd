#ifndef FOOTLIGHT_BILLING_PRIVATE_H
#define FOOTLIGHT_BILLING_PRIVATE_H
#include "base/hash.h"
#include "billing/wallet.h"

/// Between the files of this folder. Redis names of billing are made here and nowhere else.
enum {
    BILLING_KEY_SIZE = 160,
    BILLING_OP_SIZE = 120,
    BILLING_SID_SIZE = 100,
    BILLING_REASON_SIZE = 400,
    BILLING_ACTOR_SIZE = 60,
    BILLING_EXTRA_SIZE = 2000,
};

struct billing_key {
    size_t size;
    char text[BILLING_KEY_SIZE];
};

/// Something that waits for an answer of Redis. The answer may come after billing_free: then
/// `billing` is NULL.
struct billing_flight {
    struct list link;
    struct billing *billing;
};

struct billing {
    struct loop *loop;
    struct redis_client *money;
    struct billing_options options;
    void (*on_balance)(void *context, const struct balance *balance);
    void *on_balance_context;
    struct hash meters;  ///< sid → struct meter
    struct list flights; ///< struct billing_flight
    struct list refused; ///< answers that are told at the end of the tick
    struct deferred tell;
    struct timer sweep;
    char instance[24]; ///< names this process in the sweeper's lock
    struct metric *meters_open, *ticks, *tick_lateness, *cut_lateness, *swept, *close_lost;
};

extern const char billing_functions[]; ///< the scripts, made by the build

static inline void billing_flight_start(struct billing *billing, struct billing_flight *flight) {
    flight->billing = billing;
    list_push_back(&billing->flights, &flight->link);
}

/// Text of a number, for arguments.
struct billing_number {
    char text[24];
};
struct slice billing_number_of(struct billing_number *number, int64_t value);

/// b:{NN}:<kind>[:<rest>]
struct billing_key billing_key_of(unsigned shard, const char *kind, struct slice rest);
struct billing_key billing_wallet_key(int64_t account);
static inline struct slice billing_key_slice(const struct billing_key *key) {
    return slice_make(key->text, key->size);
}

/// FCALL of `function`. The test clock is appended as the last argument where options ask for it.
void billing_fcall(struct billing *billing, const char *function, const struct billing_key *keys,
                   size_t key_count, const struct slice *arguments, size_t argument_count,
                   redis_reply_fn *done, void *context);

/// The same with a limit of its own instead of options.settle_ms.
void billing_fcall_within(struct billing *billing, unsigned limit_ms, const char *function,
                          const struct billing_key *keys, size_t key_count,
                          const struct slice *arguments, size_t argument_count,
                          redis_reply_fn *done, void *context);

/// The first six numbers of an answer, which every function starts with. False: not of that form.
bool billing_read_balance(const redisReply *reply, int64_t account, struct balance *balance);
static inline int64_t billing_reply_integer(const redisReply *reply, size_t index) {
    return index < reply->elements ? reply->element[index]->integer : 0;
}
/// One error text for a missing, an error and a malformed answer; NULL if there is none.
const char *billing_reply_error(const redisReply *reply, const char *error, size_t least);
void billing_tell_balance(struct billing *billing, const struct balance *balance);

/// Calls `function` for an operation, with the keys wallet, out, op (and, if there is an original, its
/// two), once its texts are not too long.
void billing_operation_call(struct billing *billing, const char *function,
                            const struct billing_operation *operation,
                            const struct slice *arguments, size_t count, billing_done_fn *done,
                            void *context);

/// Releases a hold; with a grace, only one that ended so long ago.
void billing_release(struct billing *billing, struct slice account, struct slice op,
                     struct slice grace, redis_reply_fn *done, void *context);

void billing_clock_start(struct billing *billing); ///< clock.c: the sweeper
void billing_clock_stop(struct billing *billing);
void billing_meters_forget(struct billing *billing); ///< meter.c
#endif
