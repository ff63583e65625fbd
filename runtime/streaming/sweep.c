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

static void poll(struct streaming *streaming);

static void look_in(struct streaming *streaming, uint64_t ms) {
    streaming->stat_due = loop_now(streaming->loop) + ms;
    loop_timer_start(streaming->loop, &streaming->stat_timer, ms);
}

static void on_client(void *context, const struct stat_client *client) {
    struct streaming *streaming = context;
    char id[SESSION_ID_SIZE];
    snprintf(id, sizeof id, "%s:%llu", streaming->boot, (unsigned long long)client->id);
    struct session *session = session_find(streaming, slice_of(id));
    if (session && session->state == SESSION_OPEN) {
        session_seen(session);
        session->listed = streaming->stat_round;
        if (client->timestamp > session->timestamp) {
            session->timestamp = client->timestamp;
            session->progress = loop_now(streaming->loop);
            session_alive(session);
        }
    }
    list_each(&streaming->samples, node) {
        struct sample *sample = container_of(node, struct sample, link);
        if (sample->client == client->id && sample->running) {
            sample->found = true;
            sample->timestamp = client->timestamp;
        }
    }
    if (client->publishing && client->timestamp > 0 && strcmp(client->app, "live") == 0) {
        struct show *show = show_find(streaming, slice_of(client->stream));
        if (show) show->moving = true;
    }
}

static void on_stream(void *context, const struct stat_stream *stream) {
    struct streaming *streaming = context;
    struct show *show = show_find(streaming, slice_of(stream->stream));
    if (!show || strcmp(stream->app, "live") != 0) return;
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
static void look_at_picture(struct streaming *streaming, struct show *show) {
    struct session *relay = session_find(streaming, slice_of(show->relay));
    if (!relay || relay->state != SESSION_OPEN || relay->listed != streaming->stat_round) return;
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

static void look_at_pictures(struct streaming *streaming) {
    size_t cursor = 0;
    void *value;
    while (hash_next(&streaming->shows, &cursor, NULL, &value)) {
        struct show *show = value;
        if (show->state == SHOW_LIVE) look_at_picture(streaming, show);
    }
}

static void sweep(struct streaming *streaming, bool listed, uint64_t pid) {
    uint64_t now = loop_now(streaming->loop);
    if (listed) streaming->stat_worker = pid;
    // After a pause of ours the updates that prove a session alive may still wait to be read.
    bool judge = listed && !streaming->stat_late && now - streaming->stat_asked < SLOW_MS;
    if (judge) look_at_pictures(streaming);
    list_each(&streaming->list, node) {
        struct session *session = container_of(node, struct session, link);
        if (session->state != SESSION_OPEN || session->kind == SESSION_WEB) continue;
        if (listed && session->listed == streaming->stat_round) session->worker = pid;
        if (judge && session->listed != streaming->stat_round) session->missing++;
        if (now - session->seen > LOST_MS) {
            sweep_out(session, "no update");
        } else if (judge && session->missing >= 2 &&
                   (session->worker == pid || now - session->seen > GONE_MS)) {
            sweep_out(session, "not connected");
        }
    }
}

static void on_page(struct streaming *streaming, int status, struct slice body, void *context) {
    (void)context;
    uint64_t pid = 0;
    streaming->stat_running = false;
    bool whole = false;
    if (!streaming->closing && status == 200) {
        struct stat_events events = {on_client, on_stream, streaming};
        whole = stat_read(body, &events, &pid);
        if (!whole) log_warn("streaming.stat", LOG_INT("bytes", body.size));
    }
    struct list answered;
    list_init(&answered);
    list_each(&streaming->samples, node) {
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
    sweep(streaming, whole, pid);
    if (!list_empty(&streaming->samples)) {
        poll(streaming);
    } else {
        look_in(streaming, streaming->starting ? STAT_FAST_MS : STAT_MS);
    }
}

static void poll(struct streaming *streaming) {
    if (streaming->stat_running || streaming->closing) return;
    loop_timer_stop(streaming->loop, &streaming->stat_timer);
    streaming->stat_running = true;
    streaming->stat_round++;
    streaming->stat_asked = loop_now(streaming->loop);
    streaming->stat_late = streaming->stat_asked > streaming->stat_due + LATE_MS;
    list_each(&streaming->samples, node) container_of(node, struct sample, link)->running = true;
    control_get(streaming, streaming->options.stat_url, on_page, NULL);
}

static void on_timer(struct timer *timer) {
    struct streaming *streaming = container_of(timer, struct streaming, stat_timer);
    if (streaming->open > 0 || !list_empty(&streaming->samples)) {
        poll(streaming);
    } else {
        look_in(streaming, STAT_MS);
    }
}

void sweep_start(struct streaming *streaming) {
    timer_init(&streaming->stat_timer, on_timer);
    look_in(streaming, STAT_MS);
}

void sweep_soon(struct streaming *streaming) {
    if (!streaming->stat_running && !streaming->closing) {
        look_in(streaming, STAT_FAST_MS);
    }
}

void sweep_sample(struct session *asker, uint64_t client,
                  void (*done)(struct session *asker, bool answered, bool found,
                               uint64_t timestamp)) {
    struct sample *sample = memory_zero(1, sizeof *sample);
    sample->asker = asker;
    sample->client = client;
    sample->done = done;
    session_hold(asker);
    // A page that was asked for earlier may not show a client that has come since.
    list_push_back(&asker->streaming->samples, &sample->link);
    poll(asker->streaming);
}

void sweep_free(struct streaming *streaming) {
    loop_timer_stop(streaming->loop, &streaming->stat_timer);
    if (!streaming->stat_running) on_page(streaming, 0, (struct slice){0}, NULL);
}
