#include "loop/socket.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/memory.h"
#include "loop/address.h"
#include "loop/flush.h"

enum {
    SEGMENT_ROOM = 1024,      ///< smallest run of copied bytes
    SEGMENT_LARGE = 4096,     ///< and the usual one for a page
    SEGMENTS_AT_ONCE = 64,    ///< iovecs in one sendmsg
    SPARES_MOST = 128,        ///< kept segments of SEGMENT_ROOM
    LARGE_SPARES_MOST = 16,   ///< and of SEGMENT_LARGE
    USER_TIMEOUT_MS = 20000,  ///< TCP_USER_TIMEOUT: unacknowledged data or a zero window
    FILE_AT_ONCE = 512 * 1024 ///< one file must not keep the loop
};

/// A piece of the output queue: copied bytes, a shared chunk, or part of a file.
struct socket_segment {
    struct socket_segment *next;
    struct chunk *chunk; ///< or NULL
    int file;            ///< or -1
    int64_t offset;      ///< of the file
    size_t sent;         ///< of the bytes or the chunk
    uint64_t size;       ///< bytes in all (a file: still to send)
    size_t capacity;     ///< of bytes
    char bytes[];
};

static void socket_watch(struct socket *socket);

static int socket_descriptor(int family) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static void segment_free(struct loop *loop, struct socket_segment *segment) {
    if (segment->capacity == SEGMENT_ROOM && loop->spare_count < SPARES_MOST) {
        segment->next = loop->spare_segments;
        loop->spare_segments = segment;
        loop->spare_count++;
        return;
    }
    if (segment->capacity == SEGMENT_LARGE && loop->large_spare_count < LARGE_SPARES_MOST) {
        segment->next = loop->large_spare_segments;
        loop->large_spare_segments = segment;
        loop->large_spare_count++;
        return;
    }
    chunk_release(segment->chunk);
    if (segment->file >= 0) close(segment->file);
    memory_free(segment);
}

static void free_segments(struct socket_segment *segment) {
    while (segment) {
        struct socket_segment *next = segment->next;
        memory_free(segment);
        segment = next;
    }
}

void socket_free_spares(struct loop *loop) {
    free_segments(loop->spare_segments);
    free_segments(loop->large_spare_segments);
    loop->spare_segments = loop->large_spare_segments = NULL;
    loop->spare_count = loop->large_spare_count = 0;
}

static void socket_drop_queue(struct socket *socket) {
    for (struct socket_segment *segment = socket->out_first, *next; segment; segment = next) {
        next = segment->next;
        segment_free(socket->loop, segment);
    }
    socket->out_first = socket->out_last = NULL;
    socket->out_size = 0;
}

static struct socket_segment *segment_add(struct socket *socket, size_t capacity) {
    struct loop *loop = socket->loop;
    struct socket_segment *segment;
    if (capacity == SEGMENT_ROOM && loop->spare_segments) {
        segment = loop->spare_segments;
        loop->spare_segments = segment->next;
        loop->spare_count--;
    } else if (capacity == SEGMENT_LARGE && loop->large_spare_segments) {
        segment = loop->large_spare_segments;
        loop->large_spare_segments = segment->next;
        loop->large_spare_count--;
    } else {
        segment = memory_alloc(sizeof *segment + capacity);
    }
    *segment = (struct socket_segment){.file = -1, .capacity = capacity};
    if (socket->out_last)
        socket->out_last->next = segment;
    else
        socket->out_first = segment;
    socket->out_last = segment;
    return segment;
}

static void socket_cork(struct socket *socket) {
    if (socket->corked || socket->blocked || socket->connecting) return;
    socket->corked = true;
    list_push_back(&socket->loop->flushing, &socket->flush_link);
}

static bool socket_accepts_output(const struct socket *socket) {
    return !socket->closing && !socket->shut_on_empty;
}

