#ifndef FOOTLIGHT_LOOP_WORK_H
#define FOOTLIGHT_LOOP_WORK_H
#include "loop/loop.h"

/// Runs `run(data)` on a thread of the pool, then `done(data)` on the loop. run may touch nothing
/// but data. For password hashing, name resolution and files; not for waiting on servers.
void work_submit(struct loop *loop, void (*run)(void *data), void (*done)(void *data), void *data);
#endif
