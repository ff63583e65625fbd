#include "base/hash.h"

#include "base/memory.h"
#include "base/random.h"

struct hash_entry {
    uint64_t hash;
    void *value; ///< NULL: never used, or a grave if key is set to it
    char *key;
    size_t size;
};

static char grave[1]; ///< marks a removed entry; probing goes on past it

static uint64_t rotate(uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }

#define SIP_ROUND                                                                                  \
    do {                                                                                           \
        v0 += v1, v1 = rotate(v1, 13), v1 ^= v0, v0 = rotate(v0, 32);                              \
        v2 += v3, v3 = rotate(v3, 16), v3 ^= v2;                                                   \
        v0 += v3, v3 = rotate(v3, 21), v3 ^= v0;                                                   \
        v2 += v1, v1 = rotate(v1, 17), v1 ^= v2, v2 = rotate(v2, 32);                              \
    } while (0)

// SipHash-1-3 (Aumasson and Bernstein): libsodium offers only 2-4, and a table needs no more.
uint64_t hash_bytes(struct slice s) {
    static uint64_t key[2];
    if (key[0] == 0) random_bytes(key, sizeof key);
    uint64_t v0 = key[0] ^ 0x736f6d6570736575u, v1 = key[1] ^ 0x646f72616e646f6du;
    uint64_t v2 = key[0] ^ 0x6c7967656e657261u, v3 = key[1] ^ 0x7465646279746573u;
    size_t left = s.size;
    const char *p = s.data;
    for (; left >= 8; left -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        v3 ^= word;
        SIP_ROUND;
        v0 ^= word;
    }
    uint64_t last = (uint64_t)s.size << 56;
    for (size_t i = 0; i < left; i++) last |= (uint64_t)(unsigned char)p[i] << (8 * i);
    v3 ^= last;
    SIP_ROUND;
    v0 ^= last;
    v2 ^= 0xff;
    SIP_ROUND;
    SIP_ROUND;
    SIP_ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

static struct hash_entry *hash_find(const struct hash *hash, struct slice key, uint64_t code) {
    if (hash->capacity == 0) return NULL;
    for (size_t i = code & (hash->capacity - 1);; i = (i + 1) & (hash->capacity - 1)) {
        struct hash_entry *entry = &hash->entries[i];
        if (!entry->key) return NULL;
        if (entry->hash == code && entry->key != grave &&
            slice_equal(slice_make(entry->key, entry->size), key))
            return entry;
    }
}

static void hash_place(struct hash *hash, struct hash_entry entry) {
    size_t i = entry.hash & (hash->capacity - 1);
    while (hash->entries[i].key) i = (i + 1) & (hash->capacity - 1);
    hash->entries[i] = entry;
    hash->used++;
    hash->live++;
}

static void hash_resize(struct hash *hash) {
    struct hash old = *hash;
    size_t capacity = 16;
    while (capacity < old.live * 2 + 2) capacity *= 2;
    *hash = (struct hash){memory_zero(capacity, sizeof *hash->entries), capacity, 0, 0};
    for (size_t i = 0; i < old.capacity; i++)
        if (old.entries[i].key && old.entries[i].key != grave) hash_place(hash, old.entries[i]);
    memory_free(old.entries);
}

void *hash_get(const struct hash *hash, struct slice key) {
    if (hash->live == 0) return NULL;
    struct hash_entry *entry = hash_find(hash, key, hash_bytes(key));
    return entry ? entry->value : NULL;
}

void *hash_put(struct hash *hash, struct slice key, void *value) {
    uint64_t code = hash_bytes(key);
    struct hash_entry *entry = hash_find(hash, key, code);
    if (entry) {
        void *old = entry->value;
        entry->value = value;
        return old;
    }
    if ((hash->used + 1) * 4 > hash->capacity * 3) hash_resize(hash);
    char *copy = memory_alloc(key.size + 1);
    if (key.size) memcpy(copy, key.data, key.size);
    copy[key.size] = '\0';
    hash_place(hash, (struct hash_entry){code, value, copy, key.size});
    return NULL;
}

void *hash_remove(struct hash *hash, struct slice key) {
    if (hash->live == 0) return NULL;
    struct hash_entry *entry = hash_find(hash, key, hash_bytes(key));
    if (!entry) return NULL;
    void *value = entry->value;
    memory_free(entry->key);
    *entry = (struct hash_entry){0, NULL, grave, 0};
    hash->live--;
    return value;
}

bool hash_next(const struct hash *hash, size_t *cursor, struct slice *key, void **value) {
    while (*cursor < hash->capacity) {
        const struct hash_entry *entry = &hash->entries[(*cursor)++];
        if (!entry->key || entry->key == grave) continue;
        if (key) *key = slice_make(entry->key, entry->size);
        if (value) *value = entry->value;
        return true;
    }
    return false;
}

void hash_free(struct hash *hash) {
    for (size_t i = 0; i < hash->capacity; i++)
        if (hash->entries[i].key != grave) memory_free(hash->entries[i].key);
    memory_free(hash->entries);
    *hash = (struct hash){0};
}
