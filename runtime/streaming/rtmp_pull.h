#ifndef FOOTLIGHT_STREAMING_RTMP_PULL_H
#define FOOTLIGHT_STREAMING_RTMP_PULL_H
#include "base/slice.h"
#include "loop/loop.h"
#include "streaming/rtmp_chunk.h"

/// Plays one stream from nginx-rtmp: an RTMP client that only receives.
struct rtmp_pull;

struct rtmp_pull_events {
    /// Audio, video and data messages of the stream. The body is gone when this returns.
    void (*on_media)(void *context, const struct rtmp_message *message);
    /// The last call, exactly once, never inside rtmp_pull_start. The pull is freed after it.
    void (*on_end)(void *context, const char *reason);
    void *context;
};

/// `address` "127.0.0.1:1935", `app` "live", `name` with its arguments ("luna?t=…").
struct rtmp_pull *rtmp_pull_start(struct loop *loop, const char *address, const char *app,
                                  struct slice name, const struct rtmp_pull_events *events);
void rtmp_pull_stop(struct rtmp_pull *pull); ///< on_end follows
#endif
