#ifndef FOOTLIGHT_SERVER_HEALTH_H
#define FOOTLIGHT_SERVER_HEALTH_H
#include "http/server.h"
#include "lua/runtime.h"

/// What every service answers before its own handler sees a request:
///   /healthz  200 as long as the loop turns
///   /readyz   200 when all that the service needs is there, else 503; JSON either way
///   /metrics  Prometheus text; 404 for anything that came through a proxy
/// True if it answered.
bool health_answer(const struct runtime *runtime, bool draining, struct http_request *request);
#endif
