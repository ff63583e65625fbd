// runtime.billing: wallets, meters and the outbox (docs/billing.md).
//
// What a person may meet comes back as nil and a reason ("no_funds", "frozen" …); what is wrong in
// the program, and what says that billing itself is out of order, is raised. credit raises whatever
// goes wrong: a caller that goes on as if it had worked would lose somebody's money.
#include <stdio.h>

#include "base/escape.h"
#include "billing/errors.h"
#include "billing/meter.h"
#include "billing/outbox.h"
#include "lua/lua_billing.h"
#include "lua/pending.h"
#include "lua/runtime.h"

struct billing *lua_billing_of(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    if (!runtime->billing) luaL_error(L, "billing is not available in the %s service", runtime->service);
    return runtime->billing;
}

// ---- operations -----------------------------------------------------------------------------

const char *lua_billing_reason(const char *error) {
    static const char *const reasons[][2] = {
        {"NOFUNDS", "no_funds"},       {"FROZEN", "frozen"},
        {"DUPLICATE", "duplicate"},    {"TOOMUCH", "too_much"},
        {"CLOSED", "closed"},          {"NOORIGINAL", "no_original"},
        {"UNKNOWN", "unknown"},        {"NOTREFUNDABLE", "not_refundable"},
        {"UNKNOWNSID", "unknown"},     {"STALE", "stale"},
        {"DAYLIMIT", "day_limit"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (billing_error_is(error, reasons[i][0])) return reasons[i][1];
    }
    return "refused";
}

static void set_integer(lua_State *L, const char *name, int64_t value) {
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

static void push_balance(lua_State *L, const struct balance *balance) {
    lua_createtable(L, 0, 10);
    set_integer(L, "account", balance->account);
    set_integer(L, "paid", balance->paid);
    set_integer(L, "bonus", balance->bonus);
    set_integer(L, "held", balance->held);
    set_integer(L, "debt", balance->debt);
    set_integer(L, "seq", balance->seq);
    lua_pushboolean(L, balance->frozen);
    lua_setfield(L, -2, "frozen");
}

static void finish(lua_State *co, const struct billing_result *result, bool strict) {
    if (result->error) {
        bool refused = billing_error_fault(result->error) == BILLING_REFUSED ||
                       billing_error_is(result->error, "DUPLICATE");
        if (strict || !refused) {
            lua_pending_fail(co, "billing: %s", result->error);
            return;
        }
        lua_pushnil(co);
        lua_pushstring(co, lua_billing_reason(result->error));
        lua_pending_resume(co, 2);
        return;
    }
    push_balance(co, &result->balance);
    set_integer(co, "paid_change", result->paid);
    set_integer(co, "bonus_change", result->bonus);
    lua_pushboolean(co, result->repeated);
    lua_setfield(co, -2, "repeated");
    lua_pending_resume(co, 1);
}

void lua_billing_done(void *context, const struct billing_result *result) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (co) finish(co, result, false);
}

void lua_billing_done_strict(void *context, const struct billing_result *result) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (co) finish(co, result, true);
}

/// What a wrong value of a field is called (billing/errors.h).
static const char *word_of(const char *name) {
    static const char *const words[][2] = {
        {"amount", "BADAMOUNT"}, {"account", "BADACCOUNT"}, {"payee", "BADPAYEE"},
        {"seconds", "BADTIME"},  {"until_ms", "BADTIME"},   {"op", "BADKEY"},
        {"original", "BADKEY"},  {"bucket", "BADBUCKET"},   {"type", "BADTYPE"},
        {"reason", "BADREASON"}, {"actor", "BADACTOR"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(name, words[i][0]) == 0) return words[i][1];
    }
    return "BADTERMS";
}

