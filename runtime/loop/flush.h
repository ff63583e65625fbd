#ifndef FOOTLIGHT_LOOP_FLUSH_H
#define FOOTLIGHT_LOOP_FLUSH_H
struct loop;
/// Writes what sockets corked in this tick. Between loop.c and socket.c only.
void socket_flush_all(struct loop *loop);
void socket_free_spares(struct loop *loop);
#endif
