#include <stdio.h>
#include "base/log.h"
#include "streaming/internal.h"

// Several hosts with an nginx-rtmp each, one hooks service for all. A boot word tells where a callback
// comes from: "<name>.<word>", or the bare word for the host that rtmp.address names. A broadcast is
// where its encoder connected. A player at another host gets there what nginx pulls by itself: the
// answer to its play is a redirect to the broadcast's host, which makes nginx fetch the stream under a
// ticket of ours, once for all players of that host, and write its HLS there as well.

static struct slice name_in(struct slice boot) {
    size_t dot = slice_find(boot, '.', 0);
    return slice_sub(boot, 0, dot < boot.size ? dot : 0);
}

static void host_init(struct streaming *streaming, const char *name, const char *address,
                      const char *control_url, const char *stat_url) {
    struct media_host *host = &streaming->hosts[streaming->host_count++];
    host->streaming = streaming;
    snprintf(host->name, sizeof host->name, "%s", name);
    host->address = arena_copy(&streaming->texts, slice_of(address ? address : ""));
    host->control_url = arena_copy(&streaming->texts, slice_of(control_url ? control_url : ""));
    host->stat_url = arena_copy(&streaming->texts, slice_of(stat_url ? stat_url : ""));
    list_init(&host->samples);
    timer_init(&host->stat_timer, NULL);
}

void hosts_init(struct streaming *streaming) {
    const struct streaming_options *options = &streaming->options;
    host_init(streaming, "", options->rtmp_address, options->control_url, options->stat_url);
    for (size_t i = 0; i < options->host_count; i++) {
        const struct streaming_host *host = &options->hosts[i];
        host_init(streaming, host->name, host->address, host->control_url, host->stat_url);
    }
    struct media_host *first = &streaming->hosts[0];
    snprintf(first->boot, sizeof first->boot, "%s", options->boot ? options->boot : "none");
}

struct media_host *host_of_boot(struct streaming *streaming, struct slice boot) {
    struct slice name = name_in(boot);
    for (size_t i = 0; i < streaming->host_count; i++) {
        if (slice_equal(name, slice_of(streaming->hosts[i].name))) return &streaming->hosts[i];
    }
    return NULL;
}

struct media_host *host_of_id(struct streaming *streaming, struct slice id) {
    return host_of_boot(streaming, slice_sub(id, 0, slice_find(id, ':', 0)));
}

const char *host_name(const struct media_host *host) { return host->name[0] ? host->name : "main"; }

bool host_is_ours(const struct streaming *streaming, const char *address) {
    struct slice wanted = slice_of(address);
    if (slice_equal(wanted, SLICE("127.0.0.1"))) return true;
    for (size_t i = 0; i < streaming->host_count; i++) {
        struct slice whole = slice_of(streaming->hosts[i].address);
        if (slice_equal(wanted, slice_sub(whole, 0, slice_find(whole, ':', 0)))) return true;
    }
    return false;
}

struct slice host_target(const struct media_host *host, struct slice address) {
    struct slice place = slice_of(host->address);
    if (!slice_starts(address, place)) return (struct slice){0};
    struct slice rest = slice_sub(address, place.size, address.size);
    if (!slice_starts(rest, SLICE("/live/"))) return (struct slice){0};
    rest = slice_sub(rest, 6, rest.size);
    return slice_sub(rest, 0, slice_find(rest, '?', 0));
}

void host_boots(struct media_host *host, const char *boot) {
    if (strcmp(boot, host->boot) == 0) return;
    log_warn("streaming.nginx", LOG_TEXT("host", host_name(host)), LOG_TEXT("before", host->boot),
             LOG_TEXT("now", boot));
    snprintf(host->boot, sizeof host->boot, "%s", boot);
    // The first host's word is in a file of this machine; the others' are known from here only.
    redis_format(host->streaming->options.redis, NULL, NULL, "HSET hooks:boots %s %s",
                 host_name(host), boot);
}
