#include <stdio.h>
#include "base/clock.h"
#include "base/memory.h"
#include "realtime/internal.h"
#include "realtime/script.h"

/// Who is in a channel, over all instances. Each instance announces its own members with an
/// expiry that it keeps pushing ahead, so the members of one that died fade by themselves:
///   rt:p:C  zset  "<account>@<node>" and "#<node>" (its guests) by the time of their expiry, ms
///   rt:g:C  hash  node → number of guests; and "n", the count that was last published
/// Names are sent in batches, changed ones once a second, all of them every 20 s.
enum { EXPIRY_MS = 60000, BATCH = 500 };

struct member {
    struct list link; ///< of channel->changed_members
    int64_t account;
    uint32_t count;
    bool announced;
};

// KEYS: zset, hash. ARGV: channel, node, now, expiry, guests, members that are here, members that
// have left (both separated by spaces).
static struct realtime_script announce = {.text =
    "local zset, hash, node = KEYS[1], KEYS[2], ARGV[2]\n"
    "for id in string.gmatch(ARGV[6], '%S+') do\n"
    "  redis.call('ZADD', zset, ARGV[4], id .. '@' .. node)\n"
    "end\n"
    "for id in string.gmatch(ARGV[7], '%S+') do redis.call('ZREM', zset, id .. '@' .. node) end\n"
    "if ARGV[5] == '0' then\n"
    "  redis.call('ZREM', zset, '#' .. node)\n"
    "  redis.call('HDEL', hash, node)\n"
    "else\n"
    "  redis.call('ZADD', zset, ARGV[4], '#' .. node)\n"
    "  redis.call('HSET', hash, node, ARGV[5])\n"
    "end\n"
    "for _, gone in ipairs(redis.call('ZRANGEBYSCORE', zset, '-inf', ARGV[3])) do\n"
    "  redis.call('ZREM', zset, gone)\n"
    "  if string.sub(gone, 1, 1) == '#' then redis.call('HDEL', hash, string.sub(gone, 2)) end\n"
    "end\n"
    "local count, seen = 0, {}\n"
    "for _, member in ipairs(redis.call('ZRANGE', zset, 0, -1)) do\n"
    "  if string.sub(member, 1, 1) == '#' then\n"
    "    count = count + (tonumber(redis.call('HGET', hash, string.sub(member, 2))) or 0)\n"
    "  else\n"
    "    local id = string.match(member, '^[^@]+')\n"
    "    if not seen[id] then seen[id] = true; count = count + 1 end\n"
    "  end\n"
    "end\n"
    "if count == 0 then\n"
    "  redis.call('DEL', zset, hash)\n"
    "  redis.call('PUBLISH', 'rt:c:' .. ARGV[1], 'n 0')\n"
    "  return 0\n"
    "end\n"
    "redis.call('PEXPIRE', zset, 120000)\n"
    "redis.call('PEXPIRE', hash, 120000)\n"
    "if tonumber(redis.call('HGET', hash, 'n')) ~= count then\n"
    "  redis.call('HSET', hash, 'n', count)\n"
    "  redis.call('PUBLISH', 'rt:c:' .. ARGV[1], 'n ' .. count)\n"
    "end\n"
    "return count\n"};

static void mark(struct channel *channel) {
    if (list_empty(&channel->uncounted_link))
        list_push_back(&channel->hub->uncounted, &channel->uncounted_link);
}

static int64_t account_of(const struct subscription *subscription) {
    return subscription->client->account ? subscription->client->account->id : 0;
}

void presence_enter(struct subscription *subscription) {
    struct channel *channel = subscription->channel;
    if (!channel->space->presence) return;
    int64_t id = account_of(subscription);
    mark(channel);
    if (id == 0) {
        channel->guests++;
        return;
    }
    struct slice key = slice_make(&id, sizeof id);
    struct member *member = hash_get(&channel->members, key);
    if (!member) {
        member = memory_zero(1, sizeof *member);
        member->account = id;
        list_init(&member->link);
        hash_put(&channel->members, key, member);
    }
    if (member->count++ == 0 && list_empty(&member->link))
        list_push_back(&channel->changed_members, &member->link);
}

