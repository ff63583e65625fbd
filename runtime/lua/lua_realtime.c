// runtime.realtime: publishing, history, presence, tokens and orders, in any service; and the
// judge that the hub asks about chat messages.
#include "lua/lua_realtime.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"
#include "lua/generation.h"
#include "lua/lua_realtime_private.h"
#include "lua/pending.h"
#include "realtime/channel_name.h"
#include "realtime/token.h"

enum { MODULE_JSON = 1, TOKEN_SECONDS = 15 * 60, MEMBERS_MOST = 200, REVOKED_SECONDS = 24 * 3600 };

struct redis_client *lua_realtime_redis(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    if (!runtime->redis_main)
        luaL_error(L, "realtime is not available in the %s service", runtime->service);
    return runtime->redis_main;
}

struct slice lua_realtime_channel(lua_State *L, int index) {
    size_t size;
    const char *name = luaL_checklstring(L, index, &size);
    luaL_argcheck(L, realtime_namespace_of(slice_make(name, size)), index, "no such channel");
    return slice_make(name, size);
}

/// Replaces the value at `index` by its JSON text.
static struct slice encode(lua_State *L, int index) {
    size_t size;
    lua_getfield(L, lua_upvalueindex(MODULE_JSON), "encode");
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
    lua_replace(L, index);
    const char *text = luaL_checklstring(L, index, &size);
    luaL_argcheck(L, size <= REALTIME_MESSAGE_MAX, index, "the message is larger than 64 KiB");
    return slice_make(text, size);
}

// ---- publish ---------------------------------------------------------------------------------

void lua_realtime_published(void *context, int64_t offset, const char *epoch, const char *error) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (error) {
        lua_pending_fail(co, "realtime: %s", error);
        return;
    }
    lua_pushinteger(co, offset);
    lua_pushstring(co, epoch);
    lua_pending_resume(co, 2);
}

