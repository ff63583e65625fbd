#ifndef FOOTLIGHT_STREAMING_RELAY_H
#define FOOTLIGHT_STREAMING_RELAY_H
#include "streaming/internal.h"

/// FLV to web viewers, over WebSocket or plain HTTP, from one RTMP pull for each stream. A viewer
/// begins with the last key frame; each packet is in memory once, whoever is still sending it; one
/// that cannot keep up loses whole runs of frames up to the next key frame.
struct feed;

/// Answers the request with the stream of session->slug. `closed` is called once when the feed has
/// ended, whoever ended it; never inside this call. NULL: the request was refused (and answered).
struct feed *feed_open(struct session *session, struct http_request *request,
                       void (*closed)(struct session *session, struct feed *feed));
/// Begins to pull a stream that somebody may soon watch; given up if nobody does for a minute.
void relay_warm(struct streaming *streaming, const char *slug);
/// `code` is a WebSocket close code. `closed` follows.
void feed_close(struct feed *feed, int code, const char *reason);

/// Keeps the stream pulled for a while, viewers or not, and reports its health by on_health each
/// few seconds. Whoever goes on looking calls it again within RELAY_WATCH_MS.
enum { RELAY_WATCH_MS = 12000 };
void relay_watch(struct streaming *streaming, const char *slug, int64_t account);
#endif
