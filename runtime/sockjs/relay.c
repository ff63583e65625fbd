#include <stdio.h>
#include "base/memory.h"
#include "http/response.h"
#include "sockjs/internal.h"

/// Messages are a line of words, then bytes. From the instance that has the request ("here") to
/// the one that has the session ("there"), and back:
///
///     poll NODE NUMBER PREFIX ID TRANSPORT CALLBACK|- REMOTE     begin|write|respond|end|abort NUMBER\n…
///     take NODE NUMBER PREFIX ID FORM\nBODY                      taken NUMBER RESULT
///     gone NODE NUMBER                                           none NUMBER
///     read NODE NUMBER BYTES
enum {
    ENDPOINTS = 8,
    WORDS = 8,
    TRIES = 6,           ///< a claim may be ahead of the session that it announces
    RETRY_MS = 30,
    ANSWER_MS = 5000,    ///< a body that was handed over is answered within
    SILENCE_MS = 60000,  ///< a session sends a heartbeat more often than that
    TELL_AFTER = 16 * 1024,
    NODE_MAX = 48,
};

struct sockjs_relay {
    struct loop *loop;
    struct sockjs_bus bus;
    struct sockjs_endpoint *endpoints[ENDPOINTS];
    size_t endpoint_count;
    struct hash handed;    ///< requests of ours, by number
    struct hash receivers; ///< requests of others, by "NODE NUMBER"
    uint64_t next;
    bool stopped;
};

/// A request of ours that is another instance's business, or may be.
struct handed {
    struct sockjs_relay *relay;
    struct sockjs_endpoint *endpoint;
    struct http_request *request; ///< NULL: gone, or answered
    const struct sockjs_transport *transport; ///< NULL: it brings a body
    char callback[SOCKJS_CALLBACK_MAX + 1];
    char node[NODE_MAX]; ///< who has it
    char *id, *key;
    struct slice body;   ///< in the request's arena
    enum sockjs_body form;
    uint64_t number;
    size_t unread;       ///< bytes written that the session was not told of
    unsigned tries;
    struct timer timer;
    bool asking, placed, begun;
};

static const struct slice NOTHING = {0};

static char *copy(struct slice s) {
    char *text = memory_alloc(s.size + 1);
    if (s.size > 0) memcpy(text, s.data, s.size);
    text[s.size] = 0;
    return text;
}

void sockjs_relay_add(struct sockjs_relay *relay, struct sockjs_endpoint *endpoint) {
    if (relay->endpoint_count < ENDPOINTS) relay->endpoints[relay->endpoint_count++] = endpoint;
}

// ---- here: requests of sessions that live elsewhere --------------------------------------------

static void ask(struct handed *handed, struct slice dead);

static struct slice number_key(const uint64_t *number) {
    return slice_make(number, sizeof *number);
}

static void drop(struct handed *handed) {
    if (handed->request || handed->asking) return;
    loop_timer_stop(handed->relay->loop, &handed->timer);
    hash_remove(&handed->relay->handed, number_key(&handed->number));
    memory_free(handed->id);
    memory_free(handed->key);
    memory_free(handed);
}

/// Takes the request out, to be answered.
static struct http_request *take_out(struct handed *handed) {
    struct http_request *request = handed->request;
    handed->request = NULL;
    request->data = NULL;
    return request;
}

static void on_lost(void *context, struct slice node, uint64_t number) {
    struct sockjs_relay *relay = context;
    struct handed *handed = hash_get(&relay->handed, number_key(&number));
    if (!handed || !handed->request || relay->stopped) return;
    handed->placed = false;
    if (handed->begun) {
        http_response_abort(take_out(handed)); // the session died with its instance
        drop(handed);
    } else if (!handed->asking) {
        ask(handed, node);
    }
}

