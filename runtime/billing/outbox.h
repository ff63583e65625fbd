#ifndef FOOTLIGHT_BILLING_OUTBOX_H
#define FOOTLIGHT_BILLING_OUTBOX_H
#include "billing/wallet.h"

/// The outbox: one stream a shard with one entry for each change of a balance, in order. jobs books
/// it in the ledger behind a cursor that is kept in MariaDB, then trims what is booked.
struct outbox_entry {
    uint64_t ms, n; ///< its id
    size_t fields;
    const struct slice *names, *values;
};

struct outbox_batch {
    const char *error; ///< NULL, or "UNAVAILABLE …" / "UNKNOWN …"
    int64_t epoch;     ///< raised when a shard was rebuilt after Redis had lost something
    size_t count;
    const struct outbox_entry *entries; ///< valid inside the callback only
};
typedef void outbox_read_fn(void *context, const struct outbox_batch *batch);

/// The entries behind (after_ms, after_n), at most `count` of them.
void outbox_read(struct billing *billing, unsigned shard, uint64_t after_ms, uint64_t after_n,
                 unsigned count, outbox_read_fn *done, void *context);
/// Forgets everything up to and including (ms, n).
void outbox_trim(struct billing *billing, unsigned shard, uint64_t ms, uint64_t n,
                 billing_done_fn *done, void *context);

struct outbox_state {
    const char *error;
    struct {
        int64_t length;            ///< entries that are not trimmed
        uint64_t last_ms, last_n;  ///< the last id that was ever given; less than the cursor in
                                   ///< MariaDB means that Redis lost what it had confirmed
    } shard[BILLING_SHARDS];
};
/// All shards at once: what to read, and how far behind the ledger is.
void outbox_look(struct billing *billing,
                 void (*done)(void *context, const struct outbox_state *state), void *context);

/// Walks all wallets that Redis knows: accounts behind `cursor` (start with "0"); `next` is "0" at
/// the end. An account may come more than once.
void wallet_scan(struct billing *billing, struct slice cursor,
                 void (*done)(void *context, const char *error, struct slice next,
                              const int64_t *accounts, size_t count),
                 void *context);
#endif
