#include "streaming/ingest.h"
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/random.h"
#include "loop/child.h"
#include "streaming/ingest_token.h"
#include "streaming/relay.h"
#include "websocket/connection.h"

// A broadcast's way in here: the socket is accepted, reading stands still; Redis is asked whether
// she may and whether the token was used; an older connection of hers is closed and its ffmpeg
// waited for; a one-time name is written; ffmpeg is started; reading begins.

enum {
    TICK_MS = 1000,
    SILENT_MS = 15000,
    BLOCKED_MS = 10000, ///< ffmpeg took nothing for so long
    FLUSH_MS = 3000,    ///< from the end of the input to SIGKILL
    REASON_MS = 300,    ///< the hooks' reason for a refusal may come a moment after the exit
    BURST_S = 4,        ///< of the permitted rate, at once
    NAME_BYTES = 24,
};

struct ingest {
    struct streaming *streaming; ///< held
    struct list link;            ///< in streaming->ingests
    struct ingest_token token;
    struct ingest_input input;
    char address[SOCKET_ADDRESS_SIZE];
    char name[sizeof PUBLISH_ONCE + NAME_BYTES * 2]; ///< of the one publish
    struct websocket *ws;
    struct child *child;
    struct ingest *successor; ///< waits for our end
    struct ingest *before;    ///< whose end we wait for
    unsigned waiting;         ///< replies of Redis to come
    bool refused;             ///< by hooks, `reason` says why
    bool paused, claimed, released;
    char reason[64];
    char problem[160]; ///< ffmpeg's last line
    struct ingest_progress progress;
    uint64_t began, heard, blocked;
    uint64_t bytes, allowance;
    struct timer tick, end; ///< end: to kill ffmpeg, or to wait for a reason
};

static void start(struct ingest *ingest);

static void free_when_over(struct ingest *ingest) {
    if (ingest->ws || ingest->child || ingest->waiting || timer_active(&ingest->end)) return;
    struct streaming *streaming = ingest->streaming;
    struct ingest *successor = ingest->successor;
    loop_timer_stop(streaming->loop, &ingest->tick);
    if (ingest->before) ingest->before->successor = NULL;
    list_remove(&ingest->link);
    streaming->ingest_count--;
    log_info("ingest.end", LOG_TEXT("slug", ingest->token.slug), LOG_TEXT("reason", ingest->reason),
             LOG_INT("bytes", ingest->bytes), LOG_INT("frames", ingest->progress.frames));
    memory_free(ingest);
    if (successor) {
        successor->before = NULL;
        start(successor);
    }
    streaming_release(streaming);
}

static void tell(struct ingest *ingest, const char *text) {
    if (ingest->ws && !websocket_closing(ingest->ws)) websocket_send(ingest->ws, slice_of(text), false);
}

static void close_ingest(struct ingest *ingest, int code, const char *reason) {
    if (!ingest->ws || websocket_closing(ingest->ws)) return;
    if (!ingest->reason[0]) snprintf(ingest->reason, sizeof ingest->reason, "%s", reason);
    if (ingest->paused) websocket_resume(ingest->ws); // or the peer's close frame is never read
    ingest->paused = false;
    websocket_close(ingest->ws, code, reason);
}

// ffmpeg.

static void on_end(struct timer *timer) {
    struct ingest *ingest = container_of(timer, struct ingest, end);
    if (ingest->child) {
        child_kill(ingest->child, SIGKILL);
        return; // on_exit frees
    }
    // It ended by itself. Why, hooks have told by now if they refused it.
    bool live = strcmp(ingest->reason, "the model is already live") == 0;
    if (ingest->refused) {
        close_ingest(ingest, live ? INGEST_LIVE : INGEST_REFUSED, ingest->reason);
    } else {
        close_ingest(ingest, INGEST_BROKEN, "the broadcast could not be processed");
    }
    free_when_over(ingest);
}

