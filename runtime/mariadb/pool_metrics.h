#ifndef FOOTLIGHT_MARIADB_POOL_METRICS_H
#define FOOTLIGHT_MARIADB_POOL_METRICS_H
#include "base/metrics.h"

/// What /metrics tells of a pool.
struct mariadb_metrics {
    struct metric *open, *idle, *waiting, *statements, *errors, *timeouts, *unavailable, *busy;
    struct metric *connects, *lost, *seconds, *wait_seconds;
};

void mariadb_metrics_make(struct mariadb_metrics *metrics, const char *pool);
#endif
