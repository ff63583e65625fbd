#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "realtime/internal.h"

enum {
    DEPTH = 8,
    ALLOWANCE_UNIT = 1000,
    PATIENCE = 100, ///< commands over the rate before the client is sent away
};

/// Between the token's check and Redis' word on the account.
struct connecting {
    struct errand errand;
    struct hub *hub;
    int64_t i;
    bool refresh;
    struct realtime_claims claims;
    struct buffer subs;
};

void errand_begin(struct errand *errand, struct client *client) {
    errand->client = client;
    list_init(&errand->link);
    list_push_back(&client->errands, &errand->link);
}

const char *client_role(const struct client *client) {
    if (!client->claims || client->claims->account == 0) return "guest";
    return client->claims->role;
}

void reply_begin(struct buffer *out, int64_t i, const char *what) {
    if (i != 0) buffer_printf(out, "{\"i\":%lld,\"%s\":", (long long)i, what);
    else buffer_printf(out, "{\"%s\":", what);
}

static void reply(struct client *client, int64_t i, const char *what, const char *object) {
    struct buffer out = {0};
    reply_begin(&out, i, what);
    buffer_append_text(&out, object);
    buffer_append_char(&out, '}');
    sockjs_session_send_text(client->session, buffer_slice(&out));
    buffer_free(&out);
}

void client_reply_error(struct client *client, int64_t i, const char *code, const char *message) {
    struct buffer out = {0};
    reply_begin(&out, i, "error");
    buffer_append_text(&out, "{\"code\":");
    sockjs_quote(&out, slice_of(code));
    buffer_append_text(&out, ",\"message\":");
    sockjs_quote(&out, slice_of(message));
    buffer_append_text(&out, "}}");
    sockjs_session_send_text(client->session, buffer_slice(&out));
    buffer_free(&out);
}

void client_dismiss(struct client *client, int code, const char *reason, uint64_t after_ms) {
    if (client->state == CLIENT_LEAVING) return;
    client->state = CLIENT_LEAVING;
    loop_timer_stop(client->hub->loop, &client->timer);
    struct buffer out = {0};
    bool again = code < 3500;
    buffer_printf(&out, "{\"disc\":{\"code\":%d,\"reconnect\":%s,\"after\":%llu,\"reason\":", code,
                  again ? "true" : "false", (unsigned long long)after_ms);
    sockjs_quote(&out, slice_of(reason));
    buffer_append_text(&out, "}}");
    sockjs_session_send_text(client->session, buffer_slice(&out));
    buffer_free(&out);
    sockjs_session_close(client->session, code, reason);
}

// ---- time ------------------------------------------------------------------------------------

static void on_timer(struct timer *timer) {
    struct client *client = container_of(timer, struct client, timer);
    if (client->draining) {
        // When to come back is spread too: all at once would only move the storm.
        client_dismiss(client, CLOSE_RETURN, "restarting", random_below(client->hub->drain_ms + 1));
        return;
    }
    switch (client->state) {
    case CLIENT_NEW:
    case CLIENT_CHECKING: client_dismiss(client, CLOSE_SILENT, "connect first", 0); break;
    case CLIENT_READY:
        client->state = CLIENT_EXPIRING;
        reply(client, 0, "expire", "{}");
        loop_timer_start(client->hub->loop, timer, client->hub->options.grace_ms);
        break;
    case CLIENT_EXPIRING: client_dismiss(client, CLOSE_EXPIRED, "token expired", 0); break;
    default: break;
    }
}

static void watch_expiry(struct client *client) {
    client->state = CLIENT_READY;
    if (client->draining) return;
    loop_timer_stop(client->hub->loop, &client->timer);
    if (!client->claims) return;
    int64_t left = client->claims->expires - clock_wall_s();
    loop_timer_start(client->hub->loop, &client->timer, left > 0 ? (uint64_t)left * 1000 : 0);
}

// ---- connect and refresh ---------------------------------------------------------------------

static void free_connecting(struct connecting *connecting) {
    list_remove(&connecting->errand.link);
    realtime_claims_free(&connecting->claims);
    buffer_free(&connecting->subs);
    memory_free(connecting);
}

static struct slice text_of(const redisReply *reply) {
    return reply->type == REDIS_REPLY_STRING ? slice_make(reply->str, reply->len)
                                             : (struct slice){0};
}

/// Why the projection of the account does not let this token in; NULL if it does. An account
/// without a projection is let in: its token was signed a moment ago, the projection is on its way.
static const char *refusal(const struct realtime_claims *claims, const redisReply *reply) {
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) return NULL;
    struct slice state = text_of(reply->element[0]), since = text_of(reply->element[1]);
    if (state.size > 0 && !slice_equal(state, SLICE("active")) &&
        !slice_equal(state, SLICE("pending")))
        return "account closed";
    int64_t nbf;
    if (slice_to_i64(since, &nbf) && claims->issued < nbf) return "signed out";
    if (text_of(reply->element[2]).size > 0) return "signed out";
    return NULL;
}

