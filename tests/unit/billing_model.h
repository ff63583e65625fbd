#ifndef FOOTLIGHT_TESTS_BILLING_MODEL_H
#define FOOTLIGHT_TESTS_BILLING_MODEL_H
#include <inttypes.h>
#include <time.h>
#include "base/hash.h"
#include "redis_server.h"
#include <hiredis/hiredis.h>

// The world that tests/unit/billing_model_test.c attacks, and its auditor: what a wallet, a session, a
// hold and the outbox must look like after every operation, in code that shares nothing with the
// functions inside Redis.

enum { WALLETS = 4, SESSIONS = 40, OPS = 400, HISTORY = 60, TEXT = 220, ERROR = 500 };

struct session {
    bool made, closed;
    int wallet;
    int64_t rate, increment, minimum, free_s, limit, quantum, off; ///< free_s: without grants
    int64_t free, paused; ///< with grants; when the pause began, as Redis showed them last
    int64_t t0, upto, lease, due, hold, hb; ///< as Redis showed them last
    int64_t charged, refunded;              ///< what the outbox says
};

struct command {
    int count;
    char words[20][TEXT];
};

struct world {
    struct redis_server server;
    redisContext *redis;
    uint64_t random, seed;
    int64_t now;
    struct session sessions[SESSIONS];
    struct { int64_t seq, sum, debt, granted, watched, day_limit; } wallets[WALLETS];
    struct { int64_t moved, debt, refunded, wallet; bool reversed; } ops_done[OPS + 1]; ///< as the outbox says
    int undone, undone_wallet; ///< the original of the last reversal that was asked for
    bool grants_end; ///< some grants have an end in this world, so that seconds may vanish
    struct hash ops; ///< outbox keys that were seen
    char last_id[40];
    struct command history[HISTORY]; ///< to be repeated and reordered
    struct { int op, wallet; bool over; } holds[OPS];
    int asked; ///< replies of an audit that were not taken yet
    int history_count, op_count, session_count, hold_count;
    const char *code;
    long operations, kills, cuts, repeats, refusals;
    char problem[ERROR];
};

/// One operation in so many meets a kill, and one in a fifth of that many a cut. In a long run less
/// often: a restart takes the time of hundreds.
static int64_t rarely = 500;

static uint64_t next_random(struct world *w) {
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}
static int64_t below(struct world *w, int64_t limit) { return (int64_t)(next_random(w) % (uint64_t)limit); }
static bool chance(struct world *w, int percent) { return below(w, 100) < percent; }

__attribute__((format(printf, 2, 3))) static bool wrong(struct world *w, const char *format, ...) {
    va_list list;
    if (w->problem[0]) return false;
    va_start(list, format);
    vsnprintf(w->problem, sizeof w->problem, format, list);
    va_end(list);
    return false;
}

static void reach(struct world *w) {
    if (w->redis) redisFree(w->redis);
    w->redis = redisConnectUnix(w->server.path);
    assert_non_null(w->redis);
    assert_int_equal(w->redis->err, 0);
}

static void kill_redis(struct world *w) {
    redis_server_stop(&w->server, SIGKILL);
    w->kills++;
    redis_server_start(&w->server);
    reach(w);
}

static redisReply *ask(struct world *w, const char *format, ...) {
    va_list list;
    va_start(list, format);
    redisReply *reply = redisvCommand(w->redis, format, list);
    va_end(list);
    assert_non_null(reply);
    return reply;
}

/// An audit asks for everything at once, then takes the replies in that order.
static void order(struct world *w, const char *format, ...) {
    va_list list;
    va_start(list, format);
    assert_int_equal(redisvAppendCommand(w->redis, format, list), REDIS_OK);
    va_end(list);
    w->asked++;
}
static redisReply *take(struct world *w) {
    redisReply *reply = NULL;
    assert_int_equal(redisGetReply(w->redis, (void **)&reply), REDIS_OK);
    w->asked--;
    return reply;
}

static void word(struct command *c, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(c->words[c->count++], TEXT, format, list);
    va_end(list);
}

