#include "server/health.h"

#include "base/metrics.h"
#include "billing/wallet.h"
#include "lua/generation.h"
#include "mariadb/pool.h"
#include "redis/client.h"

static void health_part(struct buffer *out, const char *name, bool here, bool ok, bool *all) {
    if (!here) return;
    buffer_printf(out, ",\"%s\":%s", name, ok ? "true" : "false");
    *all = *all && ok;
}

static void health_ready(const struct runtime *runtime, bool draining,
                         struct http_request *request) {
    struct buffer parts = {0}, out = {0};
    bool all = !draining;
    health_part(&parts, "redis", runtime->redis_main,
                runtime->redis_main && redis_client_ready(runtime->redis_main), &all);
    health_part(&parts, "billing", runtime->billing,
                runtime->billing && billing_ready(runtime->billing), &all);
    health_part(&parts, "mariadb", runtime->db, runtime->db && mariadb_pool_ready(runtime->db),
                &all);
    health_part(&parts, "lua", runtime->generations,
                runtime->generations && lua_generations_number(runtime->generations) > 0, &all);
    buffer_printf(&out, "{\"service\":\"%s\",\"ready\":%s,\"draining\":%s%.*s}\n", runtime->service,
                  all ? "true" : "false", draining ? "true" : "false",
                  SLICE_FORMAT(buffer_slice(&parts)));
    http_respond(request, all ? 200 : 503, "application/json", buffer_slice(&out));
    buffer_free(&parts);
    buffer_free(&out);
}

bool health_answer(const struct runtime *runtime, bool draining, struct http_request *request) {
    if (slice_equal(request->path, SLICE("/healthz"))) {
        http_respond(request, 200, "text/plain; charset=utf-8", SLICE("ok\n"));
        return true;
    }
    if (slice_equal(request->path, SLICE("/readyz"))) {
        health_ready(runtime, draining, request);
        return true;
    }
    if (!slice_equal(request->path, SLICE("/metrics"))) return false;
    if (http_request_header(request, "x-forwarded-for").data) {
        http_respond_status(request, 404);
        return true;
    }
    struct buffer out = {0};
    metrics_export(&out);
    http_respond(request, 200, "text/plain; version=0.0.4; charset=utf-8", buffer_slice(&out));
    buffer_free(&out);
    return true;
}
