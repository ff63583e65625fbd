#include "base/chunk.h"

#include <assert.h>
#include "base/memory.h"

struct chunk *chunk_new(const void *data, size_t size) {
    assert(size <= UINT32_MAX);
    struct chunk *chunk = memory_alloc(sizeof *chunk + size);
    chunk->references = 1;
    chunk->size = (uint32_t)size;
    if (data && size) memcpy(chunk->data, data, size);
    return chunk;
}

void chunk_release(struct chunk *chunk) {
    if (!chunk) return;
    assert(chunk->references > 0);
    if (--chunk->references == 0) memory_free(chunk);
}
