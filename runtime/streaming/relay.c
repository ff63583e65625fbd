#include "streaming/relay.h"
#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "streaming/flv.h"
#include "streaming/health.h"
#include "streaming/rtmp_pull.h"
#include "websocket/connection.h"

enum {
    GOP_PACKETS = 2048,           ///< beyond either the cache waits for the next key frame
    GOP_BYTES = 8 * 1024 * 1024,
    SLOW_BYTES = 768 * 1024,      ///< queued for a viewer: frames are skipped from here on
    CAUGHT_UP_BYTES = 64 * 1024,  ///< … until a key frame finds less than this
    FEED_LIMIT = 4 * 1024 * 1024,
    STALL_MS = 10000,
    AUDIO_WAIT_MS = 400,          ///< media time for a first sound beside the first key frame
    VIDEO_WAIT_MS = 1500,         ///< media time for a first picture beside the first sound
    IDLE_MS = 60000,              ///< a pull without viewers is kept for the next one
    EVIDENCE_MS = 1000,
    PULL_TICKET_S = 30,
    REPORT_MS = 2500,             ///< of a stream's health, while somebody looks
};

struct packet {
    struct chunk *frame;
    unsigned head;
    enum flv_kind kind;
};

struct relay {
    struct streaming *streaming; ///< held
    char slug[SLUG_LIMIT + 1];
    struct rtmp_pull *pull;
    struct list feeds;
    struct packet meta, video_config, audio_config;
    struct packet *gop;
    unsigned gop_count;
    size_t gop_bytes;
    int64_t gop_ms; ///< wall clock: when its key frame came
    bool has_gop, audio, video, ready;
    bool first_audio, first_key;
    uint32_t audio_time, key_time;
    struct timer idle;
    struct health health;
    struct timer report;    ///< runs while somebody looks at the health
    uint64_t watched_until; ///< loop time
    int64_t owner;          ///< account that is told
    uint64_t moved;         ///< loop time of the last picture or sound
    bool still;             ///< none for STILL_MS: the viewers' meters are paused
    struct timer watch;     ///< runs while there are viewers
};

struct feed {
    struct list link;
    struct relay *relay;
    struct session *session; ///< held
    struct websocket *ws;
    struct http_request *request;
    void (*closed)(struct session *session, struct feed *feed);
    struct deferred ending; ///< HTTP: `closed` never comes inside a call
    bool started, skipping, over;
    uint64_t evidence, sent, progress;
};

static void packet_set(struct packet *packet, const struct packet *from) {
    chunk_release(packet->frame);
    *packet = *from;
    chunk_share(packet->frame);
}

static void clear_gop(struct relay *relay) {
    for (unsigned i = 0; i < relay->gop_count; i++) chunk_release(relay->gop[i].frame);
    relay->gop_count = 0;
    relay->gop_bytes = 0;
}

// Feeds.

static size_t put_bytes(struct feed *feed, struct slice bytes) {
    if (feed->ws) return websocket_send(feed->ws, bytes, true);
    return http_response_write(feed->request, bytes);
}

static size_t put_packet(struct feed *feed, const struct packet *packet) {
    if (!packet->frame) return 0;
    if (feed->ws) return websocket_send_frame(feed->ws, packet->frame);
    struct slice frame = chunk_slice(packet->frame);
    return http_response_write(feed->request, slice_sub(frame, packet->head, frame.size));
}

/// Bytes that reached the kernel are evidence that somebody watches; a full queue is none.
static void note_progress(struct feed *feed, size_t queued) {
    uint64_t now = loop_now(feed->relay->streaming->loop);
    if (feed->ws) {
        uint64_t sent = websocket_sent(feed->ws);
        if (sent != feed->sent) feed->progress = now;
        feed->sent = sent;
    } else if (queued < SLOW_BYTES) {
        feed->progress = now;
    }
    if (now - feed->progress < EVIDENCE_MS && now - feed->evidence >= EVIDENCE_MS) {
        feed->evidence = now;
        session_alive(feed->session);
    }
}

static void set_still(struct relay *relay, bool still) {
    relay->still = still;
    list_each(&relay->feeds, node) {
        struct feed *feed = container_of(node, struct feed, link);
        if (!feed->over) session_picture(feed->session, !still, relay->moved);
    }
}

static void on_watch(struct timer *timer) {
    struct relay *relay = container_of(timer, struct relay, watch);
    struct loop *loop = relay->streaming->loop;
    if (list_empty(&relay->feeds)) return;
    if (!relay->still && loop_now(loop) - relay->moved >= STILL_MS) set_still(relay, true);
    loop_timer_start(loop, timer, STILL_MS / 3);
}

