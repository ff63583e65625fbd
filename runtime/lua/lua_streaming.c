// runtime.streaming: tickets, what is live, and orders to the services that hold the streams. It
// works in every service: tickets need a secret, the rest goes through Redis.
#include "lua/lua_streaming.h"
#include <sodium.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "lua/generation.h"
#include "lua/pending.h"
#include "redis/client.h"
#include "streaming/ingest_token.h"
#include "streaming/streaming.h"

enum { DEFAULT_TTL_S = 300, INGEST_TTL_S = 60, LIST_MOST = 10000 };

static struct redis_client *redis_of(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    if (!runtime->redis_main) {
        luaL_error(L, "streaming is not available in the %s service", runtime->service);
    }
    return runtime->redis_main;
}

static void ticket_key(lua_State *L, unsigned char key[TICKET_KEY_SIZE]) {
    if (!streaming_ticket_key(runtime_of(L)->settings, key)) {
        luaL_error(L, "the setting secrets.ticket is missing");
    }
}

static int64_t field(lua_State *L, const char *name, int64_t otherwise) {
    lua_getfield(L, 1, name);
    int64_t value = otherwise;
    if (!lua_isnil(L, -1)) {
        int whole;
        value = lua_tointegerx(L, -1, &whole);
        if (!whole) luaL_error(L, "%s must be an integer", name);
        if (value < 0) luaL_error(L, "%s must not be negative", name);
    }
    lua_pop(L, 1);
    return value;
}

static int64_t field_within(lua_State *L, const char *name, int64_t most) {
    int64_t value = field(L, name, 0);
    if (value > most) luaL_error(L, "%s is too large", name);
    return value;
}

static const char *text_field(lua_State *L, const char *name, const char *otherwise) {
    lua_getfield(L, 1, name); // stays on the stack: its text lives as long
    return luaL_optstring(L, -1, otherwise);
}

// streaming.ticket{ slug=, account=, rate=, limit=, policy=, show=, ttl= or expires= } → text, nonce
static int streaming_ticket(lua_State *L) {
    unsigned char key[TICKET_KEY_SIZE];
    luaL_checktype(L, 1, LUA_TTABLE);
    struct ticket ticket = {
        .account = field(L, "account", 0),
        .rate = field(L, "rate", 0),
        .limit = (uint32_t)field(L, "limit", 0),
        .free = (uint32_t)field_within(L, "free", UINT32_MAX),
        .minimum = (uint32_t)field_within(L, "minimum", UINT32_MAX),
        .increment = (uint16_t)field_within(L, "increment", 3600),
        .off_bp = (uint16_t)field_within(L, "off", 9999),
        .show = (uint64_t)field(L, "show", 0),
        .expires = field(L, "expires", clock_wall_s() + field(L, "ttl", DEFAULT_TTL_S)),
    };
    struct slice slug = slice_of(text_field(L, "slug", ""));
    const char *policy = text_field(L, "policy", ticket.rate > 0 ? "paid" : "free");
    if (!slug_valid(slug)) return luaL_error(L, "slug is not one");
    memcpy(ticket.slug, slug.data, slug.size);
    if (!ticket_policy_of(slice_of(policy), &ticket.policy) || ticket.policy == TICKET_INTERNAL) {
        return luaL_error(L, "policy is not one that a ticket may have");
    }
    if (ticket.rate > 0 && ticket.account == 0) return luaL_error(L, "a guest cannot pay");
    ticket_key(L, key);
    struct buffer text = {0};
    bool made = ticket_make(&text, &ticket, key);
    sodium_memzero(key, sizeof key);
    if (!made) {
        buffer_free(&text);
        return luaL_error(L, "a ticket's field is out of bounds");
    }
    lua_pushlstring(L, text.data, text.size);
    lua_pushstring(L, ticket.nonce);
    buffer_free(&text);
    return 2;
}