static void admit(struct client *client, struct connecting *connecting) {
    struct hub *hub = client->hub;
    if (client->claims) {
        realtime_claims_free(client->claims);
    } else {
        client->claims = memory_zero(1, sizeof *client->claims);
    }
    *client->claims = connecting->claims;
    connecting->claims = (struct realtime_claims){0};
    if (connecting->refresh) {
        struct subscription *next;
        for (struct subscription *s = client->subscriptions; s; s = next) {
            next = s->next;
            if (join_problem(client, channel_slice(s->channel), s->channel->space)) {
                struct buffer text = {0};
                buffer_printf(&text, "{\"unsub\":{\"c\":\"%s\",\"code\":403,\"reason\":\"denied\"}}",
                              s->channel->name);
                sockjs_session_send_text(client->session, buffer_slice(&text));
                buffer_free(&text);
                channel_remove(s);
            }
        }
        watch_expiry(client);
        reply(client, connecting->i, "refresh", "{}");
        return;
    }
    if (client->claims->account > 0) {
        struct account *account = hub_account(hub, client->claims->account, true);
        if (account->count >= hub->options.connections) {
            client_dismiss(client, CLOSE_LIMIT, "too many connections", 0);
            hub_account_release(hub, account);
            return;
        }
        client->account = account;
        account->count++;
        list_push_back(&account->clients, &client->account_link);
    }
    watch_expiry(client);
    join_connect(client, connecting->i, json_parse(buffer_slice(&connecting->subs), DEPTH));
}

static void on_account(void *context, const redisReply *answer, const char *error) {
    struct connecting *connecting = context;
    struct client *client = connecting->errand.client;
    struct hub *hub = connecting->hub;
    if (client && client->state != CLIENT_LEAVING) {
        bool failed = error || answer->type == REDIS_REPLY_ERROR;
        const char *problem = failed ? NULL : refusal(&connecting->claims, answer);
        if (failed) {
            if (!connecting->refresh) client->state = CLIENT_NEW;
            client_reply_error(client, connecting->i, "unavailable", "Please try again.");
        } else if (problem) {
            client_dismiss(client, CLOSE_REVOKED, problem, 0);
        } else {
            admit(client, connecting);
        }
    }
    free_connecting(connecting);
    hub_answered(hub);
}

// KEYS: p:account:N, rt:revoked:SESSION. One round trip, one answer.
static const char account_script[] =
    "local p = redis.call('HMGET', KEYS[1], 'state', 'nbf')\n"
    "return {p[1], p[2], redis.call('GET', KEYS[2])}\n";

static void check_account(struct client *client, struct connecting *connecting) {
    char key[40], revoked[72];
    snprintf(key, sizeof key, "p:account:%lld", (long long)connecting->claims.account);
    snprintf(revoked, sizeof revoked, "rt:revoked:%s", connecting->claims.session);
    struct slice arguments[] = {SLICE("EVAL"), slice_of(account_script), SLICE("2"), slice_of(key),
                                slice_of(revoked)};
    client->hub->owed++;
    redis_call(client->hub->options.redis, arguments, 5, 0, on_account, connecting);
}

/// `connect` and `refresh`: who the client is.
static void identify(struct client *client, int64_t i, struct json_value command, bool refresh) {
    struct hub *hub = client->hub;
    struct connecting *connecting = memory_zero(1, sizeof *connecting);
    errand_begin(&connecting->errand, client);
    connecting->hub = hub;
    connecting->i = i;
    connecting->refresh = refresh;
    struct json_value subs = json_member(command, "subs");
    if (!refresh && subs.kind == JSON_OBJECT) buffer_append_slice(&connecting->subs, subs.raw);
    struct buffer token = {0};
    struct json_value given = json_member(command, "token");
    if (!refresh && (given.kind == JSON_NONE || given.kind == JSON_NULL)) {
        watch_expiry(client); // a guest without a token: may read what is public
        join_connect(client, i, json_parse(buffer_slice(&connecting->subs), DEPTH));
        free_connecting(connecting);
        return;
    }
    const char *problem = "malformed";
    if (json_string(given, &token))
        problem = realtime_token_read(buffer_slice(&token), hub->options.key, clock_wall_s(),
                                      &connecting->claims);
    buffer_free(&token);
    if (problem) {
        // An expired token is no offence: the page fetches a new one and comes back.
        bool expired = strcmp(problem, "expired") == 0;
        client_dismiss(client, expired ? CLOSE_EXPIRED : CLOSE_TOKEN, problem, 0);
        free_connecting(connecting);
        return;
    }
    if (refresh &&
        connecting->claims.account != (client->claims ? client->claims->account : 0)) {
        client_reply_error(client, i, "denied", "A refresh cannot change the account.");
        free_connecting(connecting);
        return;
    }
    if (!refresh) client->state = CLIENT_CHECKING;
    if (connecting->claims.account == 0) {
        admit(client, connecting);
        free_connecting(connecting);
        return;
    }
    check_account(client, connecting);
}

// ---- commands --------------------------------------------------------------------------------

static bool read_channel(struct client *client, int64_t i, struct json_value command,
                         struct buffer *name) {
    if (json_string(json_member(command, "c"), name) &&
        realtime_namespace_of(buffer_slice(name)))
        return true;
    client_reply_error(client, i, "unknown", "There is no such channel.");
    return false;
}

