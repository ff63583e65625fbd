#ifndef FOOTLIGHT_BASE_CLOCK_H
#define FOOTLIGHT_BASE_CLOCK_H
#include <stddef.h>
#include <stdint.h>

uint64_t clock_monotonic_ns(void); ///< for durations; never goes back, never faked
/// Microseconds since 1970 UTC. Moves with clock_offset_us(), the tests' fake clock.
int64_t clock_wall_us(void);
static inline int64_t clock_wall_ms(void) { return clock_wall_us() / 1000; }
static inline int64_t clock_wall_s(void) { return clock_wall_us() / 1000000; }
void clock_offset_us(int64_t offset); ///< tests only: added to the wall clock
enum { CLOCK_HTTP_DATE_SIZE = 30, CLOCK_ISO_SIZE = 28 };
/// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7) and its parser (-1 if it is not that form).
void clock_http_date(int64_t seconds, char out[CLOCK_HTTP_DATE_SIZE]);
int64_t clock_parse_http_date(const char *text, size_t size);
/// "1994-11-06T08:49:37.123456Z"
void clock_iso(int64_t wall_us, char out[CLOCK_ISO_SIZE]);
#endif
