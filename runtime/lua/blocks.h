#ifndef FOOTLIGHT_LUA_BLOCKS_H
#define FOOTLIGHT_LUA_BLOCKS_H
#include <stddef.h>

/// Small blocks of a Lua state that were freed and wait to be used again. The collector frees
/// thousands at once, where malloc's own cache keeps seven of a size and merges the rest, only to cut
/// them again for the next requests. A state tells the size when it frees, so a list for each size is
/// all that is needed. The blocks are malloc's: what is above BLOCKS_KEPT goes back to it.
/// With the address sanitizer every block goes back at once, so that it sees wrong accesses.
enum { BLOCKS_STEP = 16, BLOCKS_LARGEST = 512, BLOCKS_KEPT = 4 << 20 };

struct lua_blocks {
    void *free[BLOCKS_LARGEST / BLOCKS_STEP];
    size_t kept; ///< bytes in the lists
};

/// As realloc, for a block made by this function. NULL if there is no memory; freeing never fails.
void *lua_blocks_resize(struct lua_blocks *blocks, void *block, size_t old_size, size_t new_size);
/// Gives what is kept back to malloc.
void lua_blocks_clear(struct lua_blocks *blocks);
#endif
