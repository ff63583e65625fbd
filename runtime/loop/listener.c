#include "loop/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/log.h"
#include "loop/address.h"

enum { ACCEPTS_AT_ONCE = 64, PAUSE_MS = 100 };

static int listener_open_unix(const char *path, int backlog) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    // A socket file that nobody listens on any more is debris; one that answers is somebody's.
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN) {
        close(fd);
        return -EADDRINUSE;
    }
    struct stat status;
    if (lstat(path, &status) == 0 && S_ISSOCK(status.st_mode)) unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, backlog) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int listener_open(const char *text, int backlog) {
    if (strncmp(text, "unix:", 5) == 0) return listener_open_unix(text + 5, backlog);
    char host[64];
    const char *colon = strrchr(text, ':');
    uint64_t port;
    if (!colon || (size_t)(colon - text) >= sizeof host ||
        !slice_to_u64(slice_of(colon + 1), &port) || port > 65535)
        return -EINVAL;
    struct slice name = slice_make(text, (size_t)(colon - text));
    if (name.size >= 2 && name.data[0] == '[' && name.data[name.size - 1] == ']')
        name = slice_sub(name, 1, name.size - 2);
    memcpy(host, name.data, name.size);
    host[name.size] = '\0';
    union internet_address address;
    socklen_t size = internet_address_parse(&address, host, (uint16_t)port);
    if (!size) return -EINVAL;
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &address.any, size) < 0 || listen(fd, backlog) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int listener_port(int fd) {
    union internet_address address = {0};
    socklen_t size = sizeof address;
    if (getsockname(fd, &address.any, &size) < 0) return -errno;
    if (address.any.sa_family == AF_INET) return ntohs(address.v4.sin_port);
    if (address.any.sa_family == AF_INET6) return ntohs(address.v6.sin6_port);
    return -EAFNOSUPPORT;
}

static int listener_reserve(void) { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

static void listener_on_poll(uv_poll_t *poll, int status, int events);

static void listener_on_pause(struct timer *timer) {
    struct listener *listener = container_of(timer, struct listener, pause);
    if (listener->reserve < 0) listener->reserve = listener_reserve();
    uv_poll_start(&listener->poll, UV_READABLE, listener_on_poll);
}

// No descriptor left: close the one in reserve, take the connection with it and close that, so the
// peer sees an end instead of waiting in the backlog; then rest a little.
static void listener_exhausted(struct listener *listener) {
    log_error("listener.exhausted", LOG_INT("fd", listener->fd));
    if (listener->reserve >= 0) {
        close(listener->reserve);
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) close(fd);
        listener->reserve = listener_reserve();
    }
    uv_poll_stop(&listener->poll);
    loop_timer_start(listener->loop, &listener->pause, PAUSE_MS);
}

static void listener_on_poll(uv_poll_t *poll, int status, int events) {
    struct listener *listener = container_of(poll, struct listener, poll);
    (void)events;
    if (status < 0) return;
    for (int i = 0; i < ACCEPTS_AT_ONCE && !uv_is_closing((uv_handle_t *)poll); i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->on_accept(listener, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            listener_exhausted(listener);
        // EAGAIN, and the errors of a connection that died in the backlog (accept(2)).
        return;
    }
}

int listener_start(struct loop *loop, struct listener *listener, int fd,
                   void (*on_accept)(struct listener *listener, int fd)) {
    void *data = listener->data;
    memset(listener, 0, sizeof *listener);
    listener->data = data;
    listener->loop = loop;
    listener->fd = fd;
    listener->on_accept = on_accept;
    listener->reserve = listener_reserve();
    timer_init(&listener->pause, listener_on_pause);
    int error = uv_poll_init(&loop->uv, &listener->poll, fd);
    if (error) return error;
    return uv_poll_start(&listener->poll, UV_READABLE, listener_on_poll);
}

static void listener_on_handle_closed(uv_handle_t *handle) {
    struct listener *listener = container_of((uv_poll_t *)handle, struct listener, poll);
    if (listener->fd >= 0) close(listener->fd);
    if (listener->on_closed) listener->on_closed(listener);
}

void listener_stop(struct listener *listener, bool keep_fd,
                   void (*closed)(struct listener *listener)) {
    if (uv_is_closing((uv_handle_t *)&listener->poll)) return;
    loop_timer_stop(listener->loop, &listener->pause);
    if (listener->reserve >= 0) close(listener->reserve);
    uv_poll_stop(&listener->poll);
    if (keep_fd) listener->fd = -1;
    listener->on_closed = closed;
    uv_close((uv_handle_t *)&listener->poll, listener_on_handle_closed);
}
