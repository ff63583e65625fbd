#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "streaming/ingest_token.h"
#include "streaming/internal.h"

// A model's encoder connects with her secret key as the stream's name. The key is looked up by its
// hash; she must be approved and not barred; she has one stream at a time. The answer is a redirect:
// nginx publishes under the key, which nobody can play, and pushes to live/<slug>.

enum { SAMPLE_APART_MS = 1200, FRESH_MS = 5000 };

struct publish {
    struct session *session; ///< held
    char holder[SESSION_ID_SIZE];
    int64_t owner; ///< account of the model
    uint64_t first_timestamp;
    struct timer timer;
};

/// A policy's reason may be any text; an order's is short and plain.
static const char *plain_reason(char out[64], const char *reason) {
    size_t size = 0;
    for (const char *at = reason; *at && size < 63; at++) {
        if ((unsigned char)*at >= 0x20 && *at != '"' && *at != '\\') out[size++] = *at;
    }
    out[size] = '\0';
    return out;
}

static void finish(struct publish *publish, int status, const char *reason) {
    struct session *session = publish->session;
    struct streaming *streaming = session->streaming;
    loop_timer_stop(streaming->loop, &publish->timer);
    char text[64];
    session->publish = NULL;
    memory_free(publish);
    if (session->dead) {
        session_release(session);
        return;
    }
    if (status == 302 && (session->gone || session->cut)) {
        publisher_unlock(session);
        status = 403;
        reason = "gone before the answer";
    }
    if (status != 302) {
        // ffmpeg sees a closed connection only; the media service passes the reason to the browser.
        if (session->once) {
            redis_format(streaming->options.redis, NULL, NULL, "PUBLISH ctl:media %s%s%s%s%s",
                         "{\"do\":\"refused\",\"slug\":\"", session->slug, "\",\"reason\":\"",
                         plain_reason(text, reason), "\"}");
        }
        session_refuse(session, status, reason);
        session_release(session);
        return;
    }
    session_opened(session);
    session->progress = session->seen = loop_now(streaming->loop);
    show_starting(session);
    adopt_save(session);
    log_info("streaming.published", LOG_TEXT("session", session->id),
             LOG_TEXT("slug", session->slug), LOG_TEXT("address", session->address));
    if (session->request) {
        char location[128];
        struct http_request *request = session->request;
        session->request = NULL;
        request->data = NULL;
        snprintf(location, sizeof location, "rtmp://%s/live/%s", session->host->address,
                 session->slug);
        http_response_header(request, SLICE("Location"), slice_of(location));
        http_respond_status(request, 302);
    }
    session_release(session);
}

static void on_taken(void *context, const redisReply *reply, const char *error) {
    struct publish *publish = context;
    bool done = !error && reply->type == REDIS_REPLY_STATUS;
    finish(publish, done ? 302 : 503, "the lock could not be taken");
}

static void take_lock(struct publish *publish) {
    struct session *session = publish->session;
    redis_format(session->streaming->options.redis, on_taken, publish,
                 "SET p:pub:%lld %s PX %d", (long long)session->model, session->id, LOCK_MS);
}

static void on_old_dropped(struct streaming *streaming, int status, struct slice body,
                           void *context) {
    (void)streaming;
    (void)status;
    (void)body;
    take_lock(context);
}

/// The holder of the lock has ended or is silent: its place is free. It is dropped first, and waited
/// for: two publishers of one name write into one another's segments.
static void take_over(struct publish *publish) {
    struct session *session = publish->session;
    struct streaming *streaming = session->streaming;
    struct slice holder = slice_of(publish->holder);
    struct session *old = session_find(streaming, holder);
    uint64_t client = 0;
    size_t colon = slice_find(holder, ':', 0);
    log_info("streaming.takeover", LOG_TEXT("slug", session->slug), LOG_TEXT("old", publish->holder),
             LOG_TEXT("new", session->id));
    if (session->dead) {
        finish(publish, 503, "ending");
        return;
    }
    const struct media_host *host = host_of_id(streaming, holder);
    bool drop = host && slice_equal(slice_sub(holder, 0, colon), slice_of(host->boot)) &&
                slice_to_u64(slice_sub(holder, colon + 1, holder.size), &client) &&
                !(old && old->state == SESSION_ENDED);
    if (old && old != session && old->state == SESSION_OPEN) {
        old->end = NULL; // dropped right here
        session_cut(old, "taken over");
        old->end = control_drop;
    }
    if (drop) {
        char url[256];
        control_drop_url(host, client, url);
        control_get(streaming, url, on_old_dropped, publish);
    } else {
        take_lock(publish);
    }
}

static void on_second_sample(struct session *session, bool answered, bool found,
                             uint64_t timestamp) {
    struct publish *publish = session->publish;
    if (answered && (!found || timestamp <= publish->first_timestamp)) {
        take_over(publish);
    } else {
        finish(publish, 403, "the model is already live");
    }
}

