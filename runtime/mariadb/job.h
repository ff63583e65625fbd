#ifndef FOOTLIGHT_MARIADB_JOB_H
#define FOOTLIGHT_MARIADB_JOB_H
#include "base/arena.h"
#include "base/list.h"
#include "mariadb/pool.h"

/// One statement on its way: what was asked, what came back, and who is told. Lives until the
/// connection has let go of it, which may be long after its asker was told (or went away): the
/// client library may still be reading the bound parameters.
struct mariadb_job {
    struct list link; ///< in the pool's queue
    struct timer wait;
    struct mariadb_pool *pool;
    unsigned *telling;
    uint64_t handle;

    struct slice sql;
    struct mariadb_cell *values;
    size_t count;
    struct mariadb_limits limits; ///< complete
    bool text;                    ///< not prepared: BEGIN, ROLLBACK, SET, KILL
    bool acquire;                 ///< no statement at all: wants a session

    bool told;     ///< the asker knows, or must not be called any more
    bool retried;  ///< prepared again once already
    uint64_t started_ns, asked_ns;
    struct arena memory;

    struct mariadb_result result;
    struct mariadb_cell *rows; ///< grows; `capacity` values
    size_t capacity;
    size_t bytes;
    struct mariadb_error error; ///< kind 0: none so far

    unsigned batch; ///< 0: the whole result at once
    void (*on_rows)(void *context, const struct mariadb_result *rows);

    mariadb_done_fn *done;
    mariadb_session_fn *session_done;
    struct mariadb_session *session; ///< what an `acquire` got
    void *context;
};

/// `telling` counts the callbacks that are under way.
struct mariadb_job *mariadb_job_new(struct mariadb_pool *pool, unsigned *telling, struct slice sql,
                                    const struct mariadb_cell *values, size_t count);
void mariadb_job_free(struct mariadb_job *job);
/// Tells the asker unless that was done before: the error if there is one, else the result.
void mariadb_job_tell(struct mariadb_job *job);

/// A stream's batch is full: hands it out and makes room for the next. What the statement was made of
/// (text and values) is gone then; it has been sent long ago.
void mariadb_job_hand_out(struct mariadb_job *job);

/// Makes room for a row and returns where its values go; NULL if it would be one too many (the
/// job's error is then set). Names must be set before.
struct mariadb_cell *mariadb_job_row(struct mariadb_job *job);
/// Bytes for a value of the result; NULL (and the error) past the limit.
char *mariadb_job_bytes(struct mariadb_job *job, size_t size);

void mariadb_error_set(struct mariadb_error *error, enum mariadb_kind kind, unsigned code,
                       const char *sqlstate, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
#endif
