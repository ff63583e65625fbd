#ifndef FOOTLIGHT_BASE_BUFFER_H
#define FOOTLIGHT_BASE_BUFFER_H
#include "base/slice.h"

/// A growing run of bytes that it owns. All zero is a valid empty buffer.
struct buffer {
    char *data;
    size_t size;
    size_t capacity;
};

void buffer_free(struct buffer *buffer);
void buffer_grow(struct buffer *buffer, size_t wanted); ///< to a capacity of at least that
/// Makes room for `extra` more bytes; returns where they go. Follow with buffer_added().
static inline char *buffer_reserve(struct buffer *buffer, size_t extra) {
    size_t wanted = buffer->size + extra;
    if (wanted > buffer->capacity) buffer_grow(buffer, wanted);
    return buffer->data + buffer->size;
}
static inline void buffer_added(struct buffer *buffer, size_t size) { buffer->size += size; }
// In the header, because answers and log lines are put together of dozens of small pieces.
static inline void buffer_append(struct buffer *buffer, const void *data, size_t size) {
    if (size == 0) return;
    memcpy(buffer_reserve(buffer, size), data, size);
    buffer->size += size;
}
static inline void buffer_append_slice(struct buffer *buffer, struct slice s) {
    buffer_append(buffer, s.data, s.size);
}
static inline void buffer_append_text(struct buffer *buffer, const char *text) {
    buffer_append(buffer, text, strlen(text));
}
static inline void buffer_append_char(struct buffer *buffer, char c) {
    *buffer_reserve(buffer, 1) = c;
    buffer->size++;
}
void buffer_append_i64(struct buffer *buffer, int64_t value);
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_consume(struct buffer *buffer, size_t size); ///< drops bytes at the front
/// Forgets the content; gives the memory back if there is more of it than `keep` bytes.
void buffer_clear(struct buffer *buffer, size_t keep);
static inline struct slice buffer_slice(const struct buffer *b) {
    return slice_make(b->data, b->size);
}
/// NUL-terminates without counting the NUL; the pointer is good until the next change.
const char *buffer_text(struct buffer *buffer);
#endif
