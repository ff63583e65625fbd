#ifndef FOOTLIGHT_LOOP_SIGNALS_H
#define FOOTLIGHT_LOOP_SIGNALS_H
#include "loop/loop.h"

struct signal_watch {
    uv_signal_t handle;
    void (*on_signal)(struct signal_watch *watch, int number);
    void *data;
};
int signals_watch(struct loop *loop, struct signal_watch *watch, int number,
                  void (*on_signal)(struct signal_watch *watch, int number));
void signals_unwatch(struct signal_watch *watch); ///< the struct must outlive the next tick
#endif
