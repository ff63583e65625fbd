#include "loop/work.h"

#include "base/memory.h"

struct work {
    uv_work_t request;
    void (*run)(void *data);
    void (*done)(void *data);
    void *data;
};

static void work_run(uv_work_t *request) {
    struct work *work = container_of(request, struct work, request);
    work->run(work->data);
}

static void work_done(uv_work_t *request, int status) {
    (void)status; // never cancelled: nobody calls uv_cancel
    struct work work = *container_of(request, struct work, request);
    memory_free(container_of(request, struct work, request));
    work.done(work.data);
}

void work_submit(struct loop *loop, void (*run)(void *data), void (*done)(void *data),
                 void *data) {
    struct work *work = memory_alloc(sizeof *work);
    work->run = run;
    work->done = done;
    work->data = data;
    uv_queue_work(&loop->uv, &work->request, work_run, work_done);
}
