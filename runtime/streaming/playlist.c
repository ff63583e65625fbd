#include "streaming/playlist.h"
#include "streaming/link.h"

enum { LINK_STEP = 30, LINK_STEPS = 4, PLAYLIST_LIMIT = 64 * 1024 };

static bool numbered(struct slice name, struct slice suffix) {
    if (name.size <= suffix.size || name.size > 24 + suffix.size || !slice_ends(name, suffix)) {
        return false;
    }
    for (size_t i = 0; i < name.size - suffix.size; i++) {
        if (name.data[i] < '0' || name.data[i] > '9') return false;
    }
    return true;
}

bool playlist_key_name(struct slice name) { return numbered(name, SLICE(".key")); }

/// #EXT-X-KEY:METHOD=AES-128,URI="/k/luna/5.key",IV=0x… : only the file's name is kept, relative to
/// the playlist, whose own address holds the ticket.
static bool rewrite_key(struct buffer *out, struct slice line) {
    size_t open = slice_search(line, SLICE("URI=\""));
    if (open == line.size) return false;
    size_t start = open + 5, end = slice_find(line, '"', start);
    if (end == line.size) return false;
    size_t name = end;
    while (name > start && line.data[name - 1] != '/') name--;
    if (!playlist_key_name(slice_sub(line, name, end - name))) return false;
    buffer_append_slice(out, slice_sub(line, 0, start));
    buffer_append_slice(out, slice_sub(line, name, line.size));
    buffer_append_char(out, '\n');
    return true;
}

static bool rewrite_segment(struct buffer *out, struct slice name,
                            const struct playlist_options *options) {
    if (!numbered(name, SLICE(".ts"))) return false;
    struct buffer path = {0};
    buffer_append_text(&path, "/segments/");
    buffer_append_slice(&path, options->slug);
    buffer_append_char(&path, '/');
    buffer_append_slice(&path, name);
    link_sign(out, buffer_slice(&path), (options->now / LINK_STEP + LINK_STEPS) * LINK_STEP,
              options->segment_secret);
    buffer_append_char(out, '\n');
    buffer_free(&path);
    return true;
}

bool playlist_rewrite(struct buffer *out, struct slice playlist,
                      const struct playlist_options *options, unsigned *target) {
    size_t kept = out->size;
    unsigned segments = 0;
    uint64_t seconds = 0;
    if (!slice_starts(playlist, SLICE("#EXTM3U\n")) || playlist.size > PLAYLIST_LIMIT) return false;
    struct slice rest = playlist, line;
    bool sound = playlist.data[playlist.size - 1] == '\n';
    while (sound && rest.data && slice_next(&rest, '\n', &line)) {
        if (line.size == 0) continue;
        if (slice_starts(line, SLICE("#EXT-X-KEY:"))) {
            sound = rewrite_key(out, line);
        } else if (line.data[0] != '#') {
            sound = rewrite_segment(out, line, options);
            segments++;
        } else {
            if (slice_starts(line, SLICE("#EXT-X-TARGETDURATION:"))) {
                sound = slice_to_u64(slice_sub(line, 22, line.size), &seconds) && seconds > 0 &&
                        seconds < 3600;
            }
            buffer_append_slice(out, line);
            buffer_append_char(out, '\n');
        }
    }
    if (!sound || segments == 0 || seconds == 0) {
        out->size = kept;
        return false;
    }
    *target = (unsigned)seconds;
    return true;
}
