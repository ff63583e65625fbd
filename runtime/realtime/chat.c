#include <ctype.h>
#include <stdio.h>
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/utf8.h"
#include "realtime/internal.h"
#include "realtime/room.h"

/// What a chat message goes through: limits here, the sender's standing in Redis, the judge (Lua's
/// moderation rules), publication with history. The rooms' settings are in room.h.
enum { WINDOW_MS = 10000, REPEAT_MS = 30000, CHARACTER_BYTES = 4, FLOOD = 12 };

struct chat {
    struct errand errand;
    struct hub *hub;
    int64_t i, account;
    struct buffer text;
    struct buffer reason;
    bool links; ///< the room lets them pass
    char name[REALTIME_NAME_MAX + 1];
    char role[16];
    char channel[REALTIME_CHANNEL_MAX + 1];
};

static bool is_staff(const char *role) {
    return strcmp(role, "moderator") == 0 || strcmp(role, "admin") == 0;
}

static void free_chat(struct chat *chat) {
    struct hub *hub = chat->hub;
    list_remove(&chat->errand.link);
    buffer_free(&chat->text);
    buffer_free(&chat->reason);
    memory_free(chat);
    hub_answered(hub);
}

static void refuse(struct chat *chat, const char *code, const char *message) {
    if (chat->errand.client)
        client_reply_error(chat->errand.client, chat->i, code, message);
    free_chat(chat);
}

// ---- limits ----------------------------------------------------------------------------------

/// Runs of white space and control characters become one space; none at the ends.
static void normalise(struct buffer *out, struct slice text) {
    bool gap = false;
    for (size_t i = 0; i < text.size;) {
        size_t start = i;
        int32_t c = utf8_next(text, &i);
        bool blank = c <= 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0x2028 || c == 0x2029 ||
                     c == 0xfeff || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
        if (blank) {
            gap = out->size > 0;
            continue;
        }
        if (gap) buffer_append_char(out, ' ');
        gap = false;
        buffer_append(out, text.data + start, i - start);
    }
}

/// Whether the account may say something more now; remembers that it did.
static const char *over_rate(struct hub *hub, struct account *account, struct slice text) {
    enum { KEPT = sizeof account->said_ms / sizeof *account->said_ms };
    uint64_t now = loop_now(hub->loop);
    unsigned recent = 0;
    for (unsigned n = 0; n < KEPT && n < account->said; n++)
        recent += now - account->said_ms[n] < WINDOW_MS;
    if (recent >= hub->options.chat_burst || recent >= KEPT) return "rate";
    uint64_t hash = hash_bytes(text);
    if (account->said > 0 && hash == account->last_hash && now - account->last_ms < REPEAT_MS)
        return "repeat";
    account->said_ms[account->said % KEPT] = now;
    account->said++;
    if (account->said >= 2 * KEPT) account->said -= KEPT;
    account->last_hash = hash;
    account->last_ms = now;
    return NULL;
}

/// The baseline, when no rule in Lua could be asked: links and floods do not pass.
static const char *baseline(struct slice text, bool links_pass) {
    static const char *const links[] = {"http:", "https:", "www.", ".com", ".net", ".org", "t.me/"};
    struct buffer folded = {0};
    for (size_t i = 0; i < text.size; i++)
        buffer_append_char(&folded, (char)tolower((unsigned char)text.data[i]));
    const char *problem = NULL;
    for (size_t i = 0; !links_pass && i < sizeof links / sizeof *links; i++)
        if (slice_search(buffer_slice(&folded), slice_of(links[i])) < folded.size)
            problem = "Links are not allowed here.";
    size_t run = 1;
    for (size_t i = 1; i < folded.size && !problem; i++) {
        run = folded.data[i] == folded.data[i - 1] ? run + 1 : 1;
        if (run > FLOOD) problem = "Please do not flood the chat.";
    }
    buffer_free(&folded);
    return problem;
}

// ---- publication -----------------------------------------------------------------------------

static void on_published(void *context, int64_t offset, const char *epoch, const char *error) {
    (void)epoch;
    struct chat *chat = context;
    struct client *client = chat->errand.client;
    if (error) {
        log_warn("realtime.chat_unpublished", LOG_TEXT("channel", chat->channel),
                 LOG_TEXT("error", error));
        refuse(chat, "unavailable", "The message was not sent; please try again.");
        return;
    }
    if (offset > 0) metric_add(chat->hub->chat, 1);
    if (client) {
        struct buffer out = {0};
        reply_begin(&out, chat->i, "pub");
        buffer_printf(&out, "{\"c\":\"%s\"", chat->channel);
        if (chat->reason.size > 0) {
            buffer_append_text(&out, ",\"held\":true,\"reason\":");
            sockjs_quote(&out, buffer_slice(&chat->reason));
        } else {
            buffer_printf(&out, ",\"o\":%lld", (long long)offset);
        }
        buffer_append_text(&out, "}}");
        sockjs_session_send_text(client->session, buffer_slice(&out));
        buffer_free(&out);
    }
    free_chat(chat);
}

static void write_message(struct buffer *out, const struct chat *chat, const char *type) {
    uint64_t number;
    random_bytes(&number, sizeof number);
    buffer_printf(out, "{\"type\":\"%s\",\"id\":\"%016llx\",\"from\":{\"id\":%lld,\"name\":", type,
                  (unsigned long long)number, (long long)chat->account);
    sockjs_quote(out, slice_of(chat->name));
    buffer_append_text(out, ",\"role\":");
    sockjs_quote(out, slice_of(chat->role));
    buffer_append_text(out, "},\"text\":");
    sockjs_quote(out, buffer_slice(&chat->text));
    buffer_printf(out, ",\"at\":%lld", (long long)clock_wall_ms());
}

