#include <assert.h>
#include <stdio.h>
#include "base/buffer.h"
#include "base/memory.h"
#include "realtime/script.h"
#include "websocket/sha1.h"

struct call {
    struct redis_client *client;
    struct realtime_script *script;
    redis_reply_fn *done;
    void *context;
    size_t keys, count;
    struct slice arguments[REALTIME_SCRIPT_ARGUMENTS];
    char bytes[];
};

static void issue(struct call *call, const char *verb, struct slice script, redis_reply_fn *done) {
    struct slice arguments[REALTIME_SCRIPT_ARGUMENTS + 3];
    char keys[8];
    snprintf(keys, sizeof keys, "%zu", call->keys);
    arguments[0] = slice_of(verb);
    arguments[1] = script;
    arguments[2] = slice_of(keys);
    for (size_t i = 0; i < call->count; i++) arguments[3 + i] = call->arguments[i];
    redis_call(call->client, arguments, call->count + 3, 0, done, call);
}

static void finish(void *context, const redisReply *reply, const char *error) {
    struct call *call = context;
    if (call->done) call->done(call->context, reply, error);
    memory_free(call);
}

static void on_reply(void *context, const redisReply *reply, const char *error) {
    struct call *call = context;
    if (reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0)
        issue(call, "EVAL", slice_of(call->script->text), finish);
    else
        finish(call, reply, error);
}

void realtime_script_call(struct redis_client *client, struct realtime_script *script, size_t keys,
                          const struct slice *arguments, size_t count, redis_reply_fn *done,
                          void *context) {
    assert(count <= REALTIME_SCRIPT_ARGUMENTS && keys <= count);
    if (!script->hash[0]) {
        uint8_t digest[SHA1_SIZE];
        sha1(slice_of(script->text), digest);
        for (size_t i = 0; i < sizeof digest; i++)
            snprintf(script->hash + 2 * i, 3, "%02x", digest[i]);
    }
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += arguments[i].size;
    struct call *call = memory_alloc(sizeof *call + size);
    *call = (struct call){.client = client, .script = script, .done = done, .context = context,
                          .keys = keys, .count = count};
    char *at = call->bytes;
    for (size_t i = 0; i < count; i++) {
        if (arguments[i].size > 0) memcpy(at, arguments[i].data, arguments[i].size);
        call->arguments[i] = slice_make(at, arguments[i].size);
        at += arguments[i].size;
    }
    issue(call, "EVALSHA", slice_of(script->hash), on_reply);
}