static void on_output(void *context, int stream, struct slice data) {
    struct ingest *ingest = context;
    if (stream == 1) {
        ingest_progress_feed(&ingest->progress, data);
        return;
    }
    // The last words. Lines that hold the address would hold the one-time name, too.
    while (data.size > 0 && data.data[data.size - 1] == '\n') data.size--;
    size_t from = data.size;
    while (from > 0 && data.data[from - 1] != '\n') from--;
    struct slice line = slice_sub(data, from, data.size);
    for (size_t i = 0; i + sizeof PUBLISH_ONCE <= line.size; i++) {
        if (memcmp(line.data + i, PUBLISH_ONCE, sizeof PUBLISH_ONCE - 1) == 0) line.size = i;
    }
    snprintf(ingest->problem, sizeof ingest->problem, "%.*s", SLICE_FORMAT(line));
}

static void on_exit_child(void *context, int status, bool timed_out) {
    (void)timed_out;
    struct ingest *ingest = context;
    struct loop *loop = ingest->streaming->loop;
    ingest->child = NULL;
    loop_timer_stop(loop, &ingest->end);
    if (status) {
        log_info("ingest.encoder", LOG_TEXT("slug", ingest->token.slug), LOG_INT("status", status),
                 LOG_TEXT("said", ingest->problem));
    }
    if (ingest->ws && !websocket_closing(ingest->ws)) {
        loop_timer_start(loop, &ingest->end, REASON_MS);
    }
    free_when_over(ingest);
}

static void on_child_drain(void *context) {
    struct ingest *ingest = context;
    ingest->blocked = 0;
    if (!ingest->paused || !ingest->ws) return;
    ingest->paused = false;
    tell(ingest, "{\"type\":\"queue\",\"slow\":false}");
    websocket_resume(ingest->ws);
}

static void start(struct ingest *ingest) {
    struct streaming *streaming = ingest->streaming;
    if (!ingest->ws || websocket_closing(ingest->ws)) return;
    const char *arguments[INGEST_ARGUMENTS];
    char address[256], kbit[2][16];
    snprintf(address, sizeof address, "rtmp://%s/publish/%s", streaming->options.rtmp_address,
             ingest->name);
    ingest_arguments(arguments, &ingest->input, address, kbit);
    struct child_options options = {.arguments = arguments, .pipe_input = true,
                                    .on_output = on_output, .on_exit = on_exit_child,
                                    .on_drain = on_child_drain, .context = ingest};
    int error = child_spawn(streaming->loop, &options, &ingest->child);
    sodium_memzero(address, sizeof address);
    if (error) {
        log_error("ingest.spawn", LOG_TEXT("error", uv_strerror(error)));
        ingest->child = NULL;
        close_ingest(ingest, 1011, "the encoder could not be started");
        return;
    }
    ingest->began = ingest->heard = loop_now(streaming->loop);
    loop_timer_start(streaming->loop, &ingest->tick, TICK_MS);
    log_info("ingest.begin", LOG_TEXT("slug", ingest->token.slug), LOG_TEXT("address", ingest->address),
             LOG_INT("copy", ingest->input.h264), LOG_INT("encoder", child_pid(ingest->child)));
    tell(ingest, "{\"type\":\"ready\"}");
    ingest->paused = false;
    websocket_resume(ingest->ws);
}

// May she?

static void on_named(void *context, const redisReply *reply, const char *error) {
    struct ingest *ingest = context;
    ingest->waiting--;
    if (error || reply->type != REDIS_REPLY_INTEGER) {
        close_ingest(ingest, 1013, "try again");
    } else if (!ingest->before) {
        start(ingest);
    }
    free_when_over(ingest);
}

