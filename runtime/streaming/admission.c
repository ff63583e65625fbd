#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "streaming/internal.h"

// May this ticket's holder watch? The same path for RTMP players and for the web: what the main
// Redis knows of the model, the stream, the account and the ticket; the site's policy; the claim on
// the ticket; the meter. Each step may find that the viewer has gone in the meantime.

enum { PART_MODEL, PART_LIVE, PART_ACCOUNT, PART_TICKET, PARTS };

struct admission {
    struct session *session; ///< held
    void (*done)(struct session *session, int status, const char *reason);
    struct part {
        struct admission *admission;
        int index;
    } parts[PARTS];
    int waiting;
    bool failed, approved, live, barred, revoked;
    int64_t rate; ///< of the room
    uint64_t show; ///< that has the stream to itself; 0: it is public
};

static void finish(struct admission *admission, int status, const char *reason) {
    struct session *session = admission->session;
    void (*done)(struct session *, int, const char *) = admission->done;
    memory_free(admission);
    session->admission = NULL;
    if (session->dead) {
        // The service is ending; sessions_free has answered.
    } else if (session->gone || session->cut) {
        if (session->meter) meter_close(session->meter, 0, "gone");
        session_refuse(session, 403, "gone before the answer");
        done(session, 0, "gone before the answer");
    } else {
        done(session, status, reason);
    }
    session_release(session);
}

void admission_abandon(struct session *session) {
    struct admission *admission = session->admission;
    // Until the meter is asked a reply of Redis, or the policy's answer, will find session->dead.
    if (!admission || admission->waiting > 0) return;
    session->admission = NULL;
    memory_free(admission);
    session_release(session);
}

// The meter.

static void on_opened(void *context, const struct meter_opened *opened) {
    struct session *session = context;
    struct admission *admission = session->admission;
    if (!opened->ok) session->meter = NULL;
    if (!admission) { // adopted after a restart
        if (!opened->ok) session_cut(session, opened->reason);
        return;
    }
    if (opened->ok) {
        finish(admission, 200, "");
        return;
    }
    static const struct {
        const char *word;
        int status;
    } reasons[] = {{"NOFUNDS", 402}, {"FROZEN", 402},  {"UNAVAILABLE", 503}, {"TIMEOUT", 503},
                   {"LOST", 503},    {"UNKNOWN", 503}, {"BUSY", 503}};
    int status = 403;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (slice_starts(slice_of(opened->reason), slice_of(reasons[i].word))) {
            status = reasons[i].status;
        }
    }
    finish(admission, status, opened->reason);
}

static void on_cut(void *context, struct slice sid, const char *reason) {
    (void)sid;
    struct session *session = context;
    // Silence is no misdeed, it is how a viewer looks whose line was cut: the same end, whole.
    session_cut(session, reason);
}

static void on_closed(void *context, struct slice sid, int64_t price) {
    struct session *session = context;
    session->meter = NULL;
    session->price = price;
    visibility_note(session);
    log_info("streaming.metered", LOG_SLICE("session", sid), LOG_TEXT("slug", session->slug),
             LOG_INT("account", session->account), LOG_INT("price", price));
}

void admission_callbacks(struct session *session, struct meter_callbacks *callbacks) {
    *callbacks = (struct meter_callbacks){
        .on_opened = on_opened, .on_cut = on_cut, .on_closed = on_closed, .context = session};
}

static void open_meter(struct admission *admission) {
    struct session *session = admission->session;
    const struct ticket *ticket = &session->ticket;
    int64_t limit = ticket->limit;
    if (limit > 0 && ticket->rate == 0) {
        // Nothing keeps the time of a free session but its ticket's entry: count from the first use.
        limit -= (clock_wall_ms() - session->started_ms) / 1000;
        if (limit <= 0) {
            finish(admission, 403, "the time is used up");
            return;
        }
    }
    if (session->ours || (ticket->rate == 0 && limit == 0)) {
        finish(admission, 200, "");
        return;
    }
    if (!session->streaming->options.billing) {
        finish(admission, 503, "there is no billing");
        return;
    }
    struct meter_terms terms = {
        .sid = slice_of(session->id),
        .account = ticket->account,
        .rate = ticket->rate,
        .limit_s = limit,
        .free_s = ticket->free,
        .minimum = ticket->minimum,
        .increment_s = ticket->increment,
        .off_bp = ticket->off_bp,
        .payee = session->model,
    };
    struct meter_callbacks callbacks;
    admission_callbacks(session, &callbacks);
    session->meter = meter_open(session->streaming->options.billing, &terms, &callbacks);
}

