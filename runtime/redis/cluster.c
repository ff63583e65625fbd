#include "redis/cluster.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "redis/private.h"
#include "redis/scout.h"
#include "redis/slot.h"
#include <stdio.h>

enum {
    MAP_MS = 5000,
    REDIRECTIONS_MOST = 5,
    TRY_AGAIN_MS = 30,
    NODE_ADDRESS_SIZE = 280,
    SCAN_SHIFT = 48, ///< a server's own cursor is below 2^48, whatever it holds
    UNSEEN_MOST = 2, ///< maps without a node, after which its connection goes
};

struct node {
    struct redis_client *client;
    struct redis_cluster *cluster;
    unsigned unseen;
    bool used; ///< has slots in the newest map
    char address[NODE_ADDRESS_SIZE];
};

struct redis_cluster {
    struct loop *loop;
    struct redis_client *owner;
    struct redis_scout *scout;
    struct redis_options options; ///< of the nodes; its texts are ours
    char *name, *password;
    struct hash nodes; ///< by address
    struct list calls; ///< that wait for a reply, or to be sent again
    bool known, whole, closing;
    struct node *slots[REDIS_SLOTS];
};

/// A command with what is needed to send it once more.
struct cluster_call {
    struct list link;
    struct timer again;
    struct redis_cluster *cluster;
    struct node *node; ///< where it was sent
    redis_reply_fn *done;
    void *context;
    uint64_t until;
    int slot;
    unsigned redirections;
    int scanned; ///< of a SCAN: which node in the order of their addresses; else -1
    size_t size;
    char data[];
};

// ---- nodes ----------------------------------------------------------------------------------

bool redis_cluster_whole(const struct redis_cluster *cluster) {
    for (size_t i = 0; i < REDIS_SLOTS; i++) {
        if (!cluster->slots[i] || !redis_client_ready(cluster->slots[i]->client)) return false;
    }
    return true;
}

static void cluster_check(struct redis_cluster *cluster) {
    bool whole = redis_cluster_whole(cluster);
    if (!cluster->known || whole == cluster->whole) return;
    cluster->whole = whole;
    redis_client_tell_state(cluster->owner, whole);
}

static void node_changed(void *context, bool up) {
    struct node *node = context;
    struct redis_cluster *cluster = node->cluster;
    if (cluster->closing) return;
    if (!up) redis_scout_ask(cluster->scout);
    if (node->used) cluster_check(cluster); // may free the cluster
}

static struct node *node_at(struct redis_cluster *cluster, const char *address) {
    struct node *node = hash_get(&cluster->nodes, slice_of(address));
    if (node) return node;
    node = memory_zero(1, sizeof *node);
    snprintf(node->address, sizeof node->address, "%s", address);
    node->cluster = cluster;
    struct redis_options options = cluster->options;
    options.address = node->address;
    node->client = redis_client_new(cluster->loop, &options);
    redis_functions_copy(cluster->owner, node->client);
    redis_client_on_state(node->client, node_changed, node);
    hash_put(&cluster->nodes, slice_of(address), node);
    return node;
}

/// "host:port" of what a node says of another one. Without a host it means its own.
static void address_join(char out[NODE_ADDRESS_SIZE], struct slice host, long long port,
                         const char *from) {
    if (host.size == 0 || slice_equal(host, SLICE("?"))) {
        const char *colon = strrchr(from, ':');
        host = slice_make(from, colon ? (size_t)(colon - from) : strlen(from));
    }
    bool six = slice_find(host, ':', 0) < host.size && host.data[0] != '[';
    snprintf(out, NODE_ADDRESS_SIZE, six ? "[%.*s]:%lld" : "%.*s:%lld", SLICE_FORMAT(host), port);
}

// ---- the map --------------------------------------------------------------------------------

