#ifndef FOOTLIGHT_LOOP_SOCKET_H
#define FOOTLIGHT_LOOP_SOCKET_H
#include <netinet/in.h>
#include <sys/socket.h>
#include "base/buffer.h"
#include "base/chunk.h"
#include "loop/loop.h"

/// A stream socket on uv_poll (why: see docs/architecture.md). Reading goes through the loop's one
/// shared buffer; writing is corked and goes out in one writev at the end of the tick. An idle
/// socket owns no buffer. Embed the struct; it must stay valid until on_close.
struct socket;

struct socket_events {
    /// Bytes arrived; they are in the shared buffer and gone when this returns.
    void (*on_data)(struct socket *socket, const char *data, size_t size);
    /// The peer sends no more (FIN). Also reported while reading is paused. May be NULL: then the
    /// socket closes after its output has gone.
    void (*on_end)(struct socket *socket);
    /// The output queue became empty after having been blocked by the kernel. May be NULL.
    void (*on_drain)(struct socket *socket);
    /// The last call, always exactly one, never inside another call on this socket: free it here.
    /// error is 0 after a normal close, else a negative errno (-ETIMEDOUT when a limit closed it).
    void (*on_close)(struct socket *socket, int error);
    /// A connection that socket_connect_* began is up. NULL for accepted sockets.
    void (*on_connect)(struct socket *socket);
};

struct socket {
    struct loop *loop;
    const struct socket_events *events;
    uv_poll_t poll;
    struct list flush_link;
    struct socket_segment *out_first, *out_last; ///< queued output
    size_t out_size;                             ///< bytes queued in user space
    int fd;
    int error;
    bool readable_paused, connecting, closing, reset, blocked, ended, corked, shut_on_empty;
};

/// Takes over a connected fd. 0 or a negative errno (the fd is then closed, and on_close does not
/// come).
int socket_open(struct loop *loop, struct socket *socket, int fd,
                const struct socket_events *events);
/// Starts a connection; on_connect or on_close (with the error) follows. `host` must be an IP
/// address: names are resolved before. 0 or a negative errno at once.
int socket_connect_tcp(struct loop *loop, struct socket *socket, const char *host, int port,
                       const struct socket_events *events);
int socket_connect_unix(struct loop *loop, struct socket *socket, const char *path,
                        const struct socket_events *events);

/// Copies bytes to the output queue. Ignored once the socket is closing.
void socket_write(struct socket *socket, const void *data, size_t size);
void socket_write_slice(struct socket *socket, struct slice s);
/// Queues a chunk without copying it; takes a reference of its own. Keeps order with socket_write.
void socket_write_chunk(struct socket *socket, struct chunk *chunk);
/// As above, but goes into the kernel inside this call if nothing is queued before it. What does not
/// fit there is queued; on_close never fires inside this call either.
void socket_write_chunk_now(struct socket *socket, struct chunk *chunk);
/// Queues `size` bytes of a file by sendfile; takes the fd over and closes it when done.
void socket_write_file(struct socket *socket, int file, int64_t offset, uint64_t size);
void socket_flush(struct socket *socket); ///< now, in place of the end of the tick
static inline size_t socket_queued(const struct socket *socket) { return socket->out_size; }

void socket_pause(struct socket *socket); ///< stops on_data (on_end and errors still come)
void socket_resume(struct socket *socket);

void socket_close(struct socket *socket);     ///< after the queued output has gone
void socket_close_now(struct socket *socket, int error); ///< drops the queue
/// RST: frees what the kernel still holds for a peer that does not read.
void socket_close_reset(struct socket *socket, int error);

/// The peer's address as text ("127.0.0.1", "::1", "unix").
enum { SOCKET_ADDRESS_SIZE = 64 };
void socket_peer(const struct socket *socket, char out[SOCKET_ADDRESS_SIZE]);
#endif