// The claim on the ticket: its entry in Redis holds "<sid> <ms of the first use>" or "revoked".

static void on_claimed(void *context, const redisReply *reply, const char *error) {
    struct admission *admission = context;
    struct session *session = admission->session;
    admission->waiting = 0;
    if (session->gone || session->cut || session->dead) {
        finish(admission, 403, "gone");
        return;
    }
    if (error || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_NIL)) {
        finish(admission, 503, "the ticket could not be claimed");
        return;
    }
    if (reply->type == REDIS_REPLY_NIL) {
        if (session->resume) {
            finish(admission, 403, "the ticket is past its time");
            return;
        }
    } else {
        // The same session may ask again: a repeated hook, a playlist after a restart of ours.
        struct slice rest = reply_text(reply), holder;
        uint64_t when = 0;
        slice_next(&rest, ' ', &holder);
        if (!slice_equal(holder, slice_of(session->id))) {
            finish(admission, 409, "the ticket was used");
            return;
        }
        if (slice_to_u64(rest, &when)) session->started_ms = (int64_t)when;
    }
    open_meter(admission);
}

static void claim(struct admission *admission) {
    struct session *session = admission->session;
    struct redis_client *redis = session->streaming->options.redis;
    admission->waiting = 1;
    if (session->resume) {
        redis_format(redis, on_claimed, admission, "GET ticket:%s", session->ticket.nonce);
        return;
    }
    char value[SESSION_ID_SIZE + 24];
    snprintf(value, sizeof value, "%s %lld", session->id, (long long)session->started_ms);
    redis_format(redis, on_claimed, admission, "SET ticket:%s %b NX GET EX %d",
                 session->ticket.nonce, value, strlen(value), USED_SECONDS);
}

// The policy.

struct streaming_answer {
    struct session *session;
    void (*done)(struct session *session, void *context, bool allow, const char *reason);
    void *context;
};

void streaming_answer(struct streaming_answer *answer, bool allow, const char *reason) {
    answer->done(answer->session, answer->context, allow, reason ? reason : "");
    session_release(answer->session);
    memory_free(answer);
}

void policy_ask(struct session *session, bool publish,
                void (*done)(struct session *session, void *context, bool allow,
                             const char *reason),
                void *context) {
    const struct streaming_policy *policy = &session->streaming->policy;
    if (publish ? !policy->on_publish : !policy->on_play) {
        done(session, context, true, "");
        return;
    }
    struct streaming_answer *answer = memory_zero(1, sizeof *answer);
    *answer = (struct streaming_answer){session, done, context};
    session_hold(session);
    struct streaming_question question = {
        .slug = slice_of(session->slug),
        .model = session->model,
        .address = slice_of(session->address),
        .ticket = publish ? NULL : &session->ticket,
    };
    (publish ? policy->on_publish : policy->on_play)(policy->context, &question, answer);
}

static void on_asked_again(struct session *session, void *context, bool allow,
                           const char *reason) {
    (void)context;
    if (allow || session->dead || session->gone || session->cut) return;
    session_cut(session, reason[0] ? reason : "the site's policy");
}

void session_ask_again(struct session *session) {
    policy_ask(session, false, on_asked_again, NULL);
}

static void on_policy(struct session *session, void *context, bool allow, const char *reason) {
    struct admission *admission = context;
    admission->waiting = 0;
    if (session->gone || session->cut || session->dead) {
        finish(admission, 403, "gone");
    } else if (!allow) {
        finish(admission, 403, reason[0] ? reason : "the site's policy");
    } else {
        claim(admission);
    }
}

// What Redis knows.