void socket_write(struct socket *socket, const void *data, size_t size) {
    if (size == 0 || !socket_accepts_output(socket)) return;
    socket->out_size += size;
    struct socket_segment *last = socket->out_last;
    if (last && !last->chunk && last->file < 0) {
        size_t room = last->capacity - (size_t)last->size;
        size_t part = size < room ? size : room;
        memcpy(last->bytes + last->size, data, part);
        last->size += part;
        data = (const char *)data + part;
        size -= part;
    }
    if (size) {
        // A large one holds up to four times what is asked for, but only until the end of the tick,
        // or as long as the peer does not read; what waits longer is counted by its real size.
        size_t room = size <= SEGMENT_ROOM ? SEGMENT_ROOM : SEGMENT_LARGE;
        last = segment_add(socket, size > room ? size : room);
        memcpy(last->bytes, data, size);
        last->size = size;
    }
    socket_cork(socket);
}

void socket_write_slice(struct socket *socket, struct slice s) {
    socket_write(socket, s.data, s.size);
}

void socket_write_chunk(struct socket *socket, struct chunk *chunk) {
    if (chunk->size == 0 || !socket_accepts_output(socket)) return;
    struct socket_segment *segment = segment_add(socket, 0);
    segment->chunk = chunk_share(chunk);
    segment->size = chunk->size;
    socket->out_size += chunk->size;
    socket_cork(socket);
}

// Takes `size` sent bytes off the front of the queue.
static void socket_sent(struct socket *socket, size_t size) {
    socket->out_size -= size;
    while (size) {
        struct socket_segment *first = socket->out_first;
        assert(first); // out_size counts what the segments hold
        size_t left = (size_t)first->size - first->sent;
        if (size < left) {
            first->sent += size;
            return;
        }
        size -= left;
        socket->out_first = first->next;
        if (!first->next) socket->out_last = NULL;
        segment_free(socket->loop, first);
    }
}

void socket_write_chunk_now(struct socket *socket, struct chunk *chunk) {
    size_t sent = 0;
    if (!socket->out_first && !socket->connecting && socket_accepts_output(socket)) {
        ssize_t n = send(socket->fd, chunk->data, chunk->size, MSG_NOSIGNAL);
        if (n == (ssize_t)chunk->size) return;
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            socket_close_now(socket, -errno);
            return;
        }
        if (n > 0) sent = (size_t)n;
    }
    socket_write_chunk(socket, chunk);
    if (sent > 0) socket_sent(socket, sent);
}

void socket_write_file(struct socket *socket, int file, int64_t offset, uint64_t size) {
    if (size == 0 || !socket_accepts_output(socket)) {
        close(file);
        return;
    }
    struct socket_segment *segment = segment_add(socket, 0);
    segment->file = file;
    segment->offset = offset;
    segment->size = size;
    socket->out_size += (size_t)size;
    socket_cork(socket);
}

// 1: go on; 0: the kernel takes no more now; negative: an error.
static int socket_send_bytes(struct socket *socket) {
    struct iovec parts[SEGMENTS_AT_ONCE];
    size_t count = 0;
    for (struct socket_segment *s = socket->out_first;
         s && s->file < 0 && count < SEGMENTS_AT_ONCE; s = s->next) {
        char *bytes = s->chunk ? s->chunk->data : s->bytes;
        parts[count++] = (struct iovec){bytes + s->sent, (size_t)s->size - s->sent};
    }
    bool more = socket->out_first && socket->out_last->file >= 0;
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    // One piece is by far the most frequent, and costs the kernel less this way.
    ssize_t n = count == 1 ? send(socket->fd, parts[0].iov_base, parts[0].iov_len, flags)
                           : sendmsg(socket->fd, &message, flags);
    if (n < 0) return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -errno;
    socket_sent(socket, (size_t)n);
    return 1;
}

static int socket_send_file(struct socket *socket) {
    struct socket_segment *segment = socket->out_first;
    size_t part = segment->size > FILE_AT_ONCE ? FILE_AT_ONCE : (size_t)segment->size;
    off_t offset = (off_t)segment->offset;
    ssize_t n = sendfile(socket->fd, segment->file, &offset, part);
    if (n < 0) return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -errno;
    if (n == 0) return -EIO; // the file became shorter: the length promised cannot be kept
    segment->offset += n;
    segment->size -= (uint64_t)n;
    socket->out_size -= (size_t)n;
    if (segment->size == 0) {
        socket->out_first = segment->next;
        if (!segment->next) socket->out_last = NULL;
        segment_free(socket->loop, segment);
    }
    return 1;
}