static void on_sample_timer(struct timer *timer) {
    struct publish *publish = container_of(timer, struct publish, timer);
    uint64_t client = 0;
    struct slice holder = slice_of(publish->holder);
    slice_to_u64(slice_sub(holder, slice_find(holder, ':', 0) + 1, holder.size), &client);
    struct media_host *host = host_of_id(publish->session->streaming, holder);
    sweep_sample(publish->session, host, client, on_second_sample);
}

static void on_first_sample(struct session *session, bool answered, bool found,
                            uint64_t timestamp) {
    struct publish *publish = session->publish;
    struct session *old = session_find(session->streaming, slice_of(publish->holder));
    if (answered && !found) {
        take_over(publish);
    } else if (!answered || (old && timestamp > old->timestamp &&
                             loop_now(session->streaming->loop) - old->progress < 2 * STAT_MS)) {
        finish(publish, 403, "the model is already live");
    } else {
        // Nothing tells yet whether it still sends: look again a little later.
        publish->first_timestamp = timestamp;
        loop_timer_start(session->streaming->loop, &publish->timer, SAMPLE_APART_MS);
    }
}

/// Somebody holds the lock. An encoder that lost its line reconnects before nginx has noticed:
/// refusing it would lock the model out, so a holder that is silent gives way. One that sends stays.
static void on_conflict(struct publish *publish) {
    struct session *session = publish->session;
    struct session *old = session_find(session->streaming, slice_of(publish->holder));
    struct slice holder = slice_of(publish->holder);
    uint64_t client = 0;
    size_t colon = slice_find(holder, ':', 0);
    // Of this nginx, or of the one that runs at the holder's host.
    struct media_host *host = host_of_id(session->streaming, holder);
    struct slice boot = slice_sub(holder, 0, colon);
    bool runs = host && slice_equal(boot, slice_of(host == session->host ? session->boot : host->boot));
    if (!runs || !slice_to_u64(slice_sub(holder, colon + 1, holder.size), &client) ||
        (old && (old->cut || old->state == SESSION_ENDED))) {
        take_over(publish);
    } else if (old && (old->state == SESSION_DECIDING ||
                       loop_now(session->streaming->loop) - old->opened < FRESH_MS)) {
        finish(publish, 403, "the model is already live"); // nginx may not list it yet
    } else {
        sweep_sample(session, host, client, on_first_sample);
    }
}

static void on_lock(void *context, const redisReply *reply, const char *error) {
    struct publish *publish = context;
    struct slice holder = reply_text(error ? NULL : reply);
    if (error || (reply->type != REDIS_REPLY_NIL && reply->type != REDIS_REPLY_STRING)) {
        finish(publish, 503, "redis is away");
    } else if (publish->session->dead) {
        finish(publish, 503, "ending");
    } else if (reply->type == REDIS_REPLY_NIL ||
               slice_equal(holder, slice_of(publish->session->id))) {
        finish(publish, 302, "");
    } else if (holder.size >= sizeof publish->holder) {
        finish(publish, 503, "the lock is unreadable");
    } else {
        memcpy(publish->holder, holder.data, holder.size);
        publish->holder[holder.size] = '\0';
        on_conflict(publish);
    }
}

static void on_policy(struct session *session, void *context, bool allow, const char *reason) {
    struct publish *publish = context;
    if (session->dead || !allow) {
        finish(publish, 403, reason[0] ? reason : "the site's policy");
        return;
    }
    redis_format(session->streaming->options.redis, on_lock, publish,
                 "SET p:pub:%lld %s NX GET PX %d", (long long)session->model, session->id, LOCK_MS);
}

static void on_account(void *context, const redisReply *reply, const char *error) {
    struct publish *publish = context;
    if (error || reply->type == REDIS_REPLY_ERROR) {
        finish(publish, 503, "redis is away");
        return;
    }
    struct slice state = reply_text(reply);
    if (publish->session->dead || (state.size > 0 && !slice_equal(state, SLICE("active")))) {
        finish(publish, 403, "the account is not active");
        return;
    }
    policy_ask(publish->session, true, on_policy, publish);
}

static void on_model(void *context, const redisReply *reply, const char *error) {
    struct publish *publish = context;
    struct session *session = publish->session;
    if (error || reply->type == REDIS_REPLY_ERROR) {
        finish(publish, 503, "redis is away");
    } else if (session->dead || !reply_array(reply, error, 3) ||
               !slice_equal(reply_text(reply->element[1]), SLICE("approved"))) {
        finish(publish, 403, "the model is not approved");
    } else if (reply_integer(reply->element[0]) != session->model) {
        finish(publish, 403, "the key is of another model");
    } else {
        session->account = reply_integer(reply->element[2]);
        redis_format(session->streaming->options.redis, on_account, publish,
                     "HGET p:account:%lld state", (long long)session->account);
    }
}