static int publish_to(lua_State *L, struct slice channel, int message) {
    struct redis_client *redis = lua_realtime_redis(L);
    luaL_checktype(L, message, LUA_TTABLE);
    struct slice json = encode(L, message);
    lua_pending handle = lua_pending_begin(L, "realtime.publish", NULL, NULL);
    realtime_publish_then(redis, channel, json, lua_realtime_published, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// publish(channel, message): offset and epoch of the message (0, "" where nothing is kept).
static int realtime_publish_lua(lua_State *L) {
    struct slice channel = lua_realtime_channel(L, 1);
    return publish_to(L, channel, 2);
}

// notify(account, message): to all devices of one account.
static int realtime_notify(lua_State *L) {
    char channel[40];
    int size = snprintf(channel, sizeof channel, "user:%lld", (long long)luaL_checkinteger(L, 1));
    return publish_to(L, slice_make(channel, (size_t)size), 2);
}

// remove(channel, offset [, details]): takes a message out of the history, and tells everyone.
static int realtime_remove(lua_State *L) {
    struct slice channel = lua_realtime_channel(L, 1);
    lua_Integer offset = luaL_checkinteger(L, 2);
    luaL_argcheck(L, offset > 0, 2, "an offset is above 0");
    struct redis_client *redis = lua_realtime_redis(L);
    if (lua_isnoneornil(L, 3)) {
        lua_settop(L, 2);
        lua_newtable(L);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_pushliteral(L, "remove");
    lua_setfield(L, 3, "type");
    lua_pushinteger(L, offset);
    lua_setfield(L, 3, "offset");
    struct slice json = encode(L, 3);
    lua_pending handle = lua_pending_begin(L, "realtime.remove", NULL, NULL);
    realtime_rewrite(redis, channel, offset, json, lua_realtime_published, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// ---- reading ---------------------------------------------------------------------------------

/// Leaves {offset, epoch, {offset, text, offset, text …}}: the texts are decoded in the coroutine,
/// where a failure may raise.
static void on_past(void *context, const struct realtime_past *past, const char *error) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (error) {
        lua_pending_fail(co, "realtime: %s", error);
        return;
    }
    lua_checkstack(co, 8);
    lua_pushinteger(co, past->offset);
    lua_pushstring(co, past->epoch);
    lua_createtable(co, (int)past->count * 2, 0);
    for (size_t i = 0; i < past->count; i++) {
        lua_pushinteger(co, past->entries[i].offset);
        lua_rawseti(co, -2, (lua_Integer)(2 * i + 1));
        lua_pushlstring(co, past->entries[i].json.data, past->entries[i].json.size);
        lua_rawseti(co, -2, (lua_Integer)(2 * i + 2));
    }
    lua_pending_resume(co, 3);
}

// position(channel): {offset =, epoch =}, for a page that subscribes later.
static int position_then(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    (void)values;
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, -4);
    lua_setfield(L, -2, "offset");
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "epoch");
    return 1;
}

static int realtime_position(lua_State *L) {
    struct slice channel = lua_realtime_channel(L, 1);
    struct redis_client *redis = lua_realtime_redis(L);
    lua_pending handle = lua_pending_begin(L, "realtime.position", NULL, NULL);
    realtime_read(redis, channel, -1, on_past, lua_pending_context(handle));
    return lua_pending_yield_then(L, handle, position_then);
}

// Stack: 1 channel, 2 count, 3 since, 4 decode, then offset, epoch, texts.
static int history_then(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    (void)values;
    int texts = lua_gettop(L);
    lua_Integer total = (lua_Integer)lua_rawlen(L, texts) / 2, most = lua_tointeger(L, 2);
    lua_createtable(L, 0, 3);
    lua_pushvalue(L, texts - 2);
    lua_setfield(L, -2, "offset");
    lua_pushvalue(L, texts - 1);
    lua_setfield(L, -2, "epoch");
    lua_newtable(L); // [-1] messages, [-2] result
    lua_Integer first = total > most ? total - most : 0;
    for (lua_Integer i = first; i < total; i++) {
        lua_createtable(L, 0, 2);
        lua_rawgeti(L, texts, 2 * i + 1);
        lua_setfield(L, -2, "offset");
        lua_pushvalue(L, 4);
        lua_rawgeti(L, texts, 2 * i + 2);
        lua_call(L, 1, 1);
        lua_setfield(L, -2, "data");
        lua_rawseti(L, -2, i - first + 1);
    }
    lua_setfield(L, -2, "messages");
    return 1;
}

// history(channel [, count [, since]]): {offset =, epoch =, messages = {{offset =, data =}, …}},
// the newest `count` (50) of the messages after `since` (0), oldest first.
static int realtime_history(lua_State *L) {
    struct slice channel = lua_realtime_channel(L, 1);
    lua_Integer count = luaL_optinteger(L, 2, 50), since = luaL_optinteger(L, 3, 0);
    luaL_argcheck(L, count >= 0 && count <= 1000, 2, "0 to 1000");
    luaL_argcheck(L, since >= 0, 3, "not negative");
    struct redis_client *redis = lua_realtime_redis(L);
    lua_settop(L, 1);
    lua_pushinteger(L, count);
    lua_pushinteger(L, since);
    lua_getfield(L, lua_upvalueindex(MODULE_JSON), "decode");
    lua_pending handle = lua_pending_begin(L, "realtime.history", NULL, NULL);
    realtime_read(redis, channel, since, on_past, lua_pending_context(handle));
    return lua_pending_yield_then(L, handle, history_then);
}

// Members of a channel (rt:p:C, rt:g:C; presence.c): count, and the ids while there are few.
static const char presence_script[] =
    "local count, ids, seen = 0, {}, {}\n"
    "for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf')) do\n"
    "  if string.sub(member, 1, 1) == '#' then\n"
    "    count = count + (tonumber(redis.call('HGET', KEYS[2], string.sub(member, 2))) or 0)\n"
    "  else\n"
    "    local id = string.match(member, '^[^@]+')\n"
    "    if not seen[id] then seen[id] = true; count = count + 1; ids[#ids + 1] = tonumber(id) end\n"
    "  end\n"
    "end\n"
    "if #ids > tonumber(ARGV[2]) then return {count} end\n"
    "return {count, ids}\n";

static void on_presence(void *context, const redisReply *reply, const char *error) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (!error && reply->type == REDIS_REPLY_ERROR) error = reply->str;
    if (error) {
        lua_pending_fail(co, "realtime: %s", error);
        return;
    }
    lua_createtable(co, 0, 2);
    lua_pushinteger(co, reply->elements > 0 ? reply->element[0]->integer : 0);
    lua_setfield(co, -2, "count");
    if (reply->elements > 1) {
        const redisReply *ids = reply->element[1];
        lua_createtable(co, (int)ids->elements, 0);
        for (size_t i = 0; i < ids->elements; i++) {
            lua_pushinteger(co, ids->element[i]->integer);
            lua_rawseti(co, -2, (lua_Integer)i + 1);
        }
        lua_setfield(co, -2, "members");
    }
    lua_pending_resume(co, 1);
}

// presence(channel): {count =, members = {account, …} or nil when there are more than 200}.
static int realtime_presence(lua_State *L) {
    struct slice channel = lua_realtime_channel(L, 1);
    struct redis_client *redis = lua_realtime_redis(L);
    char zset[REALTIME_CHANNEL_MAX + 8], hash[REALTIME_CHANNEL_MAX + 8], now[24], most[8];
    snprintf(zset, sizeof zset, "rt:p:%.*s", SLICE_FORMAT(channel));
    snprintf(hash, sizeof hash, "rt:g:%.*s", SLICE_FORMAT(channel));
    snprintf(now, sizeof now, "%lld", (long long)clock_wall_ms());
    snprintf(most, sizeof most, "%d", MEMBERS_MOST);
    struct slice arguments[] = {SLICE("EVAL"), slice_of(presence_script), SLICE("2"),
                                slice_of(zset), slice_of(hash), slice_of(now), slice_of(most)};
    lua_pending handle = lua_pending_begin(L, "realtime.presence", NULL, NULL);
    redis_call(redis, arguments, 7, 0, on_presence, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// ---- orders ----------------------------------------------------------------------------------

/// Sends the table on top of the stack to every instance.
static int order(lua_State *L, struct redis_client *redis) {
    int index = lua_gettop(L);
    realtime_order(redis, encode(L, index));
    return 0;
}

static void set_text(lua_State *L, const char *field, const char *text) {
    if (!text) return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, field);
}

// kick(account [, reason [, session]]): closes the account's connections on every instance, or
// those of one site session, which then cannot come back with the tokens that it has.
static int realtime_kick(lua_State *L) {
    struct redis_client *redis = lua_realtime_redis(L);
    lua_Integer account = luaL_checkinteger(L, 1);
    const char *reason = luaL_optstring(L, 2, "signed out"), *session = luaL_optstring(L, 3, NULL);
    if (session) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d", REVOKED_SECONDS);
        const char *key = lua_pushfstring(L, "rt:revoked:%s", session);
        struct slice arguments[] = {SLICE("SET"), slice_of(key), SLICE("1"), SLICE("EX"),
                                    slice_of(seconds)};
        redis_call(redis, arguments, 5, 0, NULL, NULL);
    }
    lua_createtable(L, 0, 4);
    set_text(L, "do", "kick");
    lua_pushinteger(L, account);
    lua_setfield(L, -2, "account");
    set_text(L, "reason", reason);
    set_text(L, "session", session);
    return order(L, redis);
}

// close(channel [, reason]): ends everyone's subscription to it.
static int realtime_close(lua_State *L) {
    struct redis_client *redis = lua_realtime_redis(L);
    lua_realtime_channel(L, 1);
    const char *reason = luaL_optstring(L, 2, "closed");
    lua_createtable(L, 0, 3);
    set_text(L, "do", "close");
    set_text(L, "channel", lua_tostring(L, 1));
    set_text(L, "reason", reason);
    return order(L, redis);
}

// unsubscribe(account, channel [, reason])
static int realtime_unsubscribe(lua_State *L) {
    struct redis_client *redis = lua_realtime_redis(L);
    lua_Integer account = luaL_checkinteger(L, 1);
    lua_realtime_channel(L, 2);
    const char *reason = luaL_optstring(L, 3, "removed");
    lua_createtable(L, 0, 4);
    set_text(L, "do", "unsubscribe");
    lua_pushinteger(L, account);
    lua_setfield(L, -2, "account");
    set_text(L, "channel", lua_tostring(L, 2));
    set_text(L, "reason", reason);
    return order(L, redis);
}

// ---- tokens ----------------------------------------------------------------------------------

static void default_field(lua_State *L, int table, const char *field, lua_Integer value) {
    if (lua_getfield(L, table, field) == LUA_TNIL) {
        lua_pushinteger(L, value);
        lua_setfield(L, table, field);
    }
    lua_pop(L, 1);
}

// token { account = 7 (or sub = "7"), name =, role =, caps = {…}, session =, seconds = 900 }: who
// a connection is, signed. iat and exp may be given in place of seconds.
static int realtime_token(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *hex = settings_text(runtime_of(L)->settings, "secrets.token", NULL);
    uint8_t key[REALTIME_KEY_SIZE];
    if (!realtime_key_read(hex, key)) luaL_error(L, "the secret 'token' is not configured");
    lua_settop(L, 1);
    lua_newtable(L); // [2] claims
    static const char *const fields[] = {"sub", "name", "role", "caps", "iat", "exp"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_getfield(L, 1, fields[i]);
        lua_setfield(L, 2, fields[i]);
    }
    if (lua_getfield(L, 1, "account") != LUA_TNIL) {
        lua_pushfstring(L, "%I", (LUAI_UACINT)luaL_checkinteger(L, -1));
        lua_setfield(L, 2, "sub");
    }
    lua_getfield(L, 1, "session");
    lua_setfield(L, 2, "ses");
    lua_getfield(L, 1, "seconds");
    lua_Integer seconds = luaL_optinteger(L, -1, TOKEN_SECONDS);
    lua_settop(L, 2);
    int64_t now = clock_wall_s();
    default_field(L, 2, "iat", now);
    default_field(L, 2, "exp", now + seconds);
    // An empty list of caps must not become an object; leaving it out means the same.
    if (lua_getfield(L, 2, "caps") == LUA_TTABLE && lua_rawlen(L, -1) == 0) {
        lua_pushnil(L);
        lua_setfield(L, 2, "caps");
    }
    lua_settop(L, 2);
    lua_getfield(L, 2, "sub");
    luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 1, "account (or sub) is missing");
    lua_pop(L, 1);
    struct slice payload = encode(L, 2);
    struct buffer token = {0};
    realtime_token_sign(&token, payload, key);
    lua_pushlstring(L, token.data, token.size);
    buffer_free(&token);
    return 1;
}

