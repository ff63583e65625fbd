#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "streaming/ingest.h"
#include "streaming/playlist.h"
#include "streaming/relay.h"

// Web viewers. One ticket is one viewing session, by whichever ways its player comes:
//     /media/flv/<ticket>               WebSocket or plain HTTP
//     /media/hls/<ticket>/index.m3u8    each poll is a sign of life
//     /media/hls/<ticket>/<n>.key
//     /media/state/<ticket>             what became of it, for the page to say
// /media/ingest/<token> and /media/health/<token> are a broadcaster's: ingest.c.

enum {
    FILE_LIMIT = 64 * 1024,
    CACHE_MS = 200,   ///< a playlist is read at most this often for all its viewers
    PLACES = 8,
    CHANGE_MS = 300 * 1000, ///< segments older than this are in no playlist
    ASKS = 16,        ///< requests of one ticket that wait for its admission
};

enum ask_kind { ASK_PLAYLIST, ASK_KEY, ASK_FLV };

struct ask {
    struct list link;
    struct http_request *request;
    enum ask_kind kind;
    char name[32]; ///< of the key
    bool gone;
};

struct viewer {
    struct session session; // first
    struct list asks;
    unsigned ask_count;
    struct feed *feed;
    uint64_t place;             ///< whence it watches: address and browser, hashed
    uint64_t former[PLACES];    ///< places that lost it to another
    unsigned former_count;
    struct timer linger;
};

struct cached_playlist {
    struct buffer text; ///< rewritten; empty: none
    uint64_t read_at;
    int64_t since_ms; ///< when the stream came to those who watch it now
    unsigned target;
    bool still;       ///< the last segment should be here by now: the picture stands
    uint64_t moved;   ///< loop time of the last one
};

static struct viewer *viewer_of(struct session *session) {
    return container_of(session, struct viewer, session);
}

// Files of nginx-rtmp.

static bool read_file(struct buffer *out, const char *path, int64_t *changed_s) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat about;
    if (fd < 0) return false;
    bool sound = fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && about.st_size <= FILE_LIMIT;
    while (sound) {
        ssize_t size = read(fd, buffer_reserve(out, 8192), 8192);
        if (size <= 0 || out->size > FILE_LIMIT) break;
        buffer_added(out, (size_t)size);
    }
    if (changed_s) *changed_s = (int64_t)about.st_mtim.tv_sec;
    close(fd);
    return sound && out->size > 0;
}

static struct cached_playlist *playlist_of(struct viewer *viewer) {
    struct streaming *streaming = viewer->session.streaming;
    const char *slug = viewer->session.slug;
    struct cached_playlist *cached = hash_get(&streaming->playlists, slice_of(slug));
    uint64_t now = loop_now(streaming->loop);
    if (cached && now - cached->read_at < CACHE_MS &&
        cached->since_ms >= viewer->session.show_at) {
        return cached;
    }
    if (!cached) {
        cached = memory_zero(1, sizeof *cached);
        hash_put(&streaming->playlists, slice_of(slug), cached);
    }
    char path[512], folder[512];
    struct buffer raw = {0};
    int64_t changed = 0, seconds = clock_wall_s();
    struct playlist_options options = {
        .slug = slice_of(slug), .segment_secret = streaming->options.segment_secret, .now = seconds,
        .folder = folder};
    // Whoever may watch now was let in after the last change: theirs is the newest.
    if (cached->since_ms < viewer->session.show_at) cached->since_ms = viewer->session.show_at;
    if (clock_wall_ms() - cached->since_ms < CHANGE_MS) options.since_ms = cached->since_ms;
    cached->read_at = now;
    snprintf(folder, sizeof folder, "%s/%s", streaming->options.hls, slug);
    snprintf(path, sizeof path, "%s/%s/index.m3u8", streaming->options.hls, slug);
    bool found = read_file(&raw, path, &changed);
    struct buffer fresh = {0};
    if (found && playlist_rewrite(&fresh, buffer_slice(&raw), &options, &cached->target) &&
        seconds - changed <= 3 * (int64_t)cached->target) {
        buffer_free(&cached->text);
        cached->text = fresh;
        uint64_t age = seconds > changed ? (uint64_t)(seconds - changed) * 1000 : 0;
        cached->moved = now > age ? now - age : 0;
        cached->still = age > 1000ull * cached->target + STILL_MS;
    } else {
        // Away, or no longer written to: a dead playlist would keep players (and meters) waiting.
        buffer_free(&fresh);
        if (!found || changed != 0) buffer_clear(&cached->text, 0);
    }
    buffer_free(&raw);
    return cached;
}

