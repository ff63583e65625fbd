#ifndef FOOTLIGHT_REDIS_ADAPTER_H
#define FOOTLIGHT_REDIS_ADAPTER_H
#include <netinet/in.h>
#include "loop/socket.h"
#include "redis/client.h"

/// hiredis' reply parser on our sockets: one connection that is made again for ever. Debian's own
/// adapter is not used: with hiredis 0.14.1 it never calls back on a refused connection, and the
/// asynchronous context has no time limits. What is shared by the pipelined client and the
/// subscriber is here; what a reply means is theirs.
struct redis_link;

struct redis_link_events {
    /// Connected, and AUTH and CLIENT SETNAME were accepted.
    void (*on_up)(void *owner);
    /// One reply after the handshake. Freed by the link when this returns.
    void (*on_reply)(void *owner, redisReply *reply);
    /// The connection was lost or could not be made; the next try is already scheduled.
    void (*on_down)(void *owner, const char *reason);
    /// Nothing was heard for a while: send a PING. If nothing comes then either, the link is cut.
    void (*on_silence)(void *owner);
};

struct redis_link *redis_link_new(struct loop *loop, const struct redis_options *options,
                                  const char *role, const struct redis_link_events *events,
                                  void *owner);
/// No event comes after this; the memory goes when the socket has closed. Allowed inside events.
void redis_link_free(struct redis_link *link);
/// Milliseconds since the server was last heard.
uint64_t redis_link_silence(const struct redis_link *link);
bool redis_link_up(const struct redis_link *link);
void redis_link_write(struct redis_link *link, const void *data, size_t size); ///< only when up
void redis_link_drop(struct redis_link *link, const char *reason); ///< cut it and connect again
/// The server no longer is what it was taken for: where sentinels are asked, they are asked again.
void redis_link_doubt(struct redis_link *link, const char *reason);

/// RESP of one command, appended to `out`.
void redis_encode(struct buffer *out, const struct slice *arguments, size_t count);
#endif
