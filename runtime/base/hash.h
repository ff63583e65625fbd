#ifndef FOOTLIGHT_BASE_HASH_H
#define FOOTLIGHT_BASE_HASH_H
#include "base/slice.h"

/// A table from byte strings to pointers. Keys are copied. Hashing is keyed with a random seed per
/// process (SipHash-1-3), so outsiders who choose keys cannot make it slow. All zero is valid.
struct hash {
    struct hash_entry *entries;
    size_t capacity, used, live;
};

void *hash_get(const struct hash *hash, struct slice key); ///< NULL if absent
/// Stores value (not NULL); returns the value that it replaced, or NULL.
void *hash_put(struct hash *hash, struct slice key, void *value);
void *hash_remove(struct hash *hash, struct slice key); ///< returns the value, or NULL
static inline size_t hash_count(const struct hash *hash) { return hash->live; }
/// Walks all entries: start with *cursor = 0, false at the end. Removing the current entry while
/// walking is allowed; adding is not.
bool hash_next(const struct hash *hash, size_t *cursor, struct slice *key, void **value);
void hash_free(struct hash *hash);
uint64_t hash_bytes(struct slice s); ///< the keyed hash itself
#endif
