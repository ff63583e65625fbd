#include <stdio.h>
#include "base/hash.h"
#include "base/log.h"
#include "base/metrics.h"
#include "redis/adapter.h"

enum { SUBSCRIBE_BATCH = 256 };

/// One (callback, context) that listens to a channel. Removed ones stay in the list while a message
/// is being handed out, marked by on_message == NULL.
struct listener {
    struct list link;
    redis_message_fn *on_message;
    void (*ready)(void *context, bool ok);
    void *context;
    bool told; ///< ready was called, or need not be
};

/// `due` counts SUBSCRIBE and UNSUBSCRIBE commands whose confirmation is still to come. The server's
/// word counts when none is: an early SUBSCRIBE's confirmation says nothing after an UNSUBSCRIBE.
struct channel {
    struct list listeners;
    unsigned due, walking;
    bool confirmed;
    size_t size;
    char name[];
};

struct redis_subscriber {
    struct loop *loop;
    struct redis_link *link;
    struct hash channels;
    struct deferred tell;
    void (*changed)(void *context, bool up);
    void *changed_context;
    bool up;
    struct buffer scratch;
    struct metric *messages;
};

static struct slice channel_name(const struct channel *channel) {
    return slice_make(channel->name, channel->size);
}

static bool channel_wanted(const struct channel *channel) {
    for (struct list *at = channel->listeners.next; at != &channel->listeners; at = at->next) {
        if (container_of(at, struct listener, link)->on_message) return true;
    }
    return false;
}

static void channel_sweep(struct redis_subscriber *subscriber, struct channel *channel) {
    if (channel->walking) return;
    list_each(&channel->listeners, node) {
        struct listener *listener = container_of(node, struct listener, link);
        if (listener->on_message) continue;
        list_remove(&listener->link);
        memory_free(listener);
    }
    if (!list_empty(&channel->listeners) || channel->due > 0) return;
    hash_remove(&subscriber->channels, channel_name(channel));
    memory_free(channel);
}

/// Tells the listeners that have not been told; may free the channel.
static void channel_tell(struct redis_subscriber *subscriber, struct channel *channel) {
    channel->walking++;
    list_each(&channel->listeners, node) {
        struct listener *listener = container_of(node, struct listener, link);
        if (listener->told || !listener->on_message) continue;
        listener->told = true;
        if (listener->ready) listener->ready(listener->context, true);
    }
    channel->walking--;
    channel_sweep(subscriber, channel);
}

static void subscriber_tell(struct deferred *deferred) {
    struct redis_subscriber *subscriber = container_of(deferred, struct redis_subscriber, tell);
    // Telling can change the table, so the channels are taken first; `walking` keeps them.
    size_t cursor = 0, count = 0;
    struct slice key;
    void *value;
    struct channel **found = memory_zero(hash_count(&subscriber->channels) + 1, sizeof *found);
    while (hash_next(&subscriber->channels, &cursor, &key, &value)) {
        struct channel *channel = value;
        if (!channel->confirmed) continue;
        channel->walking++;
        found[count++] = channel;
    }
    for (size_t i = 0; i < count; i++) {
        found[i]->walking--;
        channel_tell(subscriber, found[i]);
    }
    memory_free(found);
}

static void subscriber_send(struct redis_subscriber *subscriber, const char *verb,
                            struct channel **channels, size_t count) {
    struct slice arguments[SUBSCRIBE_BATCH + 1];
    arguments[0] = slice_of(verb);
    for (size_t i = 0; i < count; i++) {
        arguments[i + 1] = channel_name(channels[i]);
        channels[i]->due++;
    }
    buffer_clear(&subscriber->scratch, 65536);
    redis_encode(&subscriber->scratch, arguments, count + 1);
    redis_link_write(subscriber->link, subscriber->scratch.data, subscriber->scratch.size);
}

static void subscriber_on_up(void *owner) {
    struct redis_subscriber *subscriber = owner;
    struct channel *batch[SUBSCRIBE_BATCH];
    subscriber->up = true;
    size_t cursor = 0, count = 0;
    struct slice key;
    void *value;
    while (hash_next(&subscriber->channels, &cursor, &key, &value)) {
        struct channel *channel = value;
        if (!channel_wanted(channel)) continue;
        batch[count++] = channel;
        if (count == SUBSCRIBE_BATCH) {
            subscriber_send(subscriber, "SUBSCRIBE", batch, count);
            count = 0;
        }
    }
    if (count > 0) subscriber_send(subscriber, "SUBSCRIBE", batch, count);
    if (subscriber->changed) subscriber->changed(subscriber->changed_context, true);
}

static void subscriber_on_message(struct redis_subscriber *subscriber, struct slice name,
                                  struct slice message) {
    struct channel *channel = hash_get(&subscriber->channels, name);
    if (!channel) return;
    metric_add(subscriber->messages, 1);
    channel->walking++;
    list_each(&channel->listeners, node) {
        struct listener *listener = container_of(node, struct listener, link);
        if (listener->on_message) listener->on_message(listener->context, name, message);
    }
    channel->walking--;
    channel_sweep(subscriber, channel);
}

