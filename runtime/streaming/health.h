#ifndef FOOTLIGHT_STREAMING_HEALTH_H
#define FOOTLIGHT_STREAMING_HEALTH_H
#include "base/buffer.h"

/// What is wrong with a broadcast, seen from where viewers get it: the FLV messages of one stream in
/// windows of a few seconds. Knows nothing of sockets; times are handed in.
struct health {
    uint64_t window;                  ///< began at (ms); 0: not yet
    unsigned frames, sounds;          ///< in this window
    uint64_t video_bytes, audio_bytes;
    unsigned dropped;                 ///< frames that the gaps in media time would hold
    uint32_t interval;                ///< typical time between two frames, in 1/16 ms
    uint32_t last_frame, last_key;    ///< media time
    uint32_t gap;                     ///< between the last two key frames, ms
    bool framed, keyed;               ///< last_frame, last_key are set
    int64_t earliest, latest;         ///< arrival minus media time
    unsigned width, height;
    int video_codec, audio_codec;     ///< FLV's numbers; -1: none was seen
};

void health_init(struct health *health);
/// One audio or video message (FLV_AUDIO, FLV_VIDEO), as it arrived at `now` ms.
void health_note(struct health *health, int type, uint32_t timestamp, struct slice body, uint64_t now);
/// onMetaData, for the picture's size.
void health_meta(struct health *health, struct slice body);

enum health_advice {
    HEALTH_KEYFRAME_GAP = 1 << 0,
    HEALTH_CODEC = 1 << 1,
    HEALTH_NO_VIDEO = 1 << 2,
    HEALTH_NO_AUDIO = 1 << 3,
    HEALTH_LOW_KBIT = 1 << 4,
    HEALTH_HIGH_KBIT = 1 << 5,
    HEALTH_LOW_FPS = 1 << 6,
    HEALTH_DROPPED = 1 << 7,
    HEALTH_LATE = 1 << 8,
};
enum { HEALTH_WINDOW_MS = 2000 }; ///< a shorter one says too little

/// Appends the message for the model's page and begins the next window; *advice (may be NULL) says
/// the same as its "advice". False, and nothing done, before the window is long enough.
bool health_report(struct health *health, struct buffer *out, const char *slug, uint64_t now,
                   unsigned *advice);
#endif
