#ifndef FOOTLIGHT_BASE_CHUNK_H
#define FOOTLIGHT_BASE_CHUNK_H
#include "base/slice.h"

/// Immutable bytes with a reference count: one encoded message or media packet that many sockets
/// send. Not atomic: a chunk belongs to one loop.
struct chunk {
    uint32_t references;
    uint32_t size;
    char data[];
};

struct chunk *chunk_new(const void *data, size_t size); ///< one reference, the caller's; data may be NULL
static inline struct chunk *chunk_share(struct chunk *chunk) {
    chunk->references++;
    return chunk;
}
void chunk_release(struct chunk *chunk); ///< NULL is allowed
static inline struct slice chunk_slice(const struct chunk *c) { return slice_make(c->data, c->size); }
#endif
