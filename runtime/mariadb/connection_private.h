#ifndef FOOTLIGHT_MARIADB_CONNECTION_PRIVATE_H
#define FOOTLIGHT_MARIADB_CONNECTION_PRIVATE_H
#include "mariadb/connection.h"

// Shared by connection.c, which drives the calls and runs jobs, and connect.c, which gets a
// connection up.

/// One call of the client library that may suspend. `start` and `resume` return what it waits for
/// (0: it has ended), `ended` the call that comes next, NULL when nothing more is to be done.
struct connection_call {
    int (*start)(struct mariadb_connection *c);
    int (*resume)(struct mariadb_connection *c, int ready);
    const struct connection_call *(*ended)(struct mariadb_connection *c);
};

/// Starts the connection's call (ready 0) or resumes it, and goes on with what follows until
/// something must wait. The connection may be gone afterwards.
void connection_advance(struct mariadb_connection *c, int ready);
/// Has the loop wait for what the library waits for. False: there is no socket.
bool connection_watch(struct mariadb_connection *c, int mask);
void connection_drop_poll(struct mariadb_connection *c);
/// The last thing that is done with a connection: the owner hears of it and frees it.
void connection_report_lost(struct mariadb_connection *c, unsigned code, const char *message);
/// As above with the library's error; for `ended`: returns NULL.
const struct connection_call *connection_lost(struct mariadb_connection *c);

void connection_prepare(struct mariadb_connection *c, unsigned attempt); ///< options of the library
void connection_connect(struct mariadb_connection *c);
void connection_forget_resolve(struct mariadb_connection *c);
#endif