static void deliver(struct feed *feed, const struct packet *packet) {
    if (feed->over) return;
    if (feed->skipping) {
        size_t queued = feed->ws ? websocket_queued(feed->ws) : http_response_write(feed->request, (struct slice){0});
        note_progress(feed, queued);
        if (packet->kind != FLV_VIDEO_KEY || queued > CAUGHT_UP_BYTES) return;
        feed->skipping = false;
        put_packet(feed, &feed->relay->video_config);
    }
    size_t queued = put_packet(feed, packet);
    note_progress(feed, queued);
    if (queued > SLOW_BYTES) {
        feed->skipping = true;
        if (loop_now(feed->relay->streaming->loop) - feed->progress > STALL_MS) {
            feed_close(feed, 1008, "too slow");
        }
    }
}

static void begin(struct feed *feed) {
    struct relay *relay = feed->relay;
    char header[FLV_HEADER_SIZE];
    flv_header(header, relay->audio, relay->video);
    feed->started = true;
    put_bytes(feed, slice_make(header, sizeof header));
    put_packet(feed, &relay->meta);
    put_packet(feed, &relay->video_config);
    put_packet(feed, &relay->audio_config);
    for (unsigned i = 0; i < relay->gop_count; i++) put_packet(feed, &relay->gop[i]);
    feed->progress = loop_now(relay->streaming->loop);
    session_alive(feed->session);
}

/// Frames from before the stream came to its viewer (the end of a show that is over) are not for it:
/// it waits for the next key frame.
static bool may_begin(const struct feed *feed) {
    const struct relay *relay = feed->relay;
    return relay->ready && relay->gop_count > 0 && relay->gop_ms >= feed->session->show_at;
}

static void finish(struct feed *feed) {
    struct relay *relay = feed->relay;
    loop_undefer(&feed->ending);
    list_remove(&feed->link);
    feed->closed(feed->session, feed);
    session_release(feed->session);
    memory_free(feed);
    if (list_empty(&relay->feeds)) loop_timer_start(relay->streaming->loop, &relay->idle, IDLE_MS);
}

static void on_ending(struct deferred *deferred) {
    finish(container_of(deferred, struct feed, ending));
}

void feed_close(struct feed *feed, int code, const char *reason) {
    if (feed->over) return;
    feed->over = true;
    if (feed->ws) {
        websocket_close(feed->ws, code, reason);
        return;
    }
    http_response_end(feed->request);
    loop_defer(feed->relay->streaming->loop, &feed->ending);
}

static void on_gone(struct http_request *request) {
    struct feed *feed = request->data;
    if (feed) feed_close(feed, 1006, "gone");
}

static void on_message(struct websocket *ws, struct slice message, bool binary) {
    (void)ws;
    (void)message;
    (void)binary; // players have nothing to say
}

static void on_ws_close(struct websocket *ws, int code, struct slice reason) {
    (void)code;
    (void)reason;
    struct feed *feed = websocket_data(ws);
    feed->over = true;
    finish(feed);
}

static const struct websocket_events ws_events = {
    .on_message = on_message, .on_close = on_ws_close};

// The pull.

static void free_relay(struct relay *relay) {
    struct streaming *streaming = relay->streaming;
    loop_timer_stop(streaming->loop, &relay->idle);
    loop_timer_stop(streaming->loop, &relay->report);
    loop_timer_stop(streaming->loop, &relay->watch);
    // One whose stream ended left the table then; who stands there now is another.
    if (hash_get(&streaming->relays, slice_of(relay->slug)) == relay) {
        hash_remove(&streaming->relays, slice_of(relay->slug));
    }
    clear_gop(relay);
    memory_free(relay->gop);
    chunk_release(relay->meta.frame);
    chunk_release(relay->video_config.frame);
    chunk_release(relay->audio_config.frame);
    memory_free(relay);
    streaming_release(streaming);
}

static void on_idle(struct timer *timer) {
    struct relay *relay = container_of(timer, struct relay, idle);
    struct loop *loop = relay->streaming->loop;
    if (!list_empty(&relay->feeds)) return;
    if (relay->pull && !relay->streaming->closing && relay->watched_until > loop_now(loop)) {
        loop_timer_start(loop, timer, relay->watched_until - loop_now(loop));
        return;
    }
    if (relay->pull) {
        rtmp_pull_stop(relay->pull); // on_pull_end frees it
    } else {
        free_relay(relay);
    }
}