static void serve_playlist(struct viewer *viewer, struct http_request *request) {
    struct streaming *streaming = viewer->session.streaming;
    struct cached_playlist *cached = playlist_of(viewer);
    // This host's nginx writes segments of another host's stream as long as somebody here plays it.
    if (viewer->session.away) relay_warm(streaming, viewer->session.slug);
    http_response_header(request, SLICE("Cache-Control"), SLICE("no-store"));
    if (cached->text.size == 0) {
        // The first segment takes its length to be written; the player asks again.
        http_response_header(request, SLICE("Retry-After"), SLICE("1"));
        http_respond_status(request, 404);
        return;
    }
    if (!viewer->feed) session_picture(&viewer->session, !cached->still, cached->moved);
    if (cached->still) {
        session_seen(&viewer->session);
    } else {
        session_alive(&viewer->session);
    }
    uint64_t linger = 3000ull * cached->target;
    if (linger < streaming->options.linger_ms) linger = streaming->options.linger_ms;
    loop_timer_start(streaming->loop, &viewer->linger, linger);
    http_respond(request, 200, "application/vnd.apple.mpegurl", buffer_slice(&cached->text));
}

static void serve_key(struct viewer *viewer, struct http_request *request, const char *name) {
    char path[512];
    struct buffer key = {0};
    snprintf(path, sizeof path, "%s/%s/%s", viewer->session.streaming->options.keys,
             viewer->session.slug, name);
    http_response_header(request, SLICE("Cache-Control"), SLICE("no-store"));
    if (read_file(&key, path, NULL) && key.size == 16) {
        session_alive(&viewer->session);
        http_respond(request, 200, "application/octet-stream", buffer_slice(&key));
    } else {
        http_respond_status(request, 404);
    }
    buffer_free(&key);
}

// Sessions.

static void start_linger(struct viewer *viewer) {
    loop_timer_start(viewer->session.streaming->loop, &viewer->linger,
                     viewer->session.streaming->options.linger_ms);
}

static void on_linger(struct timer *timer) {
    struct viewer *viewer = container_of(timer, struct viewer, linger);
    struct session *session = &viewer->session;
    if (session->state != SESSION_OPEN) return;
    if (viewer->feed) {
        start_linger(viewer);
        return;
    }
    uint64_t silent = loop_now(session->streaming->loop) - session->seen;
    session_ended(session, clock_wall_ms() - (int64_t)silent, "left");
}

static void on_feed_closed(struct session *session, struct feed *feed) {
    struct viewer *viewer = viewer_of(session);
    if (viewer->feed != feed) return; // another has taken its place
    viewer->feed = NULL;
    if (session->dead) return;
    if (session->state == SESSION_OPEN) start_linger(viewer);
}

static void on_end(struct session *session) {
    struct viewer *viewer = viewer_of(session);
    // Without a feed the last sign of life is older than this: nobody pays for the time between.
    uint64_t silent = viewer->feed ? 0 : loop_now(session->streaming->loop) - session->seen;
    if (viewer->feed) feed_close(viewer->feed, session->cut ? 4403 : 1000, session->reason);
    session_ended(session, silent ? clock_wall_ms() - (int64_t)silent : 0,
                  session->reason[0] ? session->reason : "ended");
}

static void on_freed(struct session *session) {
    struct viewer *viewer = viewer_of(session);
    loop_timer_stop(session->streaming->loop, &viewer->linger);
    memory_free(viewer);
}

static void serve(struct viewer *viewer, struct ask *ask) {
    switch (ask->kind) {
    case ASK_PLAYLIST:
        serve_playlist(viewer, ask->request);
        break;
    case ASK_KEY:
        serve_key(viewer, ask->request, ask->name);
        break;
    case ASK_FLV: {
        struct feed *former = viewer->feed;
        viewer->feed = ask->gone ? NULL : feed_open(&viewer->session, ask->request, on_feed_closed);
        if (ask->gone) http_respond_status(ask->request, 403);
        if (former) feed_close(former, 4409, "opened elsewhere");
        break;
    }
    }
}

