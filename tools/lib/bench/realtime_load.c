/// The load generator of tools/bench realtime: many WebSocket clients on one thread, a publisher, and
/// what came of it as one line of JSON.
///
///   realtime_load KIND HOST:PORT [clients=N] [rate=N] [seconds=N] [size=N] [sleepers=N] [redis=SOCKET]
///
/// footlight's clients connect and subscribe to three channels, and messages are published by way of
/// Redis, as the site does; those of the others subscribe by their path, and messages go in by HTTP POST.
/// Every message carries the time at which it was published, so the latency is that of the whole way.
/// rate=0: only connect, and keep still (memory of idle clients). sleepers: so many clients more, which
/// stop reading once they are in; they count for nothing, and close when they are reset. size: bytes of
/// the message that clients get.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 64 * 1024, LATENCIES = 8000000, MESSAGE = 8192 };

static const struct kind {
    const char *name, *path; ///< the path: with the client's number, if it has a place for it
    bool redis;              ///< publishing and subscribing are footlight's
    bool framed;             ///< SockJS: messages come as a["…"]
} kinds[] = {
    {"footlight", "/realtime/websocket", true, false},
    {"footlight-sockjs", "/realtime/sockjs/000/bench%zu/websocket", true, true},
    {"nchan", "/sub/bench", false, false},
    {"ws", "/", false, false},
    {"sockjs", "/bench/000/bench%zu/websocket", false, true},
    {"tornado", "/sub", false, false},
};

struct client {
    int fd;
    bool upgraded, subscribed, sleeper;
    size_t held;
    char *partial; ///< what is left of a frame that has not come whole
};

static const struct kind *kind;
static struct client *clients;
static size_t joined, received;
static unsigned resets;
static uint64_t last_reset;
static uint32_t *latencies; ///< microseconds
static int epoll;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "realtime_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int connect_tcp(const char *address) {
    char host[64];
    const char *colon = strrchr(address, ':');
    if (!colon || (size_t)(colon - address) >= sizeof host) die(address);
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, host, &to.sin_addr) != 1) die("socket");
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) die(address);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static int connect_unix(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) die(path);
    return fd;
}

static void send_all(int fd, const char *data, size_t size) {
    while (size > 0) {
        ssize_t sent = write(fd, data, size);
        if (sent < 0 && errno == EAGAIN) continue;
        if (sent <= 0) die("write");
        data += sent;
        size -= (size_t)sent;
    }
}

static void send_text(int fd, const char *text) {
    size_t size = strlen(text);
    char frame[512];
    if (size > 400) abort();
    size_t at = 0;
    frame[at++] = (char)0x81;
    if (size < 126) {
        frame[at++] = (char)(0x80 | size);
    } else {
        frame[at++] = (char)(0x80 | 126);
        frame[at++] = (char)(size >> 8);
        frame[at++] = (char)size;
    }
    memset(frame + at, 0, 4); // a mask of zeros masks nothing
    memcpy(frame + at + 4, text, size);
    send_all(fd, frame, at + 4 + size);
}

static void on_text(struct client *client, const char *text, size_t size) {
    const char *stamp = kind->framed ? memmem(text, size, "\\\"t\\\":", 6) : memmem(text, size, "\"t\":", 4);
    if (!stamp) {
        if (kind->redis ? memmem(text, size, "connect", 7) != NULL : text[0] == 'o') {
            joined += !client->subscribed;
            client->subscribed = true;
        }
        return;
    }
    if (client->sleeper) return;
    uint64_t sent = strtoull(stamp + (kind->framed ? 6 : 4), NULL, 10), late = (now_ns() - sent) / 1000;
    if (received < LATENCIES) latencies[received] = late > UINT32_MAX ? UINT32_MAX : (uint32_t)late;
    received++;
}

static void on_upgraded(struct client *client) {
    client->upgraded = true;
    if (kind->redis && kind->framed)
        send_text(client->fd, "[\"{\\\"i\\\":1,\\\"connect\\\":{\\\"subs\\\":{\\\"chat:bench\\\":{},"
                              "\\\"status:bench\\\":{},\\\"lobby\\\":{}}}}\"]");
    else if (kind->redis)
        send_text(client->fd, "{\"i\":1,\"connect\":{\"subs\":{\"chat:bench\":{},\"status:bench\":{},"
                              "\"lobby\":{}}}}");
    else if (!kind->framed) joined++; // else with the opening frame
}

/// Takes whole frames off the front; returns how many bytes were used.
static size_t take(struct client *client, char *data, size_t size) {
    size_t used = 0;
    if (!client->upgraded) {
        char *end = memmem(data, size, "\r\n\r\n", 4);
        if (!end) return 0;
        if (strncmp(data, "HTTP/1.1 101", 12) != 0) die("the server did not upgrade");
        used = (size_t)(end - data) + 4;
        on_upgraded(client);
    }
    while (size - used >= 2) {
        const uint8_t *p = (const uint8_t *)data + used;
        size_t head = 2, payload = p[1] & 127;
        if (payload == 126) {
            if (size - used < 4) break;
            payload = (size_t)p[2] << 8 | p[3];
            head = 4;
        }
        if (size - used < head + payload) break;
        if ((p[0] & 15) == 1) on_text(client, (const char *)p + head, payload);
        used += head + payload;
    }
    return used;
}

static void fall_asleep(struct client *client) {
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = client};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event) != 0) die("epoll");
}

