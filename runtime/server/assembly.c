#include "server/assembly.h"

#include "base/log.h"
#include "base/memory.h"
#include "billing/wallet.h"
#include "http/client.h"
#include "lua/generation.h"
#include "lua/lua_http.h"
#include "lua/lua_realtime.h"
#include "lua/lua_streaming.h"
#include "mariadb/pool.h"
#include "realtime/hub.h"
#include "realtime/publish.h"
#include "redis/client.h"
#include "server/control_socket.h"
#include "streaming/streaming.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct service_kind kinds[] = {
    {.name = "web", .entry = "site", .db = true, .money = true, .subscriber = true, .web = true},
    {.name = "realtime", .entry = "realtime", .subscriber = true, .hub = true},
    {.name = "hooks", .entry = "hooks", .money = true, .subscriber = true, .hooks = true},
    {.name = "media", .entry = "media", .money = true, .subscriber = true, .media = true},
    {.name = "jobs", .entry = "jobs", .db = true, .money = true, .subscriber = true},
    {.name = "command", .entry = "commands", .db = true, .money = true, .subscriber = true},
    {.name = "test", .entry = "commands", .db = true, .money = true, .subscriber = true},
};

const struct service_kind *service_kind_find(const char *name) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    return NULL;
}

// --- wiring: what one room tells another ---------------------------------------------------------

static void assembly_on_balance(void *context, const struct balance *balance) {
    struct runtime *runtime = context;
    char channel[48], message[200];
    int channel_size = snprintf(channel, sizeof channel, "bal:%lld", (long long)balance->account);
    int size = snprintf(message, sizeof message,
                        "{\"type\":\"balance\",\"paid\":%lld,\"bonus\":%lld,\"held\":%lld,"
                        "\"version\":%lld}",
                        (long long)balance->paid, (long long)balance->bonus,
                        (long long)balance->held, (long long)balance->seq);
    realtime_publish(runtime->redis_main, slice_make(channel, (size_t)channel_size),
                     slice_make(message, (size_t)size));
}

static void assembly_on_status(void *context, const char *slug, const char *state, int64_t at_ms) {
    struct runtime *runtime = context;
    char channel[96], message[200];
    int channel_size = snprintf(channel, sizeof channel, "status:%s", slug);
    // Slugs are [a-z0-9_-]: nothing to escape.
    int size = snprintf(message, sizeof message,
                        "{\"type\":\"status\",\"slug\":\"%s\",\"state\":\"%s\",\"at\":%lld}", slug,
                        state, (long long)at_ms);
    struct slice json = slice_make(message, (size_t)size);
    realtime_publish(runtime->redis_main, slice_make(channel, (size_t)channel_size), json);
    realtime_publish(runtime->redis_main, SLICE("lobby"), json);
}

static void assembly_on_health(void *context, int64_t account, struct slice json) {
    struct runtime *runtime = context;
    char channel[48];
    int size = snprintf(channel, sizeof channel, "user:%lld", (long long)account);
    realtime_publish(runtime->redis_main, slice_make(channel, (size_t)size), json);
}

// --- parts ---------------------------------------------------------------------------------------

static bool assembly_open_redis(struct assembly *assembly) {
    struct runtime *runtime = &assembly->runtime;
    const struct settings *settings = runtime->settings;
    struct redis_options options = {
        .name = "main",
        .address = settings_text(settings, "redis.main.address", NULL),
        .password = settings_text(settings, "redis.main.password", NULL),
        .sentinel_password = settings_text(settings, "redis.main.sentinel_password", NULL),
    };
    if (!options.address) {
        log_error("service.setting_missing", LOG_TEXT("key", "redis.main.address"));
        return false;
    }
    runtime->redis_main = redis_client_new(runtime->loop, &options);
    if (assembly->kind->subscriber)
        runtime->subscriber = redis_subscriber_new(runtime->loop, &options);
    if (!assembly->kind->money) return true;
    options = (struct redis_options){
        .name = "money",
        .address = settings_text(settings, "redis.money.address", NULL),
        .password = settings_text(settings, "redis.money.password", NULL),
        .sentinel_password = settings_text(settings, "redis.money.sentinel_password", NULL),
    };
    if (!options.address) {
        log_error("service.setting_missing", LOG_TEXT("key", "redis.money.address"));
        return false;
    }
    runtime->redis_money = redis_client_new(runtime->loop, &options);
    struct billing_options billing;
    billing_options_default(&billing);
    billing_options_configure(&billing, settings);
    if (!assembly->kind->hooks && !assembly->kind->media)
        billing.sweep_ms = 0; // meters are the business of those who watch the watchers
    runtime->billing = billing_new(runtime->loop, runtime->redis_money, &billing);
    billing_on_balance(runtime->billing, assembly_on_balance, runtime);
    return true;
}

