#include "server/supervisor.h"

#include "base/log.h"
#include "base/memory.h"
#include "loop/listener.h"
#include "loop/signals.h"
#include "server/control_socket.h"
#include "server/process.h"
#include "server/upgrade.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const supervisor_services[] = {"web", "realtime", "hooks", "media", "jobs", NULL};

enum {
    BACKLOG = 1024,
    INSTANCES = 64,     ///< of one service at most
    INSTANCE_PORTS = 10 ///< realtime instance n listens (n - 1) × 10 ports further up
};

struct supervisor {
    struct loop loop;
    struct config *config;
    char **arguments;
    struct list processes;
    struct control_socket *control;
    struct signal_watch hup, term, interrupt;
    struct timer deadline;
    struct upgrade upgrade;
    unsigned running;
    bool stopping;
};

static void supervisor_on_answer(struct process *process) {
    control_socket_answered(((struct supervisor *)process->owner)->control);
}

static void supervisor_on_end(struct process *process) {
    struct supervisor *supervisor = process->owner;
    if (--supervisor->running == 0) loop_stop(&supervisor->loop);
}

// The address of an instance: realtime's differ by the port, since nginx picks one by the session.
static bool supervisor_address(const char *base, unsigned instance, bool own, char *out,
                               size_t size) {
    if (!own || instance == 1) return (size_t)snprintf(out, size, "%s", base) < size;
    const char *colon = strrchr(base, ':');
    uint64_t port;
    if (!colon || !slice_to_u64(slice_of(colon + 1), &port)) return false;
    return (size_t)snprintf(out, size, "%.*s:%u", (int)(colon - base), base,
                            (unsigned)port + (instance - 1) * INSTANCE_PORTS) < size;
}

static bool supervisor_add(struct supervisor *supervisor, const char *service) {
    const struct settings *settings = supervisor->config->settings;
    char key[64];
    snprintf(key, sizeof key, "listen.%s", service);
    const char *base = settings_text(settings, key, NULL);
    snprintf(key, sizeof key, "services.%s.count", service);
    int64_t count = settings_integer(settings, key, 1);
    if (count < 0 || count > INSTANCES) {
        fprintf(stderr, "footlight: %s must be 0 to %d\n", key, INSTANCES);
        return false;
    }
    bool own = strcmp(service, "realtime") == 0;
    int shared = -1;
    for (unsigned instance = 1; instance <= count; instance++) {
        struct process *process = memory_alloc(sizeof *process);
        process_init(process, &supervisor->loop, supervisor->config);
        process->program = supervisor->arguments[0];
        process->service = service;
        process->instance = instance;
        process->on_answer = supervisor_on_answer;
        process->on_end = supervisor_on_end;
        process->owner = supervisor;
        list_push_back(&supervisor->processes, &process->link);
        if (!base) continue;
        if (!supervisor_address(base, instance, own, process->address, sizeof process->address)) {
            fprintf(stderr, "footlight: listen.%s is not an address: %s\n", service, base);
            return false;
        }
        if (own || shared < 0) {
            shared = upgrade_inherited(process->address);
            if (shared < 0) shared = listener_open(process->address, BACKLOG);
        }
        if (shared < 0) {
            fprintf(stderr, "footlight: cannot listen on %s for %s: %s\n", process->address,
                    service, strerror(-shared));
            return false;
        }
        process->listen_fd = shared;
    }
    return true;
}

static void supervisor_stop(struct supervisor *supervisor, int number) {
    supervisor->stopping = true;
    supervisor->running = 0;
    list_each(&supervisor->processes, node) {
        struct process *process = container_of(node, struct process, link);
        if (process->running) supervisor->running++;
        process_stop(process, number);
    }
    if (supervisor->running == 0) loop_stop(&supervisor->loop);
}

static void supervisor_on_deadline(struct timer *timer) {
    struct supervisor *supervisor = container_of(timer, struct supervisor, deadline);
    log_warn("supervisor.drain_over", LOG_INT("services", supervisor->running));
    supervisor_stop(supervisor, SIGKILL);
}

static void supervisor_on_term(struct signal_watch *watch, int number) {
    (void)number;
    struct supervisor *supervisor = watch->data;
    if (supervisor->stopping) {
        supervisor_stop(supervisor, SIGKILL);
        return;
    }
    // A second more than the services take themselves.
    int64_t seconds = settings_integer(supervisor->config->settings, "drain_seconds", 10) + 1;
    log_info("supervisor.stopping", LOG_INT("within_s", seconds));
    loop_timer_start(&supervisor->loop, &supervisor->deadline, (uint64_t)seconds * 1000);
    supervisor_stop(supervisor, SIGTERM);
}

static void supervisor_on_hup(struct signal_watch *watch, int number) {
    (void)number;
    struct supervisor *supervisor = watch->data;
    list_each(&supervisor->processes, node) {
        struct process *process = container_of(node, struct process, link);
        if (process->running) uv_process_kill(&process->handle, SIGHUP);
    }
}

static bool supervisor_open(struct supervisor *supervisor, const char *const *services,
                            size_t count) {
    supervisor->control =
        control_socket_new(&supervisor->loop, supervisor->config, &supervisor->processes);
    if (!supervisor->control) return false;
    for (size_t i = 0; i < count; i++)
        if (!supervisor_add(supervisor, services[i])) return false;
    return true;
}

int supervisor_run(struct config *config, char **arguments, const char *const *services,
                   size_t count) {
    struct supervisor *supervisor = memory_zero(1, sizeof *supervisor);
    supervisor->config = config;
    supervisor->arguments = arguments;
    list_init(&supervisor->processes);
    timer_init(&supervisor->deadline, supervisor_on_deadline);
    if (loop_init(&supervisor->loop)) return 1;
    struct loop *loop = &supervisor->loop;
    int status = 1;
    if (supervisor_open(supervisor, services, count)) {
        struct {
            struct signal_watch *watch;
            int number;
            void (*handler)(struct signal_watch *watch, int number);
        } signals[] = {{&supervisor->hup, SIGHUP, supervisor_on_hup},
                       {&supervisor->term, SIGTERM, supervisor_on_term},
                       {&supervisor->interrupt, SIGINT, supervisor_on_term}};
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
            signals[i].watch->data = supervisor;
            signals_watch(loop, signals[i].watch, signals[i].number, signals[i].handler);
        }
        list_each(&supervisor->processes, node) {
            process_start(container_of(node, struct process, link));
        }
        upgrade_open(&supervisor->upgrade, loop, config, arguments, &supervisor->processes);
        log_info("supervisor.started", LOG_INT("pid", getpid()),
                 LOG_TEXT("version", FOOTLIGHT_VERSION));
        loop_run(loop);
        upgrade_close(&supervisor->upgrade);
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
            signals_unwatch(signals[i].watch);
        status = 0;
    }
    loop_timer_stop(loop, &supervisor->deadline);
    list_each(&supervisor->processes, node) {
        process_free(container_of(node, struct process, link));
    }
    if (supervisor->control) control_socket_free(supervisor->control);
    loop_close(loop);
    memory_free(supervisor);
    log_info("supervisor.stopped");
    return status;
}
