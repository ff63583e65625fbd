#include "billing/meter.h"
#include <inttypes.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "billing/errors.h"
#include "billing/meter_private.h"

enum { REPLY_OPEN = 8, REPLY_LEFT, REPLY_WHY, REPLY_DUE, REPLY_PAUSES = 15, REPLY_SIZE };
enum { CLOSE_TRIES = 60 };

struct slice meter_sid(const struct meter *meter) {
    return slice_make(meter->sid, meter->sid_size);
}

size_t meter_count(const struct billing *billing) { return hash_count(&billing->meters); }

struct meter *meter_find(struct billing *billing, struct slice sid) {
    return hash_get(&billing->meters, sid);
}

int64_t meter_deadline_ms(const struct meter *meter) {
    if (meter->deadline == 0 || !meter->billing) return 0;
    return clock_wall_ms() + (int64_t)meter->deadline - (int64_t)loop_now(meter->billing->loop);
}

void meter_hold(struct meter *meter) { meter->holds++; }

void meter_drop(struct meter *meter) {
    if (--meter->holds == 0 && !meter->billing) memory_free(meter);
}

void meter_forget(struct meter *meter) {
    struct billing *billing = meter->billing;
    if (!billing) return;
    loop_timer_stop(billing->loop, &meter->tick);
    loop_timer_stop(billing->loop, &meter->cut);
    loop_timer_stop(billing->loop, &meter->retry);
    loop_undefer(&meter->tell);
    if (hash_get(&billing->meters, meter_sid(meter)) == meter) {
        hash_remove(&billing->meters, meter_sid(meter));
    }
    metric_set(billing->meters_open, (int64_t)hash_count(&billing->meters));
    meter->billing = NULL;
    memset(&meter->callbacks, 0, sizeof meter->callbacks);
    meter_hold(meter);
    meter_drop(meter);
}

void billing_meters_forget(struct billing *billing) {
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&billing->meters, &cursor, &key, &value)) meter_forget(value);
}

/// Tells the owner and lets go: nobody may use the pointer after it.
static void meter_closed(struct meter *meter, int64_t price) {
    meter_hold(meter);
    if (meter->callbacks.on_closed) {
        meter->callbacks.on_closed(meter->callbacks.context, meter_sid(meter), price);
    }
    meter_forget(meter);
    meter_drop(meter);
}

static void meter_refused(struct meter *meter, const char *error) {
    char word[BILLING_WORD_SIZE];
    billing_error_word(error, word);
    struct meter_opened opened = {.reason = word};
    meter_hold(meter);
    if (meter->callbacks.on_opened) meter->callbacks.on_opened(meter->callbacks.context, &opened);
    meter_forget(meter);
    meter_drop(meter);
}

static void meter_accepted(struct meter *meter) {
    struct meter_opened opened = {
        .ok = true,
        .reason = meter->final ? meter->why : NULL,
        .deadline_ms = meter_deadline_ms(meter),
        .final = meter->final,
        .price = meter->price,
    };
    meter->state = METER_OPEN;
    meter_schedule(meter);
    meter_hold(meter);
    if (meter->callbacks.on_opened) meter->callbacks.on_opened(meter->callbacks.context, &opened);
    if (meter->billing && meter->close_asked && meter->state == METER_OPEN) {
        meter_begin_close(meter, meter->ends_at, meter->close_reason);
    }
    meter_drop(meter);
}

/// Takes over what an answer says. False: the session is not open any more.
static bool meter_apply(struct meter *meter, const redisReply *reply) {
    struct balance balance;
    const redisReply *why = reply->element[REPLY_WHY];
    meter->price = billing_reply_integer(reply, REPLY_DUE);
    meter->deadline =
        loop_now(meter->billing->loop) + (uint64_t)billing_reply_integer(reply, REPLY_LEFT);
    snprintf(meter->why, sizeof meter->why, "%s", why->str ? why->str : "");
    meter->final = meter->why[0] != 0;
    if (meter->pauses < billing_reply_integer(reply, REPLY_PAUSES)) {
        meter->pauses = billing_reply_integer(reply, REPLY_PAUSES);
    }
    if (meter->state == METER_OPENING && strcmp(meter->why, "paused") == 0 && !meter->paused) {
        // Adopted in a pause: it goes on, unless the new owner pauses it again.
        meter->pause_dirty = true;
    }
    if (billing_read_balance(reply, meter->terms.account, &balance)) {
        billing_tell_balance(meter->billing, &balance);
    }
    return billing_reply_integer(reply, REPLY_OPEN) != 0;
}

