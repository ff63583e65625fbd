// The invariants of docs/billing.md, attacked: random operations on the functions inside a real Redis,
// with repeats, reordering, clocks that jump, lost replies and kill -9. After every single operation an
// auditor that shares no code with the functions looks at everything that they wrote. Deliberately
// broken copies of the functions must be caught.
//
//   billing_model_test [--seconds N] [--seed N]     a longer run, or one again that failed
#include <inttypes.h>
#include <time.h>
#include "base/buffer.h"
#include "base/hash.h"
#include "base/random.h"
#include "redis_server.h"
#include <hiredis/hiredis.h>

extern const char billing_functions[];

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
    long operations, kills, refusals;
    char problem[ERROR];
};

/// One operation in so many meets a kill. In a long run less often: a restart takes the time of hundreds.
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

static void connect_again(struct world *w) {
    if (w->redis) redisFree(w->redis);
    redis_server_start(&w->server);
    w->redis = redisConnectUnix(w->server.path);
    assert_non_null(w->redis);
    assert_int_equal(w->redis->err, 0);
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

/// Runs it; sometimes the reply is lost because Redis is killed at that moment, and it is sent again.
static redisReply *run(struct world *w, const struct command *c, bool kills) {
    redisReply *reply = NULL;
    w->operations++;
    append(w, c);
    if (kills && below(w, rarely) == 0) {
        int done = 0;
        while (!done && redisBufferWrite(w->redis, &done) == REDIS_OK) continue;
        if (chance(w, 50)) poll(NULL, 0, (int)below(w, 3)); // so that some ran and some did not
        redis_server_stop(&w->server, SIGKILL);
        w->kills++;
        connect_again(w);
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

static void keys_of(struct command *c, const char *function, int wallet, const char *op) {
    word(c, "FCALL");
    word(c, "%s", function);
    word(c, "3");
    word(c, "b:{03}:w:%d", wallet + 1);
    word(c, "b:{03}:out");
    word(c, "b:{03}:i:%s", op);
    word(c, "%d", wallet + 1);
    word(c, "%s", op);
}

/// Takes a hold, or ends one of those before.
static struct command make_hold_operation(struct world *w) {
    struct command c = {0};
    bool fresh = w->hold_count == 0 || chance(w, 50);
    int op = w->op_count++, held = fresh ? op : w->holds[w->hold_count - 1 - below(w, w->hold_count < 4 ? w->hold_count : 4)].op;
    int wallet = fresh ? (int)below(w, WALLETS) : 0;
    for (int i = 0; i < w->hold_count && !fresh; i++) {
        if (w->holds[i].op == held) wallet = w->holds[i].wallet;
    }
    bool giving_back = !fresh && chance(w, 40);
    word(&c, "FCALL");
    word(&c, fresh ? "fl_hold" : giving_back ? "fl_release" : "fl_capture");
    word(&c, fresh ? "4" : giving_back ? "3" : "5");
    word(&c, "b:{03}:w:%d", wallet + 1);
    if (!giving_back) {
        word(&c, "b:{03}:out");
        word(&c, "b:{03}:i:o%d", op);
    }
    word(&c, "b:{03}:due");
    if (!fresh) word(&c, "b:{03}:i:o%d", held);
    word(&c, "%d", wallet + 1);
    word(&c, "o%d", giving_back ? held : op);
    if (giving_back) {
        word(&c, chance(w, 50) ? "" : "30000");
    } else {
        word(&c, "%" PRId64, 1 + below(w, 60) * 50001);
        if (fresh) {
            word(&c, "9");
            word(&c, "private");
            word(&c, "%" PRId64, 1 + below(w, 100));
            w->holds[w->hold_count].op = op;
            w->holds[w->hold_count++].wallet = wallet;
        } else {
            word(&c, "o%d", held);
            for (int i = 0; i < 3; i++) word(&c, "%s", "");
        }
    }
    word(&c, "%" PRId64, w->now);
    return c;
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

/// Adjustments, reversals, grants and limits.
static struct command make_staff_operation(struct world *w) {
    struct command c = {0};
    char op[32];
    int wallet = (int)below(w, WALLETS), kind = (int)below(w, 10);
    bool again = kind >= 3 && kind < 6 && chance(w, 50);
    int64_t amount = (1 + below(w, 60)) * 100001;
    if (again) wallet = w->undone_wallet;
    snprintf(op, sizeof op, "o%d", w->op_count++);
    if (kind < 3) {
        keys_of(&c, "fl_adjust", wallet, op);
        word(&c, "%s%" PRId64, chance(w, 50) ? "-" : "", amount);
        word(&c, chance(w, 50) ? "paid" : "bonus");
    } else if (kind < 6) {
        int original = again ? w->undone : (int)below(w, w->op_count);
        if (!again && chance(w, 80)) wallet = (int)w->ops_done[original].wallet;
        c.count = 0;
        keys_of(&c, "fl_reverse", wallet, op);
        snprintf(c.words[2], TEXT, "4");
        c.count -= 2;
        w->undone = original;
        w->undone_wallet = wallet;
        word(&c, "b:{03}:i:o%d", original);
        word(&c, "%d", wallet + 1);
        word(&c, "%s", op);
        word(&c, "o%d", original);
    } else if (kind < 9) {
        keys_of(&c, "fl_grant", wallet, op);
        word(&c, "%" PRId64, 1 + below(w, 40));
        word(&c, "%" PRId64, w->grants_end && chance(w, 50) ? w->now + 1 + below(w, 60000) : 0);
        word(&c, chance(w, 50) ? "0" : "9");
    } else {
        keys_of(&c, "fl_limit", wallet, op);
        word(&c, chance(w, 50) ? "site" : "own");
        word(&c, "%" PRId64, chance(w, 30) ? 0 : 10 + below(w, 400));
    }
    word(&c, "because");
    word(&c, "staff");
    word(&c, "%" PRId64, w->now);
    return c;
}

static struct command make_wallet_operation(struct world *w) {
    struct command c = {0};
    char op[32];
    int wallet = (int)below(w, WALLETS), kind = (int)below(w, 10);
    if (chance(w, 25)) return make_hold_operation(w);
    if (chance(w, 30)) return make_staff_operation(w);
    if (kind == 9 && !chance(w, 15)) kind = 0; // a chargeback freezes, and frozen wallets do little
    snprintf(op, sizeof op, "o%d", w->op_count++);
    int64_t amount = 1 + below(w, chance(w, 20) ? 400 : 60) * 100001;
    if (kind < 4) {
        keys_of(&c, "fl_credit", wallet, op);
        word(&c, "%" PRId64, amount);
        word(&c, chance(w, 60) ? "paid" : "bonus");
        for (int i = 0; i < 4; i++) word(&c, i == 0 ? "purchase" : "");
    } else if (kind < 7) {
        keys_of(&c, "fl_debit", wallet, op);
        word(&c, "%" PRId64, amount / 4 + 1);
        word(&c, "9");
        for (int i = 0; i < 4; i++) word(&c, i == 0 ? "tip" : "");
    } else if (kind < 8) {
        int original = (int)below(w, w->op_count);
        bool session = chance(w, 50) && w->session_count > 0;
        if (!session && chance(w, 50)) {
            original = w->undone;
            wallet = w->undone_wallet;
        }
        keys_of(&c, "fl_refund", wallet, op);
        snprintf(c.words[2], TEXT, "5");
        // The two keys of the original stand before the arguments.
        c.count -= 2;
        word(&c, "b:{03}:i:%s%d", session ? "s" : "o", session ? original % w->session_count : original);
        word(&c, "b:{03}:s:%s%d", session ? "s" : "o", session ? original % w->session_count : original);
        word(&c, "%d", wallet + 1);
        word(&c, "%s", op);
        word(&c, "%" PRId64, chance(w, 50) ? 0 : amount / 8 + 1);
        word(&c, "%s%d", session ? "s" : "o", session ? original % w->session_count : original);
        word(&c, "%s", "");
        word(&c, "%s", "");
    } else if (kind < 9) {
        keys_of(&c, "fl_freeze", wallet, op);
        word(&c, chance(w, 10) ? "1" : "0");
        word(&c, "%s", "");
        word(&c, "%s", "");
    } else {
        keys_of(&c, "fl_chargeback", wallet, op);
        word(&c, "%" PRId64, amount);
        word(&c, "%s", "");
        word(&c, "%s", "");
    }
    word(&c, "%" PRId64, w->now);
    return c;
}

static void meter_keys(struct command *c, const char *function, int sid, int wallet) {
    word(c, "FCALL");
    word(c, "%s", function);
    word(c, "5");
    word(c, "b:{03}:s:s%d", sid);
    word(c, "b:{03}:w:%d", wallet + 1);
    word(c, "b:{03}:due");
    word(c, "b:{03}:out");
    word(c, "b:{03}:epoch");
    word(c, "%d", wallet + 1);
    word(c, "s%d", sid);
}

static struct command make_open(struct world *w) {
    static const int64_t increments[] = {1, 1, 6, 60}, limits[] = {0, 0, 7, 90};
    struct command c = {0};
    struct session *s = &w->sessions[w->session_count];
    *s = (struct session){.wallet = (int)below(w, WALLETS), .rate = 1 + below(w, 200) * 333331,
                          .increment = increments[below(w, 4)], .limit = limits[below(w, 4)],
                          .minimum = chance(w, 30) ? below(w, 3000000) : 0,
                          .free_s = chance(w, 30) ? below(w, 12) : 0, .quantum = 1 + below(w, 20),
                          .off = chance(w, 25) ? below(w, 10000) : 0};
    s->free = s->free_s;
    meter_keys(&c, "fl_open", w->session_count++, s->wallet);
    word(&c, "%" PRId64, s->rate);
    word(&c, "%" PRId64, s->increment);
    word(&c, "%" PRId64, s->minimum);
    word(&c, "%" PRId64, s->free_s);
    word(&c, "%" PRId64, s->limit);
    word(&c, "%" PRId64, s->quantum);
    word(&c, "9");
    word(&c, "%" PRId64, s->off);
    word(&c, "%" PRId64, w->now);
    return c;
}

static struct command make_meter_operation(struct world *w) {
    struct command c = {0};
    int recent = w->session_count < 5 || chance(w, 10) ? w->session_count : 5;
    int sid = w->session_count - 1 - (int)below(w, recent);
    const struct session *s = &w->sessions[sid];
    int64_t ago = chance(w, 50) ? 0 : below(w, 20000);
    int pausing = chance(w, 15) ? 1 + (int)below(w, 4) : 0;
    if (pausing) {
        bool begins = chance(w, 50);
        meter_keys(&c, begins ? "fl_pause" : "fl_resume", sid, s->wallet);
        if (begins) word(&c, "%" PRId64, ago);
        word(&c, "%d", pausing);
    } else if (chance(w, 85)) {
        meter_keys(&c, "fl_tick", sid, s->wallet);
        word(&c, "%" PRId64, ago);
    } else {
        meter_keys(&c, "fl_close", sid, s->wallet);
        word(&c, "%" PRId64, ago);
        word(&c, chance(w, 50) ? "" : "30000");
        word(&c, "done");
    }
    word(&c, "%" PRId64, w->now);
    return c;
}

static void move_clock(struct world *w) {
    int kind = (int)below(w, 100);
    if (kind < 60) {
        w->now += below(w, 3000);
    } else if (kind < 95) {
        w->now += below(w, 400);
    } else if (kind < 98) {
        w->now -= below(w, 15000); // a clock that is put back
    } else {
        w->now += below(w, 120000); // … or leaps
    }
}

static bool step(struct world *w, bool kills) {
    struct command c;
    bool repeat = w->history_count > 0 && chance(w, 25);
    move_clock(w);
    if (repeat) {
        c = w->history[below(w, w->history_count)]; // as it was, its old clock included
    } else if (chance(w, 35)) {
        c = make_wallet_operation(w);
    } else if (w->session_count == 0 || (chance(w, 8) && w->session_count < SESSIONS)) {
        c = make_open(w);
    } else {
        c = make_meter_operation(w);
    }
    redisReply *reply = run(w, &c, kills);
    bool refused = reply->type == REDIS_REPLY_ERROR;
    if (refused && strncmp(reply->str, "ERR", 3) == 0) wrong(w, "%s: %s", c.words[1], reply->str);
    freeReplyObject(reply);
    if (refused) w->refusals++;
    w->history[w->history_count < HISTORY ? w->history_count++ : below(w, HISTORY)] = c;
    if (!audit(w)) return false;
    if (kills && below(w, 2 * rarely) == 0) {
        redis_server_stop(&w->server, SIGKILL);
        w->kills++;
        connect_again(w);
        if (!audit(w)) return false;
    }
    return w->problem[0] == 0;
}

static void world_begin(struct world *w, uint64_t seed, const char *code) {
    struct redis_server server = w->server;
    redisContext *redis = w->redis;
    hash_free(&w->ops);
    long operations = w->operations, kills = w->kills, refusals = w->refusals;
    *w = (struct world){.server = server, .redis = redis, .random = seed * 0x9E3779B97F4A7C15u + 1,
                        .seed = seed, .now = 1700000000000, .code = code, .grants_end = seed % 2 == 0, .operations = operations,
                        .kills = kills, .refusals = refusals};
    snprintf(w->last_id, sizeof w->last_id, "0-0");
    freeReplyObject(ask(w, "FLUSHALL"));
    redisReply *reply = ask(w, "FUNCTION LOAD REPLACE %s", code);
    if (reply->type == REDIS_REPLY_ERROR) fail_msg("%s", reply->str);
    freeReplyObject(reply);
}

/// Steps until something is wrong. True if nothing was.
static bool play(struct world *w, uint64_t seed, const char *code, int steps, bool kills) {
    world_begin(w, seed, code);
    for (int i = 0; i < steps; i++) {
        if (!step(w, kills)) return false;
    }
    return true;
}

static struct world world;
static long seconds;
static uint64_t first_seed;

static void the_invariants_hold_whatever_happens(void **state) {
    (void)state;
    time_t end = time(NULL) + seconds;
    if (seconds) rarely = 2000;
    uint64_t seed = first_seed;
    int rounds = 0;
    do {
        if (!play(&world, seed, billing_functions, OPS, true)) {
            fail_msg("seed %" PRIu64 "%s, operation %ld: %s", seed,
                     seconds ? " (of a run with --seconds)" : "", world.operations, world.problem);
        }
        seed++;
        rounds++;
    } while (seconds ? time(NULL) < end : rounds < 6);
    print_message("seeds %" PRIu64 " to %" PRIu64 ": %ld operations, %ld refused, %ld kills\n", first_seed,
                  seed - 1, world.operations, world.refusals, world.kills);
    assert_true(world.refusals < world.operations * 3 / 4); // it was not all refusals
}

/// The functions with one text replaced by another.
static char *broken_copy(const char *from, const char *to) {
    const char *at = strstr(billing_functions, from);
    if (!at) fail_msg("there is no '%s' in the functions any more", from);
    struct buffer out = {0};
    buffer_append(&out, billing_functions, (size_t)(at - billing_functions));
    buffer_append_text(&out, to);
    buffer_append_text(&out, at + strlen(from));
    char *code = memory_copy_string(buffer_text(&out));
    buffer_free(&out);
    return code;
}

static void broken_copies_of_the_functions_are_caught(void **state) {
    (void)state;
    static const struct {
        const char *what, *from, *to;
    } mutants[] = {
        {"a repeated credit counts again", "if known then return wallet_reply(w, known.p, known.b, known.d, 1) end\n  if w.paid + w.bonus", "if w.paid + w.bonus"},
        {"close keeps what was reserved", "w.bonus, w.paid = w.bonus + s.hb, w.paid + s.hold - s.hb", ""},
        {"a late tick charges again", "at = math.max(s.upto, math.min(at, s.dl))", "at = math.min(at, s.dl)"},
        {"a charge is not capped by the lease", "at = math.max(s.upto, math.min(at, s.dl))", "at = math.max(s.upto, at)"},
        {"rounding by parts", "local amount = math.min(price(s, at - s.t0) - s.due, s.hold)", "local amount = math.min(price(s, at - s.upto), s.hold)"},
        {"a tick's charge is not told", "if p + b > 0 then meter_emit", "if p + b > 1000000 then meter_emit"},
        {"a released hold keeps its credits", "w.bonus, w.paid = w.bonus + h.hb, w.paid + h.hold - h.hb", ""},
        {"a hold is captured twice", "if h.st ~= 'held' then return fail('CLOSED', 'the hold is over') end\n  if amount > h.hold then", "if amount > 999999999 then"},
        {"an operation is reversed twice", "if v[10] then return fail('NOTREFUNDABLE', 'it was reversed already') end", ""},
        {"what was reversed is refunded", "if v[8] then return fail('NOTREFUNDABLE', 'the original was reversed') end", ""},
        {"time passes in a pause", "s.t0, s.upto, s.dl, s.pz = s.t0 + passed, s.upto + passed, s.dl + passed, 0", "s.upto, s.dl, s.pz = s.upto + passed, s.dl + passed, 0"},
        {"granted seconds do not come back", "if #back > 0 then w.grants =", "if #back > 99 then w.grants ="},
        {"granted seconds are not used up", "sum, g.left = sum + some, g.left - some", "sum = sum + some"},
        {"a day has no end", "if wanted > reach then wanted, s.why = reach, 'daily' end", ""},
        {"a percentage is forgotten", "math.max(divide(s.list * (10000 - s.off), 10000), 1)", "s.list"},
        {"a tick in a pause charges", "if s.st ~= 'open' or s.pz > 0 then return meter_reply", "if s.st ~= 'open' then return meter_reply"},
        {"bonus is held as paid", "s.hold, s.hb, s.dl = s.hold + more, s.hb + b, s.t0 + wanted", "s.hold, s.hb, s.dl = s.hold + more, s.hb, s.t0 + wanted"},
    };
    for (size_t i = 0; i < sizeof mutants / sizeof *mutants; i++) {
        char *code = broken_copy(mutants[i].from, mutants[i].to);
        bool caught = false;
        for (uint64_t seed = 1; seed <= 10 && !caught; seed++) caught = !play(&world, seed, code, OPS, false);
        memory_free(code);
        if (!caught) fail_msg("not caught: %s", mutants[i].what);
    }
}

static int set_up(void **state) {
    (void)state;
    world.server.fsync = "always";
    connect_again(&world);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    redisFree(world.redis);
    hash_free(&world.ops);
    redis_server_remove(&world.server);
    return 0;
}

int main(int count, char **arguments) {
    first_seed = random_below(1000000);
    for (int i = 1; i + 1 < count; i += 2) {
        if (strcmp(arguments[i], "--seconds") == 0) seconds = atol(arguments[i + 1]);
        if (strcmp(arguments[i], "--seed") == 0) first_seed = strtoull(arguments[i + 1], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_invariants_hold_whatever_happens),
        cmocka_unit_test(broken_copies_of_the_functions_are_caught),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
