#include "mariadb/killer.h"

#include <stdio.h>

enum {
    ORDER_MS = 2500, ///< less than the grace that a connection gives
    IDLE_MS = 10000,
};

struct victim {
    struct list link;
    struct mariadb_connection *connection; ///< NULL: it went away meanwhile
    unsigned long thread;
};

struct mariadb_killer {
    struct loop *loop;
    struct mariadb_options options; ///< its texts are the pool's
    struct mariadb_connection *connection;
    bool up;
    struct list victims; ///< in order; the first is being dealt with
    struct timer idle;
    struct list dead; ///< connections to free at the end of the tick
    struct deferred bury;
    unsigned telling;
};

static void drop_first(struct mariadb_killer *killer) {
    struct victim *victim = list_first(&killer->victims, struct victim, link);
    list_remove(&victim->link);
    memory_free(victim);
}

static void next(struct mariadb_killer *killer) {
    if (!killer->up || killer->connection->state != CONNECTION_IDLE) return;
    while (!list_empty(&killer->victims)) {
        struct victim *victim = list_first(&killer->victims, struct victim, link);
        if (!victim->connection) {
            drop_first(killer);
            continue;
        }
        char sql[48];
        int size = snprintf(sql, sizeof(sql), "KILL QUERY %lu", victim->thread);
        struct mariadb_job *job =
            mariadb_job_new(NULL, &killer->telling, slice_make(sql, (size_t)size), NULL, 0);
        job->text = job->told = true;
        job->limits = (struct mariadb_limits){ORDER_MS, 1, 1};
        mariadb_connection_run(killer->connection, job);
        return;
    }
    loop_timer_start(killer->loop, &killer->idle, IDLE_MS);
}

static void on_up(struct mariadb_connection *c) {
    struct mariadb_killer *killer = c->data;
    killer->up = true;
    next(killer);
}

static void on_done(struct mariadb_connection *c, struct mariadb_job *job) {
    struct mariadb_killer *killer = c->data;
    mariadb_job_free(job); // 1094, no such thread: it is gone, which is as good
    if (!list_empty(&killer->victims)) {
        struct mariadb_connection *victim =
            list_first(&killer->victims, struct victim, link)->connection;
        drop_first(killer);
        if (victim) mariadb_connection_killed(victim);
    }
    next(killer);
}

static void on_lost(struct mariadb_connection *c, struct mariadb_job *job,
                    const struct mariadb_error *error) {
    (void)error;
    struct mariadb_killer *killer = c->data;
    if (job) mariadb_job_free(job);
    list_push_back(&killer->dead, &c->link);
    loop_defer(killer->loop, &killer->bury);
    killer->connection = NULL;
    killer->up = false;
    loop_timer_stop(killer->loop, &killer->idle);
    while (!list_empty(&killer->victims)) drop_first(killer);
}

static void on_kill(struct mariadb_connection *c, unsigned long thread) {
    // The order to kill took too long itself, and there is nobody to stop it with.
    (void)c;
    (void)thread;
}

static const struct mariadb_connection_owner owner = {on_up, on_done, on_lost, on_kill};

static void on_idle(struct timer *timer) {
    struct mariadb_killer *killer = container_of(timer, struct mariadb_killer, idle);
    if (!killer->connection || !list_empty(&killer->victims)) return;
    mariadb_connection_free(killer->connection);
    killer->connection = NULL;
    killer->up = false;
}

static void on_bury(struct deferred *deferred) {
    struct mariadb_killer *killer = container_of(deferred, struct mariadb_killer, bury);
    while (!list_empty(&killer->dead))
        mariadb_connection_free(list_first(&killer->dead, struct mariadb_connection, link));
}

void mariadb_killer_kill(struct mariadb_killer *killer, struct mariadb_connection *connection,
                         unsigned long thread) {
    struct victim *victim = memory_zero(1, sizeof(*victim));
    list_init(&victim->link);
    victim->connection = connection;
    victim->thread = thread;
    list_push_back(&killer->victims, &victim->link);
    loop_timer_stop(killer->loop, &killer->idle);
    if (!killer->connection)
        killer->connection =
            mariadb_connection_new(killer->loop, &killer->options, &owner, killer, 0);
    else
        next(killer);
}

void mariadb_killer_forget(struct mariadb_killer *killer,
                           const struct mariadb_connection *connection) {
    list_each(&killer->victims, node) {
        struct victim *victim = container_of(node, struct victim, link);
        if (victim->connection == connection) victim->connection = NULL;
    }
}

struct mariadb_killer *mariadb_killer_new(struct loop *loop, const struct mariadb_options *options) {
    struct mariadb_killer *killer = memory_zero(1, sizeof(*killer));
    killer->loop = loop;
    killer->options = *options;
    killer->options.connect_ms = ORDER_MS;
    killer->options.database = NULL;
    list_init(&killer->victims);
    list_init(&killer->dead);
    timer_init(&killer->idle, on_idle);
    deferred_init(&killer->bury, on_bury);
    return killer;
}

void mariadb_killer_free(struct mariadb_killer *killer) {
    loop_timer_stop(killer->loop, &killer->idle);
    loop_undefer(&killer->bury);
    on_bury(&killer->bury);
    if (killer->connection) {
        struct mariadb_job *job = killer->connection->job;
        mariadb_connection_free(killer->connection);
        if (job) mariadb_job_free(job);
    }
    while (!list_empty(&killer->victims)) drop_first(killer);
    memory_free(killer);
}
