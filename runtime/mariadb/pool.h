#ifndef FOOTLIGHT_MARIADB_POOL_H
#define FOOTLIGHT_MARIADB_POOL_H
#include "base/slice.h"
#include "loop/loop.h"

/// MariaDB on the loop: a bounded pool of connections, each with a cache of prepared statements.
/// Connections are made when they are needed and kept; a lost one is replaced. Sessions are strict,
/// utf8mb4 and UTC. Everything is prepared and bound; there is no text interpolation.
///
/// When the server cannot be reached, requests fail at once with UNAVAILABLE until a probe (with
/// back-off, at most a second apart) gets through. When it is slow, a request waits at most
/// `wait_ms` for a connection and `query_ms` for its answer; the query is then killed through a
/// side connection, and the connection it ran on goes back only when the server has let go of it.
struct mariadb_options {
    const char *name;     ///< for logs and metrics: "main", "admin" …
    const char *socket;   ///< path; if set, host and port are not used
    const char *host;     ///< address or name (names are resolved off the loop)
    unsigned port;        ///< (3306)
    const char *user;     ///< NULL: the user of the process
    const char *password; ///< or NULL
    const char *database; ///< or NULL: none selected
    unsigned size;        ///< connections at most (10)
    unsigned queue;       ///< requests waiting for a connection at most (1000)
    unsigned wait_ms;     ///< … and for how long (2000)
    unsigned connect_ms;  ///< (2000)
    unsigned query_ms;    ///< default and upper limit of one statement (5000)
    unsigned statements;  ///< prepared statements kept by each connection (100)
    unsigned rows;        ///< default limit of one result (50,000)
    size_t bytes;         ///< … (32 MiB)
};

enum mariadb_type {
    MARIADB_NULL,
    MARIADB_INTEGER, ///< signed 64 bits; unsigned ones beyond that come as MARIADB_TEXT
    MARIADB_REAL,
    MARIADB_TEXT, ///< also DECIMAL, JSON, blobs, and times: "2026-11-24 10:00:00.123456"
};
struct mariadb_cell {
    enum mariadb_type type;
    union {
        int64_t integer;
        double real;
        struct slice text;
    };
};

/// Valid inside the callback only, unless it is taken.
struct mariadb_result {
    size_t columns, rows;
    const struct slice *names;          ///< [columns]
    const struct mariadb_cell *values; ///< [rows * columns], row by row
    uint64_t affected;                  ///< rows changed (not merely matched)
    uint64_t insert_id;
};

/// Inside the callback: makes the result the caller's, to be freed by mariadb_result_free.
struct mariadb_result *mariadb_result_take(const struct mariadb_result *result);
void mariadb_result_free(struct mariadb_result *result);

enum mariadb_kind {
    MARIADB_SQL = 1,     ///< the server refused the statement: code and sqlstate say why
    MARIADB_UNAVAILABLE, ///< not connected; nothing was sent
    MARIADB_BUSY,        ///< no connection came free in time, or too many wait; nothing was sent
    MARIADB_TIMEOUT,     ///< it was sent and took too long; whether it took effect is unknown
    MARIADB_LOST,        ///< the connection broke meanwhile; whether it took effect is unknown
    MARIADB_LIMIT,       ///< the result had more rows or bytes than allowed
};
struct mariadb_error {
    enum mariadb_kind kind;
    unsigned code;     ///< the server's (1062 …) or the client library's; 0 if neither
    char sqlstate[6];  ///< "23000"; "HY000" where there is none
    char message[512]; ///< for all kinds but SQL it starts with the kind's name: "TIMEOUT …"
};
static inline bool mariadb_error_retryable(const struct mariadb_error *e) {
    return e->kind == MARIADB_SQL && (e->code == 1213 || e->code == 1205 || e->code == 1020);
}

/// Exactly one of result and error is set. Never called inside the call that asked for it.
typedef void mariadb_done_fn(void *context, const struct mariadb_result *result,
                             const struct mariadb_error *error);

/// Limits of one statement; 0 stands for the pool's.
struct mariadb_limits {
    unsigned milliseconds, rows;
    size_t bytes;
};

struct mariadb_pool;
struct mariadb_pool *mariadb_pool_new(struct loop *loop, const struct mariadb_options *options);
/// Callbacks of what is in flight come inside with LOST. Sessions must have been released.
void mariadb_pool_free(struct mariadb_pool *pool);
/// False while requests would fail with UNAVAILABLE. True before the first attempt.
bool mariadb_pool_ready(const struct mariadb_pool *pool);

/// Runs one statement on any connection. SQL and values are copied. Returns a handle for cancel.
uint64_t mariadb_query(struct mariadb_pool *pool, struct slice sql,
                       const struct mariadb_cell *values, size_t count,
                       const struct mariadb_limits *limits, mariadb_done_fn *done, void *context);
/// For results that are too large to hold: rows come in batches of `batch` by on_rows, each valid
/// inside the callback only (or taken), then the rest by `done`. Between two batches nothing is read
/// until mariadb_stream_next(), which may be called from the callback; whoever takes longer than
/// half a minute loses the rest. The limits count for each batch.
uint64_t mariadb_stream(struct mariadb_pool *pool, struct slice sql,
                        const struct mariadb_cell *values, size_t count,
                        const struct mariadb_limits *limits, unsigned batch,
                        void (*on_rows)(void *context, const struct mariadb_result *rows),
                        mariadb_done_fn *done, void *context);
void mariadb_stream_next(struct mariadb_pool *pool, uint64_t handle);
/// The callback of that request will not come. What already runs is killed behind the scenes.
/// A handle that is over does nothing.
void mariadb_pool_cancel(struct mariadb_pool *pool, uint64_t handle);

/// A connection of one's own, for transactions and locks. `session` belongs to the receiver, who
/// must release it.
struct mariadb_session;
typedef void mariadb_session_fn(void *context, struct mariadb_session *session,
                                const struct mariadb_error *error);
uint64_t mariadb_acquire(struct mariadb_pool *pool, unsigned limit_ms, mariadb_session_fn *done,
                         void *context);
/// As mariadb_query, on the session's connection; one at a time. When the connection was lost, this
/// and every later statement fail with LOST: a transaction never goes on elsewhere.
uint64_t mariadb_session_query(struct mariadb_session *session, struct slice sql,
                               const struct mariadb_cell *values, size_t count,
                               const struct mariadb_limits *limits, mariadb_done_fn *done,
                               void *context);
/// NULL once the pool was closed; the session can then only be released.
struct mariadb_pool *mariadb_session_pool(const struct mariadb_session *session);
bool mariadb_session_in_transaction(const struct mariadb_session *session);
/// Gives the connection back at any moment, waiting for nothing. A running statement is cancelled
/// (its callback does not come); an open transaction is rolled back before anyone else gets the
/// connection. `discard` closes it instead, which also drops its locks and session variables.
void mariadb_session_release(struct mariadb_session *session, bool discard);

struct mariadb_pool_figures {
    unsigned open, idle, connecting, waiting;
};
struct mariadb_pool_figures mariadb_pool_figures(const struct mariadb_pool *pool);
#endif
