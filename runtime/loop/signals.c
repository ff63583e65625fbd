#include "loop/signals.h"

static void signals_on_signal(uv_signal_t *handle, int number) {
    struct signal_watch *watch = container_of(handle, struct signal_watch, handle);
    watch->on_signal(watch, number);
}

int signals_watch(struct loop *loop, struct signal_watch *watch, int number,
                  void (*on_signal)(struct signal_watch *watch, int number)) {
    watch->on_signal = on_signal;
    int error = uv_signal_init(&loop->uv, &watch->handle);
    if (error) return error;
    return uv_signal_start(&watch->handle, signals_on_signal, number);
}

void signals_unwatch(struct signal_watch *watch) {
    if (!uv_is_closing((uv_handle_t *)&watch->handle)) uv_close((uv_handle_t *)&watch->handle, NULL);
}
