#ifndef FOOTLIGHT_SERVER_PROCESS_H
#define FOOTLIGHT_SERVER_PROCESS_H
#include "server/config.h"
#include "server/link.h"

/// One service instance, as the supervisor sees it: it is started, restarted with back-off when it
/// dies, and reports what it is doing over its link.
struct process {
    struct list link;
    struct loop *loop;
    const struct config *config;
    const char *program; ///< argv[0], for process lists
    const char *service;
    unsigned instance;
    int listen_fd; ///< shared between the instances of a service, but for realtime; -1: none
    char address[128];
    uv_process_t handle;
    struct link *wire;
    struct timer restart;
    uint64_t started_ms, backoff_ms;
    int64_t exit_status;
    int exit_signal;
    unsigned restarts;
    bool running, stopping;
    struct buffer report; ///< the last JSON object that it sent; empty before it is ready
    bool asked;           ///< its next report answers a question
    void (*on_answer)(struct process *process); ///< an asked process reported, or died
    void (*on_end)(struct process *process);    ///< it ended while stopping
    void *owner;
};

enum { PROCESS_LISTEN_FD = 3, PROCESS_LINK_FD = 4 };

void process_init(struct process *process, struct loop *loop, const struct config *config);
void process_start(struct process *process);
/// No restart any more; the signal is sent if it runs. on_end follows if it does.
void process_stop(struct process *process, int number);
/// Sends a line ("status" or "reload"); on_answer follows. False if it is not there to be asked.
bool process_ask(struct process *process, struct slice question);
void process_free(struct process *process); ///< after its end, with its timer stopped
#endif
