#include "streaming/stat.h"
#include <stdio.h>

// The page is written by one program in one shape; this reads tags and keeps a path of open ones.
// It is no XML parser: no attributes (but the declaration), no CDATA, five entities.

enum { DEPTH = 12, TAG = 24 };

struct scan {
    char path[DEPTH][TAG];
    int depth;
    struct stat_client client;
    struct stat_stream stream;
    const struct stat_events *events;
    uint64_t *pid;
    bool whole;
};

static bool inside(const struct scan *scan, int above, const char *tag) {
    int at = scan->depth - 1 - above;
    return at >= 0 && strcmp(scan->path[at], tag) == 0;
}

static void copy_text(char *out, size_t room, struct slice text) {
    static const struct {
        const char *entity;
        char letter;
    } entities[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&#39;", '\''}};
    size_t size = 0;
    for (size_t i = 0; i < text.size && size + 1 < room; size++) {
        out[size] = text.data[i];
        size_t step = 1;
        for (size_t e = 0; text.data[i] == '&' && e < sizeof entities / sizeof *entities; e++) {
            if (slice_starts(slice_sub(text, i, text.size), slice_of(entities[e].entity))) {
                out[size] = entities[e].letter;
                step = strlen(entities[e].entity);
                break;
            }
        }
        i += step;
    }
    out[size] = '\0';
}

static void on_open(struct scan *scan) {
    if (inside(scan, 0, "stream")) {
        char app[sizeof scan->stream.app];
        memcpy(app, scan->stream.app, sizeof app);
        memset(&scan->stream, 0, sizeof scan->stream);
        memcpy(scan->stream.app, app, sizeof app);
    } else if (inside(scan, 0, "client")) {
        memset(&scan->client, 0, sizeof scan->client);
        memcpy(scan->client.app, scan->stream.app, sizeof scan->client.app);
        memcpy(scan->client.stream, scan->stream.stream, sizeof scan->client.stream);
    } else if (inside(scan, 0, "video") && inside(scan, 1, "meta")) {
        scan->stream.video = true;
    } else if (inside(scan, 0, "audio") && inside(scan, 1, "meta")) {
        scan->stream.audio = true;
    }
}

static void on_empty(struct scan *scan, struct slice tag) {
    if (!slice_equal(tag, SLICE("publishing"))) return;
    if (inside(scan, 0, "client")) scan->client.publishing = true;
    if (inside(scan, 0, "stream")) scan->stream.publishing = true;
}

static void on_close(struct scan *scan, struct slice text) {
    uint64_t number = 0;
    bool numeric = slice_to_u64(text, &number);
    if (inside(scan, 1, "client")) {
        if (inside(scan, 0, "id")) scan->client.id = number;
        if (inside(scan, 0, "timestamp")) scan->client.timestamp = number;
        if (inside(scan, 0, "time")) scan->client.time_ms = number;
        if (inside(scan, 0, "address")) {
            copy_text(scan->client.address, sizeof scan->client.address, text);
        }
    } else if (inside(scan, 1, "stream")) {
        if (inside(scan, 0, "name")) {
            copy_text(scan->stream.stream, sizeof scan->stream.stream, text);
        }
        if (inside(scan, 0, "bytes_in")) scan->stream.bytes_in = number;
        if (inside(scan, 0, "client") && scan->events->on_client && scan->client.id > 0) {
            scan->events->on_client(scan->events->context, &scan->client);
        }
    } else if (inside(scan, 1, "application") && inside(scan, 0, "name")) {
        copy_text(scan->stream.app, sizeof scan->stream.app, text);
    } else if (inside(scan, 0, "stream") && scan->events->on_stream) {
        scan->events->on_stream(scan->events->context, &scan->stream);
    } else if (inside(scan, 1, "rtmp") && inside(scan, 0, "pid") && numeric) {
        *scan->pid = number;
    }
}

bool stat_read(struct slice page, const struct stat_events *events, uint64_t *pid) {
    struct scan scan = {.events = events, .pid = pid};
    size_t at = 0, text_from = 0;
    *pid = 0;
    while ((at = slice_find(page, '<', at)) < page.size) {
        size_t end = slice_find(page, '>', at);
        if (end == page.size) return false;
        struct slice tag = slice_sub(page, at + 1, end - at - 1);
        struct slice text = slice_sub(page, text_from, at - text_from);
        at = text_from = end + 1;
        if (tag.size == 0) return false;
        if (tag.data[0] == '?' || tag.data[0] == '!') continue;
        if (tag.data[0] == '/') {
            struct slice name = slice_sub(tag, 1, tag.size);
            if (scan.depth == 0 || !slice_equal(name, slice_of(scan.path[scan.depth - 1]))) {
                return false;
            }
            on_close(&scan, text);
            scan.depth--;
            if (scan.depth == 0) scan.whole = slice_equal(name, SLICE("rtmp"));
        } else if (tag.data[tag.size - 1] == '/') {
            on_empty(&scan, slice_sub(tag, 0, tag.size - 1));
        } else {
            if (scan.depth == DEPTH || tag.size >= TAG) return false;
            memcpy(scan.path[scan.depth], tag.data, tag.size);
            scan.path[scan.depth++][tag.size] = '\0';
            on_open(&scan);
        }
    }
    return scan.whole && *pid != 0;
}