static void on_pull_end(void *context, const char *reason) {
    struct relay *relay = context;
    relay->pull = NULL;
    log_info("streaming.pull.end", LOG_TEXT("slug", relay->slug), LOG_TEXT("reason", reason));
    // Out of the table at once: who comes now gets a new pull, and waits for none that is dead.
    hash_remove(&relay->streaming->relays, slice_of(relay->slug));
    list_each(&relay->feeds, node) {
        feed_close(container_of(node, struct feed, link), 1001, "the stream ended");
    }
    loop_timer_start(relay->streaming->loop, &relay->idle, 0);
}

/// Whether enough was seen to tell which tracks there are.
static void look(struct relay *relay, uint32_t time) {
    if (relay->ready) return;
    if (relay->first_key && (relay->audio || time - relay->key_time >= AUDIO_WAIT_MS)) {
        relay->ready = true;
    } else if (relay->first_audio && !relay->video && time - relay->audio_time >= VIDEO_WAIT_MS) {
        relay->ready = true;
    }
}

static void cache(struct relay *relay, const struct packet *packet) {
    bool key = packet->kind == FLV_VIDEO_KEY || (!relay->video && relay->gop_count >= 64);
    if (key) {
        clear_gop(relay);
        relay->has_gop = true;
        relay->gop_ms = clock_wall_ms();
    }
    if (!relay->has_gop && relay->video) return;
    if (relay->gop_count == GOP_PACKETS || relay->gop_bytes > GOP_BYTES) {
        clear_gop(relay); // an encoder without key frames: new viewers wait for the next one
        relay->has_gop = false;
        return;
    }
    if (!relay->gop) relay->gop = memory_zero(GOP_PACKETS, sizeof *relay->gop);
    relay->gop[relay->gop_count] = *packet;
    chunk_share(packet->frame);
    relay->gop_bytes += packet->frame->size;
    relay->gop_count++;
}

static void on_media(void *context, const struct rtmp_message *message) {
    struct relay *relay = context;
    struct packet packet = {.kind = flv_kind(message->type, message->body)};
    struct slice body = message->body;
    bool meta = message->type == RTMP_DATA;
    if (meta) {
        health_meta(&relay->health, body);
    } else if (message->type == RTMP_AUDIO || message->type == RTMP_VIDEO) {
        health_note(&relay->health, message->type, message->timestamp, body,
                    loop_now(relay->streaming->loop));
    }
    if (meta) {
        double ignored;
        struct slice rest = body, name;
        // RTMP wraps metadata for publishing; in a file it begins with its own name.
        if (amf_take(&rest, NULL, &ignored, &name) && slice_equal(name, SLICE("@setDataFrame"))) {
            body = rest;
        }
        rest = body;
        if (!amf_take(&rest, NULL, &ignored, &name) || !slice_equal(name, SLICE("onMetaData"))) {
            return;
        }
    } else if (packet.kind == FLV_OTHER) {
        return; // empty audio or video messages mark silence; a file has no use for them
    }
    relay->moved = loop_now(relay->streaming->loop);
    if (relay->still) set_still(relay, false);
    packet.frame = flv_frame(message->type, message->timestamp, body, &packet.head);
    if (message->type == RTMP_AUDIO) {
        if (!relay->first_audio) relay->audio_time = message->timestamp;
        relay->audio = relay->first_audio = true;
    }
    if (message->type == RTMP_VIDEO) relay->video = true;
    if (packet.kind == FLV_VIDEO_KEY && !relay->first_key) {
        relay->first_key = true;
        relay->key_time = message->timestamp;
    }

    // Those who are there get it as it comes; those who begin get it out of the cache.
    list_each(&relay->feeds, node) {
        struct feed *feed = container_of(node, struct feed, link);
        if (feed->started) deliver(feed, &packet);
    }
    if (meta) {
        packet_set(&relay->meta, &packet);
    } else if (packet.kind == FLV_VIDEO_CONFIG) {
        packet_set(&relay->video_config, &packet);
    } else if (packet.kind == FLV_AUDIO_CONFIG) {
        packet_set(&relay->audio_config, &packet);
    } else {
        cache(relay, &packet);
        look(relay, message->timestamp);
    }
    if (relay->ready) {
        list_each(&relay->feeds, node) {
            struct feed *feed = container_of(node, struct feed, link);
            if (!feed->started && !feed->over && may_begin(feed)) begin(feed);
        }
    }
    chunk_release(packet.frame);
}

static void on_report(struct timer *timer) {
    struct relay *relay = container_of(timer, struct relay, report);
    struct streaming *streaming = relay->streaming;
    uint64_t now = loop_now(streaming->loop);
    if (!relay->pull || streaming->closing || relay->watched_until <= now) return;
    struct buffer json = {0};
    if (health_report(&relay->health, &json, relay->slug, now, NULL) && streaming->options.on_health) {
        streaming->options.on_health(streaming->options.context, relay->owner, buffer_slice(&json));
    }
    buffer_free(&json);
    loop_timer_start(streaming->loop, timer, REPORT_MS);
}

