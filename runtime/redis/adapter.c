#include "redis/adapter.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "loop/work.h"
#include "redis/scout.h"

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MOST_MS = 1500, // so that a server that came back is in use within two seconds
    SILENCE_CHECK_MS = 5000,
    SILENCE_PING_MS = 15000,
    SILENCE_CUT_MS = 30000,
    REASON_SIZE = 160,
    HOST_SIZE = 256,
    ADDRESS_SIZE = 64,
    SENTINEL_MS = 1000, ///< between questions to the sentinels
};

enum link_state { LINK_WAITING, LINK_ASKING, LINK_RESOLVING, LINK_CONNECTING, LINK_HANDSHAKE, LINK_UP };

struct redis_link {
    struct loop *loop;
    const struct redis_link_events *events;
    void *owner; ///< NULL once freed by its owner
    struct socket socket;
    redisReader *reader;
    struct timer retry, limit, silence;
    enum link_state state;
    bool socket_open; ///< on_close has still to come
    unsigned attempt, handshake_left;
    uint64_t heard; ///< when the last bytes came, loop time
    char reason[REASON_SIZE];
    char *name, *role, *path, *password;
    char host[HOST_SIZE];
    int port;
    struct redis_scout *sentinel; ///< asks where the master is, or NULL
    char *seeds;                  ///< of a cluster: any of these will do, or NULL
    unsigned seed;
    bool quiet;
    unsigned connect_ms;
    struct metric *reconnects;
};

/// Resolution happens on a thread, so it has a copy of the name and finds the link by pointer only
/// back on the loop; the link waits for it before it goes away.
struct resolution {
    struct redis_link *link;
    char host[HOST_SIZE];
    char address[ADDRESS_SIZE];
};

static void link_connect(struct redis_link *link, const char *host);
static void link_parse_host(struct redis_link *link, struct slice address);
static void link_release(struct redis_link *link);

void redis_encode(struct buffer *out, const struct slice *arguments, size_t count) {
    buffer_append_char(out, '*');
    buffer_append_i64(out, (int64_t)count);
    for (size_t i = 0; i < count; i++) {
        buffer_append(out, "\r\n$", 3);
        buffer_append_i64(out, (int64_t)arguments[i].size);
        buffer_append(out, "\r\n", 2);
        buffer_append_slice(out, arguments[i]);
    }
    buffer_append(out, "\r\n", 2);
}

static void link_schedule_retry(struct redis_link *link) {
    unsigned shift = link->attempt < 6 ? link->attempt : 6;
    uint64_t most = (uint64_t)BACKOFF_FIRST_MS << shift;
    if (most > BACKOFF_MOST_MS) most = BACKOFF_MOST_MS;
    // Half fixed, half random: many processes that lost the same server do not come back as one.
    uint64_t wait = most / 2 + random_fast() % (most / 2 + 1);
    link->attempt++;
    link->state = LINK_WAITING;
    loop_timer_start(link->loop, &link->retry, wait);
}

static void link_down(struct redis_link *link, const char *reason) {
    bool was_up = link->state == LINK_UP;
    loop_timer_stop(link->loop, &link->limit);
    loop_timer_stop(link->loop, &link->silence);
    if (!link->quiet && (was_up || link->attempt < 3 || link->attempt % 16 == 0)) {
        log_warn(was_up ? "redis.lost" : "redis.unreachable", LOG_TEXT("name", link->name),
                 LOG_TEXT("role", link->role), LOG_TEXT("reason", reason),
                 LOG_INT("attempt", link->attempt));
    }
    if (was_up) link->attempt = 0;
    link_schedule_retry(link);
    link->events->on_down(link->owner, reason);
}

void redis_link_drop(struct redis_link *link, const char *reason) {
    if (!link->socket_open) return;
    snprintf(link->reason, sizeof link->reason, "%s", reason);
    socket_close_now(&link->socket, 0);
}