void socket_flush(struct socket *socket) {
    if (socket->corked) {
        socket->corked = false;
        list_remove(&socket->flush_link);
    }
    if (socket->closing || socket->connecting) return;
    while (socket->out_first) {
        int result = socket->out_first->file >= 0 ? socket_send_file(socket)
                                                  : socket_send_bytes(socket);
        if (result < 0) {
            socket_close_now(socket, result);
            return;
        }
        if (result > 0) continue;
        if (!socket->blocked) {
            socket->blocked = true;
            socket_watch(socket);
        }
        return;
    }
    bool was_blocked = socket->blocked;
    if (was_blocked) {
        socket->blocked = false;
        socket_watch(socket);
    }
    if (socket->shut_on_empty)
        socket_close_now(socket, 0);
    else if (was_blocked && socket->events->on_drain)
        socket->events->on_drain(socket);
}

void socket_flush_all(struct loop *loop) {
    struct list batch;
    list_init(&batch);
    list_take_all(&batch, &loop->flushing);
    while (!list_empty(&batch))
        socket_flush(list_first(&batch, struct socket, flush_link));
}

static void socket_read(struct socket *socket) {
    ssize_t n;
    do {
        n = recv(socket->fd, socket->loop->read_buffer, LOOP_READ_SIZE, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        socket->events->on_data(socket, socket->loop->read_buffer, (size_t)n);
    } else if (n == 0) {
        bool told = socket->ended;
        socket->ended = true;
        socket->readable_paused = true; // nothing more will come
        socket_watch(socket);
        if (told) return;
        if (socket->events->on_end)
            socket->events->on_end(socket);
        else
            socket_close(socket);
    } else if (errno != EAGAIN) {
        socket_close_now(socket, -errno);
    }
}

// The kernel's reason, as a negative errno, or 0.
static int socket_error(const struct socket *socket) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
    return -error;
}

static void socket_on_connected(struct socket *socket) {
    int error = socket_error(socket);
    if (error) {
        socket_close_now(socket, error);
        return;
    }
    socket->connecting = false;
    socket_watch(socket);
    if (socket->out_first) socket_cork(socket);
    if (socket->events->on_connect) socket->events->on_connect(socket);
}

static void socket_on_poll(uv_poll_t *poll, int status, int events) {
    struct socket *socket = container_of(poll, struct socket, poll);
    if (status < 0) {
        // libuv 1.44 reports every POLLERR, a plain reset too, as UV_EBADF.
        int error = socket_error(socket);
        socket_close_now(socket, error ? error : status);
        return;
    }
    if (socket->connecting) {
        if (events & (UV_WRITABLE | UV_DISCONNECT)) socket_on_connected(socket);
        return;
    }
    if (events & UV_WRITABLE) socket_flush(socket);
    if (socket->closing) return;
    if ((events & UV_READABLE) && !socket->readable_paused) {
        socket_read(socket);
        return;
    }
    if ((events & UV_DISCONNECT) && !socket->ended) {
        // The peer is done, and we are not reading: tell, and stop watching for it, since epoll
        // would report it for ever. What it sent before is still read after socket_resume.
        socket->ended = true;
        socket_watch(socket);
        if (socket->shut_on_empty) return;
        if (socket->events->on_end) socket->events->on_end(socket);
    }
}

static void socket_watch(struct socket *socket) {
    if (socket->closing) return;
    int events = 0;
    if (socket->connecting || socket->blocked) events |= UV_WRITABLE;
    if (!socket->connecting) {
        if (!socket->readable_paused && !socket->shut_on_empty) events |= UV_READABLE;
        if (!socket->ended) events |= UV_DISCONNECT;
    }
    if (events)
        uv_poll_start(&socket->poll, events, socket_on_poll);
    else
        uv_poll_stop(&socket->poll);
}

int socket_open(struct loop *loop, struct socket *socket, int fd,
                const struct socket_events *events) {
    memset(socket, 0, sizeof *socket);
    socket->loop = loop;
    socket->events = events;
    socket->fd = fd;
    list_init(&socket->flush_link);
    // Fails (and does not matter) on unix sockets. Corking is ours, so Nagle only delays.
    int on = 1;
    unsigned limit = USER_TIMEOUT_MS;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
    int error = uv_poll_init(&loop->uv, &socket->poll, fd);
    if (error) {
        close(fd);
        return error;
    }
    socket_watch(socket);
    return 0;
}

