#include <stdio.h>
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "billing/errors.h"
#include "billing/meter_private.h"

/// When ticks, cuts and sweeps happen. A meter ticks twice in a quantum, so that one lost answer or
/// a short outage of Redis passes unnoticed inside what is granted already.
enum { RETRY_MS = 500, LAST_LOOK_MS = 1000, SHARD_BATCH = 200 };

static bool meter_silent(const struct meter *meter, uint64_t now) {
    return now - meter->evidence > (uint64_t)meter->billing->options.evidence_s * 1000;
}

void meter_order_cut(struct meter *meter, const char *reason) {
    if (meter->cut_told || meter->state == METER_CLOSING) return;
    meter->cut_told = true;
    loop_timer_stop(meter->billing->loop, &meter->tick);
    loop_timer_stop(meter->billing->loop, &meter->cut);
    meter_hold(meter);
    // Who was not seen watching is not charged until the lease's end.
    if (strcmp(reason, "silent") == 0) {
        meter_begin_close(meter, meter->seen ? meter->evidence : 0, reason);
    }
    if (meter->callbacks.on_cut) {
        meter->callbacks.on_cut(meter->callbacks.context, meter_sid(meter), reason);
    }
    meter_drop(meter);
}

static void meter_schedule_in(struct meter *meter, uint64_t wait) {
    struct billing *billing = meter->billing;
    uint64_t now = loop_now(billing->loop);
    if (meter->cut_told) return;
    if (meter->deadline > 0) {
        loop_timer_start(billing->loop, &meter->cut,
                         meter->deadline > now ? meter->deadline - now : 0);
    }
    if (!meter->charged) return;
    if (meter->pause_dirty) { // the owner changed its mind while an answer was waited for
        loop_timer_start(billing->loop, &meter->tick, 0);
        return;
    }
    if (meter->paused) return;
    // A last look before the end: there may be credits again.
    uint64_t left = meter->deadline > now ? meter->deadline - now : 0;
    if (wait + LAST_LOOK_MS > left) wait = left > LAST_LOOK_MS ? left - LAST_LOOK_MS : RETRY_MS;
    if (wait < RETRY_MS) wait = RETRY_MS;
    meter->tick_due = now + wait;
    loop_timer_start(billing->loop, &meter->tick, wait);
}

void meter_schedule(struct meter *meter) {
    // Spread, so that what was opened together (a popular show begins) does not tick together.
    uint64_t wait = (uint64_t)meter->billing->options.quantum_s * 500;
    meter_schedule_in(meter, wait - random_fast() % (wait / 4 + 1));
}

void meter_schedule_again(struct meter *meter) {
    meter_schedule_in(meter, RETRY_MS + random_fast() % RETRY_MS);
}

static void meter_tick_fire(struct timer *timer) {
    struct meter *meter = container_of(timer, struct meter, tick);
    uint64_t now = loop_now(meter->billing->loop);
    if (meter->state != METER_OPEN || meter->ticking) return;
    if (meter->pause_dirty) {
        meter_send_pause(meter);
        return;
    }
    if (meter->paused || meter_silent(meter, now)) return;
    metric_observe_us(meter->billing->tick_lateness,
                      now > meter->tick_due ? (now - meter->tick_due) * 1000 : 0);
    meter_send_tick(meter);
}

static void meter_cut_fire(struct timer *timer) {
    struct meter *meter = container_of(timer, struct meter, cut);
    uint64_t now = loop_now(meter->billing->loop);
    metric_observe_us(meter->billing->cut_lateness,
                      now > meter->deadline ? (now - meter->deadline) * 1000 : 0);
    if (meter->final) {
        char why[METER_WHY_SIZE]; // the meter may go away inside the callback
        memcpy(why, meter->why, sizeof why);
        meter_order_cut(meter, why);
    } else {
        meter_order_cut(meter, meter_silent(meter, now) ? "silent" : "unavailable");
    }
}

/// Tells Redis at once, or after the answer that is waited for.
static void meter_pausing(struct meter *meter, bool paused, uint64_t since) {
    if (!meter->billing || meter->paused == paused || meter->state == METER_CLOSING) return;
    meter->paused = paused;
    if (paused) {
        meter->pauses++;
        meter->paused_at = since;
    } else {
        meter->evidence = loop_now(meter->billing->loop);
    }
    if (!meter->charged) return; // only its limit runs, and that is the clock's
    meter->pause_dirty = true;
    if (meter->state != METER_OPEN || meter->ticking || meter->cut_told) return;
    loop_timer_start(meter->billing->loop, &meter->tick, 0);
}

void meter_pause_since(struct meter *meter, uint64_t since) { meter_pausing(meter, true, since); }
void meter_pause(struct meter *meter) {
    if (meter->billing) meter_pausing(meter, true, loop_now(meter->billing->loop));
}
void meter_resume(struct meter *meter) { meter_pausing(meter, false, 0); }

static void meter_retry_fire(struct timer *timer) {
    meter_send_close(container_of(timer, struct meter, retry));
}

void meter_timers_init(struct meter *meter) {
    timer_init(&meter->tick, meter_tick_fire);
    timer_init(&meter->cut, meter_cut_fire);
    timer_init(&meter->retry, meter_retry_fire);
}

void meter_evidence(struct meter *meter) {
    if (!meter->billing) return;
    meter->evidence = loop_now(meter->billing->loop);
    meter->seen = true;
    if (meter->charged && !meter->paused && meter->state == METER_OPEN && !meter->ticking && !meter->cut_told &&
        !timer_active(&meter->tick)) { // it had fallen silent
        meter->tick_due = meter->evidence;
        loop_timer_start(meter->billing->loop, &meter->tick, 0);
    }
}

