#include "base/memory.h"
#include "realtime/internal.h"

/// How messages go out: gathered to the end of the tick, or for longer where a channel is busy; then
/// to one client after the other, each encoding made once, in slices so that nobody else waits.
enum {
    BUSY_FROM = 50, ///< messages a second from which a channel's deliveries are gathered …
    BUSY_MS = 20,   ///< … for so long: one write a client in place of many (realtime.md, 1)
    BATCH_MAX = 1000,
    SLICE = 2000,   ///< clients served before the loop turns to others: some five milliseconds
};

static void mark_lagging(struct subscription *subscription, bool missed) {
    struct client *client = subscription->client;
    metric_add(client->hub->passed_over, 1);
    if (missed) subscription->missed = true;
    else subscription->stale = true;
    subscription->untold = true;
    if (list_empty(&client->lag_link)) list_push_back(&client->hub->lagging, &client->lag_link);
}

void channel_send(struct subscription *subscription, const struct delivery *delivery) {
    if (delivery->offset > 0 && delivery->offset <= subscription->since) return;
    if (subscription->missed && delivery->offset > 0) return; // no partial gap: it is told, and asks
    struct sockjs_session *session = subscription->client->session;
    if (sockjs_session_queued(session) > SOFT_LIMIT) {
        mark_lagging(subscription, subscription->channel->space->memory != REALTIME_STATE);
        return;
    }
    sockjs_session_send(session, delivery->message);
}

// ---- the flight ------------------------------------------------------------------------------

static void take_off(struct channel *channel) {
    struct batch empty = channel->flight;
    channel->flight = channel->gathering;
    channel->gathering = empty;
    channel->cursor = channel->count;
    channel->lowest = INT64_MAX;
    size_t size = 0;
    for (uint32_t i = 0; i < channel->flight.count; i++) {
        const struct delivery *delivery = &channel->flight.items[i];
        if (delivery->offset > 0 && delivery->offset < channel->lowest)
            channel->lowest = delivery->offset;
        sockjs_bundle_add(&channel->bundle, delivery->message);
        size += delivery->message->text->size;
    }
    channel->bundled = size <= SOFT_LIMIT;
    metric_add(channel->hub->delivered, (int64_t)channel->count * channel->flight.count);
}

static void land(struct channel *channel) {
    for (uint32_t i = 0; i < channel->flight.count; i++)
        sockjs_message_release(channel->flight.items[i].message);
    channel->flight.count = 0;
    sockjs_bundle_clear(&channel->bundle);
}

/// Serves at most so many clients. `alone`: no other channel sends in this tick, so that what goes
/// straight into the socket is still one write a client. Sending neither calls back nor removes
/// subscriptions; a client that is reset here leaves by its session's on_close.
static void fly(struct channel *channel, uint32_t most, bool alone) {
    const struct batch *flight = &channel->flight;
    while (channel->cursor > 0 && most-- > 0) {
        struct subscription *subscription = channel->subscriptions[--channel->cursor];
        if (subscription->joining) {
            for (uint32_t i = 0; i < flight->count; i++)
                join_hold(subscription->joining, &flight->items[i]);
        } else if (alone && channel->bundled && !subscription->missed &&
                   channel->lowest > subscription->since &&
                   sockjs_session_queued(subscription->client->session) == 0) {
            sockjs_session_send_bundle(subscription->client->session, &channel->bundle);
        } else {
            for (uint32_t i = 0; i < flight->count; i++)
                channel_send(subscription, &flight->items[i]);
        }
    }
    if (channel->cursor == 0) land(channel);
}

void channel_flush(struct channel *channel) {
    loop_timer_stop(channel->hub->loop, &channel->batch_timer);
    list_remove(&channel->pending_link);
    if (channel->flight.count > 0) fly(channel, UINT32_MAX, false);
    take_off(channel);
    fly(channel, UINT32_MAX, false);
}