/// Common to all answers: false when nobody waits for it any more (the meter is gone then).
static bool meter_answered(struct meter *meter) {
    if (meter->billing) {
        meter->holds--;
        return true;
    }
    meter_drop(meter);
    return false;
}

static void on_open_reply(void *context, const redisReply *reply, const char *error) {
    struct meter *meter = context;
    if (!meter_answered(meter)) return;
    const char *problem = billing_reply_error(reply, error, REPLY_SIZE);
    bool reopening = meter->state != METER_OPENING;
    meter->ticking = false;
    if (reopening) {
        if (meter->state != METER_OPEN) return;
        if (!problem && meter_apply(meter, reply)) {
            meter_schedule(meter);
        } else if (problem && billing_error_fault(problem) == BILLING_SERVICE) {
            meter_schedule(meter);
        } else {
            meter_order_cut(meter, billing_error_is(problem, "NOFUNDS") ? "funds" : "closed");
        }
        return;
    }
    if (problem) {
        meter_refused(meter, problem);
    } else if (!meter_apply(meter, reply)) {
        meter_refused(meter, "CLOSED");
    } else {
        meter_accepted(meter);
    }
}

static void meter_call_within(struct meter *meter, unsigned limit_ms, const char *function,
                              const struct slice *arguments, size_t count, redis_reply_fn *done) {
    unsigned shard = billing_shard(meter->terms.account);
    struct billing_key keys[5] = {
        billing_key_of(shard, "s", meter_sid(meter)), billing_wallet_key(meter->terms.account),
        billing_key_of(shard, "due", SLICE("")),      billing_key_of(shard, "out", SLICE("")),
        billing_key_of(shard, "epoch", SLICE("")),
    };
    meter_hold(meter);
    billing_fcall_within(meter->billing, limit_ms, function, keys, 5, arguments, count, done, meter);
}

static void meter_call(struct meter *meter, const char *function, const struct slice *arguments,
                       size_t count, redis_reply_fn *done) {
    meter_call_within(meter, meter->billing->options.settle_ms, function, arguments, count, done);
}

static void meter_send_open(struct meter *meter) {
    struct billing_number n[9];
    const struct meter_terms *terms = &meter->terms;
    struct slice arguments[] = {
        billing_number_of(&n[0], terms->account),
        meter_sid(meter),
        billing_number_of(&n[1], terms->rate),
        billing_number_of(&n[2], terms->increment_s > 0 ? terms->increment_s : 1),
        billing_number_of(&n[3], terms->minimum),
        billing_number_of(&n[4], terms->free_s),
        billing_number_of(&n[5], terms->limit_s),
        billing_number_of(&n[6], meter->billing->options.quantum_s),
        billing_number_of(&n[7], terms->payee),
        billing_number_of(&n[8], terms->off_bp),
    };
    meter->ticking = true;
    meter_call(meter, "fl_open", arguments, 10, on_open_reply);
}

/// How long ago something was, for Redis. What never was is longer ago than any session: then nothing
/// is charged, where "when it was opened" might come out a millisecond, and so a second, too late.
static int64_t milliseconds_since(const struct meter *meter, uint64_t moment) {
    uint64_t now = loop_now(meter->billing->loop);
    if (moment == 0) return INT64_C(1) << 40;
    return now > moment ? (int64_t)(now - moment) : 0;
}

static void on_pause_reply(void *context, const redisReply *reply, const char *error) {
    struct meter *meter = context;
    if (!meter_answered(meter)) return;
    meter->ticking = false;
    if (meter->state != METER_OPEN) return;
    const char *problem = billing_reply_error(reply, error, REPLY_SIZE);
    if (problem && billing_error_fault(problem) == BILLING_SERVICE) {
        meter->pause_dirty = true; // the same number again: repeats are harmless
        loop_timer_start(meter->billing->loop, &meter->tick, 500);
    } else if (problem || !meter_apply(meter, reply)) {
        meter_order_cut(meter, "closed");
    } else {
        meter_schedule(meter);
    }
}

