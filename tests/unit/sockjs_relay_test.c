#include "websocket_support.h"

#include <stdio.h>
#include "base/hash.h"
#include "base/memory.h"

#include "sockjs/endpoint.h"
#include "sockjs/relay.h"

/// Two instances on one loop, whose bus is a list: requests for a session that lives on the other.
enum { NODES = 2 };
static struct loop loop;
static struct node {
    char name[8];
    struct http_server *server;
    struct sockjs_endpoint *endpoint;
    struct sockjs_relay *relay;
    struct sockjs_session *session;
    bool dead; ///< no message reaches it
} nodes[NODES];
static unsigned opened, closed, freed;
static int closed_code;

/// What the bus still has to do, in order.
struct task {
    struct list link;
    struct slice node, message;
    sockjs_owner_fn *told;
    sockjs_lost_fn *lost;
    void *to;
    uint64_t number;
};
static struct list tasks;
static struct deferred run_tasks;
static struct hash owners;

static struct slice keep_text(struct slice text) {
    char *copy = memory_alloc(text.size + 1);
    if (text.size > 0) memcpy(copy, text.data, text.size);
    return slice_make(copy, text.size);
}
static void add_task(struct task task) {
    struct task *added = memory_alloc(sizeof *added);
    *added = task;
    list_push_back(&tasks, &added->link);
    loop_defer(&loop, &run_tasks);
}
static struct node *find(struct slice name) {
    for (int i = 0; i < NODES; i++)
        if (slice_equal(name, slice_of(nodes[i].name))) return &nodes[i];
    return NULL;
}
static void on_tasks(struct deferred *deferred) {
    (void)deferred;
    list_each(&tasks, link) {
        struct task *task = container_of(link, struct task, link);
        list_remove(&task->link);
        if (task->told) {
            task->told(task->to, task->node, true);
        } else {
            struct node *node = find(task->node);
            if (node && !node->dead) sockjs_relay_message(node->relay, task->message);
            else task->lost(task->to, task->node, task->number);
        }
        memory_free((void *)(uintptr_t)task->node.data);
        memory_free((void *)(uintptr_t)task->message.data);
        memory_free(task);
    }
}

static void claim(void *context, struct slice key, bool take, struct slice dead,
                  sockjs_owner_fn *told, void *to) {
    struct node *asker = context, *owner = hash_get(&owners, key);
    if (owner && slice_equal(dead, slice_of(owner->name))) {
        hash_remove(&owners, key);
        owner = NULL;
    }
    if (!owner && take) {
        hash_put(&owners, key, asker);
        owner = asker;
    }
    struct slice name = owner ? slice_of(owner->name) : (struct slice){0};
    add_task((struct task){.told = told, .to = to, .node = keep_text(name),
                           .message = keep_text((struct slice){0})});
}
static void keep(void *context, struct slice key) { hash_put(&owners, key, context); }
static void release(void *context, struct slice key) {
    if (hash_get(&owners, key) == context) hash_remove(&owners, key);
}
static void post_message(void *context, struct slice node, struct slice message,
                         sockjs_lost_fn *lost, uint64_t number) {
    struct node *from = context;
    add_task((struct task){.lost = lost, .to = from->relay, .number = number,
                           .node = keep_text(node), .message = keep_text(message)});
}

static void on_open(void *context, struct sockjs_session *session, const char *remote) {
    struct node *node = context;
    (void)remote;
    node->session = session;
    opened++;
}
static void on_message(struct sockjs_session *from, struct slice message, bool binary) {
    (void)binary;
    if (slice_equal(message, SLICE("close me"))) sockjs_session_close(from, 3001, "bye");
    else sockjs_session_send_text(from, message);
}
static void on_close(struct sockjs_session *session, int code, struct slice reason) {
    (void)session;
    (void)reason;
    closed_code = code;
    closed++;
}
static const struct sockjs_handler handler = {on_open, on_message, on_close};
static void on_request(void *context, struct http_request *request) {
    struct node *node = context;
    if (!sockjs_endpoint_serve(node->endpoint, request)) http_respond_status(request, 404);
}
static void on_freed(void *context) {
    (void)context;
    freed++;
}

static int set_up(void **state) {
    (void)state;
    log_set_sink(quiet, NULL);
    opened = closed = freed = 0;
    closed_code = 0;
    assert_int_equal(loop_init(&loop), 0);
    list_init(&tasks);
    deferred_init(&run_tasks, on_tasks);
    for (int i = 0; i < NODES; i++) {
        struct node *node = &nodes[i];
        *node = (struct node){0};
        snprintf(node->name, sizeof node->name, "node%c", 'a' + i);
        struct sockjs_bus bus = {node, node->name, claim, keep, release, post_message};
        node->relay = sockjs_relay_new(&loop, &bus);
        struct http_server_options http = {.name = "test", .on_request = on_request,
                                           .context = node};
        http_limits_default(&http.limits);
        node->server = http_server_new(&loop, &http);
        struct sockjs_options options = {.prefix = "/s", .relay = node->relay,
                                         .disconnect_ms = 200};
        node->endpoint = sockjs_endpoint_new(&loop, &options, &handler, node);
    }
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    for (int i = 0; i < NODES; i++) {
        sockjs_relay_stop(nodes[i].relay);
        sockjs_endpoint_free(nodes[i].endpoint, on_freed, NULL);
    }
    wait_for(&loop, freed == NODES && list_empty(&tasks));
    for (int i = 0; i < NODES; i++) {
        sockjs_relay_free(nodes[i].relay);
        http_server_free(nodes[i].server);
    }
    hash_free(&owners);
    owners = (struct hash){0};
    bool never = false;
    loop_run_until(&loop, &never, 20);
    assert_int_equal(loop_close(&loop), 0);
    log_set_sink(NULL, NULL);
    return 0;
}

