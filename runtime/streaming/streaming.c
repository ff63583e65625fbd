#include "streaming/streaming.h"
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>
#include "base/log.h"
#include "streaming/ingest.h"
#include "streaming/internal.h"

void streaming_hold(struct streaming *streaming) { streaming->holds++; }

void streaming_release(struct streaming *streaming) {
    if (--streaming->holds > 0 || !streaming->closing) return;
    void (*freed)(void *) = streaming->freed;
    void *context = streaming->freed_context;
    hash_free(&streaming->playlists);
    hash_free(&streaming->relays);
    sodium_memzero(&streaming->options, sizeof streaming->options);
    arena_free(&streaming->texts);
    memory_free(streaming);
    if (freed) freed(context);
}

// Settings.

static bool read_boot(const char *var, char boot[STREAMING_BOOT_SIZE]) {
    char path[512];
    snprintf(path, sizeof path, "%s/run/rtmp.boot", var);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t size = read(fd, boot, STREAMING_BOOT_SIZE - 1);
    close(fd);
    size_t kept = 0;
    while (size > 0 && kept < (size_t)size &&
           ((boot[kept] >= 'a' && boot[kept] <= 'z') || (boot[kept] >= '0' && boot[kept] <= '9'))) {
        kept++;
    }
    boot[kept] = '\0';
    return kept > 0;
}

bool streaming_ticket_key(const struct settings *settings, unsigned char key[TICKET_KEY_SIZE]) {
    struct slice hex = slice_of(settings_text(settings, "secrets.ticket", ""));
    size_t size = 0;
    return hex.size == 2 * TICKET_KEY_SIZE &&
           sodium_hex2bin(key, TICKET_KEY_SIZE, hex.data, hex.size, NULL, &size, NULL) == 0 &&
           size == TICKET_KEY_SIZE;
}

/// rtmp.hosts.<name>.address and so on. A host without an address is none.
static const char *read_hosts(struct streaming_options *options, const struct settings *settings) {
    static const char prefix[] = "rtmp.hosts.";
    const char *key, *value;
    size_t cursor = 0;
    options->host_count = 0;
    while (settings_next(settings, &cursor, &key, &value)) {
        struct slice rest = slice_of(key);
        if (!slice_starts(rest, slice_of(prefix)) || !slice_ends(rest, SLICE(".address"))) continue;
        struct slice name = slice_sub(rest, sizeof prefix - 1, rest.size - (sizeof prefix - 1) - strlen(".address"));
        for (size_t i = 0; i < name.size; i++) {
            if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789", name.data[i])) return key;
        }
        if (name.size == 0 || name.size >= STREAMING_HOST_NAME_SIZE || options->host_count == STREAMING_HOSTS) {
            return key;
        }
        struct streaming_host *host = &options->hosts[options->host_count++];
        char other[64];
        snprintf(host->name, sizeof host->name, "%.*s", SLICE_FORMAT(name));
        host->address = value;
        snprintf(other, sizeof other, "%s%s.control", prefix, host->name);
        host->control_url = settings_text(settings, other, NULL);
        snprintf(other, sizeof other, "%s%s.stat", prefix, host->name);
        host->stat_url = settings_text(settings, other, NULL);
        if (!host->control_url || !host->stat_url) return key;
    }
    return NULL;
}

const char *streaming_options_configure(struct streaming_options *options,
                                        const struct settings *settings,
                                        char boot[STREAMING_BOOT_SIZE]) {
    const struct {
        const char *key;
        const char **place;
    } texts[] = {
        {"secrets.hooks", &options->hooks_secret}, {"secrets.segment", &options->segment_secret},
        {"rtmp.address", &options->rtmp_address},  {"rtmp.control", &options->control_url},
        {"rtmp.stat", &options->stat_url},         {"media.hls", &options->hls},
        {"media.keys", &options->keys},
    };
    if (!streaming_ticket_key(settings, options->ticket_key)) return "secrets.ticket";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        *texts[i].place = settings_text(settings, texts[i].key, NULL);
        if (!*texts[i].place || !**texts[i].place) return texts[i].key;
    }
    if (!read_boot(settings_text(settings, "var", "var"), boot)) {
        // nginx is not up yet, or was never started here: nobody can connect either.
        snprintf(boot, STREAMING_BOOT_SIZE, "none");
    }
    options->boot = boot;
    options->host = settings_text(settings, "rtmp.host", "main");
    const char *wrong = read_hosts(options, settings);
    if (wrong) return wrong;
    options->grace_ms = (unsigned)settings_integer(settings, "streaming.grace_ms", 30000);
    options->ingest_kbit = (unsigned)settings_integer(settings, "streaming.ingest_kbit", 12000);
    options->ingest_hours = (unsigned)settings_integer(settings, "streaming.ingest_hours", 12);
    options->linger_ms = (unsigned)settings_integer(settings, "streaming.linger_ms", 8000);
    return NULL;
}

