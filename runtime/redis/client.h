#ifndef FOOTLIGHT_REDIS_CLIENT_H
#define FOOTLIGHT_REDIS_CLIENT_H
#include <hiredis/hiredis.h>
#include "base/slice.h"
#include "loop/loop.h"

/// One pipelined connection that all callers share; replies come back in order. Reconnects by
/// itself with back-off and jitter. Commands written in one tick go out in one write.
struct redis_options {
    const char *name;        ///< "main" or "money": for logs, metrics and CLIENT SETNAME
    /// "unix:/path", "host:port", "[::1]:port"; "sentinel:NAME@host:port,host:port": the master that the
    /// sentinels name, whoever that is; "cluster:host:port,host:port": a Redis Cluster of which some
    /// nodes are named (a subscriber listens at one of them, which hears what is published at any).
    const char *address;
    const char *password;    ///< or NULL
    const char *sentinel_password; ///< of the sentinels, or NULL
    bool quiet;              ///< connections that fail are not logged
    unsigned connect_ms;     ///< (2000)
    unsigned command_ms;     ///< default limit of a command (2000)
    size_t queue_limit;      ///< commands in flight; beyond it they fail at once (50,000)
};

struct redis_client;
/// `reply` is valid inside the call only. Exactly one of reply and error is set; error is a static
/// or short-lived text that starts with a stable word: "UNAVAILABLE …" (not connected: the command
/// was not sent), "TIMEOUT …" or "LOST …" (it was sent, and may have run), "BUSY …" (queue full).
/// A Redis error reply comes as reply->type == REDIS_REPLY_ERROR. Never called inside redis_call.
typedef void redis_reply_fn(void *context, const redisReply *reply, const char *error);

struct redis_client *redis_client_new(struct loop *loop, const struct redis_options *options);
void redis_client_free(struct redis_client *client); ///< callbacks of what is in flight come with "LOST"
bool redis_client_ready(const struct redis_client *client); ///< of a cluster: all its masters are
/// limit_ms 0: the default. Arguments are copied. `done` may be NULL. While the first connection is
/// still being made, commands wait for it (within their limit); once it was up and is lost, they
/// fail with UNAVAILABLE at once.
void redis_call(struct redis_client *client, const struct slice *arguments, size_t count,
                unsigned limit_ms, redis_reply_fn *done, void *context);
/// printf-like convenience with hiredis' %s (text) and %b (data, size_t); integers as %d %lld.
void redis_format(struct redis_client *client, redis_reply_fn *done, void *context,
                  const char *format, ...);
/// Called (deferred) at each (re)connection and loss: load functions, resubscribe, raise alarms.
void redis_client_on_state(struct redis_client *client, void (*changed)(void *context, bool up),
                           void *context);
/// Takes back one on_state. Not to be called from inside a state callback of another listener.
void redis_client_off_state(struct redis_client *client, void (*changed)(void *context, bool up),
                            void *context);

/// A second kind of connection: SUBSCRIBE only. Names are subscribed again after a reconnection;
/// on_state tells of the gap. Several owners may subscribe to one channel.
struct redis_subscriber;
typedef void redis_message_fn(void *context, struct slice channel, struct slice message);
struct redis_subscriber *redis_subscriber_new(struct loop *loop, const struct redis_options *options);
void redis_subscriber_free(struct redis_subscriber *subscriber);
/// Returns at once; the subscription is in force when `ready` (may be NULL) is called with true.
void redis_subscribe(struct redis_subscriber *subscriber, struct slice channel,
                     redis_message_fn *on_message, void (*ready)(void *context, bool ok),
                     void *context);
void redis_unsubscribe(struct redis_subscriber *subscriber, struct slice channel,
                       redis_message_fn *on_message, void *context);
void redis_subscriber_on_state(struct redis_subscriber *subscriber,
                               void (*changed)(void *context, bool up), void *context);

/// Functions (Redis 7). Loads the library with FUNCTION LOAD REPLACE at each connection unless the
/// server already has the same text, or a text with a higher number in its `-- version N` line (a
/// newer binary was here; releases are compatible with the one before). The client is not ready
/// before that is done. Call right after redis_client_new; `library` and `code` outlive the client.
void redis_functions_keep(struct redis_client *client, const char *library, const char *code);
#endif
