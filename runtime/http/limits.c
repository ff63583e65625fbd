#include "http/server.h"

void http_limits_default(struct http_limits *limits) {
    *limits = (struct http_limits){
        .head_size = 16 * 1024,
        .header_count = 100,
        .target_size = 8 * 1024,
        .head_ms = 10000,
        .body_ms = 20000,
        .idle_ms = 75000,
        .write_ms = 30000,
        .pipeline = 16,
        .per_address = 200,
        .connections = 20000,
        .requests = 0,
        .write_high = 256 * 1024,
    };
}

static int64_t setting(const struct settings *settings, const char *key, int64_t otherwise,
                       int64_t least, int64_t most) {
    int64_t value = settings_integer(settings, key, otherwise);
    return value < least ? least : value > most ? most : value;
}

void http_limits_configure(struct http_limits *limits, const struct settings *settings) {
    enum { DAY = 24 * 3600 * 1000 };
#define TAKE(type, member, least, most)                                                            \
    limits->member = (type)setting(settings, "http." #member, (int64_t)limits->member, least, most)
    TAKE(size_t, head_size, 1024, 1024 * 1024);
    TAKE(unsigned, header_count, 8, 1000);
    TAKE(size_t, target_size, 256, 64 * 1024);
    TAKE(unsigned, head_ms, 100, DAY);
    TAKE(unsigned, body_ms, 100, DAY);
    TAKE(unsigned, idle_ms, 100, DAY);
    TAKE(unsigned, write_ms, 100, DAY);
    TAKE(unsigned, pipeline, 1, 1000);
    TAKE(unsigned, per_address, 0, 1000000);
    TAKE(unsigned, connections, 0, 10000000);
    TAKE(unsigned, requests, 0, INT32_MAX);
    TAKE(size_t, write_high, 4096, 64 * 1024 * 1024);
#undef TAKE
}
