#include "realtime/channel_name.h"

enum { HOUR = 3600, DAY = 24 * HOUR };

static const struct realtime_namespace namespaces[] = {
    {"chat", REALTIME_HISTORY, REALTIME_PUBLIC, 50, 10 * 60, true, true, 0},
    {"show", REALTIME_STATE, REALTIME_CAP, 0, DAY, false, true, 0},
    {"status", REALTIME_STATE, REALTIME_PUBLIC, 0, DAY, false, false, 0},
    {"lobby", REALTIME_NOTHING, REALTIME_PUBLIC, 0, 0, false, false, 1000},
    {"user", REALTIME_HISTORY, REALTIME_OWN, 20, DAY, false, false, 0},
    {"bal", REALTIME_STATE, REALTIME_OWN, 0, DAY, false, false, 0},
    {"staff", REALTIME_HISTORY, REALTIME_STAFF, 50, HOUR, false, false, 0},
};

struct slice realtime_channel_rest(struct slice channel) {
    return slice_sub(channel, slice_find(channel, ':', 0) + 1, channel.size);
}

const struct realtime_namespace *realtime_namespace_of(struct slice channel) {
    if (channel.size == 0 || channel.size > REALTIME_CHANNEL_MAX) return NULL;
    size_t colon = slice_find(channel, ':', 0);
    struct slice name = slice_sub(channel, 0, colon);
    bool alone = slice_equal(name, SLICE("lobby"));
    if (alone ? colon < channel.size : colon + 1 >= channel.size) return NULL;
    for (size_t i = colon + 1; i < channel.size; i++) {
        char c = channel.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '.' || c == '-'))
            return NULL;
    }
    for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces; i++)
        if (slice_equal(name, slice_of(namespaces[i].name))) return &namespaces[i];
    return NULL;
}

bool realtime_cap_covers(struct slice pattern, struct slice channel) {
    if (pattern.size > 0 && pattern.data[pattern.size - 1] == '*')
        return slice_starts(channel, slice_sub(pattern, 0, pattern.size - 1));
    return slice_equal(pattern, channel);
}
