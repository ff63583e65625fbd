#ifndef FOOTLIGHT_REDIS_PRIVATE_H
#define FOOTLIGHT_REDIS_PRIVATE_H
#include "redis/client.h"

/// Between client.c, functions.c and cluster.c.
struct redis_functions;

/// Sends at once although the client is not ready yet. `done` comes as from redis_call.
void redis_client_send(struct redis_client *client, const struct slice *arguments, size_t count,
                       redis_reply_fn *done, void *context);
struct redis_functions **redis_client_functions(struct redis_client *client);
const char *redis_client_name(const struct redis_client *client);
/// The functions are in place (or there are none): the client becomes ready.
void redis_client_prepared(struct redis_client *client);
/// They cannot be put in place: the connection is of no use.
void redis_client_refuse(struct redis_client *client, const char *reason);

/// As redis_call, for a command that is encoded already.
void redis_client_submit(struct redis_client *client, struct slice encoded, unsigned limit_ms,
                         redis_reply_fn *done, void *context);
/// Calls the listeners of redis_client_on_state.
void redis_client_tell_state(struct redis_client *client, bool up);

/// Checks and loads every library; then redis_client_prepared or redis_client_refuse.
void redis_functions_load(struct redis_client *client);
/// `to` keeps the libraries of `from`, too.
void redis_functions_copy(struct redis_client *from, struct redis_client *to);
void redis_functions_free(struct redis_functions *functions);
#endif
