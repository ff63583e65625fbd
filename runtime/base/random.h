#ifndef FOOTLIGHT_BASE_RANDOM_H
#define FOOTLIGHT_BASE_RANDOM_H
#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t size); ///< from the kernel; aborts if there is none
uint64_t random_below(uint64_t limit);     ///< uniform in [0, limit), limit > 0
/// Fast and predictable; for jitter and sampling only, never for secrets.
uint32_t random_fast(void);
#endif
