#include "websocket_support.h"

#include "redis_server.h"

#include "base/clock.h"
#include "realtime/hub.h"
#include "realtime/publish.h"

/// Two instances of the hub over one real Redis, with raw WebSocket clients on socket pairs.
static struct loop loop;
static struct redis_server redis = {0};
static struct redis_client *client;
static const uint8_t key[REALTIME_KEY_SIZE] = {9, 9, 9};

struct node {
    struct http_server *server;
    struct redis_client *client;
    struct redis_subscriber *subscriber;
    struct hub *hub;
};
static struct node nodes[2];

static struct redis_client *new_client(void) {
    struct redis_options options = {.name = "main", .address = redis.address};
    return redis_client_new(&loop, &options);
}

static void start_node(struct node *node) {
    struct redis_options redis_options = {.name = "main", .address = redis.address};
    node->client = new_client();
    node->subscriber = redis_subscriber_new(&loop, &redis_options);
    struct hub_options options = {.redis = node->client, .subscriber = node->subscriber,
                                  .origins = "*", .chat_burst = 5};
    memcpy(options.key, key, sizeof key);
    node->hub = hub_new(&loop, &options);
    struct http_server_options http = {
        .name = "test", .on_request = realtime_on_request, .context = node->hub};
    http_limits_default(&http.limits);
    node->server = http_server_new(&loop, &http);
}

static void stop_node(struct node *node) {
    hub_free(node->hub);
    redis_subscriber_free(node->subscriber);
    redis_client_free(node->client);
    http_server_free(node->server);
    bool never = false;
    loop_run_until(&loop, &never, 30);
}

static int set_up(void **state) {
    (void)state;
    log_set_sink(quiet, NULL);
    assert_int_equal(loop_init(&loop), 0);
    redis_server_start(&redis);
    client = new_client();
    for (int i = 0; i < 2; i++) start_node(&nodes[i]);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) stop_node(&nodes[i]);
    redis_client_free(client);
    bool never = false;
    loop_run_until(&loop, &never, 30);
    assert_int_equal(loop_close(&loop), 0);
    redis_server_remove(&redis);
    log_set_sink(NULL, NULL);
    return 0;
}

// ---- what clients do -------------------------------------------------------------------------

static struct peer *open_peer(struct node *node) {
    struct peer *peer = peer_open(&loop, node->server);
    peer_send(peer, SLICE(HANDSHAKE("/realtime/websocket") "\r\n"));
    wait_head(&loop, peer);
    return peer;
}

static void token_for(struct buffer *out, int64_t account, const char *name, const char *role,
                      int64_t seconds) {
    struct buffer payload = {0};
    int64_t now = clock_wall_s();
    buffer_printf(&payload,
                  "{\"sub\":\"%lld\",\"name\":\"%s\",\"role\":\"%s\",\"iat\":%lld,\"exp\":%lld,"
                  "\"caps\":[\"chat:*\"]}",
                  (long long)account, name, role, (long long)now, (long long)(now + seconds));
    realtime_token_sign(out, buffer_slice(&payload), key);
    buffer_free(&payload);
}

/// Connects with these subscriptions (JSON); account 0: without a token.
static struct peer *join(struct node *node, int64_t account, const char *name, const char *subs) {
    struct peer *peer = open_peer(node);
    struct buffer text = {0};
    buffer_append_text(&text, "{\"i\":1,\"connect\":{");
    if (account > 0) {
        buffer_append_text(&text, "\"token\":\"");
        token_for(&text, account, name, "viewer", 600);
        buffer_append_text(&text, "\",");
    }
    buffer_printf(&text, "\"subs\":%s}}", subs);
    send_text(peer, buffer_text(&text));
    buffer_free(&text);
    return peer;
}

/// The next frame that starts so; pushes of presence, which come when they come, are passed over.
static char *next(struct peer *peer) {
    static struct buffer payload;
    struct websocket_head head;
    do {
        wait_frame(&loop, peer, &head, &payload);
        assert_int_equal(head.opcode, WEBSOCKET_TEXT);
    } while (slice_starts(buffer_slice(&payload), SLICE("{\"pres\":")));
    return (char *)(uintptr_t)buffer_text(&payload);
}