static bool map_take(struct redis_cluster *cluster, const redisReply *range, const char *from) {
    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3) return false;
    const redisReply *low = range->element[0], *high = range->element[1], *who = range->element[2];
    if (low->type != REDIS_REPLY_INTEGER || high->type != REDIS_REPLY_INTEGER || low->integer < 0 ||
        low->integer > high->integer || high->integer >= REDIS_SLOTS)
        return false;
    if (who->type != REDIS_REPLY_ARRAY || who->elements < 2 ||
        who->element[1]->type != REDIS_REPLY_INTEGER)
        return false;
    char address[NODE_ADDRESS_SIZE];
    const redisReply *host = who->element[0];
    address_join(address, host->str ? slice_make(host->str, host->len) : SLICE(""),
                 who->element[1]->integer, from);
    struct node *node = node_at(cluster, address);
    node->used = true;
    node->unseen = 0;
    for (long long slot = low->integer; slot <= high->integer; slot++) cluster->slots[slot] = node;
    return true;
}

/// Nodes that no map has named for a while go; what still waits for them hears LOST. The others are
/// who is asked next time.
static void nodes_sweep(struct redis_cluster *cluster) {
    struct buffer addresses = {0};
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&cluster->nodes, &cursor, &key, &value)) {
        struct node *node = value;
        if (node->used || ++node->unseen <= UNSEEN_MOST) {
            if (addresses.size) buffer_append_char(&addresses, ',');
            buffer_append_text(&addresses, node->address);
            continue;
        }
        hash_remove(&cluster->nodes, key);
        log_info("redis.node_left", LOG_TEXT("name", cluster->name),
                 LOG_TEXT("address", node->address));
        redis_client_free(node->client);
        memory_free(node);
    }
    if (addresses.size) redis_scout_candidates(cluster->scout, buffer_text(&addresses));
    buffer_free(&addresses);
}

static bool cluster_on_map(void *context, const redisReply *reply, const char *from) {
    struct redis_cluster *cluster = context;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) return false;
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&cluster->nodes, &cursor, &key, &value)) ((struct node *)value)->used = false;
    memset(cluster->slots, 0, sizeof cluster->slots);
    bool good = true;
    for (size_t i = 0; i < reply->elements; i++)
        good = map_take(cluster, reply->element[i], from) && good;
    nodes_sweep(cluster);
    if (!cluster->known) {
        cluster->known = cluster->whole = true; // the nodes connect now, and commands wait for them
        redis_client_prepared(cluster->owner);
    } else {
        cluster_check(cluster);
    }
    return good;
}

// ---- commands -------------------------------------------------------------------------------

static void call_finish(struct cluster_call *call, const redisReply *reply, const char *error) {
    redis_reply_fn *done = call->done;
    void *context = call->context;
    list_remove(&call->link);
    loop_timer_stop(call->cluster->loop, &call->again);
    memory_free(call);
    if (done) done(context, reply, error); // may free everything
}

static void call_on_reply(void *context, const redisReply *reply, const char *error);

static void call_send(struct cluster_call *call, struct node *node, bool asking) {
    uint64_t now = loop_now(call->cluster->loop);
    unsigned limit = call->until > now ? (unsigned)(call->until - now) : 1;
    call->node = node;
    // The server takes ASKING for the very next command of the connection: these two stay together.
    if (asking)
        redis_client_submit(node->client, SLICE("*1\r\n$6\r\nASKING\r\n"), limit, NULL, NULL);
    redis_client_submit(node->client, slice_make(call->data, call->size), limit, call_on_reply,
                        call);
}

static struct node *node_for(struct redis_cluster *cluster, int slot) {
    if (slot >= 0) return cluster->slots[slot];
    // Any node will do: begin anywhere, so that all take their share.
    size_t first = random_fast() % REDIS_SLOTS;
    for (size_t i = 0; i < REDIS_SLOTS; i++) {
        struct node *node = cluster->slots[(first + i) % REDIS_SLOTS];
        if (node && redis_client_ready(node->client)) return node;
    }
    return cluster->slots[first];
}

