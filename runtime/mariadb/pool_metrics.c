#include "mariadb/pool_metrics.h"

#include <stdio.h>

void mariadb_metrics_make(struct mariadb_metrics *m, const char *pool) {
    char labels[80];
    snprintf(labels, sizeof(labels), "pool=\"%s\"", pool);
    m->open = metrics_gauge("footlight_mariadb_connections", "Connections, idle ones included",
                            labels);
    m->idle = metrics_gauge("footlight_mariadb_idle", "Connections that nobody uses", labels);
    m->waiting = metrics_gauge("footlight_mariadb_waiting", "Requests that wait for a connection",
                               labels);
    m->statements = metrics_counter("footlight_mariadb_statements_total", "Statements run", labels);
    m->errors = metrics_counter("footlight_mariadb_errors_total",
                                "Statements that failed or whose connection broke", labels);
    m->timeouts = metrics_counter("footlight_mariadb_timeouts_total",
                                  "Statements that took longer than their limit", labels);
    m->unavailable = metrics_counter("footlight_mariadb_unavailable_total",
                                     "Requests refused because the server is away", labels);
    m->busy = metrics_counter("footlight_mariadb_busy_total",
                              "Requests refused because no connection came free", labels);
    m->connects = metrics_counter("footlight_mariadb_connects_total", "Connections made", labels);
    m->lost = metrics_counter("footlight_mariadb_lost_total", "Connections that broke", labels);
    m->seconds = metrics_histogram("footlight_mariadb_statement_seconds",
                                   "From sending a statement to its whole answer", labels);
    m->wait_seconds = metrics_histogram("footlight_mariadb_wait_seconds",
                                        "From asking for a connection to getting one", labels);
}
