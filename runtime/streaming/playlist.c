#include "streaming/playlist.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "streaming/link.h"

enum {
    LINK_STEP = 30,
    LINK_STEPS = 4,
    PLAYLIST_LIMIT = 64 * 1024,
    CLOCK_MS = 500, ///< a file is written a little after its picture was taken
};

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

/// When a segment was begun, ms; of one that is gone, long ago.
static int64_t segment_began(const char *folder, struct slice name, int64_t length_ms) {
    char path[512];
    struct stat about;
    if (snprintf(path, sizeof path, "%s/%.*s", folder, SLICE_FORMAT(name)) >= (int)sizeof path ||
        stat(path, &about) != 0) {
        return 0;
    }
    return (int64_t)about.st_mtim.tv_sec * 1000 + about.st_mtim.tv_nsec / 1000000 - length_ms;
}

/// "#EXTINF:2.907," → 2907; 0 for what is none.
static int64_t length_of(struct slice line) {
    char text[16] = "";
    struct slice rest = slice_sub(line, 8, line.size), number;
    if (!slice_next(&rest, ',', &number) || number.size >= sizeof text) return 0;
    memcpy(text, number.data, number.size);
    double seconds = strtod(text, NULL);
    return seconds > 0 && seconds < 3600 ? (int64_t)(seconds * 1000) : 0;
}

/// How many segments at the beginning must not be shown.
static unsigned count_hidden(struct slice playlist, const struct playlist_options *options) {
    struct slice rest = playlist, line;
    unsigned segments = 0, hidden = 0;
    int64_t length = 0;
    while (rest.data && slice_next(&rest, '\n', &line)) {
        if (slice_starts(line, SLICE("#EXTINF:"))) {
            length = length_of(line);
        } else if (line.size > 0 && line.data[0] != '#') {
            segments++;
            // Also all before one that is too old: they are older.
            if (numbered(line, SLICE(".ts")) &&
                segment_began(options->folder, line, length) < options->since_ms + CLOCK_MS) {
                hidden = segments;
            }
        }
    }
    return hidden;
}

bool playlist_rewrite(struct buffer *out, struct slice playlist,
                      const struct playlist_options *options, unsigned *target) {
    size_t kept = out->size;
    unsigned segments = 0, hidden = 0;
    uint64_t seconds = 0, sequence = 0;
    struct slice key = {0};
    struct buffer tags = {0};
    if (!slice_starts(playlist, SLICE("#EXTM3U\n")) || playlist.size > PLAYLIST_LIMIT) return false;
    struct slice rest = playlist, line;
    bool sound = playlist.data[playlist.size - 1] == '\n';
    if (sound && options->since_ms > 0) hidden = count_hidden(playlist, options);
    while (sound && rest.data && slice_next(&rest, '\n', &line)) {
        if (line.size == 0) continue;
        if (slice_starts(line, SLICE("#EXT-X-KEY:"))) {
            key = line; // written before the first segment that is shown under it
        } else if (line.data[0] != '#') {
            if (segments++ >= hidden) {
                if (key.size > 0) sound = rewrite_key(out, key);
                key.size = 0;
                buffer_append_slice(out, buffer_slice(&tags));
                sound = sound && rewrite_segment(out, line, options);
            }
            buffer_clear(&tags, SIZE_MAX);
        } else if (slice_starts(line, SLICE("#EXTINF:")) ||
                   slice_starts(line, SLICE("#EXT-X-DISCONTINUITY"))) {
            buffer_append_slice(&tags, line); // of the segment that follows
            buffer_append_char(&tags, '\n');
        } else if (slice_starts(line, SLICE("#EXT-X-MEDIA-SEQUENCE:")) && hidden > 0) {
            sound = slice_to_u64(slice_sub(line, 22, line.size), &sequence);
            buffer_printf(out, "#EXT-X-MEDIA-SEQUENCE:%llu\n",
                          (unsigned long long)(sequence + hidden));
        } else {
            if (slice_starts(line, SLICE("#EXT-X-TARGETDURATION:"))) {
                sound = slice_to_u64(slice_sub(line, 22, line.size), &seconds) && seconds > 0 &&
                        seconds < 3600;
            }
            buffer_append_slice(out, line);
            buffer_append_char(out, '\n');
        }
    }
    buffer_free(&tags);
    if (!sound || segments <= hidden || seconds == 0) {
        out->size = kept;
        return false;
    }
    *target = (unsigned)seconds;
    return true;
}
