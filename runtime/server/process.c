#include "server/process.h"

#include "base/log.h"
#include "base/memory.h"
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKOFF_MS = 100,       ///< first pause before a restart; doubles
    BACKOFF_MOST_MS = 5000, ///< and ends here
    STEADY_MS = 10000       ///< a process that lived this long starts over with the first pause
};

/// The supervisor's end of the link. It may outlive the process by a tick, hence on its own.
struct wire {
    struct link link;
    struct process *process; ///< NULL once the process has ended
};

static void process_on_restart(struct timer *timer) {
    process_start(container_of(timer, struct process, restart));
}

void process_init(struct process *process, struct loop *loop, const struct config *config) {
    *process = (struct process){.loop = loop, .config = config, .listen_fd = -1};
    list_init(&process->link);
    timer_init(&process->restart, process_on_restart);
}

static void process_answer(struct process *process, struct slice report) {
    buffer_clear(&process->report, LINK_LINE);
    buffer_append_slice(&process->report, report);
    if (!process->asked) return;
    process->asked = false;
    process->on_answer(process);
}

static void wire_on_line(struct link *link, struct slice line) {
    struct wire *wire = container_of(link, struct wire, link);
    if (wire->process) process_answer(wire->process, line);
}

static void wire_on_gone(struct link *link) {
    struct wire *wire = container_of(link, struct wire, link);
    if (wire->process) wire->process->wire = NULL;
    memory_free(wire);
}

static void process_cut_wire(struct process *process) {
    if (!process->wire) return;
    container_of(process->wire, struct wire, link)->process = NULL;
    link_close(process->wire);
    process->wire = NULL;
}

static void process_restart_later(struct process *process) {
    uint64_t lived = loop_now(process->loop) - process->started_ms;
    if (lived > STEADY_MS || !process->backoff_ms)
        process->backoff_ms = BACKOFF_MS;
    else if ((process->backoff_ms *= 2) > BACKOFF_MOST_MS)
        process->backoff_ms = BACKOFF_MOST_MS;
    process->restarts++;
    log_error("supervisor.service_died", LOG_TEXT("name", process->service),
              LOG_INT("instance", process->instance), LOG_INT("status", process->exit_status),
              LOG_INT("signal", process->exit_signal),
              LOG_INT("restart_in_ms", process->backoff_ms));
    loop_timer_start(process->loop, &process->restart, process->backoff_ms);
}

static void process_on_closed(uv_handle_t *handle) {
    struct process *process = handle->data;
    process->running = false;
    process_cut_wire(process);
    process_answer(process, slice_make(NULL, 0));
    if (process->stopping)
        process->on_end(process);
    else
        process_restart_later(process);
}

static void process_on_exit(uv_process_t *handle, int64_t status, int number) {
    struct process *process = handle->data;
    process->exit_status = status;
    process->exit_signal = number;
    uv_close((uv_handle_t *)handle, process_on_closed);
}

// Opens the link; returns the process's end of it, or a negative errno.
static int process_open_wire(struct process *process) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) return -errno;
    struct wire *wire = memory_zero(1, sizeof *wire);
    wire->process = process;
    wire->link.on_line = wire_on_line;
    wire->link.on_gone = wire_on_gone;
    int error = link_open(process->loop, &wire->link, pair[0]);
    if (error) {
        memory_free(wire);
        close(pair[1]);
        return error;
    }
    process->wire = &wire->link;
    return pair[1];
}

void process_start(struct process *process) {
    process->started_ms = loop_now(process->loop);
    process->exit_status = 0;
    process->exit_signal = 0;
    int wire = process_open_wire(process);
    if (wire < 0) {
        log_error("supervisor.link", LOG_TEXT("error", strerror(-wire)));
        process_restart_later(process);
        return;
    }
    char instance[16];
    snprintf(instance, sizeof instance, "%u", process->instance);
    const struct config *config = process->config;
    const char *arguments[] = {process->program,
                               "--root",
                               config->root,
                               "--site",
                               config->site ? config->site : "",
                               "service",
                               process->service,
                               instance,
                               NULL};
    uv_stdio_container_t descriptors[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = process->listen_fd >= 0 ? UV_INHERIT_FD : UV_IGNORE,
         .data.fd = process->listen_fd},
        {.flags = UV_INHERIT_FD, .data.fd = wire},
    };
    uv_process_options_t options = {
        .exit_cb = process_on_exit,
        .file = "/proc/self/exe",
        .args = (char **)(uintptr_t)arguments,
        .stdio_count = 5,
        .stdio = descriptors,
    };
    process->running = true;
    int error = uv_spawn(&process->loop->uv, &process->handle, &options);
    process->handle.data = process;
    close(wire);
    if (!error) return;
    log_error("supervisor.spawn", LOG_TEXT("name", process->service),
              LOG_TEXT("error", uv_strerror(error)));
    process->exit_status = error;
    uv_close((uv_handle_t *)&process->handle, process_on_closed);
}

void process_stop(struct process *process, int number) {
    process->stopping = true;
    loop_timer_stop(process->loop, &process->restart);
    if (process->running) uv_process_kill(&process->handle, number);
}

bool process_ask(struct process *process, struct slice question) {
    if (!process->running || !process->wire || process->report.size == 0) return false;
    process->asked = true;
    link_send(process->wire, question);
    return true;
}

void process_free(struct process *process) {
    process_cut_wire(process);
    loop_timer_stop(process->loop, &process->restart);
    buffer_free(&process->report);
    memory_free(process);
}
