#include <assert.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "streaming/internal.h"
#include "streaming/stat.h"

// What nginx says is connected, compared with what we believe. Heals lost callbacks (a worker that
// crashes sends none), sees the first picture of a starting stream, and is evidence of watching
// between two updates.

// Three degrees of certainty. The worker that showed a client shows it no more: it is gone. Another
// worker answers: the former one crashed, or lives on after a reload and its clients are known by
// their updates alone; when one of those is overdue, they are gone. Nothing at all is heard: LOST_MS.
enum { GONE_MS = UPDATE_MS + 2500, LOST_MS = 3 * UPDATE_MS, LATE_MS = 1000, SLOW_MS = 2000 };

struct sample {
    struct list link;
    struct session *asker; ///< held
    uint64_t client;
    bool found, running;
    uint64_t timestamp;
    void (*done)(struct session *asker, bool answered, bool found, uint64_t timestamp);
};

static void poll(struct media_host *host);

static void look_in(struct media_host *host, uint64_t ms) {
    host->stat_due = loop_now(host->streaming->loop) + ms;
    loop_timer_start(host->streaming->loop, &host->stat_timer, ms);
}

static void on_client(void *context, const struct stat_client *client) {
    struct media_host *host = context;
    struct streaming *streaming = host->streaming;
    char id[SESSION_ID_SIZE];
    snprintf(id, sizeof id, "%s:%llu", host->boot, (unsigned long long)client->id);
    struct session *session = session_find(streaming, slice_of(id));
    if (session && session->state == SESSION_OPEN) {
        session_seen(session);
        session->listed = host->stat_round;
        if (client->timestamp > session->timestamp) {
            session->timestamp = client->timestamp;
            session->progress = loop_now(streaming->loop);
            session_alive(session);
        }
    }
    list_each(&host->samples, node) {
        struct sample *sample = container_of(node, struct sample, link);
        if (sample->client == client->id && sample->running) {
            sample->found = true;
            sample->timestamp = client->timestamp;
        }
    }
    if (client->publishing && client->timestamp > 0 && strcmp(client->app, "live") == 0) {
        struct show *show = show_find(streaming, slice_of(client->stream));
        if (show && show->host == host) show->moving = true; // not where it is pulled to
    }
}

static void on_stream(void *context, const struct stat_stream *stream) {
    struct media_host *host = context;
    assert(stream);
    struct show *show = show_find(host->streaming, slice_of(stream->stream));
    if (!show || show->host != host || strcmp(stream->app, "live") != 0) return;
    if (show->moving && (stream->video || stream->audio)) show_first_picture(show);
    show->moving = false;
}

/// end of a session that nobody reported: when it was last seen.
static void sweep_out(struct session *session, const char *why) {
    struct streaming *streaming = session->streaming;
    uint64_t silent = loop_now(streaming->loop) - session->seen;
    metric_add(streaming->lost, 1);
    log_warn("streaming.swept", LOG_TEXT("session", session->id), LOG_TEXT("slug", session->slug),
             LOG_TEXT("why", why), LOG_INT("silent_ms", silent));
    session_ended(session, clock_wall_ms() - (int64_t)silent, "lost");
}

/// Pauses the meters of a stream's players when its picture stands, as of when it was seen to move last,
/// and lets them go on with it. The timestamps of nginx's own push say so: they move with each packet.
static void look_at_picture(struct media_host *host, struct show *show) {
    struct streaming *streaming = host->streaming;
    struct session *relay = session_find(streaming, slice_of(show->relay));
    if (!relay || relay->state != SESSION_OPEN || relay->listed != host->stat_round) return;
    uint64_t stood = loop_now(streaming->loop) - relay->progress;
    // A picture that was just seen moving has stood for 0 ms; anything else is one page old or more.
    if (show->still ? stood > 0 : stood < STILL_MS) return;
    show->still = !show->still;
    list_each(&streaming->list, node) {
        struct session *session = container_of(node, struct session, link);
        if (session->kind != SESSION_PLAYER || session->ours) continue;
        if (strcmp(session->slug, show->slug) != 0) continue;
        session_picture(session, !show->still, relay->progress);
    }
}

static void look_at_pictures(struct media_host *host) {
    size_t cursor = 0;
    void *value;
    while (hash_next(&host->streaming->shows, &cursor, NULL, &value)) {
        struct show *show = value;
        if (show->state == SHOW_LIVE && show->host == host) look_at_picture(host, show);
    }
}