static struct peer *post(int node, const char *path, const char *body) {
    struct peer *peer = peer_open(&loop, nodes[node].server);
    struct buffer text = {0};
    buffer_printf(&text, "POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %zu\r\n\r\n%s", path,
                  strlen(body), body);
    peer_send(peer, buffer_slice(&text));
    buffer_free(&text);
    return peer;
}
static void expect(struct peer *peer, const char *text) {
    wait_for(&loop, peer_has(peer, text));
    peer_close(&loop, peer);
}

static void a_session_is_served_wherever_its_requests_arrive(void **state) {
    (void)state;
    expect(post(0, "/s/0/a/xhr", ""), "\r\n\r\no\n");
    expect(post(1, "/s/0/a/xhr_send", "[\"one\"]"), "HTTP/1.1 204");
    expect(post(1, "/s/0/a/xhr", ""), "\r\n\r\na[\"one\"]\n");
    struct peer *poll = post(1, "/s/0/a/xhr", "");
    expect(post(0, "/s/0/a/xhr_send", "[\"two\"]"), "HTTP/1.1 204");
    expect(poll, "a[\"two\"]\n");
    expect(post(1, "/s/0/a/xhr_send", "[\"broken"), "HTTP/1.1 500");
    assert_int_equal(opened, 1);
}

static void a_session_of_nobody_is_not_found(void **state) {
    (void)state;
    expect(post(1, "/s/0/a/xhr_send", "[\"one\"]"), "HTTP/1.1 404");
    assert_int_equal(hash_count(&owners), 0);
}

static void a_stream_is_carried_from_the_other_instance(void **state) {
    (void)state;
    expect(post(0, "/s/0/a/xhr", ""), "o\n");
    struct peer *stream = post(1, "/s/0/a/xhr_streaming", "");
    wait_for(&loop, peer_has(stream, "hhhh\n"));
    struct buffer large = {0};
    memset(buffer_reserve(&large, 90000), 'x', 90000); // past the high-water mark
    buffer_added(&large, 90000);
    sockjs_session_send_text(nodes[0].session, buffer_slice(&large));
    wait_for(&loop, peer_has(stream, "xxx\"]\n"));
    sockjs_session_send_text(nodes[0].session, SLICE("behind it"));
    wait_for(&loop, peer_has(stream, "a[\"behind it\"]\n"));
    struct peer *second = post(0, "/s/0/a/xhr", "");
    expect(second, "c[2010,\"Another connection still open\"]\n");
    expect(post(0, "/s/0/a/xhr_send", "[\"close me\"]"), "HTTP/1.1 204");
    expect(stream, "c[3001,\"bye\"]\n");
    buffer_free(&large);
}

static void a_poll_broken_off_there_ends_the_session_here(void **state) {
    (void)state;
    expect(post(0, "/s/0/a/xhr", ""), "o\n");
    struct peer *poll = post(1, "/s/0/a/xhr", "");
    bool never = false;
    loop_run_until(&loop, &never, 20);
    peer_close(&loop, poll);
    wait_for(&loop, closed == 1);
    assert_int_equal(closed_code, 1002);
}

static void a_session_that_ended_leaves_its_name_free(void **state) {
    (void)state;
    expect(post(0, "/s/0/a/xhr", ""), "o\n");
    wait_for(&loop, closed == 1);
    wait_for(&loop, hash_count(&owners) == 0);
    expect(post(1, "/s/0/a/xhr", ""), "o\n");
    assert_int_equal(opened, 2);
}

static void the_session_of_an_instance_that_died_begins_again(void **state) {
    (void)state;
    expect(post(0, "/s/0/a/xhr", ""), "o\n");
    nodes[0].dead = true;
    expect(post(1, "/s/0/a/xhr_send", "[\"one\"]"), "HTTP/1.1 404");
    expect(post(1, "/s/0/a/xhr", ""), "o\n"); // clients take a second o as a lost session
    assert_int_equal(opened, 2);
}

static void nonsense_on_the_bus_is_ignored(void **state) {
    (void)state;
    static const char *const lines[] = {
        "", "\n", "poll", "poll nodeb", "poll nodeb x /s a xhr - r\n", "take nodeb 1 /s\n[",
        "poll nodeb 1 /s a xhr aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa r\n",
        "poll nodeb 1 /none a xhr - r\n", "write 7\nx", "taken 7 99\n", "read nodeb 7 x\n",
        "gone nodeb 7\n", "end 18446744073709551616\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        sockjs_relay_message(nodes[0].relay, slice_of(lines[i]));
    expect(post(0, "/s/0/a/xhr", ""), "o\n");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_session_is_served_wherever_its_requests_arrive),
        CASE(a_session_of_nobody_is_not_found),
        CASE(a_stream_is_carried_from_the_other_instance),
        CASE(a_poll_broken_off_there_ends_the_session_here),
        CASE(a_session_that_ended_leaves_its_name_free),
        CASE(the_session_of_an_instance_that_died_begins_again),
        CASE(nonsense_on_the_bus_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