void presence_leave(struct subscription *subscription) {
    struct channel *channel = subscription->channel;
    if (!channel->space->presence) return;
    int64_t id = account_of(subscription);
    mark(channel);
    if (id == 0) {
        channel->guests--;
        return;
    }
    struct member *member = hash_get(&channel->members, slice_make(&id, sizeof id));
    if (member && --member->count == 0 && list_empty(&member->link))
        list_push_back(&channel->changed_members, &member->link);
}

static void call(struct channel *channel, struct slice here, struct slice left) {
    char zset[REALTIME_CHANNEL_MAX + 8], hash[REALTIME_CHANNEL_MAX + 8];
    char now[24], expiry[24], guests[16];
    int64_t ms = clock_wall_ms();
    snprintf(zset, sizeof zset, "rt:p:%s", channel->name);
    snprintf(hash, sizeof hash, "rt:g:%s", channel->name);
    snprintf(now, sizeof now, "%lld", (long long)ms);
    snprintf(expiry, sizeof expiry, "%lld", (long long)ms + EXPIRY_MS);
    snprintf(guests, sizeof guests, "%u", channel->guests);
    struct slice arguments[] = {slice_of(zset), slice_of(hash), channel_slice(channel),
                                slice_of(channel->hub->node), slice_of(now), slice_of(expiry),
                                slice_of(guests), here, left};
    // No answer is waited for: the count comes by the channel, to this instance as to all.
    realtime_script_call(channel->hub->options.redis, &announce, 2, arguments, 9, NULL, NULL);
}

static void append_id(struct buffer *out, int64_t id) {
    if (out->size > 0) buffer_append_char(out, ' ');
    buffer_append_i64(out, id);
}

static void announce_changes(struct channel *channel, bool all) {
    struct buffer here = {0}, left = {0};
    unsigned count = 0;
    list_each(&channel->changed_members, node) {
        struct member *member = container_of(node, struct member, link);
        list_remove(&member->link);
        int64_t id = member->account;
        if (member->count > 0) {
            if (!all) append_id(&here, id);
            member->announced = true;
        } else {
            if (member->announced) append_id(&left, id);
            hash_remove(&channel->members, slice_make(&id, sizeof id));
            memory_free(member);
        }
    }
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (all && hash_next(&channel->members, &cursor, &key, &value)) {
        append_id(&here, ((struct member *)value)->account);
        if (++count % BATCH == 0) {
            call(channel, buffer_slice(&here), (struct slice){0});
            buffer_clear(&here, SIZE_MAX);
        }
    }
    call(channel, buffer_slice(&here), buffer_slice(&left));
    buffer_free(&here);
    buffer_free(&left);
}

void presence_flush(struct hub *hub, bool refresh) {
    if (refresh) {
        size_t cursor = 0;
        struct slice key;
        void *value;
        while (hash_next(&hub->channels, &cursor, &key, &value)) {
            struct channel *channel = value;
            if (!channel->space->presence || channel->count == 0) continue;
            list_remove(&channel->uncounted_link);
            announce_changes(channel, true);
        }
    }
    list_each(&hub->uncounted, node) {
        struct channel *channel = container_of(node, struct channel, uncounted_link);
        list_remove(&channel->uncounted_link);
        announce_changes(channel, false);
    }
}

void presence_withdraw(struct channel *channel) {
    bool pending = !list_empty(&channel->uncounted_link);
    list_remove(&channel->uncounted_link);
    if (channel->space->presence && pending) announce_changes(channel, false);
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&channel->members, &cursor, &key, &value)) memory_free(value);
    hash_free(&channel->members);
}