static void link_handshake_reply(struct redis_link *link, const redisReply *reply) {
    if (reply->type == REDIS_REPLY_ERROR) {
        redis_link_drop(link, reply->str);
        return;
    }
    if (--link->handshake_left > 0) return;
    // The sentinels may name a server that does not know yet that it is the master.
    if (link->sentinel && (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0 ||
                           !reply->element[0]->str || strcmp(reply->element[0]->str, "master") != 0)) {
        redis_link_drop(link, "the server is not the master");
        return;
    }
    loop_timer_stop(link->loop, &link->limit);
    if (link->attempt > 0 && !link->quiet) {
        log_info("redis.connected", LOG_TEXT("name", link->name), LOG_TEXT("role", link->role),
                 LOG_INT("attempt", link->attempt));
    }
    metric_add(link->reconnects, 1);
    link->attempt = 0;
    link->state = LINK_UP;
    loop_timer_start(link->loop, &link->silence, SILENCE_CHECK_MS);
    link->events->on_up(link->owner);
}

static void link_on_data(struct socket *socket, const char *data, size_t size) {
    struct redis_link *link = container_of(socket, struct redis_link, socket);
    if (!link->owner) return;
    link->heard = loop_now(link->loop);
    if (redisReaderFeed(link->reader, data, size) != REDIS_OK) {
        redis_link_drop(link, link->reader->errstr);
    }
    while (link->owner && !link->socket.closing) {
        void *reply = NULL;
        if (redisReaderGetReply(link->reader, &reply) != REDIS_OK) {
            redis_link_drop(link, link->reader->errstr);
            break;
        }
        if (!reply) break;
        if (link->state == LINK_HANDSHAKE) {
            link_handshake_reply(link, reply);
        } else {
            link->events->on_reply(link->owner, reply);
        }
        freeReplyObject(reply);
    }
}

static void link_on_connect(struct socket *socket) {
    struct redis_link *link = container_of(socket, struct redis_link, socket);
    if (!link->owner) return;
    link->state = LINK_HANDSHAKE;
    link->heard = loop_now(link->loop);
    struct buffer out = {0};
    link->handshake_left = 2;
    if (link->password) {
        redis_encode(&out, (struct slice[]){SLICE("AUTH"), slice_of(link->password)}, 2);
        link->handshake_left++;
    }
    char name[64];
    snprintf(name, sizeof name, "footlight-%.24s-%.24s", link->name, link->role);
    redis_encode(&out, (struct slice[]){SLICE("CLIENT"), SLICE("SETNAME"), slice_of(name)}, 3);
    // While Redis still reads its files it answers LOADING to this: then it is tried again later.
    redis_encode(&out, (struct slice[]){SLICE("PING")}, 1);
    if (link->sentinel) {
        redis_encode(&out, (struct slice[]){SLICE("ROLE")}, 1);
        link->handshake_left++;
    }
    socket_write_slice(&link->socket, buffer_slice(&out));
    buffer_free(&out);
}

static void link_on_close(struct socket *socket, int error) {
    struct redis_link *link = container_of(socket, struct redis_link, socket);
    link->socket_open = false;
    if (!link->owner) {
        link_release(link);
        return;
    }
    char reason[REASON_SIZE];
    if (link->reason[0]) {
        memcpy(reason, link->reason, sizeof reason);
    } else {
        snprintf(reason, sizeof reason, "%s", error ? uv_strerror(error) : "connection closed");
    }
    link->reason[0] = 0;
    link_down(link, reason);
}

static const struct socket_events link_socket_events = {
    .on_data = link_on_data,
    .on_close = link_on_close,
    .on_connect = link_on_connect,
};

static void link_retry(struct timer *timer) {
    struct redis_link *link = container_of(timer, struct redis_link, retry);
    if (link->sentinel) {
        link->state = LINK_ASKING;
        loop_timer_start(link->loop, &link->limit, link->connect_ms);
        redis_scout_ask(link->sentinel);
        return;
    }
    if (link->seeds) {
        struct slice rest = slice_of(link->seeds), seed;
        unsigned count = 0;
        while (slice_next(&rest, ',', &seed)) count++;
        unsigned wanted = link->seed++ % (count ? count : 1);
        rest = slice_of(link->seeds);
        for (unsigned i = 0; i <= wanted; i++) slice_next(&rest, ',', &seed);
        link_parse_host(link, slice_trim(seed));
    }
    link_connect(link, link->host);
}

