#include <assert.h>
#include <stdio.h>
#include "base/log.h"
#include "base/memory.h"
#include "realtime/internal.h"
#include "realtime/room.h"

/// Subscribing without a hole: the channel is joined first and what comes live is held; then
/// the past is read; the reply carries it; then what was held and is newer goes out.
enum { JOIN_LIMIT_MS = 5000, HOLD_MAX = 1000 };

struct join {
    struct list link, parts;
    struct client *client; ///< NULL: gone
    struct hub *hub;
    int64_t i;
    bool connect;
    unsigned waiting; ///< parts without a result
    struct timer timer;
};

struct joining {
    struct list link;      ///< of the join
    struct list wait_link; ///< of the channel, until its Redis subscription is in force
    struct join *join;
    struct subscription *subscription; ///< NULL: unsubscribed in the meantime, or never joined
    struct buffer result;  ///< the members of the reply's object
    struct delivery *held;
    size_t held_count, held_room;
    int64_t since;         ///< -1: no position was given
    int64_t wanted;        ///< messages of the past without a position
    bool done, reading, overflow;
    char epoch[24];
    char name[REALTIME_CHANNEL_MAX + 1];
};

static void free_joining(struct joining *part) {
    if (part->subscription) part->subscription->joining = NULL;
    list_remove(&part->link);
    list_remove(&part->wait_link);
    for (size_t i = 0; i < part->held_count; i++) sockjs_message_release(part->held[i].message);
    memory_free(part->held);
    buffer_free(&part->result);
    memory_free(part);
}

static void free_join(struct join *join) {
    list_each(&join->parts, node) free_joining(container_of(node, struct joining, link));
    loop_timer_stop(join->hub->loop, &join->timer);
    list_remove(&join->link);
    memory_free(join);
}

static void write_part(struct buffer *out, const struct joining *part) {
    buffer_printf(out, "\"%s\":{", part->name);
    buffer_append_slice(out, buffer_slice(&part->result));
    buffer_append_char(out, '}');
}

static void write_connect(struct buffer *out, const struct client *client) {
    const struct realtime_claims *claims = client->claims;
    buffer_printf(out, "{\"client\":\"%s.%u\",\"account\":%lld,\"role\":",
                  client->hub->node, client->number, (long long)(claims ? claims->account : 0));
    sockjs_quote(out, slice_of(client_role(client)));
    buffer_append_text(out, ",\"subs\":{");
}

static void release(struct joining *part) {
    struct subscription *subscription = part->subscription;
    if (!subscription) return;
    subscription->joining = NULL;
    part->subscription = NULL;
    if (part->overflow) subscription->missed = true;
    for (size_t i = 0; i < part->held_count; i++) channel_send(subscription, &part->held[i]);
    // Versions of states start again when Redis has lost them: only what was held is compared.
    if (subscription->channel->space->memory == REALTIME_STATE) subscription->since = 0;
}

/// All parts have their results: the reply, then what was held.
static void complete(struct join *join) {
    struct client *client = join->client;
    if (client && !sockjs_session_closing(client->session)) {
        struct buffer out = {0};
        reply_begin(&out, join->i, join->connect ? "connect" : "sub");
        if (join->connect) write_connect(&out, client);
        else buffer_append_char(&out, '{');
        bool first = true;
        list_each(&join->parts, node) {
            if (!first) buffer_append_char(&out, ',');
            first = false;
            write_part(&out, container_of(node, struct joining, link));
        }
        buffer_append_text(&out, join->connect ? "}}}" : "}}");
        sockjs_session_send_text(client->session, buffer_slice(&out));
        buffer_free(&out);
        list_each(&join->parts, node) release(container_of(node, struct joining, link));
    }
    bool busy = false;
    list_each(&join->parts, node) busy |= container_of(node, struct joining, link)->reading;
    loop_timer_stop(join->hub->loop, &join->timer);
    list_remove(&join->link);
    join->client = NULL;
    if (!busy) free_join(join); // else the last answer does
}

static void finish(struct joining *part) {
    assert(!part->done);
    part->done = true;
    if (--part->join->waiting == 0) complete(part->join);
}

static void fail(struct joining *part, const char *code) {
    buffer_clear(&part->result, SIZE_MAX);
    buffer_printf(&part->result, "\"error\":\"%s\"", code);
    struct subscription *subscription = part->subscription;
    part->subscription = NULL;
    list_remove(&part->wait_link);
    if (subscription) {
        subscription->joining = NULL;
        channel_remove(subscription);
    }
    if (!part->done) finish(part);
}

void join_hold(struct joining *part, const struct delivery *delivery) {
    if (part->held_count == HOLD_MAX) {
        part->overflow = true;
        return;
    }
    if (part->held_count == part->held_room) {
        part->held_room = part->held_room ? part->held_room * 2 : 4;
        part->held = memory_resize(part->held, part->held_room * sizeof *part->held);
    }
    part->held[part->held_count] = *delivery;
    sockjs_message_share(delivery->message);
    part->held_count++;
}