/// The stream key is known by its hash only, so ffmpeg gets a name of its own, good for one publish
/// of this model. The browser's address goes along for the site's policy.
static void write_name(struct ingest *ingest) {
    static const char code[] =
        "redis.call('HSET', KEYS[1], 'model', ARGV[1], 'slug', ARGV[2], 'address', ARGV[3]) "
        "return redis.call('PEXPIRE', KEYS[1], ARGV[4])";
    unsigned char bytes[NAME_BYTES];
    char hash[65];
    random_bytes(bytes, sizeof bytes);
    size_t head = sizeof PUBLISH_ONCE - 1;
    memcpy(ingest->name, PUBLISH_ONCE, head);
    sodium_bin2hex(ingest->name + head, sizeof ingest->name - head, bytes, sizeof bytes);
    publisher_key(hash, slice_of(ingest->name));
    ingest->waiting++;
    redis_format(ingest->streaming->options.redis, on_named, ingest, "EVAL %s 1 p:once:%s %lld %s %s %d",
                 code, hash, (long long)ingest->token.model, ingest->token.slug, ingest->address,
                 INGEST_ONCE_MS);
}

static void displace(struct ingest *ingest) {
    list_each(&ingest->streaming->ingests, node) {
        struct ingest *other = container_of(node, struct ingest, link);
        if (other == ingest || !other->claimed || other->released ||
            strcmp(other->token.slug, ingest->token.slug) != 0) {
            continue;
        }
        close_ingest(other, INGEST_DISPLACED, "another window goes live");
        if (other->child) {
            // Not flushed: what matters is that nginx sees the old publisher go before the new comes.
            child_kill(other->child, SIGKILL);
            if (ingest->before) ingest->before->successor = NULL;
            if (other->successor) other->successor->before = NULL;
            other->successor = ingest;
            ingest->before = other;
        }
        other->released = true;
    }
    ingest->claimed = true;
}

static void on_claimed(void *context, const redisReply *reply, const char *error) {
    struct ingest *ingest = context;
    ingest->waiting--;
    if (error || reply->type == REDIS_REPLY_ERROR) {
        close_ingest(ingest, 1013, "try again");
    } else if (reply->type != REDIS_REPLY_STATUS) {
        close_ingest(ingest, INGEST_TOKEN, "the token was used");
    } else if (ingest->ws && !websocket_closing(ingest->ws)) {
        displace(ingest);
        write_name(ingest);
    }
    free_when_over(ingest);
}

static void on_account(void *context, const redisReply *reply, const char *error) {
    struct ingest *ingest = context;
    struct slice state = reply_text(error ? NULL : reply);
    ingest->waiting--;
    if (error || reply->type == REDIS_REPLY_ERROR) {
        close_ingest(ingest, 1013, "try again");
    } else if (state.size > 0 && !slice_equal(state, SLICE("active"))) {
        close_ingest(ingest, INGEST_REFUSED, "the account is not active");
    } else {
        ingest->waiting++;
        redis_format(ingest->streaming->options.redis, on_claimed, ingest,
                     "SET ticket:%s ingest NX EX %d", ingest->token.nonce, USED_SECONDS);
    }
    free_when_over(ingest);
}

static void on_model(void *context, const redisReply *reply, const char *error) {
    struct ingest *ingest = context;
    ingest->waiting--;
    if (error || reply->type == REDIS_REPLY_ERROR) {
        close_ingest(ingest, 1013, "try again");
    } else if (!reply_array(reply, error, 3) ||
               !slice_equal(reply_text(reply->element[1]), SLICE("approved")) ||
               reply_integer(reply->element[0]) != ingest->token.model ||
               reply_integer(reply->element[2]) != ingest->token.account) {
        close_ingest(ingest, INGEST_REFUSED, "the model is not approved");
    } else {
        ingest->waiting++;
        redis_format(ingest->streaming->options.redis, on_account, ingest,
                     "HGET p:account:%lld state", (long long)ingest->token.account);
    }
    free_when_over(ingest);
}

// The socket.

