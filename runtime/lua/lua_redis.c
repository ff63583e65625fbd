// runtime.redis: the main instance. Money has its own module and its own instance.
#include "lua/lua_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/hash.h"

enum {
    ARGUMENTS_MOST = 4096,
    LIMIT_MS = 5000,
    PIPELINE_MOST = 10000,
    QUEUE_MOST = 1000,
    REPLY_DEPTH = 8
};

static struct redis_client *client_of(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    if (!runtime->redis_main) {
        luaL_error(L, "redis is not available in the %s service", runtime->service);
    }
    return runtime->redis_main;
}

/// Redis' answer as one value: nil for nil, integers as integers, text for text and status, a table
/// for a list. An error inside a list is the table { err = text }.
static void push_reply(lua_State *L, const redisReply *reply, int depth) {
    if (depth > REPLY_DEPTH || !lua_checkstack(L, 6)) {
        lua_pushnil(L);
        return;
    }
    switch (reply->type) {
    case REDIS_REPLY_INTEGER: lua_pushinteger(L, reply->integer); break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS: lua_pushlstring(L, reply->str, reply->len); break;
    case REDIS_REPLY_ERROR:
        lua_createtable(L, 0, 1);
        lua_pushlstring(L, reply->str, reply->len);
        lua_setfield(L, -2, "err");
        break;
    case REDIS_REPLY_ARRAY:
        lua_createtable(L, (int)reply->elements, 0);
        for (size_t i = 0; i < reply->elements; i++) {
            push_reply(L, reply->element[i], depth + 1);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    default: lua_pushnil(L);
    }
}

void lua_redis_reply(void *context, const redisReply *reply, const char *error) {
    lua_State *co = lua_pending_take(lua_pending_of(context));
    if (!co) return;
    if (error || !reply) {
        lua_pending_fail(co, "redis: %s", error ? error : "no reply");
    } else if (reply->type == REDIS_REPLY_ERROR) {
        lua_pending_fail(co, "redis: %s", reply->str);
    } else {
        push_reply(co, reply, 0);
        lua_pending_resume(co, 1);
    }
}

/// The connection is everybody's: what blocks it or changes its state is not for it.
static bool is_forbidden(struct slice name) {
#define NAME(text) {"" text, sizeof text - 1}
    static const struct {
        const char *data;
        size_t size;
    } names[] = {
        NAME("SUBSCRIBE"), NAME("UNSUBSCRIBE"), NAME("PSUBSCRIBE"), NAME("PUNSUBSCRIBE"),
        NAME("SSUBSCRIBE"), NAME("SUNSUBSCRIBE"), NAME("MONITOR"), NAME("MULTI"), NAME("EXEC"),
        NAME("DISCARD"), NAME("WATCH"), NAME("UNWATCH"), NAME("BLPOP"), NAME("BRPOP"),
        NAME("BRPOPLPUSH"), NAME("BLMOVE"), NAME("BLMPOP"), NAME("BZPOPMIN"), NAME("BZPOPMAX"),
        NAME("BZMPOP"), NAME("WAIT"), NAME("SELECT"), NAME("AUTH"), NAME("HELLO"), NAME("QUIT"),
        NAME("RESET"), NAME("CLIENT"), NAME("SYNC"), NAME("PSYNC"), NAME("REPLCONF")};
#undef NAME
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (name.size == names[i].size && strncasecmp(name.data, names[i].data, name.size) == 0)
            return true;
    }
    return false;
}

/// One argument as text; numbers are written as Redis wants them. The value at `index` is replaced
/// by its text where it was a number, which keeps the slice valid.
static struct slice check_argument(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TNUMBER && !lua_isinteger(L, index)) {
        char text[40];
        snprintf(text, sizeof text, "%.17g", lua_tonumber(L, index));
        lua_pushstring(L, text);
        lua_replace(L, index);
    } else if (lua_type(L, index) != LUA_TSTRING && lua_type(L, index) != LUA_TNUMBER) {
        luaL_error(L, "redis: an argument is a %s, not text or a number", luaL_typename(L, index));
    }
    size_t size;
    const char *text = lua_tolstring(L, index, &size);
    return slice_make(text, size);
}