static void append(struct world *w, const struct command *c) {
    const char *words[20];
    size_t sizes[20];
    for (int i = 0; i < c->count; i++) {
        words[i] = c->words[i];
        sizes[i] = strlen(c->words[i]);
    }
    redisAppendCommandArgv(w->redis, c->count, words, sizes);
}

static void push(struct world *w) {
    int done = 0;
    while (!done && redisBufferWrite(w->redis, &done) == REDIS_OK) continue;
    if (chance(w, 50)) poll(NULL, 0, (int)below(w, 3)); // so that some ran and some did not
}

/// Runs it; sometimes the reply is lost because Redis is killed at that moment, or the line is cut, and
/// it is sent again.
static redisReply *run(struct world *w, const struct command *c, bool faults) {
    redisReply *reply = NULL;
    w->operations++;
    append(w, c);
    int64_t fate = faults ? below(w, rarely) : rarely;
    if (fate == 0) {
        push(w);
        kill_redis(w);
        append(w, c);
    } else if (fate <= 5) {
        push(w);
        w->cuts++;
        reach(w);
        append(w, c);
    }
    assert_int_equal(redisGetReply(w->redis, (void **)&reply), REDIS_OK);
    return reply;
}

/// The tariff, written down a second time.
static int64_t price(const struct session *s, int64_t ms) {
    int64_t seconds = (ms + 999) / 1000 - s->free;
    if (seconds <= 0) return 0;
    int64_t rate = s->rate * (10000 - s->off) / 10000;
    if (rate < 1) rate = 1;
    int64_t steps = (seconds + s->increment - 1) / s->increment;
    int64_t amount = rate * steps * s->increment / 60;
    return amount > s->minimum ? amount : s->minimum;
}

static int64_t integer_of(const redisReply *list, const char *name) {
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        if (strcmp(list->element[i]->str, name) == 0) return strtoll(list->element[i + 1]->str, NULL, 10);
    }
    return 0;
}
static const char *text_of(const redisReply *list, const char *name) {
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        if (strcmp(list->element[i]->str, name) == 0) return list->element[i + 1]->str;
    }
    return "";
}

/// Seconds in "<op>/<seconds>/<until>/<model> …".
static int64_t grant_seconds(const char *text) {
    int64_t sum = 0;
    for (const char *at = strchr(text, '/'); at; at = strchr(at, '/')) {
        sum += strtoll(at + 1, NULL, 10);
        at = strchr(at, ' ');
        if (!at) break;
    }
    return sum;
}

/// I8: nothing comes back that was not taken, and nothing is undone twice.
static bool audit_original(struct world *w, const redisReply *fields, int64_t moved) {
    const char *original = text_of(fields, "x"), *type = text_of(fields, "t");
    int number = original[0] ? atoi(original + 1) : 0;
    if (strcmp(type, "refund") == 0 && original[0] == 's') {
        struct session *s = &w->sessions[number];
        s->refunded += moved;
        return s->refunded <= s->charged || wrong(w, "I8: %s gave back more than it took", original);
    }
    if (strcmp(type, "refund") == 0) {
        w->ops_done[number].refunded += moved;
        return (w->ops_done[number].refunded <= -w->ops_done[number].moved && !w->ops_done[number].reversed) ||
               wrong(w, "I8: %s gave back more than it took", original);
    }
    if (strcmp(type, "reversal") == 0) {
        int64_t net = moved - integer_of(fields, "d");
        bool again = w->ops_done[number].reversed || w->ops_done[number].refunded;
        w->ops_done[number].reversed = true;
        return (!again && net == w->ops_done[number].debt - w->ops_done[number].moved) ||
               wrong(w, "I8: %s was not reversed as it was done", original);
    }
    return true;
}

