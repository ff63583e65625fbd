#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "streaming/internal.h"

// What is on air: starting (accepted) → live (the first picture came) → grace (the publisher is
// gone and may come back) → offline. live:<slug> and the set `live` tell the other services, the
// status callback tells viewers, the stream `events` tells MariaDB.

enum { PUSH_COMES_MS = 8000, PUSH_GONE_MS = 1500 };

static const char *const state_names[] = {"starting", "live", "grace"};

struct show *show_find(struct streaming *streaming, struct slice slug) {
    return hash_get(&streaming->shows, slug);
}

static void announce(struct show *show, const char *state) {
    const struct streaming_options *options = &show->streaming->options;
    log_info("streaming.status", LOG_TEXT("slug", show->slug), LOG_TEXT("state", state));
    if (options->on_status) options->on_status(options->context, show->slug, state, clock_wall_ms());
}

static void write_state(struct show *show) {
    struct redis_client *redis = show->streaming->options.redis;
    struct slice publisher = slice_of(show->publisher);
    size_t colon = slice_find(publisher, ':', 0);
    struct slice client = slice_sub(publisher, colon + 1, publisher.size);
    struct slice boot = slice_sub(publisher, 0, colon);
    redis_format(redis, NULL, NULL,
                 "HSET live:%s state %s since %lld host %s boot %b client %b model %lld broadcast %s "
                 "started %d began %lld",
                 show->slug, state_names[show->state], (long long)show->since_ms,
                 host_name(show->host), boot.data, boot.size, client.data ? client.data : "",
                 client.size,
                 (long long)show->model, show->broadcast, show->started ? 1 : 0, (long long)show->began_ms);
    redis_format(redis, NULL, NULL, "SADD live %s", show->slug);
}

static void set_state(struct show *show, enum show_state state) {
    struct streaming *streaming = show->streaming;
    if (show->state == SHOW_STARTING) streaming->starting--;
    if (state == SHOW_STARTING) streaming->starting++;
    show->state = state;
    show->since_ms = clock_wall_ms();
}

static void write_event(struct show *show, const char *type, const char *reason) {
    // `broadcast` names it: a consumer that reads an event twice knows it again.
    redis_format(show->streaming->options.redis, NULL, NULL,
                 "XADD events MAXLEN ~ 100000 * type %s broadcast %s slug %s model %lld at %lld "
                 "began %lld reason %s",
                 type, show->broadcast, show->slug, (long long)show->model,
                 (long long)clock_wall_ms(), (long long)show->began_ms, reason);
}

static void free_show(struct show *show) {
    struct streaming *streaming = show->streaming;
    if (show->state == SHOW_STARTING) streaming->starting--;
    loop_timer_stop(streaming->loop, &show->timer);
    loop_timer_stop(streaming->loop, &show->push);
    hash_remove(&streaming->shows, slice_of(show->slug));
    memory_free(show);
}

static void go_offline(struct show *show, const char *reason) {
    struct redis_client *redis = show->streaming->options.redis;
    redis_format(redis, NULL, NULL, "DEL live:%s", show->slug);
    redis_format(redis, NULL, NULL, "SREM live %s", show->slug);
    if (show->started) write_event(show, "ended", reason);
    announce(show, "offline");
    free_show(show);
}

static void on_grace_over(struct timer *timer) {
    go_offline(container_of(timer, struct show, timer), "left");
}

static void on_push_missing(struct timer *timer) {
    struct show *show = container_of(timer, struct show, push);
    struct session *publisher = session_find(show->streaming, slice_of(show->publisher));
    if (!publisher || publisher->state != SESSION_OPEN || show->relay[0]) return;
    // nginx-rtmp never repeats a push that a redirect asked for. Its encoder must connect again.
    session_cut(publisher, "push lost");
}

void show_relay(struct show *show, const char *id) {
    snprintf(show->relay, sizeof show->relay, "%s", id ? id : "");
    loop_timer_stop(show->streaming->loop, &show->push);
    // The ends of a publisher and of its push are told in any order: wait for the other.
    if (!id && show->publisher[0]) {
        loop_timer_start(show->streaming->loop, &show->push, PUSH_GONE_MS);
    }
}

static struct show *new_show(struct streaming *streaming, struct slice slug) {
    struct show *show = memory_zero(1, sizeof *show);
    show->streaming = streaming;
    show->host = &streaming->hosts[0];
    memcpy(show->slug, slug.data, slug.size);
    timer_init(&show->timer, on_grace_over);
    timer_init(&show->push, on_push_missing);
    hash_put(&streaming->shows, slug, show);
    show->state = SHOW_GRACE; // counted nowhere until set_state
    return show;
}

