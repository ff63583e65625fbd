#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include "loop/child.h"
#include "loop/listener.h"
#include "loop/socket.h"
#include "loop/work.h"

static struct loop loop;

struct peer {
    struct socket socket;
    struct buffer got;
    size_t expected;
    bool done, ended, drained, closed, connected;
    int error;
};

static void peer_on_data(struct socket *socket, const char *data, size_t size) {
    struct peer *peer = container_of(socket, struct peer, socket);
    buffer_append(&peer->got, data, size);
    if (peer->expected && peer->got.size >= peer->expected) peer->done = true;
}
static void peer_on_end(struct socket *socket) {
    struct peer *peer = container_of(socket, struct peer, socket);
    peer->ended = true;
    if (!peer->expected) peer->done = true;
}
static void peer_on_drain(struct socket *socket) {
    container_of(socket, struct peer, socket)->drained = true;
}
static void peer_on_close(struct socket *socket, int error) {
    struct peer *peer = container_of(socket, struct peer, socket);
    assert_false(peer->closed);
    peer->closed = true;
    peer->error = error;
}
static void peer_on_connect(struct socket *socket) {
    container_of(socket, struct peer, socket)->connected = true;
}
static const struct socket_events peer_events = {
    peer_on_data, peer_on_end, peer_on_drain, peer_on_close, peer_on_connect,
};

static void open_pair(struct peer *a, struct peer *b) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    *a = *b = (struct peer){0};
    assert_int_equal(socket_open(&loop, &a->socket, fds[0], &peer_events), 0);
    assert_int_equal(socket_open(&loop, &b->socket, fds[1], &peer_events), 0);
}

static void close_both(struct peer *a, struct peer *b) {
    socket_close_now(&a->socket, 0);
    socket_close_now(&b->socket, 0);
    assert_true(loop_run_until(&loop, &a->closed, 2000));
    assert_true(loop_run_until(&loop, &b->closed, 2000));
    buffer_free(&a->got);
    buffer_free(&b->got);
}

static int set_up(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    return loop_init(&loop);
}
static int tear_down(void **state) {
    (void)state;
    return loop_close(&loop);
}

static void bytes_chunks_and_files_arrive_in_the_order_written(void **state) {
    (void)state;
    struct peer a, b;
    open_pair(&a, &b);
    char name[] = "/tmp/loop_test_XXXXXX";
    int file = mkstemp(name);
    assert_int_equal(write(file, "0123456789", 10), 10);
    unlink(name);
    struct chunk *chunk = chunk_new("<chunk>", 7);
    socket_write(&a.socket, "first", 5);
    socket_write_chunk(&a.socket, chunk);
    socket_write_file(&a.socket, file, 2, 5);
    socket_write(&a.socket, "last", 4);
    assert_int_equal(socket_queued(&a.socket), 21);
    b.expected = 21;
    assert_true(loop_run_until(&loop, &b.done, 2000));
    assert_memory_equal(b.got.data, "first<chunk>23456last", 21);
    assert_int_equal(chunk->references, 1);
    chunk_release(chunk);
    close_both(&a, &b);
}

static void a_reader_that_pauses_blocks_the_writer_until_it_resumes(void **state) {
    (void)state;
    struct peer a, b;
    open_pair(&a, &b);
    socket_pause(&b.socket);
    enum { SIZE = 4 * 1024 * 1024 };
    char *big = malloc(SIZE);
    for (int i = 0; i < SIZE; i++) big[i] = (char)(i * 31 >> 8);
    socket_write(&a.socket, big, SIZE);
    bool never = false;
    loop_run_until(&loop, &never, 20);
    assert_true(socket_queued(&a.socket) > 0);
    assert_false(a.drained);
    b.expected = SIZE;
    socket_resume(&b.socket);
    assert_true(loop_run_until(&loop, &b.done, 5000));
    assert_true(loop_run_until(&loop, &a.drained, 2000));
    assert_memory_equal(b.got.data, big, SIZE);
    free(big);
    close_both(&a, &b);
}

static void close_sends_what_is_queued_and_the_peer_sees_the_end(void **state) {
    (void)state;
    struct peer a, b;
    open_pair(&a, &b);
    socket_write(&a.socket, "bye", 3);
    socket_close(&a.socket);
    socket_write(&a.socket, "ignored", 7);
    assert_true(loop_run_until(&loop, &b.done, 2000));
    assert_true(b.ended);
    assert_int_equal(b.got.size, 3);
    assert_true(loop_run_until(&loop, &a.closed, 2000));
    assert_int_equal(a.error, 0);
    close_both(&a, &b);
}

static void the_end_is_told_while_reading_is_paused_and_data_is_kept(void **state) {
    (void)state;
    struct peer a, b;
    open_pair(&a, &b);
    socket_pause(&b.socket);
    socket_write(&a.socket, "kept", 4);
    socket_close(&a.socket);
    assert_true(loop_run_until(&loop, &b.ended, 2000));
    assert_int_equal(b.got.size, 0);
    b.done = false;
    b.expected = 4;
    socket_resume(&b.socket);
    assert_true(loop_run_until(&loop, &b.done, 2000));
    close_both(&a, &b);
}

static struct peer server_side;
static bool accepted;
static void on_accept(struct listener *listener, int fd) {
    assert_int_equal(socket_open(listener->loop, &server_side.socket, fd, &peer_events), 0);
    accepted = true;
}
static bool listener_closed;
static void on_listener_closed(struct listener *listener) {
    (void)listener;
    listener_closed = true;
}

