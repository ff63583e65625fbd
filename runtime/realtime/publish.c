#include <stdio.h>
#include "base/escape.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/utf8.h"
#include "realtime/channel_name.h"
#include "realtime/publish.h"
#include "realtime/script.h"
#include "sockjs/json.h"

enum { META_SECONDS = 30 * 24 * 3600, READ_MAX = 1000, DEPTH = 16 };

// KEYS: meta, stream. ARGV: channel, message, length of history, seconds, an epoch in case there is
// none, offset of a message to take out, "*" for all or "". A numbering that was lost starts in a
// new epoch with an empty stream.
static struct realtime_script publish_history = {.text =
    "local epoch = redis.call('HGET', KEYS[1], 'e')\n"
    "if not epoch then\n"
    "  epoch = ARGV[5]\n"
    "  redis.call('DEL', KEYS[2])\n"
    "  redis.call('HSET', KEYS[1], 'e', epoch, 'o', 0)\n"
    "end\n"
    "if ARGV[6] == '*' then redis.call('DEL', KEYS[2])\n"
    "elseif ARGV[6] ~= '' then redis.call('XDEL', KEYS[2], ARGV[6] .. '-0') end\n"
    "local offset = redis.call('HINCRBY', KEYS[1], 'o', 1)\n"
    "redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], offset .. '-0', 'd', ARGV[2])\n"
    "redis.call('EXPIRE', KEYS[2], ARGV[4])\n"
    "redis.call('EXPIRE', KEYS[1], ARGV[7])\n"
    "redis.call('PUBLISH', 'rt:c:' .. ARGV[1], 'p ' .. offset .. ' ' .. epoch .. ' ' .. ARGV[2])\n"
    "return {offset, epoch}\n"};

// KEYS: state. ARGV: channel, message, seconds, version or "".
static struct realtime_script publish_state = {.text =
    "local version\n"
    "if ARGV[4] ~= '' then\n"
    "  local kept = redis.call('HGET', KEYS[1], 'v')\n"
    "  if kept and tonumber(ARGV[4]) < tonumber(kept) then return {tonumber(kept), ''} end\n"
    "  version = ARGV[4]\n"
    "  redis.call('HSET', KEYS[1], 'v', version, 'd', ARGV[2])\n"
    "else\n"
    "  version = redis.call('HINCRBY', KEYS[1], 'v', 1)\n"
    "  redis.call('HSET', KEYS[1], 'd', ARGV[2])\n"
    "end\n"
    "redis.call('EXPIRE', KEYS[1], ARGV[3])\n"
    "redis.call('PUBLISH', 'rt:c:' .. ARGV[1], 's ' .. version .. ' ' .. ARGV[2])\n"
    "return {tonumber(version), ''}\n"};

// KEYS: meta, stream. ARGV: since or -1, most.
static struct realtime_script read_history = {.text =
    "local epoch = redis.call('HGET', KEYS[1], 'e')\n"
    "if not epoch then return {0, '', 0} end\n"
    "local out = {tonumber(redis.call('HGET', KEYS[1], 'o')), epoch, 0}\n"
    "local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]\n"
    "if first then out[3] = tonumber(string.match(first[1], '^%d+')) end\n"
    "if tonumber(ARGV[1]) >= 0 then\n"
    "  for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '(' .. ARGV[1] .. '-0', '+',\n"
    "      'COUNT', ARGV[2])) do\n"
    "    out[#out + 1] = tonumber(string.match(entry[1], '^%d+'))\n"
    "    out[#out + 1] = entry[2][2]\n"
    "  end\n"
    "end\n"
    "return out\n"};

struct publication {
    realtime_published_fn *done;
    void *context;
    char channel[REALTIME_CHANNEL_MAX + 1];
};

static const char *error_text(const redisReply *reply, const char *error) {
    if (error) return error;
    return reply->type == REDIS_REPLY_ERROR ? reply->str : NULL;
}