int lua_open_realtime(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"publish", realtime_publish_lua}, {"notify", realtime_notify},
        {"remove", realtime_remove},       {"history", realtime_history},
        {"position", realtime_position},   {"presence", realtime_presence},
        {"kick", realtime_kick},           {"close", realtime_close},
        {"unsubscribe", realtime_unsubscribe},
        {"token", realtime_token},         {NULL, NULL}};
    luaL_newlibtable(L, functions);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "runtime.json");
    lua_call(L, 1, 1);
    luaL_setfuncs(L, functions, 1);
    lua_realtime_add_room(L);
    return 1;
}

// ---- the judge of chat messages --------------------------------------------------------------

struct judging {
    struct hub_chat chat;
    hub_verdict_fn *done;
    void *to;
};

static void set_slice(lua_State *co, const char *field, struct slice s) {
    lua_pushlstring(co, s.data, s.size);
    lua_setfield(co, -2, field);
}

static int push_chat(lua_State *co, void *context) {
    const struct hub_chat *chat = &((struct judging *)context)->chat;
    lua_createtable(co, 0, 4);
    set_slice(co, "channel", chat->channel);
    set_slice(co, "room", realtime_channel_rest(chat->channel));
    set_slice(co, "text", chat->text);
    lua_createtable(co, 0, 3);
    lua_pushinteger(co, chat->account);
    lua_setfield(co, -2, "id");
    set_slice(co, "name", slice_of(chat->name));
    set_slice(co, "role", slice_of(chat->role));
    lua_setfield(co, -2, "from");
    lua_pushboolean(co, chat->links);
    lua_setfield(co, -2, "links");
    return 1;
}

