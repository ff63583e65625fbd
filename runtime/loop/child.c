#include "loop/child.h"

#include <signal.h>
#include "base/buffer.h"
#include "base/memory.h"

enum { CHILD_GRACE_MS = 2000, CHILD_READ = 16 * 1024 };

struct child {
    uv_process_t process;
    uv_pipe_t input, output[2];
    struct child_options options;
    struct loop *loop;
    struct timer limit;
    size_t queued;
    int open; ///< handles that are not closed yet
    int status;
    bool exited, timed_out, input_open, input_ending;
    char buffer[CHILD_READ];
};

struct child_write {
    uv_write_t request;
    size_t size;
    char data[];
};

static void child_on_closed(uv_handle_t *handle) {
    struct child *child = handle->data;
    // on_exit comes when the process has ended and both outputs were read to their end.
    if (--child->open > 0) return;
    loop_timer_stop(child->loop, &child->limit);
    if (child->options.on_exit)
        child->options.on_exit(child->options.context, child->status, child->timed_out);
    memory_free(child);
}

static void child_close(uv_handle_t *handle) {
    if (!uv_is_closing(handle)) uv_close(handle, child_on_closed);
}

static void child_on_process_exit(uv_process_t *process, int64_t status, int number) {
    struct child *child = process->data;
    child->exited = true;
    child->status = number ? 128 + number : (int)status;
    if (child->input_open) {
        child->input_open = false;
        child_close((uv_handle_t *)&child->input);
    }
    child_close((uv_handle_t *)process);
}

static void child_on_buffer(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer) {
    (void)wanted;
    struct child *child = handle->data;
    *buffer = uv_buf_init(child->buffer, CHILD_READ);
}

static void child_on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer) {
    struct child *child = stream->data;
    if (size < 0) {
        child_close((uv_handle_t *)stream);
        return;
    }
    if (size > 0 && child->options.on_output)
        child->options.on_output(child->options.context,
                                 stream == (uv_stream_t *)&child->output[0] ? 1 : 2,
                                 slice_make(buffer->base, (size_t)size));
}

static void child_on_limit(struct timer *timer) {
    struct child *child = container_of(timer, struct child, limit);
    if (child->timed_out) {
        // It had its warning. A grandchild may hold the pipes open for ever: do not wait for them.
        if (!child->exited) uv_process_kill(&child->process, SIGKILL);
        if (!child->options.inherit_output)
            for (int i = 0; i < 2; i++) child_close((uv_handle_t *)&child->output[i]);
        return;
    }
    child->timed_out = true;
    if (!child->exited) uv_process_kill(&child->process, SIGTERM);
    loop_timer_start(child->loop, timer, CHILD_GRACE_MS);
}

static void child_on_failed_closed(uv_handle_t *handle) {
    struct child *child = handle->data;
    if (--child->open == 0) memory_free(child);
}

int child_spawn(struct loop *loop, const struct child_options *options, struct child **out) {
    struct child *child = memory_zero(1, sizeof *child);
    child->options = *options;
    child->loop = loop;
    timer_init(&child->limit, child_on_limit);
    uv_stdio_container_t standard[3] = {{.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_IGNORE}};
    if (options->pipe_input) {
        uv_pipe_init(&loop->uv, &child->input, 0);
        child->input.data = child;
        child->input_open = true;
        child->open++;
        standard[0].flags = UV_CREATE_PIPE | UV_READABLE_PIPE;
        standard[0].data.stream = (uv_stream_t *)&child->input;
    }
    for (int i = 0; i < 2; i++) {
        if (options->inherit_output) {
            standard[i + 1].flags = UV_INHERIT_FD;
            standard[i + 1].data.fd = i + 1;
            continue;
        }
        uv_pipe_init(&loop->uv, &child->output[i], 0);
        child->output[i].data = child;
        child->open++;
        standard[i + 1].flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
        standard[i + 1].data.stream = (uv_stream_t *)&child->output[i];
    }
    uv_process_options_t process = {
        .exit_cb = child_on_process_exit,
        .file = options->arguments[0],
        .args = (char **)(uintptr_t)options->arguments,
        .env = (char **)(uintptr_t)options->environment,
        .cwd = options->directory,
        .stdio_count = 3,
        .stdio = standard,
    };
    child->process.data = child;
    child->open++;
    int error = uv_spawn(&loop->uv, &child->process, &process);
    child->process.data = child;
    if (error) {
        if (options->pipe_input) uv_close((uv_handle_t *)&child->input, child_on_failed_closed);
        if (!options->inherit_output)
            for (int i = 0; i < 2; i++)
                uv_close((uv_handle_t *)&child->output[i], child_on_failed_closed);
        uv_close((uv_handle_t *)&child->process, child_on_failed_closed);
        return error;
    }
    if (!options->inherit_output)
        for (int i = 0; i < 2; i++)
            uv_read_start((uv_stream_t *)&child->output[i], child_on_buffer, child_on_read);
    if (options->limit_ms) loop_timer_start(loop, &child->limit, options->limit_ms);
    *out = child;
    return 0;
}

int child_pid(const struct child *child) { return child->process.pid; }

void child_kill(struct child *child, int number) {
    if (!child->exited) uv_process_kill(&child->process, number);
}

static void child_on_written(uv_write_t *request, int status) {
    struct child_write *write = container_of(request, struct child_write, request);
    struct child *child = request->handle->data;
    child->queued -= write->size;
    memory_free(write);
    bool close_now = child->input_open && (status < 0 || (child->input_ending && child->queued == 0));
    if (close_now) {
        child->input_open = false;
        child_close((uv_handle_t *)&child->input);
    }
    if (status >= 0 && child->queued == 0 && child->input_open && child->options.on_drain)
        child->options.on_drain(child->options.context);
}

size_t child_write(struct child *child, struct slice data) {
    if (!child->input_open || child->input_ending || data.size == 0) return child->queued;
    struct child_write *write = memory_alloc(sizeof *write + data.size);
    write->size = data.size;
    memcpy(write->data, data.data, data.size);
    uv_buf_t part = uv_buf_init(write->data, (unsigned)data.size);
    child->queued += data.size;
    if (uv_write(&write->request, (uv_stream_t *)&child->input, &part, 1, child_on_written) < 0) {
        child->queued -= data.size;
        memory_free(write);
    }
    return child->queued;
}

void child_pause(struct child *child, bool pause) {
    uv_stream_t *output = (uv_stream_t *)&child->output[0];
    if (child->options.inherit_output || uv_is_closing((uv_handle_t *)output)) return;
    if (pause) uv_read_stop(output);
    else uv_read_start(output, child_on_buffer, child_on_read);
}

void child_end_input(struct child *child) {
    if (!child->input_open) return;
    child->input_ending = true;
    if (child->queued == 0) {
        child->input_open = false;
        child_close((uv_handle_t *)&child->input);
    }
}