void meter_send_pause(struct meter *meter) {
    struct billing_number account, number, ago;
    meter->ticking = true;
    meter->pause_dirty = false;
    if (meter->paused) {
        struct slice arguments[] = {
            billing_number_of(&account, meter->terms.account),
            meter_sid(meter),
            billing_number_of(&ago, milliseconds_since(meter, meter->seen ? meter->paused_at : 0)),
            billing_number_of(&number, meter->pauses),
        };
        meter_call(meter, "fl_pause", arguments, 4, on_pause_reply);
    } else {
        struct slice arguments[] = {
            billing_number_of(&account, meter->terms.account),
            meter_sid(meter),
            billing_number_of(&number, meter->pauses),
        };
        meter_call(meter, "fl_resume", arguments, 3, on_pause_reply);
    }
}

static void on_tick_reply(void *context, const redisReply *reply, const char *error) {
    struct meter *meter = context;
    if (!meter_answered(meter)) return;
    meter->ticking = false;
    const char *problem = billing_reply_error(reply, error, REPLY_SIZE);
    if (meter->state == METER_OPENING) { // an adoption
        if (problem) {
            meter_refused(meter, billing_error_is(problem, "UNKNOWNSID") ? "UNKNOWN" : problem);
        } else if (!meter_apply(meter, reply)) {
            meter_refused(meter, "CLOSED");
        } else {
            meter_accepted(meter);
        }
        return;
    }
    if (meter->state != METER_OPEN) return;
    if (!problem) {
        if (meter_apply(meter, reply)) {
            meter_schedule(meter);
        } else {
            meter_order_cut(meter, "closed");
        }
    } else if (billing_error_is(problem, "UNKNOWNSID") && !meter->adopted) {
        // Redis forgot it (restored from an older copy): the terms are known, so it goes on.
        log_warn("billing.meter_reopened", LOG_SLICE("sid", meter_sid(meter)));
        meter_send_open(meter);
    } else if (billing_error_fault(problem) == BILLING_SERVICE) {
        meter_schedule_again(meter); // what was granted still holds
    } else {
        log_warn("billing.tick_refused", LOG_SLICE("sid", meter_sid(meter)),
                 LOG_TEXT("reason", problem));
        meter_order_cut(meter, "closed");
    }
}

void meter_send_tick(struct meter *meter) {
    struct billing_number account, ago;
    struct slice arguments[] = {
        billing_number_of(&account, meter->terms.account),
        meter_sid(meter),
        billing_number_of(&ago, milliseconds_since(meter, meter->seen ? meter->evidence : 0)),
    };
    meter->ticking = true;
    metric_add(meter->billing->ticks, 1);
    // An answer is good as long as the lease runs. To ask once more behind it would ask a Redis for
    // more that has too much to do; when the connection breaks, all hear it at once.
    uint64_t now = loop_now(meter->billing->loop), limit = meter->billing->options.settle_ms;
    if (meter->deadline > now + limit) limit = meter->deadline - now;
    meter_call_within(meter, (unsigned)limit, "fl_tick", arguments, 3, on_tick_reply);
}

static void on_close_reply(void *context, const redisReply *reply, const char *error) {
    struct meter *meter = context;
    if (!meter_answered(meter)) return;
    const char *problem = billing_reply_error(reply, error, REPLY_SIZE);
    if (!problem) {
        meter_apply(meter, reply);
        meter_closed(meter, meter->price);
    } else if (billing_error_fault(problem) == BILLING_SERVICE &&
               ++meter->close_tries < CLOSE_TRIES) {
        // Harmless to repeat, and the time of the end is fixed.
        loop_timer_start(meter->billing->loop, &meter->retry, 1000);
    } else {
        metric_add(meter->billing->close_lost, 1);
        log_warn("billing.close_failed", LOG_SLICE("sid", meter_sid(meter)),
                 LOG_TEXT("reason", problem));
        meter_closed(meter, -1);
    }
}

void meter_send_close(struct meter *meter) {
    struct billing_number account, ago;
    struct slice arguments[] = {
        billing_number_of(&account, meter->terms.account),
        meter_sid(meter),
        billing_number_of(&ago, milliseconds_since(meter, meter->ends_at)),
        SLICE(""),
        slice_of(meter->close_reason),
    };
    meter_call(meter, "fl_close", arguments, 5, on_close_reply);
}

