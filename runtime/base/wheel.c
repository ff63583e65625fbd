#include "base/wheel.h"

#include <assert.h>

void wheel_init(struct wheel *wheel, uint64_t now) {
    wheel->now = now;
    wheel->count = 0;
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (int slot = 0; slot < WHEEL_SLOTS; slot++) list_init(&wheel->slots[level][slot]);
    }
}

void timer_init(struct timer *timer, void (*fire)(struct timer *timer)) {
    list_init(&timer->link);
    timer->due = 0;
    timer->fire = fire;
    timer->level = timer->slot = 0;
}

// A timer lies on the level of the highest group of six bits in which its due time differs from
// now; so within a level all timers lie ahead of now's slot, and a level's slot is opened up
// exactly when now's bits reach it.
static void wheel_place(struct wheel *wheel, struct timer *timer) {
    uint64_t due = timer->due > wheel->now ? timer->due : wheel->now + 1;
    uint64_t difference = due ^ wheel->now;
    int level = (63 - __builtin_clzll(difference)) / WHEEL_BITS;
    unsigned slot;
    if (level >= WHEEL_LEVELS) {
        // Past the top level's range (or just past its turn): wait in a top slot that opens before
        // it is due, at most a whole turn away, and be placed again then.
        level = WHEEL_LEVELS - 1;
        int shift = WHEEL_BITS * level;
        uint64_t ahead = (due >> shift) - (wheel->now >> shift);
        if (ahead > WHEEL_SLOTS - 1) ahead = WHEEL_SLOTS - 1;
        slot = (unsigned)((wheel->now >> shift) + ahead) % (unsigned)WHEEL_SLOTS;
    } else {
        slot = (unsigned)(due >> (WHEEL_BITS * level)) % (unsigned)WHEEL_SLOTS;
    }
    timer->level = (uint8_t)level;
    timer->slot = (uint8_t)slot;
    list_push_back(&wheel->slots[level][slot], &timer->link);
    wheel->occupied[level] |= UINT64_C(1) << slot;
}

void wheel_start(struct wheel *wheel, struct timer *timer, uint64_t due) {
    wheel_stop(wheel, timer);
    timer->due = due ? due : 1;
    wheel->count++;
    wheel_place(wheel, timer);
}

void wheel_stop(struct wheel *wheel, struct timer *timer) {
    if (timer->due == 0) return;
    timer->due = 0;
    wheel->count--;
    list_remove(&timer->link);
    if (list_empty(&wheel->slots[timer->level][timer->slot]))
        wheel->occupied[timer->level] &= ~(UINT64_C(1) << timer->slot);
}

// The distance in slots, 1 to 64, from now's slot on this level to the next occupied one; 0: none.
static unsigned wheel_distance(const struct wheel *wheel, int level) {
    uint64_t occupied = wheel->occupied[level];
    if (!occupied) return 0;
    unsigned at = (unsigned)(wheel->now >> (WHEEL_BITS * level)) % (unsigned)WHEEL_SLOTS;
    unsigned from = (at + 1) % (unsigned)WHEEL_SLOTS;
    uint64_t turned = from ? (occupied >> from) | (occupied << (64 - from)) : occupied;
    return (unsigned)__builtin_ctzll(turned) + 1;
}

static uint64_t wheel_next_time(const struct wheel *wheel) {
    uint64_t soonest = UINT64_MAX;
    for (int level = 0; level < WHEEL_LEVELS; level++) {
        unsigned distance = wheel_distance(wheel, level);
        if (!distance) continue;
        int shift = WHEEL_BITS * level;
        uint64_t time = ((wheel->now >> shift) + distance) << shift;
        if (time < soonest) soonest = time;
    }
    return soonest;
}

uint64_t wheel_next(const struct wheel *wheel) {
    uint64_t time = wheel_next_time(wheel);
    return time == UINT64_MAX ? UINT64_MAX : time - wheel->now;
}

size_t wheel_advance(struct wheel *wheel, uint64_t now) {
    size_t fired = 0;
    for (;;) {
        uint64_t time = wheel_next_time(wheel);
        if (time > now) break;
        wheel->now = time;
        // Open the slots that now's bits have reached, from the top down: their timers are due now
        // or move to a lower level.
        for (int level = WHEEL_LEVELS - 1; level >= 0; level--) {
            int shift = WHEEL_BITS * level;
            if (level > 0 && (time & ((UINT64_C(1) << shift) - 1)) != 0) continue;
            unsigned slot = (unsigned)(time >> shift) % (unsigned)WHEEL_SLOTS;
            struct list ready;
            list_init(&ready);
            list_take_all(&ready, &wheel->slots[level][slot]);
            wheel->occupied[level] &= ~(UINT64_C(1) << slot);
            while (!list_empty(&ready)) {
                struct timer *timer = list_first(&ready, struct timer, link);
                list_remove(&timer->link);
                if (timer->due > time) {
                    wheel_place(wheel, timer);
                    continue;
                }
                timer->due = 0;
                wheel->count--;
                fired++;
                timer->fire(timer);
            }
        }
    }
    if (now > wheel->now) {
        // No slot lies between: only now's own bits change, so the placement of the others stays
        // right as long as no level's slot border is crossed that holds a timer, and none was.
        wheel->now = now;
    }
    return fired;
}
