#ifndef FOOTLIGHT_REALTIME_INTERNAL_H
#define FOOTLIGHT_REALTIME_INTERNAL_H
#include "base/hash.h"
#include "base/metrics.h"
#include "realtime/channel_name.h"
#include "realtime/hub.h"
#include "realtime/publish.h"
#include "sockjs/endpoint.h"
#include "sockjs/json.h"
#include "sockjs/relay.h"

/// Shared by the files of this folder only. hub.c: life, orders, drain. client.c: commands of a
/// client. channel.c: subscriptions, and what comes for them. fanout.c: how it goes out. join.c:
/// subscribing with recovery. presence.c: counting. chat.c: what a chat message goes through. bus.c:
/// requests for other instances. echo.c: the test endpoints.

enum close_code {
    CLOSE_RETURN = 3000,  ///< 3000 to 3499: come back
    CLOSE_EXPIRED = 3005,
    CLOSE_SLOW = 3008,
    CLOSE_PROTOCOL = 3500, ///< 3500 to 3999: do not
    CLOSE_REVOKED = 3501,
    CLOSE_RATE = 3502,
    CLOSE_SILENT = 3503,
    CLOSE_TOKEN = 3504,
    CLOSE_LIMIT = 3505,
};

enum { SOFT_LIMIT = 64 * 1024 }; ///< queued bytes from which a client gets no more of what can be made good

struct hub {
    struct loop *loop;
    struct hub_options options;
    struct hub_policy policy;
    struct sockjs_endpoint *endpoint;
    struct sockjs_relay *relay; ///< between the instances that SockJS sessions live on
    struct echo *echo;
    struct hash channels, accounts;
    struct list clients;
    size_t client_count;
    struct list lagging;     ///< clients that were passed over
    struct list pending;     ///< channels with something to send at the end of the tick
    struct deferred fan_out;
    struct list uncounted;   ///< channels whose members changed
    struct timer beat;       ///< once a second while there is a channel
    uint64_t beats;
    unsigned owed;           ///< answers that Redis still owes us
    bool freeing, endpoint_gone, redis_up;
    struct timer drain_timer;
    void (*drained)(void *context);
    void *drained_context;
    uint64_t drain_ms;
    struct deferred free_later;
    char node[32];
    struct metric *clients_gauge, *channels_gauge, *delivered, *received, *passed_over, *chat;
};

/// The clients of one account on this instance, and how much it has said.
struct account {
    struct list clients;
    size_t count;
    int64_t id;
    uint64_t said_ms[16]; ///< when, the last few times
    unsigned said;
    uint64_t last_hash, last_ms;
};

enum client_state { CLIENT_NEW, CLIENT_CHECKING, CLIENT_READY, CLIENT_EXPIRING, CLIENT_LEAVING };

struct client {
    struct list link, account_link;
    struct list lag_link; ///< of the hub, while a subscription is to be told what it missed
    struct hub *hub;
    struct sockjs_session *session;
    struct account *account;        ///< NULL for guests
    struct realtime_claims *claims; ///< NULL until connected; and for guests without a token
    struct subscription *subscriptions;
    struct list joins, errands;
    struct timer timer; ///< by state: to connect, token expiry, grace, drain
    uint64_t allowance_ms;
    int32_t allowance;
    uint32_t number;
    uint16_t subscription_count;
    uint8_t state;
    bool draining;
};

/// Something asked of Redis or Lua for a client, who may be gone when the answer comes.
struct errand {
    struct list link;
    struct client *client; ///< NULL: gone
};

struct subscription {
    struct client *client;
    struct channel *channel;
    struct subscription *next; ///< of the client
    struct joining *joining;   ///< until the client has its reply
    int64_t since;             ///< what the client had when it joined; older messages are not for it
    uint32_t index;            ///< in the channel's array
    bool missed, stale;        ///< passed over: messages; a state or count
    bool untold;               ///< of either
};

/// A message on its way out.
struct delivery {
    struct sockjs_message *message;
    int64_t offset;     ///< 0: not numbered
    uint64_t key;       ///< conflation: of one key the newest wins; 0: none
};

struct batch {
    struct delivery *items;
    uint32_t count, room;
};