static void unsubscribe(struct client *client, int64_t i, struct slice name) {
    struct subscription *subscription = client_find(client, name);
    if (subscription) channel_remove(subscription);
    reply(client, i, "unsub", "{}");
}

/// False when the client is over its rate.
static bool allow(struct client *client) {
    struct hub *hub = client->hub;
    int32_t rate = (int32_t)hub->options.message_rate, most = rate * 4 * ALLOWANCE_UNIT;
    uint64_t now = loop_now(hub->loop), passed = now - client->allowance_ms;
    client->allowance_ms = now;
    if (passed > 10000) passed = 10000;
    int64_t gained = client->allowance + (int64_t)passed * rate;
    client->allowance = (int32_t)(gained > most ? most : gained) - ALLOWANCE_UNIT;
    if (client->allowance >= 0) return true;
    if (client->allowance < -PATIENCE * ALLOWANCE_UNIT)
        client_dismiss(client, CLOSE_RATE, "too many messages", 0);
    return false;
}

static void command(struct client *client, int64_t i, struct slice name, struct json_value body) {
    bool ready = client->state == CLIENT_READY || client->state == CLIENT_EXPIRING;
    if (slice_equal(name, SLICE("ping"))) {
        reply(client, i, "pong", "{}");
    } else if (slice_equal(name, SLICE("connect"))) {
        if (client->state == CLIENT_NEW) identify(client, i, body, false);
        else client_reply_error(client, i, "connected", "The connection has its client already.");
    } else if (!ready) {
        client_reply_error(client, i, "connect", "The first command must be connect.");
    } else if (slice_equal(name, SLICE("refresh"))) {
        identify(client, i, body, true);
    } else {
        struct buffer channel = {0};
        if (!read_channel(client, i, body, &channel)) {
            buffer_free(&channel);
            return;
        }
        struct slice c = buffer_slice(&channel);
        if (slice_equal(name, SLICE("sub"))) join_one(client, i, c, body);
        else if (slice_equal(name, SLICE("unsub"))) unsubscribe(client, i, c);
        else chat_publish(client, i, c, json_member(body, "d"));
        buffer_free(&channel);
    }
}

void client_message(struct sockjs_session *session, struct slice message, bool binary) {
    struct client *client = sockjs_session_data(session);
    if (client->state == CLIENT_LEAVING) return;
    struct json_value root = json_parse(message, DEPTH);
    if (binary || root.kind != JSON_OBJECT) {
        client_dismiss(client, CLOSE_PROTOCOL, "not a JSON object", 0);
        return;
    }
    int64_t i = 0;
    json_integer(json_member(root, "i"), &i);
    if (!allow(client)) {
        if (client->state != CLIENT_LEAVING)
            client_reply_error(client, i, "rate", "Too many messages; slow down.");
        return;
    }
    static const char *const names[] = {"connect", "sub", "unsub", "pub", "refresh", "ping"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        struct json_value body = json_member(root, names[n]);
        if (body.kind != JSON_OBJECT) continue;
        command(client, i, slice_of(names[n]), body);
        return;
    }
    client_reply_error(client, i, "unknown", "There is no such command.");
}

// ---- coming and going ------------------------------------------------------------------------

void client_open(void *context, struct sockjs_session *session, const char *remote) {
    (void)remote;
    struct hub *hub = context;
    static uint32_t number;
    struct client *client = memory_zero(1, sizeof *client);
    client->hub = hub;
    client->session = session;
    client->number = ++number;
    client->allowance = (int32_t)hub->options.message_rate * 4 * ALLOWANCE_UNIT;
    client->allowance_ms = loop_now(hub->loop);
    list_init(&client->account_link);
    list_init(&client->lag_link);
    list_init(&client->joins);
    list_init(&client->errands);
    timer_init(&client->timer, on_timer);
    list_push_back(&hub->clients, &client->link);
    metric_set(hub->clients_gauge, (int64_t)++hub->client_count);
    sockjs_session_set_data(session, client);
    loop_timer_start(hub->loop, &client->timer, hub->options.auth_ms);
}

void client_close(struct sockjs_session *session, int code, struct slice reason) {
    struct client *client = sockjs_session_data(session);
    struct hub *hub = client->hub;
    log_debug("realtime.client_closed", LOG_INT("code", code), LOG_SLICE("reason", reason),
              LOG_INT("account", client->account ? client->account->id : 0));
    loop_timer_stop(hub->loop, &client->timer);
    join_abandon(client);
    list_each(&client->errands, node) {
        container_of(node, struct errand, link)->client = NULL;
        list_remove(node);
    }
    while (client->subscriptions) channel_remove(client->subscriptions);
    if (client->account) {
        list_remove(&client->account_link);
        client->account->count--;
        hub_account_release(hub, client->account);
    }
    if (client->claims) {
        realtime_claims_free(client->claims);
        memory_free(client->claims);
    }
    list_remove(&client->link);
    list_remove(&client->lag_link);
    metric_set(hub->clients_gauge, (int64_t)--hub->client_count);
    memory_free(client);
}