static void tell_owner(struct handed *handed, const char *verb, struct slice words,
                       struct slice body) {
    struct buffer message = {0};
    struct sockjs_relay *relay = handed->relay;
    buffer_printf(&message, "%s %s %llu", verb, relay->bus.node,
                  (unsigned long long)handed->number);
    buffer_append_slice(&message, words);
    buffer_append_char(&message, '\n');
    buffer_append_slice(&message, body);
    relay->bus.send(relay->bus.context, slice_of(handed->node), buffer_slice(&message), on_lost,
                    handed->number);
    buffer_free(&message);
}

static void tell_read(struct handed *handed) {
    char words[32];
    snprintf(words, sizeof words, " %zu", handed->unread);
    handed->unread = 0;
    tell_owner(handed, "read", slice_of(words), NOTHING);
}

static void on_gone(struct http_request *request) {
    struct handed *handed = request->data;
    if (handed) {
        if (handed->placed && handed->transport && !handed->relay->stopped)
            tell_owner(handed, "gone", NOTHING, NOTHING);
        handed->request = NULL;
        drop(handed);
    }
    http_response_end(request);
}

static void on_drain(struct http_request *request) {
    struct handed *handed = request->data;
    if (handed && !handed->relay->stopped) tell_read(handed);
}

static void on_timer(struct timer *timer) {
    struct handed *handed = container_of(timer, struct handed, timer);
    if (!handed->request) return;
    if (!handed->placed) {
        ask(handed, handed->tries < TRIES ? NOTHING : slice_of(handed->node));
        return;
    }
    struct http_request *request = take_out(handed);
    if (handed->begun) http_response_abort(request);
    else http_respond_status(request, 504);
    drop(handed);
}

static void hand_over(struct handed *handed, struct slice node) {
    if (node.size >= NODE_MAX) {
        http_respond_status(take_out(handed), 500);
        return;
    }
    memcpy(handed->node, node.data, node.size);
    handed->node[node.size] = 0;
    handed->placed = true;
    struct buffer words = {0};
    buffer_printf(&words, " %s %s ", handed->endpoint->options.prefix, handed->id);
    if (handed->transport) {
        buffer_printf(&words, "%s %s %s", handed->transport->name,
                      handed->callback[0] ? handed->callback : "-", handed->request->remote);
        tell_owner(handed, "poll", buffer_slice(&words), NOTHING);
    } else {
        buffer_append_i64(&words, handed->form);
        tell_owner(handed, "take", buffer_slice(&words), handed->body);
    }
    buffer_free(&words);
    loop_timer_start(handed->relay->loop, &handed->timer,
                     handed->transport ? SILENCE_MS : ANSWER_MS);
}

static void on_owner(void *to, struct slice node, bool known) {
    struct handed *handed = to;
    struct sockjs_relay *relay = handed->relay;
    handed->asking = false;
    if (!handed->request || relay->stopped) {
        drop(handed);
        return;
    }
    struct sockjs_endpoint *endpoint = handed->endpoint;
    struct slice id = slice_of(handed->id);
    if (known && node.size > 0 && !slice_equal(node, slice_of(relay->bus.node))) {
        hand_over(handed, node);
    } else if (!handed->transport) {
        struct http_request *request = take_out(handed);
        sockjs_polling_answer(request,
                              sockjs_polling_take(endpoint, id, handed->form, handed->body));
    } else if (!sockjs_polling_knows(endpoint, id) && sockjs_polling_refuses(endpoint)) {
        sockjs_polling_refuse(take_out(handed));
    } else {
        // It is ours; or nobody can be asked, and a session that only we know is better than none.
        struct http_request *request = take_out(handed);
        sockjs_polling_attach(endpoint, id,
                              sockjs_receiver_new(request, handed->transport, handed->callback),
                              request->remote);
    }
    drop(handed);
}

static void ask(struct handed *handed, struct slice dead) {
    struct sockjs_relay *relay = handed->relay;
    bool take = handed->transport && !sockjs_polling_refuses(handed->endpoint);
    handed->tries++;
    handed->asking = true;
    relay->bus.claim(relay->bus.context, slice_of(handed->key), take, dead, on_owner, handed);
}

