#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "http/response.h"
#include "realtime/internal.h"

enum {
    BEAT_MS = 1000,
    PRESENCE_BEATS = 20, ///< members are announced again so often; they expire after three of these
    CHECK_BEATS = 30,    ///< positions are compared with Redis' so often (realtime.md, 2.1)
};

const char *hub_options_configure(struct hub_options *options, const struct settings *settings) {
    *options = (struct hub_options){0};
    if (!realtime_key_read(settings_text(settings, "secrets.token", NULL), options->key))
        return "secrets.token";
    options->origins = settings_text(settings, "realtime.origins",
                                     settings_text(settings, "site.url", NULL));
    const char *test = getenv("FOOTLIGHT_TEST_ENDPOINTS");
    options->test_endpoints = test && strcmp(test, "1") == 0;
    options->hixie76 = settings_boolean(settings, "realtime.hixie76", false);
    options->message_rate = (unsigned)settings_integer(settings, "realtime.message_rate", 20);
    options->chat_length = (unsigned)settings_integer(settings, "realtime.chat_length", 500);
    options->chat_burst = (unsigned)settings_integer(settings, "realtime.chat_burst", 8);
    options->connections = (unsigned)settings_integer(settings, "realtime.connections", 30);
    return NULL;
}

// ---- accounts --------------------------------------------------------------------------------

struct account *hub_account(struct hub *hub, int64_t id, bool make) {
    struct slice key = slice_make(&id, sizeof id);
    struct account *account = hash_get(&hub->accounts, key);
    if (account || !make) return account;
    account = memory_zero(1, sizeof *account);
    account->id = id;
    list_init(&account->clients);
    hash_put(&hub->accounts, key, account);
    return account;
}

/// Frees an account that has no clients; what it said lately is kept for as long as a page change
/// takes, so that coming back is no way around the limits.
void hub_account_release(struct hub *hub, struct account *account) {
    if (account->count > 0) return;
    if (!hub->freeing && account->said > 0 && loop_now(hub->loop) - account->last_ms < 30000) return;
    int64_t id = account->id;
    hash_remove(&hub->accounts, slice_make(&id, sizeof id));
    memory_free(account);
}

static void sweep_accounts(struct hub *hub) {
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&hub->accounts, &cursor, &key, &value)) hub_account_release(hub, value);
}

// ---- orders ----------------------------------------------------------------------------------

/// Those of one session, those whose tokens were issued before a time, or all.
static void kick(struct hub *hub, int64_t id, struct slice session, int64_t before,
                 const char *reason) {
    struct account *account = hub_account(hub, id, false);
    if (!account) return;
    list_each(&account->clients, node) {
        struct client *client = container_of(node, struct client, account_link);
        if (session.size > 0 && !slice_equal(session, slice_of(client->claims->session))) continue;
        if (client->claims->issued >= before) continue;
        client_dismiss(client, CLOSE_REVOKED, reason, 0);
    }
}

static bool text_member(struct json_value object, const char *name, struct buffer *out) {
    buffer_clear(out, SIZE_MAX);
    return json_string(json_member(object, name), out);
}

/// {"do":"kick","account":7,"session":…,"before":…,"reason":…}, {"do":"close","channel":…,"reason":…},
/// {"do":"unsubscribe","account":7,"channel":…,"reason":…}
static void on_order(void *context, struct slice name, struct slice message) {
    (void)name;
    struct hub *hub = context;
    struct json_value order = json_parse(message, 4);
    struct buffer what = {0}, channel = {0}, reason = {0}, session = {0};
    int64_t account = -1, before = INT64_MAX;
    json_integer(json_member(order, "before"), &before);
    bool numbered = json_integer(json_member(order, "account"), &account);
    if (!text_member(order, "reason", &reason)) buffer_append_text(&reason, "closed");
    bool known = text_member(order, "do", &what);
    bool placed = text_member(order, "channel", &channel);
    text_member(order, "session", &session);
    struct slice verb = buffer_slice(&what);
    if (known && slice_equal(verb, SLICE("kick")) && numbered) {
        kick(hub, account, buffer_slice(&session), before, buffer_text(&reason));
    } else if (known && slice_equal(verb, SLICE("close")) && placed) {
        channel_unsubscribe(hub, buffer_slice(&channel), -1, 410, buffer_text(&reason));
    } else if (known && slice_equal(verb, SLICE("unsubscribe")) && placed && numbered) {
        channel_unsubscribe(hub, buffer_slice(&channel), account, 403, buffer_text(&reason));
    } else {
        log_warn("realtime.order_unknown", LOG_SLICE("order", slice_sub(message, 0, 200)));
    }
    buffer_free(&what);
    buffer_free(&channel);
    buffer_free(&reason);
    buffer_free(&session);
}

