#ifndef FOOTLIGHT_SERVER_SERVICE_H
#define FOOTLIGHT_SERVER_SERVICE_H
#include "server/config.h"

/// `footlight service NAME INSTANCE`: one service process, started by the supervisor with its
/// listening socket and its link as descriptors (process.h). Returns the exit code: 0 after a
/// drain, 78 for a wrong configuration (sysexits' EX_CONFIG).
int service_run(struct config *config, const char *name, unsigned instance);
#endif
