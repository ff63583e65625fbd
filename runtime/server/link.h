#ifndef FOOTLIGHT_SERVER_LINK_H
#define FOOTLIGHT_SERVER_LINK_H
#include "base/buffer.h"
#include "loop/socket.h"

/// Lines of text over a socket: between the supervisor and its services, and between `footlight
/// status` and the supervisor. A line is at most LINK_LINE bytes; a peer that sends more is cut
/// off.
enum { LINK_LINE = 256 * 1024 };

struct link {
    struct socket socket;
    struct buffer input;
    void (*on_line)(struct link *link, struct slice line); ///< without the newline
    void (*on_gone)(struct link *link);                    ///< the last call: free the link here
    void *data;
};

/// Takes the fd. 0 or a negative errno (then on_gone does not come).
int link_open(struct loop *loop, struct link *link, int fd);
void link_send(struct link *link, struct slice line); ///< adds the newline
void link_close(struct link *link);                   ///< after what was sent has gone
#endif