// ---- time ------------------------------------------------------------------------------------

static void each_channel(struct hub *hub, void (*act)(struct channel *channel)) {
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&hub->channels, &cursor, &key, &value)) {
        struct channel *channel = value;
        if (channel->count > 0) act(channel);
    }
}

static void on_beat(struct timer *timer) {
    struct hub *hub = container_of(timer, struct hub, beat);
    hub->beats++;
    channel_heal(hub);
    presence_flush(hub, hub->beats % PRESENCE_BEATS == 0);
    if (hub->beats % CHECK_BEATS == 0) {
        each_channel(hub, channel_catch_up);
        sweep_accounts(hub);
    }
    if (hash_count(&hub->channels) > 0 || hash_count(&hub->accounts) > 0)
        loop_timer_start(hub->loop, timer, BEAT_MS);
}

/// Redis may have come back without what it held: then versions start again, and what was kept
/// here must not stand in their way.
static void distrust_state(struct channel *channel) { channel->state_version = -1; }

static void on_redis(void *context, bool up) {
    struct hub *hub = context;
    if (up && !hub->redis_up) each_channel(hub, distrust_state);
    if (up && !hub->redis_up) hub->beats = CHECK_BEATS * PRESENCE_BEATS - 1; // at the next beat
    hub->redis_up = up;
    log_event(up ? LOG_INFO_LEVEL : LOG_WARN_LEVEL, "realtime.redis", LOG_BOOL("up", up));
}

// ---- serving ---------------------------------------------------------------------------------

void realtime_on_request(void *context, struct http_request *request) {
    struct hub *hub = context;
    if (slice_equal(request->path, SLICE("/realtime/websocket")))
        sockjs_endpoint_serve_raw(hub->endpoint, request);
    else if (!sockjs_endpoint_serve(hub->endpoint, request) &&
             !(hub->echo && echo_serve(hub->echo, request)))
        http_respond_status(request, 404);
}

static const struct sockjs_handler handler = {
    .on_open = client_open, .on_message = client_message, .on_close = client_close};

size_t hub_clients(const struct hub *hub) { return hub->client_count; }

void hub_set_policy(struct hub *hub, const struct hub_policy *policy) { hub->policy = *policy; }

// ---- drain and end ---------------------------------------------------------------------------

static void on_drained(struct timer *timer) {
    struct hub *hub = container_of(timer, struct hub, drain_timer);
    if (hub->client_count > 0 && hub->drain_ms > 0) {
        // Dismissed, but their sockets linger; one more second for the close handshakes.
        hub->drain_ms = 0;
        loop_timer_start(hub->loop, timer, 1000);
        return;
    }
    void (*drained)(void *) = hub->drained;
    hub->drained = NULL;
    if (drained) drained(hub->drained_context);
}

void hub_drain(struct hub *hub, uint64_t window_ms, void (*drained)(void *context), void *context) {
    hub->drained = drained;
    hub->drained_context = context;
    hub->drain_ms = window_ms;
    sockjs_endpoint_refuse(hub->endpoint, true);
    list_each(&hub->clients, node) {
        struct client *client = container_of(node, struct client, link);
        client->draining = true;
        if (client->state != CLIENT_LEAVING)
            loop_timer_start(hub->loop, &client->timer, random_below(window_ms + 1));
    }
    loop_timer_start(hub->loop, &hub->drain_timer, hub->client_count > 0 ? window_ms + 1 : 0);
}

static void maybe_free(struct hub *hub) {
    if (hub->freeing && hub->endpoint_gone && hub->owed == 0)
        loop_defer(hub->loop, &hub->free_later);
}

