#include "redis/client.h"
#include <stdarg.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "redis/adapter.h"
#include "redis/cluster.h"
#include "redis/private.h"

/// A command on its way. In `sent` it waits for its reply: replies are positional, so one whose
/// limit has passed stays there as a tombstone (done == NULL) until its reply came and was dropped.
struct command {
    struct list link;
    struct timer limit;
    struct redis_client *client;
    redis_reply_fn *done;
    void *context;
    uint64_t started_ns;
    const char *error; ///< in `failed`: what to say
    size_t size;       ///< in `waiting`: the encoded command
    char data[];
};

enum {
    STUCK_MS = 1000, ///< of silence under a command, from which a server counts as stuck
    SPARES_MOST = 64 ///< finished commands that are kept to be used again
};

struct state_listener {
    struct state_listener *next;
    void (*changed)(void *context, bool up);
    void *context;
};

struct redis_client {
    struct loop *loop;
    struct redis_link *link;
    struct redis_cluster *cluster; ///< in place of the link
    struct list waiting; ///< not sent: the first connection is not there yet
    struct list sent;    ///< in the order of their replies
    struct list failed;  ///< their errors are told at the end of the tick
    struct list spares;
    size_t spare_count;
    size_t waiting_count, sent_count, queue_limit;
    struct deferred fail;
    struct buffer scratch;
    bool ready, was_ready, closing;
    bool stuck; ///< connected, but a command's limit has passed in silence
    unsigned command_ms;
    char *name;
    struct state_listener *listeners;
    struct redis_functions *functions;
    struct metric *latency, *timeouts, *lost, *refused, *error_replies, *in_flight;
};

static void command_finish(struct command *command, const redisReply *reply, const char *error) {
    redis_reply_fn *done = command->done;
    void *context = command->context;
    struct redis_client *client = command->client;
    list_remove(&command->link);
    loop_timer_stop(client->loop, &command->limit);
    if (client->spare_count < SPARES_MOST && !client->closing) {
        list_push_front(&client->spares, &command->link);
        client->spare_count++;
    } else {
        memory_free(command);
    }
    if (done) done(context, reply, error);
}

static void command_limit(struct timer *timer) {
    struct command *command = container_of(timer, struct command, limit);
    struct redis_client *client = command->client;
    metric_add(client->timeouts, 1);
    if (command->size) { // never sent
        client->waiting_count--;
        command_finish(command, NULL, "UNAVAILABLE redis is not connected");
        return;
    }
    // Whoever comes next would wait as long, for as little: they are told at once, until it is heard
    // again. The link's silence timer goes on probing and cuts a connection that stays dead.
    uint64_t waited = (clock_monotonic_ns() - command->started_ns) / 1000000;
    if (waited >= STUCK_MS && redis_link_silence(client->link) >= STUCK_MS) client->stuck = true;
    redis_reply_fn *done = command->done;
    void *context = command->context;
    command->done = NULL;
    if (done) done(context, NULL, "TIMEOUT redis did not answer in time");
}

static struct command *command_new(struct redis_client *client, redis_reply_fn *done,
                                   void *context, size_t size) {
    struct command *command;
    if (size == 0 && client->spare_count) {
        command = list_first(&client->spares, struct command, link);
        list_remove(&command->link);
        client->spare_count--;
    } else {
        command = memory_alloc(sizeof *command + size);
    }
    list_init(&command->link);
    timer_init(&command->limit, command_limit);
    command->client = client;
    command->done = done;
    command->context = context;
    command->started_ns = clock_monotonic_ns();
    command->error = NULL;
    command->size = size;
    return command;
}

static void client_fail_later(struct redis_client *client, redis_reply_fn *done, void *context,
                              const char *error) {
    metric_add(client->refused, 1);
    if (!done) return;
    struct command *command = command_new(client, done, context, 0);
    command->error = error;
    list_push_back(&client->failed, &command->link);
    loop_defer(client->loop, &client->fail);
}

static void client_tell_failed(struct deferred *deferred) {
    struct redis_client *client = container_of(deferred, struct redis_client, fail);
    struct list failed;
    list_init(&failed);
    list_take_all(&failed, &client->failed);
    while (!list_empty(&failed)) {
        struct command *command = list_first(&failed, struct command, link);
        command_finish(command, NULL, command->error);
    }
}

static void client_write(struct redis_client *client, struct slice encoded, unsigned limit_ms,
                         redis_reply_fn *done, void *context) {
    struct command *command = command_new(client, done, context, 0);
    list_push_back(&client->sent, &command->link);
    client->sent_count++;
    metric_add(client->in_flight, 1);
    redis_link_write(client->link, encoded.data, encoded.size);
    loop_timer_start(client->loop, &command->limit, limit_ms);
}

