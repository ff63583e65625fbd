#include <stdio.h>
#include "base/log.h"
#include "streaming/internal.h"

// Sessions outlive this process: nginx holds the connections, the supervisor holds the socket that
// its hooks come in by. So each session is also written down, in hooks:s:<boot>, field = client
// number, value = "<kind> <slug> <model> <account> <started ms> <rate> <limit> <policy> <nonce> <show>".
// A new process reads them before it answers its first hook.

enum { KEEP_SECONDS = 172800, AGAIN_MS = 250 };

static const char kinds[] = {
    [SESSION_PUBLISHER] = 'p', [SESSION_RELAY] = 'r', [SESSION_PULL] = 'u', [SESSION_PLAYER] = 'v'};

void adopt_save(struct session *session) {
    struct redis_client *redis = session->streaming->options.redis;
    char value[256];
    const struct ticket *ticket = &session->ticket;
    snprintf(value, sizeof value, "%c %s %lld %lld %lld %lld %u %d %s %llu", kinds[session->kind],
             session->slug, (long long)session->model, (long long)session->account,
             (long long)session->started_ms, (long long)ticket->rate, ticket->limit,
             ticket->policy, ticket->nonce[0] ? ticket->nonce : "-",
             (unsigned long long)ticket->show);
    redis_format(redis, NULL, NULL, "HSET hooks:s:%s %llu %s", session->boot,
                 (unsigned long long)session->client, value);
    redis_format(redis, NULL, NULL, "EXPIRE hooks:s:%s %d", session->boot, KEEP_SECONDS);
}

void adopt_forget(struct session *session) {
    redis_format(session->streaming->options.redis, NULL, NULL, "HDEL hooks:s:%s %llu",
                 session->boot, (unsigned long long)session->client);
}

struct adoption {
    struct streaming *streaming; ///< held
    void (*done)(struct streaming *streaming);
    unsigned waiting;
    bool began;  ///< the boot words are known
    size_t host; ///< whose sessions are asked for next
    struct adopted_show {
        struct adoption *adoption;
        struct slice slug;
    } *shows;
    struct arena arena;
    struct timer again;
};

static void take_session(struct media_host *host, struct slice client, struct slice value) {
    struct streaming *streaming = host->streaming;
    struct slice word[9], show, rest = value;
    char id[SESSION_ID_SIZE];
    uint64_t number;
    for (int i = 0; i < 9; i++) {
        if (!slice_next(&rest, ' ', &word[i])) return;
    }
    if (word[0].size != 1 || !slug_valid(word[1]) || !slice_to_u64(client, &number) ||
        word[8].size > TICKET_NONCE_TEXT) {
        return;
    }
    snprintf(id, sizeof id, "%s:%llu", host->boot, (unsigned long long)number);
    if (session_find(streaming, slice_of(id))) return;
    enum session_kind kind = word[0].data[0] == 'p'   ? SESSION_PUBLISHER
                             : word[0].data[0] == 'r' ? SESSION_RELAY
                             : word[0].data[0] == 'u' ? SESSION_PULL
                                                      : SESSION_PLAYER;
    int64_t started = 0, limit = 0, policy = 0;
    uint64_t show_id = 0; // not there: written by a release that had none
    if (rest.data && slice_next(&rest, ' ', &show)) slice_to_u64(show, &show_id);
    struct session *session = session_new(streaming, kind, slice_of(id));
    memcpy(session->slug, word[1].data, word[1].size);
    slice_to_i64(word[2], &session->model);
    slice_to_i64(word[3], &session->account);
    slice_to_i64(word[4], &started);
    slice_to_i64(word[5], &session->ticket.rate);
    slice_to_i64(word[6], &limit);
    slice_to_i64(word[7], &policy);
    session->started_ms = started;
    session->ticket.limit = (uint32_t)limit;
    session->ticket.policy = (enum ticket_policy)policy;
    session->ticket.account = session->account;
    session->ticket.show = show_id;
    session->ours = policy == TICKET_INTERNAL;
    memcpy(session->ticket.slug, word[1].data, word[1].size);
    if (!slice_equal(word[8], SLICE("-"))) memcpy(session->ticket.nonce, word[8].data, word[8].size);
    session->end = control_drop;
    session_opened(session);
    session->opened = 0; // long enough ago for /stat to list it
    log_info("streaming.adopted", LOG_TEXT("session", id), LOG_TEXT("slug", session->slug));
    if (kind == SESSION_PLAYER) admission_adopt(session);
}

static void free_adoption(struct adoption *adoption) {
    struct streaming *streaming = adoption->streaming;
    void (*done)(struct streaming *) = adoption->done;
    loop_timer_stop(streaming->loop, &adoption->again);
    streaming->adoption = NULL;
    arena_free(&adoption->arena);
    memory_free(adoption);
    if (!streaming->closing) done(streaming);
    streaming_release(streaming);
}

