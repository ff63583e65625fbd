#include "mariadb/pool.h"

#include <errmsg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "mariadb/connection.h"
#include "mariadb/killer.h"
#include "mariadb/pool_metrics.h"

enum {
    PROBE_FIRST_MS = 50,
    PROBE_MOST_MS = 1000,
    ROLLBACK_MS = 2000,
};

struct mariadb_session {
    struct mariadb_pool *pool;
    struct mariadb_connection *connection; ///< NULL: it was lost
    struct list link;
};

struct mariadb_pool {
    struct loop *loop;
    struct mariadb_options options; ///< its texts are owned
    struct list idle;               ///< most recently used first: its caches are the warmest
    struct list others;             ///< connecting or busy
    struct list waiting;            ///< jobs, in order
    struct list refused;            ///< jobs that are told at the end of the tick
    struct hash queued;             ///< the jobs of these two, by their handles
    struct list returned;           ///< connections that are settled at the end of the tick
    struct list dead;               ///< connections that are freed at the end of the tick
    struct list sessions;
    unsigned open, connecting, waiters;
    unsigned attempts; ///< connections tried in vain since one succeeded
    bool down, freeing;
    unsigned telling; ///< callbacks under way: the pool must outlive them
    char reason[512]; ///< why it is down
    struct timer probe;
    struct deferred tidy;
    uint64_t last_handle;

    struct mariadb_killer *killer;
    struct mariadb_metrics metrics;
};

enum { TELL_US = 2000 }; ///< ten thousand that were refused at once are not told in one tick

static void serve(struct mariadb_pool *pool);
static void back_off(struct mariadb_pool *pool);

// ---------------------------------------------------------------- telling

static void count_outcome(struct mariadb_pool *pool, const struct mariadb_job *job) {
    switch (job->error.kind) {
    case MARIADB_SQL:
    case MARIADB_LOST:
    case MARIADB_LIMIT: metric_add(pool->metrics.errors, 1); break;
    case MARIADB_TIMEOUT: metric_add(pool->metrics.timeouts, 1); break;
    case MARIADB_UNAVAILABLE: metric_add(pool->metrics.unavailable, 1); break;
    case MARIADB_BUSY: metric_add(pool->metrics.busy, 1); break;
    }
}

static void end_job(struct mariadb_pool *pool, struct mariadb_job *job) {
    if (!job->acquire && job->started_ns) {
        metric_add(pool->metrics.statements, 1);
        metric_observe_us(pool->metrics.seconds,
                          (clock_monotonic_ns() - job->started_ns) / 1000);
    }
    count_outcome(pool, job);
    mariadb_job_tell(job);
    mariadb_job_free(job);
}

static struct slice key_of(const struct mariadb_job *job) {
    return slice_make(&job->handle, sizeof job->handle);
}

/// Has the job fail, but not before the caller has its handle.
static void refuse(struct mariadb_pool *pool, struct mariadb_job *job) {
    list_remove(&job->link);
    list_push_back(&pool->refused, &job->link);
    hash_put(&pool->queued, key_of(job), job);
    loop_defer(pool->loop, &pool->tidy);
}

static void refuse_unavailable(struct mariadb_pool *pool, struct mariadb_job *job) {
    mariadb_error_set(&job->error, MARIADB_UNAVAILABLE, 0, NULL, "%s", pool->reason);
    refuse(pool, job);
}

static void on_wait_over(struct timer *timer);

static void start_waiting(struct mariadb_pool *pool, struct mariadb_job *job, unsigned wait_ms) {
    timer_init(&job->wait, on_wait_over);
    loop_timer_start(pool->loop, &job->wait, wait_ms);
    hash_put(&pool->queued, key_of(job), job);
    pool->waiters++;
}

static void stop_waiting(struct mariadb_pool *pool, struct mariadb_job *job) {
    list_remove(&job->link);
    loop_timer_stop(pool->loop, &job->wait);
    hash_remove(&pool->queued, key_of(job));
    pool->waiters--;
}

// ---------------------------------------------------------------- connections

