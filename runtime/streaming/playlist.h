#ifndef FOOTLIGHT_STREAMING_PLAYLIST_H
#define FOOTLIGHT_STREAMING_PLAYLIST_H
#include "base/buffer.h"

/// nginx-rtmp's playlist, made fit for one viewer: segments become signed links that nginx checks,
/// keys become addresses under the viewer's ticket, so they come through the gate one by one.
struct playlist_options {
    struct slice slug;
    const char *segment_secret;
    int64_t now; ///< seconds; the links are the same for all viewers within half a minute
    /// Segments that began before this moment (ms, by their files in `folder`) belong to a show that is
    /// over, or to nobody who may see it: they are left out. 0: all are good.
    int64_t since_ms;
    const char *folder;
};

/// Appends the rewritten playlist. *target is its target duration in seconds. False if the text is
/// not a playlist as nginx-rtmp writes it (or is only half written): try again later.
bool playlist_rewrite(struct buffer *out, struct slice playlist,
                      const struct playlist_options *options, unsigned *target);

/// "12.key" → true: digits and the suffix, nothing else.
bool playlist_key_name(struct slice name);
#endif
