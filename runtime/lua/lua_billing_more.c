// runtime.billing, the rest: what staff put right, free seconds, daily limits.
#include "lua/lua_billing.h"
#include "lua/pending.h"

typedef void operation_fn(struct billing *billing, const struct billing_operation *operation,
                          billing_done_fn *done, void *context);

static int run(lua_State *L, const char *name, const struct billing_operation *operation,
               operation_fn *call, bool strict) {
    struct billing *billing = lua_billing_of(L);
    lua_pending handle = lua_pending_begin(L, name, NULL, NULL);
    call(billing, operation, strict ? lua_billing_done_strict : lua_billing_done,
         lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// adjust { op=, account=, amount= (with its sign), bucket=, reason=, actor= }: nil, "no_funds" rather
// than below zero.
static int billing_adjust(lua_State *L) {
    struct billing_operation operation = lua_billing_operation(L, "adjustment");
    operation.amount = lua_billing_integer(L, "amount", false);
    lua_getfield(L, 1, "actor");
    if (lua_isnil(L, -1)) return luaL_error(L, "billing: an adjustment needs an actor");
    return run(L, "billing.adjust", &operation, wallet_adjust, false);
}

// reverse { op=, account=, original=, reason=, actor= }: a whole operation, once.
static int billing_reverse(lua_State *L) {
    struct billing_operation operation = lua_billing_operation(L, "reversal");
    return run(L, "billing.reverse", &operation, wallet_reverse, false);
}

// grant { op=, account=, seconds=, until_ms=, payee=, reason=, actor= }: free seconds for meters.
static int billing_grant(lua_State *L) {
    struct billing_operation operation = lua_billing_operation(L, "grant");
    operation.life_s = lua_billing_integer(L, "seconds", false);
    operation.until_ms = lua_billing_integer(L, "until_ms", true);
    return run(L, "billing.grant", &operation, wallet_grant, false);
}

// limit { op=, account=, whose="site"|"own", seconds= (a day; 0: none), reason=, actor= }
static int billing_limit(lua_State *L) {
    struct billing_operation operation = lua_billing_operation(L, "limit");
    operation.life_s = lua_billing_integer(L, "seconds", false);
    operation.bucket = lua_billing_text(L, "whose", NULL);
    return run(L, "billing.limit", &operation, wallet_limit, true);
}

// remember { op=, account=, type=, payee=, paid=, bonus=, refunded_paid=, refunded_bonus=, at=, seq= }:
// an operation that Redis forgot, from the ledger. nil, "stale" when the wallet went on meanwhile.
static int billing_remember(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    struct billing_operation operation = lua_billing_operation(L, "debit");
    struct billing_memory memory = {
        .op = operation.op,
        .account = operation.account,
        .type = operation.type,
        .payee = operation.payee,
        .paid = lua_billing_integer(L, "paid", false),
        .bonus = lua_billing_integer(L, "bonus", false),
        .refunded_paid = lua_billing_integer(L, "refunded_paid", true),
        .refunded_bonus = lua_billing_integer(L, "refunded_bonus", true),
        .at_ms = lua_billing_integer(L, "at", false),
        .seq = lua_billing_integer(L, "seq", false),
    };
    lua_pending handle = lua_pending_begin(L, "billing.remember", NULL, NULL);
    wallet_remember(billing, &memory, lua_billing_done, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// recall { op=, account=, type=, payee=, paid=, bonus=, debt=, refunded_paid=, refunded_bonus=, at=,
// original=, reversed_by= }: an operation that was booked, after Redis lost everything.
static int billing_recall(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    struct billing_operation operation = lua_billing_operation(L, "debit");
    struct billing_booked booked = {
        .op = operation.op,
        .account = operation.account,
        .type = operation.type,
        .payee = operation.payee,
        .paid = lua_billing_integer(L, "paid", false),
        .bonus = lua_billing_integer(L, "bonus", false),
        .debt = lua_billing_integer(L, "debt", false),
        .refunded_paid = lua_billing_integer(L, "refunded_paid", true),
        .refunded_bonus = lua_billing_integer(L, "refunded_bonus", true),
        .at_ms = lua_billing_integer(L, "at", false),
        .original = lua_billing_text(L, "original", ""),
        .reversed_by = lua_billing_text(L, "reversed_by", ""),
    };
    lua_pending handle = lua_pending_begin(L, "billing.recall", NULL, NULL);
    wallet_recall(billing, &booked, lua_billing_done_strict, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

static void on_allowance(void *context, const char *error,
                         const struct billing_allowance *allowance) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (error) {
        lua_pending_fail(co, "billing: %s", error);
        return;
    }
    const struct {
        const char *name;
        int64_t value;
    } fields[] = {
        {"site_limit", allowance->site_limit_ms / 1000},
        {"own_limit", allowance->own_limit_ms / 1000},
        {"watched_ms", allowance->watched_ms},
        {"leased_ms", allowance->leased_ms},
        {"granted", allowance->granted_s},
    };
    lua_createtable(co, 0, 5);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(co, fields[i].value);
        lua_setfield(co, -2, fields[i].name);
    }
    lua_pending_resume(co, 1);
}

// allowance(account): { site_limit, own_limit (seconds a day, 0: none), watched_ms, leased_ms (today),
// granted (free seconds) }
static int billing_allowance(lua_State *L) {
    struct billing *billing = lua_billing_of(L);
    lua_Integer account = luaL_checkinteger(L, 1);
    luaL_argcheck(L, account > 0, 1, "an account is a number above zero");
    lua_pending handle = lua_pending_begin(L, "billing.allowance", NULL, NULL);
    wallet_allowance(billing, account, on_allowance, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

void lua_billing_add_corrections(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"adjust", billing_adjust},     {"reverse", billing_reverse},
        {"grant", billing_grant},       {"limit", billing_limit},
        {"remember", billing_remember}, {"allowance", billing_allowance},
        {"recall", billing_recall},
        {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