static void call_again(struct timer *timer) {
    struct cluster_call *call = container_of(timer, struct cluster_call, again);
    struct node *node = call->scanned >= 0 ? NULL : node_for(call->cluster, call->slot);
    if (node)
        call_send(call, node, false);
    else
        call_finish(call, NULL, "UNAVAILABLE the slot has no redis");
}

/// "MOVED 3999 127.0.0.1:6381" or "ASK 3999 127.0.0.1:6381": the node, or NULL.
static struct node *call_redirected(struct cluster_call *call, struct slice text, bool moved) {
    struct slice word;
    uint64_t slot, port;
    slice_next(&text, ' ', &word);
    if (!slice_next(&text, ' ', &word) || !slice_to_u64(word, &slot) || slot >= REDIS_SLOTS)
        return NULL;
    size_t colon = text.size;
    while (colon > 0 && text.data[colon - 1] != ':') colon--;
    if (colon == 0 || !slice_to_u64(slice_sub(text, colon, text.size), &port)) return NULL;
    char address[NODE_ADDRESS_SIZE];
    address_join(address, slice_sub(text, 0, colon - 1), (long long)port, call->node->address);
    struct node *node = node_at(call->cluster, address);
    node->unseen = 0;
    if (moved) {
        call->cluster->slots[slot] = node;
        node->used = true;
        redis_scout_ask(call->cluster->scout); // one moved: others may have
    }
    return node;
}

static void call_on_reply(void *context, const redisReply *reply, const char *error) {
    struct cluster_call *call = context;
    struct redis_cluster *cluster = call->cluster;
    if (cluster->closing || (reply && reply->type != REDIS_REPLY_ERROR)) {
        call_finish(call, reply, error);
        return;
    }
    if (!reply) {
        redis_scout_ask(cluster->scout); // lost or silent: another may have been promoted
        call_finish(call, NULL, error);
        return;
    }
    struct slice text = slice_make(reply->str, reply->len);
    bool moved = slice_starts(text, SLICE("MOVED ")), asked = slice_starts(text, SLICE("ASK "));
    if (slice_starts(text, SLICE("CLUSTERDOWN"))) redis_scout_ask(cluster->scout);
    if ((moved || asked) && call->redirections++ < REDIRECTIONS_MOST) {
        struct node *node = call_redirected(call, text, moved);
        if (node) {
            call_send(call, node, asked);
            return;
        }
    }
    // Keys of one command are in two places while their slot moves.
    if (slice_starts(text, SLICE("TRYAGAIN")) &&
        loop_now(cluster->loop) + TRY_AGAIN_MS < call->until) {
        loop_timer_start(cluster->loop, &call->again, TRY_AGAIN_MS);
        return;
    }
    call_finish(call, reply, NULL);
}

// ---- SCAN -----------------------------------------------------------------------------------

/// The master that comes at `index` in the order of the addresses, or NULL.
static struct node *node_in_order(struct redis_cluster *cluster, int index) {
    struct node *last = NULL;
    for (int i = 0; i <= index; i++) {
        struct node *next = NULL;
        size_t cursor = 0;
        struct slice key;
        void *value;
        while (hash_next(&cluster->nodes, &cursor, &key, &value)) {
            struct node *node = value;
            if (node->used && (!last || strcmp(node->address, last->address) > 0) &&
                (!next || strcmp(node->address, next->address) < 0))
                next = node;
        }
        if (!next) return NULL;
        last = next;
    }
    return last;
}

/// The reply with a cursor that says at which node to go on.
static void scan_on_reply(void *context, const redisReply *reply, const char *error) {
    struct cluster_call *call = context;
    uint64_t cursor;
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        !reply->element[0]->str ||
        !slice_to_u64(slice_make(reply->element[0]->str, reply->element[0]->len), &cursor)) {
        call_finish(call, reply, error);
        return;
    }
    int at = call->scanned;
    if (cursor == 0) at = node_in_order(call->cluster, at + 1) ? at + 1 : 0; // 0 and 0: the end
    char text[24];
    cursor |= (uint64_t)at << SCAN_SHIFT;
    redisReply first = *reply->element[0];
    first.str = text;
    first.len = (size_t)snprintf(text, sizeof text, "%llu", (unsigned long long)cursor);
    redisReply changed = *reply, *elements[2] = {&first, reply->element[1]};
    changed.element = elements;
    call_finish(call, &changed, NULL);
}