static void on_fan_out(struct deferred *deferred) {
    struct hub *hub = container_of(deferred, struct hub, fan_out);
    struct list due;
    list_init(&due);
    list_take_all(&due, &hub->pending);
    bool alone = due.next->next == &due;
    list_each(&due, node) {
        struct channel *channel = container_of(node, struct channel, pending_link);
        list_remove(node);
        if (channel->flight.count == 0) take_off(channel);
        fly(channel, SLICE, alone);
        bool waits = channel->gathering.count > 0 && !timer_active(&channel->batch_timer);
        if (channel->flight.count > 0 || waits) list_push_back(&hub->pending, node);
    }
    if (!list_empty(&hub->pending)) loop_defer(hub->loop, &hub->fan_out);
}

static void send_soon(struct channel *channel) {
    if (list_empty(&channel->pending_link))
        list_push_back(&channel->hub->pending, &channel->pending_link);
    loop_defer(channel->hub->loop, &channel->hub->fan_out);
}

static void on_batch_timer(struct timer *timer) {
    send_soon(container_of(timer, struct channel, batch_timer));
}

// ---- gathering -------------------------------------------------------------------------------

static bool replaced(struct batch *batch, const struct delivery *delivery) {
    for (uint32_t i = 0; delivery->key && i < batch->count; i++)
        if (batch->items[i].key == delivery->key) {
            sockjs_message_release(batch->items[i].message);
            batch->items[i] = *delivery;
            return true;
        }
    return false;
}

void channel_deliver(struct channel *channel, struct sockjs_message *message, int64_t offset,
                     uint64_t key) {
    struct batch *batch = &channel->gathering;
    struct delivery delivery = {message, offset, key};
    if (replaced(batch, &delivery)) return;
    if (batch->count == BATCH_MAX) channel_flush(channel);
    if (batch->count == batch->room) {
        batch->room = batch->room ? batch->room * 2 : 4;
        batch->items = memory_resize(batch->items, batch->room * sizeof *batch->items);
    }
    batch->items[batch->count++] = delivery;
    uint32_t second = (uint32_t)(loop_now(channel->hub->loop) / 1000);
    if (second != channel->second) channel->second = second, channel->in_second = 0;
    unsigned wait = channel->space->conflate_ms;
    if (++channel->in_second > BUSY_FROM && !wait) wait = BUSY_MS;
    if (!wait) send_soon(channel);
    else if (!timer_active(&channel->batch_timer))
        loop_timer_start(channel->hub->loop, &channel->batch_timer, wait);
}

// ---- who was passed over ---------------------------------------------------------------------

static void heal(struct subscription *subscription) {
    struct channel *channel = subscription->channel;
    struct sockjs_session *session = subscription->client->session;
    subscription->untold = false;
    if (subscription->stale && channel->state) sockjs_session_send(session, channel->state);
    if (subscription->missed) {
        struct sockjs_message *gap = channel_push(channel, "gap", NULL, 0, (struct slice){0});
        sockjs_session_send(session, gap);
        sockjs_message_release(gap);
    }
    // It stays `missed` until it subscribes again with its position, unless nothing is kept.
    if (channel->space->memory != REALTIME_HISTORY) subscription->missed = false;
    subscription->stale = false;
}

void channel_heal(struct hub *hub) {
    list_each(&hub->lagging, node) {
        struct client *client = container_of(node, struct client, lag_link);
        if (sockjs_session_queued(client->session) > SOFT_LIMIT / 2) continue;
        list_remove(node);
        for (struct subscription *s = client->subscriptions; s; s = s->next)
            if (s->untold) heal(s);
    }
}

// ---- life ------------------------------------------------------------------------------------

void channel_prepare_batches(struct channel *channel) {
    list_init(&channel->pending_link);
    timer_init(&channel->batch_timer, on_batch_timer);
}

void channel_drop_batches(struct channel *channel) {
    loop_timer_stop(channel->hub->loop, &channel->batch_timer);
    list_remove(&channel->pending_link);
    land(channel);
    for (uint32_t i = 0; i < channel->gathering.count; i++)
        sockjs_message_release(channel->gathering.items[i].message);
    memory_free(channel->gathering.items);
    memory_free(channel->flight.items);
    sockjs_bundle_free(&channel->bundle);
}

void fanout_prepare(struct hub *hub) {
    list_init(&hub->pending);
    deferred_init(&hub->fan_out, on_fan_out);
}
