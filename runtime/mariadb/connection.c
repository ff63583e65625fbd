#include "mariadb/connection_private.h"

#include <errmsg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    PAUSE_MS = 30000,     ///< between two batches of a stream; the server gives up after 60
    KILL_GRACE_MS = 3000, ///< for an order to kill, or its absorption; then the connection is broken off
    KILL_AGAIN_MS = 250,  ///< a statement that runs on after it was killed is killed again …
    KILL_ORDERS = 12,     ///< … so many times in all
    DRAIN_STEPS = 10000,  ///< a suspended call on a socket that was shut down ends long before
};

static const struct connection_call call_close;

// ---------------------------------------------------------------- waiting

static void free_poll(uv_handle_t *handle) { memory_free(handle); }

void connection_drop_poll(struct mariadb_connection *c) {
    if (!c->poll) return;
    uv_poll_stop(c->poll);
    c->poll->data = NULL;
    uv_close((uv_handle_t *)c->poll, free_poll);
    c->poll = NULL;
    c->polled = 0;
    c->fd = -1;
    c->watched = 0;
}

static void on_ready(uv_poll_t *poll, int status, int events) {
    struct mariadb_connection *c = poll->data;
    if (!c) return;
    if (!c->suspended) {
        // Nothing was asked: the server closed (stopped, or tired of the idle connection).
        connection_drop_poll(c);
        connection_report_lost(c, CR_SERVER_LOST, "closed by the server while idle");
        return;
    }
    int ready = 0;
    if (events & UV_READABLE) ready |= MYSQL_WAIT_READ;
    if (events & UV_WRITABLE) ready |= MYSQL_WAIT_WRITE;
    // On an error let the library make its system call, which then says what it is.
    if (status < 0) ready = c->watched & (MYSQL_WAIT_READ | MYSQL_WAIT_WRITE);
    if (status < 0) c->polled = 0; // libuv has disarmed it
    connection_advance(c, ready);
}

/// What the library waits for changes at every return, and so may the socket while connecting.
bool connection_watch(struct mariadb_connection *c, int mask) {
    int fd = mysql_get_socket(c->mysql);
    if (fd < 0) return false;
    if (c->poll && c->fd != fd) connection_drop_poll(c);
    if (!c->poll) {
        c->poll = memory_zero(1, sizeof(*c->poll));
        if (uv_poll_init(&c->loop->uv, c->poll, fd) < 0) {
            memory_free(c->poll);
            c->poll = NULL;
            return false;
        }
        c->poll->data = c;
        c->fd = fd;
    }
    int events = 0;
    if (mask & MYSQL_WAIT_READ) events |= UV_READABLE;
    if (mask & MYSQL_WAIT_WRITE) events |= UV_WRITABLE;
    if (mask & MYSQL_WAIT_EXCEPT) events |= UV_PRIORITIZED;
    c->watched = mask;
    // uv_poll_start takes the handle out and in again, which is two system calls for nothing.
    if (c->polled == events) return true;
    c->polled = events;
    return uv_poll_start(c->poll, events, on_ready) == 0;
}

/// Ends a suspended call without the server: the library reads the end of the stream. It must run
/// to its end, for its stack holds what nobody else could free.
static void drain(struct mariadb_connection *c) {
    if (!c->suspended) return;
    int fd = mysql_get_socket(c->mysql);
    if (fd >= 0) shutdown(fd, SHUT_RDWR);
    int mask = c->watched;
    for (int step = 0; mask && step < DRAIN_STEPS; step++)
        mask = c->call->resume(c, mask & (MYSQL_WAIT_READ | MYSQL_WAIT_WRITE));
    if (mask) log_error("mariadb.stuck", LOG_TEXT("name", c->options->name));
    else if (c->call == &call_close) c->closing->handle = NULL;
    c->suspended = false;
}

/// Goes on until a call must wait or nothing more is to be done. The connection may be gone when
/// `ended` returns NULL.
void connection_advance(struct mariadb_connection *c, int ready) {
    int mask = ready ? c->call->resume(c, ready) : c->call->start(c);
    for (;;) {
        if (mask) {
            c->suspended = true;
            if (connection_watch(c, mask)) return;
            c->watched = mask;
            drain(c);
        }
        c->suspended = false;
        const struct connection_call *next = c->call->ended(c);
        if (!next) return;
        c->call = next;
        mask = next->start(c);
    }
}