static void decide(struct admission *admission) {
    struct session *session = admission->session;
    const struct ticket *ticket = &session->ticket;
    if (session->gone || session->cut || session->dead) {
        finish(admission, 403, "gone");
    } else if (admission->failed) {
        finish(admission, 503, "redis is away");
    } else if (!admission->approved) {
        finish(admission, 403, "the model is not approved");
    } else if (!session->ours && ticket->show != admission->show) {
        finish(admission, 403, admission->show ? "in a show" : "the show is over");
    } else if (!admission->live) {
        finish(admission, 404, "not live");
    } else if (admission->revoked) {
        finish(admission, 403, "the ticket was revoked");
    } else if (admission->barred) {
        finish(admission, 403, "the account is not active");
    } else if (session->ours) {
        claim(admission);
    } else if (ticket->policy == TICKET_FREE && ticket->rate == 0 && admission->rate > 0) {
        finish(admission, 403, "the room is not free");
    } else {
        admission->waiting = 1;
        policy_ask(session, false, on_policy, admission);
    }
}

static void on_part(void *context, const redisReply *reply, const char *error) {
    struct part *part = context;
    struct admission *admission = part->admission;
    if (error || reply->type == REDIS_REPLY_ERROR) {
        admission->failed = true;
    } else {
        switch (part->index) {
        case PART_MODEL:
            if (!reply_array(reply, error, 5)) break;
            admission->approved = slice_equal(reply_text(reply->element[1]), SLICE("approved"));
            admission->session->model = reply_integer(reply->element[0]);
            admission->rate = reply_integer(reply->element[2]);
            admission->show = (uint64_t)reply_integer(reply->element[3]);
            admission->session->show_at = reply_integer(reply->element[4]);
            break;
        case PART_LIVE: {
            // Not while it starts or in the grace: nginx would answer that there is no stream, and
            // a meter would have counted a second. Our own pull may be a moment ahead of /stat.
            if (!reply_array(reply, error, 2)) break;
            struct slice state = reply_text(reply->element[0]);
            struct slice host = reply_text(reply->element[1]);
            admission->live = slice_equal(state, SLICE("live")) ||
                              (admission->session->ours && slice_equal(state, SLICE("starting")));
            struct streaming *streaming = admission->session->streaming;
            admission->session->away =
                host.size > 0 && !slice_equal(host, slice_of(streaming->options.host));
            break;
        }
        case PART_ACCOUNT: {
            // An account that is not there (a projection lost or late) does not bar: whoever signed
            // the ticket had looked, and a ban that comes later is an order of its own.
            struct slice state = reply_text(reply);
            admission->barred = state.size > 0 && !slice_equal(state, SLICE("active"));
            break;
        }
        case PART_TICKET:
            admission->revoked = slice_equal(reply_text(reply), SLICE("revoked"));
            break;
        }
    }
    if (--admission->waiting == 0) decide(admission);
}

void admission_ask(struct session *session,
                   void (*done)(struct session *session, int status, const char *reason)) {
    struct admission *admission = memory_zero(1, sizeof *admission);
    struct redis_client *redis = session->streaming->options.redis;
    admission->session = session;
    admission->done = done;
    admission->waiting = PARTS;
    session->admission = admission;
    session->account = session->ticket.account;
    session_hold(session);
    for (int i = 0; i < PARTS; i++) {
        admission->parts[i].admission = admission;
        admission->parts[i].index = i;
    }
    redis_format(redis, on_part, &admission->parts[PART_MODEL],
                 "HMGET p:model:%s id state rate show show_at", session->slug);
    redis_format(redis, on_part, &admission->parts[PART_LIVE], "HMGET live:%s state host",
                 session->slug);
    redis_format(redis, on_part, &admission->parts[PART_ACCOUNT], "HGET p:account:%lld state",
                 (long long)session->account);
    redis_format(redis, on_part, &admission->parts[PART_TICKET], "GET ticket:%s",
                 session->ticket.nonce);
}

void admission_adopt(struct session *session) {
    const struct ticket *ticket = &session->ticket;
    struct billing *billing = session->streaming->options.billing;
    if (!billing || session->ours || (ticket->rate == 0 && ticket->limit == 0)) return;
    struct meter_callbacks callbacks;
    admission_callbacks(session, &callbacks);
    if (ticket->rate > 0) {
        session->meter = meter_adopt(billing, slice_of(session->id), session->account, &callbacks);
        return;
    }
    // A free session's meter lived in the process that is gone: begin again with what is left.
    int64_t left = ticket->limit - (clock_wall_ms() - session->started_ms) / 1000;
    struct meter_terms terms = {.sid = slice_of(session->id), .limit_s = left > 1 ? left : 1};
    session->meter = meter_open(billing, &terms, &callbacks);
}