static char *session_key(const struct sockjs_endpoint *endpoint, struct slice id) {
    struct buffer key = {0};
    buffer_printf(&key, "%s/%.*s", endpoint->options.prefix, SLICE_FORMAT(id));
    char *text = copy(buffer_slice(&key));
    buffer_free(&key);
    return text;
}

static struct handed *hand(struct sockjs_endpoint *endpoint, struct http_request *request,
                           struct slice id) {
    struct sockjs_relay *relay = endpoint->options.relay;
    if (relay->stopped) {
        http_respond_status(request, 503);
        return NULL;
    }
    struct handed *handed = memory_zero(1, sizeof *handed);
    handed->relay = relay;
    handed->endpoint = endpoint;
    handed->request = request;
    handed->id = copy(id);
    handed->key = session_key(endpoint, id);
    handed->number = ++relay->next;
    timer_init(&handed->timer, on_timer);
    request->data = handed;
    http_request_on_gone(request, on_gone);
    hash_put(&relay->handed, number_key(&handed->number), handed);
    return handed;
}

void sockjs_relay_receive(struct sockjs_endpoint *endpoint, struct http_request *request,
                          struct slice id, const struct sockjs_transport *transport,
                          const char *callback) {
    struct handed *handed = hand(endpoint, request, id);
    if (!handed) return;
    handed->transport = transport;
    memcpy(handed->callback, callback, strlen(callback) + 1);
    ask(handed, NOTHING);
}

void sockjs_relay_take(struct sockjs_endpoint *endpoint, struct http_request *request,
                       struct slice id, enum sockjs_body form, struct slice body) {
    struct handed *handed = hand(endpoint, request, id);
    if (!handed) return;
    handed->form = form;
    handed->body = body;
    ask(handed, NOTHING);
}

/// What the instance that has the session says about a request of ours.
static void obey(struct sockjs_relay *relay, struct slice verb, uint64_t number,
                 struct slice word, struct slice bytes) {
    struct handed *handed = hash_get(&relay->handed, number_key(&number));
    if (!handed || !handed->request || handed->asking) return;
    uint64_t result;
    if (slice_equal(verb, SLICE("none"))) {
        handed->placed = false;
        loop_timer_start(relay->loop, &handed->timer, RETRY_MS);
        return;
    }
    if (!handed->transport) {
        if (!slice_equal(verb, SLICE("taken")) || !slice_to_u64(word, &result) ||
            result > SOCKJS_NO_SESSION)
            return;
        sockjs_polling_answer(take_out(handed), (enum sockjs_taken)result);
        drop(handed);
        return;
    }
    loop_timer_start(relay->loop, &handed->timer, SILENCE_MS);
    if (slice_equal(verb, SLICE("begin"))) {
        struct buffer prelude = {0};
        handed->begun = true;
        http_response_begin(handed->request, 200, handed->transport->type, UINT64_MAX);
        handed->transport->prelude(&prelude, handed->callback);
        http_response_write(handed->request, buffer_slice(&prelude));
        buffer_free(&prelude);
    } else if (slice_equal(verb, SLICE("write")) && handed->begun) {
        handed->unread += bytes.size;
        if (http_response_write(handed->request, bytes) > SOCKJS_HIGH_WATER)
            http_response_on_drain(handed->request, on_drain);
        else if (handed->unread >= TELL_AFTER)
            tell_read(handed);
    } else if (slice_equal(verb, SLICE("respond"))) {
        http_respond(take_out(handed), 200, handed->transport->type, bytes);
        drop(handed);
    } else if (slice_equal(verb, SLICE("end")) && handed->begun) {
        http_response_end(take_out(handed));
        drop(handed);
    } else if (slice_equal(verb, SLICE("abort"))) {
        http_response_abort(take_out(handed));
        drop(handed);
    }
}

// ---- there: sessions whose requests are elsewhere ----------------------------------------------