// ---------------------------------------------------------------- ends

static struct mariadb_job *take_job(struct mariadb_connection *c) {
    struct mariadb_job *job = c->job;
    c->job = NULL;
    return job;
}

/// The last thing that is done with a connection: the owner frees it in here.
void connection_report_lost(struct mariadb_connection *c, unsigned code, const char *message) {
    struct mariadb_error error = {0};
    bool connecting = c->state == CONNECTION_CONNECTING;
    mariadb_error_set(&error, connecting ? MARIADB_UNAVAILABLE : MARIADB_LOST, code, NULL,
                      "%s (%u)", message, code);
    loop_timer_stop(c->loop, &c->limit);
    loop_undefer(&c->start); // a job that was handed to it in this tick has not begun
    struct mariadb_job *job = take_job(c);
    if (job && !job->error.kind) job->error = error;
    c->owner->on_lost(c, job, &error);
}

const struct connection_call *connection_lost(struct mariadb_connection *c) {
    unsigned code = mysql_errno(c->mysql);
    char message[400];
    snprintf(message, sizeof(message), "%s", code ? mysql_error(c->mysql) : "connection lost");
    connection_report_lost(c, code ? code : CR_SERVER_LOST, message);
    return NULL;
}

static const struct connection_call call_absorb;

static const struct connection_call *job_over(struct mariadb_connection *c) {
    loop_timer_stop(c->loop, &c->limit);
    if (c->killing) {
        // The order to kill may still be on its way, and would hit the next statement.
        mariadb_job_tell(c->job);
        loop_timer_start(c->loop, &c->limit, KILL_GRACE_MS);
        c->over = true;
        return NULL;
    }
    c->orders = 0;
    if (c->stopped) {
        // It may also have come when the statement was over already: then this one takes the blow.
        c->stopped = false;
        loop_timer_start(c->loop, &c->limit, KILL_GRACE_MS);
        return &call_absorb;
    }
    c->state = CONNECTION_IDLE;
    c->statement = NULL;
    // The poll stays armed for reading: an idle connection that becomes readable is a dead one.
    if (!connection_watch(c, MYSQL_WAIT_READ)) return connection_lost(c);
    struct mariadb_job *job = take_job(c);
    c->owner->on_done(c, job);
    return NULL;
}

/// Is the connection of no use after this error?
static bool fatal(unsigned code) {
    return (code >= CR_MIN_ERROR && code < 3000) || code >= 5000 || code == 1053 || code == 1927 ||
           code == 4031;
}

/// Has the server stop what runs; what it still sends is read and dropped.
static void order_kill(struct mariadb_connection *c) {
    c->killing = true;
    c->orders++;
    mariadb_connection_go_on(c);
    loop_timer_start(c->loop, &c->limit, KILL_GRACE_MS);
    c->owner->on_kill(c, c->thread);
}

static void note_sql_error(struct mariadb_job *job, unsigned code, const char *sqlstate,
                           const char *message) {
    if (job->error.kind) return;
    if (code == 1969) { // max_statement_time
        mariadb_error_set(&job->error, MARIADB_TIMEOUT, code, sqlstate, "%s", message);
        return;
    }
    mariadb_error_set(&job->error, MARIADB_SQL, code, sqlstate, "%s", message);
}

// ---------------------------------------------------------------- the job: text statements

static int text_start(struct mariadb_connection *c) {
    return mysql_real_query_start(&c->answer, c->mysql, c->job->sql.data, c->job->sql.size);
}
static int text_resume(struct mariadb_connection *c, int ready) {
    return mysql_real_query_cont(&c->answer, c->mysql, ready);
}
static const struct connection_call *text_ended(struct mariadb_connection *c) {
    if (c->answer) {
        unsigned code = mysql_errno(c->mysql);
        if (fatal(code)) return connection_lost(c);
        note_sql_error(c->job, code, mysql_sqlstate(c->mysql), mysql_error(c->mysql));
    } else if (mysql_field_count(c->mysql) > 0) {
        return connection_lost(c); // only statements without a result are sent as text
    } else {
        c->job->result.affected = mysql_affected_rows(c->mysql);
    }
    return job_over(c);
}
static const struct connection_call call_text = {text_start, text_resume, text_ended};