static void on_show(void *context, const redisReply *reply, const char *error) {
    struct adopted_show *shown = context;
    struct adoption *adoption = shown->adoption;
    if (!adoption->streaming->closing && !error && reply->type == REDIS_REPLY_ARRAY) {
        struct show_record record = {.slug = shown->slug};
        for (size_t i = 0; i + 1 < reply->elements; i += 2) {
            struct slice name = reply_text(reply->element[i]);
            struct slice value = reply_text(reply->element[i + 1]);
            if (slice_equal(name, SLICE("state"))) record.state = value;
            if (slice_equal(name, SLICE("boot"))) record.boot = value;
            if (slice_equal(name, SLICE("client"))) record.client = value;
            if (slice_equal(name, SLICE("broadcast"))) record.broadcast = value;
            if (slice_equal(name, SLICE("since"))) slice_to_i64(value, &record.since);
            if (slice_equal(name, SLICE("began"))) slice_to_i64(value, &record.began);
            if (slice_equal(name, SLICE("model"))) slice_to_i64(value, &record.model);
            if (slice_equal(name, SLICE("started"))) record.started = slice_equal(value, SLICE("1"));
        }
        show_restore(adoption->streaming, &record);
    }
    if (--adoption->waiting == 0) free_adoption(adoption);
}

static void on_live(void *context, const redisReply *reply, const char *error) {
    struct adoption *adoption = context;
    struct streaming *streaming = adoption->streaming;
    size_t count = !error && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
    adoption->waiting = 0;
    if (count == 0 || streaming->closing) {
        free_adoption(adoption);
        return;
    }
    adoption->shows = arena_zero(&adoption->arena, count * sizeof *adoption->shows);
    for (size_t i = 0; i < count; i++) {
        struct adopted_show *shown = &adoption->shows[i];
        shown->adoption = adoption;
        shown->slug = arena_slice(&adoption->arena, reply_text(reply->element[i]));
        adoption->waiting++;
        redis_format(streaming->options.redis, on_show, shown, "HGETALL live:%b", shown->slug.data,
                     shown->slug.size);
    }
}

static void ask(struct adoption *adoption);

static void on_sessions(void *context, const redisReply *reply, const char *error) {
    struct adoption *adoption = context;
    struct streaming *streaming = adoption->streaming;
    adoption->waiting = 0;
    if (streaming->closing) {
        free_adoption(adoption);
    } else if (error || reply->type != REDIS_REPLY_ARRAY) {
        loop_timer_start(streaming->loop, &adoption->again, AGAIN_MS);
    } else {
        for (size_t i = 0; i + 1 < reply->elements; i += 2) {
            take_session(&streaming->hosts[adoption->host], reply_text(reply->element[i]),
                         reply_text(reply->element[i + 1]));
        }
        adoption->host++;
        ask(adoption);
    }
}

/// The boot words of the other hosts, as they were heard last.
static void on_boots(void *context, const redisReply *reply, const char *error) {
    struct adoption *adoption = context;
    struct streaming *streaming = adoption->streaming;
    adoption->waiting = 0;
    if (streaming->closing) {
        free_adoption(adoption);
    } else if (error || reply->type != REDIS_REPLY_ARRAY) {
        // Without Redis nothing can be decided; the hooks wait meanwhile (hooks.c).
        loop_timer_start(streaming->loop, &adoption->again, AGAIN_MS);
    } else {
        for (size_t i = 0; i + 1 < reply->elements; i += 2) {
            struct slice boot = reply_text(reply->element[i + 1]);
            struct media_host *host = host_of_boot(streaming, boot);
            if (!host || !host->name[0] || boot.size >= sizeof host->boot) continue;
            snprintf(host->boot, sizeof host->boot, "%.*s", SLICE_FORMAT(boot));
        }
        adoption->began = true;
        ask(adoption);
    }
}

static void on_again(struct timer *timer) { ask(container_of(timer, struct adoption, again)); }

static void ask(struct adoption *adoption) {
    struct streaming *streaming = adoption->streaming;
    adoption->waiting = 1;
    if (!adoption->began) {
        redis_format(streaming->options.redis, on_boots, adoption, "HGETALL hooks:boots");
    } else if (adoption->host < streaming->host_count) {
        redis_format(streaming->options.redis, on_sessions, adoption, "HGETALL hooks:s:%s",
                     streaming->hosts[adoption->host].boot);
    } else {
        redis_format(streaming->options.redis, on_live, adoption, "SMEMBERS live");
    }
}

void adopt_all(struct streaming *streaming, void (*done)(struct streaming *streaming)) {
    struct adoption *adoption = memory_zero(1, sizeof *adoption);
    adoption->streaming = streaming;
    adoption->done = done;
    streaming->adoption = adoption;
    streaming_hold(streaming);
    timer_init(&adoption->again, on_again);
    ask(adoption);
}

void adopt_abandon(struct streaming *streaming) {
    struct adoption *adoption = streaming->adoption;
    if (adoption && adoption->waiting == 0) free_adoption(adoption);
}
