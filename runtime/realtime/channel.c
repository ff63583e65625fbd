#include <assert.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "realtime/internal.h"

enum { LINGER_MS = 5000 }; ///< page changes should not flap the Redis subscription

static void on_envelope(void *context, struct slice name, struct slice message);

// ---- the wire form of pushes -----------------------------------------------------------------

struct sockjs_message *channel_push(struct channel *channel, const char *kind, const char *number,
                                    int64_t value, struct slice json) {
    struct buffer text = {0};
    buffer_printf(&text, "{\"%s\":{\"c\":\"%s\"", kind, channel->name);
    if (number) buffer_printf(&text, ",\"%s\":%lld", number, (long long)value);
    if (json.size > 0) {
        buffer_append_text(&text, ",\"d\":");
        buffer_append_slice(&text, json);
    }
    buffer_append_text(&text, "}}");
    struct sockjs_message *message = sockjs_message_new(buffer_slice(&text));
    buffer_free(&text);
    return message;
}

/// A numbered message. The first of an epoch, and the first after one has ended, carry its name:
/// whoever subscribed to an empty channel could not know it yet.
static struct sockjs_message *numbered_message(struct channel *channel, int64_t offset,
                                               struct slice epoch, struct slice json) {
    if (offset != 1 && !channel->renamed) return channel_push(channel, "pub", "o", offset, json);
    channel->renamed = false;
    struct buffer text = {0};
    buffer_printf(&text, "{\"pub\":{\"c\":\"%s\",\"o\":%lld,\"e\":", channel->name, (long long)offset);
    sockjs_quote(&text, epoch);
    buffer_append_text(&text, ",\"d\":");
    buffer_append_slice(&text, json);
    buffer_append_text(&text, "}}");
    struct sockjs_message *message = sockjs_message_new(buffer_slice(&text));
    buffer_free(&text);
    return message;
}

// ---- what comes from Redis -------------------------------------------------------------------

static void tell_gap(struct channel *channel) {
    for (uint32_t s = channel->count; s-- > 0;) {
        channel->subscriptions[s]->since = 0;
        channel->subscriptions[s]->missed = false;
    }
    channel_deliver(channel, channel_push(channel, "gap", NULL, 0, (struct slice){0}), 0, 0);
    channel_flush(channel);
}

static void on_numbered(struct channel *channel, int64_t offset, struct slice epoch,
                        struct slice json) {
    bool known = channel->offset >= 0;
    if (known && !slice_equal(epoch, slice_of(channel->epoch))) {
        if (channel->epoch[0]) tell_gap(channel);
        channel->renamed = true;
        channel->offset = offset - 1;
    } else if (known && offset <= channel->offset) {
        return; // seen already while catching up
    } else if (known && (offset > channel->offset + 1 || channel->catching_up)) {
        if (offset > channel->top) channel->top = offset;
        channel_catch_up(channel);
        return;
    }
    channel->offset = offset;
    snprintf(channel->epoch, sizeof channel->epoch, "%.*s", SLICE_FORMAT(epoch));
    channel_deliver(channel, numbered_message(channel, offset, epoch, json), offset, 0);
}

static void on_state(struct channel *channel, int64_t version, struct slice json) {
    if (channel->state && version < channel->state_version) return;
    sockjs_message_release(channel->state);
    channel->state = channel_push(channel, "state", "v", version, json);
    channel->state_version = version;
    channel_deliver(channel, sockjs_message_share(channel->state), version, 1);
}

static void on_count(struct channel *channel, int64_t count) {
    if (channel->present == count) return;
    channel->present = count;
    channel_deliver(channel, channel_push(channel, "pres", "n", count, (struct slice){0}), 0, 2);
}

static bool take_word(struct slice *rest, struct slice *word) {
    return slice_next(rest, ' ', word) && rest->data;
}

