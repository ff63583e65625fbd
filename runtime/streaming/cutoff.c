#include <stdio.h>
#include "base/log.h"
#include "streaming/ingest.h"
#include "streaming/internal.h"
#include "streaming/order.h"
#include "streaming/relay.h"

// Orders from elsewhere: a ban, a take-down, the end of a private show, a person at the studio. They
// come by pub/sub to every instance of hooks and media; each acts on the sessions that it has. What
// must not happen again (a ticket used once more) is written to Redis by who gives the order, and
// once more by the process that cuts: see session_cut.

static bool meant(const struct session *session, const struct order *order) {
    struct slice verb = slice_of(order->verb);
    bool publisher = session->kind == SESSION_PUBLISHER;
    if (session->ours || session->kind == SESSION_RELAY || session->kind == SESSION_PULL) return false;
    if (slice_equal(verb, SLICE("cut"))) return strcmp(session->id, order->sid) == 0;
    if (slice_equal(verb, SLICE("revoke"))) {
        return order->nonce[0] && strcmp(session->ticket.nonce, order->nonce) == 0;
    }
    if (slice_equal(verb, SLICE("kick"))) {
        return order->account > 0 && session->account == order->account;
    }
    if (slice_equal(verb, SLICE("drop"))) {
        struct slice who = slice_of(order->who);
        if (!order->slug[0] || strcmp(session->slug, order->slug) != 0) return false;
        if (slice_equal(who, SLICE("viewers"))) return !publisher;
        if (slice_equal(who, SLICE("publisher"))) return publisher;
        return true;
    }
    if (slice_equal(verb, SLICE("end"))) {
        return session->kind == SESSION_WEB && strcmp(session->slug, order->slug) == 0;
    }
    return false;
}

void streaming_order(struct streaming *streaming, struct slice json) {
    struct order order;
    const char *wrong = order_read(&order, json);
    if (wrong) {
        log_warn("streaming.order", LOG_TEXT("why", wrong));
        return;
    }
    if (strcmp(order.verb, "warm") == 0) {
        bool here = strcmp(order.host, streaming->options.host) == 0;
        if (streaming->options.service == STREAMING_MEDIA && here) relay_warm(streaming, order.slug);
        return;
    }
    unsigned count = 0;
    if (strcmp(order.verb, "show") == 0) {
        count = visibility_apply(streaming, slice_of(order.slug), (uint64_t)order.show,
                                 order.reason[0] ? order.reason : "show");
        log_info("streaming.order", LOG_TEXT("do", order.verb), LOG_TEXT("slug", order.slug),
                 LOG_INT("show", order.show), LOG_INT("sessions", count));
        return;
    }
    if (strcmp(order.verb, "ask") == 0) { // the rules have changed: who may still watch?
        list_each(&streaming->list, node) {
            struct session *session = container_of(node, struct session, link);
            bool watches = session->kind == SESSION_WEB || session->kind == SESSION_PLAYER;
            if (!watches || session->ours || session->cut || session->state != SESSION_OPEN ||
                strcmp(session->slug, order.slug) != 0) {
                continue;
            }
            session_ask_again(session);
        }
        return;
    }
    bool over = strcmp(order.verb, "end") == 0;
    list_each(&streaming->list, node) {
        struct session *session = container_of(node, struct session, link);
        if (session->state == SESSION_ENDED || session->cut || !meant(session, &order)) continue;
        count++;
        if (over) { // the stream ended: nobody did anything wrong, and free tickets stay good
            snprintf(session->reason, sizeof session->reason, "%s", order.reason);
            if (session->end) session->end(session);
            continue;
        }
        session_cut(session, order.reason[0] ? order.reason : order.verb);
    }
    ingest_order(streaming, &order);
    log_info("streaming.order", LOG_TEXT("do", order.verb), LOG_TEXT("slug", order.slug),
             LOG_INT("sessions", count));
}