static void go_down(struct mariadb_pool *pool, const struct mariadb_error *error) {
    // Without the kind's name, which whoever is told gets in front anyway.
    const char *space = strchr(error->message, ' ');
    snprintf(pool->reason, sizeof(pool->reason), "%s", space ? space + 1 : error->message);
    if (!pool->down)
        log_warn("mariadb.down", LOG_TEXT("name", pool->options.name),
                 LOG_TEXT("error", pool->reason));
    pool->down = true;
    list_each(&pool->waiting, node) {
        struct mariadb_job *job = container_of(node, struct mariadb_job, link);
        stop_waiting(pool, job);
        refuse_unavailable(pool, job);
    }
}

static const struct mariadb_connection_owner pool_owner;

static void back_off(struct mariadb_pool *pool) {
    unsigned shift = pool->attempts > 5 ? 5 : pool->attempts;
    unsigned most = PROBE_FIRST_MS << shift;
    if (most > PROBE_MOST_MS) most = PROBE_MOST_MS;
    // Jitter: many processes lose the server at the same moment.
    loop_timer_start(pool->loop, &pool->probe, most / 2 + random_fast() % (most / 2));
}

static void open_connection(struct mariadb_pool *pool) {
    struct mariadb_connection *c = mariadb_connection_new(pool->loop, &pool->options, &pool_owner,
                                                          pool, pool->attempts);
    list_push_back(&pool->others, &c->link);
    pool->open++;
    pool->connecting++;
}

static void on_probe(struct timer *timer) {
    struct mariadb_pool *pool = container_of(timer, struct mariadb_pool, probe);
    if (pool->connecting == 0 && pool->open < pool->options.size) open_connection(pool);
}

static void retire(struct mariadb_pool *pool, struct mariadb_connection *c) {
    mariadb_killer_forget(pool->killer, c);
    if (c->session) c->session->connection = NULL;
    c->session = NULL;
    list_remove(&c->link);
    list_push_back(&pool->dead, &c->link);
    pool->open--;
    loop_defer(pool->loop, &pool->tidy);
}

/// A connection is free: unfinished business first, then whoever waits longest.
static void settle(struct mariadb_pool *pool, struct mariadb_connection *c) {
    if (c->session) return; // idle in somebody's hands
    if (c->discard) {
        retire(pool, c);
        serve(pool);
        return;
    }
    list_remove(&c->link);
    if (mariadb_connection_in_transaction(c)) {
        struct mariadb_job *job = mariadb_job_new(pool, &pool->telling, SLICE("ROLLBACK"), NULL, 0);
        job->text = job->told = true;
        job->limits = (struct mariadb_limits){ROLLBACK_MS, 1, 1};
        list_push_back(&pool->others, &c->link);
        mariadb_connection_run(c, job);
        return;
    }
    list_push_front(&pool->idle, &c->link);
    serve(pool);
}

static void come_up(struct mariadb_pool *pool) {
    if (pool->down || pool->attempts > 0)
        log_info("mariadb.up", LOG_TEXT("name", pool->options.name),
                 LOG_INT("attempts", pool->attempts + 1));
    pool->down = false;
    pool->attempts = 0;
    loop_timer_stop(pool->loop, &pool->probe);
}

static void on_up(struct mariadb_connection *c) {
    struct mariadb_pool *pool = c->data;
    pool->connecting--;
    metric_add(pool->metrics.connects, 1);
    come_up(pool);
    settle(pool, c);
}

static void on_done(struct mariadb_connection *c, struct mariadb_job *job) {
    struct mariadb_pool *pool = c->data;
    bool owned = c->session != NULL;
    if (pool->down) come_up(pool); // an answer, from a server that was frozen
    end_job(pool, job); // whoever owns the session may use or release it in here
    if (!owned) settle(pool, c);
}

static void on_wait_over(struct timer *timer);

/// The server is there and serves others of ours; it only takes no more connections.
static bool is_full(unsigned code) { return code == 1040 || code == 1203 || code == 1226; }

