// A connection that ends in the very tick in which it was given a statement.
#include "mariadb/pool.h"

#include "mariadb_server.h"

static struct loop loop;
static struct mariadb_server server;

struct asker {
    uv_poll_t poll;
    struct mariadb_pool *pool;
    unsigned asked, told;
    bool good, done, closed;
};

static void on_outcome(void *context, const struct mariadb_result *result,
                       const struct mariadb_error *error) {
    struct asker *asker = context;
    (void)error;
    asker->told++;
    asker->good = result != NULL;
    asker->done = true;
}

static void ask(struct asker *asker) {
    asker->done = false;
    asker->asked++;
    mariadb_query(asker->pool, SLICE("SELECT 1"), NULL, 0, NULL, on_outcome, asker);
}

static void on_ready(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    uv_poll_stop(poll);
    ask(poll->data);
}

static void on_closed(uv_handle_t *handle) { ((struct asker *)handle->data)->closed = true; }

static void a_statement_given_to_a_dying_connection_is_told(void **state) {
    (void)state;
    int pair[2];
    mariadb_server_start(&server); // first: it blocks, and the loop's clock would stand meanwhile
    assert_int_equal(loop_init(&loop), 0);
    struct mariadb_options options = {
        .socket = server.socket, .name = "test", .user = "root", .wait_ms = 15000, .connect_ms = 15000};
    struct asker asker = {.pool = mariadb_pool_new(&loop, &options)};
    ask(&asker);
    assert_true(loop_run_until(&loop, &asker.done, 30000));
    assert_true(asker.good);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(uv_poll_init(&loop.uv, &asker.poll, pair[0]), 0);
    asker.poll.data = &asker;
    uv_poll_start(&asker.poll, UV_READABLE, on_ready);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    // Readable first, so its callback comes first: the statement goes to the idle connection, whose
    // end is the next event of the same poll.
    assert_int_equal(write(pair[1], "x", 1), 1);
    mariadb_server_signal(&server, SIGKILL);
    asker.done = false;
    assert_true(loop_run_until(&loop, &asker.done, 30000));
    assert_int_equal(asker.asked, 2);
    assert_int_equal(asker.told, 2);
    assert_false(asker.good);
    mariadb_pool_free(asker.pool);
    uv_close((uv_handle_t *)&asker.poll, on_closed);
    assert_true(loop_run_until(&loop, &asker.closed, 1000));
    assert_int_equal(loop_close(&loop), 0);
    close(pair[0]);
    close(pair[1]);
    mariadb_server_remove(&server);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_statement_given_to_a_dying_connection_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