/// The sentinels' answer: host and port of the master, or nil if they do not know the name.
static bool link_on_master(void *context, const redisReply *reply, const char *sentinel) {
    struct redis_link *link = context;
    (void)sentinel;
    uint64_t port;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || !reply->element[0]->str ||
        !reply->element[1]->str || reply->element[0]->len >= sizeof link->host ||
        !slice_to_u64(slice_make(reply->element[1]->str, reply->element[1]->len), &port) ||
        port == 0 || port > 65535)
        return false;
    const char *host = reply->element[0]->str;
    bool other = strcmp(link->host, host) != 0 || link->port != (int)port;
    if (link->state == LINK_ASKING) {
        loop_timer_stop(link->loop, &link->limit);
        snprintf(link->host, sizeof link->host, "%s", host);
        link->port = (int)port;
        if (other) log_info("redis.master", LOG_TEXT("name", link->name), LOG_TEXT("role", link->role),
                            LOG_TEXT("host", host), LOG_INT("port", port));
        link_connect(link, link->host);
    } else if (other) {
        redis_link_drop(link, "another server is the master now");
    }
    return true;
}

void redis_link_doubt(struct redis_link *link, const char *reason) {
    if (link->sentinel) redis_link_drop(link, reason);
}

static void link_limit(struct timer *timer) {
    struct redis_link *link = container_of(timer, struct redis_link, limit);
    if (link->state == LINK_ASKING) link_down(link, "no sentinel names a master");
    else redis_link_drop(link, "connecting took too long");
}

static void link_silence(struct timer *timer) {
    struct redis_link *link = container_of(timer, struct redis_link, silence);
    uint64_t silent = loop_now(link->loop) - link->heard;
    if (silent >= SILENCE_CUT_MS) {
        redis_link_drop(link, "the server does not answer");
        return;
    }
    loop_timer_start(link->loop, &link->silence, SILENCE_CHECK_MS);
    if (silent >= SILENCE_PING_MS) link->events->on_silence(link->owner);
}

static void resolve_on_thread(void *data) {
    struct resolution *job = data;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(job->host, NULL, &hints, &found) != 0) return;
    getnameinfo(found->ai_addr, found->ai_addrlen, job->address, sizeof job->address, NULL, 0,
                NI_NUMERICHOST);
    freeaddrinfo(found);
}

static void resolve_done(void *data) {
    struct resolution *job = data;
    struct redis_link *link = job->link;
    link->state = LINK_WAITING;
    if (!link->owner) {
        link_release(link);
    } else if (!job->address[0]) {
        link_down(link, "the host name does not resolve");
    } else {
        link_connect(link, job->address);
    }
    memory_free(job);
}