static int absorb_start(struct mariadb_connection *c) {
    return mysql_real_query_start(&c->answer, c->mysql, "DO 0", 4);
}
static const struct connection_call *absorb_ended(struct mariadb_connection *c) {
    if (c->answer && fatal(mysql_errno(c->mysql))) return connection_lost(c);
    return job_over(c);
}
static const struct connection_call call_absorb = {absorb_start, text_resume, absorb_ended};

// ---------------------------------------------------------------- the job: prepared statements

static const struct connection_call call_prepare, call_execute, call_fetch, call_finish;

static const struct connection_call *statement_failed(struct mariadb_connection *c) {
    MYSQL_STMT *handle = c->statement->handle;
    unsigned code = mysql_stmt_errno(handle);
    if (fatal(code) || fatal(mysql_errno(c->mysql))) {
        unsigned which = code ? code : mysql_errno(c->mysql);
        char message[400];
        snprintf(message, sizeof(message), "%s",
                 code ? mysql_stmt_error(handle) : mysql_error(c->mysql));
        connection_report_lost(c, which, message);
        return NULL;
    }
    // 1243, 1615: the server has thrown the statement away, e.g. after too many changes of a table.
    if ((code == 1243 || code == 1615) && !c->job->retried && !c->job->told) {
        c->job->retried = true;
        mariadb_statements_remove(&c->statements, c->statement);
        c->closing = c->statement;
        c->statement = NULL;
        return &call_close;
    }
    note_sql_error(c->job, code, mysql_stmt_sqlstate(handle), mysql_stmt_error(handle));
    return &call_finish;
}

static int close_start(struct mariadb_connection *c) {
    return mysql_stmt_close_start(&c->answer_flag, c->closing->handle);
}
static int close_resume(struct mariadb_connection *c, int ready) {
    return mysql_stmt_close_cont(&c->answer_flag, c->closing->handle, ready);
}
static const struct connection_call *close_ended(struct mariadb_connection *c) {
    c->closing->handle = NULL;
    mariadb_statement_free(c->closing);
    c->closing = NULL;
    if (c->job->error.kind) return job_over(c);
    return &call_prepare;
}
static const struct connection_call call_close = {close_start, close_resume, close_ended};

static int prepare_start(struct mariadb_connection *c) {
    c->statement = mariadb_statement_new(c->mysql, c->job->sql);
    return mysql_stmt_prepare_start(&c->answer, c->statement->handle, c->job->sql.data,
                                    c->job->sql.size);
}
static int prepare_resume(struct mariadb_connection *c, int ready) {
    return mysql_stmt_prepare_cont(&c->answer, c->statement->handle, ready);
}
static const struct connection_call *prepare_ended(struct mariadb_connection *c) {
    if (c->answer) {
        MYSQL_STMT *handle = c->statement->handle;
        unsigned code = mysql_stmt_errno(handle);
        if (!fatal(code))
            note_sql_error(c->job, code, mysql_stmt_sqlstate(handle), mysql_stmt_error(handle));
        char message[400];
        snprintf(message, sizeof(message), "%s", mysql_stmt_error(handle));
        c->closing = c->statement;
        c->statement = NULL;
        if (fatal(code)) {
            connection_report_lost(c, code, message);
            return NULL;
        }
        return &call_close;
    }
    mariadb_statements_put(&c->statements, c->statement);
    return &call_execute;
}
static const struct connection_call call_prepare = {prepare_start, prepare_resume, prepare_ended};