/// A whole number in field `name` of the table at 1. Fractions are refused here: amounts have none.
int64_t lua_billing_integer(lua_State *L, const char *name, bool optional) {
    int64_t value = 0;
    if (lua_getfield(L, 1, name) == LUA_TNIL && optional) {
        lua_pop(L, 1);
        return 0;
    }
    if (!lua_isinteger(L, -1)) {
        luaL_error(L, "billing: %s %s must be a whole number, not %s", word_of(name), name,
                   luaL_tolstring(L, -1, NULL));
    }
    value = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

/// The text of field `name`; it stays on the stack, so that it stays valid.
struct slice lua_billing_text(lua_State *L, const char *name, const char *otherwise) {
    int type = lua_getfield(L, 1, name);
    if (type == LUA_TNIL && otherwise) return slice_of(otherwise);
    if (type != LUA_TSTRING) luaL_error(L, "billing: %s %s must be text", word_of(name), name);
    size_t size;
    const char *text = lua_tolstring(L, -1, &size);
    return slice_make(text, size);
}

/// What the ledger keeps with a tip, as JSON on the top of the stack.
static struct slice field_extra(lua_State *L) {
    static const char *const texts[] = {"message", "slug"};
    struct buffer out = {0};
    struct slice values[2];
    values[0] = lua_billing_text(L, "message", "");
    values[1] = lua_billing_text(L, "slug", "");
    lua_getfield(L, 1, "anonymous");
    bool anonymous = lua_toboolean(L, -1);
    if (values[0].size == 0 && values[1].size == 0 && !anonymous) return SLICE("");
    if (values[0].size > 1000 || values[1].size > 100) luaL_error(L, "billing: message is too long");
    buffer_append_text(&out, anonymous ? "{\"anonymous\":true" : "{\"anonymous\":false");
    for (int i = 0; i < 2; i++) {
        if (values[i].size == 0) continue;
        buffer_printf(&out, ",\"%s\":\"", texts[i]);
        escape_json(&out, values[i]);
        buffer_append_char(&out, '"');
    }
    buffer_append_char(&out, '}');
    lua_pushlstring(L, out.data, out.size);
    buffer_free(&out);
    size_t size;
    const char *text = lua_tolstring(L, -1, &size);
    return slice_make(text, size);
}

struct billing_operation lua_billing_operation(lua_State *L, const char *type) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    luaL_checkstack(L, 24, "billing");
    // Money never gets into a wallet of credits, whoever mixes them up.
    if (lua_getfield(L, 1, "currency") != LUA_TNIL &&
        (lua_type(L, -1) != LUA_TSTRING || strcmp(lua_tostring(L, -1), "CRD") != 0)) {
        luaL_error(L, "billing: BADCURRENCY wallets hold credits (CRD)");
    }
    lua_pop(L, 1);
    struct billing_operation operation = {
        .op = lua_billing_text(L, "op", NULL),
        .account = lua_billing_integer(L, "account", false),
        .payee = lua_billing_integer(L, "payee", true),
        .bucket = lua_billing_text(L, "bucket", "paid"),
        .type = lua_billing_text(L, "type", type),
        .reason = lua_billing_text(L, "reason", ""),
        .actor = lua_billing_text(L, "actor", "system"),
        .original = lua_billing_text(L, "original", ""),
    };
    operation.extra = field_extra(L);
    return operation;
}

