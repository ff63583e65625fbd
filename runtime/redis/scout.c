#include "redis/scout.h"
#include "base/buffer.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "redis/adapter.h"

enum { ANSWER_MS = 1000, LEAST_MS = 100, ROUND_MOST_MS = 1000 };

struct redis_scout {
    struct loop *loop;
    struct redis_link *link; ///< to the server that is asked now, or NULL between two
    struct timer next;       ///< the next question, or the next server
    struct timer limit;      ///< of an answer
    char *name, *role, *password;
    char **candidates;
    size_t count, at, failures;
    struct buffer question;
    unsigned every_ms;
    uint64_t asked_at;
    bool asked, again;
    bool (*on_answer)(void *context, const redisReply *reply, const char *address);
    void *context;
};

static void scout_put(struct redis_scout *scout) {
    scout->asked = true;
    scout->again = false;
    scout->asked_at = loop_now(scout->loop);
    loop_timer_stop(scout->loop, &scout->next);
    loop_timer_start(scout->loop, &scout->limit, ANSWER_MS);
    redis_link_write(scout->link, scout->question.data, scout->question.size);
}

static void scout_move_on(struct redis_scout *scout) {
    redis_link_free(scout->link);
    scout->link = NULL;
    scout->asked = false;
    loop_timer_stop(scout->loop, &scout->limit);
    scout->at = (scout->at + 1) % scout->count;
    scout->failures++;
    // The first round goes fast, the rounds after it a little slower each.
    uint64_t wait = 0;
    if (scout->failures % scout->count == 0) {
        if (scout->failures == scout->count)
            log_warn("redis.nobody_answers", LOG_TEXT("name", scout->name),
                     LOG_TEXT("role", scout->role));
        wait = 50 * (scout->failures / scout->count);
        if (wait > ROUND_MOST_MS) wait = ROUND_MOST_MS;
        wait = wait / 2 + random_fast() % wait;
    }
    loop_timer_start(scout->loop, &scout->next, wait);
}

static void scout_on_up(void *owner) {
    scout_put(owner);
}

static void scout_on_reply(void *owner, redisReply *reply) {
    struct redis_scout *scout = owner;
    if (!scout->asked) return;
    scout->asked = false;
    loop_timer_stop(scout->loop, &scout->limit);
    if (reply->type == REDIS_REPLY_ERROR ||
        !scout->on_answer(scout->context, reply, scout->candidates[scout->at])) {
        scout_move_on(scout);
        return;
    }
    if (scout->failures >= scout->count)
        log_info("redis.answers_again", LOG_TEXT("name", scout->name),
                 LOG_TEXT("role", scout->role), LOG_TEXT("address", scout->candidates[scout->at]));
    scout->failures = 0;
    loop_timer_start(scout->loop, &scout->next, scout->again ? LEAST_MS : scout->every_ms);
}

static void scout_on_down(void *owner, const char *reason) {
    (void)reason;
    scout_move_on(owner);
}

static void scout_on_silence(void *owner) {
    (void)owner;
} // it is asked often enough

static const struct redis_link_events scout_events = {
    .on_up = scout_on_up,
    .on_reply = scout_on_reply,
    .on_down = scout_on_down,
    .on_silence = scout_on_silence,
};

static void scout_next(struct timer *timer) {
    struct redis_scout *scout = container_of(timer, struct redis_scout, next);
    if (scout->link) {
        scout_put(scout);
        return;
    }
    struct redis_options options = {
        .name = scout->name,
        .address = scout->candidates[scout->at],
        .password = scout->password,
        .connect_ms = ANSWER_MS,
        .quiet = true,
    };
    scout->link = redis_link_new(scout->loop, &options, scout->role, &scout_events, scout);
}

static void scout_limit(struct timer *timer) {
    scout_move_on(container_of(timer, struct redis_scout, limit));
}

static void candidates_free(struct redis_scout *scout) {
    for (size_t i = 0; i < scout->count; i++) memory_free(scout->candidates[i]);
    memory_free(scout->candidates);
}

void redis_scout_candidates(struct redis_scout *scout, const char *addresses) {
    struct slice rest = slice_of(addresses), part;
    char **found = NULL;
    size_t count = 0, at = 0;
    while (slice_next(&rest, ',', &part)) {
        part = slice_trim(part);
        if (part.size == 0) continue;
        char *text = memory_alloc(part.size + 1);
        memcpy(text, part.data, part.size);
        text[part.size] = 0;
        found = memory_resize(found, (count + 1) * sizeof *found);
        if (scout->count && strcmp(text, scout->candidates[scout->at]) == 0) at = count;
        found[count++] = text;
    }
    if (count == 0) return; // an empty list would leave nobody to ask
    // The one that is asked now stays in the list until it fails.
    bool kept = scout->count && strcmp(found[at], scout->candidates[scout->at]) == 0;
    if (scout->count && !kept) {
        found = memory_resize(found, (count + 1) * sizeof *found);
        at = count;
        found[count++] = memory_copy_string(scout->candidates[scout->at]);
    }
    candidates_free(scout);
    scout->candidates = found;
    scout->count = count;
    scout->at = at;
}

void redis_scout_ask(struct redis_scout *scout) {
    scout->again = true;
    if (!scout->link || scout->asked || !redis_link_up(scout->link)) return;
    uint64_t since = loop_now(scout->loop) - scout->asked_at;
    loop_timer_start(scout->loop, &scout->next, since >= LEAST_MS ? 0 : LEAST_MS - since);
}

struct redis_scout *redis_scout_new(struct loop *loop, const struct redis_scout_options *options,
                                    const char *addresses) {
    struct redis_scout *scout = memory_zero(1, sizeof *scout);
    scout->loop = loop;
    scout->name = memory_copy_string(options->name);
    scout->role = memory_copy_string(options->role);
    if (options->password) scout->password = memory_copy_string(options->password);
    scout->every_ms = options->every_ms;
    scout->on_answer = options->on_answer;
    scout->context = options->context;
    redis_encode(&scout->question, options->question, options->words);
    redis_scout_candidates(scout, addresses);
    if (scout->count == 0) redis_scout_candidates(scout, "127.0.0.1:6379");
    timer_init(&scout->next, scout_next);
    timer_init(&scout->limit, scout_limit);
    // Not all processes begin with the same server.
    scout->at = random_fast() % scout->count;
    loop_timer_start(loop, &scout->next, 0);
    return scout;
}

void redis_scout_free(struct redis_scout *scout) {
    if (!scout) return;
    if (scout->link) redis_link_free(scout->link);
    loop_timer_stop(scout->loop, &scout->next);
    loop_timer_stop(scout->loop, &scout->limit);
    candidates_free(scout);
    buffer_free(&scout->question);
    memory_free(scout->name);
    memory_free(scout->role);
    memory_free(scout->password);
    memory_free(scout);
}