static int execute_start(struct mariadb_connection *c) {
    c->answer = 0;
    if (!mariadb_statement_bind(c->statement, c->job)) {
        c->answer = -1;
        return 0;
    }
    return mysql_stmt_execute_start(&c->answer, c->statement->handle);
}
static int execute_resume(struct mariadb_connection *c, int ready) {
    return mysql_stmt_execute_cont(&c->answer, c->statement->handle, ready);
}
static const struct connection_call *execute_ended(struct mariadb_connection *c) {
    MYSQL_STMT *handle = c->statement->handle;
    if (c->answer == -1) return job_over(c); // wrong number of values: nothing was sent
    if (c->answer) return statement_failed(c);
    if (mysql_stmt_field_count(handle) > 0) {
        if (!mariadb_statement_expect(c->statement, c->job)) return statement_failed(c);
        return &call_fetch;
    }
    c->job->result.affected = mysql_stmt_affected_rows(handle);
    c->job->result.insert_id = mysql_stmt_insert_id(handle);
    return &call_finish;
}
static const struct connection_call call_execute = {execute_start, execute_resume, execute_ended};

/// Stops reading, which in the end stops the server, until the next batch is asked for.
static void pause_stream(struct mariadb_connection *c) {
    uv_poll_stop(c->poll);
    c->polled = 0;
    c->paused = true;
    loop_timer_start(c->loop, &c->limit, PAUSE_MS);
    mariadb_job_hand_out(c->job);
    mariadb_statement_names(c->statement, c->job);
}

static int fetch_start(struct mariadb_connection *c) {
    return mysql_stmt_fetch_start(&c->answer, c->statement->handle);
}
static int fetch_resume(struct mariadb_connection *c, int ready) {
    return mysql_stmt_fetch_cont(&c->answer, c->statement->handle, ready);
}
static const struct connection_call *fetch_ended(struct mariadb_connection *c) {
    if (c->answer == MYSQL_NO_DATA) return &call_finish;
    if (c->answer != 0 && c->answer != MYSQL_DATA_TRUNCATED) return statement_failed(c);
    // Nobody wants the rest, but it must be read to its end: after mysql_stmt_free_result in the
    // middle of a result (seen with Connector/C 3.3) the next execution waits for it once more.
    if (c->job->told) return &call_fetch;
    if (mariadb_statement_row(c->statement, c->job)) {
        if (c->job->batch == 0 || c->job->result.rows < c->job->batch) return &call_fetch;
        pause_stream(c);
        return NULL;
    }
    // Too much: tell now, and let the server stop sending what would only be read to be dropped.
    mariadb_job_tell(c->job);
    if (!c->killing && !c->stopped) order_kill(c);
    return &call_fetch;
}
static const struct connection_call call_fetch = {fetch_start, fetch_resume, fetch_ended};

static int finish_start(struct mariadb_connection *c) {
    return mysql_stmt_free_result_start(&c->answer_flag, c->statement->handle);
}
static int finish_resume(struct mariadb_connection *c, int ready) {
    return mysql_stmt_free_result_cont(&c->answer_flag, c->statement->handle, ready);
}
static const struct connection_call *finish_ended(struct mariadb_connection *c) {
    unsigned code = mysql_errno(c->mysql);
    if (c->answer_flag && fatal(code)) return connection_lost(c);
    // A procedure's further results: nothing here asks for them, and they would answer the next.
    if (c->mysql->server_status & SERVER_MORE_RESULTS_EXIST) {
        mariadb_error_set(&c->job->error, MARIADB_SQL, CR_COMMANDS_OUT_OF_SYNC, NULL,
                          "a statement may have one result only");
        connection_report_lost(c, CR_COMMANDS_OUT_OF_SYNC, "more than one result");
        return NULL;
    }
    return job_over(c);
}
static const struct connection_call call_finish = {finish_start, finish_resume, finish_ended};

// ---------------------------------------------------------------- life

static void on_start(struct deferred *deferred) {
    struct mariadb_connection *c = container_of(deferred, struct mariadb_connection, start);
    if (c->state != CONNECTION_CONNECTING) {
        if (c->goes_on) {
            c->goes_on = false;
            c->call = &call_fetch;
        } else if (c->job->text) {
            c->call = &call_text;
        } else if ((c->statement = mariadb_statements_get(&c->statements, c->job->sql))) {
            c->call = &call_execute;
        } else if ((c->closing = mariadb_statements_evict(&c->statements))) {
            c->call = &call_close;
        } else {
            c->call = &call_prepare;
        }
    } else {
        connection_connect(c);
        return;
    }
    connection_advance(c, 0);
}