/// Each second, news or not: a page that hears nothing knows that its line is dead, long before its
/// browser does.
static void tell_progress(struct ingest *ingest) {
    const struct ingest_progress *progress = &ingest->progress;
    char text[256];
    snprintf(text, sizeof text,
             "{\"type\":\"progress\",\"frames\":%lld,\"fps\":%lld.%02lld,\"kbit\":%lld,\"dropped\":%lld,"
             "\"bytes\":%llu}",
             (long long)progress->frames, (long long)progress->fps_hundredths / 100,
             (long long)progress->fps_hundredths % 100, (long long)progress->kbit,
             (long long)progress->dropped, (unsigned long long)ingest->bytes);
    tell(ingest, text);
}

static void on_tick(struct timer *timer) {
    struct ingest *ingest = container_of(timer, struct ingest, tick);
    struct streaming *streaming = ingest->streaming;
    const struct streaming_options *options = &streaming->options;
    uint64_t now = loop_now(streaming->loop), second = (uint64_t)options->ingest_kbit * 125;
    if (!ingest->ws) return;
    ingest->allowance += second;
    if (ingest->allowance > BURST_S * second) ingest->allowance = BURST_S * second;
    tell_progress(ingest);
    if (ingest->blocked && now - ingest->blocked > BLOCKED_MS) {
        close_ingest(ingest, INGEST_SLOW, "the server cannot keep up");
    } else if (!ingest->paused && now - ingest->heard > SILENT_MS) {
        close_ingest(ingest, INGEST_SILENT, "nothing was sent");
    } else if (now - ingest->began > (uint64_t)options->ingest_hours * 3600 * 1000) {
        close_ingest(ingest, INGEST_TIME, "the longest broadcast is over");
    }
    loop_timer_start(streaming->loop, timer, TICK_MS);
}

static void on_message(struct websocket *ws, struct slice message, bool binary) {
    struct ingest *ingest = websocket_data(ws);
    struct streaming *streaming = ingest->streaming;
    if (!binary) {
        close_ingest(ingest, 1003, "only media is understood");
        return;
    }
    ingest->heard = loop_now(streaming->loop);
    ingest->bytes += message.size;
    metric_add(streaming->ingest_bytes, (int64_t)message.size);
    if (message.size > ingest->allowance) {
        close_ingest(ingest, INGEST_RATE, "more data than is allowed");
        return;
    }
    ingest->allowance -= message.size;
    if (!ingest->child) return;
    if (child_write(ingest->child, message) > INGEST_QUEUE_HIGH && !ingest->paused) {
        // The browser's own queue grows from now on; it sees that, and is told.
        ingest->paused = true;
        ingest->blocked = ingest->heard;
        metric_add(streaming->ingest_slow, 1);
        tell(ingest, "{\"type\":\"queue\",\"slow\":true}");
        websocket_pause(ws);
    }
}

static void on_ws_close(struct websocket *ws, int code, struct slice reason) {
    (void)reason;
    struct ingest *ingest = websocket_data(ws);
    struct streaming *streaming = ingest->streaming;
    ingest->ws = NULL;
    loop_timer_stop(streaming->loop, &ingest->tick);
    if (!ingest->reason[0]) {
        snprintf(ingest->reason, sizeof ingest->reason, "%s", code == 1000 ? "ended" : "lost");
        if (code == 1000 && ingest->child) {
            // She pressed End: nobody is to wait for her. Any other end leaves the grace.
            redis_format(streaming->options.redis, NULL, NULL, "PUBLISH ctl:hooks %s%s%s",
                         "{\"do\":\"drop\",\"who\":\"publisher\",\"reason\":\"ended\",\"slug\":\"",
                         ingest->token.slug, "\"}");
        }
    }
    if (ingest->before) {
        ingest->before->successor = NULL;
        ingest->before = NULL;
    }
    if (ingest->child) {
        child_end_input(ingest->child);
        loop_timer_start(streaming->loop, &ingest->end, FLUSH_MS);
    } else {
        loop_timer_stop(streaming->loop, &ingest->end);
    }
    free_when_over(ingest);
}

static const struct websocket_events events = {.on_message = on_message, .on_close = on_ws_close};