static void connections_come_in_and_a_reset_is_an_error(void **state) {
    (void)state;
    int fd = listener_open("127.0.0.1:0", 16);
    assert_true(fd >= 0);
    struct listener listener = {0};
    assert_int_equal(listener_start(&loop, &listener, fd, on_accept), 0);
    struct peer client = {0};
    server_side = (struct peer){0};
    accepted = false;
    assert_int_equal(socket_connect_tcp(&loop, &client.socket, "127.0.0.1", listener_port(fd), &peer_events), 0);
    assert_false(client.connected);
    assert_true(loop_run_until(&loop, &client.connected, 2000));
    assert_true(loop_run_until(&loop, &accepted, 2000));
    socket_close_reset(&server_side.socket, 0);
    assert_true(loop_run_until(&loop, &client.closed, 2000));
    assert_int_equal(client.error, -ECONNRESET);
    listener_stop(&listener, false, on_listener_closed);
    assert_true(loop_run_until(&loop, &listener_closed, 2000));
    // Nobody listens there now.
    struct peer second = {0};
    assert_int_equal(socket_connect_tcp(&loop, &second.socket, "127.0.0.1", 1, &peer_events), 0);
    assert_true(loop_run_until(&loop, &second.closed, 2000));
    assert_int_equal(second.error, -ECONNREFUSED);
    assert_int_equal(socket_connect_tcp(&loop, &second.socket, "localhost", 1, &peer_events), -EINVAL);
}

static void a_unix_socket_that_somebody_serves_is_not_taken_over(void **state) {
    (void)state;
    char address[64];
    snprintf(address, sizeof address, "unix:/tmp/loop_test_%d.sock", getpid());
    int first = listener_open(address, 4);
    assert_true(first >= 0);
    assert_int_equal(listener_open(address, 4), -EADDRINUSE);
    close(first);
    int second = listener_open(address, 4); // debris of a dead server
    assert_true(second >= 0);
    close(second);
    unlink(address + 5);
}

struct child_result {
    struct buffer output;
    int status;
    bool timed_out, done;
};
static void child_output(void *context, int stream, struct slice data) {
    struct child_result *result = context;
    if (stream == 1) buffer_append_slice(&result->output, data);
}
static void child_exit(void *context, int status, bool timed_out) {
    struct child_result *result = context;
    result->status = status;
    result->timed_out = timed_out;
    result->done = true;
}

static void a_child_gets_input_gives_output_and_a_status(void **state) {
    (void)state;
    struct child_result result = {0};
    const char *arguments[] = {"/bin/sh", "-c", "cat; exit 7", NULL};
    struct child_options options = {.arguments = arguments, .pipe_input = true, .on_output = child_output,
                                    .on_exit = child_exit, .context = &result};
    struct child *child;
    assert_int_equal(child_spawn(&loop, &options, &child), 0);
    child_write(child, SLICE("hello"));
    child_end_input(child);
    assert_true(loop_run_until(&loop, &result.done, 5000));
    assert_int_equal(result.status, 7);
    assert_memory_equal(result.output.data, "hello", 5);
    buffer_free(&result.output);
}

static void a_child_past_its_limit_is_ended(void **state) {
    (void)state;
    struct child_result result = {0};
    const char *arguments[] = {"/bin/sleep", "60", NULL};
    struct child_options options = {.arguments = arguments, .limit_ms = 30, .on_exit = child_exit, .context = &result};
    struct child *child;
    assert_int_equal(child_spawn(&loop, &options, &child), 0);
    assert_true(loop_run_until(&loop, &result.done, 5000));
    assert_true(result.timed_out);
    assert_int_equal(result.status, 128 + SIGTERM);
    const char *missing[] = {"/nonexistent/program", NULL};
    options.arguments = missing;
    assert_int_equal(child_spawn(&loop, &options, &child), UV_ENOENT);
}

static struct deferred again;
static int runs;
static bool enough;
static void run_again(struct deferred *deferred) {
    if (++runs < 3)
        loop_defer(&loop, deferred);
    else
        enough = true;
}

static void deferred_work_runs_once_a_tick_and_never_at_once(void **state) {
    (void)state;
    deferred_init(&again, run_again);
    loop_defer(&loop, &again);
    loop_defer(&loop, &again);
    assert_int_equal(runs, 0);
    assert_true(loop_run_until(&loop, &enough, 2000));
    assert_int_equal(runs, 3);
}

static void double_it(void *data) { *(int *)data *= 2; }
static bool worked;
static void work_finished(void *data) {
    (void)data;
    worked = true;
}
static void work_runs_on_a_thread_and_is_done_on_the_loop(void **state) {
    (void)state;
    int value = 21;
    work_submit(&loop, double_it, work_finished, &value);
    assert_true(loop_run_until(&loop, &worked, 2000));
    assert_int_equal(value, 42);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_chunks_and_files_arrive_in_the_order_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_reader_that_pauses_blocks_the_writer_until_it_resumes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(close_sends_what_is_queued_and_the_peer_sees_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_is_told_while_reading_is_paused_and_data_is_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(connections_come_in_and_a_reset_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_unix_socket_that_somebody_serves_is_not_taken_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_child_gets_input_gives_output_and_a_status, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_child_past_its_limit_is_ended, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deferred_work_runs_once_a_tick_and_never_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(work_runs_on_a_thread_and_is_done_on_the_loop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
