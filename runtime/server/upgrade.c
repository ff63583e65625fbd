#include "server/upgrade.h"
#include "base/log.h"
#include "server/link.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 25, LATE_MS = 30000 };

/// What the new program needs: "fd=address fd=address …" of the listening sockets, and "pid=fd
/// pid=fd …" of the old services and our ends of their links.
static const char inherit_sockets[] = "FOOTLIGHT_INHERIT_SOCKETS";
static const char inherit_children[] = "FOOTLIGHT_INHERIT_CHILDREN";

/// "5=rest": the number and the rest.
static bool split_item(struct slice item, uint64_t *number, struct slice *rest) {
    size_t at = slice_find(item, '=', 0);
    *rest = slice_sub(item, at + 1, SIZE_MAX);
    return at < item.size && slice_to_u64(slice_sub(item, 0, at), number) && *number <= INT32_MAX;
}

int upgrade_inherited(const char *address) {
    struct slice list = slice_of(getenv(inherit_sockets)), item, rest;
    uint64_t fd;
    while (slice_next(&list, ' ', &item)) {
        if (!split_item(item, &fd, &rest) || !slice_equal(rest, slice_of(address))) continue;
        fcntl((int)fd, F_SETFD, FD_CLOEXEC);
        return (int)fd;
    }
    return -1;
}

// ---- the new program ------------------------------------------------------------------------

static bool all_have_reported(const struct upgrade *upgrade) {
    for (struct list *at = upgrade->processes->next; at != upgrade->processes; at = at->next) {
        if (container_of(at, struct process, link)->report.size == 0) return false;
    }
    return true;
}

static void on_look(struct timer *timer) {
    struct upgrade *upgrade = container_of(timer, struct upgrade, look);
    uint64_t waited = loop_now(upgrade->loop) - upgrade->began_ms;
    if (!all_have_reported(upgrade)) {
        if (waited > LATE_MS && !upgrade->late) {
            upgrade->late = true;
            log_error("supervisor.upgrade_late",
                      LOG_TEXT("error", "the new services do not come up"));
        }
        loop_timer_start(upgrade->loop, &upgrade->look, LOOK_MS);
        return;
    }
    upgrade->draining = true;
    for (unsigned i = 0; i < upgrade->old_count; i++) {
        kill(upgrade->old[i].pid, SIGTERM);
        close(upgrade->old[i].wire);
    }
    log_info("supervisor.upgraded", LOG_INT("old_services", upgrade->old_count),
             LOG_INT("after_ms", waited));
}

static void adopt(struct upgrade *upgrade) {
    struct slice list = slice_of(getenv(inherit_children)), item, rest;
    while (upgrade->old_count < UPGRADE_SERVICES && slice_next(&list, ' ', &item)) {
        uint64_t pid, fd;
        if (!split_item(item, &pid, &rest) || pid <= 1 || !slice_to_u64(rest, &fd)) continue;
        if (kill((pid_t)pid, 0) != 0) continue;
        fcntl((int)fd, F_SETFD, FD_CLOEXEC);
        upgrade->old[upgrade->old_count++] = (struct upgrade_old){(pid_t)pid, (int)fd};
    }
    unsetenv(inherit_sockets);
    unsetenv(inherit_children);
    if (upgrade->old_count > 0) loop_timer_start(upgrade->loop, &upgrade->look, LOOK_MS);
}

// libuv waits only for processes that it started; the inherited ones are waited for by number.
static void on_child(struct signal_watch *watch, int number) {
    (void)number;
    struct upgrade *upgrade = watch->data;
    for (unsigned i = 0; i < upgrade->old_count;) {
        if (waitpid(upgrade->old[i].pid, NULL, WNOHANG) == 0) {
            i++;
            continue;
        }
        if (!upgrade->draining) close(upgrade->old[i].wire);
        upgrade->old[i] = upgrade->old[--upgrade->old_count];
    }
}

// ---- the old program ------------------------------------------------------------------------