#define expect_text(peer, part)                                                                    \
    do {                                                                                           \
        const char *expect_got = next(peer);                                                       \
        if (!strstr(expect_got, part)) fail_msg("wanted %s, got %s", part, expect_got);            \
    } while (0)

static void publish(const char *channel, const char *json) {
    realtime_publish(client, slice_of(channel), slice_of(json));
}

static bool replied;
static void on_reply(void *context, const redisReply *reply, const char *error) {
    (void)context;
    assert_null(error);
    assert_true(reply->type != REDIS_REPLY_ERROR);
    replied = true;
}
static void command(const char *text) {
    replied = false;
    redis_format(client, on_reply, NULL, text);
    wait_for(&loop, replied);
}

// ---- tests -----------------------------------------------------------------------------------

static void chat_reaches_everyone_on_every_instance_in_order(void **state) {
    (void)state;
    struct peer *ava = join(&nodes[0], 7, "ava", "{\"chat:lola\":{}}");
    struct peer *guest = join(&nodes[1], 0, "", "{\"chat:lola\":{}}");
    expect_text(ava, "\"account\":7");
    expect_text(guest, "\"role\":\"guest\"");
    for (int i = 0; i < 3; i++) {
        char text[96];
        snprintf(text, sizeof text,
                 "{\"i\":%d,\"pub\":{\"c\":\"chat:lola\",\"d\":{\"text\":\"line %d\"}}}", i + 2, i);
        send_text(ava, text);
    }
    for (int i = 0; i < 3; i++) {
        char text[96];
        snprintf(text, sizeof text, "\"text\":\"line %d\"", i);
        const char *got = next(guest);
        assert_non_null(strstr(got, text));
        assert_non_null(strstr(got, "\"from\":{\"id\":7,\"name\":\"ava\",\"role\":\"viewer\"}"));
        snprintf(text, sizeof text, "{\"pub\":{\"c\":\"chat:lola\",\"o\":%d,", i + 1);
        assert_non_null(strstr(got, text));
    }
    peer_close(&loop, ava);
    peer_close(&loop, guest);
}

static void guests_and_strangers_are_kept_out(void **state) {
    (void)state;
    struct peer *guest = join(&nodes[0], 0, "", "{\"user:7\":{},\"staff:x\":{},\"show:1\":{}}");
    const char *reply = next(guest);
    assert_non_null(strstr(reply, "\"user:7\":{\"error\":\"denied\"}"));
    assert_non_null(strstr(reply, "\"staff:x\":{\"error\":\"denied\"}"));
    assert_non_null(strstr(reply, "\"show:1\":{\"error\":\"denied\"}"));
    send_text(guest, "{\"i\":2,\"pub\":{\"c\":\"chat:lola\",\"d\":{\"text\":\"hi\"}}}");
    expect_text(guest, "\"code\":\"denied\"");
    send_text(guest, "{\"i\":3,\"pub\":{\"c\":\"status:lola\",\"d\":{\"text\":\"hi\"}}}");
    expect_text(guest, "\"code\":\"denied\"");
    struct peer *other = join(&nodes[0], 8, "bob", "{\"user:7\":{},\"bal:7\":{}}");
    reply = next(other);
    assert_non_null(strstr(reply, "\"user:7\":{\"error\":\"denied\"}"));
    assert_non_null(strstr(reply, "\"bal:7\":{\"error\":\"denied\"}"));
    assert_non_null(strstr(reply, "\"user:8\":{\"o\":0"));
    peer_close(&loop, guest);
    peer_close(&loop, other);
}