// streaming.ingest_token{ slug=, model=, account=, ttl= } → text: leave to broadcast from the browser
static int streaming_ingest_token(lua_State *L) {
    unsigned char key[TICKET_KEY_SIZE];
    luaL_checktype(L, 1, LUA_TTABLE);
    struct ingest_token token = {
        .account = field(L, "account", 0),
        .model = field(L, "model", 0),
        .expires = clock_wall_s() + field(L, "ttl", INGEST_TTL_S),
    };
    struct slice slug = slice_of(text_field(L, "slug", ""));
    if (!slug_valid(slug)) return luaL_error(L, "slug is not one");
    memcpy(token.slug, slug.data, slug.size);
    ticket_key(L, key);
    struct buffer text = {0};
    bool made = ingest_token_make(&text, &token, key);
    sodium_memzero(key, sizeof key);
    if (!made) {
        buffer_free(&text);
        return luaL_error(L, "account and model must be given, and the time be sensible");
    }
    lua_pushlstring(L, text.data, text.size);
    buffer_free(&text);
    return 1;
}

// streaming.read_ticket(text) → table, or nil and "malformed", "forged" or "expired"
static int streaming_read_ticket(lua_State *L) {
    unsigned char key[TICKET_KEY_SIZE];
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    struct ticket ticket;
    ticket_key(L, key);
    const char *wrong = ticket_read(&ticket, slice_make(text, size), key, clock_wall_s());
    sodium_memzero(key, sizeof key);
    if (wrong) {
        lua_pushnil(L);
        lua_pushstring(L, wrong);
        return 2;
    }
    const struct {
        const char *name;
        int64_t value;
    } integers[] = {{"account", ticket.account}, {"rate", ticket.rate},
                    {"limit", ticket.limit},     {"free", ticket.free},
                    {"minimum", ticket.minimum}, {"increment", ticket.increment},
                    {"off", ticket.off_bp},
                    {"show", (int64_t)ticket.show},
                    {"expires", ticket.expires}};
    lua_createtable(L, 0, 12);
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        lua_pushinteger(L, integers[i].value);
        lua_setfield(L, -2, integers[i].name);
    }
    lua_pushstring(L, ticket.slug);
    lua_setfield(L, -2, "slug");
    lua_pushstring(L, ticket.nonce);
    lua_setfield(L, -2, "nonce");
    lua_pushstring(L, ticket_policy_name(ticket.policy));
    lua_setfield(L, -2, "policy");
    return 1;
}

// What is live.

static void push_record(lua_State *L, struct slice slug, struct redisReply *const *element,
                        size_t count) {
    lua_createtable(L, 0, 10);
    lua_pushlstring(L, slug.data, slug.size);
    lua_setfield(L, -2, "slug");
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (element[i]->type != REDIS_REPLY_STRING || element[i + 1]->type != REDIS_REPLY_STRING) {
            continue;
        }
        int64_t number;
        struct slice value = slice_make(element[i + 1]->str, element[i + 1]->len);
        lua_pushlstring(L, element[i]->str, element[i]->len);
        // `boot` and `broadcast` are words even where they happen to be digits.
        bool word = strcmp(element[i]->str, "boot") == 0 || strcmp(element[i]->str, "broadcast") == 0;
        if (!word && slice_to_i64(value, &number)) {
            lua_pushinteger(L, number);
        } else {
            lua_pushlstring(L, value.data, value.size);
        }
        lua_rawset(L, -3);
    }
}

struct live_query {
    lua_pending handle;
    char slug[SLUG_LIMIT + 1];
};

static void on_live(void *context, const redisReply *reply, const char *error) {
    struct live_query *query = context;
    lua_State *co = lua_pending_take(query->handle);
    if (co && (error || reply->type != REDIS_REPLY_ARRAY)) {
        lua_pending_fail(co, "redis: %s", error ? error : reply->str);
    } else if (co && reply->elements == 0) {
        lua_pushnil(co);
        lua_pending_resume(co, 1);
    } else if (co) {
        push_record(co, slice_of(query->slug), reply->element, reply->elements);
        lua_pending_resume(co, 1);
    }
    memory_free(query);
}

