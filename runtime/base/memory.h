#ifndef FOOTLIGHT_BASE_MEMORY_H
#define FOOTLIGHT_BASE_MEMORY_H
#include <stddef.h>

/// Allocation that does not return NULL: a server that cannot get a few bytes cannot answer
/// either, and code that tests each small allocation is code whose failure paths nobody has run.
/// Running out logs one line and aborts. Sizes that come from outside are limited before they get
/// here, and Lua states use an allocator of their own that does fail (runtime/lua/state.c).
void *memory_alloc(size_t size);
void *memory_zero(size_t count, size_t size);
void *memory_resize(void *block, size_t size);
char *memory_copy_string(const char *text);
void memory_free(void *block);

/// The struct that holds a member, from the member's address.
#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#endif
