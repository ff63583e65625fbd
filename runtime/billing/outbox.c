#include "billing/outbox.h"
#include <inttypes.h>
#include <stdio.h>
#include "base/arena.h"
#include "billing/errors.h"
#include "billing/private.h"

struct reading {
    int64_t epoch;
    const char *error;
    outbox_read_fn *done;
    void *context;
};

/// "1765000000000-3"
static bool parse_id(struct slice text, uint64_t *ms, uint64_t *n) {
    struct slice rest = text, part;
    return slice_next(&rest, '-', &part) && slice_to_u64(part, ms) && slice_to_u64(rest, n);
}

static struct slice reply_text(const redisReply *reply) {
    return reply->str ? slice_make(reply->str, reply->len) : slice_make("", 0);
}

static void on_epoch(void *context, const redisReply *reply, const char *error) {
    struct reading *reading = context;
    reading->error = error ? billing_error_of_redis(error) : NULL;
    if (!error && reply->str) slice_to_i64(reply_text(reply), &reading->epoch);
}

static bool read_entry(struct arena *arena, const redisReply *reply, struct outbox_entry *entry) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) return false;
    const redisReply *fields = reply->element[1];
    if (!parse_id(reply_text(reply->element[0]), &entry->ms, &entry->n)) return false;
    entry->fields = fields->elements / 2;
    struct slice *names = arena_alloc(arena, (entry->fields + 1) * sizeof *names);
    struct slice *values = arena_alloc(arena, (entry->fields + 1) * sizeof *values);
    for (size_t i = 0; i < entry->fields; i++) {
        names[i] = reply_text(fields->element[2 * i]);
        values[i] = reply_text(fields->element[2 * i + 1]);
    }
    entry->names = names;
    entry->values = values;
    return true;
}

static void on_entries(void *context, const redisReply *reply, const char *error) {
    struct reading reading = *(struct reading *)context;
    struct outbox_batch batch = {.epoch = reading.epoch, .error = reading.error};
    struct arena arena = {0};
    memory_free(context);
    if (!batch.error) batch.error = billing_reply_error(reply, error, 0);
    if (!batch.error) {
        struct outbox_entry *entries =
            arena_alloc(&arena, (reply->elements + 1) * sizeof *entries);
        while (batch.count < reply->elements &&
               read_entry(&arena, reply->element[batch.count], &entries[batch.count])) {
            batch.count++;
        }
        batch.entries = entries;
    }
    reading.done(reading.context, &batch);
    arena_free(&arena);
}

void outbox_read(struct billing *billing, unsigned shard, uint64_t after_ms, uint64_t after_n,
                 unsigned count, outbox_read_fn *done, void *context) {
    struct billing_key out = billing_key_of(shard, "out", SLICE(""));
    struct billing_key epoch = billing_key_of(shard, "epoch", SLICE(""));
    struct reading *reading = memory_zero(1, sizeof *reading);
    char from[48], most[16];
    reading->done = done;
    reading->context = context;
    snprintf(from, sizeof from, "(%" PRIu64 "-%" PRIu64, after_ms, after_n);
    snprintf(most, sizeof most, "%u", count);
    // Answers about one shard come in order, so the epoch is there before the entries are.
    redis_call(billing->money, (struct slice[]){SLICE("GET"), billing_key_slice(&epoch)}, 2, 0,
               on_epoch, reading);
    redis_call(billing->money,
               (struct slice[]){SLICE("XRANGE"), billing_key_slice(&out), slice_of(from),
                                SLICE("+"), SLICE("COUNT"), slice_of(most)},
               6, 0, on_entries, reading);
}

struct trimming {
    billing_done_fn *done;
    void *context;
};

static void on_trimmed(void *context, const redisReply *reply, const char *error) {
    struct trimming trimming = *(struct trimming *)context;
    memory_free(context);
    struct billing_result result = {0};
    if (error) {
        result.error = billing_error_of_redis(error);
    } else if (reply->type == REDIS_REPLY_ERROR) {
        result.error = "UNAVAILABLE billing is out of order";
    }
    if (trimming.done) trimming.done(trimming.context, &result);
}

