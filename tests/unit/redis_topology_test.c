// More than one server: the master that sentinels name, and the slots of a cluster. All of them are
// real processes.
#include "redis/client.h"
#include "redis/slot.h"
#include "redis_server.h"
#include "base/buffer.h"
#include "base/clock.h"

enum { SERVERS = 4, WAIT_MS = 20000 };

static struct loop loop;
static struct redis_server servers[SERVERS];
static char bus_ports[SERVERS][24];
static const char *more[SERVERS][16];

struct answer {
    bool came;
    int calls, type;
    char text[256], error[256];
};

static void on_answer(void *context, const redisReply *reply, const char *error) {
    struct answer *answer = context;
    answer->came = true;
    answer->calls++;
    assert_true((reply == NULL) != (error == NULL));
    if (error) {
        snprintf(answer->error, sizeof answer->error, "%s", error);
        return;
    }
    answer->type = reply->type;
    if (reply->str) snprintf(answer->text, sizeof answer->text, "%s", reply->str);
    else snprintf(answer->text, sizeof answer->text, "%lld", reply->integer);
}

/// One command of the client under test, with a limit of five seconds.
static struct answer ask(struct redis_client *client, const char *line) {
    struct slice words[16], rest = slice_of(line);
    size_t count = 0;
    struct answer answer = {0};
    while (slice_next(&rest, ' ', &words[count])) count++;
    uv_update_time(&loop.uv); // it stood still while servers were started
    redis_call(client, words, count, 5000, on_answer, &answer);
    if (!loop_run_until(&loop, &answer.came, WAIT_MS)) fail_msg("%s was never answered", line);
    return answer;
}

static void run_a_while(unsigned ms) {
    bool never = false;
    loop_run_until(&loop, &never, ms);
}

/// The same, and the answer must be this.
static void ask_for(struct redis_client *client, const char *line, const char *wanted) {
    struct answer answer = ask(client, line);
    if (answer.error[0] || strcmp(answer.text, wanted) != 0)
        fail_msg("%s: %s%s, not %s", line, answer.error, answer.text, wanted);
}

/// Until the answer is `wanted`, or whatever it is if that is NULL and no error.
static void ask_until(struct redis_client *client, const char *line, const char *wanted) {
    struct answer answer = {0};
    for (uint64_t end = clock_monotonic_ns() + WAIT_MS * 1000000ull; clock_monotonic_ns() < end;) {
        answer = ask(client, line);
        if (!answer.error[0] && answer.type != REDIS_REPLY_ERROR &&
            (!wanted || strcmp(answer.text, wanted) == 0))
            return;
        run_a_while(20);
    }
    fail_msg("%s: %s%s", line, answer.text, answer.error);
}

/// One command at a server itself, past the client. False: it is refused; `text` says why.
static bool try_to_tell(int server, const char *line, char text[65536]) {
    struct timeval limit = {5, 0};
    redisContext *context = redisConnectUnixWithTimeout(servers[server].path, limit);
    assert_true(context && context->err == 0);
    const char *words[32];
    char copy[512];
    int count = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *rest = copy, *word; (word = strtok_r(rest, " ", &rest));) words[count++] = word;
    redisReply *reply = redisCommandArgv(context, count, words, NULL);
    assert_non_null(reply);
    snprintf(text, 65536, "%s", reply->str ? reply->str : "");
    if (reply->type == REDIS_REPLY_INTEGER) snprintf(text, 65536, "%lld", reply->integer);
    bool done = reply->type != REDIS_REPLY_ERROR;
    freeReplyObject(reply);
    redisFree(context);
    return done;
}
static const char *tell(int server, const char *line) {
    static char text[65536];
    if (!try_to_tell(server, line, text)) fail_msg("%s: %s", line, text);
    return text;
}

static void tell_until(int server, const char *line, const char *wanted) {
    for (int i = 0; i < WAIT_MS / 20; i++) {
        if (strstr(tell(server, line), wanted)) return;
        poll(NULL, 0, 20);
    }
    fail_msg("%s never said %s", line, wanted);
}

static void start(int at, int count, const char *const *options) {
    servers[at].port = redis_server_free_port();
    for (int i = 0; i < count; i++) more[at][i] = options[i];
    more[at][count] = NULL;
    servers[at].more = more[at];
    redis_server_start(&servers[at]);
}