void sockjs_relay_keep(struct sockjs_endpoint *endpoint, struct slice id) {
    struct sockjs_relay *relay = endpoint->options.relay;
    if (!relay || relay->stopped) return;
    char *key = session_key(endpoint, id);
    relay->bus.keep(relay->bus.context, slice_of(key));
    memory_free(key);
}

void sockjs_relay_release(struct sockjs_endpoint *endpoint, struct slice id) {
    struct sockjs_relay *relay = endpoint->options.relay;
    if (!relay || relay->stopped) return;
    char *key = session_key(endpoint, id);
    relay->bus.release(relay->bus.context, slice_of(key));
    memory_free(key);
}

static struct sockjs_receiver *find_receiver(struct sockjs_relay *relay, struct slice node,
                                             uint64_t number) {
    char key[NODE_MAX + 24];
    snprintf(key, sizeof key, "%.*s %llu", SLICE_FORMAT(node), (unsigned long long)number);
    return hash_get(&relay->receivers, slice_of(key));
}

static void leave(struct sockjs_receiver *receiver) {
    struct sockjs_session *session = receiver->session;
    sockjs_relay_forget(receiver);
    memory_free(receiver);
    if (session) sockjs_polling_gone(session);
}

static void on_receiver_lost(void *context, struct slice node, uint64_t number) {
    struct sockjs_receiver *receiver = find_receiver(context, node, number);
    if (receiver) leave(receiver);
}

static void send_back(struct sockjs_relay *relay, struct slice node, uint64_t number,
                      const char *verb, struct slice word, struct slice bytes) {
    if (relay->stopped) return;
    struct buffer message = {0};
    buffer_printf(&message, "%s %llu%s%.*s\n", verb, (unsigned long long)number,
                  word.size > 0 ? " " : "", SLICE_FORMAT(word));
    buffer_append_slice(&message, bytes);
    relay->bus.send(relay->bus.context, node, buffer_slice(&message), on_receiver_lost, number);
    buffer_free(&message);
}

void sockjs_relay_tell(struct sockjs_receiver *receiver, const char *what, struct slice bytes) {
    struct slice rest = slice_of(receiver->key), node, number;
    uint64_t value = 0;
    if (slice_next(&rest, ' ', &node) && slice_next(&rest, ' ', &number) &&
        slice_to_u64(number, &value))
        send_back(receiver->relay, node, value, what, NOTHING, bytes);
}

void sockjs_relay_forget(struct sockjs_receiver *receiver) {
    hash_remove(&receiver->relay->receivers, slice_of(receiver->key));
    memory_free(receiver->key);
}

static struct sockjs_endpoint *find_endpoint(struct sockjs_relay *relay, struct slice prefix) {
    for (size_t i = 0; i < relay->endpoint_count; i++)
        if (slice_equal(prefix, slice_of(relay->endpoints[i]->options.prefix)))
            return relay->endpoints[i];
    return NULL;
}

static void serve_poll(struct sockjs_relay *relay, struct slice node, uint64_t number,
                       const struct slice *words, size_t count) {
    struct sockjs_endpoint *endpoint = find_endpoint(relay, words[0]);
    const struct sockjs_transport *transport = sockjs_transport_find(words[2]);
    if (count < 5 || !transport || words[3].size > SOCKJS_CALLBACK_MAX || words[3].size == 0 ||
        !endpoint || !sockjs_polling_knows(endpoint, words[1]) ||
        find_receiver(relay, node, number)) {
        send_back(relay, node, number, "none", NOTHING, NOTHING);
        return;
    }
    char callback[SOCKJS_CALLBACK_MAX + 1] = "";
    if (transport->callback) memcpy(callback, words[3].data, words[3].size);
    char *remote = copy(words[4]);
    struct sockjs_receiver *receiver = sockjs_receiver_new(NULL, transport, callback);
    struct buffer key = {0};
    buffer_printf(&key, "%.*s %llu", SLICE_FORMAT(node), (unsigned long long)number);
    receiver->relay = relay;
    receiver->key = copy(buffer_slice(&key));
    hash_put(&relay->receivers, buffer_slice(&key), receiver);
    buffer_free(&key);
    sockjs_polling_attach(endpoint, words[1], receiver, remote);
    memory_free(remote);
}