/// When a migration changes the number of columns under a prepared SELECT, the client library gives
/// the answer up half read (2057), and the connection with it. Nobody need notice.
static bool may_run_again(const struct mariadb_job *job, bool session) {
    return job->error.code == CR_NEW_STMT_METADATA && !session && !job->told && !job->retried &&
           slice_starts(job->sql, SLICE("SELECT"));
}

static void on_lost(struct mariadb_connection *c, struct mariadb_job *job,
                    const struct mariadb_error *error) {
    struct mariadb_pool *pool = c->data;
    bool was_connecting = c->state == CONNECTION_CONNECTING;
    bool session = c->session != NULL;
    retire(pool, c);
    if (was_connecting) {
        pool->connecting--;
        pool->attempts++;
        back_off(pool);
        if (pool->open == pool->connecting || !is_full(error->code)) go_down(pool, error);
    } else {
        metric_add(pool->metrics.lost, 1);
        log_warn("mariadb.lost", LOG_TEXT("name", pool->options.name),
                 LOG_TEXT("error", error->message));
    }
    if (job && may_run_again(job, session)) {
        job->retried = true;
        job->error = (struct mariadb_error){0};
        list_push_front(&pool->waiting, &job->link);
        start_waiting(pool, job, pool->options.wait_ms);
    } else if (job) {
        end_job(pool, job);
    }
    serve(pool);
}

/// What must not happen inside the calls that caused it, at the end of the tick.
static void tidy(struct mariadb_pool *pool, uint64_t until_ns) {
    while (!list_empty(&pool->refused)) {
        struct mariadb_job *job = list_first(&pool->refused, struct mariadb_job, link);
        list_remove(&job->link);
        hash_remove(&pool->queued, key_of(job));
        end_job(pool, job);
        if (clock_monotonic_ns() < until_ns) continue;
        loop_defer(pool->loop, &pool->tidy);
        break;
    }
    while (!list_empty(&pool->returned)) {
        struct mariadb_connection *c = list_first(&pool->returned, struct mariadb_connection, link);
        list_remove(&c->link);
        list_push_back(&pool->others, &c->link);
        settle(pool, c);
    }
    while (!list_empty(&pool->dead))
        mariadb_connection_free(list_first(&pool->dead, struct mariadb_connection, link));
}

static void destroy(struct mariadb_pool *pool);

static void on_tidy(struct deferred *deferred) {
    struct mariadb_pool *pool = container_of(deferred, struct mariadb_pool, tidy);
    if (pool->freeing) {
        destroy(pool);
        return;
    }
    tidy(pool, clock_monotonic_ns() + TELL_US * 1000);
    serve(pool);
}

// ---------------------------------------------------------------- handing out

static void hand_session(struct mariadb_pool *pool, struct mariadb_connection *c,
                         struct mariadb_job *job) {
    struct mariadb_session *session = memory_zero(1, sizeof(*session));
    session->pool = pool;
    session->connection = c;
    list_init(&session->link);
    list_push_back(&pool->sessions, &session->link);
    c->session = session;
    job->session = session;
    mariadb_job_tell(job);
    mariadb_job_free(job);
}

/// Connections to those who wait, in their order, and new connections for the rest.
static void serve(struct mariadb_pool *pool) {
    if (pool->freeing) return;
    while (!list_empty(&pool->waiting) && !list_empty(&pool->idle)) {
        struct mariadb_job *job = list_first(&pool->waiting, struct mariadb_job, link);
        struct mariadb_connection *c = list_first(&pool->idle, struct mariadb_connection, link);
        stop_waiting(pool, job);
        list_remove(&c->link);
        list_push_back(&pool->others, &c->link);
        metric_observe_us(pool->metrics.wait_seconds,
                          (clock_monotonic_ns() - job->asked_ns) / 1000);
        if (job->acquire) hand_session(pool, c, job);
        else mariadb_connection_run(c, job);
    }
    if (timer_active(&pool->probe)) return; // the last attempt failed: not before the next is due
    while (pool->connecting < pool->waiters && pool->open < pool->options.size)
        open_connection(pool);
}