struct channel {
    struct hub *hub;
    const struct realtime_namespace *space;
    struct subscription **subscriptions;
    uint32_t count, room;
    struct list waiting;      ///< joinings that wait for the Redis subscription
    struct batch gathering;   ///< what goes out next
    struct batch flight;      ///< what is going out: to all below `cursor` still
    struct sockjs_bundle bundle; ///< of the flight
    int64_t lowest;           ///< offset in the flight
    uint32_t cursor;
    bool bundled;             ///< the flight is small enough to go out as one run of bytes
    struct list pending_link; ///< of the hub, while something is due
    struct timer batch_timer, linger;
    uint32_t second, in_second;
    int64_t offset;           ///< of the last message delivered here; -1: not known yet
    char epoch[24];
    int64_t top;              ///< highest offset seen while catching up
    struct sockjs_message *state;
    int64_t state_version;
    int64_t present;          ///< members everywhere; -1: not known
    struct hash members;
    struct list changed_members;
    struct list uncounted_link;
    uint32_t guests;
    uint8_t reads;            ///< Redis reads that will come back to this channel
    bool subscribed, catching_up, again, dead, announced;
    bool renamed;             ///< the epoch is new: the next message says its name
    size_t name_size;
    char name[];
};

static inline struct slice channel_slice(const struct channel *channel) {
    return slice_make(channel->name, channel->name_size);
}

// client.c
void client_open(void *hub, struct sockjs_session *session, const char *remote);
void client_message(struct sockjs_session *session, struct slice message, bool binary);
void client_close(struct sockjs_session *session, int code, struct slice reason);
/// Says goodbye with a reason, then closes.
void client_dismiss(struct client *client, int code, const char *reason, uint64_t after_ms);
void client_reply_error(struct client *client, int64_t i, const char *code, const char *message);
void errand_begin(struct errand *errand, struct client *client);
const char *client_role(const struct client *client);
/// Begins {"i":…,"<what>": or, with i 0, {"<what>":
void reply_begin(struct buffer *out, int64_t i, const char *what);
struct account *hub_account(struct hub *hub, int64_t id, bool make);
void hub_account_release(struct hub *hub, struct account *account);
/// One fewer answer owed; frees the hub when it was the last that a hub being freed waited for.
void hub_answered(struct hub *hub);

// fanout.c
/// Takes the reference of `message`; it goes out at the end of the tick, or when the channel's
/// gathering is over. A message with a key takes the place of one that waits.
void channel_deliver(struct channel *channel, struct sockjs_message *message, int64_t offset,
                     uint64_t key);
void channel_flush(struct channel *channel); ///< all that waits, to everyone, now
void channel_send(struct subscription *subscription, const struct delivery *delivery);
void channel_heal(struct hub *hub); ///< what was passed over is made good where the queue is short again
void channel_prepare_batches(struct channel *channel);
void channel_drop_batches(struct channel *channel);
void fanout_prepare(struct hub *hub);

// channel.c
/// {"<kind>":{"c":…,"<number>":value,"d":json}}
struct sockjs_message *channel_push(struct channel *channel, const char *kind, const char *number,
                                    int64_t value, struct slice json);
struct channel *channel_get(struct hub *hub, struct slice name, bool make);
void channel_remove(struct subscription *subscription); ///< frees it
struct subscription *channel_add(struct channel *channel, struct client *client);
struct subscription *client_find(const struct client *client, struct slice name);
void channel_catch_up(struct channel *channel);
void channel_unsubscribe(struct hub *hub, struct slice name, int64_t account, int code,
                         const char *reason);
void channel_free_all(struct hub *hub);

// join.c
void join_connect(struct client *client, int64_t i, struct json_value subs);
void join_one(struct client *client, int64_t i, struct slice name, struct json_value options);
void join_abandon(struct client *client);                 ///< the client has gone
void join_forget(struct subscription *subscription);      ///< the subscription has gone
void join_hold(struct joining *joining, const struct delivery *delivery);
void join_wait_over(struct channel *channel);             ///< the Redis subscription is in force
const char *join_problem(const struct client *client, struct slice name,
                         const struct realtime_namespace *space);

// presence.c
void presence_enter(struct subscription *subscription);
void presence_leave(struct subscription *subscription);
void presence_flush(struct hub *hub, bool refresh);
void presence_withdraw(struct channel *channel);

// chat.c
void chat_publish(struct client *client, int64_t i, struct slice channel, struct json_value data);

// bus.c
struct sockjs_relay *bus_open(struct hub *hub);
void bus_close(struct hub *hub); ///< the relay is still to be freed, when Redis owes us nothing

// echo.c
struct echo *echo_new(struct hub *hub);
bool echo_serve(struct echo *echo, struct http_request *request);
void echo_free(struct echo *echo);
#endif