static int set_up(void **state) {
    (void)state;
    assert_int_equal(loop_init(&loop), 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    assert_int_equal(loop_close(&loop), 0);
    for (int i = 0; i < SERVERS; i++) {
        if (servers[i].folder[0]) redis_server_remove(&servers[i]);
    }
    return 0;
}

// ---- slots ----------------------------------------------------------------------------------

static int slot_of_line(const char *line) {
    struct slice words[16], rest = slice_of(line);
    size_t count = 0;
    struct buffer encoded = {0};
    while (slice_next(&rest, ' ', &words[count])) count++;
    buffer_printf(&encoded, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++)
        buffer_printf(&encoded, "$%zu\r\n%.*s\r\n", words[i].size, SLICE_FORMAT(words[i]));
    int slot = redis_encoded_slot(buffer_slice(&encoded));
    buffer_free(&encoded);
    return slot;
}

static void a_key_has_the_slot_that_redis_says(void **state) {
    (void)state;
    assert_int_equal(redis_crc16(SLICE("123456789")), 0x31c3); // the published check value
    assert_int_equal(redis_slot(SLICE("foo")), 12182);         // CLUSTER KEYSLOT foo
    assert_int_equal(redis_slot(SLICE("{foo}bar")), 12182);
    assert_int_equal(redis_slot(SLICE("a{foo}{bar}")), 12182);
    assert_int_equal(redis_slot(SLICE("{}foo")), redis_crc16(SLICE("{}foo")) % REDIS_SLOTS);
    assert_int_equal(redis_slot(SLICE("foo{")), redis_crc16(SLICE("foo{")) % REDIS_SLOTS);
}

static void a_command_goes_where_its_first_key_is(void **state) {
    (void)state;
    int foo = (int)redis_slot(SLICE("foo"));
    assert_int_equal(slot_of_line("GET foo"), foo);
    assert_int_equal(slot_of_line("set foo 1"), foo);
    assert_int_equal(slot_of_line("EVAL code 1 foo bar"), foo);
    assert_int_equal(slot_of_line("FCALL wallet 2 foo {foo}2 x"), foo);
    assert_int_equal(slot_of_line("EVALSHA sha 0 foo"), -1);
    assert_int_equal(slot_of_line("XREAD COUNT 10 STREAMS foo 0-0"), foo);
    assert_int_equal(slot_of_line("xreadgroup GROUP g c COUNT 10 STREAMS foo >"), foo);
    assert_int_equal(slot_of_line("XGROUP CREATE foo g 0"), foo);
    assert_int_equal(slot_of_line("ZUNION 2 foo bar"), foo);
    assert_int_equal(slot_of_line("PUBLISH foo x"), -1);
    assert_int_equal(slot_of_line("PING"), -1);
    assert_int_equal(slot_of_line("EVAL code many foo"), -1);
    assert_int_equal(slot_of_line("GET"), -1);
}

// ---- cluster --------------------------------------------------------------------------------

/// Servers 0 and 1 share the slots, 2 has none yet; 3 is a replica of 0 when asked for.
static void start_cluster(char *address, size_t size) {
    for (int i = 0; i < 3; i++) {
        int bus = redis_server_free_port();
        snprintf(bus_ports[i], sizeof bus_ports[i], "%d", bus);
        start(i, 10, (const char *const[]){"--cluster-enabled", "yes", "--cluster-node-timeout", "600",
                                           "--cluster-port", bus_ports[i], "--enable-debug-command",
                                           "yes", "--cluster-replica-validity-factor", "0"});
    }
    tell(0, "CLUSTER ADDSLOTSRANGE 0 8191");
    tell(1, "CLUSTER ADDSLOTSRANGE 8192 16383");
    for (int i = 0; i < 3; i++) { // all know all at once, without waiting for gossip
        for (int k = 0; k < 3; k++) {
            char line[160];
            if (k == i) continue;
            snprintf(line, sizeof line, "CLUSTER MEET 127.0.0.1 %d %s", servers[k].port, bus_ports[k]);
            tell(i, line);
        }
    }
    for (int i = 0; i < 3; i++) {
        tell_until(i, "CLUSTER INFO", "cluster_state:ok");
        tell_until(i, "CLUSTER INFO", "cluster_known_nodes:3");
    }
    snprintf(address, size, "cluster:127.0.0.1:1,127.0.0.1:%d", servers[2].port); // one that is not there
}

static void id_of(int server, char out[48]) { snprintf(out, 48, "%s", tell(server, "CLUSTER MYID")); }

static size_t scanned;
static char scan_cursor[32];
static void on_scanned(void *context, const redisReply *reply, const char *error) {
    assert_null(error);
    assert_int_equal(reply->elements, 2);
    snprintf(scan_cursor, sizeof scan_cursor, "%s", reply->element[0]->str);
    scanned += reply->element[1]->elements;
    *(bool *)context = true;
}

static void commands_find_their_nodes(void **state) {
    (void)state;
    char address[96], line[96];
    start_cluster(address, sizeof address);
    struct redis_options options = {.name = "test", .address = address};
    struct redis_client *client = redis_client_new(&loop, &options);
    static const char code[] = "#!lua name=footlight_test\n"
                               "-- version 1\n"
                               "redis.register_function('test_set', function(keys, args)\n"
                               "  return redis.call('SET', keys[1], args[1])\n"
                               "end)\n";
    redis_functions_keep(client, "footlight_test", code);
    // Before anything is connected: what comes waits for the map.
    struct answer early = ask(client, "SET foo early");
    assert_string_equal(early.error, "");
    assert_string_equal(early.text, "OK");
    for (int i = 0; i < 200; i++) {
        snprintf(line, sizeof line, "FCALL test_set 1 key:%d %d", i, i);
        ask_for(client, line, "OK");
    }
    for (int i = 0; i < 200; i++) {
        char wanted[16];
        snprintf(line, sizeof line, "GET key:%d", i);
        snprintf(wanted, sizeof wanted, "%d", i);
        ask_for(client, line, wanted);
    }
    int first = atoi(tell(0, "DBSIZE")), second = atoi(tell(1, "DBSIZE"));
    assert_int_equal(first + second, 201);
    assert_true(first > 20 && second > 20);
    scanned = 0;
    snprintf(scan_cursor, sizeof scan_cursor, "0");
    do { // each key once, at whichever node it is
        bool came = false;
        redis_call(client, (struct slice[]){SLICE("SCAN"), slice_of(scan_cursor), SLICE("COUNT"), SLICE("10")},
                   4, 0, on_scanned, &came);
        assert_true(loop_run_until(&loop, &came, WAIT_MS));
    } while (strcmp(scan_cursor, "0") != 0);
    assert_int_equal(scanned, 201);
    assert_true(redis_client_ready(client));
    ask_for(client, "PING", "PONG"); // no key: any node
    struct answer crossed = ask(client, "MGET key:1 key:2 key:3");
    assert_int_equal(crossed.type, REDIS_REPLY_ERROR);
    assert_true(strncmp(crossed.text, "CROSSSLOT", 9) == 0);
    redis_client_free(client);
}

static void a_slot_that_moves_is_followed(void **state) {
    (void)state;
    char address[96], line[160], from[48], to[48];
    start_cluster(address, sizeof address);
    struct redis_options options = {.name = "test", .address = address};
    struct redis_client *client = redis_client_new(&loop, &options);
    ask_for(client, "SET {foo}1 one", "OK"); // slot 12182, at server 1
    ask_for(client, "SET {foo}2 two", "OK");
    id_of(1, from);
    id_of(2, to);
    snprintf(line, sizeof line, "CLUSTER SETSLOT 12182 IMPORTING %s", from);
    tell(2, line);
    snprintf(line, sizeof line, "CLUSTER SETSLOT 12182 MIGRATING %s", to);
    tell(1, line);
    snprintf(line, sizeof line, "MIGRATE 127.0.0.1 %d {foo}1 0 5000", servers[2].port);
    tell(1, line);
    // Half of it is there: ASK for one, the old node for the other, and TRYAGAIN for both together.
    ask_for(client, "GET {foo}1", "one");
    ask_for(client, "GET {foo}2", "two");
    struct answer both = {0};
    redis_call(client, (struct slice[]){SLICE("DEL"), SLICE("{foo}1"), SLICE("{foo}2")}, 3, 10000,
               on_answer, &both);
    run_a_while(100);
    assert_false(both.came); // is tried again
    snprintf(line, sizeof line, "MIGRATE 127.0.0.1 %d {foo}2 0 5000", servers[2].port);
    tell(1, line);
    for (int i = 0; i < 3; i++) {
        snprintf(line, sizeof line, "CLUSTER SETSLOT 12182 NODE %s", to);
        tell((2 + i) % 3, line);
    }
    assert_true(loop_run_until(&loop, &both.came, WAIT_MS));
    assert_string_equal(both.text, "2");
    ask_for(client, "SET {foo}3 three", "OK"); // MOVED, once
    assert_string_equal(tell(2, "DBSIZE"), "1");
    redis_client_free(client);
}

static int downs, ups;
static void on_state(void *context, bool up) {
    (void)context;
    if (up) ups++;
    else downs++;
}

static void a_lost_master_costs_its_own_slots_until_its_replica_is_promoted(void **state) {
    (void)state;
    char address[96], line[96], id[48];
    start_cluster(address, sizeof address);
    int bus = redis_server_free_port();
    snprintf(bus_ports[3], sizeof bus_ports[3], "%d", bus);
    start(3, 6, (const char *const[]){"--cluster-enabled", "yes", "--cluster-node-timeout", "600",
                                      "--cluster-port", bus_ports[3]});
    snprintf(line, sizeof line, "CLUSTER MEET 127.0.0.1 %d %s", servers[1].port, bus_ports[1]);
    tell(3, line);
    tell_until(3, "CLUSTER INFO", "cluster_known_nodes:4");
    id_of(1, id);
    tell_until(3, "CLUSTER NODES", id);
    snprintf(line, sizeof line, "CLUSTER REPLICATE %s", id);
    tell(3, line);
    tell_until(3, "INFO replication", "master_link_status:up");
    for (int i = 0; i < 3; i++) tell_until(i, "CLUSTER NODES", "slave");
    // Two of three nodes with slots must agree on a failure: server 2 gets one slot.
    char two[48];
    id_of(2, two);
    for (int i = 0; i < 3; i++) {
        snprintf(line, sizeof line, "CLUSTER SETSLOT 0 NODE %s", two);
        tell((2 + i) % 3, line);
    }
    tell_until(0, "CLUSTER INFO", "cluster_size:3");
    tell_until(1, "CLUSTER INFO", "cluster_size:3");
    downs = ups = 0;
    struct redis_options options = {.name = "test", .address = address};
    struct redis_client *client = redis_client_new(&loop, &options);
    redis_client_on_state(client, on_state, NULL);
    ask_for(client, "SET foo kept", "OK");
    tell_until(3, "DBSIZE", "1");
    redis_server_stop(&servers[1], SIGKILL);
    struct answer lost = ask(client, "GET foo");
    assert_true(lost.error[0] || lost.type == REDIS_REPLY_ERROR);
    ask_until(client, "GET foo", "kept"); // from the one that was promoted
    assert_true(downs > 0);
    ask_until(client, "SET foo again", NULL);
    for (int i = 0; i < 1000 && !redis_client_ready(client); i++) run_a_while(20);
    assert_true(redis_client_ready(client));
    redis_client_free(client);
}

static int heard;
static char heard_text[64];
static void on_message(void *context, struct slice channel, struct slice message) {
    (void)context;
    (void)channel;
    heard++;
    snprintf(heard_text, sizeof heard_text, "%.*s", SLICE_FORMAT(message));
}
static void on_subscribed(void *context, bool ok) { *(bool *)context = ok; }

static void a_subscriber_hears_all_nodes_of_a_cluster(void **state) {
    (void)state;
    char address[96];
    start_cluster(address, sizeof address);
    struct redis_options options = {.name = "test", .address = address};
    struct redis_subscriber *subscriber = redis_subscriber_new(&loop, &options);
    bool ready = false;
    heard = 0;
    redis_subscribe(subscriber, SLICE("news"), on_message, on_subscribed, &ready);
    assert_true(loop_run_until(&loop, &ready, WAIT_MS)); // past the node that is not there
    for (int i = 0; i < 3; i++) {
        tell(i, "PUBLISH news hello");
        for (int k = 0; k < 1000 && heard < i + 1; k++) run_a_while(20);
        assert_int_equal(heard, i + 1);
        assert_string_equal(heard_text, "hello");
    }
    redis_subscriber_free(subscriber);
}

// ---- sentinels ------------------------------------------------------------------------------

/// Server 0 is the master, 1 its replica, 2 the sentinel that would promote it.
static void start_sentinel(char *address, size_t size) {
    start(0, 0, NULL);
    char master[24];
    snprintf(master, sizeof master, "127.0.0.1 %d", servers[0].port);
    start(1, 4, (const char *const[]){"--replicaof", master, "--repl-diskless-sync-delay", "0"});
    tell_until(1, "INFO replication", "master_link_status:up");
    // A sentinel writes its settings, so they are a file of its own; it has no unix socket unless told.
    struct redis_server *sentinel = &servers[2];
    snprintf(sentinel->folder, sizeof sentinel->folder, "/tmp/footlight-redis-XXXXXX");
    assert_non_null(mkdtemp(sentinel->folder));
    sentinel->port = redis_server_free_port();
    snprintf(sentinel->path, sizeof sentinel->path, "%s/socket", sentinel->folder);
    char path[96];
    snprintf(path, sizeof path, "%s/sentinel.conf", sentinel->folder);
    FILE *file = fopen(path, "w");
    fprintf(file, "port %d\nbind 127.0.0.1\nunixsocket %s\ndir %s\n"
                  "sentinel monitor house 127.0.0.1 %d 1\nsentinel down-after-milliseconds house 500\n"
                  "sentinel failover-timeout house 3000\n",
            sentinel->port, sentinel->path, sentinel->folder, servers[0].port);
    fclose(file);
    sentinel->pid = fork();
    if (sentinel->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execlp("redis-server", "redis-server", path, "--sentinel", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && !redis_server_answers(sentinel); i++) poll(NULL, 0, 20);
    tell_until(2, "INFO sentinel", "slaves=1"); // it must know whom to promote
    snprintf(address, size, "sentinel:house@127.0.0.1:1,127.0.0.1:%d", sentinel->port);
}

static void the_master_that_the_sentinels_name_is_followed(void **state) {
    (void)state;
    char address[96];
    start_sentinel(address, sizeof address);
    struct redis_options options = {.name = "test", .address = address};
    struct redis_client *client = redis_client_new(&loop, &options);
    struct redis_subscriber *subscriber = redis_subscriber_new(&loop, &options);
    bool ready = false;
    heard = 0;
    redis_subscribe(subscriber, SLICE("news"), on_message, on_subscribed, &ready);
    assert_true(loop_run_until(&loop, &ready, WAIT_MS));
    ask_for(client, "SET k kept", "OK");
    assert_string_equal(tell(0, "GET k"), "kept");
    tell_until(1, "GET k", "kept");
    // It answers no more, but its sockets stay: only the sentinels know.
    redis_server_stop(&servers[0], SIGSTOP);
    ask_until(client, "GET k", "kept");
    assert_string_equal(tell(1, "ROLE"), "");
    ask_for(client, "SET k new", "OK");
    assert_string_equal(tell(1, "GET k"), "new");
    for (int i = 0; i < 1000 && !heard; i++) { // the subscriber has gone over, too
        tell(1, "PUBLISH news hello");
        run_a_while(20);
    }
    assert_string_equal(heard_text, "hello");
    redis_server_stop(&servers[0], SIGCONT);
    redis_subscriber_free(subscriber);
    redis_client_free(client);
}

static void a_master_that_became_a_replica_is_left(void **state) {
    (void)state;
    char address[96];
    start_sentinel(address, sizeof address);
    struct redis_options options = {.name = "test", .address = address};
    struct redis_client *client = redis_client_new(&loop, &options);
    ask_for(client, "SET k old", "OK");
    tell_until(1, "GET k", "old");
    static char why[65536];
    bool begun = false;
    for (int i = 0; i < 1000 && !begun; i++) { // as an operator would; it must have seen the replica's state
        begun = try_to_tell(2, "SENTINEL FAILOVER house", why);
        if (!begun) run_a_while(20);
    }
    assert_string_equal(why, "OK");
    for (int i = 0; i < 1000; i++) {
        struct answer answer = ask(client, "SET k new");
        if (!answer.error[0] && answer.type == REDIS_REPLY_STATUS && strcmp(tell(1, "GET k"), "new") == 0) break;
        run_a_while(20);
    }
    assert_string_equal(tell(1, "GET k"), "new");
    redis_client_free(client);
}

static void nobody_knows_the_master(void **state) {
    (void)state;
    struct redis_options options = {.name = "test", .address = "sentinel:house@127.0.0.1:1", .connect_ms = 200};
    struct redis_client *client = redis_client_new(&loop, &options);
    struct answer answer = {0};
    redis_call(client, (struct slice[]){SLICE("PING")}, 1, 400, on_answer, &answer);
    assert_true(loop_run_until(&loop, &answer.came, WAIT_MS));
    assert_true(strncmp(answer.error, "UNAVAILABLE", 11) == 0);
    redis_client_free(client);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_has_the_slot_that_redis_says),
        cmocka_unit_test(a_command_goes_where_its_first_key_is),
        cmocka_unit_test_setup_teardown(commands_find_their_nodes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slot_that_moves_is_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_lost_master_costs_its_own_slots_until_its_replica_is_promoted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_subscriber_hears_all_nodes_of_a_cluster, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_master_that_the_sentinels_name_is_followed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_master_that_became_a_replica_is_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_knows_the_master, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