void meter_begin_close(struct meter *meter, uint64_t ends_at, const char *reason) {
    struct billing *billing = meter->billing;
    meter->ends_at = ends_at;
    if (reason != meter->close_reason) {
        snprintf(meter->close_reason, sizeof meter->close_reason, "%.30s", reason ? reason : "");
        // People give reasons in sentences; the ledger keeps a word.
        for (char *at = meter->close_reason; *at; at++) {
            if (*at < 'a' || *at > 'z') *at = '_';
        }
    }
    if (meter->state == METER_OPENING) {
        meter->close_asked = true;
        return;
    }
    meter->state = METER_CLOSING;
    loop_timer_stop(billing->loop, &meter->tick);
    loop_timer_stop(billing->loop, &meter->cut);
    if (meter->charged) {
        meter_send_close(meter);
    } else {
        loop_defer(billing->loop, &meter->tell);
    }
}

void meter_close(struct meter *meter, int64_t end_ms, const char *reason) {
    if (!meter->billing || meter->state == METER_CLOSING || meter->close_asked) return;
    uint64_t now = loop_now(meter->billing->loop), ago = 0;
    if (end_ms > 0) {
        int64_t passed = clock_wall_ms() - end_ms;
        if (passed > 0) ago = (uint64_t)passed;
    }
    meter_begin_close(meter, now > ago ? now - ago : 1, reason);
}

/// What is told without having asked Redis: free meters, and terms that cannot be sent.
static void meter_tell(struct deferred *deferred) {
    struct meter *meter = container_of(deferred, struct meter, tell);
    if (meter->state == METER_CLOSING) {
        meter_closed(meter, 0);
    } else if (meter->refusal) {
        meter_refused(meter, meter->refusal);
    } else {
        meter_accepted(meter);
    }
}

static struct meter *meter_new(struct billing *billing, const struct meter_terms *terms,
                               const struct meter_callbacks *callbacks) {
    struct meter *former = meter_find(billing, terms->sid);
    if (former) meter_forget(former);
    struct meter *meter = memory_zero(1, sizeof *meter);
    meter->billing = billing;
    meter->terms = *terms;
    if (callbacks) meter->callbacks = *callbacks;
    meter->charged = terms->rate > 0;
    meter->evidence = loop_now(billing->loop);
    meter_timers_init(meter);
    deferred_init(&meter->tell, meter_tell);
    if (terms->sid.size == 0 || terms->sid.size > BILLING_SID_SIZE) {
        meter->refusal = "BADKEY sid must be 1 to 100 letters";
    } else {
        memcpy(meter->sid, terms->sid.data, terms->sid.size);
        meter->sid_size = terms->sid.size;
    }
    meter->terms.sid = meter_sid(meter);
    hash_put(&billing->meters, meter_sid(meter), meter);
    metric_set(billing->meters_open, (int64_t)hash_count(&billing->meters));
    return meter;
}

struct meter *meter_open(struct billing *billing, const struct meter_terms *terms,
                         const struct meter_callbacks *callbacks) {
    struct meter *meter = meter_new(billing, terms, callbacks);
    if (terms->rate < 0) meter->refusal = "BADTERMS rate is negative";
    if (meter->charged && !meter->refusal) {
        meter_send_open(meter);
        return meter;
    }
    if (!meter->refusal && terms->limit_s > 0) {
        meter->final = true;
        snprintf(meter->why, sizeof meter->why, "limit");
        meter->deadline = loop_now(billing->loop) + (uint64_t)terms->limit_s * 1000;
    }
    loop_defer(billing->loop, &meter->tell);
    return meter;
}

struct meter *meter_adopt(struct billing *billing, struct slice sid, int64_t account,
                          const struct meter_callbacks *callbacks) {
    struct meter_terms terms = {.sid = sid, .account = account, .rate = 1};
    struct meter *meter = meter_new(billing, &terms, callbacks);
    meter->adopted = meter->seen = true;
    if (meter->refusal) {
        loop_defer(billing->loop, &meter->tell);
    } else {
        meter_send_tick(meter);
    }
    return meter;
}
