#ifndef FOOTLIGHT_MARIADB_CONNECTION_H
#define FOOTLIGHT_MARIADB_CONNECTION_H
#include "mariadb/job.h"
#include "mariadb/statements.h"

/// One connection: drives the client library's suspended calls from a poll handle and runs one job
/// at a time. It knows no pool; its owner is told of everything by the functions below, which are
/// called from the loop, never inside a call of the owner (mariadb_connection_free excepted).
struct mariadb_connection;

struct mariadb_connection_owner {
    void (*on_up)(struct mariadb_connection *connection);
    /// The job is over and the connection free for the next one. The job is the owner's again.
    void (*on_done)(struct mariadb_connection *connection, struct mariadb_job *job);
    /// The connection is of no use any more; the owner must free it. `job` (may be NULL) is the
    /// owner's again; its error is set. `error` says why.
    void (*on_lost)(struct mariadb_connection *connection, struct mariadb_job *job,
                    const struct mariadb_error *error);
    /// The running job is past its limit, passed a limit of size or was abandoned: have the server
    /// stop it (KILL QUERY, by another connection), then call mariadb_connection_killed().
    void (*on_kill)(struct mariadb_connection *connection, unsigned long thread);
};

struct mariadb_connection {
    struct list link;                    ///< the owner's
    struct mariadb_session *session;     ///< the owner's
    bool discard;                        ///< the owner's
    const struct mariadb_connection_owner *owner;
    void *data; ///< the owner's

    struct loop *loop;
    const struct mariadb_options *options;
    MYSQL *mysql;
    unsigned long thread;
    uv_poll_t *poll;
    int fd, watched; ///< what the library waits for
    int polled;      ///< events that the poll handle is armed for; 0: none
    struct deferred start;
    struct timer limit;
    const struct connection_call *call; ///< the call under way; NULL: none
    enum { CONNECTION_CONNECTING, CONNECTION_IDLE, CONNECTION_RUNNING } state;
    bool suspended;
    bool killing;    ///< an order to kill is on its way
    bool stopped;    ///< one was carried out, and its blow may still be to come
    bool over;       ///< the statement ended while the order was on its way
    unsigned orders; ///< to kill the running statement
    bool paused;  ///< a stream's batch was handed out and the next one not asked for
    bool goes_on; ///< … it was: the next turn fetches
    struct connection_resolve *resolve;
    char address[64];

    struct mariadb_statements statements;
    struct mariadb_statement *statement; ///< of the running job
    struct mariadb_statement *closing;
    struct mariadb_job *job;
    int answer;        ///< where the library leaves the result of a call
    my_bool answer_flag;
    MYSQL *answer_mysql;
};

/// Begins to connect; on_up or on_lost follows. Everything in options must outlive it.
struct mariadb_connection *mariadb_connection_new(struct loop *loop,
                                                  const struct mariadb_options *options,
                                                  const struct mariadb_connection_owner *owner,
                                                  void *data, unsigned attempt);
/// Closes at once, whatever is under way; calls nobody. A running job is the caller's again.
void mariadb_connection_free(struct mariadb_connection *connection);
/// Runs a job on an idle connection; on_done or on_lost follows. The asker is told as soon as there
/// is an answer or the limit has passed, which may be before on_done.
void mariadb_connection_run(struct mariadb_connection *connection, struct mariadb_job *job);
/// The running job is a stream whose batch has been handed out: fetch the next one.
void mariadb_connection_go_on(struct mariadb_connection *connection);
/// Stops the running job as soon as the server can be made to. Its asker is not called any more.
void mariadb_connection_abandon(struct mariadb_connection *connection);
/// The owner's answer to on_kill: the order was carried out (or could not be).
void mariadb_connection_killed(struct mariadb_connection *connection);
bool mariadb_connection_in_transaction(const struct mariadb_connection *connection);
#endif
