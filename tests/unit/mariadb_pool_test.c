#include "mariadb/connection.h"
#include "mariadb/pool.h"

#include "base/clock.h"
#include "base/memory.h"
#include "mariadb_server.h"

static struct loop loop;
static struct mariadb_server server;

struct outcome {
    bool came;
    int calls;
    struct mariadb_result *result;
    struct mariadb_error error;
    struct mariadb_session *session;
};

static void on_outcome(void *context, const struct mariadb_result *result,
                       const struct mariadb_error *error) {
    struct outcome *outcome = context;
    assert_true((result == NULL) != (error == NULL));
    outcome->came = true;
    outcome->calls++;
    if (result) outcome->result = mariadb_result_take(result);
    if (error) outcome->error = *error;
}

static void on_session(void *context, struct mariadb_session *session,
                       const struct mariadb_error *error) {
    struct outcome *outcome = context;
    outcome->came = true;
    outcome->calls++;
    outcome->session = session;
    if (error) outcome->error = *error;
}

static void wait_for(struct outcome *outcome) {
    if (!loop_run_until(&loop, &outcome->came, 30000)) fail_msg("no outcome");
    assert_int_equal(outcome->calls, 1);
}

static void forget(struct outcome *outcome) {
    mariadb_result_free(outcome->result);
    memset(outcome, 0, sizeof *outcome);
}

static struct mariadb_pool *new_pool(struct mariadb_options options) {
    if (!options.socket) options.socket = server.socket;
    options.name = "test";
    // A busy machine is no failure.
    if (!options.wait_ms) options.wait_ms = 15000;
    if (!options.connect_ms) options.connect_ms = 15000;
    options.user = "root";
    return mariadb_pool_new(&loop, &options);
}

static void end(struct mariadb_pool *pool) {
    mariadb_pool_free(pool);
    for (int i = 0; i < 5; i++) uv_run(&loop.uv, UV_RUN_NOWAIT);
}

