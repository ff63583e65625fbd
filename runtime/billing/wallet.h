#ifndef FOOTLIGHT_BILLING_WALLET_H
#define FOOTLIGHT_BILLING_WALLET_H
#include "base/settings.h"
#include "loop/loop.h"
#include "redis/client.h"

/// Wallets of prepaid credits in the money Redis (docs/billing.md). Everything here is one atomic,
/// idempotent function on one wallet. Amounts are micro-credits, 1 … 2^53-1.
struct billing;

struct billing_options {
    unsigned quantum_s;  ///< a meter reserves this far ahead (10)
    unsigned grace_s;    ///< the sweeper closes a lease that is over for this long (30)
    unsigned sweep_ms;   ///< how often this process looks for such leases, 0: never (5000)
    unsigned evidence_s; ///< a meter without evidence for this long is not extended (15)
    unsigned settle_ms;  ///< limit of one operation (2000)
    /// Tests only: the milliseconds that the functions take for now, in place of Redis' own clock.
    int64_t (*test_now_ms)(void);
};
void billing_options_default(struct billing_options *options);
/// Reads billing.{quantum_seconds,evidence_seconds,grace_seconds,sweep_ms} over what is there.
void billing_options_configure(struct billing_options *options, const struct settings *settings);

/// Loads the functions through `money` (call before the loop runs) and keeps meters on the wheel.
struct billing *billing_new(struct loop *loop, struct redis_client *money,
                            const struct billing_options *options);
void billing_free(struct billing *billing); ///< before the client; open meters stay open in Redis
bool billing_ready(const struct billing *billing);

struct balance {
    int64_t account;
    int64_t paid, bonus, held;
    int64_t seq;  ///< number of the wallet's last change
    int64_t debt; ///< owed after a chargeback; the next paid credits repay it first
    bool frozen;
};

/// After each change that this process made: what server/ publishes on `bal:<account>`.
void billing_on_balance(struct billing *billing,
                        void (*changed)(void *context, const struct balance *balance),
                        void *context);

/// The outcome of an operation. `error` is NULL or starts with one of the words of errors.h, e.g.
/// "NOFUNDS", "DUPLICATE" (the key was used with other content), "BADAMOUNT", "UNAVAILABLE",
/// "UNKNOWN" (sent, but no answer came: repeat it with the same key to learn what happened).
struct billing_result {
    const char *error;
    bool repeated; ///< the key was used before with the same content: this is the stored answer
    struct balance balance;      ///< as this operation left it
    int64_t paid, bonus; ///< what each bucket gained (negative: lost)
};
typedef void billing_done_fn(void *context, const struct billing_result *result);

struct billing_operation {
    struct slice op;      ///< the caller's key, 1 to 120 bytes of [A-Za-z0-9:._-]; never reused for anything else
    int64_t account;
    int64_t amount;
    struct slice bucket;  ///< credit: "paid" or "bonus"
    int64_t payee;        ///< tip: model id
    struct slice type;    ///< credit: "purchase", "promotion", "adjustment"; tip and debit: "tip", …
    struct slice reason;  ///< for people, 0 to 400 bytes
    struct slice extra;   ///< credit, debit: JSON for the ledger's detail, 0 to 2000 bytes
    struct slice actor;   ///< who did it: "account:7", "command", …
    struct slice original; ///< refund: the op or sid that it gives back; amount 0: all that is left
                           ///< capture: the hold's op
    int64_t life_s;        ///< hold: seconds until it is released by itself, at most a day;
                           ///< grant: the seconds; limit: seconds a day, 0: none
    int64_t until_ms;      ///< grant: when what is left of it ends, 0: never
};

/// None of these calls back inside the call.
void wallet_credit(struct billing *billing, const struct billing_operation *operation,
                   billing_done_fn *done, void *context);
/// Takes credits (bonus first), pays the payee through the ledger. NOFUNDS is not remembered.
void wallet_debit(struct billing *billing, const struct billing_operation *operation,
                  billing_done_fn *done, void *context);