static struct relay *relay_get(struct streaming *streaming, const char *slug) {
    struct relay *relay = hash_get(&streaming->relays, slice_of(slug));
    if (relay) return relay;
    struct buffer name = {0};
    struct ticket ticket = {.policy = TICKET_INTERNAL, .expires = clock_wall_s() + PULL_TICKET_S};
    snprintf(ticket.slug, sizeof ticket.slug, "%s", slug);
    buffer_append_text(&name, slug);
    buffer_append_text(&name, "?t=");
    if (!ticket_make(&name, &ticket, streaming->options.ticket_key)) {
        buffer_free(&name);
        return NULL;
    }
    relay = memory_zero(1, sizeof *relay);
    relay->streaming = streaming;
    snprintf(relay->slug, sizeof relay->slug, "%s", slug);
    list_init(&relay->feeds);
    timer_init(&relay->idle, on_idle);
    timer_init(&relay->report, on_report);
    timer_init(&relay->watch, on_watch);
    relay->moved = loop_now(streaming->loop);
    health_init(&relay->health);
    hash_put(&streaming->relays, slice_of(slug), relay);
    streaming_hold(streaming);
    struct rtmp_pull_events events = {on_media, on_pull_end, relay};
    relay->pull = rtmp_pull_start(streaming->loop, streaming->options.rtmp_address, "live",
                                  buffer_slice(&name), &events);
    buffer_free(&name);
    return relay;
}

void relay_warm(struct streaming *streaming, const char *slug) {
    if (streaming->closing || !slug_valid(slice_of(slug))) return;
    struct relay *relay = relay_get(streaming, slug);
    if (relay && list_empty(&relay->feeds)) {
        loop_timer_start(streaming->loop, &relay->idle, IDLE_MS);
    }
}

struct feed *feed_open(struct session *session, struct http_request *request,
                       void (*closed)(struct session *session, struct feed *feed)) {
    struct streaming *streaming = session->streaming;
    struct feed *feed = memory_zero(1, sizeof *feed);
    feed->session = session;
    feed->closed = closed;
    feed->progress = loop_now(streaming->loop);
    deferred_init(&feed->ending, on_ending);
    if (request->upgrade) {
        // What the kernel holds for a viewer is delay that nobody can skip: keep it small.
        struct websocket_options options = {
            .queue_limit = FEED_LIMIT, .stall_ms = STALL_MS, .message_limit = 1024,
            .send_buffer = 256 * 1024};
        feed->ws = websocket_accept(request, &options, &ws_events, feed);
        if (!feed->ws) {
            memory_free(feed);
            return NULL;
        }
    } else {
        feed->request = request;
        request->data = feed;
        http_response_header(request, SLICE("Cache-Control"), SLICE("no-store"));
        http_response_header(request, SLICE("X-Accel-Buffering"), SLICE("no"));
        http_response_begin(request, 200, "video/x-flv", UINT64_MAX);
        http_request_on_gone(request, on_gone);
    }
    session_hold(session);
    struct relay *relay = relay_get(streaming, session->slug);
    feed->relay = relay;
    loop_timer_stop(streaming->loop, &relay->idle);
    list_push_back(&relay->feeds, &feed->link);
    session_picture(session, !relay->still, loop_now(streaming->loop));
    if (!timer_active(&relay->watch)) loop_timer_start(streaming->loop, &relay->watch, STILL_MS / 3);
    if (may_begin(feed)) begin(feed);
    return feed;
}

void relay_watch(struct streaming *streaming, const char *slug, int64_t account) {
    struct relay *relay = relay_get(streaming, slug);
    if (!relay || !relay->pull) return;
    relay->owner = account;
    relay->watched_until = loop_now(streaming->loop) + RELAY_WATCH_MS;
    if (list_empty(&relay->feeds) && !timer_active(&relay->idle)) {
        loop_timer_start(streaming->loop, &relay->idle, RELAY_WATCH_MS);
    }
    if (timer_active(&relay->report)) return;
    // The burst that a beginning pull gets would pass for a bad line.
    health_init(&relay->health);
    loop_timer_start(streaming->loop, &relay->report, REPORT_MS);
}

void relays_free(struct streaming *streaming) {
    size_t cursor = 0;
    void *value;
    while (hash_next(&streaming->relays, &cursor, NULL, &value)) {
        struct relay *relay = value;
        list_each(&relay->feeds, node) {
            feed_close(container_of(node, struct feed, link), 1012, "the service restarts");
        }
        loop_timer_start(streaming->loop, &relay->idle, 0);
    }
}
