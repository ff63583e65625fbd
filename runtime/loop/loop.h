#ifndef FOOTLIGHT_LOOP_LOOP_H
#define FOOTLIGHT_LOOP_LOOP_H
#include <uv.h>
#include "base/list.h"
#include "base/wheel.h"

enum { LOOP_READ_SIZE = 64 * 1024 };

/// One libuv loop with what every service needs of it: a timer wheel on a single uv_timer, work
/// deferred to the end of the tick, and one read buffer that all sockets share. All callbacks of
/// the runtime run on the loop's thread. A callback never fires inside the call that asked for it.
struct loop {
    uv_loop_t uv;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; ///< keeps the poll from blocking while deferred work waits
    struct wheel wheel;
    struct list deferred;
    struct list flushing; ///< sockets with corked output, see socket.h
    struct socket_segment *spare_segments, *large_spare_segments; ///< for the next answers
    unsigned spare_count, large_spare_count;
    char *read_buffer;    ///< LOOP_READ_SIZE bytes; valid inside one on_data call only
    void *data;           ///< the owner's
};

/// Work to do once, at the end of this tick (or of the next one, when started from deferred work).
struct deferred {
    struct list link;
    void (*run)(struct deferred *deferred);
};

int loop_init(struct loop *loop); ///< 0 or a negative uv error
void loop_run(struct loop *loop); ///< until loop_stop
void loop_stop(struct loop *loop);
/// Closes the loop's own handles and runs until all are closed. Returns the number of handles that
/// somebody else left open (each is logged as loop.leak with its type); tests require 0.
int loop_close(struct loop *loop);
/// Runs the loop until *done or the limit; for tests and commands. False if the limit came first.
bool loop_run_until(struct loop *loop, const bool *done, uint64_t limit_ms);

uint64_t loop_now(struct loop *loop); ///< milliseconds of the loop's monotonic clock, cached per tick

void loop_timer_start(struct loop *loop, struct timer *timer, uint64_t after_ms);
void loop_timer_stop(struct loop *loop, struct timer *timer);

void deferred_init(struct deferred *deferred, void (*run)(struct deferred *deferred));
void loop_defer(struct loop *loop, struct deferred *deferred); ///< once, however often it is called
void loop_undefer(struct deferred *deferred);
#endif
