// runtime.realtime, what a room decides about who may write (realtime/room.h): modes, roles, mutes and
// bans, who follows and who has tipped, and clearing.
#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/memory.h"
#include "lua/lua_realtime_private.h"
#include "lua/pending.h"
#include "realtime/channel_name.h"
#include "realtime/room.h"
#include "sockjs/json.h"
#include "sockjs/message.h"

enum { SLOWEST = 3600 };

static void on_done(void *context, const redisReply *reply, const char *error) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (!error && reply->type == REDIS_REPLY_ERROR) error = reply->str;
    if (error) lua_pending_fail(co, "realtime: %s", error);
    else lua_pending_resume(co, 0);
}

/// One command, of which only the failure matters.
static int run(lua_State *L, const struct slice *words, size_t count) {
    lua_pending handle = lua_pending_begin(L, "realtime.room", NULL, NULL);
    redis_call(lua_realtime_redis(L), words, count, 0, on_done, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

/// "rt:<kind>:<channel>", of the channel in argument 1; stays on the stack.
static struct slice room_key(lua_State *L, const char *kind) {
    lua_realtime_channel(L, 1);
    return slice_of(lua_pushfstring(L, "rt:%s:%s", kind, lua_tostring(L, 1)));
}

static struct slice integer_text(lua_State *L, lua_Integer value) {
    return slice_of(lua_pushfstring(L, "%I", (LUAI_UACINT)value));
}

static struct slice account_text(lua_State *L) { return integer_text(L, luaL_checkinteger(L, 2)); }

/// Until when (ms) argument 3's seconds last: 0 for good (nil), -1 for not at all (0).
static int64_t until(lua_State *L) {
    if (lua_isnoneornil(L, 3)) return 0;
    lua_Integer seconds = luaL_checkinteger(L, 3);
    luaL_argcheck(L, seconds >= 0 && seconds < 1LL << 32, 3, "out of range");
    return seconds > 0 ? clock_wall_ms() + seconds * 1000 : -1;
}

static int keep_out(lua_State *L, const char *kind, int64_t till) {
    struct slice words[] = {till < 0 ? SLICE("HDEL") : SLICE("HSET"), room_key(L, kind),
                            account_text(L), integer_text(L, till)};
    return run(L, words, till < 0 ? 3 : 4);
}

// mute(channel, account [, seconds]): for good without seconds; 0 seconds ends it.
static int room_mute(lua_State *L) {
    lua_settop(L, 3);
    return keep_out(L, "mute", until(L));
}

// ban(channel, account [, seconds [, reason]]): as mute, and may not listen either.
static int room_ban(lua_State *L) {
    lua_settop(L, 4);
    int64_t till = until(L);
    const char *reason = luaL_optstring(L, 4, "banned");
    if (till < 0) return keep_out(L, "ban", till);
    struct slice words[] = {SLICE("HSET"), room_key(L, "ban"), account_text(L),
                            integer_text(L, till)};
    struct slice channel = lua_realtime_channel(L, 1);
    struct redis_client *redis = lua_realtime_redis(L);
    lua_pending handle = lua_pending_begin(L, "realtime.ban", NULL, NULL);
    redis_call(redis, words, 4, 0, on_done, lua_pending_context(handle));
    // Behind the ban on the same connection, so that nobody slips back in between.
    struct buffer order = {0};
    buffer_printf(&order, "{\"do\":\"unsubscribe\",\"account\":%.*s,\"channel\":",
                  SLICE_FORMAT(words[2]));
    sockjs_quote(&order, channel);
    buffer_append_text(&order, ",\"reason\":");
    sockjs_quote(&order, slice_of(reason));
    buffer_append_char(&order, '}');
    realtime_order(redis, buffer_slice(&order));
    buffer_free(&order);
    return lua_pending_yield(L, handle);
}

// role(channel, account [, role]): "model" or "moderator" in this room; nil takes it away.
static int room_role(lua_State *L) {
    static const char *const roles[] = {"model", "moderator", NULL};
    lua_settop(L, 3);
    bool none = lua_isnil(L, 3);
    struct slice role = none ? SLICE("") : slice_of(roles[luaL_checkoption(L, 3, NULL, roles)]);
    struct slice words[] = {none ? SLICE("HDEL") : SLICE("HSET"), room_key(L, "role"),
                            account_text(L), role};
    return run(L, words, none ? 3 : 4);
}

// follow(channel, account, follows)
static int room_follow(lua_State *L) {
    bool follows = lua_toboolean(L, 3);
    struct slice words[] = {follows ? SLICE("SADD") : SLICE("SREM"), room_key(L, "follow"),
                            account_text(L)};
    return run(L, words, 3);
}

// tipped(channel, account): just now.
static int room_tipped(lua_State *L) {
    static const char script[] = "redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])\n"
                                 "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])\n"
                                 "redis.call('PEXPIRE', KEYS[1], ARGV[4])";
    int64_t now = clock_wall_ms();
    struct slice words[] = {SLICE("EVAL"), slice_of(script), SLICE("1"), room_key(L, "tip"),
                            account_text(L), integer_text(L, now),
                            integer_text(L, now - ROOM_TIP_MS), integer_text(L, ROOM_TIP_MS)};
    return run(L, words, 8);
}

// ---- modes -----------------------------------------------------------------------------------

static const char *const modes[] = {"slow", "followers", "tippers", "links"};
enum { MODES = sizeof modes / sizeof *modes };

// KEYS: rt:mode:C. ARGV: field, value … ("": none). All fields in the order of `modes`.
static const char set_modes[] =
    "for i = 1, #ARGV, 2 do\n"
    "  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[1], ARGV[i])\n"
    "  else redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end\n"
    "end\n"
    "return redis.call('HMGET', KEYS[1], 'slow', 'followers', 'tippers', 'links')\n";

struct mode_change {
    struct redis_client *redis;
    lua_pending handle;
    bool tell;
    char channel[REALTIME_CHANNEL_MAX + 1];
};

static bool is_set(const redisReply *reply, size_t i) {
    return reply->element[i]->type == REDIS_REPLY_STRING;
}

static void push_modes(lua_State *co, const redisReply *reply) {
    lua_createtable(co, 0, MODES);
    for (size_t i = 0; i < MODES; i++) {
        if (i == 0) lua_pushinteger(co, is_set(reply, 0) ? atoi(reply->element[0]->str) : 0);
        else lua_pushboolean(co, is_set(reply, i));
        lua_setfield(co, -2, modes[i]);
    }
}

static void on_modes(void *context, const redisReply *reply, const char *error) {
    struct mode_change *change = context;
    void *pending = lua_pending_context(change->handle);
    if (!error && reply->type != REDIS_REPLY_ARRAY)
        error = reply->type == REDIS_REPLY_ERROR ? reply->str : "no answer";
    if (error || !change->tell) {
        lua_State *co = lua_pending_take(change->handle);
        if (co && error) {
            lua_pending_fail(co, "realtime: %s", error);
        } else if (co) {
            push_modes(co, reply);
            lua_pending_resume(co, 1);
        }
    } else {
        struct buffer message = {0};
        buffer_printf(&message, "{\"type\":\"mode\",\"slow\":%d",
                      is_set(reply, 0) ? atoi(reply->element[0]->str) : 0);
        for (size_t i = 1; i < MODES; i++)
            buffer_printf(&message, ",\"%s\":%s", modes[i], is_set(reply, i) ? "true" : "false");
        buffer_printf(&message, ",\"at\":%lld}", (long long)clock_wall_ms());
        realtime_publish_then(change->redis, slice_of(change->channel), buffer_slice(&message),
                              lua_realtime_published, pending);
        buffer_free(&message);
    }
    memory_free(change);
}

static int change_modes(lua_State *L, const struct slice *words, size_t count, bool tell) {
    struct redis_client *redis = lua_realtime_redis(L);
    lua_pending handle = lua_pending_begin(L, "realtime.mode", NULL, NULL);
    struct mode_change *change = memory_zero(1, sizeof *change);
    change->redis = redis;
    change->handle = handle;
    change->tell = tell;
    snprintf(change->channel, sizeof change->channel, "%s", lua_tostring(L, 1));
    redis_call(change->redis, words, count, 0, on_modes, change);
    return lua_pending_yield(L, change->handle);
}

// mode(channel [, { slow =, followers =, tippers =, links = }]): sets those that are given (0 and false
// end them) and tells the room; returns offset and epoch. Without a table: what is set.
static int room_mode(lua_State *L) {
    lua_settop(L, 2);
    struct slice words[4 + 2 * MODES] = {SLICE("EVAL"), slice_of(set_modes), SLICE("1"),
                                         room_key(L, "mode")};
    size_t count = 4;
    if (lua_isnil(L, 2)) return change_modes(L, words, count, false);
    luaL_checktype(L, 2, LUA_TTABLE);
    for (size_t i = 0; i < MODES; i++) {
        int type = lua_getfield(L, 2, modes[i]);
        if (type == LUA_TNIL) continue;
        words[count++] = slice_of(modes[i]);
        if (i > 0) {
            words[count++] = lua_toboolean(L, -1) ? SLICE("1") : SLICE("");
            continue;
        }
        lua_Integer seconds = luaL_checkinteger(L, -1);
        luaL_argcheck(L, seconds >= 0 && seconds <= SLOWEST, 2, "slow is 0 to 3600");
        words[count++] = seconds > 0 ? integer_text(L, seconds) : SLICE("");
    }
    return change_modes(L, words, count, true);
}

// slow(channel, seconds): mode(channel, { slow = seconds }).
static int room_slow(lua_State *L) {
    lua_Integer seconds = luaL_checkinteger(L, 2);
    lua_settop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, seconds);
    lua_setfield(L, 2, "slow");
    return room_mode(L);
}

// clear(channel): the history is gone, and everyone is told; returns offset and epoch.
static int room_clear(lua_State *L) {
    struct slice channel = lua_realtime_channel(L, 1);
    char message[64];
    int size = snprintf(message, sizeof message, "{\"type\":\"clear\",\"at\":%lld}",
                        (long long)clock_wall_ms());
    struct redis_client *redis = lua_realtime_redis(L);
    lua_pending handle = lua_pending_begin(L, "realtime.clear", NULL, NULL);
    realtime_rewrite(redis, channel, REALTIME_ALL, slice_make(message, (size_t)size),
                     lua_realtime_published, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

void lua_realtime_add_room(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"mute", room_mute},     {"ban", room_ban},       {"role", room_role},
        {"follow", room_follow}, {"tipped", room_tipped}, {"mode", room_mode},
        {"slow", room_slow},     {"clear", room_clear},   {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