static void on_wait_over(struct timer *timer) {
    struct mariadb_job *job = container_of(timer, struct mariadb_job, wait);
    struct mariadb_pool *pool = job->pool;
    stop_waiting(pool, job);
    mariadb_error_set(&job->error, MARIADB_BUSY, 0, NULL,
                      "no connection came free in time (%u of %u in use, %u wait)", pool->open,
                      pool->options.size, pool->waiters);
    end_job(pool, job);
}

/// Runs it on an idle connection or queues it; others are served at the end of the tick only, for
/// that may call them back.
static uint64_t submit(struct mariadb_pool *pool, struct mariadb_job *job, unsigned wait_ms) {
    job->handle = ++pool->last_handle;
    if (pool->freeing) {
        mariadb_error_set(&job->error, MARIADB_LOST, 0, NULL, "the pool is being closed");
        refuse(pool, job);
    } else if (pool->down) {
        // Idle connections that are left prove nothing: those to a frozen server look the same.
        refuse_unavailable(pool, job);
    } else if (!job->acquire && pool->waiters == 0 && !list_empty(&pool->idle)) {
        struct mariadb_connection *c = list_first(&pool->idle, struct mariadb_connection, link);
        list_remove(&c->link);
        list_push_back(&pool->others, &c->link);
        mariadb_connection_run(c, job);
    } else if (pool->waiters >= pool->options.queue) {
        mariadb_error_set(&job->error, MARIADB_BUSY, 0, NULL, "%u requests wait for a connection",
                          pool->waiters);
        refuse(pool, job);
    } else {
        list_push_back(&pool->waiting, &job->link);
        start_waiting(pool, job,
                      wait_ms < pool->options.wait_ms ? wait_ms : pool->options.wait_ms);
        loop_defer(pool->loop, &pool->tidy);
    }
    return job->handle;
}

static struct mariadb_limits complete(const struct mariadb_pool *pool,
                                      const struct mariadb_limits *limits) {
    const struct mariadb_options *o = &pool->options;
    struct mariadb_limits all = limits ? *limits : (struct mariadb_limits){0};
    if (all.milliseconds == 0 || all.milliseconds > o->query_ms) all.milliseconds = o->query_ms;
    if (all.rows == 0) all.rows = o->rows;
    if (all.bytes == 0) all.bytes = o->bytes;
    return all;
}

uint64_t mariadb_query(struct mariadb_pool *pool, struct slice sql,
                       const struct mariadb_cell *values, size_t count,
                       const struct mariadb_limits *limits, mariadb_done_fn *done, void *context) {
    struct mariadb_job *job = mariadb_job_new(pool, &pool->telling, sql, values, count);
    job->limits = complete(pool, limits);
    job->done = done;
    job->context = context;
    return submit(pool, job, job->limits.milliseconds);
}

uint64_t mariadb_stream(struct mariadb_pool *pool, struct slice sql,
                        const struct mariadb_cell *values, size_t count,
                        const struct mariadb_limits *limits, unsigned batch,
                        void (*on_rows)(void *context, const struct mariadb_result *rows),
                        mariadb_done_fn *done, void *context) {
    struct mariadb_job *job = mariadb_job_new(pool, &pool->telling, sql, values, count);
    job->limits = complete(pool, limits);
    if (batch > job->limits.rows) batch = job->limits.rows;
    job->batch = batch ? batch : 1;
    job->on_rows = on_rows;
    job->done = done;
    job->context = context;
    return submit(pool, job, job->limits.milliseconds);
}

static struct mariadb_connection *find_running(struct mariadb_pool *pool, uint64_t handle) {
    list_each(&pool->others, node) {
        struct mariadb_connection *c = container_of(node, struct mariadb_connection, link);
        if (c->job && c->job->handle == handle) return c;
    }
    return NULL;
}

void mariadb_stream_next(struct mariadb_pool *pool, uint64_t handle) {
    struct mariadb_connection *c = find_running(pool, handle);
    if (c) mariadb_connection_go_on(c);
}