void redis_client_submit(struct redis_client *client, struct slice encoded, unsigned limit_ms,
                         redis_reply_fn *done, void *context) {
    if (limit_ms == 0) limit_ms = client->command_ms;
    if (client->sent_count + client->waiting_count >= client->queue_limit) {
        client_fail_later(client, done, context, "BUSY too many redis commands are in flight");
    } else if (client->ready && client->stuck) {
        client_fail_later(client, done, context, "UNAVAILABLE redis does not answer");
    } else if (client->ready && client->cluster) {
        redis_cluster_submit(client->cluster, encoded, limit_ms, done, context);
    } else if (client->ready) {
        client_write(client, encoded, limit_ms, done, context);
    } else if (client->was_ready) {
        client_fail_later(client, done, context, "UNAVAILABLE redis is not connected");
    } else {
        struct command *command = command_new(client, done, context, encoded.size);
        memcpy(command->data, encoded.data, encoded.size);
        list_push_back(&client->waiting, &command->link);
        client->waiting_count++;
        loop_timer_start(client->loop, &command->limit, limit_ms);
    }
}

void redis_call(struct redis_client *client, const struct slice *arguments, size_t count,
                unsigned limit_ms, redis_reply_fn *done, void *context) {
    buffer_clear(&client->scratch, 65536);
    redis_encode(&client->scratch, arguments, count);
    redis_client_submit(client, buffer_slice(&client->scratch), limit_ms, done, context);
}

void redis_format(struct redis_client *client, redis_reply_fn *done, void *context,
                  const char *format, ...) {
    char *encoded = NULL;
    va_list list;
    va_start(list, format);
    int size = redisvFormatCommand(&encoded, format, list);
    va_end(list);
    if (size < 0) {
        client_fail_later(client, done, context, "BUSY the command could not be formatted");
        return;
    }
    redis_client_submit(client, slice_make(encoded, (size_t)size), 0, done, context);
    redisFreeCommand(encoded);
}

void redis_client_send(struct redis_client *client, const struct slice *arguments, size_t count,
                       redis_reply_fn *done, void *context) {
    buffer_clear(&client->scratch, 65536);
    redis_encode(&client->scratch, arguments, count);
    client_write(client, buffer_slice(&client->scratch), client->command_ms, done, context);
}

void redis_client_tell_state(struct redis_client *client, bool up) {
    struct state_listener *next;
    for (struct state_listener *at = client->listeners; at; at = next) {
        next = at->next;
        at->changed(at->context, up);
    }
}

/// A command that waited for the map of the cluster, with what is left of its limit.
static void client_hand_over(struct redis_client *client, struct command *command) {
    uint64_t now = loop_now(client->loop), ends = command->limit.due;
    redis_cluster_submit(client->cluster, slice_make(command->data, command->size),
                         ends > now ? (unsigned)(ends - now) : 1, command->done, command->context);
    command->done = NULL;
    command_finish(command, NULL, NULL);
}

void redis_client_prepared(struct redis_client *client) {
    client->ready = client->was_ready = true;
    while (!list_empty(&client->waiting)) {
        struct command *command = list_first(&client->waiting, struct command, link);
        client->waiting_count--;
        if (client->cluster) {
            client_hand_over(client, command);
            continue;
        }
        list_remove(&command->link);
        list_push_back(&client->sent, &command->link);
        client->sent_count++;
        metric_add(client->in_flight, 1);
        redis_link_write(client->link, command->data, command->size);
        command->size = 0; // its limit goes on
    }
    redis_client_tell_state(client, true);
}

void redis_client_refuse(struct redis_client *client, const char *reason) {
    redis_link_drop(client->link, reason);
}

static void client_on_up(void *owner) {
    struct redis_client *client = owner;
    if (client->functions) {
        redis_functions_load(client);
    } else {
        redis_client_prepared(client);
    }
}

static void client_on_reply(void *owner, redisReply *reply) {
    struct redis_client *client = owner;
    client->stuck = false;
    if (list_empty(&client->sent)) {
        redis_link_drop(client->link, "a reply that nobody asked for");
        return;
    }
    struct command *command = list_first(&client->sent, struct command, link);
    client->sent_count--;
    metric_add(client->in_flight, -1);
    metric_observe_us(client->latency, (clock_monotonic_ns() - command->started_ns) / 1000);
    if (reply->type == REDIS_REPLY_ERROR) {
        metric_add(client->error_replies, 1);
        // A master that became a replica: the sentinels know who is it now.
        if (strncmp(reply->str, "READONLY", 8) == 0) redis_link_doubt(client->link, reply->str);
    }
    command_finish(command, reply, NULL); // may free the client
}