static void serve_take(struct sockjs_relay *relay, struct slice node, uint64_t number,
                       const struct slice *words, size_t count, struct slice body) {
    struct sockjs_endpoint *endpoint = find_endpoint(relay, words[0]);
    uint64_t form;
    if (count < 3 || !endpoint || !sockjs_polling_knows(endpoint, words[1]) ||
        !slice_to_u64(words[2], &form) || form > SOCKJS_BODY_FORM) {
        send_back(relay, node, number, "none", NOTHING, NOTHING);
        return;
    }
    char result[8];
    snprintf(result, sizeof result, "%d",
             (int)sockjs_polling_take(endpoint, words[1], (enum sockjs_body)form, body));
    send_back(relay, node, number, "taken", slice_of(result), NOTHING);
}

static void serve_read(struct sockjs_receiver *receiver, struct slice word) {
    uint64_t bytes;
    if (!slice_to_u64(word, &bytes)) return;
    receiver->unread -= bytes < receiver->unread ? (size_t)bytes : receiver->unread;
    if (!receiver->awaits_drain || receiver->unread > SOCKJS_HIGH_WATER / 2) return;
    receiver->awaits_drain = false;
    if (receiver->session) sockjs_polling_drained(receiver->session);
}

void sockjs_relay_message(struct sockjs_relay *relay, struct slice message) {
    if (relay->stopped) return;
    size_t end = slice_find(message, '\n', 0);
    struct slice line = slice_sub(message, 0, end);
    struct slice bytes = slice_sub(message, end + 1, message.size);
    struct slice words[WORDS] = {{0}}, verb, node;
    size_t count = 0;
    uint64_t number;
    if (!slice_next(&line, ' ', &verb) || !slice_next(&line, ' ', &node)) return;
    if (slice_to_u64(node, &number)) {
        slice_next(&line, ' ', &words[0]);
        obey(relay, verb, number, words[0], bytes);
        return;
    }
    struct slice word;
    if (!slice_next(&line, ' ', &word) || !slice_to_u64(word, &number) || node.size >= NODE_MAX)
        return;
    while (count < WORDS && slice_next(&line, ' ', &words[count])) count++;
    if (slice_equal(verb, SLICE("poll"))) {
        serve_poll(relay, node, number, words, count);
    } else if (slice_equal(verb, SLICE("take"))) {
        serve_take(relay, node, number, words, count, bytes);
    } else {
        struct sockjs_receiver *receiver = find_receiver(relay, node, number);
        if (receiver && slice_equal(verb, SLICE("gone"))) leave(receiver);
        else if (receiver && slice_equal(verb, SLICE("read"))) serve_read(receiver, words[0]);
    }
}

// ---- life --------------------------------------------------------------------------------------

struct sockjs_relay *sockjs_relay_new(struct loop *loop, const struct sockjs_bus *bus) {
    struct sockjs_relay *relay = memory_zero(1, sizeof *relay);
    relay->loop = loop;
    relay->bus = *bus;
    return relay;
}

void sockjs_relay_stop(struct sockjs_relay *relay) {
    size_t cursor = 0;
    struct slice key;
    void *value;
    while (hash_next(&relay->receivers, &cursor, &key, &value))
        sockjs_relay_tell(value, "abort", NOTHING);
    relay->stopped = true;
    cursor = 0;
    while (hash_next(&relay->handed, &cursor, &key, &value)) {
        struct handed *handed = value;
        if (handed->request) http_response_abort(take_out(handed));
        drop(handed);
    }
}

void sockjs_relay_free(struct sockjs_relay *relay) {
    hash_free(&relay->handed);
    hash_free(&relay->receivers);
    memory_free(relay);
}