static void subscriber_on_confirmation(struct redis_subscriber *subscriber, struct slice name) {
    struct channel *channel = hash_get(&subscriber->channels, name);
    if (!channel) return;
    if (channel->due > 0 && --channel->due > 0) return;
    channel->confirmed = channel_wanted(channel);
    if (channel->confirmed) {
        channel_tell(subscriber, channel);
    } else {
        channel_sweep(subscriber, channel);
    }
}

static void subscriber_on_reply(void *owner, redisReply *reply) {
    struct redis_subscriber *subscriber = owner;
    if (reply->type == REDIS_REPLY_ERROR) {
        redis_link_drop(subscriber->link, reply->str);
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3 || !reply->element[1]->str) return;
    const redisReply *kind = reply->element[0];
    struct slice name = slice_make(reply->element[1]->str, reply->element[1]->len);
    struct slice verb = slice_make(kind->str, kind->len);
    if (slice_equal(verb, SLICE("message"))) {
        subscriber_on_message(subscriber, name,
                              slice_make(reply->element[2]->str, reply->element[2]->len));
    } else if (slice_equal(verb, SLICE("subscribe")) || slice_equal(verb, SLICE("unsubscribe"))) {
        subscriber_on_confirmation(subscriber, name);
    }
}

static void subscriber_on_down(void *owner, const char *reason) {
    struct redis_subscriber *subscriber = owner;
    (void)reason;
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&subscriber->channels, &cursor, &key, &value)) {
        struct channel *channel = value;
        channel->due = 0;
        channel->confirmed = false;
        channel_sweep(subscriber, channel);
    }
    if (!subscriber->up) return;
    subscriber->up = false;
    if (subscriber->changed) subscriber->changed(subscriber->changed_context, false);
}

static void subscriber_on_silence(void *owner) {
    struct redis_subscriber *subscriber = owner;
    static const char ping[] = "*1\r\n$4\r\nPING\r\n";
    redis_link_write(subscriber->link, ping, sizeof ping - 1);
}

static const struct redis_link_events subscriber_events = {
    .on_up = subscriber_on_up,
    .on_reply = subscriber_on_reply,
    .on_down = subscriber_on_down,
    .on_silence = subscriber_on_silence,
};

struct redis_subscriber *redis_subscriber_new(struct loop *loop,
                                              const struct redis_options *options) {
    struct redis_subscriber *subscriber = memory_zero(1, sizeof *subscriber);
    subscriber->loop = loop;
    deferred_init(&subscriber->tell, subscriber_tell);
    char labels[64];
    snprintf(labels, sizeof labels, "name=\"%s\"", options->name ? options->name : "redis");
    subscriber->messages = metrics_counter("footlight_redis_messages_total",
                                           "Messages of subscribed channels.", labels);
    subscriber->link = redis_link_new(loop, options, "subscriber", &subscriber_events, subscriber);
    return subscriber;
}

void redis_subscribe(struct redis_subscriber *subscriber, struct slice name,
                     redis_message_fn *on_message, void (*ready)(void *context, bool ok),
                     void *context) {
    struct channel *channel = hash_get(&subscriber->channels, name);
    bool fresh = !channel || !channel_wanted(channel);
    if (!channel) {
        channel = memory_zero(1, sizeof *channel + name.size);
        list_init(&channel->listeners);
        channel->size = name.size;
        memcpy(channel->name, name.data, name.size);
        hash_put(&subscriber->channels, name, channel);
    }
    struct listener *listener = memory_zero(1, sizeof *listener);
    listener->on_message = on_message;
    listener->ready = ready;
    listener->context = context;
    listener->told = ready == NULL;
    list_push_back(&channel->listeners, &listener->link);
    if (!redis_link_up(subscriber->link)) return; // on_up subscribes
    if (fresh) {
        channel->confirmed = false;
        subscriber_send(subscriber, "SUBSCRIBE", &channel, 1);
    } else if (channel->confirmed) {
        loop_defer(subscriber->loop, &subscriber->tell);
    }
}

void redis_unsubscribe(struct redis_subscriber *subscriber, struct slice name,
                       redis_message_fn *on_message, void *context) {
    struct channel *channel = hash_get(&subscriber->channels, name);
    if (!channel) return;
    list_each(&channel->listeners, node) {
        struct listener *listener = container_of(node, struct listener, link);
        if (listener->on_message != on_message || listener->context != context) continue;
        listener->on_message = NULL;
        if (!channel_wanted(channel) && redis_link_up(subscriber->link)) {
            channel->confirmed = false;
            subscriber_send(subscriber, "UNSUBSCRIBE", &channel, 1);
        }
        channel_sweep(subscriber, channel);
        return;
    }
}

void redis_subscriber_on_state(struct redis_subscriber *subscriber,
                               void (*changed)(void *context, bool up), void *context) {
    subscriber->changed = changed;
    subscriber->changed_context = context;
}

void redis_subscriber_free(struct redis_subscriber *subscriber) {
    if (!subscriber) return;
    redis_link_free(subscriber->link);
    loop_undefer(&subscriber->tell);
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&subscriber->channels, &cursor, &key, &value)) {
        struct channel *channel = value;
        list_each(&channel->listeners, node) {
            memory_free(container_of(node, struct listener, link));
        }
        memory_free(channel);
    }
    hash_free(&subscriber->channels);
    buffer_free(&subscriber->scratch);
    memory_free(subscriber);
}
