#include "lua/blocks.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define BLOCKS_OFF 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLOCKS_OFF 1
#endif
#endif

#ifdef BLOCKS_OFF

void *lua_blocks_resize(struct lua_blocks *blocks, void *block, size_t old_size, size_t new_size) {
    (void)blocks;
    (void)old_size;
    if (new_size) return realloc(block, new_size);
    free(block);
    return NULL;
}

#else

static size_t class_of(size_t size) { return (size - 1) / BLOCKS_STEP; }

static void *take(struct lua_blocks *blocks, size_t size) {
    if (size > BLOCKS_LARGEST) return malloc(size);
    size_t class = class_of(size);
    void *block = blocks->free[class];
    if (!block) return malloc((class + 1) * BLOCKS_STEP);
    memcpy(&blocks->free[class], block, sizeof(void *));
    // What the collector freed has left the cache by now: the next one of this size is fetched while
    // this one is being filled.
    __builtin_prefetch(blocks->free[class], 1);
    blocks->kept -= (class + 1) * BLOCKS_STEP;
    return block;
}

static void give(struct lua_blocks *blocks, void *block, size_t size) {
    if (size > BLOCKS_LARGEST || blocks->kept >= BLOCKS_KEPT) {
        free(block);
        return;
    }
    size_t class = class_of(size);
    memcpy(block, &blocks->free[class], sizeof(void *));
    blocks->free[class] = block;
    blocks->kept += (class + 1) * BLOCKS_STEP;
}

void *lua_blocks_resize(struct lua_blocks *blocks, void *block, size_t old_size, size_t new_size) {
    if (!block) return new_size ? take(blocks, new_size) : NULL;
    if (new_size == 0) {
        give(blocks, block, old_size);
        return NULL;
    }
    if (old_size > BLOCKS_LARGEST && new_size > BLOCKS_LARGEST) return realloc(block, new_size);
    if (old_size <= BLOCKS_LARGEST && new_size <= BLOCKS_LARGEST &&
        class_of(old_size) == class_of(new_size))
        return block;
    void *moved = take(blocks, new_size);
    if (!moved) return NULL;
    memcpy(moved, block, old_size < new_size ? old_size : new_size);
    give(blocks, block, old_size);
    return moved;
}

#endif

void lua_blocks_clear(struct lua_blocks *blocks) {
    for (size_t i = 0; i < sizeof blocks->free / sizeof *blocks->free; i++) {
        for (void *block = blocks->free[i], *next; block; block = next) {
            memcpy(&next, block, sizeof next);
            free(block);
        }
        blocks->free[i] = NULL;
    }
    blocks->kept = 0;
}