static bool audit_entry(struct world *w, const redisReply *fields) {
    int64_t account = integer_of(fields, "w"), seq = integer_of(fields, "s");
    int64_t moved = integer_of(fields, "p") + integer_of(fields, "b");
    const char *op = text_of(fields, "o");
    if (account < 1 || account > WALLETS) return wrong(w, "an entry of wallet %" PRId64, account);
    if (seq != ++w->wallets[account - 1].seq) {
        return wrong(w, "I6: wallet %" PRId64 " jumped to change %" PRId64, account, seq);
    }
    w->wallets[account - 1].sum += moved;
    w->wallets[account - 1].debt += integer_of(fields, "d");
    if (hash_put(&w->ops, slice_of(op), w)) return wrong(w, "%s is in the outbox twice", op);
    if (op[0] == 'o') {
        w->ops_done[atoi(op + 1)].moved = moved;
        w->ops_done[atoi(op + 1)].wallet = account - 1;
        w->ops_done[atoi(op + 1)].debt = integer_of(fields, "d");
    }
    const char *seconds_granted = strstr(text_of(fields, "j"), "\"seconds\":");
    if (strcmp(text_of(fields, "t"), "grant") == 0) {
        w->wallets[account - 1].granted += strtoll(seconds_granted + 10, NULL, 10);
    }
    if (!audit_original(w, fields, moved)) return false;
    if (strncmp(text_of(fields, "t"), "meter", 5) == 0) {
        w->sessions[atoi(text_of(fields, "x") + 1)].charged -= moved;
    }
    return true;
}

static bool audit_outbox(struct world *w) {
    redisReply *entries = take(w);
    bool fine = true;
    for (size_t i = 0; i < entries->elements && fine; i++) {
        snprintf(w->last_id, sizeof w->last_id, "%s", entries->element[i]->element[0]->str);
        fine = audit_entry(w, entries->element[i]->element[1]);
    }
    freeReplyObject(entries);
    return fine;
}

static bool audit_session(struct world *w, int at, int64_t *held, int64_t *hb, int64_t *granted,
                          int64_t *leased) {
    struct session *s = &w->sessions[at];
    redisReply *f = take(w);
    if (f->elements == 0) {
        freeReplyObject(f);
        return s->made ? wrong(w, "session %d is gone", at) : true;
    }
    int64_t due = integer_of(f, "due"), hold = integer_of(f, "hold"), bonus = integer_of(f, "hb");
    int64_t upto = integer_of(f, "upto"), lease = integer_of(f, "dl"), t0 = integer_of(f, "t0");
    bool closed = strcmp(text_of(f, "st"), "closed") == 0;
    int64_t taken = grant_seconds(text_of(f, "gs")), pause = integer_of(f, "pz");
    int64_t elapsed = s->upto - s->t0, moved = upto - t0 - elapsed;
    s->free = integer_of(f, "free");
    if (!s->made) s->upto = s->lease = t0;
    freeReplyObject(f);
    if (s->free != s->free_s + taken) return wrong(w, "I8: session %d has other free seconds than it was granted", at);
    if (closed && taken > 0 && s->free > (upto - t0 + 999) / 1000) return wrong(w, "I8: session %d kept granted seconds", at);
    if (s->made && s->paused > 0 && moved != 0) return wrong(w, "session %d: time passed in a pause", at);
    if (s->made && s->paused > 0 && pause > 0 && (upto != s->upto || lease != s->lease || due != s->due)) {
        return wrong(w, "session %d changed in a pause", at);
    }
    if (hold < 0 || bonus < 0 || bonus > hold) return wrong(w, "I2: session %d holds %" PRId64 ", bonus %" PRId64, at, hold, bonus);
    if (upto < s->upto || lease < s->lease || upto > lease) return wrong(w, "I5: session %d went back", at);
    if (s->limit && lease > t0 + s->limit * 1000) return wrong(w, "session %d has a lease past its limit", at);
    if (due != price(s, upto - t0)) return wrong(w, "I4: session %d was charged %" PRId64 " for %" PRId64 " ms", at, due, upto - t0);
    if (due != s->charged) return wrong(w, "session %d: due %" PRId64 ", the outbox says %" PRId64, at, due, s->charged);
    if (closed && hold != 0) return wrong(w, "session %d is closed and holds %" PRId64, at, hold);
    if (!closed && due + hold < price(s, lease - t0)) return wrong(w, "session %d has a lease that is not covered", at);
    if (s->closed && (!closed || due != s->due)) return wrong(w, "session %d changed after its close", at);
    s->made = true;
    s->t0 = t0;
    s->paused = pause;
    *granted += taken;
    if (!closed) leased[s->wallet] += lease - upto;
    s->closed = closed;
    s->upto = upto;
    s->lease = lease;
    s->due = due;
    held[s->wallet] += hold;
    hb[s->wallet] += bonus;
    return true;
}

