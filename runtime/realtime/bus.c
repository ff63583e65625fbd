#include <stdio.h>
#include "base/memory.h"
#include "realtime/internal.h"
#include "realtime/script.h"

/// What carries requests of SockJS sessions from the instance that they reach to the one that has
/// the session (sockjs/relay.h): `rt:at:<path>/<session>` says who, `rt:node:<node>` takes it there.
enum { CLAIM_SECONDS = 90 };

static struct realtime_script claim_script = {
    .text = "local v = redis.call('get', KEYS[1]) "
            "if v and v ~= ARGV[3] then return v end "
            "if ARGV[4] == '1' then "
            "redis.call('set', KEYS[1], ARGV[1], 'EX', ARGV[2]) return ARGV[1] end "
            "if v then redis.call('del', KEYS[1]) end "
            "return ''"};
static struct realtime_script release_script = {
    .text = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end "
            "return 0"};

static struct slice name_of(const char *prefix, struct slice name, struct buffer *out) {
    buffer_append_text(out, prefix);
    buffer_append_slice(out, name);
    return buffer_slice(out);
}

struct question {
    struct hub *hub;
    sockjs_owner_fn *told;
    void *to;
};

static void on_claimed(void *context, const redisReply *reply, const char *error) {
    struct question *question = context;
    bool known = reply && !error && reply->type == REDIS_REPLY_STRING;
    question->told(question->to,
                   known ? slice_make(reply->str, reply->len) : (struct slice){0}, known);
    hub_answered(question->hub);
    memory_free(question);
}

static void claim(void *context, struct slice key, bool take, struct slice dead,
                  sockjs_owner_fn *told, void *to) {
    struct hub *hub = context;
    struct question *question = memory_zero(1, sizeof *question);
    *question = (struct question){hub, told, to};
    struct buffer name = {0};
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", CLAIM_SECONDS);
    struct slice arguments[] = {name_of("rt:at:", key, &name), slice_of(hub->node),
                                slice_of(seconds), dead, slice_of(take ? "1" : "0")};
    hub->owed++;
    realtime_script_call(hub->options.redis, &claim_script, 1, arguments, 5, on_claimed, question);
    buffer_free(&name);
}

static void keep(void *context, struct slice key) {
    struct hub *hub = context;
    struct buffer name = {0};
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", CLAIM_SECONDS);
    struct slice arguments[] = {SLICE("SET"), name_of("rt:at:", key, &name), slice_of(hub->node),
                                SLICE("EX"), slice_of(seconds)};
    redis_call(hub->options.redis, arguments, 5, 0, NULL, NULL);
    buffer_free(&name);
}

static void release(void *context, struct slice key) {
    struct hub *hub = context;
    struct buffer name = {0};
    struct slice arguments[] = {name_of("rt:at:", key, &name), slice_of(hub->node)};
    realtime_script_call(hub->options.redis, &release_script, 1, arguments, 2, NULL, NULL);
    buffer_free(&name);
}

struct posting {
    struct hub *hub;
    sockjs_lost_fn *lost;
    uint64_t number;
    char node[48];
};

static void on_posted(void *context, const redisReply *reply, const char *error) {
    struct posting *posting = context;
    bool arrived = reply && !error && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0;
    if (!arrived) posting->lost(posting->hub->relay, slice_of(posting->node), posting->number);
    hub_answered(posting->hub);
    memory_free(posting);
}

static void post(void *context, struct slice node, struct slice message, sockjs_lost_fn *lost,
                 uint64_t number) {
    struct hub *hub = context;
    struct posting *posting = memory_zero(1, sizeof *posting);
    *posting = (struct posting){.hub = hub, .lost = lost, .number = number};
    snprintf(posting->node, sizeof posting->node, "%.*s", SLICE_FORMAT(node));
    struct buffer name = {0};
    struct slice arguments[] = {SLICE("PUBLISH"), name_of("rt:node:", node, &name), message};
    hub->owed++;
    redis_call(hub->options.redis, arguments, 3, 0, on_posted, posting);
    buffer_free(&name);
}

static void on_message(void *context, struct slice channel, struct slice message) {
    (void)channel;
    struct hub *hub = context;
    sockjs_relay_message(hub->relay, message);
}

struct sockjs_relay *bus_open(struct hub *hub) {
    struct sockjs_bus bus = {hub, hub->node, claim, keep, release, post};
    struct buffer name = {0};
    redis_subscribe(hub->options.subscriber, name_of("rt:node:", slice_of(hub->node), &name),
                    on_message, NULL, hub);
    buffer_free(&name);
    return sockjs_relay_new(hub->loop, &bus);
}

void bus_close(struct hub *hub) {
    struct buffer name = {0};
    redis_unsubscribe(hub->options.subscriber, name_of("rt:node:", slice_of(hub->node), &name),
                      on_message, hub);
    buffer_free(&name);
    sockjs_relay_stop(hub->relay);
}
