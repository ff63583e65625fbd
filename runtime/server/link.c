#include "server/link.h"

#include <errno.h>

static void link_on_data(struct socket *socket, const char *data, size_t size) {
    struct link *link = container_of(socket, struct link, socket);
    buffer_append(&link->input, data, size);
    size_t from = 0;
    for (;;) {
        struct slice rest = slice_sub(buffer_slice(&link->input), from, SIZE_MAX);
        size_t end = slice_find(rest, '\n', 0);
        if (end == rest.size) break;
        from += end + 1;
        link->on_line(link, slice_make(rest.data, end));
        if (link->socket.closing) return;
    }
    buffer_consume(&link->input, from);
    if (link->input.size > LINK_LINE) socket_close_now(socket, -EMSGSIZE);
}

static void link_on_close(struct socket *socket, int error) {
    struct link *link = container_of(socket, struct link, socket);
    (void)error;
    buffer_free(&link->input);
    link->on_gone(link);
}

static const struct socket_events link_events = {
    .on_data = link_on_data,
    .on_close = link_on_close,
};

int link_open(struct loop *loop, struct link *link, int fd) {
    link->input = (struct buffer){0};
    return socket_open(loop, &link->socket, fd, &link_events);
}

void link_send(struct link *link, struct slice line) {
    socket_write_slice(&link->socket, line);
    socket_write(&link->socket, "\n", 1);
}

void link_close(struct link *link) {
    socket_close(&link->socket);
}