static void assembly_open_mariadb(struct assembly *assembly) {
    struct runtime *runtime = &assembly->runtime;
    const struct settings *settings = runtime->settings;
    const char *host = settings_text(settings, "mariadb.host", NULL);
    struct mariadb_options options = {
        .name = "main",
        // The settings of the release name a socket; a site that names a host means that.
        .socket = host ? NULL : settings_text(settings, "mariadb.socket", NULL),
        .host = host,
        .port = (unsigned)settings_integer(settings, "mariadb.port", 3306),
        .user = settings_text(settings, "mariadb.user", NULL),
        .password = settings_text(settings, "mariadb.password", NULL),
        .database = settings_text(settings, "mariadb.database", "footlight"),
        .size = (unsigned)settings_integer(settings, "mariadb.pool", 10),
        .queue = (unsigned)settings_integer(settings, "mariadb.queue", 0),
        .wait_ms = (unsigned)settings_integer(settings, "mariadb.wait_ms", 0),
        .query_ms = (unsigned)settings_integer(settings, "mariadb.query_ms", 0),
    };
    runtime->db = mariadb_pool_new(runtime->loop, &options);
    host = settings_text(settings, "mariadb.replica.host", NULL);
    const char *socket = host ? NULL : settings_text(settings, "mariadb.replica.socket", NULL);
    if (!host && !socket) return;
    options.name = "replica";
    options.host = host;
    options.socket = socket;
    options.port = (unsigned)settings_integer(settings, "mariadb.replica.port", 3306);
    options.size = (unsigned)settings_integer(settings, "mariadb.replica.pool", options.size);
    // Another user has a password of its own, or none.
    const char *user = settings_text(settings, "mariadb.replica.user", NULL);
    if (user) options.user = user;
    options.password = settings_text(settings, "mariadb.replica.password",
                                     user ? NULL : options.password);
    runtime->db_replica = mariadb_pool_new(runtime->loop, &options);
}

static bool assembly_open_streaming(struct assembly *assembly) {
    struct runtime *runtime = &assembly->runtime;
    struct streaming_options options = {
        .service = assembly->kind->hooks ? STREAMING_HOOKS : STREAMING_MEDIA,
        .redis = runtime->redis_main,
        .subscriber = runtime->subscriber,
        .billing = runtime->billing,
        .on_status = assembly_on_status,
        .on_health = assembly_on_health,
        .context = runtime,
    };
    const char *wrong = streaming_options_configure(&options, runtime->settings, assembly->boot);
    if (wrong) {
        log_error("service.setting_missing", LOG_TEXT("key", wrong));
        return false;
    }
    runtime->streaming = streaming_new(runtime->loop, &options);
    return true;
}

static bool assembly_open_hub(struct assembly *assembly) {
    struct runtime *runtime = &assembly->runtime;
    struct hub_options options;
    const char *wrong = hub_options_configure(&options, runtime->settings);
    if (wrong) {
        log_error("service.setting_missing", LOG_TEXT("key", wrong));
        return false;
    }
    options.redis = runtime->redis_main;
    options.subscriber = runtime->subscriber;
    runtime->hub = hub_new(runtime->loop, &options);
    return true;
}