void show_starting(struct session *publisher) {
    struct streaming *streaming = publisher->streaming;
    struct slice slug = slice_of(publisher->slug);
    struct show *show = show_find(streaming, slug);
    if (!show) {
        show = new_show(streaming, slug);
        snprintf(show->broadcast, sizeof show->broadcast, "%s", publisher->id);
    }
    loop_timer_stop(streaming->loop, &show->timer);
    show->model = publisher->model;
    show->host = publisher->host;
    snprintf(show->publisher, sizeof show->publisher, "%s", publisher->id);
    // A push that is still there belongs to a publisher that was taken over.
    struct session *old = session_find(streaming, slice_of(show->relay));
    show->relay[0] = '\0';
    if (old && old->state == SESSION_OPEN) session_cut(old, "taken over");
    loop_timer_start(streaming->loop, &show->push, PUSH_COMES_MS);
    set_state(show, SHOW_STARTING);
    write_state(show);
    announce(show, state_names[SHOW_STARTING]);
    sweep_soon(show->host);
}

void show_first_picture(struct show *show) {
    if (show->state != SHOW_STARTING) return;
    set_state(show, SHOW_LIVE);
    if (!show->started) {
        show->began_ms = show->since_ms;
        write_event(show, "started", "");
    }
    show->started = true;
    write_state(show);
    announce(show, state_names[SHOW_LIVE]);
    // The first viewer, too, begins with a whole run of frames.
    redis_format(show->streaming->options.redis, NULL, NULL, "PUBLISH ctl:media %s%s%s%s%s",
                 "{\"do\":\"warm\",\"slug\":\"", show->slug, "\",\"host\":\"",
                 host_name(show->host), "\"}");
}

/// With several hosts nginx lets players wait for a stream (it could not pull otherwise), so those who
/// are left behind are dropped here.
static void drop_players(struct show *show) {
    struct streaming *streaming = show->streaming;
    if (streaming->host_count == 1) return;
    list_each(&streaming->list, node) {
        struct session *session = container_of(node, struct session, link);
        bool theirs = session->kind == SESSION_PLAYER || session->kind == SESSION_PULL;
        if (theirs && strcmp(session->slug, show->slug) == 0) session_cut(session, "ended");
    }
}

void show_publisher_gone(struct show *show, const char *reason) {
    show->publisher[0] = '\0';
    drop_players(show);
    // nginx closes its players by itself; ours are told, so that nobody pays for a dead picture.
    redis_format(show->streaming->options.redis, NULL, NULL, "PUBLISH ctl:media %s%s%s",
                 "{\"do\":\"end\",\"reason\":\"ended\",\"slug\":\"", show->slug, "\"}");
    // A model who was stopped by us, or who never sent a picture, is not waited for.
    static const char *const passing[] = {"left", "lost", "silent", "push lost", "taken over"};
    bool wait = false;
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        if (show->started && strcmp(reason, passing[i]) == 0) wait = true;
    }
    if (!wait) {
        go_offline(show, reason);
        return;
    }
    set_state(show, SHOW_GRACE);
    write_state(show);
    announce(show, state_names[SHOW_GRACE]);
    loop_timer_start(show->streaming->loop, &show->timer, show->streaming->options.grace_ms);
}

void show_restore(struct streaming *streaming, const struct show_record *record) {
    if (!slug_valid(record->slug) || show_find(streaming, record->slug)) return;
    struct show *show = new_show(streaming, record->slug);
    show->model = record->model;
    show->started = record->started;
    show->since_ms = record->since;
    show->began_ms = record->began;
    snprintf(show->broadcast, sizeof show->broadcast, "%.*s", SLICE_FORMAT(record->broadcast));

    char id[SESSION_ID_SIZE];
    snprintf(id, sizeof id, "%.*s:%.*s", SLICE_FORMAT(record->boot), SLICE_FORMAT(record->client));
    struct session *publisher = session_find(streaming, slice_of(id));
    if (publisher && publisher->kind == SESSION_PUBLISHER) {
        snprintf(show->publisher, sizeof show->publisher, "%s", id);
        show->host = publisher->host;
        // No announcement: for everybody else nothing has happened.
        show->state = slice_equal(record->state, SLICE("live")) ? SHOW_LIVE : SHOW_STARTING;
        if (show->state == SHOW_STARTING) {
            streaming->starting++;
            sweep_soon(show->host);
        }
        list_each(&streaming->list, node) {
            struct session *session = container_of(node, struct session, link);
            if (session->kind == SESSION_RELAY && strcmp(session->slug, show->slug) == 0) {
                snprintf(show->relay, sizeof show->relay, "%s", session->id);
            }
        }
    } else if (slice_equal(record->state, SLICE("grace"))) {
        loop_timer_start(streaming->loop, &show->timer, streaming->options.grace_ms);
    } else {
        show_publisher_gone(show, "lost");
    }
}

void shows_free(struct streaming *streaming) {
    // The next process finds them in Redis as they are.
    size_t cursor = 0;
    void *value;
    while (hash_next(&streaming->shows, &cursor, NULL, &value)) free_show(value);
    hash_free(&streaming->shows);
}
