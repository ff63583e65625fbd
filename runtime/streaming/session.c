#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "streaming/internal.h"

// One session is one connection to nginx-rtmp (publisher, relay or player) or one web viewer. It is
// kept for a while after its end, because nginx reports an end two or three times, in any order,
// and sometimes before it has heard our answer to the beginning.

void session_hold(struct session *session) { session->holds++; }

static void free_now(struct session *session) {
    struct streaming *streaming = session->streaming;
    loop_timer_stop(streaming->loop, &session->timer);
    if (session->freed) {
        session->freed(session);
    } else {
        memory_free(session);
    }
    streaming_release(streaming);
}

void session_release(struct session *session) {
    if (--session->holds == 0 && session->dead) free_now(session);
}

/// Takes it out of the tables; frees it once nothing in flight looks at it.
static void bury(struct session *session) {
    struct streaming *streaming = session->streaming;
    hash_remove(&streaming->sessions, slice_of(session->id));
    list_remove(&session->link);
    loop_timer_stop(streaming->loop, &session->timer);
    if (session->meter) {
        meter_forget(session->meter);
        session->meter = NULL;
    }
    session->dead = true;
    session->holds++;
    admission_abandon(session);
    publisher_abandon(session);
    session->holds--;
    if (session->holds == 0) free_now(session);
}

static void on_timer(struct timer *timer) {
    struct session *session = container_of(timer, struct session, timer);
    if (session->state == SESSION_ENDED) {
        bury(session);
    } else if (session->cut) {
        control_drop(session);
    }
}

void session_init(struct session *session, struct streaming *streaming, enum session_kind kind,
                  struct slice id) {
    session->streaming = streaming;
    session->kind = kind;
    memcpy(session->id, id.data, id.size);
    session->id[id.size] = '\0';
    size_t colon = slice_find(id, ':', 0);
    if (kind != SESSION_WEB && colon < sizeof session->boot) {
        memcpy(session->boot, id.data, colon);
        session->host = host_of_boot(streaming, slice_of(session->boot));
        slice_to_u64(slice_sub(id, colon + 1, id.size), &session->client);
    }
    session->started_ms = clock_wall_ms();
    session->price = -1;
    session->seen = session->progress = loop_now(streaming->loop);
    timer_init(&session->timer, on_timer);
    list_push_back(&streaming->list, &session->link);
    hash_put(&streaming->sessions, id, session);
    streaming_hold(streaming);
}

struct session *session_new(struct streaming *streaming, enum session_kind kind, struct slice id) {
    struct session *session = memory_zero(1, sizeof *session);
    session_init(session, streaming, kind, id);
    return session;
}

struct session *session_find(struct streaming *streaming, struct slice id) {
    return hash_get(&streaming->sessions, id);
}

void session_opened(struct session *session) {
    session->state = SESSION_OPEN;
    session->opened = loop_now(session->streaming->loop);
    session->streaming->open++;
    metric_add(session->streaming->accepted, 1);
    visibility_note(session);
}

void session_seen(struct session *session) {
    session->seen = loop_now(session->streaming->loop);
    session->missing = 0;
}

void session_picture(struct session *session, bool moves, uint64_t since) {
    if (session->still == !moves || session->cut || session->state != SESSION_OPEN) return;
    session->still = !moves;
    log_info(moves ? "streaming.moves" : "streaming.still", LOG_TEXT("session", session->id),
             LOG_TEXT("slug", session->slug));
    if (!session->meter) return;
    if (moves) {
        meter_resume(session->meter);
    } else {
        meter_pause_since(session->meter, since);
    }
}

void session_alive(struct session *session) {
    session_seen(session);
    if (session->meter && !session->cut) meter_evidence(session->meter);
}

void session_answer(struct session *session, int status) {
    struct http_request *request = session->request;
    if (!request) return;
    session->request = NULL;
    request->data = NULL;
    if (status == 200) {
        http_respond(request, 200, "text/plain", SLICE("ok\n"));
    } else {
        metric_add(session->streaming->refused, 1);
        http_respond_status(request, status);
    }
}

static void kill_ticket(struct session *session) {
    if (!session->ticket.nonce[0]) return;
    // XX and KEEPTTL: an unused ticket has no entry and cannot be cut; the entry keeps its end.
    redis_format(session->streaming->options.redis, NULL, NULL, "SET ticket:%s revoked XX KEEPTTL",
                 session->ticket.nonce);
}

void session_cut(struct session *session, const char *reason) {
    if (session->cut || session->state == SESSION_ENDED) return;
    session->cut = true;
    snprintf(session->reason, sizeof session->reason, "%s", reason);
    metric_add(session->streaming->cuts, 1);
    log_info("streaming.cut", LOG_TEXT("session", session->id), LOG_TEXT("slug", session->slug),
             LOG_TEXT("reason", reason));
    // Before anything that takes time: no request may open with this ticket again.
    kill_ticket(session);
    if (session->meter) meter_close(session->meter, 0, reason);
    if (session->end && session->state == SESSION_OPEN) session->end(session);
}

void session_ended(struct session *session, int64_t end_ms, const char *reason) {
    struct streaming *streaming = session->streaming;
    if (session->state == SESSION_ENDED) return;
    if (session->state == SESSION_DECIDING) {
        session->gone = true;
        return;
    }
    session->state = SESSION_ENDED;
    streaming->open--;
    session->ended_ms = end_ms > 0 ? end_ms : clock_wall_ms();
    if (session->meter) meter_close(session->meter, end_ms, session->cut ? session->reason : reason);
    if (session->kind != SESSION_WEB) adopt_forget(session);
    if (!session->cut) snprintf(session->reason, sizeof session->reason, "%s", reason);
    visibility_note(session);
    log_info("streaming.ended", LOG_TEXT("session", session->id), LOG_TEXT("slug", session->slug),
             LOG_TEXT("reason", session->cut ? session->reason : reason));
    loop_timer_start(streaming->loop, &session->timer, TOMBSTONE_MS);

    struct show *show = show_find(streaming, slice_of(session->slug));
    if (session->kind == SESSION_PUBLISHER) {
        publisher_unlock(session);
        // Only if it is still the one: a publisher that was taken over ends later than that.
        if (show && strcmp(show->publisher, session->id) == 0) {
            show_publisher_gone(show, session->cut ? session->reason : reason);
        }
    } else if (session->kind == SESSION_RELAY && show && strcmp(show->relay, session->id) == 0) {
        show_relay(show, NULL);
    }
}

/// A session that was refused: remembered as ended, so that nothing else on the same connection is
/// looked at.
void session_refuse(struct session *session, int status, const char *reason) {
    session->state = SESSION_ENDED;
    log_info("streaming.refused", LOG_TEXT("session", session->id), LOG_TEXT("slug", session->slug),
             LOG_INT("status", status), LOG_TEXT("reason", reason));
    loop_timer_start(session->streaming->loop, &session->timer, TOMBSTONE_MS);
    session_answer(session, status);
}

void session_forget(struct session *session) { bury(session); }

void sessions_free(struct streaming *streaming) {
    list_each(&streaming->list, node) {
        struct session *session = container_of(node, struct session, link);
        session_answer(session, 503);
        bury(session);
    }
    hash_free(&streaming->sessions);
}
