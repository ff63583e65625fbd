#ifndef FOOTLIGHT_BASE_ARENA_H
#define FOOTLIGHT_BASE_ARENA_H
#include "base/slice.h"

/// Memory that is freed all at once, e.g. everything that one request needs. All zero is valid.
/// Large pieces get blocks of their own. Nothing is freed one by one.
struct arena {
    struct arena_block *blocks;
    char *next;
    size_t left;
    size_t total; ///< bytes taken from the system, for limits and metrics
};

void *arena_alloc(struct arena *arena, size_t size);      ///< 16-byte aligned, not cleared
void *arena_zero(struct arena *arena, size_t size);       ///< cleared
char *arena_copy(struct arena *arena, struct slice s);    ///< with a NUL behind it
struct slice arena_slice(struct arena *arena, struct slice s);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void arena_reset(struct arena *arena); ///< keeps one block for the next use
void arena_free(struct arena *arena);
#endif
