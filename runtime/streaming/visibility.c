#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "streaming/internal.h"

// Whose a stream is. A private, group or ticket show has it to itself: p:model:<slug> names it
// (`show`), a ticket is bound to it, and admission.c compares the two. Here the viewers who were let
// in before it changed are cut: at the order that comes with the change, and, should that have been
// lost, at the next look at Redis. The other way round each process writes into show:<id> who watches
// the show and for how long: the evidence by which jobs begins, ends and settles it.

enum { LOOK_MS = 2000, KEEP_SECONDS = 172800 };

static bool viewing(const struct session *session) {
    return (session->kind == SESSION_PLAYER || session->kind == SESSION_WEB) && !session->ours;
}

void visibility_note(struct session *session) {
    uint64_t show = session->ticket.show;
    // The model's own view of it is no evidence of a viewer.
    if (show == 0 || !viewing(session) || session->account == 0) return;
    struct redis_client *redis = session->streaming->options.redis;
    bool over = session->cut || session->state == SESSION_ENDED;
    int64_t now = clock_wall_ms(), seen;
    if (session->state == SESSION_ENDED) {
        seen = session->ended_ms;
    } else if (over) {
        seen = now;
    } else {
        seen = now - (int64_t)(loop_now(session->streaming->loop) - session->seen);
    }
    char value[256];
    const char *reason = over && session->reason[0] ? session->reason : "-";
    snprintf(value, sizeof value, "%lld %lld %lld %s %lld %s", (long long)session->account,
             (long long)session->started_ms, (long long)seen, over ? "over" : "open",
             (long long)session->price, reason);
    redis_format(redis, NULL, NULL, "HSET show:%llu %s %s", (unsigned long long)show, session->id,
                 value);
    redis_format(redis, NULL, NULL, "EXPIRE show:%llu %d", (unsigned long long)show, KEEP_SECONDS);
}

unsigned visibility_apply(struct streaming *streaming, struct slice slug, uint64_t show,
                          const char *reason) {
    unsigned count = 0;
    list_each(&streaming->list, node) {
        struct session *session = container_of(node, struct session, link);
        if (!viewing(session) || session->state == SESSION_ENDED || session->cut ||
            session->ticket.show == show || !slice_equal(slice_of(session->slug), slug)) {
            continue;
        }
        session_cut(session, reason);
        visibility_note(session);
        count++;
    }
    return count;
}

struct look {
    struct streaming *streaming; ///< held
    char slug[SLUG_LIMIT + 1];
};

static void on_looked(void *context, const redisReply *reply, const char *error) {
    struct look *look = context;
    struct streaming *streaming = look->streaming;
    // A model that Redis does not know is a projection that was lost: no reason to cut anybody.
    if (!streaming->closing && reply_array(reply, error, 2) && reply_text(reply->element[0]).size > 0) {
        uint64_t show = (uint64_t)reply_integer(reply->element[1]);
        unsigned count = visibility_apply(streaming, slice_of(look->slug), show, "show");
        if (count > 0) {
            log_warn("streaming.order_lost", LOG_TEXT("slug", look->slug),
                     LOG_INT("show", (int64_t)show), LOG_INT("sessions", count));
        }
    }
    memory_free(look);
    streaming_release(streaming);
}

static void on_timer(struct timer *timer) {
    struct streaming *streaming = container_of(timer, struct streaming, visibility);
    struct hash asked = {0};
    list_each(&streaming->list, node) {
        struct session *session = container_of(node, struct session, link);
        if (session->state != SESSION_OPEN || !viewing(session)) continue;
        if (!session->cut) visibility_note(session);
        struct slice slug = slice_of(session->slug);
        if (hash_get(&asked, slug)) continue;
        hash_put(&asked, slug, session);
        struct look *look = memory_zero(1, sizeof *look);
        look->streaming = streaming;
        snprintf(look->slug, sizeof look->slug, "%s", session->slug);
        streaming_hold(streaming);
        redis_format(streaming->options.redis, on_looked, look, "HMGET p:model:%s id show",
                     look->slug);
    }
    hash_free(&asked);
    loop_timer_start(streaming->loop, &streaming->visibility, LOOK_MS);
}

void visibility_start(struct streaming *streaming) {
    timer_init(&streaming->visibility, on_timer);
    loop_timer_start(streaming->loop, &streaming->visibility, LOOK_MS);
}

void visibility_stop(struct streaming *streaming) {
    loop_timer_stop(streaming->loop, &streaming->visibility);
}
