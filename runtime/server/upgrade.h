#ifndef FOOTLIGHT_SERVER_UPGRADE_H
#define FOOTLIGHT_SERVER_UPGRADE_H
#include "loop/signals.h"
#include "server/process.h"

/// USR2: the program that now stands in our place takes over, in the same process and on the same
/// sockets. First it is tried (`help`, which reads the settings); one that does not run is refused,
/// and nothing changes. The old services stay children of the process and go on until the new ones
/// have reported; then they drain. So a new program whose services do not come up costs nothing
/// either.
enum { UPGRADE_SERVICES = 320 };

struct upgrade_old {
    pid_t pid;
    int wire; ///< our end of its link: while it is open, it serves
};

struct upgrade {
    struct loop *loop;
    const struct config *config;
    char **arguments;       ///< of main
    struct list *processes; ///< struct process
    struct signal_watch order, child;
    struct timer look;
    uint64_t began_ms;
    struct upgrade_old old[UPGRADE_SERVICES];
    unsigned old_count;
    bool draining, late, trying;
    uv_process_t trial;
};

/// Takes over what a program before us left, and waits for the next order. Call when the services
/// have been started.
void upgrade_open(struct upgrade *upgrade, struct loop *loop, const struct config *config,
                  char **arguments, struct list *processes);
void upgrade_close(struct upgrade *upgrade); ///< runs the loop while a trial runs
/// The listening socket for this address that a program before us had, or -1.
int upgrade_inherited(const char *address);
#endif
