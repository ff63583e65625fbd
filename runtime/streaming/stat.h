#ifndef FOOTLIGHT_STREAMING_STAT_H
#define FOOTLIGHT_STREAMING_STAT_H
#include "base/slice.h"

/// nginx-rtmp's /stat page. One call for each client of each stream, in the page's order.
struct stat_client {
    char app[32];
    char stream[256];
    char address[96];
    uint64_t id, timestamp, time_ms;
    bool publishing;
};

/// What is said of a stream behind its clients.
struct stat_stream {
    char app[32];
    char stream[256];
    uint64_t bytes_in;
    bool video, audio; ///< a codec's configuration was seen
    bool publishing;
};

struct stat_events {
    void (*on_client)(void *context, const struct stat_client *client);
    void (*on_stream)(void *context, const struct stat_stream *stream);
    void *context;
};

/// False if the text is not a whole page: then nothing that was reported may be believed to be all.
/// *pid is the worker that answered.
bool stat_read(struct slice page, const struct stat_events *events, uint64_t *pid);
#endif