/// Descriptors that the next program is to have, or not: exec closes all others.
static void pass_on(struct upgrade *upgrade, bool on) {
    struct buffer sockets = {0}, children = {0};
    list_each(upgrade->processes, node) {
        struct process *process = container_of(node, struct process, link);
        if (process->running && process->wire) {
            int fd = process->wire->socket.fd;
            buffer_printf(&children, "%d=%d ", process->handle.pid, fd);
            fcntl(fd, F_SETFD, on ? 0 : FD_CLOEXEC);
        }
        if (process->listen_fd < 0) continue;
        buffer_printf(&sockets, "%d=%s ", process->listen_fd, process->address);
        fcntl(process->listen_fd, F_SETFD, on ? 0 : FD_CLOEXEC);
    }
    if (on) {
        setenv(inherit_sockets, buffer_text(&sockets), 1);
        setenv(inherit_children, buffer_text(&children), 1);
    } else {
        unsetenv(inherit_sockets);
        unsetenv(inherit_children);
    }
    buffer_free(&sockets);
    buffer_free(&children);
}

/// The program in our place; a binary that was replaced is "… (deleted)" by its link.
static bool program_path(char *out, size_t size) {
    ssize_t length = readlink("/proc/self/exe", out, size - 1);
    if (length <= 0) return false;
    out[length] = '\0';
    char *deleted = strstr(out, " (deleted)");
    if (deleted) *deleted = '\0';
    return true;
}

static void take_over(struct upgrade *upgrade) {
    char program[4096];
    if (!program_path(program, sizeof program)) return;
    log_info("supervisor.upgrade", LOG_TEXT("program", program));
    pass_on(upgrade, true);
    execv(program, upgrade->arguments);
    pass_on(upgrade, false); // gone since it was tried: we go on
    log_error("supervisor.upgrade_failed", LOG_TEXT("error", strerror(errno)));
}

static void on_trial_closed(uv_handle_t *handle) {
    struct upgrade *upgrade = handle->data;
    upgrade->trying = false;
}

static void on_trial_end(uv_process_t *handle, int64_t status, int number) {
    struct upgrade *upgrade = handle->data;
    uv_close((uv_handle_t *)handle, on_trial_closed);
    if (status == 0 && number == 0)
        take_over(upgrade);
    else
        log_error("supervisor.upgrade_refused", LOG_TEXT("error", "the new program does not run"),
                  LOG_INT("status", status), LOG_INT("signal", number));
}

static void on_order(struct signal_watch *watch, int number) {
    (void)number;
    struct upgrade *upgrade = watch->data;
    if (upgrade->trying || (upgrade->old_count > 0 && !upgrade->draining)) {
        log_warn("supervisor.upgrade_busy");
        return;
    }
    char program[4096];
    if (!program_path(program, sizeof program)) return;
    const char *arguments[] = {program,
                               "--root",
                               upgrade->config->root,
                               "--site",
                               upgrade->config->site ? upgrade->config->site : "",
                               "help",
                               NULL};
    uv_process_options_t options = {
        .exit_cb = on_trial_end, .file = program, .args = (char **)(uintptr_t)arguments};
    upgrade->trial.data = upgrade;
    upgrade->trying = true;
    int error = uv_spawn(&upgrade->loop->uv, &upgrade->trial, &options);
    if (!error) return;
    log_error("supervisor.upgrade_refused", LOG_TEXT("error", uv_strerror(error)));
    uv_close((uv_handle_t *)&upgrade->trial, on_trial_closed);
}

// ---- life -----------------------------------------------------------------------------------

void upgrade_open(struct upgrade *upgrade, struct loop *loop, const struct config *config,
                  char **arguments, struct list *processes) {
    *upgrade = (struct upgrade){.loop = loop,
                                .config = config,
                                .arguments = arguments,
                                .processes = processes,
                                .began_ms = loop_now(loop)};
    timer_init(&upgrade->look, on_look);
    upgrade->order.data = upgrade->child.data = upgrade;
    signals_watch(loop, &upgrade->order, SIGUSR2, on_order);
    signals_watch(loop, &upgrade->child, SIGCHLD, on_child);
    adopt(upgrade);
}

void upgrade_close(struct upgrade *upgrade) {
    loop_timer_stop(upgrade->loop, &upgrade->look);
    signals_unwatch(&upgrade->order);
    signals_unwatch(&upgrade->child);
    for (int i = 0; upgrade->trying && i < 5000; i++) uv_run(&upgrade->loop->uv, UV_RUN_ONCE);
}