// streaming.live(slug) → { slug=, state=, since=, model=, broadcast=, thumb=, … } or nil
static int streaming_live(lua_State *L) {
    size_t size;
    const char *slug = luaL_checklstring(L, 1, &size);
    struct redis_client *redis = redis_of(L);
    if (!slug_valid(slice_make(slug, size))) {
        lua_pushnil(L);
        return 1;
    }
    lua_pending handle = lua_pending_begin(L, "streaming.live", NULL, NULL);
    struct live_query *query = memory_zero(1, sizeof *query);
    query->handle = handle;
    memcpy(query->slug, slug, size);
    redis_format(redis, on_live, query, "HGETALL live:%s", query->slug);
    return lua_pending_yield(L, handle);
}

static void on_slugs(void *context, const redisReply *reply, const char *error) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (error || reply->type != REDIS_REPLY_ARRAY) {
        lua_pending_fail(co, "redis: %s", error ? error : reply->str);
        return;
    }
    size_t count = reply->elements < LIST_MOST ? reply->elements : LIST_MOST;
    lua_createtable(co, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(co, reply->element[i]->str, reply->element[i]->len);
        lua_rawseti(co, -2, (lua_Integer)i + 1);
    }
    lua_pending_resume(co, 1);
}

// streaming.list() → { slug, … } of all that is not offline
static int streaming_list(lua_State *L) {
    struct redis_client *redis = redis_of(L);
    lua_pending handle = lua_pending_begin(L, "streaming.list", NULL, NULL);
    redis_format(redis, on_slugs, lua_pending_context(handle), "SMEMBERS live");
    return lua_pending_yield(L, handle);
}

// Orders. They return when Redis has passed them on.

struct order_call {
    lua_pending handle;
    unsigned waiting;
    int64_t heard; ///< processes that got it
    char error[128];
};

static void on_ordered(void *context, const redisReply *reply, const char *error) {
    struct order_call *call = context;
    if (error || reply->type == REDIS_REPLY_ERROR) {
        snprintf(call->error, sizeof call->error, "%s", error ? error : reply->str);
    } else if (reply->type == REDIS_REPLY_INTEGER) {
        call->heard += reply->integer;
    }
    if (--call->waiting > 0) return;
    lua_State *co = lua_pending_take(call->handle);
    if (co && call->error[0]) {
        lua_pending_fail(co, "redis: %s", call->error);
    } else if (co) {
        lua_pushinteger(co, call->heard);
        lua_pending_resume(co, 1);
    }
    memory_free(call);
}

static void member(struct buffer *json, const char *name, const char *value) {
    if (!value || !*value) return;
    buffer_printf(json, ",\"%s\":\"", name);
    escape_json(json, slice_of(value));
    buffer_append_char(json, '"');
}

/// Takes the JSON over. `revoke` is a nonce to mark first, or NULL.
static int send_order(lua_State *L, const char *what, struct buffer *json, const char *revoke) {
    struct redis_client *redis = redis_of(L);
    lua_pending handle = lua_pending_begin(L, what, NULL, NULL);
    struct order_call *call = memory_zero(1, sizeof *call);
    call->handle = handle;
    call->waiting = revoke ? 3 : 2;
    if (revoke) {
        redis_format(redis, on_ordered, call, "SET ticket:%s revoked EX 90000", revoke);
    }
    redis_format(redis, on_ordered, call, "PUBLISH ctl:hooks %b", json->data, json->size);
    redis_format(redis, on_ordered, call, "PUBLISH ctl:media %b", json->data, json->size);
    buffer_free(json);
    return lua_pending_yield(L, handle);
}