bool assembly_open(struct assembly *assembly, struct loop *loop, struct config *config,
                   const struct service_kind *kind, const char *entry) {
    *assembly = (struct assembly){.kind = kind};
    struct runtime *runtime = &assembly->runtime;
    runtime->loop = loop;
    runtime->service = kind->name;
    runtime->root = config->root;
    runtime->settings = config->settings;
    runtime->development =
        strcmp(settings_text(config->settings, "environment", "production"), "development") == 0;
    if (strcmp(kind->entry, "commands") == 0) runtime->ask_supervisor = control_socket_ask;
    if (!assembly_open_redis(assembly)) return false;
    if (kind->db) assembly_open_mariadb(assembly);
    if (kind->web || kind->db) runtime->http = http_client_new(loop);
    if ((kind->hooks || kind->media) && !assembly_open_streaming(assembly)) return false;
    if (kind->hub && !assembly_open_hub(assembly)) return false;
    runtime->generations = lua_generations_new(runtime, entry);
    if (lua_generations_reload(runtime->generations) < 0)
        log_error("service.lua", LOG_TEXT("error", lua_generations_error(runtime->generations)));
    if (runtime->hub) lua_realtime_attach(runtime, runtime->hub);
    if (runtime->streaming) lua_streaming_attach(runtime, runtime->streaming);
    return true;
}

static void assembly_part_drained(void *context) {
    struct assembly *assembly = context;
    if (--assembly->parts_left == 0 && assembly->drained) assembly->drained(assembly->context);
}

struct assembly_idle {
    struct deferred deferred;
    struct assembly *assembly;
};

static void assembly_nothing_to_drain(struct deferred *deferred) {
    struct assembly_idle *idle = container_of(deferred, struct assembly_idle, deferred);
    struct assembly *assembly = idle->assembly;
    memory_free(idle);
    assembly_part_drained(assembly);
}

void assembly_drain(struct assembly *assembly, void (*drained)(void *context), void *context) {
    struct runtime *runtime = &assembly->runtime;
    assembly->drained = drained;
    assembly->context = context;
    assembly->parts_left = 1;
    if (runtime->hub) {
        assembly->parts_left++;
        hub_drain(runtime->hub,
                  (uint64_t)settings_integer(runtime->settings, "drain_seconds", 10) * 1000 / 2,
                  assembly_part_drained, assembly);
    }
    if (runtime->streaming) {
        assembly->parts_left++;
        streaming_free(runtime->streaming, assembly_part_drained, assembly);
        runtime->streaming = NULL;
    }
    struct assembly_idle *idle = memory_alloc(sizeof *idle);
    idle->assembly = assembly;
    deferred_init(&idle->deferred, assembly_nothing_to_drain);
    loop_defer(runtime->loop, &idle->deferred);
}

void assembly_close(struct assembly *assembly) {
    struct runtime *runtime = &assembly->runtime;
    assembly->drained = NULL;
    assembly->parts_left = 2; // parts that are still draining find nobody to tell
    if (runtime->generations) lua_generations_free(runtime->generations);
    if (runtime->streaming) streaming_free(runtime->streaming, assembly_part_drained, assembly);
    if (runtime->hub) hub_free(runtime->hub);
    if (assembly->kind->db) lua_http_detach(runtime);
    if (runtime->http) http_client_free(runtime->http);
    if (runtime->billing) billing_free(runtime->billing);
    if (runtime->db_replica) mariadb_pool_free(runtime->db_replica);
    if (runtime->db) mariadb_pool_free(runtime->db);
    if (runtime->subscriber) redis_subscriber_free(runtime->subscriber);
    if (runtime->redis_money) redis_client_free(runtime->redis_money);
    if (runtime->redis_main) redis_client_free(runtime->redis_main);
    // Sockets close in the next ticks.
    for (int i = 0; i < 4; i++) uv_run(&runtime->loop->uv, UV_RUN_NOWAIT);
    *assembly = (struct assembly){0};
}
