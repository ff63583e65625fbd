#include <sodium.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "streaming/internal.h"

// What nginx-rtmp calls. POST /hooks/<secret>/<boot>/<call>; the secret keeps other programs of this
// host out, the boot word makes client numbers unique for ever.
//
// The rule that stops most tricks: one connection, one stream. A second play or publish on a
// connection that has (or had) one is refused, and nginx then closes the connection. Without it
// `play B` on a connection that plays A would be billed as B and show A, and `publish` beside `play`
// would turn the player's updates into a publisher's, which nobody bills.

enum { HOLD_MS = 5000, PULL_SECONDS = 30 };

struct waiting {
    struct list link;
    struct http_request *request;
    struct streaming *streaming;
    struct timer timer;
};

static void reply(struct http_request *request, int status) {
    if (status == 200) {
        http_respond(request, 200, "text/plain", SLICE("ok\n"));
    } else {
        http_respond_status(request, status);
    }
}

static void on_gone(struct http_request *request) {
    // nginx has given up waiting (netcall_timeout): it closes the player's connection too.
    struct session *session = request->data;
    if (session) session->gone = true;
}

/// The stream is at another host: nginx pulls it from there, under a ticket of ours.
static bool send_to(struct session *session, const struct media_host *host) {
    struct streaming *streaming = session->streaming;
    struct http_request *request = session->request;
    struct ticket ticket = {.policy = TICKET_INTERNAL, .expires = clock_wall_s() + PULL_SECONDS};
    struct buffer place = {0};
    snprintf(ticket.slug, sizeof ticket.slug, "%s", session->slug);
    buffer_printf(&place, "rtmp://%s/live/%s?t=", host->address, session->slug);
    bool made = ticket_make(&place, &ticket, streaming->options.ticket_key);
    if (made && request) {
        session->request = NULL;
        request->data = NULL;
        http_response_header(request, SLICE("Location"), buffer_slice(&place));
        http_respond_status(request, 302);
    }
    buffer_free(&place);
    return made;
}

static void on_player(struct session *session, int status, const char *reason) {
    if (status != 200) {
        if (status != 0) session_refuse(session, status, reason);
        return;
    }
    struct show *show = show_find(session->streaming, slice_of(session->slug));
    if (show && show->host != session->host && !send_to(session, show->host)) {
        session_refuse(session, 503, "the stream's host cannot be named");
        return;
    }
    session_opened(session);
    adopt_save(session);
    log_info("streaming.playing", LOG_TEXT("session", session->id), LOG_TEXT("slug", session->slug),
             LOG_INT("account", session->account), LOG_INT("rate", session->ticket.rate));
    session_answer(session, 200);
}

/// A publish or play: makes the session that all later calls of this connection are held against.
static void begin(struct streaming *streaming, struct http_request *request, const char *id,
                  const struct hook_request *hook) {
    struct slice key = slice_of(id);
    if (session_find(streaming, key)) {
        log_warn("streaming.second", LOG_TEXT("session", id));
        metric_add(streaming->refused, 1);
        reply(request, 403);
        return;
    }
    bool play = hook->call == HOOK_PLAY;
    bool relay = !play && slice_equal(hook->app, SLICE("live"));
    bool publish = !play && slice_equal(hook->app, SLICE("publish"));
    bool pull = !play && hook->app.size == 0; // what nginx does by itself has no application
    struct session *session = session_new(streaming,
                                          play    ? SESSION_PLAYER
                                          : relay ? SESSION_RELAY
                                          : pull  ? SESSION_PULL
                                                  : SESSION_PUBLISHER,
                                          key);
    session->request = request;
    request->data = session;
    http_request_on_gone(request, on_gone);
    snprintf(session->address, sizeof session->address, "%.*s",
             hook->addr.size < sizeof session->address ? (int)hook->addr.size : 0, hook->addr.data);

    if (publish) {
        if (hook->name.size < 8 || hook->name.size > 128) {
            session_refuse(session, 403, "the key is unknown");
        } else {
            publisher_ask(session, hook);
        }
        return;
    }
    if ((!play && !relay && !pull) || (play && !slice_equal(hook->app, SLICE("live")))) {
        session_refuse(session, 403, "no such application");
        return;
    }
    if (!slug_valid(hook->name)) {
        session_refuse(session, 403, "no such stream");
        return;
    }
    memcpy(session->slug, hook->name.data, hook->name.size);
    if (relay) {
        relay_ask(session);
        return;
    }
    if (pull) {
        pull_ask(session, hook);
        return;
    }
    const char *wrong = ticket_read(&session->ticket, hook->ticket, streaming->options.ticket_key,
                                    clock_wall_s());
    if (wrong) {
        session_refuse(session, 403, hook->ticket.size ? wrong : "no ticket");
    } else if (strcmp(session->ticket.slug, session->slug) != 0) {
        session_refuse(session, 403, "the ticket is for another stream");
    } else if (session->ticket.policy == TICKET_INTERNAL &&
               !host_is_ours(streaming, session->address)) {
        session_refuse(session, 403, "an internal ticket from outside");
    } else {
        session->ours = session->ticket.policy == TICKET_INTERNAL;
        session->end = control_drop;
        admission_ask(session, on_player);
    }
}

