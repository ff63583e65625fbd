#ifndef FOOTLIGHT_BILLING_METER_PRIVATE_H
#define FOOTLIGHT_BILLING_METER_PRIVATE_H
#include "billing/meter.h"
#include "billing/private.h"

/// Between meter.c (what is said to Redis) and clock.c (when).
enum meter_state { METER_OPENING, METER_OPEN, METER_CLOSING };

enum { METER_WHY_SIZE = 32 };

struct meter {
    struct billing *billing; ///< NULL once forgotten or closed: only answers are still waited for
    struct meter_callbacks callbacks;
    struct timer tick, cut, retry;
    struct deferred tell;
    enum meter_state state;
    unsigned holds; ///< answers that will come, and callbacks that run now
    unsigned close_tries;
    bool charged; ///< rate above 0: Redis knows it
    bool adopted; ///< its terms are not known here
    bool seen;    ///< there was evidence since it opened (or it was adopted)
    bool final, ticking, cut_told, close_asked;
    bool paused;      ///< what the owner wants; pause_dirty: Redis was not told yet
    bool pause_dirty;
    int64_t pauses;   ///< the number of the last pause
    uint64_t paused_at;
    /// Loop milliseconds. deadline 0: none; ends_at 0: as far as it was charged.
    uint64_t evidence, deadline, tick_due, ends_at;
    int64_t price;
    char why[METER_WHY_SIZE], close_reason[METER_WHY_SIZE];
    const char *refusal; ///< of a meter that was refused before Redis was asked
    struct meter_terms terms;
    size_t sid_size;
    char sid[BILLING_SID_SIZE + 1];
};

void meter_send_tick(struct meter *meter); ///< meter.c
void meter_send_close(struct meter *meter);
void meter_send_pause(struct meter *meter); ///< pause or resume, as the owner wants it
void meter_begin_close(struct meter *meter, uint64_t ends_at, const char *reason);
void meter_hold(struct meter *meter);
void meter_drop(struct meter *meter); ///< frees it if nothing holds it and it is forgotten

void meter_schedule(struct meter *meter); ///< clock.c: after each answer
void meter_schedule_again(struct meter *meter); ///< after none came: soon
void meter_order_cut(struct meter *meter, const char *reason);
void meter_timers_init(struct meter *meter);
#endif
