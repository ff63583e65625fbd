#include <stdio.h>
#include <string.h>

#include "lua/config_file.h"

enum { HOUR_MS = 3600 * 1000, GIB = 1024 * 1024 * 1024 };

#define TEXT(key)                                                                                  \
    { key, CONFIG_TEXT, 0, 0, NULL }
#define PATH(key)                                                                                  \
    { key, CONFIG_PATH, 0, 0, NULL }
#define INTEGER(key, low, high)                                                                    \
    { key, CONFIG_INTEGER, low, high, NULL }
#define BOOLEAN(key)                                                                               \
    { key, CONFIG_BOOLEAN, 0, 0, NULL }
#define CHOICE(key, choices)                                                                       \
    { key, CONFIG_CHOICE, 0, 0, choices }
#define ADDRESS(key)                                                                               \
    { key, CONFIG_ADDRESS, 0, 0, NULL }
#define URL(key)                                                                                   \
    { key, CONFIG_URL, 0, 0, NULL }
#define SECRET(key)                                                                                \
    { key, CONFIG_SECRET, 0, 0, NULL }

const struct config_key config_schema[] = {
    CHOICE("environment", "development|production|test"),
    PATH("root"),
    PATH("var"),
    INTEGER("drain_seconds", 0, 3600),
    BOOLEAN("console.enabled"),
    INTEGER("console.deadline_ms", 100, HOUR_MS),

    TEXT("site.name"),
    URL("site.url"),
    TEXT("site.language"),
    TEXT("site.email"),
    TEXT("site.currency"),
    TEXT("site.timezone"),

    ADDRESS("listen.*"),
    INTEGER("services.*.count", 0, 64),

    ADDRESS("redis.main.address"),
    TEXT("redis.main.password"),
    TEXT("redis.main.sentinel_password"),
    ADDRESS("redis.money.address"),
    TEXT("redis.money.password"),
    TEXT("redis.money.sentinel_password"),

    PATH("mariadb.socket"),
    TEXT("mariadb.host"),
    INTEGER("mariadb.port", 1, 65535),
    TEXT("mariadb.user"),
    TEXT("mariadb.password"),
    TEXT("mariadb.database"),
    TEXT("mariadb.admin_user"),
    INTEGER("mariadb.pool", 1, 200),
    INTEGER("mariadb.queue", 1, 100000),
    INTEGER("mariadb.wait_ms", 1, HOUR_MS),
    INTEGER("mariadb.query_ms", 1, HOUR_MS),
    PATH("mariadb.replica.socket"),
    TEXT("mariadb.replica.host"),
    INTEGER("mariadb.replica.port", 1, 65535),
    TEXT("mariadb.replica.user"),
    TEXT("mariadb.replica.password"),
    INTEGER("mariadb.replica.pool", 1, 200),

    PATH("secrets.directory"),
    SECRET("secrets.ticket"),
    SECRET("secrets.token"),
    SECRET("secrets.cookie"),
    SECRET("secrets.hooks"),
    SECRET("secrets.seal"),
    SECRET("secrets.segment"),

    URL("rtmp.publish_url"),
    URL("rtmp.play_url"),
    ADDRESS("rtmp.address"),
    URL("rtmp.control"),
    URL("rtmp.stat"),
    TEXT("rtmp.boot"),
    ADDRESS("rtmp.hosts.*.address"), // further hosts with an nginx-rtmp (docs/streaming.md)
    URL("rtmp.hosts.*.control"),
    URL("rtmp.hosts.*.stat"),
    TEXT("rtmp.host"), // the name of the host that this machine's media service is at

    PATH("media.hls"),
    PATH("media.keys"),
    PATH("media.keyframes"),
    PATH("media.thumbs"),
    PATH("media.recordings"),
    INTEGER("media.recordings_bytes", 0, 1000000000000000),
    INTEGER("media.recordings_days", 1, 36500),
    PATH("media.uploads"),
    PATH("media.documents"),

    PATH("geo.file"),
    TEXT("geo.header"),
    TEXT("geo.blocked"),

    URL("mail.smtp"),
    TEXT("mail.from"),
    PATH("mail.mailbox"),

    INTEGER("lua.deadline_ms", 0, HOUR_MS),
    INTEGER("lua.cpu_ms", 0, HOUR_MS),
    INTEGER("lua.memory", 0, 8LL * GIB),
    INTEGER("lua.stall_ms", 0, HOUR_MS),
    INTEGER("lua.coroutines", 16, 1000000),
    BOOLEAN("lua.collect_eagerly"), // for tests under the sanitizers

    INTEGER("crypto.argon2_operations", 1, 20),
    INTEGER("crypto.argon2_memory", 8192, 1LL * GIB),

    TEXT("http.trusted_proxies"),
    BOOLEAN("http.access_log"),
    INTEGER("http.*", 0, 8LL * GIB),
    BOOLEAN("realtime.hixie76"), // WebSockets of the draft of 2010 too
    INTEGER("realtime.*", 0, 1000000),
    TEXT("realtime.origins"),
    TEXT("moderation.words"), // unwanted in chat, separated by commas
    INTEGER("streaming.*", 0, HOUR_MS * 24LL),
    INTEGER("billing.*", 0, 1000000000000LL),

    TEXT("payments.providers"), // sandbox, stripe, gateway: separated by commas, the first is offered first
    URL("payments.stripe.base"),
    TEXT("payments.stripe.key"),
    TEXT("payments.stripe.webhook_secrets"), // the newest and, while it is changed, the one before
    INTEGER("payments.stripe.tolerance", 1, 86400),
    TEXT("payments.gateway.name"),
    URL("payments.gateway.url"),
    URL("payments.gateway.report"),
    TEXT("payments.gateway.merchant"),
    TEXT("payments.gateway.key"),
    TEXT("payments.gateway.addresses"),
    INTEGER("payments.gateway.tolerance", 1, 604800),
    TEXT("payouts.name"), // who pays: the site's own account
    TEXT("payouts.iban"),
    TEXT("payouts.bic"),

    CHOICE("log.level", "debug|info|warn|error"),
    {NULL, CONFIG_TEXT, 0, 0, NULL},
};

