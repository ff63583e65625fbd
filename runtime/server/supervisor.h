#ifndef FOOTLIGHT_SERVER_SUPERVISOR_H
#define FOOTLIGHT_SERVER_SUPERVISOR_H
#include "server/config.h"

/// `footlight serve [SERVICE …]`: opens every listening socket, keeps one process alive for each
/// service instance with those sockets inherited, and answers `footlight status` and `reload`. It
/// does no other work, so that it has no reason to die. Returns the process's exit code.
///
/// Signals: HUP reloads every service; TERM and INT drain within drain_seconds, a second one ends
/// at once; USR2 starts the binary that now stands in its place on the same sockets, in this
/// process, and drains the services of the old one.
int supervisor_run(struct config *config, char **arguments, const char *const *services,
                   size_t count);

/// The services that exist, NULL-terminated.
extern const char *const supervisor_services[];
#endif
