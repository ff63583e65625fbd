#ifndef FOOTLIGHT_SERVER_ASSEMBLY_H
#define FOOTLIGHT_SERVER_ASSEMBLY_H
#include "lua/runtime.h"
#include "server/config.h"

/// Which rooms a service lives in. The realtime, hooks and media services have no MariaDB: not by
/// configuration but because nothing here opens one for them.
struct service_kind {
    const char *name, *entry;
    bool db, money, subscriber;
    bool web, hub, hooks, media; ///< what answers its requests
};
const struct service_kind *service_kind_find(const char *name); ///< NULL if there is none

/// Puts the parts of one process together and takes them apart again.
struct assembly {
    struct runtime runtime;
    const struct service_kind *kind;
    char boot[64]; ///< the nginx that runs, see streaming.h
    unsigned parts_left;
    void (*drained)(void *context);
    void *context;
};

/// Makes clients, billing, hub and streaming as the kind says, wires them, and loads the Lua
/// entry. False (with a logged reason) if a setting is wrong; a Lua error is not that: it is in
/// lua_generations_error, and reported.
bool assembly_open(struct assembly *assembly, struct loop *loop, struct config *config,
                   const struct service_kind *kind, const char *entry);
/// Tells sockets to come back elsewhere and lets sessions go; `drained` when all have.
void assembly_drain(struct assembly *assembly, void (*drained)(void *context), void *context);
void assembly_close(struct assembly *assembly);
#endif