#define TEXT(literal) ((struct mariadb_cell){.type = MARIADB_TEXT, .text = SLICE(literal)})
#define INTEGER(n) ((struct mariadb_cell){.type = MARIADB_INTEGER, .integer = (n)})
#define QUERY(pool, outcome, sql, ...)                                                             \
    mariadb_query(pool, slice_of(sql), (struct mariadb_cell[]){{0}, ##__VA_ARGS__} + 1,            \
                  sizeof((struct mariadb_cell[]){{0}, ##__VA_ARGS__}) /                            \
                          sizeof(struct mariadb_cell) - 1,                                         \
                  NULL, on_outcome, outcome)

static void must(struct mariadb_pool *pool, const char *sql) {
    struct outcome outcome = {0};
    QUERY(pool, &outcome, sql);
    wait_for(&outcome);
    if (outcome.error.kind) fail_msg("%s: %s", sql, outcome.error.message);
    forget(&outcome);
}

/// The first value of the first row as an integer.
static int64_t number(struct mariadb_pool *pool, const char *sql) {
    struct outcome outcome = {0};
    QUERY(pool, &outcome, sql);
    wait_for(&outcome);
    if (outcome.error.kind) fail_msg("%s: %s", sql, outcome.error.message);
    assert_int_equal(outcome.result->values[0].type, MARIADB_INTEGER);
    int64_t value = outcome.result->values[0].integer;
    forget(&outcome);
    return value;
}

static void assert_text(const struct mariadb_cell *cell, const char *expected) {
    assert_int_equal(cell->type, MARIADB_TEXT);
    assert_int_equal(cell->text.size, strlen(expected));
    assert_memory_equal(cell->text.data, expected, cell->text.size);
}

/// A short value as text, good until the next call.
static const char *text_of(const struct mariadb_cell *cell) {
    static char text[32];
    snprintf(text, sizeof text, "%.*s", SLICE_FORMAT(cell->text));
    return text;
}

static int set_up(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    mariadb_server_start(&server); // first: it blocks, and the loop's clock would stand meanwhile
    assert_int_equal(loop_init(&loop), 0);
    struct mariadb_pool *pool = new_pool((struct mariadb_options){0});
    must(pool, "CREATE DATABASE t");
    end(pool);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    assert_int_equal(loop_close(&loop), 0);
    mariadb_server_remove(&server);
    return 0;
}

static void values_keep_their_types_and_bytes(void **state) {
    (void)state;
    struct mariadb_pool *pool = new_pool((struct mariadb_options){.database = "t"});
    must(pool, "CREATE TABLE kinds (big BIGINT, huge BIGINT UNSIGNED, real_ DOUBLE, exact DECIMAL(20,4), "
               "at DATETIME(6), day DATE, words VARCHAR(200), bytes BLOB, nothing INT, flag BOOLEAN)");
    struct outcome put = {0}, got = {0};
    QUERY(pool, &put, "INSERT INTO kinds VALUES (?, 18446744073709551615, ?, ?, ?, ?, ?, ?, ?, ?)",
          INTEGER(INT64_MIN), {.type = MARIADB_REAL, .real = 0.5}, TEXT("1234567890123456.7891"),
          TEXT("2026-11-24 10:00:00.123456"), TEXT("2026-11-24"), TEXT("gr\xc3\xbc\xc3\x9f"),
          TEXT("\xff\0\x01"), {.type = MARIADB_NULL}, INTEGER(1));
    assert_false(put.came); // never inside the call
    wait_for(&put);
    assert_int_equal(put.error.kind, 0);
    assert_int_equal(put.result->affected, 1);
    QUERY(pool, &got, "SELECT * FROM kinds WHERE words = ?", TEXT("gr\xc3\xbc\xc3\x9f"));
    wait_for(&got);
    assert_int_equal(got.result->rows, 1);
    assert_int_equal(got.result->columns, 10);
    assert_memory_equal(got.result->names[0].data, "big", 3);
    const struct mariadb_cell *v = got.result->values;
    assert_int_equal(v[0].type, MARIADB_INTEGER);
    assert_true(v[0].integer == INT64_MIN);
    assert_text(&v[1], "18446744073709551615");
    assert_true(v[2].type == MARIADB_REAL && v[2].real == 0.5);
    assert_text(&v[3], "1234567890123456.7891");
    assert_text(&v[4], "2026-11-24 10:00:00.123456");
    assert_text(&v[5], "2026-11-24");
    assert_text(&v[6], "gr\xc3\xbc\xc3\x9f");
    assert_int_equal(v[7].text.size, 3);
    assert_memory_equal(v[7].text.data, "\xff\0\x01", 3);
    assert_int_equal(v[8].type, MARIADB_NULL);
    assert_int_equal(v[9].integer, 1);
    forget(&put);
    forget(&got);
    end(pool);
}

static void long_values_arrive_whole_and_too_much_is_refused(void **state) {
    (void)state;
    struct mariadb_pool *pool =
        new_pool((struct mariadb_options){.database = "t", .rows = 100, .bytes = 3 << 20, .size = 1});
    struct outcome outcome = {0};
    for (int round = 0; round < 2; round++) { // the second time with a larger buffer
        QUERY(pool, &outcome, "SELECT REPEAT('ab', 1000), REPEAT('x', 1000000), ''");
        wait_for(&outcome);
        assert_int_equal(outcome.error.kind, 0);
        assert_int_equal(outcome.result->values[0].text.size, 2000);
        assert_int_equal(outcome.result->values[1].text.size, 1000000);
        assert_int_equal(outcome.result->values[1].text.data[999999], 'x');
        assert_int_equal(outcome.result->values[2].text.size, 0);
        forget(&outcome);
    }
    QUERY(pool, &outcome, "SELECT seq FROM seq_1_to_101");
    wait_for(&outcome);
    assert_int_equal(outcome.error.kind, MARIADB_LIMIT);
    forget(&outcome);
    // A result that would take minutes to read to its end.
    QUERY(pool, &outcome, "SELECT REPEAT('x', 1000) FROM seq_1_to_2000000000");
    wait_for(&outcome);
    assert_int_equal(outcome.error.kind, MARIADB_LIMIT);
    forget(&outcome);
    assert_int_equal(number(pool, "SELECT COUNT(*) FROM seq_1_to_100"), 100);
    end(pool);
}

static void sessions_are_strict_and_utc(void **state) {
    (void)state;
    struct mariadb_pool *pool = new_pool((struct mariadb_options){.database = "t"});
    must(pool, "CREATE TABLE strict_ (n TINYINT)");
    struct outcome outcome = {0};
    QUERY(pool, &outcome, "INSERT INTO strict_ VALUES (?)", INTEGER(300));
    wait_for(&outcome);
    assert_int_equal(outcome.error.kind, MARIADB_SQL);
    assert_int_equal(outcome.error.code, 1264);
    assert_string_equal(outcome.error.sqlstate, "22003");
    forget(&outcome);
    assert_int_equal(number(pool, "SELECT NOW() = UTC_TIMESTAMP()"), 1);
    assert_int_equal(number(pool, "SELECT @@character_set_client = 'utf8mb4' AND "
                                  "@@character_set_results = 'utf8mb4'"), 1);
    QUERY(pool, &outcome, "SELEKT 1");
    wait_for(&outcome);
    assert_int_equal(outcome.error.code, 1064);
    assert_string_equal(outcome.error.sqlstate, "42000");
    forget(&outcome);
    QUERY(pool, &outcome, "SELECT ?, ?", INTEGER(1));
    wait_for(&outcome);
    assert_int_equal(outcome.error.kind, MARIADB_SQL);
    forget(&outcome);
    end(pool);
}

static void statements_are_prepared_once_and_the_oldest_goes(void **state) {
    (void)state;
    struct mariadb_pool *pool =
        new_pool((struct mariadb_options){.database = "t", .size = 1, .statements = 3});
    must(pool, "CREATE TABLE changing (a INT)");
    must(pool, "INSERT INTO changing VALUES (7)");
    must(pool, "FLUSH STATUS");
    for (int i = 0; i < 5; i++) assert_int_equal(number(pool, "SELECT 1 + 1"), 2);
    char sql[32];
    for (int i = 0; i < 20; i++) {
        snprintf(sql, sizeof sql, "SELECT %d", i);
        assert_int_equal(number(pool, sql), i);
    }
    struct outcome outcome = {0};
    QUERY(pool, &outcome, "SHOW SESSION STATUS LIKE 'Com_stmt_prepare'");
    wait_for(&outcome);
    // SELECT 1 + 1 once, twenty others, SHOW, and perhaps FLUSH itself.
    int prepared = atoi(text_of(&outcome.result->values[1]));
    assert_true(prepared >= 22 && prepared <= 23);
    forget(&outcome);
    QUERY(pool, &outcome, "SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'");
    wait_for(&outcome);
    assert_int_equal(atoi(text_of(&outcome.result->values[1])), 3);
    forget(&outcome);
    QUERY(pool, &outcome, "SELECT * FROM changing");
    wait_for(&outcome);
    assert_int_equal(outcome.result->columns, 1);
    forget(&outcome);
    must(pool, "ALTER TABLE changing ADD b VARCHAR(10) NOT NULL DEFAULT 'new', MODIFY a VARCHAR(5)");
    QUERY(pool, &outcome, "SELECT * FROM changing");
    wait_for(&outcome);
    assert_int_equal(outcome.result->columns, 2);
    assert_text(&outcome.result->values[0], "7");
    assert_text(&outcome.result->values[1], "new");
    forget(&outcome);
    end(pool);
}

static void the_pool_is_bounded_and_so_is_its_queue(void **state) {
    (void)state;
    struct mariadb_pool *pool = new_pool(
        (struct mariadb_options){.database = "t", .size = 2, .queue = 3, .wait_ms = 200});
    struct outcome running[2] = {0}, waiting[3] = {0}, refused = {0};
    for (int i = 0; i < 2; i++) QUERY(pool, &running[i], "SELECT SLEEP(4)");
    while (mariadb_pool_figures(pool).connecting || mariadb_pool_figures(pool).waiting)
        uv_run(&loop.uv, UV_RUN_ONCE);
    for (int i = 0; i < 3; i++) QUERY(pool, &waiting[i], "SELECT 1");
    QUERY(pool, &refused, "SELECT 1");
    wait_for(&refused);
    assert_int_equal(refused.error.kind, MARIADB_BUSY);
    for (int i = 0; i < 3; i++) {
        wait_for(&waiting[i]);
        assert_int_equal(waiting[i].error.kind, MARIADB_BUSY);
    }
    for (int i = 0; i < 2; i++) {
        wait_for(&running[i]);
        assert_int_equal(running[i].error.kind, 0);
        forget(&running[i]);
    }
    assert_int_equal(mariadb_pool_figures(pool).open, 2);
    assert_int_equal(mariadb_pool_figures(pool).idle, 2);
    end(pool);
}

static void a_slow_query_is_killed_and_its_connection_serves_again(void **state) {
    (void)state;
    struct mariadb_pool *pool = new_pool((struct mariadb_options){.database = "t", .size = 1});
    int64_t before = number(pool, "SELECT CONNECTION_ID()");
    struct outcome slow = {0};
    mariadb_query(pool, SLICE("SELECT SLEEP(60)"), NULL, 0,
                  &(struct mariadb_limits){.milliseconds = 100}, on_outcome, &slow);
    wait_for(&slow);
    assert_int_equal(slow.error.kind, MARIADB_TIMEOUT);
    assert_true(strncmp(slow.error.message, "TIMEOUT ", 8) == 0);
    // Waits for the same connection, which is the only one.
    assert_int_equal(number(pool, "SELECT CONNECTION_ID()"), before);
    end(pool);
}

/// A connection whose owner loses the first orders to kill.
struct lossy {
    bool up, asked, done;
    int orders;
    unsigned long thread;
};

static void lossy_up(struct mariadb_connection *c) { ((struct lossy *)c->data)->up = true; }
static void lossy_done(struct mariadb_connection *c, struct mariadb_job *job) {
    ((struct lossy *)c->data)->done = true;
    mariadb_job_free(job);
}
static void lossy_lost(struct mariadb_connection *c, struct mariadb_job *job,
                       const struct mariadb_error *error) {
    (void)c;
    (void)job;
    fail_msg("lost: %s", error->message);
}
static void lossy_kill(struct mariadb_connection *c, unsigned long thread) {
    struct lossy *lossy = c->data;
    lossy->orders++;
    lossy->asked = true;
    lossy->thread = thread;
}

static void a_statement_that_a_kill_missed_is_killed_again(void **state) {
    (void)state;
    static const struct mariadb_connection_owner owner = {lossy_up, lossy_done, lossy_lost, lossy_kill};
    struct mariadb_options options = {
        .socket = server.socket, .user = "root", .name = "test", .connect_ms = 15000};
    struct mariadb_pool *killer = new_pool((struct mariadb_options){.database = "t", .size = 1});
    struct lossy lossy = {0};
    struct mariadb_connection *c = mariadb_connection_new(&loop, &options, &owner, &lossy, 0);
    assert_true(loop_run_until(&loop, &lossy.up, 30000));
    struct outcome outcome = {0};
    unsigned telling = 0;
    struct mariadb_job *job = mariadb_job_new(NULL, &telling, SLICE("SELECT SLEEP(60)"), NULL, 0);
    job->done = on_outcome;
    job->context = &outcome;
    job->limits = (struct mariadb_limits){60000, 10, 1000};
    mariadb_connection_run(c, job);
    mariadb_connection_abandon(c);
    for (int order = 1; order <= 3; order++) {
        assert_true(loop_run_until(&loop, &lossy.asked, 30000));
        assert_int_equal(lossy.orders, order);
        lossy.asked = false;
        if (order == 3) {
            char sql[48];
            snprintf(sql, sizeof sql, "KILL QUERY %lu", lossy.thread);
            must(killer, sql);
        }
        mariadb_connection_killed(c);
    }
    assert_true(loop_run_until(&loop, &lossy.done, 30000));
    assert_int_equal(lossy.orders, 3);
    assert_int_equal(outcome.calls, 0);
    mariadb_connection_free(c);
    end(killer);
}

static void a_cancelled_request_is_silent_and_the_next_one_unharmed(void **state) {
    (void)state;
    struct mariadb_pool *pool = new_pool((struct mariadb_options){.database = "t", .size = 1});
    assert_int_equal(number(pool, "SELECT 1"), 1);
    struct outcome running = {0}, waiting = {0};
    uint64_t first = QUERY(pool, &running, "SELECT SLEEP(60)");
    uint64_t second = QUERY(pool, &waiting, "SELECT 2");
    for (int i = 0; i < 20; i++) uv_run(&loop.uv, UV_RUN_NOWAIT);
    mariadb_pool_cancel(pool, second);
    mariadb_pool_cancel(pool, first);
    // A kill that came late must not hit these.
    for (int i = 0; i < 200; i++) {
        struct outcome quick = {0};
        uint64_t handle = QUERY(pool, &quick, "SELECT 3");
        if (i % 3 == 0) {
            uv_run(&loop.uv, UV_RUN_NOWAIT);
            mariadb_pool_cancel(pool, handle);
            forget(&quick); // it may have come before
        } else {
            wait_for(&quick);
            assert_int_equal(quick.error.kind, 0);
            forget(&quick);
        }
    }
    assert_int_equal(running.calls, 0);
    assert_int_equal(waiting.calls, 0);
    end(pool);
}

static void run_in(struct mariadb_session *session, const char *sql, struct outcome *outcome) {
    mariadb_session_query(session, slice_of(sql), NULL, 0, NULL, on_outcome, outcome);
    wait_for(outcome);
}

static struct mariadb_session *acquire(struct mariadb_pool *pool) {
    struct outcome outcome = {0};
    mariadb_acquire(pool, 5000, on_session, &outcome);
    wait_for(&outcome);
    assert_non_null(outcome.session);
    return outcome.session;
}

static void a_session_that_is_dropped_leaves_nothing_behind(void **state) {
    (void)state;
    struct mariadb_pool *pool = new_pool((struct mariadb_options){.database = "t", .size = 1});
    must(pool, "CREATE TABLE ledger (n INT)");
    struct outcome outcome = {0};
    struct mariadb_session *session = acquire(pool);
    run_in(session, "START TRANSACTION", &outcome);
    forget(&outcome);
    run_in(session, "INSERT INTO ledger VALUES (1)", &outcome);
    forget(&outcome);
    assert_true(mariadb_session_in_transaction(session));
    mariadb_session_release(session, false); // without COMMIT
    assert_int_equal(number(pool, "SELECT COUNT(*) FROM ledger"), 0);

    session = acquire(pool);
    run_in(session, "START TRANSACTION", &outcome);
    forget(&outcome);
    run_in(session, "INSERT INTO ledger VALUES (2)", &outcome);
    forget(&outcome);
    mariadb_session_query(session, SLICE("SELECT SLEEP(60)"), NULL, 0, NULL, on_outcome, &outcome);
    uv_run(&loop.uv, UV_RUN_NOWAIT);
    mariadb_session_release(session, false); // in the middle of a statement
    assert_int_equal(number(pool, "SELECT COUNT(*) FROM ledger"), 0);
    assert_int_equal(outcome.calls, 0);

    session = acquire(pool);
    run_in(session, "START TRANSACTION", &outcome);
    forget(&outcome);
    run_in(session, "INSERT INTO ledger VALUES (3)", &outcome);
    forget(&outcome);
    run_in(session, "COMMIT", &outcome);
    assert_int_equal(outcome.error.kind, 0);
    forget(&outcome);
    mariadb_session_release(session, false);
    assert_int_equal(number(pool, "SELECT n FROM ledger"), 3);

    session = acquire(pool);
    run_in(session, "SELECT GET_LOCK('a', 0)", &outcome);
    forget(&outcome);
    mariadb_session_release(session, true);
    assert_int_equal(number(pool, "SELECT IS_FREE_LOCK('a')"), 1);
    end(pool);
}

static void a_server_that_is_away_is_told_at_once_and_comes_back(void **state) {
    (void)state;
    struct mariadb_pool *pool = new_pool((struct mariadb_options){.database = "t", .size = 3});
    struct mariadb_session *session = acquire(pool);
    struct outcome begun = {0}, lost = {0}, later = {0};
    run_in(session, "START TRANSACTION", &begun);
    forget(&begun);
    QUERY(pool, &lost, "SELECT SLEEP(60)");
    while (mariadb_pool_figures(pool).open < 2 || mariadb_pool_figures(pool).connecting)
        uv_run(&loop.uv, UV_RUN_ONCE);
    for (int i = 0; i < 20; i++) uv_run(&loop.uv, UV_RUN_NOWAIT);
    mariadb_server_signal(&server, SIGKILL);
    wait_for(&lost);
    assert_int_equal(lost.error.kind, MARIADB_LOST);
    run_in(session, "SELECT 1", &later);
    assert_int_equal(later.error.kind, MARIADB_LOST); // a transaction never goes on elsewhere
    mariadb_session_release(session, false);
    for (int i = 0; i < 3; i++) {
        struct outcome away = {0};
        QUERY(pool, &away, "SELECT 1");
        wait_for(&away);
        assert_int_equal(away.error.kind, MARIADB_UNAVAILABLE);
    }
    assert_false(mariadb_pool_ready(pool));
    assert_int_equal(mariadb_pool_figures(pool).waiting, 0);
    mariadb_server_start(&server);
    uint64_t limit = clock_monotonic_ns() + 30000000000u;
    while (!mariadb_pool_ready(pool) && clock_monotonic_ns() < limit)
        uv_run(&loop.uv, UV_RUN_ONCE); // the probe finds it without being asked
    assert_int_equal(number(pool, "SELECT 5"), 5);
    end(pool);
}

static void a_frozen_server_holds_up_nobody_for_long(void **state) {
    (void)state;
    struct mariadb_pool *pool = new_pool((struct mariadb_options){
        .database = "t", .size = 2, .query_ms = 300, .connect_ms = 300, .wait_ms = 300});
    assert_int_equal(number(pool, "SELECT 1"), 1);
    mariadb_server_signal(&server, SIGSTOP);
    struct outcome outcomes[8] = {0};
    for (int i = 0; i < 8; i++) QUERY(pool, &outcomes[i], "SELECT 1");
    for (int i = 0; i < 8; i++) {
        wait_for(&outcomes[i]);
        assert_true(outcomes[i].error.kind == MARIADB_TIMEOUT ||
                    outcomes[i].error.kind == MARIADB_BUSY ||
                    outcomes[i].error.kind == MARIADB_UNAVAILABLE);
    }
    // No connection can be made: the server is taken for down, whatever the old ones still wait for.
    uint64_t limit = clock_monotonic_ns() + 30000000000u;
    while (mariadb_pool_ready(pool) && clock_monotonic_ns() < limit) {
        struct outcome ask = {0};
        QUERY(pool, &ask, "SELECT 1");
        wait_for(&ask);
        forget(&ask);
    }
    assert_false(mariadb_pool_ready(pool));
    mariadb_server_signal(&server, SIGCONT);
    while (!mariadb_pool_ready(pool) && clock_monotonic_ns() < limit)
        uv_run(&loop.uv, UV_RUN_ONCE);
    assert_int_equal(number(pool, "SELECT 6"), 6);
    end(pool);
}

struct stream {
    struct outcome end;
    int batches;
    int64_t sum;
    struct mariadb_pool *pool;
    uint64_t handle;
    bool goes_on;
};

static void on_rows(void *context, const struct mariadb_result *rows) {
    struct stream *stream = context;
    assert_int_equal(rows->rows, 100);
    assert_memory_equal(rows->names[0].data, "seq", 3);
    for (size_t i = 0; i < rows->rows; i++) stream->sum += rows->values[i].integer;
    stream->batches++;
    if (stream->goes_on) mariadb_stream_next(stream->pool, stream->handle);
}

static void on_stream_end(void *context, const struct mariadb_result *result,
                          const struct mariadb_error *error) {
    struct stream *stream = context;
    if (result)
        for (size_t i = 0; i < result->rows; i++) stream->sum += result->values[i].integer;
    on_outcome(&stream->end, result, error);
}

static void a_stream_waits_for_its_reader_and_can_be_left(void **state) {
    (void)state;
    struct mariadb_pool *pool = new_pool((struct mariadb_options){.database = "t", .size = 1});
    struct stream stream = {.pool = pool, .goes_on = true};
    struct mariadb_cell most = INTEGER(1000050);
    struct slice sql = SLICE("SELECT seq FROM seq_1_to_2000000 WHERE seq <= ?");
    stream.handle = mariadb_stream(pool, sql, &most, 1, NULL, 100, on_rows, on_stream_end, &stream);
    wait_for(&stream.end);
    assert_int_equal(stream.end.error.kind, 0);
    assert_int_equal(stream.end.result->rows, 50);
    assert_int_equal(stream.batches, 10000);
    assert_int_equal(stream.sum, 1000050LL * 1000051 / 2);
    forget(&stream.end);

    struct stream left = {.pool = pool};
    left.handle = mariadb_stream(pool, sql, &most, 1, NULL, 100, on_rows, on_stream_end, &left);
    while (left.batches == 0) uv_run(&loop.uv, UV_RUN_ONCE);
    for (int i = 0; i < 20; i++) uv_run(&loop.uv, UV_RUN_NOWAIT);
    assert_int_equal(left.batches, 1); // nothing more until it is asked for
    mariadb_pool_cancel(pool, left.handle);
    assert_int_equal(number(pool, "SELECT 8"), 8); // on the one connection there is
    assert_int_equal(left.end.calls, 0);

    struct stream open = {.pool = pool};
    open.handle = mariadb_stream(pool, sql, &most, 1, NULL, 100, on_rows, on_stream_end, &open);
    while (open.batches == 0) uv_run(&loop.uv, UV_RUN_ONCE);
    end(pool); // in the middle
    assert_int_equal(open.end.error.kind, MARIADB_LOST);
}

static void closing_the_pool_tells_everyone(void **state) {
    (void)state;
    struct mariadb_pool *pool = new_pool((struct mariadb_options){.database = "t", .size = 1});
    assert_int_equal(number(pool, "SELECT 1"), 1);
    struct outcome running = {0}, waiting = {0};
    QUERY(pool, &running, "SELECT SLEEP(60)");
    QUERY(pool, &waiting, "SELECT 1");
    for (int i = 0; i < 20; i++) uv_run(&loop.uv, UV_RUN_NOWAIT);
    end(pool);
    assert_int_equal(running.error.kind, MARIADB_LOST);
    assert_int_equal(waiting.error.kind, MARIADB_LOST);
    pool = new_pool((struct mariadb_options){.database = "t"});
    QUERY(pool, &waiting, "SELECT 1");
    end(pool); // before the connection has begun
    assert_int_equal(waiting.calls, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_keep_their_types_and_bytes),
        cmocka_unit_test(long_values_arrive_whole_and_too_much_is_refused),
        cmocka_unit_test(sessions_are_strict_and_utc),
        cmocka_unit_test(statements_are_prepared_once_and_the_oldest_goes),
        cmocka_unit_test(the_pool_is_bounded_and_so_is_its_queue),
        cmocka_unit_test(a_slow_query_is_killed_and_its_connection_serves_again),
        cmocka_unit_test(a_statement_that_a_kill_missed_is_killed_again),
        cmocka_unit_test(a_cancelled_request_is_silent_and_the_next_one_unharmed),
        cmocka_unit_test(a_session_that_is_dropped_leaves_nothing_behind),
        cmocka_unit_test(a_server_that_is_away_is_told_at_once_and_comes_back),
        cmocka_unit_test(a_frozen_server_holds_up_nobody_for_long),
        cmocka_unit_test(a_stream_waits_for_its_reader_and_can_be_left),
        cmocka_unit_test(closing_the_pool_tells_everyone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
