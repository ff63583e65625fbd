#ifndef FOOTLIGHT_LOOP_CHILD_H
#define FOOTLIGHT_LOOP_CHILD_H
#include "base/slice.h"
#include "loop/loop.h"

/// A child process with limits. Its output is handed over as it comes; nothing is inherited but the
/// standard three descriptors. No shell is involved.
struct child_options {
    const char *const *arguments;   ///< NULL-terminated, [0] is the program
    const char *const *environment; ///< NULL-terminated "K=V", or NULL: ours
    const char *directory;          ///< or NULL
    bool pipe_input;                ///< child_write() feeds it; else /dev/null
    bool inherit_output;            ///< stdout and stderr are ours
    uint64_t limit_ms;              ///< 0: none; past it SIGTERM, two seconds later SIGKILL
    void (*on_output)(void *context, int stream, struct slice data); ///< stream 1 or 2; may be NULL
    void (*on_drain)(void *context); ///< child_write's queue became empty; may be NULL
    /// Exactly once, after all output. status is the exit code, or 128 + the signal.
    void (*on_exit)(void *context, int status, bool timed_out);
    void *context;
};
struct child;
/// 0 and *out, or a negative uv error (no callback comes). The child frees itself after on_exit.
int child_spawn(struct loop *loop, const struct child_options *options, struct child **out);
int child_pid(const struct child *child);
void child_kill(struct child *child, int number);
/// Copies the data to the child's input; `child_end_input` closes it after that. Returns the bytes
/// still queued, so that callers can hold back.
size_t child_write(struct child *child, struct slice data);
void child_end_input(struct child *child);
/// Stops, or goes on, reading its standard output; a child that writes more than a pipe holds waits.
/// A child that is killed has to be read on, or its end is not noticed.
void child_pause(struct child *child, bool pause);
#endif