/// nginx's own push, seen from the sending side: a client without an application, whose address is
/// where it pushes to. It lives as long as the stream.
static bool push_is_ours(struct streaming *streaming, const char *id,
                         const struct hook_request *hook) {
    const struct media_host *host = host_of_id(streaming, slice_of(id));
    struct show *show = show_find(streaming, host_target(host, hook->addr));
    return show && show->host == host && show->publisher[0];
}

static int update(struct streaming *streaming, const char *id, const struct hook_request *hook) {
    if (hook->call == HOOK_UPDATE_PLAY && hook->app.size == 0) {
        return push_is_ours(streaming, id, hook) ? 200 : 403;
    }
    struct session *session = session_find(streaming, slice_of(id));
    if (!session) {
        // Nobody let it in, or Redis lost what we knew while we were away. A publisher reconnects by
        // itself; a viewer needs a new ticket.
        log_warn("streaming.unknown", LOG_TEXT("session", id));
        return 403;
    }
    if (session->state == SESSION_DECIDING) return 200; // the first may come before our answer
    if (session->cut || session->state == SESSION_ENDED) return 403;
    bool publishing = hook->call == HOOK_UPDATE_PUBLISH;
    if (publishing != (session->kind != SESSION_PLAYER)) {
        session_cut(session, "another kind of session");
        return 403;
    }
    if (session->kind == SESSION_PUBLISHER) {
        char key[65];
        publisher_key(key, hook->name);
        if (session->key[0] && strcmp(key, session->key) != 0) return 403;
    } else if (!slice_equal(hook->name, slice_of(session->slug))) {
        session_cut(session, "another stream");
        return 403;
    }
    if (publishing) {
        // nginx's drop_idle_publisher arms with the first packet only. A callback that comes twice,
        // or after a later one, says nothing new.
        if (hook->timestamp > session->updated) {
            session->stalls = 0;
            session->updated = hook->timestamp;
        } else if (hook->time > session->update_time && ++session->stalls >= 2) {
            session_cut(session, "silent");
            return 403;
        }
        if (hook->time > session->update_time) session->update_time = hook->time;
        session_alive(session);
        if (session->kind == SESSION_PUBLISHER) publisher_refresh(session);
        return 200;
    }
    // A hook alone says that nginx holds the connection, not that anything is shown there.
    session_seen(session);
    if (hook->timestamp > session->updated) {
        session->updated = hook->timestamp;
        session_alive(session);
    }
    if (session->meter && !meter_allows(session->meter)) {
        session_cut(session, "funds");
        return 403;
    }
    return 200;
}

static void ended(struct streaming *streaming, const char *id) {
    struct session *session = session_find(streaming, slice_of(id));
    if (!session) return;
    // A callback may be late. If its worker has stopped showing it, it was gone by then.
    int64_t end_ms = 0;
    if (session->missing > 0 && session->worker == session->host->stat_worker) {
        end_ms = clock_wall_ms() - (int64_t)(loop_now(streaming->loop) - session->seen);
    }
    session_ended(session, end_ms, "left");
}

static void handle(struct streaming *streaming, struct http_request *request, const char *boot,
                   const struct hook_request *hook) {
    char id[SESSION_ID_SIZE];
    snprintf(id, sizeof id, "%s:%llu", boot, (unsigned long long)hook->client);
    switch (hook->call) {
    case HOOK_CONNECT:
        // A connection begins: the nginx that says so is the one that runs. After a restart of nginx
        // its word is new, and the control interface knows the new numbers only.
        host_boots(host_of_boot(streaming, slice_of(boot)), boot);
        reply(request, slice_equal(hook->app, SLICE("live")) ||
                               slice_equal(hook->app, SLICE("publish"))
                           ? 200
                           : 403);
        break;
    case HOOK_PUBLISH:
    case HOOK_PLAY:
        begin(streaming, request, id, hook);
        break;
    case HOOK_UPDATE_PUBLISH:
    case HOOK_UPDATE_PLAY:
        reply(request, update(streaming, id, hook));
        break;
    case HOOK_DISCONNECT:
    case HOOK_PUBLISH_DONE:
    case HOOK_PLAY_DONE:
    case HOOK_DONE:
        ended(streaming, id);
        reply(request, 200);
        break;
    case HOOK_RECORD_DONE:
        // The other recorder, of key frames, finishes a file every ten seconds; nobody waits for those.
        if (slice_equal(hook->recorder, SLICE("archive")) && slug_valid(hook->name)) {
            redis_format(streaming->options.redis, NULL, NULL,
                         "XADD events MAXLEN ~ 100000 * type recorded slug %b path %b at %lld",
                         hook->name.data, hook->name.size, hook->path.data, hook->path.size,
                         (long long)clock_wall_ms());
        }
        reply(request, 200);
        break;
    }
}