static void client_lose_all(struct redis_client *client) {
    struct list lost;
    list_init(&lost);
    list_take_all(&lost, &client->sent);
    metric_add(client->in_flight, -(int64_t)client->sent_count);
    metric_add(client->lost, (int64_t)client->sent_count);
    client->sent_count = 0;
    list_each(&lost, node) { // no limit may fire while the callbacks below run
        loop_timer_stop(client->loop, &container_of(node, struct command, link)->limit);
    }
    while (!list_empty(&lost)) {
        command_finish(list_first(&lost, struct command, link), NULL,
                       "LOST the connection to redis broke");
    }
}

static void client_on_down(void *owner, const char *reason) {
    struct redis_client *client = owner;
    (void)reason;
    bool was_ready = client->ready;
    client->ready = client->stuck = false;
    // State first: who hears LOST must already see that the client is not ready.
    if (was_ready) redis_client_tell_state(client, false);
    client_lose_all(client);
}

static void client_on_silence(void *owner) {
    redis_client_send(owner, (struct slice[]){SLICE("PING")}, 1, NULL, NULL);
}

static const struct redis_link_events client_events = {
    .on_up = client_on_up,
    .on_reply = client_on_reply,
    .on_down = client_on_down,
    .on_silence = client_on_silence,
};

static struct metric *client_counter(const struct redis_client *client, const char *kind) {
    char labels[96];
    snprintf(labels, sizeof labels, "name=\"%s\",kind=\"%s\"", client->name, kind);
    return metrics_counter("footlight_redis_errors_total", "Redis commands that failed.", labels);
}

struct redis_client *redis_client_new(struct loop *loop, const struct redis_options *options) {
    struct redis_client *client = memory_zero(1, sizeof *client);
    char labels[64];
    client->loop = loop;
    client->name = memory_copy_string(options->name ? options->name : "redis");
    client->command_ms = options->command_ms ? options->command_ms : 2000;
    client->queue_limit = options->queue_limit ? options->queue_limit : 50000;
    list_init(&client->waiting);
    list_init(&client->sent);
    list_init(&client->failed);
    list_init(&client->spares);
    deferred_init(&client->fail, client_tell_failed);
    snprintf(labels, sizeof labels, "name=\"%s\"", client->name);
    client->latency = metrics_histogram("footlight_redis_command_seconds",
                                        "From the call to its reply.", labels);
    client->in_flight = metrics_gauge("footlight_redis_commands_in_flight",
                                      "Commands that wait for their reply.", labels);
    client->timeouts = client_counter(client, "timeout");
    client->lost = client_counter(client, "lost");
    client->refused = client_counter(client, "refused");
    client->error_replies = client_counter(client, "reply");
    if (slice_starts(slice_of(options->address), SLICE("cluster:"))) {
        client->cluster = redis_cluster_new(loop, options, client);
    } else {
        client->link = redis_link_new(loop, options, "client", &client_events, client);
    }
    return client;
}

void redis_client_free(struct redis_client *client) {
    if (!client) return;
    if (client->link) redis_link_free(client->link);
    client->closing = true;
    list_each(&client->spares, node) memory_free(container_of(node, struct command, link));
    list_init(&client->spares);
    client->spare_count = 0;
    client->ready = false;
    client->was_ready = true; // who calls from a callback below fails at once
    redis_cluster_free(client->cluster);
    client_lose_all(client);
    list_take_all(&client->failed, &client->waiting);
    list_each(&client->failed, node) {
        struct command *command = container_of(node, struct command, link);
        loop_timer_stop(client->loop, &command->limit);
        if (!command->error) command->error = "UNAVAILABLE the redis client was closed";
    }
    while (!list_empty(&client->failed)) client_tell_failed(&client->fail);
    loop_undefer(&client->fail);
    redis_functions_free(client->functions);
    while (client->listeners) {
        struct state_listener *next = client->listeners->next;
        memory_free(client->listeners);
        client->listeners = next;
    }
    buffer_free(&client->scratch);
    memory_free(client->name);
    memory_free(client);
}

bool redis_client_ready(const struct redis_client *client) {
    return client->ready && (!client->cluster || redis_cluster_whole(client->cluster));
}

void redis_client_on_state(struct redis_client *client, void (*changed)(void *context, bool up),
                           void *context) {
    struct state_listener *listener = memory_zero(1, sizeof *listener);
    *listener = (struct state_listener){client->listeners, changed, context};
    client->listeners = listener;
}

void redis_client_off_state(struct redis_client *client, void (*changed)(void *context, bool up),
                            void *context) {
    for (struct state_listener **at = &client->listeners; *at; at = &(*at)->next) {
        struct state_listener *listener = *at;
        if (listener->changed != changed || listener->context != context) continue;
        *at = listener->next;
        memory_free(listener);
        return;
    }
}

struct redis_functions **redis_client_functions(struct redis_client *client) {
    return &client->functions;
}

const char *redis_client_name(const struct redis_client *client) { return client->name; }
