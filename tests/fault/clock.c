// A clock that can be set, for a server under attack (LD_PRELOAD; tools/lib/fault-house builds it). The
// file $FOOTLIGHT_FAULT_CLOCK holds by how many milliseconds the wall clock is wrong, as 20 characters
// that are overwritten in place while the server runs. The monotonic clock stays right.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 20 };

static const char *shared;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FOOTLIGHT_FAULT_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) shared = page;
    close(fd);
}

static long long wrong_by(void) {
    char text[SIZE + 1] = "0";
    if (shared) memcpy(text, shared, SIZE);
    return strtoll(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return (int)result;
    long long ns = (long long)time->tv_sec * 1000000000 + time->tv_nsec + wrong_by() * 1000000;
    time->tv_sec = (time_t)(ns / 1000000000);
    time->tv_nsec = (long)(ns % 1000000000);
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec time;
    if (clock_gettime(CLOCK_REALTIME, &time) != 0) return -1;
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