/// Gives back up to what `original` took, into the buckets that it came from.
void wallet_refund(struct billing *billing, const struct billing_operation *operation,
                   billing_done_fn *done, void *context);
/// Sets credits aside (type and payee are those of the later sale) …
void wallet_hold(struct billing *billing, const struct billing_operation *operation,
                 billing_done_fn *done, void *context);
/// … of which `original`'s capture takes `amount` and gives the rest back, once …
void wallet_capture(struct billing *billing, const struct billing_operation *operation,
                    billing_done_fn *done, void *context);
/// … or all is given back: operation->op is the hold's. Repeats are harmless.
void wallet_release(struct billing *billing, const struct billing_operation *operation,
                    billing_done_fn *done, void *context);
/// A purchase was taken back by the bank: takes what is there, freezes, books the rest as debt.
void wallet_chargeback(struct billing *billing, const struct billing_operation *operation,
                       billing_done_fn *done, void *context);
void wallet_freeze(struct billing *billing, const struct billing_operation *operation, bool frozen,
                   billing_done_fn *done, void *context);
void wallet_balance(struct billing *billing, int64_t account, billing_done_fn *done, void *context);

/// correction.c. Staff: `amount` with its sign into `bucket`; needs a reason and an actor. NOFUNDS
/// rather than below zero. Also on a frozen wallet.
void wallet_adjust(struct billing *billing, const struct billing_operation *operation,
                   billing_done_fn *done, void *context);
/// Undoes `original` (a credit, debit, capture, adjustment or chargeback) as a whole, once.
void wallet_reverse(struct billing *billing, const struct billing_operation *operation,
                    billing_done_fn *done, void *context);
/// What the ledger says of an operation that Redis remembers no more.
struct billing_memory {
    int64_t account, paid, bonus; ///< what it took
    int64_t refunded_paid, refunded_bonus;
    int64_t payee, at_ms;
    int64_t seq; ///< the wallet's change number that the ledger had come to; STALE if it went on
    struct slice op, type;
};
/// After all was lost: a booked operation with what it moved (signs as in the outbox), so that its key
/// counts as used. `original`: of a capture or a reversal; `reversed_by`: the key that undid it.
struct billing_booked {
    int64_t account, paid, bonus, debt, refunded_paid, refunded_bonus, payee, at_ms;
    struct slice op, type, original, reversed_by;
};
void wallet_recall(struct billing *billing, const struct billing_booked *booked,
                   billing_done_fn *done, void *context);
/// Tells Redis again; a refund finds it then. `repeated`: it was not forgotten.
void wallet_remember(struct billing *billing, const struct billing_memory *memory,
                     billing_done_fn *done, void *context);
/// Free seconds (`life_s`, until `until_ms`) with `payee`, or with any model: 0.
void wallet_grant(struct billing *billing, const struct billing_operation *operation,
                  billing_done_fn *done, void *context);
/// How long a day may be watched (`life_s`): `bucket` "site" or "own". Meters keep it.
void wallet_limit(struct billing *billing, const struct billing_operation *operation,
                  billing_done_fn *done, void *context);
struct billing_allowance {
    int64_t site_limit_ms, own_limit_ms; ///< a day, 0: none
    int64_t watched_ms, leased_ms;       ///< today; leased: what open sessions may still watch
    int64_t granted_s;
};
void wallet_allowance(struct billing *billing, int64_t account,
                      void (*done)(void *context, const char *error,
                                   const struct billing_allowance *allowance),
                      void *context);

/// Recovery: makes the wallet what `balance` says (from the ledger) if it is behind balance->seq, and
/// raises the shard's epoch. `repeated` says that it was not behind, and nothing was changed.
void wallet_restore(struct billing *billing, const struct balance *balance, int64_t epoch,
                    billing_done_fn *done, void *context);

/// The shard of an account, 0 … 15: crc16 of its decimal text, as a cluster would hash it.
enum { BILLING_SHARDS = 16 };
unsigned billing_shard(int64_t account);
#endif
