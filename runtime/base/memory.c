#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ZERO_SMALL = 1024 };

static void *memory_check(void *block, size_t size) {
    if (block || size == 0) return block;
    // The log would allocate.
    fprintf(stderr, "{\"level\":\"error\",\"event\":\"memory.exhausted\",\"bytes\":%zu}\n", size);
    abort();
}

void *memory_alloc(size_t size) { return memory_check(malloc(size ? size : 1), size); }

void *memory_zero(size_t count, size_t size) {
    // glibc's calloc passes by the thread's cache of freed blocks (2.36), which is most of what
    // malloc is fast by. Large blocks it gets from the kernel zeroed.
    if (count && size && size <= ZERO_SMALL / count)
        return memset(memory_alloc(count * size), 0, count * size);
    return memory_check(calloc(count ? count : 1, size ? size : 1), count * size);
}

void *memory_resize(void *block, size_t size) {
    return memory_check(realloc(block, size ? size : 1), size);
}

char *memory_copy_string(const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(memory_alloc(size), text, size);
}

void memory_free(void *block) { free(block); }
