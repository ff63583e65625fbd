#ifndef FOOTLIGHT_REALTIME_CHANNEL_NAME_H
#define FOOTLIGHT_REALTIME_CHANNEL_NAME_H
#include "base/slice.h"

/// What may be done on a channel follows from the part of its name before the colon.
enum realtime_memory {
    REALTIME_NOTHING, ///< who is not there misses it
    REALTIME_STATE,   ///< only the latest message counts, and is given to whoever comes
    REALTIME_HISTORY, ///< numbered, kept, and replayed to whoever comes back
};
enum realtime_access {
    REALTIME_PUBLIC, ///< anyone may listen
    REALTIME_OWN,    ///< the account whose id follows the colon; joined without asking
    REALTIME_CAP,    ///< who has a token with a cap for it
    REALTIME_STAFF,  ///< moderators and administrators, or a cap
};

struct realtime_namespace {
    const char *name;
    enum realtime_memory memory;
    enum realtime_access access;
    unsigned history;     ///< messages kept
    unsigned seconds;     ///< and for how long
    bool publish;         ///< clients may publish (through the chat guard)
    bool presence;        ///< the members are counted
    unsigned conflate_ms; ///< deliveries are gathered so long; of one `key` the newest wins
};

enum { REALTIME_CHANNEL_MAX = 96 };

/// NULL if the name is malformed (letters, digits and _ . - behind a known namespace and a colon;
/// `lobby` stands alone) or its namespace unknown.
const struct realtime_namespace *realtime_namespace_of(struct slice channel);
/// The part behind the colon.
struct slice realtime_channel_rest(struct slice channel);
/// Whether `pattern` ("chat:*", "show:12", "*") covers the channel.
bool realtime_cap_covers(struct slice pattern, struct slice channel);
#endif