static void who_comes_back_gets_what_was_missed_or_is_told(void **state) {
    (void)state;
    struct peer *peer = join(&nodes[0], 0, "", "{\"chat:lola\":{}}");
    next(peer);
    publish("chat:lola", "{\"n\":1}");
    char epoch[24] = "";
    expect_text(peer, "\"o\":1,\"e\":\""); // the first brings the epoch's name
    peer_close(&loop, peer);
    publish("chat:lola", "{\"n\":2}");
    publish("chat:lola", "{\"n\":3}");
    command("PING");
    peer = join(&nodes[1], 0, "", "{\"chat:lola\":{\"h\":1}}");
    const char *reply = next(peer);
    assert_non_null(strstr(reply, "\"pubs\":[{\"o\":3,\"d\":{\"n\":3}}]"));
    const char *e = strstr(reply, "\"e\":\"");
    assert_non_null(e);
    snprintf(epoch, sizeof epoch, "%.8s", e + 5);
    peer_close(&loop, peer);
    char subs[96];
    snprintf(subs, sizeof subs, "{\"chat:lola\":{\"o\":1,\"e\":\"%s\"}}", epoch);
    peer = join(&nodes[1], 0, "", subs);
    expect_text(peer, "\"recovered\":true,\"pubs\":[{\"o\":2,\"d\":{\"n\":2}},{\"o\":3,\"d\":{\"n\":3}}]");
    peer_close(&loop, peer);
    // A hundred more: 50 are kept, so that a gap of exactly 50 is whole and one of 51 is not.
    for (int i = 4; i <= 103; i++) publish("chat:lola", "{}");
    command("PING");
    static const struct {
        int offset;
        const char *epoch, *recovered;
    } cases[] = {{53, NULL, "true"}, {52, NULL, "false"}, {103, NULL, "true"},
                 {104, NULL, "false"}, {100, "zzzzzzzz", "false"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char wanted[32];
        snprintf(subs, sizeof subs, "{\"chat:lola\":{\"o\":%d,\"e\":\"%s\"}}", cases[i].offset,
                 cases[i].epoch ? cases[i].epoch : epoch);
        snprintf(wanted, sizeof wanted, "\"recovered\":%s", cases[i].recovered);
        peer = join(&nodes[0], 0, "", subs);
        expect_text(peer, wanted);
        peer_close(&loop, peer);
    }
}

static void a_stream_of_messages_has_no_hole_around_a_subscription(void **state) {
    (void)state;
    // Messages keep coming while clients join; each sees a run without gap or double.
    int published = 0;
    for (int round = 0; round < 20; round++) {
        char json[64];
        for (int i = 0; i < 3; i++) {
            snprintf(json, sizeof json, "{\"n\":%d}", ++published);
            publish("chat:run", json);
        }
        struct peer *peer = join(&nodes[round & 1], 0, "", "{\"chat:run\":{\"h\":2}}");
        for (int i = 0; i < 3; i++) {
            snprintf(json, sizeof json, "{\"n\":%d}", ++published);
            publish("chat:run", json);
        }
        const char *reply = next(peer);
        const char *o = strstr(reply, "\"chat:run\":{\"o\":");
        assert_non_null(o);
        int seen = atoi(o + strlen("\"chat:run\":{\"o\":"));
        while (seen < published) {
            snprintf(json, sizeof json, "\"d\":{\"n\":%d}}}", seen + 1);
            expect_text(peer, json);
            seen++;
        }
        peer_close(&loop, peer);
    }
}

static void states_are_given_to_whoever_comes_and_the_newest_wins(void **state) {
    (void)state;
    publish("bal:7", "{\"paid\":5,\"version\":5}");
    publish("status:lola", "{\"state\":\"live\"}");
    command("PING"); // what was sent before it has been done
    struct peer *peer = join(&nodes[0], 7, "ava", "{\"status:lola\":{}}");
    const char *reply = next(peer);
    assert_non_null(strstr(reply, "\"bal:7\":{\"v\":5,\"d\":{\"paid\":5,\"version\":5}}"));
    assert_non_null(strstr(reply, "\"status:lola\":{\"v\":1,\"d\":{\"state\":\"live\"}}"));
    publish("bal:7", "{\"paid\":4,\"version\":4}"); // late: changes nothing
    publish("bal:7", "{\"paid\":7,\"version\":7}");
    expect_text(peer, "{\"state\":{\"c\":\"bal:7\",\"v\":7,\"d\":{\"paid\":7,\"version\":7}}}");
    peer_close(&loop, peer);
}

static void people_are_counted_once_over_all_instances(void **state) {
    (void)state;
    struct peer *one = join(&nodes[0], 7, "ava", "{\"chat:count\":{}}");
    struct peer *two = join(&nodes[1], 7, "ava", "{\"chat:count\":{}}"); // the same in another tab
    struct peer *guest = join(&nodes[1], 0, "", "{\"chat:count\":{}}");
    // The instances count one after the other, so the first numbers depend on who was first.
    wait_for(&loop, peer_has(one, "{\"pres\":{\"c\":\"chat:count\",\"n\":2}}"));
    unsigned before = peer_count(one, "\"n\":1}}");
    peer_close(&loop, guest);
    wait_for(&loop, peer_count(one, "\"n\":1}}") == before + 1);
    struct peer *bob = join(&nodes[1], 8, "bob", "{\"chat:count\":{}}");
    before = peer_count(one, "\"n\":2}}");
    wait_for(&loop, peer_count(one, "\"n\":2}}") == before + 1);
    peer_close(&loop, two); // still there in the first tab
    before = peer_count(one, "\"n\":1}}");
    peer_close(&loop, bob);
    wait_for(&loop, peer_count(one, "\"n\":1}}") == before + 1);
    assert_int_equal(peer_count(one, "\"n\":0}}"), 0);
    peer_close(&loop, one);
}

static void a_kick_bites_everywhere_and_keeps_out(void **state) {
    (void)state;
    struct peer *one = join(&nodes[0], 7, "ava", "{}");
    struct peer *two = join(&nodes[1], 7, "ava", "{}");
    struct peer *bob = join(&nodes[1], 8, "bob", "{}");
    next(one), next(two), next(bob);
    command("HSET p:account:7 state banned");
    realtime_order(client, SLICE("{\"do\":\"kick\",\"account\":7,\"reason\":\"banned\"}"));
    struct peer *kicked[] = {one, two};
    for (int i = 0; i < 2; i++) {
        expect_text(kicked[i], "{\"disc\":{\"code\":3501,\"reconnect\":false,\"after\":0,\"reason\":\"banned\"}}");
        expect_close(&loop, kicked[i], 3501);
        peer_close(&loop, kicked[i]);
    }
    one = join(&nodes[0], 7, "ava", "{}");
    expect_text(one, "\"code\":3501");
    peer_close(&loop, one);
    send_text(bob, "{\"i\":5,\"ping\":{}}");
    expect_text(bob, "{\"i\":5,\"pong\":{}}");
    peer_close(&loop, bob);
}

static void tokens_from_before_a_sign_out_are_void(void **state) {
    (void)state;
    char text[80];
    snprintf(text, sizeof text, "HSET p:account:7 state active nbf %lld",
             (long long)clock_wall_s() + 5);
    command(text);
    struct peer *peer = join(&nodes[0], 7, "ava", "{}");
    expect_text(peer, "\"reason\":\"signed out\"");
    peer_close(&loop, peer);
}

static void orders_end_subscriptions(void **state) {
    (void)state;
    struct peer *ava = join(&nodes[0], 7, "ava", "{\"chat:lola\":{}}");
    struct peer *bob = join(&nodes[1], 8, "bob", "{\"chat:lola\":{}}");
    next(ava), next(bob);
    realtime_order(client, SLICE("{\"do\":\"unsubscribe\",\"account\":7,\"channel\":\"chat:lola\","
                                 "\"reason\":\"kicked\"}"));
    expect_text(ava, "{\"unsub\":{\"c\":\"chat:lola\",\"code\":403,\"reason\":\"kicked\"}}");
    realtime_order(client, SLICE("{\"do\":\"close\",\"channel\":\"chat:lola\",\"reason\":\"over\"}"));
    expect_text(bob, "{\"unsub\":{\"c\":\"chat:lola\",\"code\":410,\"reason\":\"over\"}}");
    peer_close(&loop, ava);
    peer_close(&loop, bob);
}

static void chat_has_limits_for_people(void **state) {
    (void)state;
    struct peer *ava = join(&nodes[0], 7, "ava", "{}");
    next(ava);
    static const struct {
        const char *text, *answer;
    } cases[] = {
        {"\"\"", "\"code\":\"empty\""},      {"\" \\n \"", "\"code\":\"empty\""},
        {"7", "\"code\":\"empty\""},         {"\"hello\"", "\"pub\":{\"c\":\"chat:x\",\"o\":1}"},
        {"\"hello\"", "\"code\":\"repeat\""}, {"\"see http://a.b\"", "\"code\":\"dropped\""},
        {"\"aaaaaaaaaaaaaaaaaaaaaaaaa\"", "\"code\":\"dropped\""},
        {"\"one more\"", "\"o\":2"},         {"\"and more\"", "\"o\":3"},
        {"\"too much\"", "\"code\":\"rate\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"i\":%zu,\"pub\":{\"c\":\"chat:x\",\"d\":{\"text\":%s}}}",
                 i + 2, cases[i].text);
        send_text(ava, text);
        expect_text(ava, cases[i].answer);
    }
    struct peer *bob = join(&nodes[0], 8, "bob", "{}");
    next(bob);
    char *text = memory_zero(1, 1000);
    int size = snprintf(text, 1000, "{\"i\":2,\"pub\":{\"c\":\"chat:x\",\"d\":{\"text\":\"");
    memset(text + size, 'y', 501);
    for (int i = 0; i < 501; i += 3) text[size + i] = 'z';
    memcpy(text + size + 501, "\"}}}", 4);
    send_text(bob, text);
    expect_text(bob, "\"code\":\"too_long\"");
    memory_free(text);
    command("HSET rt:mute:chat:x 8 0");
    send_text(bob, "{\"i\":3,\"pub\":{\"c\":\"chat:x\",\"d\":{\"text\":\"hi\"}}}");
    expect_text(bob, "\"code\":\"muted\"");
    command("HDEL rt:mute:chat:x 8");
    command("HSET rt:mode:chat:x slow 30");
    send_text(bob, "{\"i\":4,\"pub\":{\"c\":\"chat:x\",\"d\":{\"text\":\"ho\"}}}");
    expect_text(bob, "\"o\":4");
    send_text(bob, "{\"i\":5,\"pub\":{\"c\":\"chat:x\",\"d\":{\"text\":\"he\"}}}");
    expect_text(bob, "\"code\":\"slow\"");
    peer_close(&loop, ava);
    peer_close(&loop, bob);
}

/// The account says something new in chat:x; the answer must hold `wanted`.
static void say(struct peer *peer, const char *wanted) {
    static unsigned number;
    char text[128];
    snprintf(text, sizeof text, "{\"i\":9,\"pub\":{\"c\":\"chat:x\",\"d\":{\"text\":\"%u%s\"}}}", ++number,
             strstr(wanted, "Links") ? " a.com" : "");
    send_text(peer, text);
    expect_text(peer, wanted);
}

static void a_room_decides_who_may_write(void **state) {
    (void)state;
    command("HSET rt:mode:chat:x followers 1");
    struct peer *ava = join(&nodes[0], 7, "ava", "{}");
    next(ava);
    say(ava, "\"code\":\"followers\"");
    command("SADD rt:follow:chat:x 7");
    say(ava, "\"o\":1");
    command("HDEL rt:mode:chat:x followers");
    command("HSET rt:mode:chat:x tippers 1");
    say(ava, "\"code\":\"tippers\"");
    command("ZADD rt:tip:chat:x 1000 7"); // in 1970
    say(ava, "\"code\":\"tippers\"");
    command("ZADD rt:tip:chat:x 9000000000000 7");
    say(ava, "\"o\":2");
    struct peer *bob = join(&nodes[0], 8, "bob", "{\"chat:x\":{}}");
    next(bob);
    command("HSET rt:role:chat:x 8 moderator");
    say(bob, "\"o\":3");
    expect_text(bob, "\"role\":\"moderator\"");
    command("HDEL rt:role:chat:x 8");
    command("DEL rt:mode:chat:x");
    struct peer *cy = join(&nodes[0], 9, "cy", "{}");
    next(cy);
    say(cy, "Links are not allowed");
    command("HSET rt:mode:chat:x links 1");
    send_text(cy, "{\"i\":9,\"pub\":{\"c\":\"chat:x\",\"d\":{\"text\":\"see a.com\"}}}");
    expect_text(cy, "\"o\":4");
    peer_close(&loop, ava);
    peer_close(&loop, bob);
    peer_close(&loop, cy);
}

static void who_is_banned_from_a_room_neither_writes_nor_listens(void **state) {
    (void)state;
    command("HSET rt:ban:chat:x 7 0 8 1000");
    struct peer *ava = join(&nodes[0], 7, "ava", "{\"chat:x\":{}}");
    // Redis' two answers decide which of these comes first.
    static const char out[] = "{\"unsub\":{\"c\":\"chat:x\",\"code\":403,\"reason\":\"banned\"}}";
    bool told = strstr(next(ava), out);
    expect_text(ava, told ? "{\"i\":1,\"connect\"" : out);
    say(ava, "\"code\":\"banned\"");
    struct peer *bob = join(&nodes[1], 8, "bob", "{}"); // his ban is over
    next(bob);
    say(bob, "\"o\":1");
    peer_close(&loop, ava);
    peer_close(&loop, bob);
}

static struct hub_verdict verdict;
static void judge(void *context, const struct hub_chat *chat, hub_verdict_fn *done, void *to) {
    (void)context;
    assert_string_equal(chat->name, "ava");
    done(to, &verdict);
}

static void the_judges_verdict_decides(void **state) {
    (void)state;
    hub_set_policy(nodes[0].hub, &(struct hub_policy){.judge = judge});
    struct peer *ava = join(&nodes[0], 7, "ava", "{}");
    struct peer *guest = join(&nodes[1], 0, "", "{\"chat:x\":{}}");
    next(ava), next(guest);
    static const struct {
        struct hub_verdict verdict;
        const char *text, *reply, *shown;
    } cases[] = {
        {{HUB_PASS, {0}, {0}}, "http://fine.here", "\"o\":1}", "http://fine.here"},
        {{HUB_CHANGE, {"softer", 6}, {0}}, "LOUD", "\"o\":2}", "\"text\":\"softer\""},
        {{HUB_HOLD, {0}, {"wait", 4}}, "odd", "\"held\":true,\"reason\":\"wait\"", NULL},
        {{HUB_DROP, {0}, {"no", 2}}, "bad", "\"code\":\"dropped\",\"message\":\"no\"", NULL},
        {{HUB_FAULT, {0}, {"boom", 4}}, "www.spam.com", "\"code\":\"dropped\"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[128];
        verdict = cases[i].verdict;
        snprintf(text, sizeof text, "{\"i\":9,\"pub\":{\"c\":\"chat:x\",\"d\":{\"text\":\"%s\"}}}",
                 cases[i].text);
        send_text(ava, text);
        expect_text(ava, cases[i].reply);
        if (cases[i].shown) expect_text(guest, cases[i].shown);
    }
    peer_close(&loop, ava);
    peer_close(&loop, guest);
}

static void nonsense_is_answered_or_ends_the_connection(void **state) {
    (void)state;
    struct peer *peer = open_peer(&nodes[0]);
    send_text(peer, "{\"i\":1,\"sub\":{\"c\":\"chat:x\"}}");
    expect_text(peer, "\"code\":\"connect\"");
    send_text(peer, "{\"i\":2,\"connect\":{}}");
    expect_text(peer, "\"role\":\"guest\"");
    send_text(peer, "{\"i\":3,\"connect\":{}}");
    expect_text(peer, "\"code\":\"connected\"");
    send_text(peer, "{\"i\":4,\"sub\":{\"c\":\"nope\"}}");
    expect_text(peer, "\"code\":\"unknown\"");
    send_text(peer, "{\"i\":5,\"dance\":{}}");
    expect_text(peer, "\"code\":\"unknown\"");
    send_text(peer, "[]");
    expect_text(peer, "\"code\":3500,\"reconnect\":false");
    expect_close(&loop, peer, 3500);
    peer_close(&loop, peer);
    peer = open_peer(&nodes[0]);
    send_text(peer, "{\"i\":1,\"connect\":{\"token\":\"a.b.c\"}}");
    expect_text(peer, "\"code\":3504,\"reconnect\":false");
    peer_close(&loop, peer);
    peer = open_peer(&nodes[0]);
    struct buffer flood = {0};
    for (int i = 0; i < 400; i++) put_frame(&flood, 0x81, SLICE("{\"ping\":{}}"));
    peer_send(peer, buffer_slice(&flood));
    buffer_free(&flood);
    wait_for(&loop, peer_has(peer, "\"code\":3502"));
    peer_close(&loop, peer);
}

static void redis_restarted_empty_is_healed_and_told(void **state) {
    (void)state;
    struct peer *peer = join(&nodes[0], 0, "", "{\"chat:lola\":{},\"status:lola\":{}}");
    next(peer);
    publish("chat:lola", "{\"n\":1}");
    expect_text(peer, "\"o\":1");
    redis_server_stop(&redis, SIGKILL);
    bool never = false;
    loop_run_until(&loop, &never, 50);
    redis_server_start(&redis);
    // The numbering starts in a new epoch, and whoever listened is told once that messages may
    // be missing, by the first message or by the check after the reconnection.
    wait_for(&loop, redis_client_ready(client) && redis_client_ready(nodes[0].client));
    for (int i = 0; i < 200 && !peer_has(peer, "{\"n\":2}"); i++) {
        publish("chat:lola", "{\"n\":2}");
        loop_run_until(&loop, &never, 20);
    }
    wait_for(&loop, peer_has(peer, "{\"gap\":{\"c\":\"chat:lola\"}}"));
    wait_for(&loop, peer_has(peer, "{\"n\":2}"));
    peer_close(&loop, peer);
}

static bool drained;
static void on_drained(void *context) {
    (void)context;
    drained = true;
}

static void a_drain_sends_everyone_away_to_come_back(void **state) {
    (void)state;
    struct peer *peers[5];
    for (int i = 0; i < 5; i++) {
        peers[i] = join(&nodes[0], 0, "", "{}");
        next(peers[i]);
    }
    drained = false;
    hub_drain(nodes[0].hub, 100, on_drained, NULL);
    for (int i = 0; i < 5; i++) {
        expect_text(peers[i], "{\"disc\":{\"code\":3000,\"reconnect\":true,\"after\":");
        expect_close(&loop, peers[i], 3000);
        peer_close(&loop, peers[i]);
    }
    wait_for(&loop, drained);
    assert_int_equal(hub_clients(nodes[0].hub), 0);
    struct peer *late = peer_open(&loop, nodes[0].server);
    peer_send(late, SLICE(HANDSHAKE("/realtime/websocket") "\r\n"));
    wait_for(&loop, peer_has(late, "HTTP/1.1 503"));
    peer_close(&loop, late);
}

static bool removed;
static void on_removed(void *context, int64_t offset, const char *epoch, const char *error) {
    (void)context;
    (void)epoch;
    assert_null(error);
    assert_int_equal(offset, 3);
    removed = true;
}

static void a_removed_message_leaves_the_history_too(void **state) {
    (void)state;
    struct peer *peer = join(&nodes[0], 0, "", "{\"chat:lola\":{}}");
    next(peer);
    publish("chat:lola", "{\"n\":1}");
    publish("chat:lola", "{\"n\":\"bad\"}");
    realtime_rewrite(client, SLICE("chat:lola"), 2, SLICE("{\"type\":\"remove\",\"offset\":2}"),
                     on_removed, NULL);
    wait_for(&loop, removed);
    expect_text(peer, "\"n\":1");
    expect_text(peer, "\"n\":\"bad\"");
    expect_text(peer, "\"type\":\"remove\",\"offset\":2");
    peer_close(&loop, peer);
    peer = join(&nodes[1], 0, "", "{\"chat:lola\":{\"h\":10}}");
    const char *reply = next(peer);
    assert_null(strstr(reply, "bad"));
    assert_non_null(strstr(reply, "\"type\":\"remove\""));
    peer_close(&loop, peer);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(chat_reaches_everyone_on_every_instance_in_order),
        TEST(guests_and_strangers_are_kept_out),
        TEST(who_comes_back_gets_what_was_missed_or_is_told),
        TEST(a_stream_of_messages_has_no_hole_around_a_subscription),
        TEST(states_are_given_to_whoever_comes_and_the_newest_wins),
        TEST(people_are_counted_once_over_all_instances),
        TEST(a_kick_bites_everywhere_and_keeps_out),
        TEST(tokens_from_before_a_sign_out_are_void),
        TEST(orders_end_subscriptions),
        TEST(chat_has_limits_for_people),
        TEST(a_room_decides_who_may_write),
        TEST(who_is_banned_from_a_room_neither_writes_nor_listens),
        TEST(the_judges_verdict_decides),
        TEST(nonsense_is_answered_or_ends_the_connection),
        TEST(redis_restarted_empty_is_healed_and_told),
        TEST(a_drain_sends_everyone_away_to_come_back),
        TEST(a_removed_message_leaves_the_history_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