void hub_answered(struct hub *hub) {
    hub->owed--;
    maybe_free(hub);
}

static void on_free(struct deferred *deferred) {
    struct hub *hub = container_of(deferred, struct hub, free_later);
    sweep_accounts(hub);
    sockjs_relay_free(hub->relay);
    hash_free(&hub->accounts);
    hash_free(&hub->channels);
    memory_free(hub);
}

static void on_endpoint_freed(void *context) {
    struct hub *hub = context;
    hub->endpoint_gone = true;
    channel_free_all(hub);
    loop_timer_stop(hub->loop, &hub->beat);
    maybe_free(hub);
}

void hub_free(struct hub *hub) {
    hub->freeing = true;
    hub->drained = NULL;
    loop_timer_stop(hub->loop, &hub->beat);
    loop_timer_stop(hub->loop, &hub->drain_timer);
    loop_undefer(&hub->fan_out);
    redis_unsubscribe(hub->options.subscriber, SLICE("ctl:realtime"), on_order, hub);
    redis_subscriber_on_state(hub->options.subscriber, NULL, NULL);
    // The clients of Redis may be freed right after this call, so all that needs them happens now:
    // sessions end in the next ticks and find no channel to leave.
    list_each(&hub->clients, node) {
        struct client *client = container_of(node, struct client, link);
        join_abandon(client);
        while (client->subscriptions) channel_remove(client->subscriptions);
        client->state = CLIENT_LEAVING;
    }
    channel_free_all(hub);
    bus_close(hub);
    if (hub->echo) echo_free(hub->echo);
    sockjs_endpoint_free(hub->endpoint, on_endpoint_freed, hub);
}

#define DEFAULT(member, value)                                                                     \
    if (!hub->options.member) hub->options.member = (value)

struct hub *hub_new(struct loop *loop, const struct hub_options *options) {
    struct hub *hub = memory_zero(1, sizeof *hub);
    hub->loop = loop;
    hub->options = *options;
    DEFAULT(auth_ms, 10000);
    DEFAULT(grace_ms, 25000);
    DEFAULT(subscriptions, 100);
    DEFAULT(connections, 30);
    DEFAULT(message_rate, 20);
    DEFAULT(chat_length, 500);
    DEFAULT(chat_burst, 8);
    list_init(&hub->clients);
    list_init(&hub->lagging);
    fanout_prepare(hub);
    list_init(&hub->uncounted);
    timer_init(&hub->beat, on_beat);
    timer_init(&hub->drain_timer, on_drained);
    deferred_init(&hub->free_later, on_free);
    hub->redis_up = true;
    uint32_t word;
    random_bytes(&word, sizeof word);
    snprintf(hub->node, sizeof hub->node, "%x-%x", (unsigned)getpid(), word);
    hub->clients_gauge = metrics_gauge("footlight_realtime_clients", "Clients connected", NULL);
    hub->channels_gauge =
        metrics_gauge("footlight_realtime_channels", "Channels with subscribers here", NULL);
    hub->delivered = metrics_counter("footlight_realtime_deliveries_total",
                                     "Messages handed to a client's queue", NULL);
    hub->received = metrics_counter("footlight_realtime_publications_total",
                                    "Messages received from Redis", NULL);
    hub->passed_over = metrics_counter("footlight_realtime_passed_over_total",
                                       "Deliveries skipped because the client reads too slowly", NULL);
    hub->chat = metrics_counter("footlight_realtime_chat_total", "Chat messages published", NULL);
    hub->relay = bus_open(hub);
    struct sockjs_options sockjs = {
        .prefix = "/realtime/sockjs",
        .origins = hub->options.origins,
        .body_limit = 64 * 1024,
        .relay = hub->relay,
        .websocket = {.message_limit = 32 * 1024, .deflate = true,
                      .hixie76 = hub->options.hixie76},
    };
    hub->endpoint = sockjs_endpoint_new(loop, &sockjs, &handler, hub);
    if (hub->options.test_endpoints) hub->echo = echo_new(hub);
    redis_subscribe(hub->options.subscriber, SLICE("ctl:realtime"), on_order, NULL, hub);
    redis_subscriber_on_state(hub->options.subscriber, on_redis, hub);
    return hub;
}