static bool is_address(const char *host) {
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static void link_connect(struct redis_link *link, const char *host) {
    int error;
    if (!link->path && !is_address(host)) {
        struct resolution *job = memory_zero(1, sizeof *job);
        job->link = link;
        snprintf(job->host, sizeof job->host, "%s", host);
        link->state = LINK_RESOLVING;
        work_submit(link->loop, resolve_on_thread, resolve_done, job);
        return;
    }
    if (link->reader) redisReaderFree(link->reader);
    link->reader = redisReaderCreate();
    link->state = LINK_CONNECTING;
    if (link->path) {
        error = socket_connect_unix(link->loop, &link->socket, link->path, &link_socket_events);
    } else {
        error = socket_connect_tcp(link->loop, &link->socket, host, link->port,
                                   &link_socket_events);
    }
    if (error) {
        link_down(link, uv_strerror(error));
        return;
    }
    link->socket_open = true;
    loop_timer_start(link->loop, &link->limit, link->connect_ms);
}

/// "host:port" or "[::1]:port".
static void link_parse_host(struct redis_link *link, struct slice address) {
    link->port = 6379;
    size_t colon = address.size, size = address.size;
    while (colon > 0 && address.data[colon - 1] != ':' && address.data[colon - 1] != ']') colon--;
    uint64_t port;
    if (colon > 0 && address.data[colon - 1] == ':') {
        size = colon - 1;
        if (slice_to_u64(slice_sub(address, colon, address.size), &port) && port > 0 && port < 65536)
            link->port = (int)port;
    }
    if (size >= 2 && address.data[0] == '[') {
        address = slice_sub(address, 1, address.size);
        size -= 2;
    }
    snprintf(link->host, sizeof link->host, "%.*s", (int)size, address.data);
}

/// The forms of redis_options.address.
static void link_parse_address(struct redis_link *link, const struct redis_options *options) {
    struct slice s = slice_of(options->address);
    if (slice_starts(s, SLICE("unix:"))) {
        link->path = memory_copy_string(options->address + strlen("unix:"));
    } else if (slice_starts(s, SLICE("cluster:"))) {
        link->seeds = memory_copy_string(options->address + strlen("cluster:"));
        link->seed = random_fast() % 64; // not all processes at the same node
    } else if (slice_starts(s, SLICE("sentinel:"))) {
        s = slice_sub(s, strlen("sentinel:"), s.size);
        size_t at = slice_find(s, '@', 0);
        struct slice question[] = {SLICE("SENTINEL"), SLICE("GET-MASTER-ADDR-BY-NAME"),
                                   slice_sub(s, 0, at)};
        struct redis_scout_options scout = {
            .name = link->name,
            .role = "sentinel",
            .password = options->sentinel_password,
            .question = question,
            .words = 3,
            .every_ms = SENTINEL_MS,
            .on_answer = link_on_master,
            .context = link,
        };
        link->sentinel = redis_scout_new(link->loop, &scout, at < s.size ? s.data + at + 1 : "");
    } else {
        link_parse_host(link, s);
    }
}

struct redis_link *redis_link_new(struct loop *loop, const struct redis_options *options,
                                  const char *role, const struct redis_link_events *events,
                                  void *owner) {
    struct redis_link *link = memory_zero(1, sizeof *link);
    link->loop = loop;
    link->events = events;
    link->owner = owner;
    link->name = memory_copy_string(options->name ? options->name : "redis");
    link->role = memory_copy_string(role);
    if (options->password && options->password[0]) {
        link->password = memory_copy_string(options->password);
    }
    link->connect_ms = options->connect_ms ? options->connect_ms : 2000;
    link->quiet = options->quiet;
    link_parse_address(link, options);
    timer_init(&link->retry, link_retry);
    timer_init(&link->limit, link_limit);
    timer_init(&link->silence, link_silence);
    char labels[96];
    snprintf(labels, sizeof labels, "name=\"%s\",role=\"%s\"", link->name, link->role);
    link->reconnects = metrics_counter("footlight_redis_connections_total",
                                       "Connections to Redis that were made.", labels);
    loop_timer_start(loop, &link->retry, 0);
    return link;
}

static void link_release(struct redis_link *link) {
    if (link->reader) redisReaderFree(link->reader);
    memory_free(link->name);
    memory_free(link->role);
    memory_free(link->path);
    memory_free(link->seeds);
    memory_free(link->password);
    memory_free(link);
}

void redis_link_free(struct redis_link *link) {
    link->owner = NULL;
    redis_scout_free(link->sentinel);
    link->sentinel = NULL;
    loop_timer_stop(link->loop, &link->retry);
    loop_timer_stop(link->loop, &link->limit);
    loop_timer_stop(link->loop, &link->silence);
    if (link->socket_open) {
        socket_close_now(&link->socket, 0);
    } else if (link->state != LINK_RESOLVING) {
        link_release(link);
    }
}

uint64_t redis_link_silence(const struct redis_link *link) {
    return loop_now(link->loop) - link->heard;
}

bool redis_link_up(const struct redis_link *link) { return link->state == LINK_UP; }

void redis_link_write(struct redis_link *link, const void *data, size_t size) {
    socket_write(&link->socket, data, size);
}