static void read_input(struct ingest *ingest, struct http_request *request) {
    uint64_t kbit = 0;
    ingest->input.h264 = slice_equal(http_request_query(request, "video", NULL), SLICE("h264"));
    ingest->input.audio = !slice_equal(http_request_query(request, "audio", NULL), SLICE("none"));
    unsigned most = ingest->streaming->options.ingest_kbit;
    if (slice_to_u64(http_request_query(request, "kbit", NULL), &kbit) && kbit >= 100) {
        ingest->input.kbit = kbit < most ? (unsigned)kbit : most;
    }
}

void ingest_accept(struct streaming *streaming, struct http_request *request, struct slice text) {
    struct ingest_token token;
    const char *wrong = ingest_token_read(&token, text, streaming->options.ticket_key, clock_wall_s());
    if (wrong && strcmp(wrong, "expired") != 0) {
        metric_add(streaming->refused, 1);
        http_respond_status(request, 403);
        return;
    }
    struct ingest *ingest = memory_zero(1, sizeof *ingest);
    ingest->streaming = streaming;
    ingest->token = token;
    ingest->allowance = BURST_S * (uint64_t)streaming->options.ingest_kbit * 125;
    snprintf(ingest->address, sizeof ingest->address, "%s", request->remote);
    read_input(ingest, request);
    timer_init(&ingest->tick, on_tick);
    timer_init(&ingest->end, on_end);
    struct websocket_options options = {.message_limit = INGEST_MESSAGE_LIMIT, .ping_ms = 5000,
                                        .pong_ms = 5000};
    ingest->ws = websocket_accept(request, &options, &events, ingest);
    if (!ingest->ws) {
        memory_free(ingest);
        return;
    }
    streaming_hold(streaming);
    list_push_back(&streaming->ingests, &ingest->link);
    streaming->ingest_count++;
    if (wrong) {
        // A page that was left open asks for a new token; it could not read an HTTP status.
        close_ingest(ingest, INGEST_TOKEN, "the token has expired");
        return;
    }
    ingest->paused = true;
    websocket_pause(ingest->ws);
    ingest->waiting++;
    redis_format(streaming->options.redis, on_model, ingest, "HMGET p:model:%s id state account",
                 token.slug);
}

void ingest_health(struct streaming *streaming, struct http_request *request, struct slice text) {
    struct ingest_token token;
    int64_t now = clock_wall_s(), longest = (int64_t)streaming->options.ingest_hours * 3600;
    const char *wrong = ingest_token_read(&token, text, streaming->options.ticket_key, now - longest);
    if (wrong) {
        http_respond_status(request, 403);
        return;
    }
    relay_watch(streaming, token.slug, token.account);
    http_response_header(request, SLICE("Cache-Control"), SLICE("no-store"));
    http_respond_status(request, 204);
}

void ingest_order(struct streaming *streaming, const struct order *order) {
    bool kick = strcmp(order->verb, "kick") == 0, refused = strcmp(order->verb, "refused") == 0;
    bool drop = strcmp(order->verb, "drop") == 0 && strcmp(order->who, "viewers") != 0;
    list_each(&streaming->ingests, node) {
        struct ingest *ingest = container_of(node, struct ingest, link);
        bool hers = order->slug[0] && strcmp(ingest->token.slug, order->slug) == 0;
        if (refused && hers && !ingest->reason[0]) {
            ingest->refused = true;
            snprintf(ingest->reason, sizeof ingest->reason, "%s", order->reason);
        } else if ((drop && hers) || (kick && order->account == ingest->token.account)) {
            close_ingest(ingest, INGEST_ORDER, order->reason[0] ? order->reason : order->verb);
        }
    }
}

void ingests_free(struct streaming *streaming) {
    list_each(&streaming->ingests, node) {
        struct ingest *ingest = container_of(node, struct ingest, link);
        close_ingest(ingest, 1012, "the service restarts");
        if (ingest->child) child_end_input(ingest->child);
    }
}
