#include "server/control_socket.h"

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/listener.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { REQUESTS = 16, QUESTION_MS = 2000, ANSWER_MS = 20000, ASK_MS = 30000 };

struct control_socket {
    struct loop *loop;
    const struct config *config;
    struct list *processes;
    struct list requests;
    unsigned count;
    struct listener listener;
    uint64_t started_ns;
    char path[256];
};

struct request {
    struct list node;
    struct link link;
    struct control_socket *control;
    struct timer limit;
    bool asked, answered;
};

void control_socket_path(const struct settings *settings, char *out, size_t size) {
    snprintf(out, size, "%s/run/footlight.sock", settings_text(settings, "var", "var"));
}

static void control_socket_describe(struct control_socket *control, struct buffer *out) {
    buffer_printf(out, "{\"version\":\"%s\",\"pid\":%d,\"uptime_s\":%llu,\"services\":[",
                  FOOTLIGHT_VERSION, getpid(),
                  (unsigned long long)((clock_monotonic_ns() - control->started_ns) / 1000000000u));
    const char *comma = "";
    list_each(control->processes, node) {
        struct process *process = container_of(node, struct process, link);
        buffer_printf(out,
                      "%s{\"service\":\"%s\",\"instance\":%u,\"address\":\"%s\",\"pid\":%d,"
                      "\"running\":%s,\"restarts\":%u,\"report\":",
                      comma, process->service, process->instance, process->address,
                      process->running ? process->handle.pid : 0,
                      process->running ? "true" : "false", process->restarts);
        if (process->report.size)
            buffer_append_slice(out, buffer_slice(&process->report));
        else
            buffer_append_text(out, "null");
        buffer_append_char(out, '}');
        comma = ",";
    }
    buffer_append_text(out, "]}");
}

static void request_answer(struct request *request) {
    if (request->answered) return;
    request->answered = true;
    struct buffer out = {0};
    control_socket_describe(request->control, &out);
    link_send(&request->link, buffer_slice(&out));
    buffer_free(&out);
    link_close(&request->link);
}

void control_socket_answered(struct control_socket *control) {
    list_each(control->processes, node) {
        if (container_of(node, struct process, link)->asked) return;
    }
    list_each(&control->requests, node) {
        struct request *request = container_of(node, struct request, node);
        if (request->asked) request_answer(request);
    }
}

static void request_on_line(struct link *link, struct slice line) {
    struct request *request = container_of(link, struct request, link);
    if (request->asked) return;
    if (!slice_equal(line, SLICE("status")) && !slice_equal(line, SLICE("reload"))) {
        link_send(link, SLICE("{\"error\":\"unknown question; status or reload\"}"));
        link_close(link);
        return;
    }
    request->asked = true;
    loop_timer_start(request->control->loop, &request->limit, ANSWER_MS);
    list_each(request->control->processes, node) {
        process_ask(container_of(node, struct process, link), line);
    }
    control_socket_answered(request->control); // if there was nobody to ask
}

static void request_on_gone(struct link *link) {
    struct request *request = container_of(link, struct request, link);
    loop_timer_stop(request->control->loop, &request->limit);
    list_remove(&request->node);
    request->control->count--;
    memory_free(request);
}

static void request_on_limit(struct timer *timer) {
    struct request *request = container_of(timer, struct request, limit);
    if (request->asked)
        request_answer(request); // with what is known
    else
        socket_close_now(&request->link.socket, -ETIMEDOUT);
}

static void control_socket_on_accept(struct listener *listener, int fd) {
    struct control_socket *control = container_of(listener, struct control_socket, listener);
    if (control->count >= REQUESTS) {
        close(fd);
        return;
    }
    struct request *request = memory_zero(1, sizeof *request);
    request->control = control;
    request->link.on_line = request_on_line;
    request->link.on_gone = request_on_gone;
    timer_init(&request->limit, request_on_limit);
    if (link_open(control->loop, &request->link, fd) < 0) {
        memory_free(request);
        return;
    }
    control->count++;
    list_push_back(&control->requests, &request->node);
    loop_timer_start(control->loop, &request->limit, QUESTION_MS);
}

struct control_socket *control_socket_new(struct loop *loop, const struct config *config,
                                          struct list *processes) {
    struct control_socket *control = memory_zero(1, sizeof *control);
    control->loop = loop;
    control->config = config;
    control->processes = processes;
    control->started_ns = clock_monotonic_ns();
    list_init(&control->requests);
    char address[300];
    control_socket_path(config->settings, control->path, sizeof control->path);
    snprintf(address, sizeof address, "unix:%s", control->path);
    mode_t old = umask(0177);
    int fd = listener_open(address, 16);
    umask(old);
    if (fd < 0) {
        fprintf(stderr, "footlight: %s: %s\n", control->path,
                fd == -EADDRINUSE ? "another footlight serves this folder already" : strerror(-fd));
        memory_free(control);
        return NULL;
    }
    listener_start(loop, &control->listener, fd, control_socket_on_accept);
    return control;
}

static void control_socket_on_closed(struct listener *listener) {
    memory_free(container_of(listener, struct control_socket, listener));
}

void control_socket_free(struct control_socket *control) {
    unlink(control->path);
    list_each(&control->requests, node) {
        socket_close_now(&container_of(node, struct request, node)->link.socket, 0);
    }
    listener_stop(&control->listener, false, control_socket_on_closed);
}

int control_socket_ask(const struct settings *settings, const char *question, struct buffer *out) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    control_socket_path(settings, address.sun_path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int error = 0;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        dprintf(fd, "%s\n", question) < 0)
        error = -errno;
    while (!error) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, ASK_MS);
        if (ready == 0) error = -ETIMEDOUT;
        if (ready <= 0) continue;
        ssize_t n = read(fd, buffer_reserve(out, 4096), 4096);
        if (n < 0) error = -errno;
        if (n <= 0) break;
        buffer_added(out, (size_t)n);
        if (out->data[out->size - 1] == '\n') {
            out->size--;
            break;
        }
    }
    if (!error && out->size == 0) error = -ECONNRESET;
    close(fd);
    return error;
}