/// "/hooks/<secret>/<boot>/<call>" → boot. False: not ours to answer.
static bool read_path(struct streaming *streaming, struct slice path,
                      char boot[STREAMING_BOOT_SIZE]) {
    struct slice rest = path, part[5];
    for (int i = 0; i < 5; i++) {
        if (!slice_next(&rest, '/', &part[i])) return false;
    }
    struct slice secret = slice_of(streaming->options.hooks_secret);
    if (rest.data || !slice_equal(part[1], SLICE("hooks")) || part[2].size != secret.size ||
        sodium_memcmp(part[2].data, secret.data, secret.size) != 0 || part[3].size == 0 ||
        part[3].size >= STREAMING_BOOT_SIZE) {
        return false;
    }
    for (size_t i = 0; i < part[3].size; i++) {
        char c = part[3].data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.')) return false;
    }
    memcpy(boot, part[3].data, part[3].size);
    boot[part[3].size] = '\0';
    return host_of_boot(streaming, part[3]) != NULL;
}

static void on_body(struct http_request *request, struct slice body, int error) {
    struct streaming *streaming = request->data;
    struct hook_request hook;
    char boot[STREAMING_BOOT_SIZE];
    request->data = NULL;
    if (error || streaming->closing || !read_path(streaming, request->path, boot)) {
        if (error != 499) reply(request, error ? error : 503);
    } else {
        const char *wrong = hook_request_read(&hook, &request->arena, body);
        if (wrong) {
            metric_add(streaming->malformed, 1);
            log_warn("streaming.malformed", LOG_TEXT("why", wrong));
            reply(request, 400);
        } else {
            handle(streaming, request, boot, &hook);
        }
    }
    streaming_release(streaming);
}

static void read_hook(struct streaming *streaming, struct http_request *request) {
    request->data = streaming;
    if (slice_equal(request->method, SLICE("GET"))) {
        // `notify_method get` is not safe (docs/streaming.md), but it is understood.
        streaming_hold(streaming);
        on_body(request, request->query, 0);
        return;
    }
    streaming_hold(streaming);
    http_request_read_all(request, HOOK_BODY_LIMIT, on_body);
}

// Until we know what a former process had let in, nothing can be answered: hooks wait.

static void resume(struct waiting *waiting) {
    struct streaming *streaming = waiting->streaming;
    struct http_request *request = waiting->request;
    list_remove(&waiting->link);
    loop_timer_stop(streaming->loop, &waiting->timer);
    memory_free(waiting);
    read_hook(streaming, request);
}

static void on_hold_over(struct timer *timer) {
    // Redis is away and we are new. Publishers and viewers that were let in before may stay for now
    // (their updates are accepted unread), new ones may not come in.
    struct waiting *waiting = container_of(timer, struct waiting, timer);
    struct http_request *request = waiting->request;
    bool known = slice_ends(request->path, SLICE("/update")) ||
                 slice_ends(request->path, SLICE("done")) ||
                 slice_ends(request->path, SLICE("/disconnect"));
    list_remove(&waiting->link);
    memory_free(waiting);
    reply(request, known ? 200 : 503);
}

void hooks_adopted(struct streaming *streaming) {
    streaming->adopted = true;
    list_each(&streaming->waiting, node) resume(container_of(node, struct waiting, link));
}

void hooks_free(struct streaming *streaming) {
    list_each(&streaming->waiting, node) on_hold_over(&container_of(node, struct waiting, link)->timer);
}

void hooks_on_request(void *context, struct http_request *request) {
    struct streaming *streaming = context;
    char boot[STREAMING_BOOT_SIZE];
    bool post = slice_equal(request->method, SLICE("POST"));
    request->log_path = SLICE("/hooks/"); // the rest of it is a secret
    if (!read_path(streaming, request->path, boot)) {
        http_respond_status(request, 404);
    } else if (!post && !slice_equal(request->method, SLICE("GET"))) {
        http_response_header(request, SLICE("Allow"), SLICE("GET, POST"));
        http_respond_status(request, 405);
    } else if (streaming->closing) {
        http_respond_status(request, 503);
    } else if (streaming->adopted) {
        read_hook(streaming, request);
    } else {
        struct waiting *waiting = memory_zero(1, sizeof *waiting);
        waiting->request = request;
        waiting->streaming = streaming;
        timer_init(&waiting->timer, on_hold_over);
        list_push_back(&streaming->waiting, &waiting->link);
        loop_timer_start(streaming->loop, &waiting->timer, HOLD_MS);
    }
}
