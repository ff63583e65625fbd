#ifndef FOOTLIGHT_REDIS_SCOUT_H
#define FOOTLIGHT_REDIS_SCOUT_H
#include "redis/client.h"

/// Asks any of several servers the same question, again and again: the sentinels where the master
/// is, the nodes of a cluster which of them has which slots. Goes on to the next server when one
/// cannot be reached, does not answer within a second, or gives an answer that is of no use.
struct redis_scout;
struct redis_scout_options {
    const char *name, *role;      ///< as of redis_link_new
    const char *password;         ///< or NULL
    const struct slice *question; ///< copied
    size_t words;
    unsigned every_ms;
    /// An answer of the server at `address`. False: it is of no use, ask another.
    bool (*on_answer)(void *context, const redisReply *reply, const char *address);
    void *context;
};

/// `addresses` are separated by commas.
struct redis_scout *redis_scout_new(struct loop *loop, const struct redis_scout_options *options,
                                    const char *addresses);
void redis_scout_free(struct redis_scout *scout); ///< not inside on_answer
/// Asks soon, and not only when it is time; at most ten times a second.
void redis_scout_ask(struct redis_scout *scout);
/// Other servers to ask from now on; the one that answers now is kept as long as it does.
void redis_scout_candidates(struct redis_scout *scout, const char *addresses);
#endif
