#include "server/supervisor.h"

#include "base/log.h"
#include "base/memory.h"
#include "loop/listener.h"
#include "loop/signals.h"
#include "server/control_socket.h"
#include "server/process.h"
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

/// What a new program needs to go on where this one stops (USR2): "fd=address fd=address …" of the
/// listening sockets, and the process ids of the old services, which are still our children.
static const char inherit_sockets[] = "FOOTLIGHT_INHERIT_SOCKETS";
static const char inherit_children[] = "FOOTLIGHT_INHERIT_CHILDREN";

struct supervisor {
    struct loop loop;
    struct config *config;
    char **arguments;
    struct list processes;
    struct control_socket *control;
    struct signal_watch hup, term, interrupt, upgrade, child;
    struct timer deadline;
    pid_t old[INSTANCES]; ///< services of the program before (USR2) that still drain
    unsigned old_count;
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

// An inherited socket for this address, or -1.
static int supervisor_inherited(const char *address) {
    const char *text = getenv(inherit_sockets);
    struct slice rest = slice_of(text), item;
    while (slice_next(&rest, ' ', &item)) {
        size_t split = slice_find(item, '=', 0);
        uint64_t fd;
        if (split < item.size && slice_to_u64(slice_sub(item, 0, split), &fd) &&
            slice_equal(slice_sub(item, split + 1, SIZE_MAX), slice_of(address))) {
            fcntl((int)fd, F_SETFD, FD_CLOEXEC);
            return (int)fd;
        }
    }
    return -1;
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
            shared = supervisor_inherited(process->address);
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

// The new program takes this process over: same id, same sockets, and the old services stay
// children of it, which it drains once its own are up.
static void supervisor_on_upgrade(struct signal_watch *watch, int number) {
    (void)number;
    struct supervisor *supervisor = watch->data;
    struct buffer sockets = {0}, children = {0};
    list_each(&supervisor->processes, node) {
        struct process *process = container_of(node, struct process, link);
        if (process->running) buffer_printf(&children, "%d ", process->handle.pid);
        if (process->listen_fd < 0) continue;
        buffer_printf(&sockets, "%d=%s ", process->listen_fd, process->address);
        fcntl(process->listen_fd, F_SETFD, 0);
    }
    setenv(inherit_sockets, buffer_text(&sockets), 1);
    setenv(inherit_children, buffer_text(&children), 1);
    char path[300];
    control_socket_path(supervisor->config->settings, path, sizeof path);
    unlink(path);
    char program[4096];
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    if (size > 0) {
        // A binary that was replaced is "… (deleted)": we want the one in its place.
        program[size] = '\0';
        char *deleted = strstr(program, " (deleted)");
        if (deleted) *deleted = '\0';
        log_info("supervisor.upgrade", LOG_TEXT("program", program));
        execv(program, supervisor->arguments);
    }
    log_error("supervisor.upgrade_failed", LOG_TEXT("error", strerror(errno)));
    exit(1);
}

// Takes the place of the services of the program that was here before: they drain by themselves.
// libuv waits only for processes that it started, so these are waited for by their numbers.
static void supervisor_drain_inherited(struct supervisor *supervisor) {
    const char *text = getenv(inherit_children);
    struct slice rest = slice_of(text), item;
    while (supervisor->old_count < INSTANCES && slice_next(&rest, ' ', &item)) {
        uint64_t pid;
        if (!slice_to_u64(item, &pid) || pid <= 1 || pid > INT32_MAX) continue;
        if (kill((pid_t)pid, SIGTERM) == 0) supervisor->old[supervisor->old_count++] = (pid_t)pid;
    }
    unsetenv(inherit_sockets);
    unsetenv(inherit_children);
}

static void supervisor_on_child(struct signal_watch *watch, int number) {
    (void)number;
    struct supervisor *supervisor = watch->data;
    for (unsigned i = 0; i < supervisor->old_count;) {
        if (waitpid(supervisor->old[i], NULL, WNOHANG) != 0)
            supervisor->old[i] = supervisor->old[--supervisor->old_count];
        else
            i++;
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
                       {&supervisor->interrupt, SIGINT, supervisor_on_term},
                       {&supervisor->upgrade, SIGUSR2, supervisor_on_upgrade},
                       {&supervisor->child, SIGCHLD, supervisor_on_child}};
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
            signals[i].watch->data = supervisor;
            signals_watch(loop, signals[i].watch, signals[i].number, signals[i].handler);
        }
        list_each(&supervisor->processes, node) {
            process_start(container_of(node, struct process, link));
        }
        supervisor_drain_inherited(supervisor);
        log_info("supervisor.started", LOG_INT("pid", getpid()),
                 LOG_TEXT("version", FOOTLIGHT_VERSION));
        loop_run(loop);
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
