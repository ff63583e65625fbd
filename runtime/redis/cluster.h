#ifndef FOOTLIGHT_REDIS_CLUSTER_H
#define FOOTLIGHT_REDIS_CLUSTER_H
#include "redis/client.h"

/// What a redis_client does whose address is "cluster:host:port,host:port…": a map from slots to
/// masters, one pipelined client for each master, and redirections. The map is read from whichever
/// node answers, each few seconds and at once when something moved or a node was lost. A node that
/// is away costs its own slots only, and those fail at once. SCAN goes through one node after the
/// other; every other command without a key is for any one of them.
struct redis_cluster;

/// `owner` is the client in front: it becomes prepared when the map is known.
struct redis_cluster *redis_cluster_new(struct loop *loop, const struct redis_options *options,
                                        struct redis_client *owner);
void redis_cluster_free(struct redis_cluster *cluster);
/// All slots have a node, and all of those are connected.
bool redis_cluster_whole(const struct redis_cluster *cluster);
/// `limit_ms` is for the command with all its redirections. MOVED and ASK are followed (five
/// times), TRYAGAIN is tried again while there is time; everything else is the caller's.
void redis_cluster_submit(struct redis_cluster *cluster, struct slice encoded, unsigned limit_ms,
                          redis_reply_fn *done, void *context);
#endif