struct slice *lua_redis_arguments(lua_State *L, int first, struct slice few[LUA_REDIS_FEW],
                                  size_t *count, bool shared) {
    int top = lua_gettop(L);
    if (top < first || top - first >= ARGUMENTS_MOST) luaL_error(L, "redis: no or too many arguments");
    *count = (size_t)(top - first + 1);
    struct slice *arguments = few;
    if (*count > LUA_REDIS_FEW) arguments = lua_newuserdatauv(L, *count * sizeof *arguments, 0);
    for (size_t i = 0; i < *count; i++) arguments[i] = check_argument(L, first + (int)i);
    if (!shared) return arguments;
    if (is_forbidden(arguments[0])) {
        luaL_error(L, "redis: %s cannot be used on a shared connection (redis.connect)", arguments[0].data);
    }
    bool reads = slice_equal_fold(arguments[0], SLICE("XREAD")) ||
                 slice_equal_fold(arguments[0], SLICE("XREADGROUP"));
    for (size_t i = 1; reads && i < *count && i < 8; i++) {
        if (slice_equal_fold(arguments[i], SLICE("BLOCK"))) {
            luaL_error(L, "redis: XREAD with BLOCK cannot be used on a shared connection");
        }
    }
    return arguments;
}

// call(command, …): the answer; raises what Redis calls an error.
static int redis_call_lua(lua_State *L) {
    struct redis_client *client = client_of(L);
    size_t count;
    struct slice few[LUA_REDIS_FEW];
    const struct slice *arguments = lua_redis_arguments(L, 1, few, &count, true);
    lua_pending handle = lua_pending_begin(L, "redis.call", NULL, NULL);
    redis_call(client, arguments, count, lua_pending_left(L, LIMIT_MS), lua_redis_reply,
               lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// publish(channel, message): how many subscribers heard it.
static int redis_publish_lua(lua_State *L) {
    struct redis_client *client = client_of(L);
    struct slice arguments[3] = {SLICE("PUBLISH"), check_argument(L, 1), check_argument(L, 2)};
    lua_pending handle = lua_pending_begin(L, "redis.publish", NULL, NULL);
    redis_call(client, arguments, 3, lua_pending_left(L, LIMIT_MS), lua_redis_reply, lua_pending_context(handle));
    return lua_pending_yield(L, handle);
}

// ---- pipeline -------------------------------------------------------------------------------

/// The answers are kept until the last one is there; the coroutine may be gone by then. The nodes of
/// a cluster answer in any order, so each command knows its place.
struct pipeline_command {
    struct pipeline *pipeline;
    redisReply *reply;
    char *error;
};
struct pipeline {
    lua_pending handle;
    size_t count, came;
    struct pipeline_command commands[];
};

static redisReply *reply_copy(const redisReply *from) {
    redisReply *to = memory_zero(1, sizeof *to);
    *to = *from;
    to->str = NULL;
    to->element = NULL;
    if (from->str) {
        to->str = memory_alloc(from->len + 1);
        memcpy(to->str, from->str, from->len);
        to->str[from->len] = 0;
    }
    if (from->elements > 0) {
        to->element = memory_zero(from->elements, sizeof(redisReply *));
        for (size_t i = 0; i < from->elements; i++) to->element[i] = reply_copy(from->element[i]);
    }
    return to;
}

static void reply_free(redisReply *reply) {
    if (!reply) return;
    for (size_t i = 0; i < reply->elements; i++) reply_free(reply->element[i]);
    memory_free(reply->element);
    memory_free(reply->str);
    memory_free(reply);
}

static void pipeline_finish(struct pipeline *pipeline) {
    lua_State *co = lua_pending_take(pipeline->handle);
    char *error = NULL;
    for (size_t i = 0; i < pipeline->count; i++) { // the first error, in the order of the commands
        if (!error) error = pipeline->commands[i].error;
        else memory_free(pipeline->commands[i].error);
    }
    if (co && !error) {
        lua_createtable(co, (int)pipeline->count, 1);
        for (size_t i = 0; i < pipeline->count; i++) {
            push_reply(co, pipeline->commands[i].reply, 0);
            lua_rawseti(co, -2, (lua_Integer)i + 1);
        }
        lua_pushinteger(co, (lua_Integer)pipeline->count);
        lua_setfield(co, -2, "n");
    }
    for (size_t i = 0; i < pipeline->count; i++) reply_free(pipeline->commands[i].reply);
    memory_free(pipeline);
    if (!co) {
        memory_free(error);
    } else if (error) {
        lua_pushfstring(co, "redis: %s", error);
        memory_free(error);
        lua_pending_raise(co);
    } else {
        lua_pending_resume(co, 1);
    }
}

static void on_pipeline_reply(void *context, const redisReply *reply, const char *error) {
    struct pipeline_command *command = context;
    struct pipeline *pipeline = command->pipeline;
    if (reply && reply->type == REDIS_REPLY_ERROR) error = reply->str;
    if (error) command->error = memory_copy_string(error);
    if (reply) command->reply = reply_copy(reply);
    if (++pipeline->came == pipeline->count) pipeline_finish(pipeline);
}

// p.call(command, …) inside pipeline: upvalue 1 is the list of commands.
static int pipeline_add(lua_State *L) {
    size_t count;
    // p:call(…) is what some write; the object itself is then the first argument.
    int first = lua_type(L, 1) == LUA_TTABLE ? 2 : 1;
    struct slice few[LUA_REDIS_FEW];
    lua_redis_arguments(L, first, few, &count, true);
    lua_Integer commands = (lua_Integer)lua_rawlen(L, lua_upvalueindex(1));
    if (commands >= PIPELINE_MOST) return luaL_error(L, "redis: too many commands in one pipeline");
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushvalue(L, first + (int)i);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_rawseti(L, lua_upvalueindex(1), commands + 1);
    return 0;
}

// pipeline(function(p) p.call(…) … end): the answers in order (n of them). All commands are sent in
// one write. If one fails its error is raised after all have run.
static int redis_pipeline_lua(lua_State *L) {
    struct redis_client *client = client_of(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_newtable(L); // [2] the commands
    lua_pushvalue(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, pipeline_add, 1);
    lua_setfield(L, -2, "call");
    lua_call(L, 1, 0); // only collects: it cannot wait in here
    size_t count = lua_rawlen(L, 2);
    if (count == 0) {
        lua_createtable(L, 0, 1);
        lua_pushinteger(L, 0);
        lua_setfield(L, -2, "n");
        return 1;
    }
    lua_pending handle = lua_pending_begin(L, "redis.pipeline", NULL, NULL);
    unsigned limit = lua_pending_left(L, LIMIT_MS);
    struct pipeline *pipeline =
        memory_zero(1, sizeof *pipeline + count * sizeof *pipeline->commands);
    pipeline->handle = handle;
    pipeline->count = count;
    struct slice *arguments = NULL;
    size_t room = 0;
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        size_t size = lua_rawlen(L, -1);
        if (size > room) {
            room = size;
            arguments = memory_resize(arguments, room * sizeof *arguments);
        }
        for (size_t k = 0; k < size; k++) {
            lua_rawgeti(L, -1, (lua_Integer)k + 1); // a string by now, kept by its table
            size_t bytes;
            const char *text = lua_tolstring(L, -1, &bytes);
            arguments[k] = slice_make(text, bytes);
            lua_pop(L, 1);
        }
        pipeline->commands[i].pipeline = pipeline;
        redis_call(client, arguments, size, limit, on_pipeline_reply, &pipeline->commands[i]);
        lua_pop(L, 1);
    }
    memory_free(arguments);
    return lua_pending_yield(L, handle);
}

// ---- scripts --------------------------------------------------------------------------------

/// Script text → its SHA as Redis said it, for this process.
static struct hash known_scripts;
enum { KNOWN_SCRIPTS_MOST = 500 };

static void on_script_loaded(void *context, const redisReply *reply, const char *error) {
    char *code = context;
    if (!error && reply->type == REDIS_REPLY_STRING && hash_count(&known_scripts) < KNOWN_SCRIPTS_MOST) {
        memory_free(hash_put(&known_scripts, slice_of(code), memory_copy_string(reply->str)));
    }
    memory_free(code);
}

/// A script that is run by its SHA, with what is needed to send the text if Redis forgot it.
struct script_call {
    lua_pending handle;
    struct redis_client *client;
    unsigned limit;
    size_t count;
    struct slice *arguments; ///< [0] EVALSHA, [1] the SHA; all in one block behind
    char *code;
    size_t code_size;
};

static void script_free(struct script_call *call) {
    memory_free(call->arguments);
    memory_free(call->code);
    memory_free(call);
}

static void on_script_reply(void *context, const redisReply *reply, const char *error) {
    struct script_call *call = context;
    if (reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0) {
        call->arguments[0] = SLICE("EVAL");
        call->arguments[1] = slice_make(call->code, call->code_size);
        redis_call(call->client, call->arguments, call->count, call->limit, lua_redis_reply,
                   lua_pending_context(call->handle));
    } else {
        lua_redis_reply(lua_pending_context(call->handle), reply, error);
    }
    script_free(call);
}

static struct script_call *script_call_new(const struct slice *arguments, size_t count, struct slice code) {
    struct script_call *call = memory_zero(1, sizeof *call);
    size_t bytes = count * sizeof(struct slice);
    for (size_t i = 0; i < count; i++) bytes += arguments[i].size;
    call->arguments = memory_alloc(bytes);
    char *at = (char *)(call->arguments + count);
    for (size_t i = 0; i < count; i++) {
        if (arguments[i].size) memcpy(at, arguments[i].data, arguments[i].size);
        call->arguments[i] = slice_make(at, arguments[i].size);
        at += arguments[i].size;
    }
    call->count = count;
    call->code = memory_copy_string(code.data);
    call->code_size = code.size;
    return call;
}

// eval(code, keys, arguments): runs a script; after the first time by its SHA.
int lua_redis_eval(lua_State *L) {
    struct redis_client *client = client_of(L);
    struct slice code = check_argument(L, 1);
    lua_settop(L, 3);
    for (int i = 2; i <= 3; i++) {
        if (!lua_isnil(L, i)) luaL_checktype(L, i, LUA_TTABLE);
    }
    size_t keys = lua_isnil(L, 2) ? 0 : lua_rawlen(L, 2);
    size_t values = lua_isnil(L, 3) ? 0 : lua_rawlen(L, 3);
    if (keys + values > ARGUMENTS_MOST) return luaL_error(L, "redis: too many arguments");
    luaL_checkstack(L, (int)(keys + values) + 8, "redis.eval");
    size_t count = 3 + keys + values;
    struct slice *arguments = lua_newuserdatauv(L, count * sizeof *arguments, 0);
    char number[24];
    snprintf(number, sizeof number, "%zu", keys);
    arguments[2] = slice_of(number);
    for (size_t i = 0; i < keys + values; i++) {
        lua_rawgeti(L, i < keys ? 2 : 3, (lua_Integer)(i < keys ? i : i - keys) + 1);
        arguments[3 + i] = check_argument(L, lua_gettop(L)); // stays on the stack, so it stays valid
    }
    const char *sha = hash_get(&known_scripts, code);
    lua_pending handle = lua_pending_begin(L, "redis.eval", NULL, NULL);
    unsigned limit = lua_pending_left(L, LIMIT_MS);
    if (sha) {
        arguments[0] = SLICE("EVALSHA");
        arguments[1] = slice_of(sha);
        struct script_call *call = script_call_new(arguments, count, code);
        call->handle = handle;
        call->client = client;
        call->limit = limit;
        redis_call(client, arguments, count, limit, on_script_reply, call);
    } else {
        struct slice load[3] = {SLICE("SCRIPT"), SLICE("LOAD"), code};
        if (memchr(code.data, 0, code.size) == NULL) {
            redis_call(client, load, 3, limit, on_script_loaded, memory_copy_string(code.data));
        }
        arguments[0] = SLICE("EVAL");
        arguments[1] = code;
        redis_call(client, arguments, count, limit, lua_redis_reply, lua_pending_context(handle));
    }
    return lua_pending_yield(L, handle);
}

// ---- subscriptions --------------------------------------------------------------------------

struct message {
    struct message *next;
    size_t size;
    char data[];
};

struct subscription {
    struct redis_subscriber *subscriber; ///< NULL once closed
    struct message *first, *last;
    size_t count;
    lua_Integer lost;
    lua_pending waiting; ///< receive, or subscribe itself
    bool starting;
    char *channel;
};

static void on_message(void *context, struct slice channel, struct slice text) {
    struct subscription *s = context;
    (void)channel;
    lua_State *co = s->waiting && !s->starting ? lua_pending_take(s->waiting) : NULL;
    if (co) {
        s->waiting = 0;
        lua_pushlstring(co, text.data, text.size);
        lua_pushboolean(co, 1);
        lua_pending_resume(co, 2);
        return;
    }
    if (s->count >= QUEUE_MOST) { // who does not listen loses the oldest
        struct message *oldest = s->first;
        s->first = oldest->next;
        memory_free(oldest);
        s->count--;
        s->lost++;
    }
    struct message *message = memory_alloc(sizeof *message + text.size);
    message->next = NULL;
    message->size = text.size;
    memcpy(message->data, text.data, text.size);
    if (s->first) {
        s->last->next = message;
    } else {
        s->first = message;
    }
    s->last = message;
    s->count++;
}

static void on_subscribed(void *context, bool ok) {
    struct subscription *s = context;
    (void)ok;
    s->starting = false;
    lua_State *co = lua_pending_take(s->waiting);
    s->waiting = 0;
    if (co) lua_pending_resume(co, 0);
}

static void subscription_close(struct subscription *s) {
    if (s->subscriber) redis_unsubscribe(s->subscriber, slice_of(s->channel), on_message, s);
    s->subscriber = NULL;
    while (s->first) {
        struct message *next = s->first->next;
        memory_free(s->first);
        s->first = next;
    }
    s->count = 0;
    memory_free(s->channel);
    s->channel = NULL;
}

static int subscription_close_lua(lua_State *L) {
    subscription_close(luaL_checkudata(L, 1, "runtime.redis.subscription"));
    return 0;
}

static int after_subscribe(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    struct subscription *s = lua_touserdata(L, 2);
    s->waiting = 0;
    if (values > 0) {
        subscription_close(s);
        return luaL_error(L, "redis: the subscription was not confirmed in time");
    }
    lua_settop(L, 2);
    return 1;
}

// subscribe(channel): a subscription, once it is in force.
static int redis_subscribe_lua(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    if (!runtime->subscriber) {
        return luaL_error(L, "redis is not available in the %s service", runtime->service);
    }
    const char *channel = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    struct subscription *s = lua_newuserdatauv(L, sizeof *s, 0); // [2]
    memset(s, 0, sizeof *s);
    luaL_setmetatable(L, "runtime.redis.subscription");
    s->waiting = lua_pending_begin(L, "redis.subscribe", NULL, NULL);
    s->starting = true;
    s->channel = memory_copy_string(channel);
    s->subscriber = runtime->subscriber;
    redis_subscribe(s->subscriber, slice_of(channel), on_message, on_subscribed, s);
    lua_pending_after(s->waiting, lua_pending_left(L, LIMIT_MS));
    return lua_pending_yield_then(L, s->waiting, after_subscribe);
}

// A message comes with a second value; the text "timeout" alone is the limit.
static int after_receive(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    struct subscription *s = lua_touserdata(L, 1);
    s->waiting = 0;
    if (values == 2) {
        lua_pop(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

// subscription:receive([seconds]): the next message, or nil and "timeout".
static int subscription_receive(lua_State *L) {
    struct subscription *s = luaL_checkudata(L, 1, "runtime.redis.subscription");
    double seconds = luaL_optnumber(L, 2, 86400 * 365);
    luaL_argcheck(L, seconds >= 0 && seconds <= 86400 * 365, 2, "out of range");
    if (!s->subscriber) return luaL_error(L, "redis: the subscription is closed");
    struct message *message = s->first;
    if (message) {
        s->first = message->next;
        s->count--;
        lua_pushlstring(L, message->data, message->size);
        memory_free(message);
        return 1;
    }
    lua_settop(L, 1);
    s->waiting = lua_pending_begin(L, "redis.receive", NULL, NULL);
    lua_pending_idle(s->waiting);
    lua_pending_after(s->waiting, (uint64_t)(seconds * 1000));
    return lua_pending_yield_then(L, s->waiting, after_receive);
}

// subscription:lost(): how many messages were dropped because nobody received them.
static int subscription_lost(lua_State *L) {
    lua_pushinteger(L, ((struct subscription *)luaL_checkudata(L, 1, "runtime.redis.subscription"))->lost);
    return 1;
}

int lua_open_redis(lua_State *L) {
    static const luaL_Reg methods[] = {{"receive", subscription_receive},
                                       {"lost", subscription_lost},
                                       {"close", subscription_close_lua},
                                       {NULL, NULL}};
    static const luaL_Reg functions[] = {{"call", redis_call_lua},
                                         {"publish", redis_publish_lua},
                                         {"pipeline", redis_pipeline_lua},
                                         {"eval", lua_redis_eval},
                                         {"subscribe", redis_subscribe_lua},
                                         {"script", lua_redis_script},
                                         {"connect", lua_redis_connect},
                                         {NULL, NULL}};
    luaL_newmetatable(L, "runtime.redis.subscription");
    lua_pushcfunction(L, subscription_close_lua);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, subscription_close_lua);
    lua_setfield(L, -2, "__close");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