static void publish(struct chat *chat) {
    struct buffer message = {0};
    bool held = chat->reason.size > 0;
    write_message(&message, chat, held ? "held" : "chat");
    if (held) {
        buffer_printf(&message, ",\"channel\":\"%s\",\"reason\":", chat->channel);
        sockjs_quote(&message, buffer_slice(&chat->reason));
    }
    buffer_append_char(&message, '}');
    realtime_publish_then(chat->hub->options.redis,
                          held ? SLICE("staff:chat") : slice_of(chat->channel),
                          buffer_slice(&message), on_published, chat);
    buffer_free(&message);
}

// ---- judgement -------------------------------------------------------------------------------

static void on_verdict(void *to, const struct hub_verdict *verdict) {
    struct chat *chat = to;
    switch (verdict->judgement) {
    case HUB_DROP: {
        buffer_append_slice(&chat->reason, verdict->reason);
        if (chat->reason.size == 0) buffer_append_text(&chat->reason, "The message was not accepted.");
        refuse(chat, "dropped", buffer_text(&chat->reason));
        return;
    }
    case HUB_HOLD:
        buffer_append_slice(&chat->reason, verdict->reason);
        if (chat->reason.size == 0) buffer_append_text(&chat->reason, "A moderator looks at it first.");
        break;
    case HUB_CHANGE:
        // A rule's text is trusted as little as a client's: it goes out as JSON either way, but it
        // must be text, and no longer than what it replaces might have been.
        if (verdict->text.size > 0 && utf8_valid(verdict->text) &&
            verdict->text.size <= (size_t)chat->hub->options.chat_length * CHARACTER_BYTES) {
            buffer_clear(&chat->text, SIZE_MAX);
            buffer_append_slice(&chat->text, verdict->text);
            break;
        }
        refuse(chat, "dropped", "The message was not accepted.");
        return;
    case HUB_FAULT: {
        log_error("realtime.moderation_fault", LOG_SLICE("error", verdict->reason));
        const char *problem = baseline(buffer_slice(&chat->text), chat->links);
        if (problem) {
            refuse(chat, "dropped", problem);
            return;
        }
        break;
    }
    case HUB_PASS: break;
    }
    publish(chat);
}

static void judge(struct chat *chat) {
    struct hub *hub = chat->hub;
    if (!hub->policy.judge) {
        const char *problem = baseline(buffer_slice(&chat->text), chat->links);
        if (problem) refuse(chat, "dropped", problem);
        else publish(chat);
        return;
    }
    struct hub_chat message = {slice_of(chat->channel), buffer_slice(&chat->text), chat->account,
                               chat->name, chat->role, chat->links};
    hub->policy.judge(hub->policy.context, &message, on_verdict, chat);
}

// ---- the sender's standing -------------------------------------------------------------------

static const struct refusal {
    const char *word, *code, *message;
} refusals[] = {
    {"closed", "denied", "Your account cannot chat at present."},
    {"banned", "banned", "You are banned from this room."},
    {"muted", "muted", "You are muted in this room."},
    {"slow", "slow", "Slow mode is on; please wait a little."},
    {"followers", "followers", "Only followers may write here at present."},
    {"tippers", "tippers", "Only those who have tipped may write here at present."},
};

static void on_standing(void *to, const struct room_standing *standing) {
    struct chat *chat = to;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (slice_equal(standing->word, slice_of(refusals[i].word))) {
            refuse(chat, refusals[i].code, refusals[i].message);
            return;
        }
    if (!slice_equal(standing->word, SLICE("ok"))) {
        refuse(chat, "unavailable", "The message was not sent; please try again.");
        return;
    }
    if (standing->role.size > 0)
        snprintf(chat->role, sizeof chat->role, "%.*s", SLICE_FORMAT(standing->role));
    chat->links = standing->links;
    judge(chat);
}

void chat_publish(struct client *client, int64_t i, struct slice channel, struct json_value data) {
    struct hub *hub = client->hub;
    const struct realtime_namespace *space = realtime_namespace_of(channel);
    const struct realtime_claims *claims = client->claims;
    if (!space->publish || !client->account || !realtime_claims_cover(claims, channel)) {
        client_reply_error(client, i, "denied",
                           client->account ? "You may not write here." : "Sign in to chat.");
        return;
    }
    struct buffer raw = {0};
    struct chat *chat = memory_zero(1, sizeof *chat);
    chat->hub = hub;
    chat->i = i;
    chat->account = client->account->id;
    snprintf(chat->name, sizeof chat->name, "%s", claims->name);
    snprintf(chat->role, sizeof chat->role, "%s", claims->role);
    snprintf(chat->channel, sizeof chat->channel, "%.*s", SLICE_FORMAT(channel));
    errand_begin(&chat->errand, client);
    hub->owed++;
    bool text = json_string(json_member(data, "text"), &raw);
    if (text) normalise(&chat->text, buffer_slice(&raw));
    buffer_free(&raw);
    if (chat->text.size == 0) {
        refuse(chat, "empty", "There is nothing to send.");
        return;
    }
    if (utf8_length(buffer_slice(&chat->text)) > hub->options.chat_length) {
        refuse(chat, "too_long", "The message is too long.");
        return;
    }
    const char *over = is_staff(chat->role)
                           ? NULL
                           : over_rate(hub, client->account, buffer_slice(&chat->text));
    if (over) {
        bool repeat = strcmp(over, "repeat") == 0;
        refuse(chat, over, repeat ? "You have just said that." : "You are writing too fast.");
        return;
    }
    struct room_sender sender = {chat->account, claims->issued, is_staff(chat->role)};
    room_ask(hub->options.redis, chat->channel, &sender, on_standing, chat);
}