// streaming.drop(slug, reason [, "viewers" | "publisher"]) → how many processes heard it
static int streaming_drop(lua_State *L) {
    const char *slug = luaL_checkstring(L, 1), *reason = luaL_optstring(L, 2, "");
    const char *who = luaL_optstring(L, 3, "");
    struct buffer json = {0};
    redis_of(L); // raises before anything is allocated
    if (!slug_valid(slice_of(slug))) return luaL_error(L, "slug is not one");
    buffer_append_text(&json, "{\"do\":\"drop\"");
    member(&json, "slug", slug);
    member(&json, "who", who);
    member(&json, "reason", reason);
    buffer_append_char(&json, '}');
    return send_order(L, "streaming.drop", &json, NULL);
}

// streaming.cut(sid, reason): one viewing session
static int streaming_cut(lua_State *L) {
    const char *sid = luaL_checkstring(L, 1), *reason = luaL_optstring(L, 2, "");
    struct buffer json = {0};
    redis_of(L);
    buffer_append_text(&json, "{\"do\":\"cut\"");
    member(&json, "sid", sid);
    member(&json, "reason", reason);
    buffer_append_char(&json, '}');
    return send_order(L, "streaming.cut", &json, NULL);
}

// streaming.kick(account, reason): all that an account watches or broadcasts
static int streaming_kick(lua_State *L) {
    lua_Integer account = luaL_checkinteger(L, 1);
    const char *reason = luaL_optstring(L, 2, "");
    struct buffer json = {0};
    redis_of(L);
    buffer_printf(&json, "{\"do\":\"kick\",\"account\":%lld", (long long)account);
    member(&json, "reason", reason);
    buffer_append_char(&json, '}');
    return send_order(L, "streaming.kick", &json, NULL);
}

// streaming.show(slug, show, reason): the stream is for the tickets of that show alone; 0: public again
static int streaming_show(lua_State *L) {
    const char *slug = luaL_checkstring(L, 1), *reason = luaL_optstring(L, 3, "");
    lua_Integer show = luaL_checkinteger(L, 2);
    struct buffer json = {0};
    redis_of(L);
    if (!slug_valid(slice_of(slug))) return luaL_error(L, "slug is not one");
    if (show < 0) return luaL_error(L, "a show has a number");
    buffer_printf(&json, "{\"do\":\"show\",\"show\":%lld", (long long)show);
    member(&json, "slug", slug);
    member(&json, "reason", reason);
    buffer_append_char(&json, '}');
    return send_order(L, "streaming.show", &json, NULL);
}

// streaming.revoke(ticket, reason): a ticket that nobody may begin with any more, and its session
static int streaming_revoke(lua_State *L) {
    size_t size;
    unsigned char key[TICKET_KEY_SIZE];
    const char *text = luaL_checklstring(L, 1, &size), *reason = luaL_optstring(L, 2, "");
    struct ticket ticket;
    struct buffer json = {0};
    redis_of(L);
    ticket_key(L, key);
    const char *wrong = ticket_read(&ticket, slice_make(text, size), key, 0);
    sodium_memzero(key, sizeof key);
    if (wrong) return luaL_error(L, "the ticket is %s", wrong);
    buffer_append_text(&json, "{\"do\":\"revoke\"");
    member(&json, "nonce", ticket.nonce);
    member(&json, "reason", reason);
    buffer_append_char(&json, '}');
    return send_order(L, "streaming.revoke", &json, ticket.nonce);
}

// streaming.addresses(slug, ticket) → { rtmp=, flv=, hls=, state= }: web ones are paths
static int streaming_addresses(lua_State *L) {
    const char *slug = luaL_checkstring(L, 1), *ticket = luaL_checkstring(L, 2);
    const struct settings *settings = runtime_of(L)->settings;
    lua_createtable(L, 0, 4);
    lua_pushfstring(L, "%s/%s?t=%s", settings_text(settings, "rtmp.play_url", "rtmp://localhost/live"),
                    slug, ticket);
    lua_setfield(L, -2, "rtmp");
    lua_pushfstring(L, "/media/flv/%s", ticket);
    lua_setfield(L, -2, "flv");
    lua_pushfstring(L, "/media/hls/%s/index.m3u8", ticket);
    lua_setfield(L, -2, "hls");
    lua_pushfstring(L, "/media/state/%s", ticket);
    lua_setfield(L, -2, "state");
    return 1;
}