static void answer_all(struct viewer *viewer, int status) {
    list_each(&viewer->asks, node) {
        struct ask *ask = container_of(node, struct ask, link);
        list_remove(&ask->link);
        ask->request->data = NULL;
        if (status == 200) {
            serve(viewer, ask);
        } else {
            http_response_header(ask->request, SLICE("Cache-Control"), SLICE("no-store"));
            http_respond_status(ask->request, status);
        }
        memory_free(ask);
    }
    viewer->ask_count = 0;
}

static void on_admitted(struct session *session, int status, const char *reason) {
    struct viewer *viewer = viewer_of(session);
    if (status == 200) {
        session_opened(session);
        start_linger(viewer);
        log_info("streaming.watching", LOG_TEXT("session", session->id),
                 LOG_TEXT("slug", session->slug), LOG_INT("account", session->account),
                 LOG_INT("rate", session->ticket.rate));
        answer_all(viewer, 200);
        return;
    }
    if (status == 0) { // refused as gone (it was cut while it was being admitted)
        answer_all(viewer, 403);
        return;
    }
    session_refuse(session, status, reason);
    snprintf(session->reason, sizeof session->reason, "%s", reason);
    answer_all(viewer, status);
    // "Not live" and "redis is away" pass; the ticket is not spent by asking too early.
    if (status == 404 || status == 503) session_forget(session);
}

static void on_gone(struct http_request *request) {
    struct ask *ask = request->data;
    if (ask) ask->gone = true;
}

/// Where a request comes from. A ticket is one viewer's: when it turns up at another place, the new
/// place has it (people change from mobile to home networks), and the old one has lost it for good,
/// so that two who share an address cannot take turns.
static bool place_may(struct viewer *viewer, const struct http_request *request) {
    struct session *session = &viewer->session;
    struct buffer text = {0};
    buffer_append_text(&text, request->remote);
    buffer_append_char(&text, '\n');
    buffer_append_slice(&text, http_request_header(request, "user-agent"));
    uint64_t place = hash_bytes(buffer_slice(&text)) | 1;
    buffer_free(&text);
    if (viewer->place == place) return true;
    for (unsigned i = 0; i < viewer->former_count; i++) {
        if (viewer->former[i] == place) return false;
    }
    if (viewer->place) {
        if (viewer->former_count == PLACES) return false;
        viewer->former[viewer->former_count++] = viewer->place;
        log_info("streaming.moved", LOG_TEXT("session", session->id));
        if (strcmp(session->address, request->remote) != 0) {
            snprintf(session->address, sizeof session->address, "%s", request->remote);
            session_ask_again(session); // it may not be shown there
        }
    }
    viewer->place = place;
    return true;
}

static void refuse(struct streaming *streaming, struct http_request *request, int status) {
    metric_add(streaming->refused, 1);
    http_response_header(request, SLICE("Cache-Control"), SLICE("no-store"));
    http_respond_status(request, status);
}

static struct viewer *viewer_new(struct streaming *streaming, const struct ticket *ticket,
                                 const char *id, const char *address, bool resume) {
    struct viewer *viewer = memory_zero(1, sizeof *viewer);
    struct session *session = &viewer->session;
    session_init(session, streaming, SESSION_WEB, slice_of(id));
    session->ticket = *ticket;
    session->resume = resume;
    session->end = on_end;
    session->freed = on_freed;
    snprintf(session->slug, sizeof session->slug, "%s", ticket->slug);
    snprintf(session->address, sizeof session->address, "%s", address);
    list_init(&viewer->asks);
    timer_init(&viewer->linger, on_linger);
    admission_ask(session, on_admitted);
    return viewer;
}

static void watch(struct streaming *streaming, struct http_request *request, struct slice text,
                  enum ask_kind kind, struct slice name) {
    struct ticket ticket;
    char id[SESSION_ID_SIZE];
    const char *wrong = ticket_read(&ticket, text, streaming->options.ticket_key, clock_wall_s());
    bool expired = wrong && strcmp(wrong, "expired") == 0;
    if ((wrong && !expired) || ticket.policy == TICKET_INTERNAL) {
        refuse(streaming, request, 403);
        return;
    }
    snprintf(id, sizeof id, "w:%s", ticket.nonce);
    struct session *session = session_find(streaming, slice_of(id));
    struct viewer *viewer = session ? viewer_of(session) : NULL;
    if (session && (session->cut || session->state == SESSION_ENDED)) {
        refuse(streaming, request, 403);
        return;
    }
    // A playlist begins a session (or goes on with it after a restart of ours); a key never does.
    if (!session && kind == ASK_KEY) {
        refuse(streaming, request, 403);
        return;
    }
    if (!viewer) viewer = viewer_new(streaming, &ticket, id, request->remote, expired);
    if (!place_may(viewer, request) || viewer->ask_count == ASKS) {
        refuse(streaming, request, viewer->ask_count == ASKS ? 429 : 403);
        return;
    }
    struct ask *ask = memory_zero(1, sizeof *ask);
    ask->request = request;
    ask->kind = kind;
    snprintf(ask->name, sizeof ask->name, "%.*s", SLICE_FORMAT(name));
    if (viewer->session.state == SESSION_OPEN) {
        serve(viewer, ask);
        memory_free(ask);
        return;
    }
    request->data = ask;
    http_request_on_gone(request, on_gone);
    list_push_back(&viewer->asks, &ask->link);
    viewer->ask_count++;
}

