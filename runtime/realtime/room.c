#include "realtime/room.h"
#include <stdio.h>
#include "base/clock.h"
#include "base/memory.h"
#include "realtime/channel_name.h"
#include "realtime/script.h"

enum { KEY_MAX = REALTIME_CHANNEL_MAX + 40 };

// KEYS: p:account:N, rt:mute:C, rt:mode:C, rt:slow:C:N, rt:role:C, rt:ban:C, rt:follow:C, rt:tip:C.
// ARGV: account, now (ms), issued (s), staff, the oldest tip that counts (ms).
static struct realtime_script standing = {.text =
    "local p = redis.call('HMGET', KEYS[1], 'state', 'nbf')\n"
    "if p[1] and p[1] ~= 'active' then return 'closed' end\n"
    "if p[2] and tonumber(ARGV[3]) < (tonumber(p[2]) or 0) then return 'closed' end\n"
    "if ARGV[4] == '1' then return 'ok::1' end\n"
    "local role = redis.call('HGET', KEYS[5], ARGV[1])\n"
    "if role then return 'ok:' .. role .. ':1' end\n"
    "local now = tonumber(ARGV[2])\n"
    "local function held(key)\n"
    "  local till = tonumber(redis.call('HGET', key, ARGV[1]) or '-1')\n"
    "  return till == 0 or till > now\n"
    "end\n"
    "if held(KEYS[6]) then return 'banned' end\n"
    "if held(KEYS[2]) then return 'muted' end\n"
    "local mode = redis.call('HMGET', KEYS[3], 'slow', 'followers', 'tippers', 'links')\n"
    "if mode[2] and redis.call('SISMEMBER', KEYS[7], ARGV[1]) == 0 then return 'followers' end\n"
    "if mode[3] and tonumber(redis.call('ZSCORE', KEYS[8], ARGV[1]) or '0') < tonumber(ARGV[5]) then\n"
    "  return 'tippers'\n"
    "end\n"
    "local slow = tonumber(mode[1] or '0') or 0\n"
    "if slow > 0 and not redis.call('SET', KEYS[4], '1', 'NX', 'EX', slow) then return 'slow' end\n"
    "return mode[4] and 'ok::1' or 'ok::'\n"};

struct asking {
    room_standing_fn *done;
    room_banned_fn *banned;
    void *context;
};

static struct asking *asking_new(room_standing_fn *done, room_banned_fn *banned, void *context) {
    struct asking *asking = memory_zero(1, sizeof *asking);
    *asking = (struct asking){done, banned, context};
    return asking;
}

static struct slice answer(const redisReply *reply, const char *error) {
    if (error || reply->type == REDIS_REPLY_ERROR || !reply->str) return (struct slice){0};
    return slice_make(reply->str, reply->len);
}

static void on_standing(void *context, const redisReply *reply, const char *error) {
    struct asking *asking = context;
    struct slice rest = answer(reply, error), links = {0};
    struct room_standing result = {0};
    if (slice_next(&rest, ':', &result.word) && slice_next(&rest, ':', &result.role) &&
        slice_next(&rest, ':', &links))
        result.links = links.size > 0;
    asking->done(asking->context, &result);
    memory_free(asking);
}

static struct slice key(char out[KEY_MAX], const char *prefix, const char *channel) {
    return slice_make(out, (size_t)snprintf(out, KEY_MAX, "rt:%s:%s", prefix, channel));
}

static struct slice number(char out[24], int64_t value) {
    return slice_make(out, (size_t)snprintf(out, 24, "%lld", (long long)value));
}

void room_ask(struct redis_client *redis, const char *channel, const struct room_sender *sender,
              room_standing_fn *done, void *context) {
    char account[40], mute[KEY_MAX], mode[KEY_MAX], slow[KEY_MAX], role[KEY_MAX], ban[KEY_MAX];
    char follow[KEY_MAX], tip[KEY_MAX], id[24], now[24], issued[24], oldest[24];
    int64_t ms = clock_wall_ms();
    int size = snprintf(account, sizeof account, "p:account:%lld", (long long)sender->account);
    int wait = snprintf(slow, sizeof slow, "rt:slow:%s:%lld", channel, (long long)sender->account);
    struct slice arguments[] = {
        slice_make(account, (size_t)size), key(mute, "mute", channel), key(mode, "mode", channel),
        slice_make(slow, (size_t)wait), key(role, "role", channel), key(ban, "ban", channel),
        key(follow, "follow", channel), key(tip, "tip", channel), number(id, sender->account),
        number(now, ms), number(issued, sender->issued), sender->staff ? SLICE("1") : SLICE("0"),
        number(oldest, ms - ROOM_TIP_MS)};
    realtime_script_call(redis, &standing, 8, arguments, 13, on_standing,
                         asking_new(done, NULL, context));
}

static void on_banned(void *context, const redisReply *reply, const char *error) {
    struct asking *asking = context;
    int64_t until = -1;
    slice_to_i64(answer(reply, error), &until);
    asking->banned(asking->context, until == 0 || until > clock_wall_ms());
    memory_free(asking);
}

void room_ask_banned(struct redis_client *redis, const char *channel, int64_t account,
                     room_banned_fn *done, void *context) {
    char ban[KEY_MAX], id[24];
    struct slice arguments[] = {SLICE("HGET"), key(ban, "ban", channel), number(id, account)};
    redis_call(redis, arguments, 3, 0, on_banned, asking_new(NULL, done, context));
}