static void on_published(void *context, const redisReply *reply, const char *error) {
    struct publication *publication = context;
    const char *problem = error_text(reply, error);
    int64_t offset = 0;
    const char *epoch = "";
    if (!problem && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        offset = reply->element[0]->integer;
        epoch = reply->element[1]->str;
    }
    if (problem && !publication->done)
        log_warn("realtime.publish_failed", LOG_TEXT("channel", publication->channel),
                 LOG_TEXT("error", problem));
    if (publication->done) publication->done(publication->context, offset, epoch, problem);
    memory_free(publication);
}

static struct slice key(char *out, size_t room, const char *prefix, struct slice channel) {
    int size = snprintf(out, room, "%s%.*s", prefix, SLICE_FORMAT(channel));
    return slice_make(out, (size_t)size);
}
enum { KEY_MAX = REALTIME_CHANNEL_MAX + 8 };

/// A version is taken from the message, where its sender numbers its states itself (balances).
static struct slice version_of(struct slice json) {
    struct json_value version = json_member(json_parse(json, DEPTH), "version");
    int64_t number;
    return json_integer(version, &number) && number >= 0 ? version.raw : SLICE("");
}

static void publish(struct redis_client *main, struct slice channel, struct slice json,
                    int64_t removed, realtime_published_fn *done, void *context) {
    const struct realtime_namespace *space = realtime_namespace_of(channel);
    if (!space || json.size > REALTIME_MESSAGE_MAX || !utf8_valid(json) ||
        json_parse(json, DEPTH).kind == JSON_NONE) {
        // A bug of the caller's: what people send was checked long before. Nothing is called back
        // inside this call, so the refusal travels by way of Redis' own answer to nonsense.
        log_error("realtime.publish_refused",
                  LOG_SLICE("channel", slice_sub(channel, 0, REALTIME_CHANNEL_MAX)),
                  LOG_TEXT("reason", space ? "the message is no JSON of at most 64 KiB"
                                           : "no such channel"));
        space = NULL;
    }
    struct publication *publication = memory_zero(1, sizeof *publication);
    publication->done = done;
    publication->context = context;
    snprintf(publication->channel, sizeof publication->channel, "%.*s",
             SLICE_FORMAT(slice_sub(channel, 0, REALTIME_CHANNEL_MAX)));
    if (!space) {
        struct slice refuse[] = {SLICE("EVAL"),
                                 SLICE("return redis.error_reply('REFUSED channel or message')"),
                                 SLICE("0")};
        redis_call(main, refuse, 3, 0, on_published, publication);
        return;
    }
    char one[KEY_MAX], two[KEY_MAX], length[16], seconds[16], meta[16], epoch[16], gone[24] = "";
    snprintf(length, sizeof length, "%u", space->history);
    snprintf(seconds, sizeof seconds, "%u", space->seconds);
    snprintf(meta, sizeof meta, "%d", META_SECONDS);
    snprintf(epoch, sizeof epoch, "%08llx", (unsigned long long)random_below(UINT32_MAX));
    if (removed == REALTIME_ALL) snprintf(gone, sizeof gone, "*");
    else if (removed > 0) snprintf(gone, sizeof gone, "%lld", (long long)removed);
    if (space->memory == REALTIME_HISTORY) {
        struct slice arguments[] = {key(one, KEY_MAX, "rt:m:", channel),
                                    key(two, KEY_MAX, "rt:h:", channel), channel, json,
                                    slice_of(length), slice_of(seconds), slice_of(epoch),
                                    slice_of(gone), slice_of(meta)};
        realtime_script_call(main, &publish_history, 2, arguments, 9, on_published, publication);
    } else if (space->memory == REALTIME_STATE) {
        struct slice arguments[] = {key(one, KEY_MAX, "rt:s:", channel), channel, json,
                                    slice_of(seconds), version_of(json)};
        realtime_script_call(main, &publish_state, 1, arguments, 5, on_published, publication);
    } else {
        struct buffer envelope = {0};
        buffer_append_text(&envelope, "e ");
        buffer_append_slice(&envelope, json);
        struct slice arguments[] = {SLICE("PUBLISH"), key(one, KEY_MAX, "rt:c:", channel),
                                    buffer_slice(&envelope)};
        redis_call(main, arguments, 3, 0, on_published, publication);
        buffer_free(&envelope);
    }
}