static void on_envelope(void *context, struct slice name, struct slice message) {
    (void)name;
    struct channel *channel = context;
    struct slice rest = message, kind, number, epoch;
    int64_t value;
    if (channel->dead || !take_word(&rest, &kind) || kind.size != 1) return;
    metric_add(channel->hub->received, 1);
    if (kind.data[0] == 'e') {
        uint64_t key = 0;
        if (channel->space->conflate_ms) {
            struct json_value slug = json_member(json_parse(rest, 16), "slug");
            if (slug.kind == JSON_STRING) key = hash_bytes(slug.raw) | 4;
        }
        channel_deliver(channel, channel_push(channel, "pub", NULL, 0, rest), 0, key);
    } else if (kind.data[0] == 'n') {
        if (slice_to_i64(rest, &value)) on_count(channel, value);
    } else if (kind.data[0] == 's') {
        if (take_word(&rest, &number) && slice_to_i64(number, &value))
            on_state(channel, value, rest);
    } else if (kind.data[0] == 'p') {
        if (take_word(&rest, &number) && slice_to_i64(number, &value) && take_word(&rest, &epoch))
            on_numbered(channel, value, epoch, rest);
    }
}

// ---- catching up after a gap -----------------------------------------------------------------

static void on_missed(void *context, const struct realtime_past *past, const char *error) {
    struct channel *channel = context;
    struct hub *hub = channel->hub;
    channel->reads--;
    channel->catching_up = false;
    if (error || channel->dead || hub->freeing) {
        // The next beat, message or reconnection tries again.
        if (channel->dead && channel->reads == 0) memory_free(channel);
    } else if (channel->space->memory == REALTIME_STATE) {
        if (past->count > 0 && (!channel->state || past->offset > channel->state_version))
            on_state(channel, past->offset, past->entries[0].json);
    } else if (channel->offset >= 0) {
        bool first = channel->offset == 0 && !channel->epoch[0]; // empty until now
        bool same = (first || strcmp(past->epoch, channel->epoch) == 0) &&
                    past->offset >= channel->offset;
        bool whole = same && (past->offset == channel->offset ||
                              (past->oldest > 0 && past->oldest <= channel->offset + 1));
        if (!whole) {
            if (channel->epoch[0] || past->offset > 0) tell_gap(channel);
            channel->renamed |= strcmp(channel->epoch, past->epoch) != 0;
            channel->offset = past->offset;
            snprintf(channel->epoch, sizeof channel->epoch, "%s", past->epoch);
        }
        for (size_t i = 0; whole && i < past->count; i++) {
            int64_t offset = past->entries[i].offset;
            channel_deliver(channel,
                    numbered_message(channel, offset, slice_of(past->epoch), past->entries[i].json),
                    offset, 0);
        }
        if (whole) {
            channel->offset = past->offset;
            snprintf(channel->epoch, sizeof channel->epoch, "%s", past->epoch);
        }
        if (channel->top > channel->offset || channel->again) channel_catch_up(channel);
    }
    hub_answered(hub);
}

void channel_catch_up(struct channel *channel) {
    if (channel->space->memory == REALTIME_NOTHING || channel->dead) return;
    if (channel->catching_up) {
        channel->again = true;
        return;
    }
    channel->catching_up = true;
    channel->again = false;
    channel->top = 0;
    channel->reads++;
    channel->hub->owed++;
    int64_t since = channel->offset >= 0 ? channel->offset : 0;
    realtime_read(channel->hub->options.redis, channel_slice(channel), since, on_missed, channel);
}

// ---- life ------------------------------------------------------------------------------------

static void on_redis_subscribed(void *context, bool ok) {
    struct channel *channel = context;
    if (!ok) return;
    channel->subscribed = true;
    join_wait_over(channel);
}

static void destroy(struct channel *channel) {
    struct hub *hub = channel->hub;
    assert(channel->count == 0 && list_empty(&channel->waiting));
    redis_message_fn *callback = on_envelope;
    char name[REALTIME_CHANNEL_MAX + 8];
    int size = snprintf(name, sizeof name, "rt:c:%s", channel->name);
    redis_unsubscribe(hub->options.subscriber, slice_make(name, (size_t)size), callback, channel);
    presence_withdraw(channel);
    hash_remove(&hub->channels, channel_slice(channel));
    metric_set(hub->channels_gauge, (int64_t)hash_count(&hub->channels));
    loop_timer_stop(hub->loop, &channel->linger);
    channel_drop_batches(channel);
    sockjs_message_release(channel->state);
    memory_free(channel->subscriptions);
    channel->dead = true;
    if (channel->reads == 0) memory_free(channel);
}

static void on_linger(struct timer *timer) {
    destroy(container_of(timer, struct channel, linger));
}

