// The invariants of docs/billing.md, attacked: random operations on the functions inside a real Redis,
// with repeats, reordering, clocks that jump, lost replies, cut connections and kill -9. After every
// single operation the auditor of billing_model.h looks at everything that they wrote. Deliberately
// broken copies of the functions must be caught.
//
//   billing_model_test [--seconds N] [--seed N]     a longer run, or one again that failed
//   billing_model_test --broken yes                 only the broken copies: what became of each
#include "base/buffer.h"
#include "base/random.h"
#include "billing_model.h"

extern const char billing_functions[];

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
        w->repeats++;
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
        kill_redis(w);
        if (!audit(w)) return false;
    }
    return w->problem[0] == 0;
}

static void world_begin(struct world *w, uint64_t seed, const char *code) {
    struct redis_server server = w->server;
    redisContext *redis = w->redis;
    hash_free(&w->ops);
    long operations = w->operations, kills = w->kills, refusals = w->refusals;
    long cuts = w->cuts, repeats = w->repeats;
    *w = (struct world){.server = server, .redis = redis, .random = seed * 0x9E3779B97F4A7C15u + 1,
                        .seed = seed, .now = 1700000000000, .code = code, .grants_end = seed % 2 == 0,
                        .operations = operations, .kills = kills, .cuts = cuts, .repeats = repeats,
                        .refusals = refusals};
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
static bool only_broken;

static void the_invariants_hold_whatever_happens(void **state) {
    (void)state;
    time_t end = time(NULL) + seconds;
    if (seconds) rarely = 2000;
    uint64_t seed = first_seed;
    int rounds = 0;
    do {
        long before = world.operations;
        if (!play(&world, seed, billing_functions, OPS, true)) {
            fail_msg("operation %ld of seed %" PRIu64 ": %s\n"
                     "again: tools/fault billing --model --seconds %d --seed %" PRIu64,
                     world.operations - before, seed, world.problem, seconds ? 1 : 0, seed);
        }
        seed++;
        rounds++;
    } while (seconds ? time(NULL) < end : rounds < 6);
    print_message("model: seeds %" PRIu64 " to %" PRIu64 ": %ld operations, %ld repeated out of order, "
                  "%ld refused, %ld kills, %ld cuts\n", first_seed, seed - 1, world.operations,
                  world.repeats, world.refusals, world.kills, world.cuts);
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
        {"a repeated debit charges again", "if known then return wallet_reply(w, known.p, known.b, known.d, 1) end\n  local side", "local side"},
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
        if (only_broken) {
            print_message("caught with seed %" PRIu64 ": %s: %s\n", world.seed, mutants[i].what, world.problem);
        }
    }
}

static int set_up(void **state) {
    (void)state;
    world.server.fsync = "always";
    redis_server_start(&world.server);
    reach(&world);
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
        if (strcmp(arguments[i], "--broken") == 0) only_broken = true;
        if (strcmp(arguments[i], "--seed") == 0) first_seed = strtoull(arguments[i + 1], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_invariants_hold_whatever_happens),
        cmocka_unit_test(broken_copies_of_the_functions_are_caught),
    };
    const struct CMUnitTest mutants[] = {cmocka_unit_test(broken_copies_of_the_functions_are_caught)};
    return only_broken ? cmocka_run_group_tests(mutants, set_up, tear_down)
                       : cmocka_run_group_tests(tests, set_up, tear_down);
}
