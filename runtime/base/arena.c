#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include "base/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define SPARES_MOST 0 // so that the sanitizer sees what is used after its arena went
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPARES_MOST 0
#endif
#endif
#ifndef SPARES_MOST
#define SPARES_MOST 64
#endif

enum { ARENA_BLOCK = 4096, ARENA_ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t size;
    _Alignas(ARENA_ALIGN) char data[];
};

// Freed blocks of the usual size: every query and many a request takes one for a moment, and malloc
// would merge it with its neighbours only to cut it off again.
static _Thread_local struct arena_block *spares;
static _Thread_local int spare_count;

static void block_free(struct arena_block *block) {
    if (spare_count < SPARES_MOST && block->size == ARENA_BLOCK - sizeof *block) {
        block->next = spares;
        spares = block;
        spare_count++;
        return;
    }
    memory_free(block);
}

static struct arena_block *block_new(size_t size) {
    struct arena_block *block = spares;
    if (block && size == ARENA_BLOCK - sizeof *block) {
        spares = block->next;
        spare_count--;
        return block;
    }
    block = memory_alloc(sizeof *block + size);
    block->size = size;
    return block;
}

static char *arena_grow(struct arena *arena, size_t size) {
    struct arena_block *block = block_new(size);
    arena->total += sizeof *block + size;
    block->next = arena->blocks;
    arena->blocks = block;
    return block->data;
}

void *arena_alloc(struct arena *arena, size_t size) {
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (size > arena->left) {
        // A large piece gets a block of its own and leaves the current one as it is.
        size_t standard = ARENA_BLOCK - sizeof(struct arena_block);
        if (size > standard / 4) return arena_grow(arena, size);
        arena->next = arena_grow(arena, standard);
        arena->left = standard;
    }
    char *piece = arena->next;
    arena->next += size;
    arena->left -= size;
    return piece;
}

void *arena_zero(struct arena *arena, size_t size) {
    return memset(arena_alloc(arena, size), 0, size);
}

char *arena_copy(struct arena *arena, struct slice s) {
    char *copy = arena_alloc(arena, s.size + 1);
    if (s.size) memcpy(copy, s.data, s.size);
    copy[s.size] = '\0';
    return copy;
}

struct slice arena_slice(struct arena *arena, struct slice s) {
    return slice_make(arena_copy(arena, s), s.size);
}

char *arena_printf(struct arena *arena, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size < 0) size = 0;
    char *text = arena_alloc(arena, (size_t)size + 1);
    va_start(arguments, format);
    vsnprintf(text, (size_t)size + 1, format, arguments);
    va_end(arguments);
    return text;
}

void arena_reset(struct arena *arena) {
    struct arena_block *keep = NULL;
    for (struct arena_block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        if (!keep && block->size == ARENA_BLOCK - sizeof *block)
            keep = block;
        else
            block_free(block);
    }
    *arena = (struct arena){0};
    if (!keep) return;
    keep->next = NULL;
    arena->blocks = keep;
    arena->next = keep->data;
    arena->left = keep->size;
    arena->total = sizeof *keep + keep->size;
}

void arena_free(struct arena *arena) {
    for (struct arena_block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        block_free(block);
    }
    *arena = (struct arena){0};
}
