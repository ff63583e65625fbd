#ifndef FOOTLIGHT_REALTIME_HUB_H
#define FOOTLIGHT_REALTIME_HUB_H
#include "base/settings.h"
#include "http/request.h"
#include "realtime/token.h"
#include "redis/client.h"

/// One instance of the realtime service: clients on one side, Redis channels on the other. The
/// protocol that clients speak is docs/realtime-protocol.md.
struct hub_options {
    struct redis_client *redis;          ///< the main instance
    struct redis_subscriber *subscriber; ///< on the same; its on_state becomes the hub's
    uint8_t key[REALTIME_KEY_SIZE];      ///< secrets.token
    const char *origins;       ///< allowed besides the own host (site.url); "*": any
    bool test_endpoints;       ///< /echo, /close and their like
    bool hixie76;              ///< WebSockets of the draft of 2010 too
    unsigned auth_ms;          ///< a client must have connected within (10 s)
    unsigned grace_ms;         ///< from the expiry of a token to the closing (25 s)
    unsigned subscriptions;    ///< of one client (100)
    unsigned connections;      ///< of one account on this instance (30)
    unsigned message_rate;     ///< commands a second of one client, with bursts of four times that (20)
    unsigned chat_length;      ///< characters of a chat message (500)
    unsigned chat_burst;       ///< chat messages of one account in any ten seconds (8)
};

/// Fills options from the settings; returns the key of a setting that is missing or malformed.
const char *hub_options_configure(struct hub_options *options, const struct settings *settings);

struct hub;
struct hub *hub_new(struct loop *loop, const struct hub_options *options);
/// Serves /realtime/sockjs/… and /realtime/websocket (and the test endpoints); 404 for the rest.
void realtime_on_request(void *hub, struct http_request *request);
/// Refuses new clients, and tells the others to come back, spread over `window_ms`. `drained` comes
/// once, when the last has gone or the window is over.
void hub_drain(struct hub *hub, uint64_t window_ms, void (*drained)(void *context), void *context);
/// Drops every client; the hub frees itself in the next ticks, when Redis owes it no answer.
void hub_free(struct hub *hub);
size_t hub_clients(const struct hub *hub);

/// Chat messages pass a judge before they are published (filled by runtime/lua/lua_realtime.c).
struct hub_chat {
    struct slice channel, text;
    int64_t account;
    const char *name, *role;
    bool links; ///< the room lets links pass
};
enum hub_judgement { HUB_PASS, HUB_CHANGE, HUB_HOLD, HUB_DROP, HUB_FAULT };
struct hub_verdict {
    enum hub_judgement judgement;
    struct slice text;   ///< HUB_CHANGE: what is published
    struct slice reason; ///< HUB_HOLD, HUB_DROP: what the sender is told; HUB_FAULT: what went wrong
};
typedef void hub_verdict_fn(void *to, const struct hub_verdict *verdict);
struct hub_policy {
    void *context;
    /// Calls done(to, …) exactly once, within the call or later. On HUB_FAULT the baseline filter
    /// in C (chat.c) decides.
    void (*judge)(void *context, const struct hub_chat *chat, hub_verdict_fn *done, void *to);
};
/// Without a policy the baseline filter decides alone. The policy is copied.
void hub_set_policy(struct hub *hub, const struct hub_policy *policy);
#endif
