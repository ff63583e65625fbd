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
/// Makes room for `extra` more bytes; returns where they go. Follow with buffer_added().
char *buffer_reserve(struct buffer *buffer, size_t extra);
static inline void buffer_added(struct buffer *buffer, size_t size) { buffer->size += size; }
void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_slice(struct buffer *buffer, struct slice s);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_char(struct buffer *buffer, char c);
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