// streaming.key_hash(key) → the name part of p:key:<…>
static int streaming_key_hash(lua_State *L) {
    size_t size;
    const char *key = luaL_checklstring(L, 1, &size);
    unsigned char digest[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof digest + 1];
    crypto_hash_sha256(digest, (const unsigned char *)key, size);
    sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
    lua_pushlstring(L, hex, sizeof hex - 1);
    return 1;
}

int lua_open_streaming(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"ticket", streaming_ticket},       {"issue_ticket", streaming_ticket},
        {"ingest_token", streaming_ingest_token},
        {"read_ticket", streaming_read_ticket}, {"live", streaming_live},
        {"list", streaming_list},           {"drop", streaming_drop},
        {"cut", streaming_cut},             {"kick", streaming_kick},
        {"revoke", streaming_revoke},       {"addresses", streaming_addresses},
        {"key_hash", streaming_key_hash},   {"show", streaming_show},
        {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

// The policy: exports of lua/hooks/init.lua (media asks lua/media/init.lua). They get a table and
// return nothing or true to allow, false and a reason to refuse. One that raises has refused.

struct policy_call {
    const struct streaming_question *question; ///< valid while the coroutine starts
    struct streaming_answer *answer;
};

static int push_question(lua_State *co, void *context) {
    const struct streaming_question *question = ((struct policy_call *)context)->question;
    lua_createtable(co, 0, 8);
    lua_pushlstring(co, question->slug.data, question->slug.size);
    lua_setfield(co, -2, "slug");
    lua_pushinteger(co, question->model);
    lua_setfield(co, -2, "model");
    lua_pushlstring(co, question->address.data, question->address.size);
    lua_setfield(co, -2, "address");
    if (question->ticket) {
        lua_pushinteger(co, question->ticket->account);
        lua_setfield(co, -2, "account");
        lua_pushinteger(co, question->ticket->rate);
        lua_setfield(co, -2, "rate");
        lua_pushinteger(co, (lua_Integer)question->ticket->show);
        lua_setfield(co, -2, "show");
        lua_pushstring(co, ticket_policy_name(question->ticket->policy));
        lua_setfield(co, -2, "policy");
    }
    return 1;
}

static void on_answer(void *context, lua_State *co, int results, const char *error) {
    struct policy_call *call = context;
    struct streaming_answer *answer = call->answer;
    memory_free(call);
    if (error) {
        log_error("streaming.policy", LOG_TEXT("error", error));
        streaming_answer(answer, false, "the policy failed");
        return;
    }
    bool refused = results > 0 && lua_isboolean(co, -results) && !lua_toboolean(co, -results);
    const char *reason = refused && results > 1 ? lua_tostring(co, -results + 1) : NULL;
    streaming_answer(answer, !refused, reason);
}

static void ask(struct runtime *runtime, const char *export,
                const struct streaming_question *question, struct streaming_answer *answer) {
    if (!lua_generations_has(runtime->generations, export)) {
        streaming_answer(answer, true, NULL);
        return;
    }
    struct policy_call *call = memory_zero(1, sizeof *call);
    *call = (struct policy_call){question, answer};
    lua_generations_call(runtime->generations, export, NULL, push_question, on_answer, call);
}

static void on_publish(void *context, const struct streaming_question *question,
                       struct streaming_answer *answer) {
    ask(context, "on_publish", question, answer);
}

static void on_play(void *context, const struct streaming_question *question,
                    struct streaming_answer *answer) {
    ask(context, "on_play", question, answer);
}

void lua_streaming_attach(struct runtime *runtime, struct streaming *streaming) {
    struct streaming_policy policy = {on_publish, on_play, runtime};
    streaming_set_policy(streaming, &policy);
}