static bool key_fits(const char *pattern, const char *key) {
    for (;; pattern++, key++) {
        if (*pattern == '*') {
            size_t size = strcspn(key, ".");
            if (size == 0) return false;
            key += size - 1;
        } else if (*pattern != *key) {
            return false;
        } else if (*key == '\0') {
            return true;
        }
    }
}

const struct config_key *config_key_find(const char *key) {
    const struct config_key *found = NULL;
    for (const struct config_key *k = config_schema; k->key; k++) {
        if (strcmp(k->key, key) == 0) return k; // an exact key wins over a pattern
        if (!found && strchr(k->key, '*') && key_fits(k->key, key)) found = k;
    }
    return found;
}

static bool is_choice(const char *choices, const char *value) {
    struct slice rest = slice_of(choices), choice;
    while (slice_next(&rest, '|', &choice)) {
        if (slice_equal(choice, slice_of(value))) return true;
    }
    return false;
}

static bool is_host_and_port(struct slice s) {
    size_t colon = s.size;
    uint64_t port;
    while (colon > 0 && s.data[colon - 1] != ':') colon--;
    return colon > 1 && slice_to_u64(slice_sub(s, colon, s.size), &port) && port < 65536;
}

/// "unix:/path", "host:port"; of Redis also "sentinel:name@host:port,…" and "cluster:host:port,…".
static bool is_address(const char *value) {
    struct slice s = slice_of(value), one;
    if (slice_starts(s, SLICE("unix:"))) return s.size > strlen("unix:");
    if (slice_starts(s, SLICE("cluster:"))) {
        s = slice_sub(s, strlen("cluster:"), s.size);
    } else if (slice_starts(s, SLICE("sentinel:"))) {
        size_t at = slice_find(s, '@', 0);
        if (at == s.size || at == strlen("sentinel:")) return false;
        s = slice_sub(s, at + 1, s.size);
    } else {
        return is_host_and_port(s);
    }
    if (s.size == 0) return false;
    while (slice_next(&s, ',', &one)) {
        if (!is_host_and_port(slice_trim(one))) return false;
    }
    return true;
}

const char *config_key_check(const struct config_key *key, const char *value) {
    static char expected[160];
    int64_t number;
    switch (key->kind) {
    case CONFIG_TEXT:
        return NULL;
    case CONFIG_PATH:
        return *value ? NULL : "a path";
    case CONFIG_INTEGER:
        if (slice_to_i64(slice_of(value), &number) && number >= key->low && number <= key->high)
            return NULL;
        snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)key->low,
                 (long long)key->high);
        return expected;
    case CONFIG_BOOLEAN:
        return strcmp(value, "true") == 0 || strcmp(value, "false") == 0 ? NULL : "true or false";
    case CONFIG_CHOICE:
        if (is_choice(key->choices, value)) return NULL;
        snprintf(expected, sizeof expected, "one of %s", key->choices);
        return expected;
    case CONFIG_ADDRESS:
        return is_address(value) ? NULL : "an address, \"unix:/path\" or \"host:port\"";
    case CONFIG_URL:
        return strstr(value, "://") ? NULL : "a URL";
    case CONFIG_SECRET:
        return strlen(value) == 64 && strspn(value, "0123456789abcdefABCDEF") == 64
                   ? NULL
                   : "64 hex digits";
    }
    return "something else";
}