// credit { op=, account=, amount=, bucket="paid"|"bonus", type=, reason=, actor= }: the wallet, with
// `repeated`. Raises whenever the credits are not there afterwards.
static int billing_credit(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    struct billing_operation operation = lua_billing_operation(L, "adjustment");
    operation.amount = lua_billing_integer(L, "amount", false);
    lua_pending handle = lua_pending_begin(L, "billing.credit", NULL, NULL);
    wallet_credit(billing, &operation, lua_billing_done_strict, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

static int debit(lua_State *L, const char *type, const char *what) {
    struct billing *billing = lua_billing_of(L);
    struct billing_operation operation = lua_billing_operation(L, type);
    operation.amount = lua_billing_integer(L, "amount", false);
    lua_pending handle = lua_pending_begin(L, what, NULL, NULL);
    wallet_debit(billing, &operation, lua_billing_done, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// tip { op=, account=, amount=, payee=, message=, slug=, anonymous= }: the wallet, or nil and
// "no_funds", "frozen", "duplicate" (the key was used for another tip).
static int billing_tip(lua_State *L) { return debit(L, "tip", "billing.tip"); }

// debit { …, type= }: as tip, for anything else that takes credits.
static int billing_debit(lua_State *L) { return debit(L, "adjustment", "billing.debit"); }

// refund { op=, account=, original=, amount=, reason=, actor= }: without amount, all that is left.
static int billing_refund(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    struct billing_operation operation = lua_billing_operation(L, "refund");
    operation.amount = lua_billing_integer(L, "amount", true);
    lua_pending handle = lua_pending_begin(L, "billing.refund", NULL, NULL);
    wallet_refund(billing, &operation, lua_billing_done, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// hold { op=, account=, amount=, payee=, type=, seconds= }: sets credits aside. nil and a reason as tip.
static int billing_hold(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    struct billing_operation operation = lua_billing_operation(L, "private");
    operation.amount = lua_billing_integer(L, "amount", false);
    operation.life_s = lua_billing_integer(L, "seconds", false);
    lua_pending handle = lua_pending_begin(L, "billing.hold", NULL, NULL);
    wallet_hold(billing, &operation, lua_billing_done, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// capture { op=, account=, original= (the hold's op), amount= }: takes it; the rest goes back.
static int billing_capture(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    struct billing_operation operation = lua_billing_operation(L, "private");
    operation.amount = lua_billing_integer(L, "amount", false);
    lua_pending handle = lua_pending_begin(L, "billing.capture", NULL, NULL);
    wallet_capture(billing, &operation, lua_billing_done, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// release { op= (the hold's), account= }: nil and "closed" when it was captured.
static int billing_release_lua(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    struct billing_operation operation = lua_billing_operation(L, "private");
    lua_pending handle = lua_pending_begin(L, "billing.release", NULL, NULL);
    wallet_release(billing, &operation, lua_billing_done, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// chargeback { op=, account=, amount=, reason=, actor= }
static int billing_chargeback(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    struct billing_operation operation = lua_billing_operation(L, "chargeback");
    operation.amount = lua_billing_integer(L, "amount", false);
    lua_pending handle = lua_pending_begin(L, "billing.chargeback", NULL, NULL);
    wallet_chargeback(billing, &operation, lua_billing_done_strict, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// freeze { op=, account=, frozen=true|false, reason=, actor= }
static int billing_freeze(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    struct billing_operation operation = lua_billing_operation(L, "freeze");
    luaL_argcheck(L, lua_getfield(L, 1, "frozen") == LUA_TBOOLEAN, 1, "frozen must be true or false");
    bool frozen = lua_toboolean(L, -1);
    lua_pending handle = lua_pending_begin(L, "billing.freeze", NULL, NULL);
    wallet_freeze(billing, &operation, frozen, lua_billing_done_strict, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// wallet(account): { account, paid, bonus, held, debt, seq, frozen }
static int billing_wallet(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    lua_Integer account = luaL_checkinteger(L, 1);
    lua_pending handle = lua_pending_begin(L, "billing.wallet", NULL, NULL);
    wallet_balance(billing, account, lua_billing_done_strict, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// restore { account=, paid=, bonus=, debt=, seq=, frozen=, epoch= }: the wallet; `repeated` when it was
// not behind that change number and stayed as it was.
static int billing_restore(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct balance balance = {
        .account = lua_billing_integer(L, "account", false),
        .paid = lua_billing_integer(L, "paid", false),
        .bonus = lua_billing_integer(L, "bonus", false),
        .debt = lua_billing_integer(L, "debt", false),
        .seq = lua_billing_integer(L, "seq", false),
    };
    int64_t epoch = lua_billing_integer(L, "epoch", false);
    lua_getfield(L, 1, "frozen");
    balance.frozen = lua_toboolean(L, -1);
    lua_pending handle = lua_pending_begin(L, "billing.restore", NULL, NULL);
    wallet_restore(billing, &balance, epoch, lua_billing_done_strict, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// shard(account): 0 to 15
static int billing_shard_lua(lua_State *L) {
    lua_pushinteger(L, billing_shard(luaL_checkinteger(L, 1)));
    return 1;
}

// ---- meters ---------------------------------------------------------------------------------

/// A meter that Lua opened. It closes itself when it is cut; nobody in Lua plays pictures.
struct lua_meter {
    struct billing *billing;
    lua_pending waiting;
};

static void on_opened(void *context, const struct meter_opened *opened) {
    struct lua_meter *meter = context;
    lua_State *co = lua_pending_take(meter->waiting);
    meter->waiting = 0;
    if (!opened->ok) {
        memory_free(meter);
        if (!co) return;
        if (billing_error_fault(opened->reason) == BILLING_REFUSED ||
            billing_error_is(opened->reason, "DUPLICATE")) {
            lua_pushnil(co);
            lua_pushstring(co, lua_billing_reason(opened->reason));
            lua_pending_resume(co, 2);
        } else {
            lua_pending_fail(co, "billing: %s", opened->reason);
        }
        return;
    }
    if (!co) return;
    lua_createtable(co, 0, 4);
    set_integer(co, "deadline_ms", opened->deadline_ms);
    set_integer(co, "price", opened->price);
    lua_pushboolean(co, opened->final);
    lua_setfield(co, -2, "final");
    lua_pending_resume(co, 1);
}

static void on_cut(void *context, struct slice sid, const char *reason) {
    struct lua_meter *own = context;
    struct meter *meter = meter_find(own->billing, sid);
    if (meter) meter_close(meter, 0, reason);
}

static void on_closed(void *context, struct slice sid, int64_t price) {
    struct lua_meter *meter = context;
    (void)sid;
    lua_State *co = lua_pending_take(meter->waiting);
    memory_free(meter);
    if (!co) return;
    lua_pushinteger(co, price);
    lua_pending_resume(co, 1);
}

// open { sid=, account=, rate=, limit=, payee=, free=, increment=, minimum= } (seconds and
// micro-credits): { deadline_ms, final, price }, or nil and a reason. Evidence must follow.
static int billing_open(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct meter_terms terms = {
        .sid = lua_billing_text(L, "sid", NULL),
        .account = lua_billing_integer(L, "account", false),
        .rate = lua_billing_integer(L, "rate", false),
        .limit_s = lua_billing_integer(L, "limit", true),
        .payee = lua_billing_integer(L, "payee", true),
        .free_s = lua_billing_integer(L, "free", true),
        .increment_s = lua_billing_integer(L, "increment", true),
        .minimum = lua_billing_integer(L, "minimum", true),
        .off_bp = lua_billing_integer(L, "off", true),
    };
    if (meter_find(billing, terms.sid)) return luaL_error(L, "billing: this sid is open in this process");
    lua_pending handle = lua_pending_begin(L, "billing.open", NULL, NULL);
    struct lua_meter *meter = memory_zero(1, sizeof *meter);
    meter->billing = billing;
    meter->waiting = handle;
    struct meter_callbacks callbacks = {on_opened, on_cut, on_closed, meter};
    meter_open(billing, &terms, &callbacks);
    return lua_pending_yield(L, handle);
}

// pause(sid), resume(sid): the picture stops and goes on; no time passes between. False when it is not
// there.
static int pausing(lua_State *L, void (*change)(struct meter *meter)) {
    size_t size;
    const char *sid = luaL_checklstring(L, 1, &size);
    struct meter *meter = meter_find(lua_billing_of(L), slice_make(sid, size));
    if (meter) change(meter);
    lua_pushboolean(L, meter != NULL);
    return 1;
}
static int billing_pause(lua_State *L) { return pausing(L, meter_pause); }
static int billing_resume(lua_State *L) { return pausing(L, meter_resume); }

// evidence(sid): somebody watches now. False when this process does not keep that session (any more).
static int billing_evidence(lua_State *L) {
    size_t size;
    const char *sid = luaL_checklstring(L, 1, &size);
    struct meter *meter = meter_find(lua_billing_of(L), slice_make(sid, size));
    if (meter) meter_evidence(meter);
    lua_pushboolean(L, meter && meter_allows(meter));
    return 1;
}

// close(sid [, reason]): closes a session that open made, without waiting for the answer. False when
// it is not there.
static int billing_close(lua_State *L) {
    size_t size;
    const char *sid = luaL_checklstring(L, 1, &size);
    struct meter *meter = meter_find(lua_billing_of(L), slice_make(sid, size));
    if (meter) meter_close(meter, 0, luaL_optstring(L, 2, "closed"));
    lua_pushboolean(L, meter != NULL);
    return 1;
}

// ---- outbox ---------------------------------------------------------------------------------

static void on_look(void *context, const struct outbox_state *state) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (state->error) {
        lua_pending_fail(co, "billing: %s", state->error);
        return;
    }
    lua_createtable(co, BILLING_SHARDS, 0);
    for (int i = 0; i < BILLING_SHARDS; i++) {
        lua_createtable(co, 0, 4);
        set_integer(co, "shard", i);
        set_integer(co, "length", state->shard[i].length);
        set_integer(co, "last_ms", (int64_t)state->shard[i].last_ms);
        set_integer(co, "last_n", (int64_t)state->shard[i].last_n);
        lua_rawseti(co, -2, i + 1);
    }
    lua_pending_resume(co, 1);
}

// outbox.look(): for each shard { shard, length, last_ms, last_n }
static int outbox_look_lua(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    lua_pending handle = lua_pending_begin(L, "billing.outbox.look", NULL, NULL);
    outbox_look(billing, on_look, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

/// Fields whose values are numbers; the names are the scripts'.
static bool is_number_field(struct slice name) {
    static const char *const names[] = {"w",  "s",  "at",    "p",  "b", "d",
                                        "y",  "xt", "ms",    "tp", "tb", "total"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_equal(name, slice_of(names[i]))) return true;
    }
    return false;
}

/// The one-letter names of the stream as words.
static struct slice field_name(struct slice name) {
    static const char *const names[][2] = {
        {"w", "account"}, {"s", "seq"},     {"t", "type"},    {"o", "op"},     {"p", "paid"},
        {"b", "bonus"},   {"d", "debt"},    {"y", "payee"},   {"c", "actor"},  {"r", "reason"},
        {"j", "extra"},   {"x", "ref"},     {"xt", "ref_at"}, {"ms", "elapsed_ms"}, {"k", "of_type"},
        {"tp", "total_paid"}, {"tb", "total_bonus"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (slice_equal(name, slice_of(names[i][0]))) return slice_of(names[i][1]);
    }
    return name;
}

static void on_read(void *context, const struct outbox_batch *batch) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (batch->error) {
        lua_pending_fail(co, "billing: %s", batch->error);
        return;
    }
    lua_createtable(co, (int)batch->count, 0);
    for (size_t i = 0; i < batch->count; i++) {
        const struct outbox_entry *entry = &batch->entries[i];
        lua_createtable(co, 0, (int)entry->fields + 2);
        set_integer(co, "stream_ms", (int64_t)entry->ms);
        set_integer(co, "stream_n", (int64_t)entry->n);
        for (size_t k = 0; k < entry->fields; k++) {
            int64_t number;
            struct slice name = field_name(entry->names[k]), value = entry->values[k];
            lua_pushlstring(co, name.data, name.size);
            if (is_number_field(entry->names[k]) && slice_to_i64(value, &number)) {
                lua_pushinteger(co, number);
            } else {
                lua_pushlstring(co, value.data, value.size);
            }
            lua_rawset(co, -3);
        }
        lua_rawseti(co, -2, (lua_Integer)i + 1);
    }
    lua_pushinteger(co, batch->epoch);
    lua_pending_resume(co, 2);
}

static unsigned check_shard(lua_State *L, int index) {
    lua_Integer shard = luaL_checkinteger(L, index);
    luaL_argcheck(L, shard >= 0 && shard < BILLING_SHARDS, index, "a shard is 0 to 15");
    return (unsigned)shard;
}

// outbox.read(shard, after_ms, after_n, count): a list of entries, and the shard's epoch.
static int outbox_read_lua(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    unsigned shard = check_shard(L, 1);
    lua_Integer ms = luaL_checkinteger(L, 2), n = luaL_checkinteger(L, 3), count = luaL_checkinteger(L, 4);
    luaL_argcheck(L, ms >= 0 && n >= 0, 2, "an id is not negative");
    luaL_argcheck(L, count > 0 && count <= 10000, 4, "1 to 10000");
    lua_pending handle = lua_pending_begin(L, "billing.outbox.read", NULL, NULL);
    outbox_read(billing, shard, (uint64_t)ms, (uint64_t)n, (unsigned)count, on_read,
                lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

static void on_trimmed(void *context, const struct billing_result *result) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (result->error) {
        lua_pending_fail(co, "billing: %s", result->error);
    } else {
        lua_pending_resume(co, 0);
    }
}

// outbox.trim(shard, ms, n): forgets everything up to and including that entry.
static int outbox_trim_lua(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    unsigned shard = check_shard(L, 1);
    lua_Integer ms = luaL_checkinteger(L, 2), n = luaL_checkinteger(L, 3);
    luaL_argcheck(L, ms > 0 && n >= 0, 2, "an id is not negative");
    lua_pending handle = lua_pending_begin(L, "billing.outbox.trim", NULL, NULL);
    outbox_trim(billing, shard, (uint64_t)ms, (uint64_t)n, on_trimmed, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

static void on_scanned(void *context, const char *error, struct slice next, const int64_t *accounts,
                       size_t count) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (error) {
        lua_pending_fail(co, "billing: %s", error);
        return;
    }
    lua_createtable(co, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushinteger(co, accounts[i]);
        lua_rawseti(co, -2, (lua_Integer)i + 1);
    }
    lua_pushlstring(co, next.data, next.size);
    lua_pending_resume(co, 2);
}

// scan(cursor): a list of accounts that have a wallet, and the next cursor; "0" begins and ends.
static int billing_scan(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    size_t size;
    const char *cursor = luaL_checklstring(L, 1, &size);
    lua_pending handle = lua_pending_begin(L, "billing.scan", NULL, NULL);
    wallet_scan(billing, slice_make(cursor, size), on_scanned, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

int lua_open_billing(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"credit", billing_credit},   {"tip", billing_tip},
        {"debit", billing_debit},     {"refund", billing_refund},
        {"chargeback", billing_chargeback}, {"freeze", billing_freeze},
        {"wallet", billing_wallet},   {"balance", billing_wallet},
        {"restore", billing_restore}, {"shard", billing_shard_lua}, {"scan", billing_scan},
        {"hold", billing_hold},       {"capture", billing_capture},
        {"release", billing_release_lua},
        {"open", billing_open},       {"evidence", billing_evidence},
        {"pause", billing_pause},     {"resume", billing_resume},
        {"close", billing_close},     {NULL, NULL}};
    static const luaL_Reg outbox[] = {{"look", outbox_look_lua},
                                      {"read", outbox_read_lua},
                                      {"trim", outbox_trim_lua},
                                      {NULL, NULL}};
    luaL_newlib(L, functions);
    lua_billing_add_corrections(L);
    luaL_newlib(L, outbox);
    lua_setfield(L, -2, "outbox");
    return 1;
}