struct channel *channel_get(struct hub *hub, struct slice name, bool make) {
    struct channel *channel = hash_get(&hub->channels, name);
    if (channel || !make) return channel;
    const struct realtime_namespace *space = realtime_namespace_of(name);
    assert(space);
    channel = memory_zero(1, sizeof *channel + name.size + 1);
    channel->hub = hub;
    channel->space = space;
    channel->offset = channel->present = -1;
    channel->name_size = name.size;
    memcpy(channel->name, name.data, name.size);
    list_init(&channel->waiting);
    list_init(&channel->changed_members);
    list_init(&channel->uncounted_link);
    channel_prepare_batches(channel);
    timer_init(&channel->linger, on_linger);
    hash_put(&hub->channels, name, channel);
    metric_set(hub->channels_gauge, (int64_t)hash_count(&hub->channels));
    char key[REALTIME_CHANNEL_MAX + 8];
    int size = snprintf(key, sizeof key, "rt:c:%s", channel->name);
    redis_subscribe(hub->options.subscriber, slice_make(key, (size_t)size), on_envelope,
                    on_redis_subscribed, channel);
    if (!timer_active(&hub->beat)) loop_timer_start(hub->loop, &hub->beat, 1000);
    return channel;
}

struct subscription *client_find(const struct client *client, struct slice name) {
    for (struct subscription *s = client->subscriptions; s; s = s->next)
        if (slice_equal(channel_slice(s->channel), name)) return s;
    return NULL;
}

struct subscription *channel_add(struct channel *channel, struct client *client) {
    struct subscription *subscription = memory_zero(1, sizeof *subscription);
    subscription->client = client;
    subscription->channel = channel;
    if (channel->count == channel->room) {
        channel->room = channel->room ? channel->room * 2 : 1;
        channel->subscriptions = memory_resize(channel->subscriptions,
                                               channel->room * sizeof *channel->subscriptions);
    }
    subscription->index = channel->count;
    channel->subscriptions[channel->count++] = subscription;
    subscription->next = client->subscriptions;
    client->subscriptions = subscription;
    client->subscription_count++;
    loop_timer_stop(channel->hub->loop, &channel->linger);
    presence_enter(subscription);
    return subscription;
}

static void move(struct channel *channel, uint32_t from, uint32_t to) {
    channel->subscriptions[to] = channel->subscriptions[from];
    channel->subscriptions[to]->index = to;
}

void channel_remove(struct subscription *subscription) {
    struct channel *channel = subscription->channel;
    struct client *client = subscription->client;
    presence_leave(subscription);
    join_forget(subscription);
    uint32_t hole = subscription->index;
    if (hole < channel->cursor) {
        // Within what a fan-out has yet to visit: the last of those moves here, so that whoever
        // fills its place is one who has been visited.
        move(channel, --channel->cursor, hole);
        hole = channel->cursor;
    }
    move(channel, --channel->count, hole);
    struct subscription **at = &client->subscriptions;
    while (*at != subscription) at = &(*at)->next;
    *at = subscription->next;
    client->subscription_count--;
    memory_free(subscription);
    if (channel->count == 0) loop_timer_start(channel->hub->loop, &channel->linger, LINGER_MS);
}

void channel_unsubscribe(struct hub *hub, struct slice name, int64_t account, int code,
                         const char *reason) {
    struct channel *channel = channel_get(hub, name, false);
    if (!channel) return;
    struct buffer text = {0};
    buffer_printf(&text, "{\"unsub\":{\"c\":\"%s\",\"code\":%d,\"reason\":", channel->name, code);
    sockjs_quote(&text, slice_of(reason));
    buffer_append_text(&text, "}}");
    struct sockjs_message *message = sockjs_message_new(buffer_slice(&text));
    for (uint32_t s = channel->count; s-- > 0;) {
        struct subscription *subscription = channel->subscriptions[s];
        struct client *client = subscription->client;
        if (account >= 0 && (!client->account || client->account->id != account)) continue;
        sockjs_session_send(client->session, message);
        channel_remove(subscription);
    }
    sockjs_message_release(message);
    buffer_free(&text);
}

void channel_free_all(struct hub *hub) {
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&hub->channels, &cursor, &key, &value)) {
        struct channel *channel = value;
        if (channel->count == 0) destroy(channel);
    }
}