static int socket_connect(struct loop *loop, struct socket *socket, int fd,
                          const struct sockaddr *address, socklen_t size,
                          const struct socket_events *events) {
    // A unix socket with a full backlog says EAGAIN: to the caller that is a refusal.
    if (connect(fd, address, size) < 0 && errno != EINPROGRESS) {
        int refused = -errno;
        close(fd);
        return refused;
    }
    int error = socket_open(loop, socket, fd, events);
    if (error) return error;
    // Even if it is up already, on_connect comes from the loop: a connected socket is writable.
    socket->connecting = true;
    socket_watch(socket);
    return 0;
}

int socket_connect_tcp(struct loop *loop, struct socket *socket, const char *host, int port,
                       const struct socket_events *events) {
    union internet_address address;
    socklen_t size = internet_address_parse(&address, host, (uint16_t)port);
    if (!size) return -EINVAL;
    int fd = socket_descriptor(address.any.sa_family);
    if (fd < 0) return fd;
    return socket_connect(loop, socket, fd, &address.any, size, events);
}

int socket_connect_unix(struct loop *loop, struct socket *socket, const char *path,
                        const struct socket_events *events) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket_descriptor(AF_UNIX);
    if (fd < 0) return fd;
    return socket_connect(loop, socket, fd, (struct sockaddr *)&address, sizeof address, events);
}

void socket_pause(struct socket *socket) {
    if (socket->readable_paused) return;
    socket->readable_paused = true;
    socket_watch(socket);
}

void socket_resume(struct socket *socket) {
    if (!socket->readable_paused) return;
    socket->readable_paused = false;
    socket_watch(socket);
}

static void socket_on_poll_closed(uv_handle_t *handle) {
    struct socket *socket = container_of((uv_poll_t *)handle, struct socket, poll);
    if (socket->reset) {
        struct linger linger = {1, 0};
        (void)setsockopt(socket->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    } else {
        // Unread input would turn the close into a reset, and a reset may overtake our last
        // answer: take what has arrived so far.
        for (int i = 0; i < 4; i++)
            if (recv(socket->fd, socket->loop->read_buffer, LOOP_READ_SIZE, MSG_DONTWAIT) <= 0)
                break;
    }
    close(socket->fd);
    socket->fd = -1;
    socket->events->on_close(socket, socket->error);
}

void socket_close_now(struct socket *socket, int error) {
    if (socket->closing) return;
    socket->closing = true;
    socket->error = error;
    if (socket->corked) {
        socket->corked = false;
        list_remove(&socket->flush_link);
    }
    socket_drop_queue(socket);
    uv_poll_stop(&socket->poll);
    if (!socket->reset && error == 0 && !socket->connecting) (void)shutdown(socket->fd, SHUT_WR);
    uv_close((uv_handle_t *)&socket->poll, socket_on_poll_closed);
}

void socket_close_reset(struct socket *socket, int error) {
    if (socket->closing) return;
    socket->reset = true;
    socket_close_now(socket, error);
}

void socket_close(struct socket *socket) {
    if (socket->closing || socket->shut_on_empty) return;
    if (!socket->out_first) {
        socket_close_now(socket, 0);
        return;
    }
    socket->shut_on_empty = true;
    socket_watch(socket);
}

void socket_peer(const struct socket *socket, char out[SOCKET_ADDRESS_SIZE]) {
    union internet_address address = {0};
    socklen_t size = sizeof address;
    strcpy(out, "unix");
    if (getpeername(socket->fd, &address.any, &size) < 0) return;
    if (address.any.sa_family == AF_INET)
        inet_ntop(AF_INET, &address.v4.sin_addr, out, SOCKET_ADDRESS_SIZE);
    else if (address.any.sa_family == AF_INET6) {
        if (IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr))
            inet_ntop(AF_INET, &address.v6.sin6_addr.s6_addr[12], out, SOCKET_ADDRESS_SIZE);
        else
            inet_ntop(AF_INET6, &address.v6.sin6_addr, out, SOCKET_ADDRESS_SIZE);
    }
}