/// A text member of the verdict at `index`, by raw access: no metamethod of a rule's runs here.
static struct slice raw_text(lua_State *co, int index, const char *field) {
    size_t size;
    lua_pushstring(co, field);
    if (lua_rawget(co, index) != LUA_TSTRING) return (struct slice){0};
    const char *text = lua_tolstring(co, -1, &size);
    return slice_make(text, size);
}

static void on_judged(void *context, lua_State *co, int results, const char *error) {
    struct judging *judging = context;
    struct hub_verdict verdict = {.judgement = HUB_FAULT};
    struct slice word = {0};
    if (error) {
        verdict.reason = slice_of(error);
    } else if (results < 1) {
        verdict.reason = SLICE("on_chat returned nothing");
    } else {
        lua_checkstack(co, 8);
        int index = lua_gettop(co) - results + 1;
        if (lua_type(co, index) == LUA_TTABLE) {
            word = raw_text(co, index, "verdict");
            verdict.text = raw_text(co, index, "text");
            verdict.reason = raw_text(co, index, "reason");
        } else if (lua_type(co, index) == LUA_TSTRING) {
            size_t size;
            const char *text = lua_tolstring(co, index, &size);
            word = slice_make(text, size);
        }
        if (slice_equal(word, SLICE("pass"))) verdict.judgement = HUB_PASS;
        else if (slice_equal(word, SLICE("change"))) verdict.judgement = HUB_CHANGE;
        else if (slice_equal(word, SLICE("hold"))) verdict.judgement = HUB_HOLD;
        else if (slice_equal(word, SLICE("drop"))) verdict.judgement = HUB_DROP;
        else verdict.reason = SLICE("on_chat returned no verdict");
    }
    judging->done(judging->to, &verdict);
    memory_free(judging);
}

static void judge(void *context, const struct hub_chat *chat, hub_verdict_fn *done, void *to) {
    struct runtime *runtime = context;
    // A message is worth this much and no more; past it the baseline filter in C decides.
    struct lua_limits limits = {
        .deadline_ms = (unsigned)settings_integer(runtime->settings, "realtime.chat_deadline_ms", 2000),
        .cpu_ms = (unsigned)settings_integer(runtime->settings, "realtime.chat_cpu_ms", 20),
        .memory = 4 * 1024 * 1024,
    };
    struct judging *judging = memory_zero(1, sizeof *judging);
    *judging = (struct judging){*chat, done, to};
    lua_generations_call(runtime->generations, "on_chat", &limits, push_chat, on_judged, judging);
}

void lua_realtime_attach(struct runtime *runtime, struct hub *hub) {
    hub_set_policy(hub, &(struct hub_policy){.context = runtime, .judge = judge});
}