/// I1 to I9 over everything there is.
static bool audit_all(struct world *w) {
    int64_t held[WALLETS] = {0}, hb[WALLETS] = {0}, leased[WALLETS] = {0};
    int64_t granted = 0, had = 0;
    if (!audit_outbox(w)) return false;
    for (int i = 0; i < w->session_count; i++) {
        if (!audit_session(w, i, held, hb, &granted, leased)) return false;
    }
    for (int i = 0; i < w->hold_count; i++) {
        if (w->holds[i].over) continue;
        redisReply *f = take(w);
        w->holds[i].over = f->elements > 0 && strcmp(text_of(f, "st"), "held") != 0;
        held[w->holds[i].wallet] += integer_of(f, "hold");
        hb[w->holds[i].wallet] += integer_of(f, "hb");
        bool below_zero = integer_of(f, "hb") < 0 || integer_of(f, "hb") > integer_of(f, "hold");
        freeReplyObject(f);
        if (below_zero) return wrong(w, "I2: hold o%d", w->holds[i].op);
    }
    for (int i = 0; i < WALLETS; i++) {
        redisReply *f = take(w);
        int64_t paid = integer_of(f, "paid"), bonus = integer_of(f, "bonus");
        int64_t sum = integer_of(f, "held"), sum_bonus = integer_of(f, "hb");
        int64_t debt = integer_of(f, "debt"), seq = integer_of(f, "seq");
        int64_t used = integer_of(f, "dused"), today = integer_of(f, "dheld");
        int64_t site = integer_of(f, "dsite"), own = integer_of(f, "down");
        granted += grant_seconds(text_of(f, "grants"));
        had += w->wallets[i].granted;
        freeReplyObject(f);
        if (today != leased[i]) return wrong(w, "I9: wallet %d leases %" PRId64 " ms, its sessions %" PRId64, i + 1, today, leased[i]);
        int64_t most = site == 0 || own == 0 ? site + own : site < own ? site : own;
        if (used + today > w->wallets[i].watched && most > 0 && used + today > most) {
            return wrong(w, "I9: wallet %d may watch longer than its day", i + 1);
        }
        w->wallets[i].watched = used + today;
        if (paid < 0 || bonus < 0 || sum < 0 || debt < 0) {
            return wrong(w, "I1: wallet %d is below zero", i + 1);
        }
        if (sum != held[i] || sum_bonus != hb[i]) {
            return wrong(w, "I2: wallet %d reserves %" PRId64 ", its sessions %" PRId64, i + 1, sum, held[i]);
        }
        if (paid + bonus + sum != w->wallets[i].sum) {
            return wrong(w, "I3: wallet %d has %" PRId64 ", booked %" PRId64, i + 1, paid + bonus + sum,
                         w->wallets[i].sum);
        }
        if (debt != w->wallets[i].debt) return wrong(w, "wallet %d owes another sum than was booked", i + 1);
        if (seq != w->wallets[i].seq) return wrong(w, "I6: wallet %d is at change %" PRId64, i + 1, seq);
    }
    if (w->grants_end ? granted > had : granted != had) {
        return wrong(w, "I8: %" PRId64 " seconds were granted, %" PRId64 " are there", had, granted);
    }
    return true;
}

static bool audit(struct world *w) {
    order(w, "XRANGE b:{03}:out (%s +", w->last_id);
    for (int i = 0; i < w->session_count; i++) order(w, "HGETALL b:{03}:s:s%d", i);
    for (int i = 0; i < w->hold_count; i++) {
        if (!w->holds[i].over) order(w, "HGETALL b:{03}:i:o%d", w->holds[i].op);
    }
    for (int i = 0; i < WALLETS; i++) order(w, "HGETALL b:{03}:w:%d", i + 1);
    bool fine = audit_all(w);
    while (w->asked > 0) freeReplyObject(take(w)); // of an audit that stopped early
    return fine;
}
#endif
