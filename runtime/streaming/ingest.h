#ifndef FOOTLIGHT_STREAMING_INGEST_H
#define FOOTLIGHT_STREAMING_INGEST_H
#include "streaming/internal.h"
#include "streaming/order.h"

/// Broadcasting from the browser: one WebSocket brings Matroska (WebM), one ffmpeg makes FLV of it
/// and publishes to nginx under a name that is good for one publish. From there on it is a
/// broadcast like any other: the same hooks, lock, policy, states and cut-off.
///
/// Close codes beside the RFC's (docs/streaming.md says what the page makes of them):
enum ingest_close {
    INGEST_TOKEN = 4001,     ///< expired or used: ask for another one
    INGEST_REFUSED = 4002,   ///< not approved, barred, or the site's policy
    INGEST_LIVE = 4003,      ///< another encoder is live
    INGEST_DISPLACED = 4004, ///< another window took over
    INGEST_RATE = 4005,      ///< more data than is allowed
    INGEST_SILENT = 4006,
    INGEST_TIME = 4007,      ///< the longest broadcast is over
    INGEST_SLOW = 4008,      ///< this host cannot keep up
    INGEST_BROKEN = 4009,    ///< the encoder ended: unreadable input, or nginx dropped it
    INGEST_ORDER = 4010,     ///< staff or the system ended it
};

enum {
    INGEST_MESSAGE_LIMIT = 2 * 1024 * 1024,
    INGEST_QUEUE_HIGH = 1024 * 1024, ///< waiting for ffmpeg: reading stops, the browser is told
    INGEST_ONCE_MS = 30 * 1000,      ///< a one-time name that nobody used
};

void ingest_accept(struct streaming *streaming, struct http_request *request, struct slice token);
/// A model looks at how her broadcast is doing, whatever encoder sends it: reports go to her channel.
/// Asked again every few seconds with one token, which is good for it as long as a broadcast may last.
void ingest_health(struct streaming *streaming, struct http_request *request, struct slice token);
void ingest_order(struct streaming *streaming, const struct order *order);
void ingests_free(struct streaming *streaming);

/// What ffmpeg is told; for tests. Texts live as long as `out` and the options of `streaming`.
enum { INGEST_ARGUMENTS = 48 };
struct ingest_input {
    bool h264;  ///< the video is copied, not encoded again
    bool audio;
    unsigned kbit; ///< for what is encoded again
};
void ingest_arguments(const char *out[INGEST_ARGUMENTS], const struct ingest_input *input,
                      const char *address, char kbit[2][16]);

/// Reads ffmpeg's -progress lines as they come in pieces.
struct ingest_progress {
    char line[128];
    size_t size;
    int64_t frames, fps_hundredths, kbit, dropped;
    bool whole; ///< a block has ended ("progress=…"): the numbers belong together
};
void ingest_progress_feed(struct ingest_progress *progress, struct slice data);
#endif
