#ifndef FOOTLIGHT_MARIADB_STATEMENTS_H
#define FOOTLIGHT_MARIADB_STATEMENTS_H
#include <mysql.h>

#include "base/hash.h"
#include "mariadb/job.h"

/// A prepared statement of one connection, with the plan by which its rows are read.
struct mariadb_statement {
    struct list link; ///< in the cache's list, most recently used first
    struct slice sql; ///< owned
    MYSQL_STMT *handle;
    size_t columns;
    struct mariadb_column *plan; ///< [columns]
    MYSQL_BIND *output;          ///< [columns]
    MYSQL_BIND *input;           ///< [parameters], points into the job
    size_t parameters;
};

/// Bounded, least recently used goes first. Server-side handles are closed by the connection,
/// which can wait; the cache only says which.
struct mariadb_statements {
    struct hash table;
    struct list recent;
    size_t limit;
};

void mariadb_statements_init(struct mariadb_statements *cache, size_t limit);
/// Frees the memory of all; the connection must be closed already, so that nothing is sent.
void mariadb_statements_free(struct mariadb_statements *cache);
struct mariadb_statement *mariadb_statements_get(struct mariadb_statements *cache,
                                                 struct slice sql);
/// The one that must go before another may come, already taken out of the cache; or NULL.
struct mariadb_statement *mariadb_statements_evict(struct mariadb_statements *cache);
struct mariadb_statement *mariadb_statement_new(MYSQL *mysql, struct slice sql);
void mariadb_statements_put(struct mariadb_statements *cache, struct mariadb_statement *statement);
void mariadb_statements_remove(struct mariadb_statements *cache,
                               struct mariadb_statement *statement);
/// Frees the memory but for the handle, which must be closed by now.
void mariadb_statement_free(struct mariadb_statement *statement);

/// Binds the job's values. False, with the job's error, if their number is wrong.
bool mariadb_statement_bind(struct mariadb_statement *statement, struct mariadb_job *job);
/// After execute: prepares to read rows (sets the job's columns). False on a client error.
bool mariadb_statement_expect(struct mariadb_statement *statement, struct mariadb_job *job);
/// Gives the job the names of the columns; _expect does so for the first batch.
void mariadb_statement_names(struct mariadb_statement *statement, struct mariadb_job *job);
/// After a fetch: copies the current row into the job. False if a limit was passed (job's error).
bool mariadb_statement_row(struct mariadb_statement *statement, struct mariadb_job *job);
#endif