void outbox_trim(struct billing *billing, unsigned shard, uint64_t ms, uint64_t n,
                 billing_done_fn *done, void *context) {
    struct billing_key out = billing_key_of(shard, "out", SLICE(""));
    struct trimming *trimming = memory_zero(1, sizeof *trimming);
    char from[48];
    *trimming = (struct trimming){done, context};
    snprintf(from, sizeof from, "%" PRIu64 "-%" PRIu64, ms, n + 1);
    redis_call(billing->money,
               (struct slice[]){SLICE("XTRIM"), billing_key_slice(&out), SLICE("MINID"),
                                slice_of(from)},
               4, 0, on_trimmed, trimming);
}

/// The shards of a cluster answer in any order, so each question knows its shard.
struct looking_at {
    struct looking *looking;
    unsigned shard;
};
struct looking {
    struct outbox_state state;
    struct looking_at at[BILLING_SHARDS];
    unsigned answers;
    void (*done)(void *context, const struct outbox_state *state);
    void *context;
};

static void on_stream(void *context, const redisReply *reply, const char *error) {
    struct looking *looking = ((struct looking_at *)context)->looking;
    unsigned shard = ((struct looking_at *)context)->shard;
    looking->answers++;
    if (error) {
        looking->state.error = billing_error_of_redis(error);
    } else if (reply->type == REDIS_REPLY_ARRAY) { // an error says that there is no stream yet
        for (size_t i = 0; i + 1 < reply->elements; i += 2) {
            struct slice name = reply_text(reply->element[i]);
            const redisReply *value = reply->element[i + 1];
            if (slice_equal(name, SLICE("length"))) {
                looking->state.shard[shard].length = value->integer;
            } else if (slice_equal(name, SLICE("last-generated-id"))) {
                parse_id(reply_text(value), &looking->state.shard[shard].last_ms,
                         &looking->state.shard[shard].last_n);
            }
        }
    }
    if (looking->answers < BILLING_SHARDS) return;
    looking->done(looking->context, &looking->state);
    memory_free(looking);
}

void outbox_look(struct billing *billing,
                 void (*done)(void *context, const struct outbox_state *state), void *context) {
    struct looking *looking = memory_zero(1, sizeof *looking);
    looking->done = done;
    looking->context = context;
    for (unsigned shard = 0; shard < BILLING_SHARDS; shard++) {
        struct billing_key out = billing_key_of(shard, "out", SLICE(""));
        looking->at[shard] = (struct looking_at){looking, shard};
        redis_call(billing->money,
                   (struct slice[]){SLICE("XINFO"), SLICE("STREAM"), billing_key_slice(&out)}, 3, 0,
                   on_stream, &looking->at[shard]);
    }
}

struct scanning {
    void (*done)(void *context, const char *error, struct slice next, const int64_t *accounts,
                 size_t count);
    void *context;
};

static void on_scanned(void *context, const redisReply *reply, const char *error) {
    struct scanning scanning = *(struct scanning *)context;
    memory_free(context);
    const char *problem = billing_reply_error(reply, error, 2);
    if (problem) {
        scanning.done(scanning.context, problem, SLICE("0"), NULL, 0);
        return;
    }
    const redisReply *keys = reply->element[1];
    int64_t *accounts = memory_alloc((keys->elements + 1) * sizeof *accounts);
    size_t count = 0;
    for (size_t i = 0; i < keys->elements; i++) {
        struct slice key = reply_text(keys->element[i]);
        size_t colon = slice_search(key, SLICE(":w:"));
        if (colon < key.size && slice_to_i64(slice_sub(key, colon + 3, key.size), &accounts[count])) {
            count++;
        }
    }
    scanning.done(scanning.context, NULL, reply_text(reply->element[0]), accounts, count);
    memory_free(accounts);
}

void wallet_scan(struct billing *billing, struct slice cursor,
                 void (*done)(void *context, const char *error, struct slice next,
                              const int64_t *accounts, size_t count),
                 void *context) {
    struct scanning *scanning = memory_zero(1, sizeof *scanning);
    scanning->done = done;
    scanning->context = context;
    redis_call(billing->money,
               (struct slice[]){SLICE("SCAN"), cursor, SLICE("MATCH"), SLICE("b:{*}:w:*"),
                                SLICE("COUNT"), SLICE("500")},
               6, 0, on_scanned, scanning);
}