static void on_ready(struct client *client, uint32_t events) {
    static char buffer[2 * BUFFER + 1];
    if (client->sleeper && events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        close(client->fd); // its receive buffer was ours to give back
        resets++;
        last_reset = now_ns();
        return;
    }
    memcpy(buffer, client->partial, client->held);
    ssize_t got = recv(client->fd, buffer + client->held, BUFFER, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) die("a client was cut off");
    size_t size = client->held + (size_t)got;
    buffer[size] = 0;
    size_t used = take(client, buffer, size);
    client->held = size - used;
    if (client->held > BUFFER) die("a frame is too large");
    free(client->partial);
    client->partial = client->held ? malloc(client->held) : NULL;
    if (client->held) memcpy(client->partial, buffer + used, client->held);
    if (client->sleeper && client->upgraded && (client->subscribed || !(kind->redis || kind->framed)))
        fall_asleep(client);
}

static void poll_clients(int limit_ms) {
    struct epoll_event events[256];
    int count = epoll_wait(epoll, events, 256, limit_ms);
    for (int i = 0; i < count; i++) on_ready(events[i].data.ptr, events[i].events);
}

static void open_client(struct client *client, const char *address) {
    char request[512], path[128];
    snprintf(path, sizeof path, kind->path, (size_t)(client - clients));
    client->fd = connect_tcp(address);
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
                        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path);
    send_all(client->fd, request, (size_t)size);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) != 0) die("epoll");
}

static void publish(int fd, size_t size) {
    char message[MESSAGE], command[MESSAGE + 256];
    int head = snprintf(message, sizeof message, "{\"t\":%llu,\"p\":\"", (unsigned long long)now_ns());
    size_t fill = size > (size_t)head + 2 ? size - (size_t)head - 2 : 0;
    memset(message + head, 'x', fill);
    memcpy(message + head + fill, "\"}", 3);
    size_t total = (size_t)head + fill + 2;
    int length;
    if (kind->redis)
        length = snprintf(command, sizeof command,
                          "*3\r\n$7\r\nPUBLISH\r\n$15\r\nrt:c:chat:bench\r\n$%zu\r\ne %s\r\n",
                          total + 2, message);
    else
        length = snprintf(command, sizeof command,
                          "POST /pub/bench HTTP/1.1\r\nHost: bench\r\nContent-Length: %zu\r\n\r\n%s",
                          total, message);
    send_all(fd, command, (size_t)length);
    char drop[4096];
    while (recv(fd, drop, sizeof drop, MSG_DONTWAIT) > 0) {}
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static const char *option(char **arguments, const char *name) {
    size_t size = strlen(name);
    for (; *arguments; arguments++)
        if (strncmp(*arguments, name, size) == 0 && (*arguments)[size] == '=') return *arguments + size + 1;
    return NULL;
}

static size_t number(char **arguments, const char *name, size_t otherwise) {
    const char *text = option(arguments, name);
    return text ? (size_t)strtoull(text, NULL, 10) : otherwise;
}

static double at(size_t kept, double part) {
    size_t index = (size_t)((double)kept * part);
    return kept ? latencies[index < kept ? index : kept - 1] / 1e3 : 0;
}

int main(int argc, char **argv) {
    for (size_t i = 0; argc > 2 && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(argv[1], kinds[i].name) == 0) kind = &kinds[i];
    if (!kind) {
        fprintf(stderr, "usage: realtime_load KIND HOST:PORT [clients=N] [rate=N] [seconds=N] [size=N] "
                        "[sleepers=N] [redis=SOCKET]\n");
        return 2;
    }
    size_t readers = number(argv, "clients", 1000), sleepers = number(argv, "sleepers", 0);
    size_t all = readers + sleepers, size = number(argv, "size", 128);
    uint64_t rate = number(argv, "rate", 20), seconds = number(argv, "seconds", 5);
    if (size > MESSAGE - 200 || all == 0) return 2;
    clients = calloc(all, sizeof *clients);
    latencies = malloc(LATENCIES * sizeof *latencies);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < all; i++) {
        clients[i].sleeper = i >= readers;
        open_client(&clients[i], argv[2]);
        if (i % 64 == 63) poll_clients(0);
    }
    uint64_t limit = now_ns() + 30000000000u;
    while (joined < all && now_ns() < limit) poll_clients(100);
    if (joined < all) die("not all clients were let in");
    uint64_t published = 0, start = now_ns(), end = start + seconds * 1000000000u;
    printf("{\"clients\":%zu}\n", joined);
    fflush(stdout);
    if (rate == 0) {
        while (now_ns() < end) poll_clients(100);
        return 0;
    }
    int publisher = kind->redis ? connect_unix(option(argv, "redis")) : connect_tcp(argv[2]);
    while (now_ns() < end) {
        uint64_t due = (now_ns() - start) * rate / 1000000000u;
        while (published < due) publish(publisher, size), published++;
        poll_clients(1);
    }
    uint64_t last = now_ns(), wanted = published * readers, before = 0;
    for (limit = last + 10000000000u; received < wanted && now_ns() < limit;) {
        poll_clients(50);
        if (received > before) last = now_ns(), before = received;
    }
    size_t kept = received < LATENCIES ? received : LATENCIES;
    qsort(latencies, kept, sizeof *latencies, by_value);
    double spent = (double)(last - start) / 1e9;
    printf("{\"published\":%llu,\"wanted\":%llu,\"delivered\":%zu,\"per_second\":%.0f,\"p50_ms\":%.2f,"
           "\"p99_ms\":%.2f,\"max_ms\":%.2f,\"resets\":%u,\"last_reset_s\":%.2f}\n",
           (unsigned long long)published, (unsigned long long)wanted, received,
           (double)received / spent, at(kept, 0.5), at(kept, 0.99), at(kept, 1), resets,
           last_reset ? (double)(last_reset - start) / 1e9 : 0);
    return received == wanted ? 0 : 1;
}