static void sweep(struct media_host *host, bool listed, uint64_t pid) {
    struct streaming *streaming = host->streaming;
    uint64_t now = loop_now(streaming->loop);
    if (listed) host->stat_worker = pid;
    // After a pause of ours the updates that prove a session alive may still wait to be read.
    bool judge = listed && !host->stat_late && now - host->stat_asked < SLOW_MS;
    if (judge) look_at_pictures(host);
    list_each(&streaming->list, node) {
        struct session *session = container_of(node, struct session, link);
        if (session->state != SESSION_OPEN || session->host != host) continue;
        if (listed && session->listed == host->stat_round) session->worker = pid;
        if (judge && session->listed != host->stat_round) session->missing++;
        if (now - session->seen > LOST_MS) {
            sweep_out(session, "no update");
        } else if (judge && session->missing >= 2 &&
                   (session->worker == pid || now - session->seen > GONE_MS)) {
            sweep_out(session, "not connected");
        }
    }
}

static void on_page(struct streaming *streaming, int status, struct slice body, void *context) {
    struct media_host *host = context;
    uint64_t pid = 0;
    host->stat_running = false;
    bool whole = false;
    if (!streaming->closing && status == 200) {
        struct stat_events events = {on_client, on_stream, host};
        whole = stat_read(body, &events, &pid);
        if (!whole) log_warn("streaming.stat", LOG_INT("bytes", body.size));
    }
    struct list answered;
    list_init(&answered);
    list_each(&host->samples, node) {
        struct sample *sample = container_of(node, struct sample, link);
        if (!sample->running && !streaming->closing) continue;
        list_remove(&sample->link);
        list_push_back(&answered, &sample->link);
    }
    list_each(&answered, node) {
        struct sample *sample = container_of(node, struct sample, link);
        list_remove(&sample->link);
        sample->done(sample->asker, whole, sample->found, sample->timestamp);
        session_release(sample->asker);
        memory_free(sample);
    }
    if (streaming->closing) return;
    sweep(host, whole, pid);
    if (!list_empty(&host->samples)) {
        poll(host);
    } else {
        look_in(host, streaming->starting ? STAT_FAST_MS : STAT_MS);
    }
}

static void poll(struct media_host *host) {
    struct streaming *streaming = host->streaming;
    if (host->stat_running || streaming->closing) return;
    loop_timer_stop(streaming->loop, &host->stat_timer);
    host->stat_running = true;
    host->stat_round++;
    host->stat_asked = loop_now(streaming->loop);
    host->stat_late = host->stat_asked > host->stat_due + LATE_MS;
    list_each(&host->samples, node) container_of(node, struct sample, link)->running = true;
    control_get(streaming, host->stat_url, on_page, host);
}

static void on_timer(struct timer *timer) {
    struct media_host *host = container_of(timer, struct media_host, stat_timer);
    if (host->streaming->open > 0 || !list_empty(&host->samples)) {
        poll(host);
    } else {
        look_in(host, STAT_MS);
    }
}

void sweep_start(struct streaming *streaming) {
    for (size_t i = 0; i < streaming->host_count; i++) {
        streaming->hosts[i].stat_timer.fire = on_timer;
        look_in(&streaming->hosts[i], STAT_MS);
    }
}

void sweep_soon(struct media_host *host) {
    if (!host->stat_running && !host->streaming->closing) look_in(host, STAT_FAST_MS);
}

void sweep_sample(struct session *asker, struct media_host *host, uint64_t client,
                  void (*done)(struct session *asker, bool answered, bool found,
                               uint64_t timestamp)) {
    struct sample *sample = memory_zero(1, sizeof *sample);
    sample->asker = asker;
    sample->client = client;
    sample->done = done;
    session_hold(asker);
    // A page that was asked for earlier may not show a client that has come since.
    list_push_back(&host->samples, &sample->link);
    poll(host);
}

void sweep_free(struct streaming *streaming) {
    for (size_t i = 0; i < streaming->host_count; i++) {
        struct media_host *host = &streaming->hosts[i];
        loop_timer_stop(streaming->loop, &host->stat_timer);
        if (!host->stat_running) on_page(streaming, 0, (struct slice){0}, host);
    }
}