static void on_limit(struct timer *timer) {
    struct mariadb_connection *c = container_of(timer, struct mariadb_connection, limit);
    if (c->state == CONNECTION_CONNECTING) {
        drain(c);
        connection_drop_poll(c);
        connection_report_lost(c, CR_CONN_HOST_ERROR, "no answer within the time limit for connecting");
    } else if (!c->killing && !c->stopped) {
        mariadb_error_set(&c->job->error, MARIADB_TIMEOUT, 0, NULL, "no answer within %u ms",
                          c->job->limits.milliseconds);
        mariadb_job_tell(c->job);
        order_kill(c);
    } else if (c->stopped && !c->killing && c->orders < KILL_ORDERS) {
        // The order fell into the gap between two commands (say, preparing and executing), where the
        // server forgets it.
        order_kill(c);
    } else {
        // Even the order to kill went unheard: the server is stuck or frozen.
        drain(c);
        connection_drop_poll(c);
        connection_report_lost(c, CR_SERVER_LOST, "broken off: the server did not stop the statement");
    }
}

struct mariadb_connection *mariadb_connection_new(struct loop *loop,
                                                  const struct mariadb_options *options,
                                                  const struct mariadb_connection_owner *owner,
                                                  void *data, unsigned attempt) {
    struct mariadb_connection *c = memory_zero(1, sizeof(*c));
    list_init(&c->link);
    c->loop = loop;
    c->options = options;
    c->owner = owner;
    c->data = data;
    c->fd = -1;
    c->state = CONNECTION_CONNECTING;
    mariadb_statements_init(&c->statements, options->statements);
    c->mysql = mysql_init(NULL);
    if (!c->mysql) abort();
    connection_prepare(c, attempt);
    timer_init(&c->limit, on_limit);
    loop_timer_start(loop, &c->limit, options->connect_ms);
    deferred_init(&c->start, on_start);
    loop_defer(loop, &c->start);
    return c;
}

void mariadb_connection_free(struct mariadb_connection *c) {
    loop_undefer(&c->start);
    loop_timer_stop(c->loop, &c->limit);
    drain(c);
    connection_drop_poll(c);
    connection_forget_resolve(c);
    list_remove(&c->link);
    // A peer that does not read must not hold up the farewell: five bytes fit, or the socket has
    // been shut down above.
    mysql_close(c->mysql);
    if (c->closing) {
        if (c->closing->handle) mysql_stmt_close(c->closing->handle);
        mariadb_statement_free(c->closing);
    }
    if (c->statement && list_empty(&c->statement->link)) { // was still being prepared
        mysql_stmt_close(c->statement->handle);
        mariadb_statement_free(c->statement);
    }
    mariadb_statements_free(&c->statements);
    memory_free(c);
}

void mariadb_connection_run(struct mariadb_connection *c, struct mariadb_job *job) {
    c->job = job;
    c->state = CONNECTION_RUNNING;
    job->started_ns = clock_monotonic_ns();
    loop_timer_start(c->loop, &c->limit, job->limits.milliseconds);
    loop_defer(c->loop, &c->start);
}

void mariadb_connection_go_on(struct mariadb_connection *c) {
    if (!c->paused) return;
    c->paused = false;
    c->goes_on = true;
    if (!c->job->told) loop_timer_start(c->loop, &c->limit, c->job->limits.milliseconds);
    loop_defer(c->loop, &c->start);
}

void mariadb_connection_abandon(struct mariadb_connection *c) {
    if (!c->job || c->job->told) return;
    c->job->told = true;
    if (!c->killing && !c->stopped) order_kill(c);
}

void mariadb_connection_killed(struct mariadb_connection *c) {
    if (!c->killing) return;
    c->killing = false;
    c->stopped = true;
    if (!c->over) { // the statement itself is still to end
        loop_timer_start(c->loop, &c->limit, KILL_AGAIN_MS);
        return;
    }
    c->over = false;
    const struct connection_call *next = job_over(c);
    if (!next) return;
    c->call = next;
    connection_advance(c, 0);
}

bool mariadb_connection_in_transaction(const struct mariadb_connection *c) {
    return (c->mysql->server_status & SERVER_STATUS_IN_TRANS) != 0;
}