void join_forget(struct subscription *subscription) {
    struct joining *part = subscription->joining;
    if (!part) return;
    subscription->joining = NULL;
    part->subscription = NULL;
    list_remove(&part->wait_link);
    if (!part->reading && !part->done) fail(part, "gone"); // else with Redis' answer
}

// ---- the past --------------------------------------------------------------------------------

static void write_history(struct joining *part, const struct realtime_past *past) {
    struct buffer *out = &part->result;
    buffer_printf(out, "\"o\":%lld,\"e\":\"%s\"", (long long)past->offset, past->epoch);
    size_t first = 0;
    if (part->since >= 0) {
        bool fresh = part->since == 0 && part->epoch[0] == 0; // "everything since the beginning"
        bool same = fresh || strcmp(part->epoch, past->epoch) == 0;
        bool whole = same && part->since <= past->offset &&
                     (part->since == past->offset ||
                      (past->oldest > 0 && past->oldest <= part->since + 1 && past->count > 0));
        buffer_append_text(out, whole ? ",\"recovered\":true" : ",\"recovered\":false");
        if (!whole) return; // never a partial gap: the page loads itself afresh
    } else if (part->wanted > 0) {
        if (past->count > (size_t)part->wanted) first = past->count - (size_t)part->wanted;
    } else {
        return;
    }
    buffer_append_text(out, ",\"pubs\":[");
    for (size_t i = first; i < past->count; i++) {
        buffer_printf(out, "%s{\"o\":%lld,\"d\":", i > first ? "," : "",
                      (long long)past->entries[i].offset);
        buffer_append_slice(out, past->entries[i].json);
        buffer_append_char(out, '}');
    }
    buffer_append_char(out, ']');
}

static void write_presence(struct joining *part) {
    const struct channel *channel = part->subscription->channel;
    if (channel->space->presence && channel->present >= 0)
        buffer_printf(&part->result, "%s\"n\":%lld", part->result.size > 0 ? "," : "",
                      (long long)channel->present);
}

static void on_past(void *context, const struct realtime_past *past, const char *error) {
    struct joining *part = context;
    struct join *join = part->join;
    struct hub *hub = join->hub;
    part->reading = false;
    if (part->done) { // timed out or abandoned; if we were the last to be waited for, clean up
        bool busy = join->client || join->waiting > 0;
        list_each(&join->parts, node) busy |= container_of(node, struct joining, link)->reading;
        if (!busy) free_join(join);
    } else if (!part->subscription) {
        fail(part, "gone");
    } else if (error) {
        fail(part, "unavailable");
    } else {
        struct channel *channel = part->subscription->channel;
        if (channel->space->memory == REALTIME_STATE) {
            part->subscription->since = past->offset;
            if (past->count > 0) {
                buffer_printf(&part->result, "\"v\":%lld,\"d\":", (long long)past->offset);
                buffer_append_slice(&part->result, past->entries[0].json);
            }
        } else {
            write_history(part, past);
            part->subscription->since = past->offset;
            if (channel->offset < 0) {
                channel->offset = past->offset;
                snprintf(channel->epoch, sizeof channel->epoch, "%s", past->epoch);
            }
        }
        write_presence(part);
        finish(part);
    }
    hub_answered(hub);
}

static void read_past(struct joining *part) {
    struct channel *channel = part->subscription->channel;
    if (channel->space->memory == REALTIME_NOTHING) {
        write_presence(part);
        finish(part);
        return;
    }
    int64_t since = part->since >= 0 ? part->since : part->wanted > 0 ? 0 : -1;
    part->reading = true;
    part->join->hub->owed++;
    realtime_read(part->join->hub->options.redis, channel_slice(channel), since, on_past, part);
}

void join_wait_over(struct channel *channel) {
    while (!list_empty(&channel->waiting)) {
        struct joining *part = list_first(&channel->waiting, struct joining, wait_link);
        list_remove(&part->wait_link);
        read_past(part);
    }
}

// ---- starting --------------------------------------------------------------------------------

const char *join_problem(const struct client *client, struct slice name,
                         const struct realtime_namespace *space) {
    if (!space) return "unknown";
    const struct realtime_claims *claims = client->claims;
    switch (space->access) {
    case REALTIME_PUBLIC: return NULL;
    case REALTIME_OWN: {
        int64_t id;
        if (claims && claims->account > 0 &&
            slice_to_i64(realtime_channel_rest(name), &id) && id == claims->account)
            return NULL;
        return "denied";
    }
    case REALTIME_STAFF:
        if (claims && claims->account > 0 &&
            (strcmp(claims->role, "moderator") == 0 || strcmp(claims->role, "admin") == 0))
            return NULL;
        break;
    case REALTIME_CAP: break;
    }
    return claims && realtime_claims_cover(claims, name) ? NULL : "denied";
}

