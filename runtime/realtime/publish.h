#ifndef FOOTLIGHT_REALTIME_PUBLISH_H
#define FOOTLIGHT_REALTIME_PUBLISH_H
#include "redis/client.h"

/// Publishing and reading channels, for any process: Redis numbers, keeps and spreads messages in
/// one step, so numbering and order agree everywhere, and no hub is needed to publish.
///
/// Names in the main Redis, for a channel C:
///   rt:m:C  hash    e (epoch: a new one when numbering starts again), o (offset of the last message)
///   rt:h:C  stream  the last messages; the entry of offset N has the id N-0 and the field d
///   rt:s:C  hash    v, d: version and latest message of a state channel
///   rt:c:C  pub/sub "p <offset> <epoch> <json>", "e <json>", "s <version> <json>", "n <count>"

/// `error` NULL: done. offset and epoch are 0 and "" where the channel has no history; a state's
/// version is its offset. Errors are the client's ("UNAVAILABLE …") or Redis' own.
typedef void realtime_published_fn(void *context, int64_t offset, const char *epoch,
                                   const char *error);

/// Publishes a message (a JSON value, at most 64 KiB) and forgets it; failures are logged. An unknown
/// channel is refused (logged). A state message with an integer member `version` that is lower
/// than the one kept changes nothing.
void realtime_publish(struct redis_client *main, struct slice channel, struct slice json);
/// As above; tells the outcome.
void realtime_publish_then(struct redis_client *main, struct slice channel, struct slice json,
                           realtime_published_fn *done, void *context);
/// Takes the message at `offset`, or REALTIME_ALL, out of the history and publishes `json` (which
/// tells clients) in the same step.
enum { REALTIME_ALL = -1 };
void realtime_rewrite(struct redis_client *main, struct slice channel, int64_t offset,
                      struct slice json, realtime_published_fn *done, void *context);

/// What a channel holds. Slices are valid inside the callback.
struct realtime_entry {
    int64_t offset;
    struct slice json;
};
struct realtime_past {
    int64_t offset;     ///< of the last message; a state's version
    const char *epoch;  ///< "" if nothing was ever published
    int64_t oldest;     ///< offset of the oldest message kept, 0 if none
    const struct realtime_entry *entries;
    size_t count;
};
typedef void realtime_past_fn(void *context, const struct realtime_past *past, const char *error);
/// Reads position and messages after `since` (-1: the position only). A state channel gives its
/// latest message as the one entry.
void realtime_read(struct redis_client *main, struct slice channel, int64_t since,
                   realtime_past_fn *done, void *context);

/// Orders to every instance (docs/realtime-protocol.md): JSON for the channel ctl:realtime.
void realtime_order(struct redis_client *main, struct slice json);
enum { REALTIME_MESSAGE_MAX = 64 * 1024 };
#endif
