#ifndef FOOTLIGHT_STREAMING_PLAYLIST_H
#define FOOTLIGHT_STREAMING_PLAYLIST_H
#include "base/buffer.h"

/// nginx-rtmp's playlist, made fit for one viewer: segments become signed links that nginx checks,
/// keys become addresses under the viewer's ticket, so they come through the gate one by one.
struct playlist_options {
    struct slice slug;
    const char *segment_secret;
    int64_t now; ///< seconds; the links are the same for all viewers within half a minute
};

/// Appends the rewritten playlist. *target is its target duration in seconds. False if the text is
/// not a playlist as nginx-rtmp writes it (or is only half written): try again later.
bool playlist_rewrite(struct buffer *out, struct slice playlist,
                      const struct playlist_options *options, unsigned *target);

/// "12.key" → true: digits and the suffix, nothing else.
bool playlist_key_name(struct slice name);
#endif
