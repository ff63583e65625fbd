#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include "base/memory.h"

void buffer_free(struct buffer *buffer) {
    memory_free(buffer->data);
    *buffer = (struct buffer){0};
}

void buffer_grow(struct buffer *buffer, size_t wanted) {
    size_t capacity = buffer->capacity ? buffer->capacity : 128;
    while (capacity < wanted) capacity *= 2;
    buffer->data = memory_resize(buffer->data, capacity);
    buffer->capacity = capacity;
}

void buffer_append_i64(struct buffer *buffer, int64_t value) {
    char digits[24], *p = digits + sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--p = (char)('0' + rest % 10);
    } while (rest /= 10);
    if (value < 0) *--p = '-';
    buffer_append(buffer, p, (size_t)(digits + sizeof digits - p));
}

void buffer_printf(struct buffer *buffer, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t room = buffer->capacity - buffer->size;
    int size = vsnprintf(room ? buffer->data + buffer->size : NULL, room, format, arguments);
    if (size >= 0) {
        if ((size_t)size >= room)
            vsnprintf(buffer_reserve(buffer, (size_t)size + 1), (size_t)size + 1, format, again);
        buffer->size += (size_t)size;
    }
    va_end(again);
    va_end(arguments);
}

void buffer_consume(struct buffer *buffer, size_t size) {
    if (size >= buffer->size) {
        buffer->size = 0;
        return;
    }
    memmove(buffer->data, buffer->data + size, buffer->size - size);
    buffer->size -= size;
}

void buffer_clear(struct buffer *buffer, size_t keep) {
    buffer->size = 0;
    if (buffer->capacity > keep) buffer_free(buffer);
}

const char *buffer_text(struct buffer *buffer) {
    *buffer_reserve(buffer, 1) = '\0';
    return buffer->data;
}