uint64_t mariadb_acquire(struct mariadb_pool *pool, unsigned limit_ms, mariadb_session_fn *done,
                         void *context) {
    struct mariadb_job *job = mariadb_job_new(pool, &pool->telling, (struct slice){0}, NULL, 0);
    job->acquire = true;
    job->session_done = done;
    job->context = context;
    return submit(pool, job, limit_ms ? limit_ms : pool->options.wait_ms);
}

void mariadb_pool_cancel(struct mariadb_pool *pool, uint64_t handle) {
    if (handle == 0) return;
    struct mariadb_job *job = hash_get(&pool->queued, slice_make(&handle, sizeof handle));
    if (job && timer_active(&job->wait)) {
        stop_waiting(pool, job);
        mariadb_job_free(job);
        return;
    }
    if (job) {
        job->told = true;
        return;
    }
    struct mariadb_connection *c = find_running(pool, handle);
    if (c) mariadb_connection_abandon(c);
}

// ---------------------------------------------------------------- sessions

uint64_t mariadb_session_query(struct mariadb_session *session, struct slice sql,
                               const struct mariadb_cell *values, size_t count,
                               const struct mariadb_limits *limits, mariadb_done_fn *done,
                               void *context) {
    struct mariadb_pool *pool = session->pool;
    struct mariadb_job *job = mariadb_job_new(pool, &pool->telling, sql, values, count);
    job->limits = complete(pool, limits);
    job->done = done;
    job->context = context;
    job->handle = ++pool->last_handle;
    // What the protocol of prepared statements does not carry well, or at the price of a cache slot.
    job->text = count == 0 && (slice_starts(sql, SLICE("START TRANSACTION")) ||
                               slice_equal(sql, SLICE("COMMIT")) ||
                               slice_equal(sql, SLICE("ROLLBACK")));
    struct mariadb_connection *c = session->connection;
    if (!c) {
        mariadb_error_set(&job->error, MARIADB_LOST, 0, NULL,
                          "the connection of this transaction was lost");
        refuse(pool, job);
    } else if (c->state != CONNECTION_IDLE) {
        mariadb_error_set(&job->error, MARIADB_BUSY, 0, NULL,
                          "a session runs one statement at a time");
        refuse(pool, job);
    } else {
        mariadb_connection_run(c, job);
    }
    return job->handle;
}

struct mariadb_pool *mariadb_session_pool(const struct mariadb_session *session) {
    return session->pool;
}

bool mariadb_session_in_transaction(const struct mariadb_session *session) {
    return session->connection && mariadb_connection_in_transaction(session->connection);
}

void mariadb_session_release(struct mariadb_session *session, bool discard) {
    struct mariadb_pool *pool = session->pool; // NULL when it was closed meanwhile
    struct mariadb_connection *c = session->connection;
    list_remove(&session->link);
    memory_free(session);
    if (!c) return;
    c->session = NULL;
    c->discard = discard;
    if (c->state == CONNECTION_RUNNING) {
        mariadb_connection_abandon(c);
        return;
    }
    list_remove(&c->link);
    list_push_back(&pool->returned, &c->link);
    loop_defer(pool->loop, &pool->tidy);
}

// ---------------------------------------------------------------- life

static void on_kill(struct mariadb_connection *c, unsigned long thread) {
    struct mariadb_pool *pool = c->data;
    mariadb_killer_kill(pool->killer, c, thread);
}

static const struct mariadb_connection_owner pool_owner = {on_up, on_done, on_lost, on_kill};

static const char *own(const char *text) { return text ? memory_copy_string(text) : NULL; }

static void export_figures(void *context) {
    struct mariadb_pool *pool = context;
    struct mariadb_pool_figures figures = mariadb_pool_figures(pool);
    metric_set(pool->metrics.open, figures.open);
    metric_set(pool->metrics.idle, figures.idle);
    metric_set(pool->metrics.waiting, figures.waiting);
}

