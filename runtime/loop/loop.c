#include "loop/loop.h"

#include <string.h>
#include "base/log.h"
#include "base/memory.h"
#include "loop/flush.h"

// A tick, in libuv's order: timers (ours is one uv_timer that advances the wheel), prepare, poll
// with all I/O callbacks, check. What the callbacks corked or deferred is handled at once in
// check; what the timers did is handled in prepare, before the loop may sleep.

static void loop_settle(struct loop *loop) {
    // Only what was there when we began: work that defers itself again must let I/O through.
    struct list batch;
    list_init(&batch);
    list_take_all(&batch, &loop->deferred);
    while (!list_empty(&batch)) {
        struct deferred *deferred = list_first(&batch, struct deferred, link);
        list_remove(&deferred->link);
        deferred->run(deferred);
    }
    socket_flush_all(loop);
    log_flush(); // after the answers: nobody waits for it
}

static void loop_on_check(uv_check_t *check) { loop_settle(check->data); }

static void loop_on_timer(uv_timer_t *timer) {
    struct loop *loop = timer->data;
    wheel_advance(&loop->wheel, uv_now(&loop->uv));
}

static void loop_on_idle(uv_idle_t *idle) { (void)idle; }

static void loop_on_prepare(uv_prepare_t *prepare) {
    struct loop *loop = prepare->data;
    // Deferred work may have been what somebody runs the loop for (loop_run_until): one more turn.
    bool worked = !list_empty(&loop->deferred);
    loop_settle(loop);
    if (!worked && list_empty(&loop->deferred) && list_empty(&loop->flushing))
        uv_idle_stop(&loop->idle);
    else
        uv_idle_start(&loop->idle, loop_on_idle); // an active idle handle makes the poll not wait
    uint64_t next = wheel_next(&loop->wheel);
    if (next == UINT64_MAX) {
        uv_timer_stop(&loop->timer);
        return;
    }
    uint64_t due = loop->wheel.now + next, now = uv_now(&loop->uv);
    uv_timer_start(&loop->timer, loop_on_timer, due > now ? due - now : 0, 0);
}

int loop_init(struct loop *loop) {
    memset(loop, 0, sizeof *loop);
    int error = uv_loop_init(&loop->uv);
    if (error) return error;
    loop->uv.data = loop;
    list_init(&loop->deferred);
    list_init(&loop->flushing);
    loop->read_buffer = memory_alloc(LOOP_READ_SIZE);
    wheel_init(&loop->wheel, uv_now(&loop->uv));
    uv_timer_init(&loop->uv, &loop->timer);
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    loop->timer.data = loop->prepare.data = loop->check.data = loop->idle.data = loop;
    uv_prepare_start(&loop->prepare, loop_on_prepare);
    uv_check_start(&loop->check, loop_on_check);
    return 0;
}

void loop_run(struct loop *loop) { uv_run(&loop->uv, UV_RUN_DEFAULT); }

void loop_stop(struct loop *loop) { uv_stop(&loop->uv); }

struct loop_limit {
    struct timer timer;
    struct loop *loop;
    bool passed;
};

static void loop_limit_fire(struct timer *timer) {
    struct loop_limit *limit = container_of(timer, struct loop_limit, timer);
    limit->passed = true;
    // Timers fire before the poll, which would now wait for ever if there is no other timer.
    uv_stop(&limit->loop->uv);
}

bool loop_run_until(struct loop *loop, const bool *done, uint64_t limit_ms) {
    struct loop_limit limit = {.loop = loop};
    timer_init(&limit.timer, loop_limit_fire);
    uv_update_time(&loop->uv);
    loop_timer_start(loop, &limit.timer, limit_ms);
    while (!*done && !limit.passed) uv_run(&loop->uv, UV_RUN_ONCE);
    loop_timer_stop(loop, &limit.timer);
    return *done;
}

struct loop_census {
    struct loop *loop;
    int leaked;
};

static void loop_count_handle(uv_handle_t *handle, void *context) {
    struct loop_census *census = context;
    struct loop *loop = census->loop;
    if (uv_is_closing(handle)) return;
    if (handle != (uv_handle_t *)&loop->timer && handle != (uv_handle_t *)&loop->prepare &&
        handle != (uv_handle_t *)&loop->check && handle != (uv_handle_t *)&loop->idle) {
        census->leaked++;
        log_error("loop.leak", LOG_TEXT("handle", uv_handle_type_name(handle->type)));
    }
    uv_close(handle, NULL);
}

int loop_close(struct loop *loop) {
    // Closing sockets finish in the next ticks; they are not leaks.
    for (int i = 0; i < 8; i++) uv_run(&loop->uv, UV_RUN_NOWAIT);
    struct loop_census census = {loop, 0};
    uv_walk(&loop->uv, loop_count_handle, &census);
    while (uv_run(&loop->uv, UV_RUN_NOWAIT)) {
    }
    int error = uv_loop_close(&loop->uv);
    if (error) log_error("loop.close", LOG_TEXT("error", uv_strerror(error)));
    memory_free(loop->read_buffer);
    loop->read_buffer = NULL;
    socket_free_spares(loop);
    return census.leaked;
}

uint64_t loop_now(struct loop *loop) { return uv_now(&loop->uv); }

void loop_timer_start(struct loop *loop, struct timer *timer, uint64_t after_ms) {
    wheel_start(&loop->wheel, timer, uv_now(&loop->uv) + after_ms);
}

void loop_timer_stop(struct loop *loop, struct timer *timer) { wheel_stop(&loop->wheel, timer); }

void deferred_init(struct deferred *deferred, void (*run)(struct deferred *deferred)) {
    list_init(&deferred->link);
    deferred->run = run;
}

void loop_defer(struct loop *loop, struct deferred *deferred) {
    if (list_empty(&deferred->link)) list_push_back(&loop->deferred, &deferred->link);
}

void loop_undefer(struct deferred *deferred) { list_remove(&deferred->link); }
