#ifndef FOOTLIGHT_LUA_HANDLES_H
#define FOOTLIGHT_LUA_HANDLES_H
#include <stdint.h>

/// Names for things that may be gone when somebody comes back with the name: a slot number in the
/// low half, the slot's generation in the high half. Looking up a stale handle finds nothing, where
/// a pointer would find freed memory. 0 is never a handle. All zero is an empty table.
struct handles {
    struct handle_slot *slots;
    uint32_t capacity;
    uint32_t free_first; ///< index + 1 of the first free slot, 0 if there is none
    uint32_t live;
};

uint64_t handles_add(struct handles *handles, void *value);        ///< value is not NULL
void *handles_get(const struct handles *handles, uint64_t handle); ///< NULL: it is gone
/// Walks all values: begin with *cursor = 0; NULL after the last.
void *handles_next(const struct handles *handles, uint32_t *cursor);
void handles_remove(struct handles *handles, uint64_t handle);     ///< a stale handle does nothing
#endif