static void scan_send(struct cluster_call *call, struct slice encoded) {
    struct redis_cluster *cluster = call->cluster;
    uint64_t cursor = 0, limit = call->until - loop_now(cluster->loop);
    slice_to_u64(redis_encoded_argument(encoded, 1), &cursor);
    call->scanned = (int)(cursor >> SCAN_SHIFT);
    struct node *node = node_in_order(cluster, call->scanned);
    if (!node) {
        loop_timer_start(cluster->loop, &call->again, 0); // nothing there: an error, later
        return;
    }
    struct slice words[16];
    size_t count = 0;
    while (count < 16 && (words[count] = redis_encoded_argument(encoded, count)).data) count++;
    char text[24];
    snprintf(text, sizeof text, "%llu",
             (unsigned long long)(cursor & ((UINT64_C(1) << SCAN_SHIFT) - 1)));
    words[1] = slice_of(text);
    redis_call(node->client, words, count, (unsigned)limit, scan_on_reply, call);
}

void redis_cluster_submit(struct redis_cluster *cluster, struct slice encoded, unsigned limit_ms,
                          redis_reply_fn *done, void *context) {
    struct cluster_call *call = memory_alloc(sizeof *call + encoded.size);
    *call = (struct cluster_call){
        .cluster = cluster, .done = done, .context = context, .size = encoded.size, .scanned = -1};
    memcpy(call->data, encoded.data, encoded.size);
    call->slot = redis_encoded_slot(encoded);
    call->until = loop_now(cluster->loop) + limit_ms;
    list_push_back(&cluster->calls, &call->link);
    timer_init(&call->again, call_again);
    if (slice_equal_fold(redis_encoded_argument(encoded, 0), SLICE("SCAN"))) {
        scan_send(call, encoded);
        return;
    }
    struct node *node = node_for(cluster, call->slot);
    if (node) {
        call_send(call, node, false);
    } else { // told later, like all answers
        redis_scout_ask(cluster->scout);
        loop_timer_start(cluster->loop, &call->again, 0);
    }
}

// ---- life -----------------------------------------------------------------------------------

struct redis_cluster *redis_cluster_new(struct loop *loop, const struct redis_options *options,
                                        struct redis_client *owner) {
    struct redis_cluster *cluster = memory_zero(1, sizeof *cluster);
    cluster->loop = loop;
    cluster->owner = owner;
    list_init(&cluster->calls);
    cluster->options = *options;
    cluster->options.name = cluster->name = memory_copy_string(redis_client_name(owner));
    if (options->password) cluster->password = memory_copy_string(options->password);
    cluster->options.password = cluster->password;
    static const struct slice question[] = {{"CLUSTER", 7}, {"SLOTS", 5}};
    struct redis_scout_options scout = {
        .name = cluster->name,
        .role = "map",
        .password = cluster->password,
        .question = question,
        .words = 2,
        .every_ms = MAP_MS,
        .on_answer = cluster_on_map,
        .context = cluster,
    };
    cluster->scout = redis_scout_new(loop, &scout, options->address + strlen("cluster:"));
    return cluster;
}

void redis_cluster_free(struct redis_cluster *cluster) {
    if (!cluster) return;
    cluster->closing = true;
    redis_scout_free(cluster->scout);
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&cluster->nodes, &cursor, &key, &value)) {
        struct node *node = value;
        redis_client_free(node->client); // what waits hears LOST
        memory_free(node);
    }
    while (!list_empty(&cluster->calls)) {
        call_finish(list_first(&cluster->calls, struct cluster_call, link), NULL,
                    "UNAVAILABLE the redis client was closed");
    }
    hash_free(&cluster->nodes);
    memory_free(cluster->name);
    memory_free(cluster->password);
    memory_free(cluster);
}