// Life.

static void on_order(void *context, struct slice channel, struct slice message) {
    (void)channel;
    streaming_order(context, message);
}

static struct slice order_channel(const struct streaming *streaming) {
    return streaming->options.service == STREAMING_HOOKS ? SLICE("ctl:hooks") : SLICE("ctl:media");
}

static void collect(void *context) {
    struct streaming *streaming = context;
    metric_set(streaming->gauge, (int64_t)streaming->open);
    metric_set(streaming->ingest_gauge, (int64_t)streaming->ingest_count);
}

struct streaming *streaming_new(struct loop *loop, const struct streaming_options *options) {
    struct streaming *streaming = memory_zero(1, sizeof *streaming);
    streaming->loop = loop;
    streaming->options = *options;
    streaming->holds = 1;
    const char **texts[] = {
        &streaming->options.hooks_secret, &streaming->options.segment_secret,
        &streaming->options.rtmp_address, &streaming->options.control_url,
        &streaming->options.stat_url,     &streaming->options.hls,
        &streaming->options.keys,         &streaming->options.host,
    };
    if (!streaming->options.host) streaming->options.host = "main";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        *texts[i] = arena_copy(&streaming->texts, slice_of(*texts[i] ? *texts[i] : ""));
    }
    hosts_init(streaming);
    if (!streaming->options.grace_ms) streaming->options.grace_ms = 30000;
    if (!streaming->options.linger_ms) streaming->options.linger_ms = 8000;
    if (!streaming->options.ingest_kbit) streaming->options.ingest_kbit = 12000;
    if (!streaming->options.ingest_hours) streaming->options.ingest_hours = 12;
    list_init(&streaming->list);
    list_init(&streaming->ingests);
    list_init(&streaming->waiting);
    list_init(&streaming->calls);
    visibility_start(streaming);

    bool hooks = options->service == STREAMING_HOOKS;
    streaming->accepted = metrics_counter("footlight_streaming_accepted_total",
                                          "Sessions that were let in.", NULL);
    streaming->refused = metrics_counter("footlight_streaming_refused_total",
                                         "Sessions that were refused.", NULL);
    streaming->cuts = metrics_counter("footlight_streaming_cuts_total",
                                      "Sessions that were cut off.", NULL);
    streaming->lost = metrics_counter("footlight_streaming_lost_total",
                                      "Sessions whose end nobody reported.", NULL);
    streaming->malformed = metrics_counter("footlight_streaming_malformed_total",
                                           "Callbacks that could not be read.", NULL);
    streaming->gauge = metrics_gauge("footlight_streaming_sessions", "Open sessions.", NULL);
    streaming->ingest_gauge = metrics_gauge("footlight_streaming_ingests",
                                            "Browsers that broadcast.", NULL);
    streaming->ingest_bytes = metrics_counter("footlight_streaming_ingest_bytes_total",
                                              "Bytes that browsers sent.", NULL);
    streaming->ingest_slow = metrics_counter("footlight_streaming_ingest_slow_total",
                                             "Times that an encoder held a browser up.", NULL);
    metrics_on_export(collect, streaming);

    if (options->subscriber) {
        redis_subscribe(options->subscriber, order_channel(streaming), on_order, NULL, streaming);
    }
    if (hooks) {
        adopt_all(streaming, hooks_adopted);
        sweep_start(streaming);
    }
    return streaming;
}

void streaming_set_policy(struct streaming *streaming, const struct streaming_policy *policy) {
    streaming->policy = *policy;
}

size_t streaming_sessions(const struct streaming *streaming) { return streaming->open; }

void streaming_free(struct streaming *streaming, void (*done)(void *context), void *context) {
    streaming->closing = true;
    streaming->freed = done;
    streaming->freed_context = context;
    metrics_off_export(collect, streaming);
    if (streaming->options.subscriber) {
        redis_unsubscribe(streaming->options.subscriber, order_channel(streaming), on_order,
                          streaming);
    }
    hooks_free(streaming);
    viewers_free(streaming);
    relays_free(streaming);
    ingests_free(streaming);
    sweep_free(streaming);
    visibility_stop(streaming);
    adopt_abandon(streaming);
    sessions_free(streaming);
    shows_free(streaming);
    control_free(streaming);
    streaming_release(streaming);
}

// Replies of Redis.

bool reply_array(const redisReply *reply, const char *error, size_t n) {
    return !error && reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == n;
}

struct slice reply_text(const redisReply *reply) {
    if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS)) {
        return SLICE("");
    }
    return slice_make(reply->str, reply->len);
}

int64_t reply_integer(const redisReply *reply) {
    int64_t value = 0;
    if (reply && reply->type == REDIS_REPLY_INTEGER) return reply->integer;
    slice_to_i64(reply_text(reply), &value);
    return value;
}