void realtime_publish(struct redis_client *main, struct slice channel, struct slice json) {
    publish(main, channel, json, 0, NULL, NULL);
}

void realtime_publish_then(struct redis_client *main, struct slice channel, struct slice json,
                           realtime_published_fn *done, void *context) {
    publish(main, channel, json, 0, done, context);
}

void realtime_rewrite(struct redis_client *main, struct slice channel, int64_t offset,
                      struct slice json, realtime_published_fn *done, void *context) {
    publish(main, channel, json, offset, done, context);
}

// ---- reading ---------------------------------------------------------------------------------

struct reading {
    realtime_past_fn *done;
    void *context;
    bool state;
};

static void on_state(struct reading *reading, const redisReply *reply) {
    struct realtime_past past = {.epoch = ""};
    struct realtime_entry entry;
    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[0]->str &&
        reply->element[1]->str) {
        slice_to_i64(slice_make(reply->element[0]->str, reply->element[0]->len), &past.offset);
        entry.offset = past.oldest = past.offset;
        entry.json = slice_make(reply->element[1]->str, reply->element[1]->len);
        past.entries = &entry;
        past.count = 1;
    }
    reading->done(reading->context, &past, NULL);
}

static void on_history(struct reading *reading, const redisReply *reply) {
    struct realtime_past past = {.epoch = ""};
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3) {
        reading->done(reading->context, &past, NULL);
        return;
    }
    past.offset = reply->element[0]->integer;
    past.epoch = reply->element[1]->str;
    past.oldest = reply->element[2]->integer;
    past.count = (reply->elements - 3) / 2;
    struct realtime_entry *entries = memory_zero(past.count + 1, sizeof *entries);
    for (size_t i = 0; i < past.count; i++) {
        const redisReply *json = reply->element[4 + 2 * i];
        entries[i].offset = reply->element[3 + 2 * i]->integer;
        entries[i].json = slice_make(json->str, json->len);
    }
    past.entries = entries;
    reading->done(reading->context, &past, NULL);
    memory_free(entries);
}

static void on_read(void *context, const redisReply *reply, const char *error) {
    struct reading *reading = context;
    const char *problem = error_text(reply, error);
    if (problem) reading->done(reading->context, NULL, problem);
    else if (reading->state) on_state(reading, reply);
    else on_history(reading, reply);
    memory_free(reading);
}

void realtime_read(struct redis_client *main, struct slice channel, int64_t since,
                   realtime_past_fn *done, void *context) {
    const struct realtime_namespace *space = realtime_namespace_of(channel);
    struct reading *reading = memory_zero(1, sizeof *reading);
    reading->done = done;
    reading->context = context;
    reading->state = space && space->memory == REALTIME_STATE;
    char one[KEY_MAX], two[KEY_MAX], after[24], most[16];
    channel = slice_sub(channel, 0, REALTIME_CHANNEL_MAX);
    if (reading->state) {
        struct slice arguments[] = {SLICE("HMGET"), key(one, KEY_MAX, "rt:s:", channel),
                                    SLICE("v"), SLICE("d")};
        redis_call(main, arguments, 4, 0, on_read, reading);
        return;
    }
    snprintf(after, sizeof after, "%lld", (long long)since);
    snprintf(most, sizeof most, "%d", READ_MAX);
    struct slice arguments[] = {key(one, KEY_MAX, "rt:m:", channel),
                                key(two, KEY_MAX, "rt:h:", channel), slice_of(after),
                                slice_of(most)};
    realtime_script_call(main, &read_history, 2, arguments, 4, on_read, reading);
}

void realtime_order(struct redis_client *main, struct slice json) {
    struct slice arguments[] = {SLICE("PUBLISH"), SLICE("ctl:realtime"), json};
    redis_call(main, arguments, 3, 0, NULL, NULL);
}
