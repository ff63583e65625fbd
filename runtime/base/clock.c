#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t offset_us;

uint64_t clock_monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int64_t clock_wall_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000 + offset_us;
}

void clock_offset_us(int64_t offset) { offset_us = offset; }

static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// Not strftime: its names follow the locale.
void clock_http_date(int64_t seconds, char out[CLOCK_HTTP_DATE_SIZE]) {
    time_t t = (time_t)seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    snprintf(out, CLOCK_HTTP_DATE_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT",
             days[tm.tm_wday % 7], (unsigned)tm.tm_mday % 100, months[tm.tm_mon % 12],
             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

int64_t clock_parse_http_date(const char *text, size_t size) {
    char copy[CLOCK_HTTP_DATE_SIZE], month[4];
    if (size != CLOCK_HTTP_DATE_SIZE - 1) return -1;
    memcpy(copy, text, size);
    copy[size] = '\0';
    struct tm tm = {0};
    int end = 0;
    if (sscanf(copy, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT%n", &tm.tm_mday, month, &tm.tm_year,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) != 6 ||
        end != (int)size)
        return -1;
    for (tm.tm_mon = 0; tm.tm_mon < 12; tm.tm_mon++)
        if (strcmp(month, months[tm.tm_mon]) == 0) break;
    if (tm.tm_mon == 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60)
        return -1;
    tm.tm_year -= 1900;
    return (int64_t)timegm(&tm);
}

void clock_iso(int64_t wall_us, char out[CLOCK_ISO_SIZE]) {
    // Many lines are written in one second: its text is made once.
    static _Thread_local time_t second = -1;
    static _Thread_local char text[32];
    time_t t = (time_t)(wall_us / 1000000);
    if (t != second) {
        struct tm tm;
        gmtime_r(&t, &tm);
        snprintf(text, sizeof text, "%04u-%02u-%02uT%02u:%02u:%02u.", (unsigned)(tm.tm_year + 1900) % 10000,
                 (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100,
                 (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
        second = t;
    }
    memcpy(out, text, 20);
    unsigned us = (unsigned)(wall_us % 1000000);
    for (int i = 25; i >= 20; i--, us /= 10) out[i] = (char)('0' + us % 10);
    out[26] = 'Z';
    out[27] = '\0';
}