/// What became of a ticket: {"state":"open"|"none"|"over","reason":"funds"}.
static void tell_state(struct streaming *streaming, struct http_request *request,
                       struct slice text) {
    struct ticket ticket;
    char id[SESSION_ID_SIZE];
    const char *wrong = ticket_read(&ticket, text, streaming->options.ticket_key, clock_wall_s());
    struct session *session = NULL;
    if (!wrong || strcmp(wrong, "expired") == 0) {
        snprintf(id, sizeof id, "w:%s", ticket.nonce);
        session = session_find(streaming, slice_of(id));
    }
    bool over = session && (session->cut || session->state == SESSION_ENDED);
    struct buffer out = {0};
    buffer_printf(&out, "{\"state\":\"%s\",\"reason\":\"", !session ? "none" : over ? "over" : "open");
    escape_json(&out, slice_of(session ? session->reason : wrong ? wrong : ""));
    buffer_append_text(&out, "\"}");
    http_response_header(request, SLICE("Cache-Control"), SLICE("no-store"));
    http_respond(request, 200, "application/json", buffer_slice(&out));
    buffer_free(&out);
}

void media_on_request(void *context, struct http_request *request) {
    struct streaming *streaming = context;
    struct slice rest = request->path, part[6];
    int parts = 0;
    while (parts < 6 && slice_next(&rest, '/', &part[parts])) parts++;
    bool get = slice_equal(request->method, SLICE("GET"));
    request->log_path = SLICE("/media/"); // what follows may be a ticket
    if (rest.data || parts < 4 || !slice_equal(part[1], SLICE("media"))) {
        http_respond_status(request, 404);
    } else if (!get && !slice_equal(request->method, SLICE("HEAD"))) {
        http_response_header(request, SLICE("Allow"), SLICE("GET"));
        http_respond_status(request, 405);
    } else if (streaming->closing) {
        http_respond_status(request, 503);
    } else if (parts == 4 && slice_equal(part[2], SLICE("flv"))) {
        watch(streaming, request, part[3], ASK_FLV, (struct slice){0});
    } else if (parts == 4 && get && slice_equal(part[2], SLICE("ingest"))) {
        ingest_accept(streaming, request, part[3]);
    } else if (parts == 4 && slice_equal(part[2], SLICE("health"))) {
        ingest_health(streaming, request, part[3]);
    } else if (parts == 4 && slice_equal(part[2], SLICE("state"))) {
        tell_state(streaming, request, part[3]);
    } else if (parts == 5 && slice_equal(part[2], SLICE("hls")) &&
               slice_equal(part[4], SLICE("index.m3u8"))) {
        watch(streaming, request, part[3], ASK_PLAYLIST, (struct slice){0});
    } else if (parts == 5 && slice_equal(part[2], SLICE("hls")) && playlist_key_name(part[4])) {
        watch(streaming, request, part[3], ASK_KEY, part[4]);
    } else {
        http_respond_status(request, 404);
    }
}

void viewers_free(struct streaming *streaming) {
    list_each(&streaming->list, node) {
        struct session *session = container_of(node, struct session, link);
        if (session->kind != SESSION_WEB) continue;
        struct viewer *viewer = viewer_of(session);
        answer_all(viewer, 503);
        loop_timer_stop(streaming->loop, &viewer->linger);
        if (viewer->feed) feed_close(viewer->feed, 1012, "the service restarts");
    }
    size_t cursor = 0;
    void *value;
    while (hash_next(&streaming->playlists, &cursor, NULL, &value)) {
        struct cached_playlist *cached = value;
        buffer_free(&cached->text);
        memory_free(cached);
    }
}