bool meter_allows(const struct meter *meter) {
    if (!meter->billing || meter->state == METER_CLOSING || meter->cut_told) return false;
    return meter->deadline == 0 || meter->paused || loop_now(meter->billing->loop) < meter->deadline;
}

/// The sweeper: one process at a time looks through all shards for leases that ended `grace` ago,
/// because the process that kept them died. Two at once would do no harm, only the work twice.
struct sweep {
    struct billing_flight flight;
    unsigned shard;
    int64_t account;
    char sid[BILLING_OP_SIZE + 2]; ///< of a session, or "!" and the key of a hold
};

static struct sweep *sweep_new(struct billing *billing, unsigned shard) {
    struct sweep *sweep = memory_zero(1, sizeof *sweep);
    billing_flight_start(billing, &sweep->flight);
    sweep->shard = shard;
    return sweep;
}

static void sweep_free(struct sweep *sweep) {
    list_remove(&sweep->flight.link);
    memory_free(sweep);
}

static void on_swept(void *context, const redisReply *reply, const char *error) {
    struct sweep *sweep = context;
    struct billing *billing = sweep->flight.billing;
    const char *problem = billing_reply_error(reply, error, 6);
    struct balance balance;
    if (billing && !problem && billing_read_balance(reply, sweep->account, &balance)) {
        metric_add(billing->swept, 1);
        log_info("billing.swept", LOG_TEXT("sid", sweep->sid));
        billing_tell_balance(billing, &balance);
    }
    sweep_free(sweep);
}

static void sweep_close(struct billing *billing, unsigned shard, struct slice member) {
    struct slice rest = member, account;
    struct billing_number grace;
    if (!slice_next(&rest, '/', &account) || rest.size == 0 || rest.size > BILLING_OP_SIZE + 1) return;
    struct sweep *sweep = sweep_new(billing, shard);
    slice_to_i64(account, &sweep->account);
    memcpy(sweep->sid, rest.data, rest.size);
    if (rest.data[0] == '!') { // a hold that nobody captured
        billing_release(billing, account, slice_sub(rest, 1, rest.size),
                        billing_number_of(&grace, (int64_t)billing->options.grace_s * 1000), on_swept,
                        sweep);
        return;
    }
    struct billing_key keys[5] = {
        billing_key_of(shard, "s", rest),           billing_key_of(shard, "w", account),
        billing_key_of(shard, "due", SLICE("")),    billing_key_of(shard, "out", SLICE("")),
        billing_key_of(shard, "epoch", SLICE("")),
    };
    struct slice arguments[] = {
        account,
        rest,
        SLICE("0"),
        billing_number_of(&grace, (int64_t)billing->options.grace_s * 1000),
        SLICE("swept"),
    };
    billing_fcall(billing, "fl_close", keys, 5, arguments, 5, on_swept, sweep);
}

static void on_overdue(void *context, const redisReply *reply, const char *error) {
    struct sweep *sweep = context;
    struct billing *billing = sweep->flight.billing;
    if (billing && !error && reply->type == REDIS_REPLY_ARRAY) {
        for (size_t i = 0; i < reply->elements; i++) {
            const redisReply *member = reply->element[i];
            if (!member->str) continue;
            sweep_close(billing, sweep->shard, slice_make(member->str, member->len));
        }
    }
    sweep_free(sweep);
}

static void on_sweep_lock(void *context, const redisReply *reply, const char *error) {
    struct sweep *sweep = context;
    struct billing *billing = sweep->flight.billing;
    if (billing && !error && reply->type == REDIS_REPLY_STATUS) {
        struct billing_number grace, batch;
        struct slice arguments[] = {
            billing_number_of(&grace, (int64_t)billing->options.grace_s * 1000),
            billing_number_of(&batch, SHARD_BATCH),
        };
        for (unsigned shard = 0; shard < BILLING_SHARDS; shard++) {
            struct billing_key due = billing_key_of(shard, "due", SLICE(""));
            billing_fcall(billing, "fl_overdue", &due, 1, arguments, 2, on_overdue,
                          sweep_new(billing, shard));
        }
    }
    sweep_free(sweep);
}

static void sweep_fire(struct timer *timer) {
    struct billing *billing = container_of(timer, struct billing, sweep);
    unsigned period = billing->options.sweep_ms;
    loop_timer_start(billing->loop, timer, period + random_fast() % (period / 4 + 1));
    if (!billing_ready(billing)) return;
    struct billing_key lock = billing_key_of(0, "sweeper", SLICE(""));
    struct billing_number life;
    struct slice arguments[] = {
        SLICE("SET"), billing_key_slice(&lock), slice_of(billing->instance),
        SLICE("NX"),  SLICE("PX"),              billing_number_of(&life, period - period / 8),
    };
    redis_call(billing->money, arguments, 6, billing->options.settle_ms, on_sweep_lock,
               sweep_new(billing, 0));
}

void billing_clock_start(struct billing *billing) {
    timer_init(&billing->sweep, sweep_fire);
    if (billing->options.sweep_ms > 0) {
        loop_timer_start(billing->loop, &billing->sweep,
                         billing->options.sweep_ms / 2 +
                             random_fast() % (billing->options.sweep_ms / 2 + 1));
    }
}

void billing_clock_stop(struct billing *billing) {
    loop_timer_stop(billing->loop, &billing->sweep);
}
