#ifndef FOOTLIGHT_SOCKJS_RELAY_H
#define FOOTLIGHT_SOCKJS_RELAY_H
#include "loop/loop.h"

/// A SockJS session over HTTP lives on one instance, but behind a plain load balancer its requests
/// arrive anywhere. The relay hands them over: it asks a register who has the session, and then
/// passes bodies one way and frames the other, over a bus that its owner provides (for the
/// realtime service that is Redis, realtime/bus.c).
struct sockjs_relay;

/// Who has the session: a node's name (the own one included); empty: nobody. `known` is false if
/// the register could not be asked.
typedef void sockjs_owner_fn(void *to, struct slice node, bool known);
/// A message for `node` about request `number` did not arrive, because there is no such node.
typedef void sockjs_lost_fn(void *relay, struct slice node, uint64_t number);

struct sockjs_bus {
    void *context;
    const char *node; ///< our own name: letters, digits and dashes
    /// Calls told exactly once, not inside the call. `take`: make it ours if it is nobody's.
    /// `dead`: a node that has been found not to have it any more, or empty.
    void (*claim)(void *context, struct slice key, bool take, struct slice dead,
                  sockjs_owner_fn *told, void *to);
    void (*keep)(void *context, struct slice key);    ///< a claim of ours, before it expires
    void (*release)(void *context, struct slice key); ///< if it is ours
    /// Messages to one node arrive in order. May call lost later, not inside the call.
    void (*send)(void *context, struct slice node, struct slice message, sockjs_lost_fn *lost,
                 uint64_t number);
};

struct sockjs_relay *sockjs_relay_new(struct loop *loop, const struct sockjs_bus *bus);
/// A message that another node's relay has sent to this one.
void sockjs_relay_message(struct sockjs_relay *relay, struct slice message);
/// Ends every request that is handed over. The bus is not used afterwards; answers that it still
/// owes may come.
void sockjs_relay_stop(struct sockjs_relay *relay);
void sockjs_relay_free(struct sockjs_relay *relay); ///< stopped, and the bus owes nothing
#endif
