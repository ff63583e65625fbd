#include "lua/handles.h"

#include <stddef.h>

#include "base/memory.h"

struct handle_slot {
    void *value;         // NULL while free
    uint32_t generation; // counts up each time the slot is given out; never 0 then
    uint32_t next_free;
};

static void handles_grow(struct handles *handles) {
    uint32_t old = handles->capacity, capacity = old ? old * 2 : 64;
    handles->slots = memory_resize(handles->slots, capacity * sizeof *handles->slots);
    for (uint32_t i = capacity; i-- > old;) {
        handles->slots[i] = (struct handle_slot){NULL, 0, handles->free_first};
        handles->free_first = i + 1;
    }
    handles->capacity = capacity;
}

uint64_t handles_add(struct handles *handles, void *value) {
    if (!handles->free_first) handles_grow(handles);
    uint32_t index = handles->free_first - 1;
    struct handle_slot *slot = &handles->slots[index];
    handles->free_first = slot->next_free;
    slot->value = value;
    if (++slot->generation == 0) slot->generation = 1;
    handles->live++;
    return ((uint64_t)slot->generation << 32) | index;
}

static struct handle_slot *handles_find(const struct handles *handles, uint64_t handle) {
    uint32_t index = (uint32_t)handle, generation = (uint32_t)(handle >> 32);
    if (index >= handles->capacity) return NULL;
    struct handle_slot *slot = &handles->slots[index];
    return slot->value && slot->generation == generation ? slot : NULL;
}

void *handles_get(const struct handles *handles, uint64_t handle) {
    struct handle_slot *slot = handles_find(handles, handle);
    return slot ? slot->value : NULL;
}

void *handles_next(const struct handles *handles, uint32_t *cursor) {
    while (*cursor < handles->capacity) {
        void *value = handles->slots[(*cursor)++].value;
        if (value) return value;
    }
    return NULL;
}

void handles_remove(struct handles *handles, uint64_t handle) {
    struct handle_slot *slot = handles_find(handles, handle);
    if (!slot) return;
    slot->value = NULL;
    slot->next_free = handles->free_first;
    handles->free_first = (uint32_t)handle + 1;
    handles->live--;
}
