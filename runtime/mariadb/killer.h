#ifndef FOOTLIGHT_MARIADB_KILLER_H
#define FOOTLIGHT_MARIADB_KILLER_H
#include "mariadb/connection.h"

/// Carries out KILL QUERY for the connections of a pool, by a connection of its own that is made when
/// it is needed and closed when it has been idle for a while. Connections are answered by
/// mariadb_connection_killed(); when the server cannot be told, they are not, and break off by
/// themselves once their grace is over.
struct mariadb_killer;
struct mariadb_killer *mariadb_killer_new(struct loop *loop, const struct mariadb_options *options);
void mariadb_killer_free(struct mariadb_killer *killer);
void mariadb_killer_kill(struct mariadb_killer *killer, struct mariadb_connection *connection,
                         unsigned long thread);
/// The connection goes away: it is not answered any more.
void mariadb_killer_forget(struct mariadb_killer *killer,
                           const struct mariadb_connection *connection);
#endif
