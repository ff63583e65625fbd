// tools/bench relay: many WebSocket-FLV viewers of one stream, on one thread, that read and count.
//
//   streaming_relay_bench ADDRESS SLUG TICKET-KEY VIEWERS SECONDS PID
//
// ADDRESS: of the media service ("127.0.0.1:8084"); TICKET-KEY: the file of secrets.ticket; PID: the
// media process, whose processor time and memory are reported. All viewers connect first, with a ticket
// each; then everybody's bytes are counted for SECONDS. Status 1 if somebody was not fed or has copies.
#include <errno.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/buffer.h"
#include "base/clock.h"
#include "streaming/ticket.h"
#include <sodium.h>

// A viewer with copies of his own of the frames that all begin with (up to 2 s of 1 Mbit/s, 250 KiB)
// would show in the memory of the process.
enum { STREAM_KBIT = 1000, COPY_KIB = 64 };
static const double LEAST_SHARE = 0.9;

struct viewer {
    int fd;
    bool fed;       ///< more came than the answer to the upgrade
    uint64_t bytes; ///< within the measured time
};

static struct viewer *viewers;
static size_t viewer_count, fed, lost;
static char trash[256 * 1024];

static void die(const char *what) {
    fprintf(stderr, "streaming_relay_bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void read_key(const char *path, unsigned char key[TICKET_KEY_SIZE]) {
    char hex[2 * TICKET_KEY_SIZE + 1] = "";
    FILE *file = fopen(path, "r");
    size_t size = 0;
    if (!file || !fgets(hex, sizeof hex, file) ||
        sodium_hex2bin(key, TICKET_KEY_SIZE, hex, strlen(hex), NULL, &size, NULL) != 0 ||
        size != TICKET_KEY_SIZE) {
        die(path);
    }
    fclose(file);
}

static int open_viewer(const struct sockaddr_in *address, const char *slug,
                       const unsigned char key[TICKET_KEY_SIZE]) {
    struct ticket ticket = {.policy = TICKET_PREVIEW, .expires = clock_wall_s() + 300};
    struct buffer request = {0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(ticket.slug, sizeof ticket.slug, "%s", slug);
    buffer_append_text(&request, "GET /media/flv/");
    if (!ticket_make(&request, &ticket, key)) die(slug);
    buffer_append_text(&request, " HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                 "Sec-WebSocket-Version: 13\r\n"
                                 "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) != 0) die("connect");
    struct slice text = buffer_slice(&request);
    if (write(fd, text.data, text.size) != (ssize_t)text.size) die("write");
    buffer_free(&request);
    return fd;
}

static void read_all(int epoll, int wait_ms) {
    struct epoll_event events[256];
    int count = epoll_wait(epoll, events, 256, wait_ms);
    for (int i = 0; i < count; i++) {
        struct viewer *viewer = events[i].data.ptr;
        ssize_t size = recv(viewer->fd, trash, sizeof trash, MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (size <= 0) {
            close(viewer->fd);
            lost++;
            continue;
        }
        viewer->bytes += (uint64_t)size;
        if (!viewer->fed && viewer->bytes > 1000) {
            viewer->fed = true;
            fed++;
        }
    }
}

static double cpu_of(const char *pid) {
    char path[64], text[1024] = "";
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file || !fgets(text, sizeof text, file)) die(path);
    fclose(file);
    const char *rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) {
        die(path);
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static long memory_of(const char *pid) { // KiB
    char path[64], line[256];
    long size = 0;
    snprintf(path, sizeof path, "/proc/%s/status", pid);
    FILE *file = fopen(path, "r");
    if (!file) die(path);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "VmRSS: %ld", &size) == 1) break;
    }
    fclose(file);
    return size;
}

static int by_bytes(const void *a, const void *b) {
    const struct viewer *x = a, *y = b;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

int main(int argc, char **argv) {
    unsigned char key[TICKET_KEY_SIZE];
    if (argc != 7) {
        fprintf(stderr, "usage: streaming_relay_bench ADDRESS SLUG TICKET-KEY VIEWERS SECONDS PID\n");
        return 2;
    }
    char *colon = strrchr(argv[1], ':');
    if (sodium_init() < 0 || !colon) die(argv[1]);
    *colon = '\0';
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) die(argv[1]);
    read_key(argv[3], key);
    viewer_count = (size_t)atol(argv[4]);
    viewers = calloc(viewer_count, sizeof *viewers);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!viewers || epoll < 0) die("start");

    long memory_before = memory_of(argv[6]);
    for (size_t i = 0; i < viewer_count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &viewers[i]};
        viewers[i].fd = open_viewer(&address, argv[2], key);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, viewers[i].fd, &event) != 0) die("epoll");
        read_all(epoll, 0);
    }
    uint64_t limit = clock_monotonic_ns() + 30ull * 1000000000;
    while (fed + lost < viewer_count && clock_monotonic_ns() < limit) read_all(epoll, 50);

    for (size_t i = 0; i < viewer_count; i++) viewers[i].bytes = 0;
    double cpu = cpu_of(argv[6]);
    uint64_t began = clock_monotonic_ns(), until = began + (uint64_t)atol(argv[5]) * 1000000000;
    while (clock_monotonic_ns() < until) read_all(epoll, 50);
    double seconds = (double)(clock_monotonic_ns() - began) / 1e9;
    cpu = cpu_of(argv[6]) - cpu;
    long memory = memory_of(argv[6]);

    uint64_t total = 0;
    for (size_t i = 0; i < viewer_count; i++) total += viewers[i].bytes;
    qsort(viewers, viewer_count, sizeof *viewers, by_bytes);
    double each = 8 / seconds / 1000; // bytes to kbit/s
    double least = (double)viewers[0].bytes * each;
    double median = (double)viewers[viewer_count / 2].bytes * each;
    double grown = (double)(memory - memory_before) / (double)viewer_count;
    printf("%zu viewers, %zu fed, %zu lost; %.1f s: %.0f kbit/s for the least, %.0f for the median, "
           "%.0f Mbit/s in all\n",
           viewer_count, fed, lost, seconds, least, median, (double)total * each / 1000);
    printf("the media process: %.1f %% of a core, %.1f us for a viewer and second; memory %ld KiB before, "
           "%ld KiB with them: %.1f KiB each\n",
           100 * cpu / seconds, 1e6 * cpu / seconds / (double)viewer_count, memory_before, memory, grown);
    bool everybody = fed == viewer_count && lost == 0 && least >= LEAST_SHARE * median &&
                     median >= STREAM_KBIT * LEAST_SHARE;
    bool once = grown < COPY_KIB;
    printf("%s: all are fed the whole stream\n%s: each packet is in memory once\n",
           everybody ? "holds" : "FAILS", once ? "holds" : "FAILS");
    return everybody && once ? 0 : 1;
}
