#ifndef FOOTLIGHT_LOOP_LISTENER_H
#define FOOTLIGHT_LOOP_LISTENER_H
#include "base/slice.h"
#include "loop/loop.h"

/// Opens a listening socket, not yet on a loop, non-blocking and close-on-exec. `address` is
/// "127.0.0.1:8081", "[::1]:8081" or "unix:/path". Returns the fd or a negative errno.
int listener_open(const char *address, int backlog);

struct listener {
    struct loop *loop;
    uv_poll_t poll;
    int fd, reserve; ///< reserve: an fd kept to accept and close at EMFILE, so peers are told
    void (*on_accept)(struct listener *listener, int fd);
    void (*on_closed)(struct listener *listener);
    void *data;
    struct timer pause; ///< after EMFILE: accepts again a little later
};

/// Accepts (up to 64 a wake-up) and hands each non-blocking fd to on_accept, which owns it.
int listener_start(struct loop *loop, struct listener *listener, int fd,
                   void (*on_accept)(struct listener *listener, int fd));
/// Stops accepting; `closed` (may be NULL) is called when the struct may be freed. The fd stays
/// open if keep_fd (it belongs to the supervisor).
void listener_stop(struct listener *listener, bool keep_fd,
                   void (*closed)(struct listener *listener));
int listener_port(int fd); ///< the bound TCP port, for tests that bind port 0
#endif
