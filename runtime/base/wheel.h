#ifndef FOOTLIGHT_BASE_WHEEL_H
#define FOOTLIGHT_BASE_WHEEL_H
#include <stdint.h>
#include "base/list.h"

/// A hierarchical timing wheel (Varghese and Lauck 1987): start and stop are O(1), finding the next
/// expiry is a bit scan. One tick is a millisecond; five levels of 64 slots reach 12 days, later
/// timers wait in the last level and are placed again. Owned by the loop; see loop_timer_start().
struct timer {
    struct list link;
    uint64_t due; ///< in wheel milliseconds; 0 when stopped
    void (*fire)(struct timer *timer);
    uint8_t level, slot;
};

enum { WHEEL_LEVELS = 5, WHEEL_BITS = 6, WHEEL_SLOTS = 1 << WHEEL_BITS };

struct wheel {
    uint64_t now;
    uint64_t occupied[WHEEL_LEVELS];
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
    size_t count;
};

void wheel_init(struct wheel *wheel, uint64_t now);
void timer_init(struct timer *timer, void (*fire)(struct timer *timer));
static inline bool timer_active(const struct timer *timer) { return timer->due != 0; }
/// (Re)starts: fires at the first advance at or after `due`; a time that has passed means the next advance.
void wheel_start(struct wheel *wheel, struct timer *timer, uint64_t due);
void wheel_stop(struct wheel *wheel, struct timer *timer); ///< nothing happens if it is not active
/// Fires everything due up to `now`, in order of their milliseconds. Timers may start and stop any
/// timer, themselves included, while firing. Returns how many fired.
size_t wheel_advance(struct wheel *wheel, uint64_t now);
/// Milliseconds until a timer could be due, UINT64_MAX if there is none. May be early, never late.
uint64_t wheel_next(const struct wheel *wheel);
#endif