static void read_position(struct joining *part, struct json_value options) {
    part->since = -1;
    int64_t offset;
    struct buffer epoch = {0};
    if (json_integer(json_member(options, "o"), &offset) && offset >= 0 &&
        json_string(json_member(options, "e"), &epoch) && epoch.size < sizeof part->epoch) {
        part->since = offset;
        snprintf(part->epoch, sizeof part->epoch, "%.*s", SLICE_FORMAT(buffer_slice(&epoch)));
    }
    buffer_free(&epoch);
    if (json_integer(json_member(options, "h"), &part->wanted) && part->wanted < 0)
        part->wanted = 0;
}

static struct join *new_join(struct client *client, int64_t i, bool connect);

/// Rooms are open to guests, so who is banned may be in for as long as Redis takes to say so.
struct ban_check {
    struct hub *hub;
    int64_t account;
    char channel[REALTIME_CHANNEL_MAX + 1];
};

static void on_banned(void *context, bool banned) {
    struct ban_check *check = context;
    if (banned)
        channel_unsubscribe(check->hub, slice_of(check->channel), check->account, 403, "banned");
    hub_answered(check->hub);
    memory_free(check);
}

static void ask_banned(struct hub *hub, struct slice channel, int64_t account) {
    struct ban_check *check = memory_zero(1, sizeof *check);
    check->hub = hub;
    check->account = account;
    snprintf(check->channel, sizeof check->channel, "%.*s", SLICE_FORMAT(channel));
    hub->owed++;
    room_ask_banned(hub->options.redis, check->channel, account, on_banned, check);
}

static void add_part(struct join *join, struct slice name, struct json_value options) {
    struct client *client = join->client;
    const struct realtime_namespace *space = realtime_namespace_of(name);
    if (!space) return; // the caller has answered; what is malformed is not echoed
    list_each(&join->parts, node)
        if (slice_equal(slice_of(container_of(node, struct joining, link)->name), name)) return;
    struct joining *part = memory_zero(1, sizeof *part);
    part->join = join;
    list_init(&part->wait_link);
    list_push_back(&join->parts, &part->link);
    snprintf(part->name, sizeof part->name, "%.*s", SLICE_FORMAT(name));
    join->waiting++;
    read_position(part, options);
    const char *problem = join_problem(client, name, space);
    struct subscription *old = client_find(client, name);
    if (!problem && !old && client->subscription_count >= client->hub->options.subscriptions)
        problem = "limit";
    if (problem) {
        fail(part, problem);
        return;
    }
    if (old) channel_remove(old); // subscribing again is how a client asks for what it missed
    struct channel *channel = channel_get(client->hub, name, true);
    part->subscription = channel_add(channel, client);
    part->subscription->joining = part;
    if (channel->subscribed) read_past(part);
    else list_push_back(&channel->waiting, &part->wait_link);
    if (space->publish && client->account) ask_banned(client->hub, name, client->account->id);
}

static void on_join_timer(struct timer *timer) {
    struct join *join = container_of(timer, struct join, timer);
    join->waiting++; // keeps it until all are told
    list_each(&join->parts, node) {
        struct joining *part = container_of(node, struct joining, link);
        if (!part->done) fail(part, "unavailable");
    }
    if (--join->waiting == 0) complete(join);
}

static struct join *new_join(struct client *client, int64_t i, bool connect) {
    struct join *join = memory_zero(1, sizeof *join);
    join->client = client;
    join->hub = client->hub;
    join->i = i;
    join->connect = connect;
    join->waiting = 1;
    list_init(&join->parts);
    timer_init(&join->timer, on_join_timer);
    list_push_back(&client->joins, &join->link);
    loop_timer_start(join->hub->loop, &join->timer, JOIN_LIMIT_MS);
    return join;
}

static void own_channel(struct join *join, const char *prefix, int64_t account,
                        struct json_value subs) {
    char name[40];
    snprintf(name, sizeof name, "%s:%lld", prefix, (long long)account);
    add_part(join, slice_of(name), json_member(subs, name));
}

void join_connect(struct client *client, int64_t i, struct json_value subs) {
    struct join *join = new_join(client, i, true);
    if (client->account) { // joined without asking: no page can forget them
        own_channel(join, "user", client->account->id, subs);
        own_channel(join, "bal", client->account->id, subs);
    }
    struct json_walk walk = json_begin(subs);
    struct slice key;
    struct json_value options;
    unsigned count = 0;
    while (json_next(&walk, &key, &options) && count++ <= client->hub->options.subscriptions)
        add_part(join, slice_sub(key, 1, key.size - 2), options);
    if (--join->waiting == 0) complete(join);
}

void join_one(struct client *client, int64_t i, struct slice name, struct json_value options) {
    struct join *join = new_join(client, i, false);
    add_part(join, name, options);
    if (--join->waiting == 0) complete(join);
}

void join_abandon(struct client *client) {
    list_each(&client->joins, node) {
        struct join *join = container_of(node, struct join, link);
        bool busy = false;
        list_each(&join->parts, inner) {
            struct joining *part = container_of(inner, struct joining, link);
            part->done = true;
            busy |= part->reading;
        }
        join->client = NULL;
        join->waiting = 0;
        loop_timer_stop(join->hub->loop, &join->timer);
        list_remove(&join->link);
        if (!busy) free_join(join);
    }
}
