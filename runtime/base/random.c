#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *out, size_t size) {
    char *p = out;
    while (size) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) abort();
        p += n;
        size -= (size_t)n;
    }
}

uint64_t random_below(uint64_t limit) {
    // Values past the last whole multiple of limit would favour small results: draw again.
    uint64_t value, most = UINT64_MAX - UINT64_MAX % limit;
    do {
        random_bytes(&value, sizeof value);
    } while (value >= most);
    return value % limit;
}

uint32_t random_fast(void) {
    static uint64_t state;
    if (state == 0) random_bytes(&state, sizeof state);
    // xorshift64* (Vigna 2016)
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(state * UINT64_C(0x2545F4914F6CDD1D) >> 32);
}