static void on_key(void *context, const redisReply *reply, const char *error) {
    struct publish *publish = context;
    struct session *session = publish->session;
    if (error || reply->type == REDIS_REPLY_ERROR) {
        finish(publish, 503, "redis is away");
        return;
    }
    struct slice slug = {0};
    if (reply_array(reply, error, 2) || reply_array(reply, error, 3)) {
        session->model = reply_integer(reply->element[0]);
        slug = reply_text(reply->element[1]);
        if (reply->elements == 3 && reply_text(reply->element[2]).size > 0) {
            // ffmpeg connects from here; the policy is asked about the browser.
            session->once = true;
            snprintf(session->address, sizeof session->address, "%.*s",
                     SLICE_FORMAT(reply_text(reply->element[2])));
        }
    }
    if (session->dead || session->model <= 0 || !slug_valid(slug)) {
        finish(publish, 403, "the key is unknown");
        return;
    }
    assert(slug.data);
    memcpy(session->slug, slug.data, slug.size);
    session->slug[slug.size] = '\0';
    redis_format(session->streaming->options.redis, on_model, publish,
                 "HMGET p:model:%s id state account", session->slug);
}

void publisher_key(char out[65], struct slice key) {
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(digest, (const unsigned char *)key.data, key.size);
    sodium_bin2hex(out, 65, digest, sizeof digest);
}

void publisher_ask(struct session *session, const struct hook_request *hook) {
    struct publish *publish = memory_zero(1, sizeof *publish);
    publish->session = session;
    timer_init(&publish->timer, on_sample_timer);
    session->publish = publish;
    session->end = control_drop;
    session_hold(session);
    publisher_key(session->key, hook->name);
    if (slice_starts(hook->name, SLICE(PUBLISH_ONCE))) {
        static const char take[] =
            "local found = redis.call('HMGET', KEYS[1], 'model', 'slug', 'address') "
            "redis.call('DEL', KEYS[1]) return found";
        redis_format(session->streaming->options.redis, on_key, publish, "EVAL %s 1 p:once:%s", take,
                     session->key);
        return;
    }
    redis_format(session->streaming->options.redis, on_key, publish, "HMGET p:key:%s model slug",
                 session->key);
}

void publisher_abandon(struct session *session) {
    struct publish *publish = session->publish;
    // Only a wait for the second sample ends here; every other step has a reply to come.
    if (publish && timer_active(&publish->timer)) finish(publish, 503, "ending");
}

void relay_ask(struct session *session) {
    struct show *show = show_find(session->streaming, slice_of(session->slug));
    struct session *old = show ? session_find(session->streaming, slice_of(show->relay)) : NULL;
    // nginx pushes from itself. Another process of this host could come first, but only within the
    // moment between our redirect and nginx's connection, and it would have to know the slug.
    if (!show || !show->publisher[0] || show->host != session->host) {
        session_refuse(session, 403, "no publisher of this name");
    } else if (old && old->state == SESSION_OPEN && !old->cut) {
        session_refuse(session, 403, "the stream is already there");
    } else {
        session->end = control_drop;
        session->model = show->model;
        session_opened(session);
        show_relay(show, session->id);
        adopt_save(session);
        session_answer(session, 200);
    }
}

void pull_ask(struct session *session, const struct hook_request *hook) {
    struct show *show = show_find(session->streaming, slice_of(session->slug));
    struct slice wanted = show ? host_target(show->host, hook->addr) : (struct slice){0};
    if (!show || !show->publisher[0] || show->host == session->host ||
        !slice_equal(wanted, slice_of(session->slug))) {
        session_refuse(session, 403, "nothing is to be pulled");
        return;
    }
    session->end = control_drop;
    session->model = show->model;
    session_opened(session);
    adopt_save(session);
    log_info("streaming.pulled", LOG_TEXT("session", session->id), LOG_TEXT("slug", session->slug),
             LOG_TEXT("from", host_name(show->host)));
    session_answer(session, 200);
}

// The lock is renewed and given back only by its holder.

static const char refresh_code[] =
    "local holder = redis.call('GET', KEYS[1]) "
    "if not holder then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1 end "
    "if holder ~= ARGV[1] then return 0 end "
    "return redis.call('PEXPIRE', KEYS[1], ARGV[2])";
static const char unlock_code[] =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

static void on_refreshed(void *context, const redisReply *reply, const char *error) {
    struct session *session = context;
    if (!session->dead && !error && reply->type == REDIS_REPLY_INTEGER && reply->integer == 0) {
        session_cut(session, "taken over");
    }
    session_release(session);
}

void publisher_refresh(struct session *session) {
    session_hold(session);
    redis_format(session->streaming->options.redis, on_refreshed, session,
                 "EVAL %s 1 p:pub:%lld %s %d", refresh_code, (long long)session->model, session->id,
                 LOCK_MS);
}

void publisher_unlock(struct session *session) {
    redis_format(session->streaming->options.redis, NULL, NULL, "EVAL %s 1 p:pub:%lld %s",
                 unlock_code, (long long)session->model, session->id);
}