struct mariadb_pool *mariadb_pool_new(struct loop *loop, const struct mariadb_options *options) {
    struct mariadb_pool *pool = memory_zero(1, sizeof(*pool));
    struct mariadb_options *o = &pool->options;
    pool->loop = loop;
    *o = *options;
    o->name = own(options->name ? options->name : "main");
    o->socket = own(options->socket && *options->socket ? options->socket : NULL);
    o->host = own(options->host && *options->host ? options->host : "127.0.0.1");
    o->user = own(options->user);
    o->password = own(options->password);
    o->database = own(options->database);
    if (!o->port) o->port = 3306;
    if (!o->size) o->size = 10;
    if (!o->queue) o->queue = 1000;
    if (!o->wait_ms) o->wait_ms = 2000;
    if (!o->connect_ms) o->connect_ms = 2000;
    if (!o->query_ms) o->query_ms = 5000;
    if (!o->statements) o->statements = 100;
    if (!o->rows) o->rows = 50000;
    if (!o->bytes) o->bytes = (size_t)32 << 20;
    pool->killer = mariadb_killer_new(loop, o);
    list_init(&pool->idle);
    list_init(&pool->others);
    list_init(&pool->waiting);
    list_init(&pool->refused);
    list_init(&pool->returned);
    list_init(&pool->dead);
    list_init(&pool->sessions);
    timer_init(&pool->probe, on_probe);
    deferred_init(&pool->tidy, on_tidy);
    mariadb_metrics_make(&pool->metrics, o->name);
    metrics_on_export(export_figures, pool);
    return pool;
}

static void free_connections(struct mariadb_pool *pool, struct list *connections) {
    while (!list_empty(connections)) {
        struct mariadb_connection *c =
            list_first(connections, struct mariadb_connection, link);
        struct mariadb_job *job = c->job;
        c->job = NULL;
        // First the library lets go of the job's values, then the job may go.
        mariadb_connection_free(c);
        if (!job) continue;
        if (!job->error.kind)
            mariadb_error_set(&job->error, MARIADB_LOST, 0, NULL, "the pool was closed");
        end_job(pool, job);
    }
}

void mariadb_pool_free(struct mariadb_pool *pool) {
    if (!pool || pool->freeing) return;
    pool->freeing = true;
    // Lua closes its own connection as soon as the last answer has come, which is in a callback.
    if (pool->telling) loop_defer(pool->loop, &pool->tidy);
    else destroy(pool);
}

static void destroy(struct mariadb_pool *pool) {
    metrics_off_export(export_figures, pool);
    loop_timer_stop(pool->loop, &pool->probe);
    list_each(&pool->waiting, node) {
        struct mariadb_job *job = container_of(node, struct mariadb_job, link);
        stop_waiting(pool, job);
        mariadb_error_set(&job->error, MARIADB_LOST, 0, NULL, "the pool was closed");
        refuse(pool, job);
    }
    list_each(&pool->sessions, node) {
        struct mariadb_session *session = container_of(node, struct mariadb_session, link);
        list_remove(&session->link);
        session->connection = NULL;
        session->pool = NULL;
    }
    list_take_all(&pool->others, &pool->returned);
    tidy(pool, UINT64_MAX);
    free_connections(pool, &pool->idle);
    free_connections(pool, &pool->others);
    mariadb_killer_free(pool->killer);
    tidy(pool, UINT64_MAX);
    hash_free(&pool->queued);
    loop_undefer(&pool->tidy);
    memory_free((char *)pool->options.name);
    memory_free((char *)pool->options.socket);
    memory_free((char *)pool->options.host);
    memory_free((char *)pool->options.user);
    memory_free((char *)pool->options.password);
    memory_free((char *)pool->options.database);
    memory_free(pool);
}

bool mariadb_pool_ready(const struct mariadb_pool *pool) { return !pool->down; }

struct mariadb_pool_figures mariadb_pool_figures(const struct mariadb_pool *pool) {
    unsigned idle = 0;
    for (const struct list *node = pool->idle.next; node != &pool->idle; node = node->next) idle++;
    return (struct mariadb_pool_figures){pool->open, idle, pool->connecting, pool->waiters};
}
