#include "streaming/hook_request.h"
#include "base/buffer.h"
#include "base/escape.h"

bool slug_valid(struct slice slug) {
    if (slug.size == 0 || slug.size > SLUG_LIMIT) return false;
    for (size_t i = 0; i < slug.size; i++) {
        char c = slug.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && (c != '-' || i == 0 || i == slug.size - 1)) return false;
    }
    return true;
}

struct reader {
    struct slice rest;
    struct arena *arena;
    const char *error;
};

static struct slice decode(struct reader *reader, struct slice raw) {
    // nginx sends a slash or colon bare and everything doubtful encoded. A NUL or another control
    // character in a value is nobody's honest name.
    struct buffer out = {0};
    struct slice value = {0};
    if (raw.size > 3 * HOOK_FIELD_LIMIT || !unescape_url(&out, raw, false)) {
        reader->error = "a value is not percent-encoded text";
    } else if (out.size > HOOK_FIELD_LIMIT) {
        reader->error = "a value is too long";
    } else {
        value = arena_slice(reader->arena, buffer_slice(&out));
        for (size_t i = 0; i < value.size; i++) {
            if ((unsigned char)value.data[i] < 0x20 || value.data[i] == 0x7f) {
                reader->error = "a value has control characters";
            }
        }
    }
    buffer_free(&out);
    return value;
}

/// The next pair, which must have this name.
static struct slice field(struct reader *reader, const char *name) {
    struct slice pair;
    if (reader->error) return (struct slice){0};
    if (!reader->rest.data || !slice_next(&reader->rest, '&', &pair)) {
        reader->error = "a field is missing";
        return (struct slice){0};
    }
    size_t equals = slice_find(pair, '=', 0);
    if (equals == pair.size || !slice_equal(slice_sub(pair, 0, equals), slice_of(name))) {
        reader->error = "the fields are not in nginx-rtmp's order";
        return (struct slice){0};
    }
    return decode(reader, slice_sub(pair, equals + 1, pair.size));
}

static uint64_t number(struct reader *reader, const char *name) {
    uint64_t value = 0;
    struct slice text = field(reader, name);
    if (!reader->error && !slice_to_u64(text, &value)) reader->error = "a number is not one";
    return value;
}

static bool call_of(struct slice text, enum hook_call *call) {
    static const struct {
        const char *text;
        enum hook_call call;
    } calls[] = {
        {"connect", HOOK_CONNECT},           {"disconnect", HOOK_DISCONNECT},
        {"publish", HOOK_PUBLISH},           {"play", HOOK_PLAY},
        {"update_publish", HOOK_UPDATE_PUBLISH}, {"update_play", HOOK_UPDATE_PLAY},
        {"publish_done", HOOK_PUBLISH_DONE}, {"play_done", HOOK_PLAY_DONE},
        {"done", HOOK_DONE},                 {"record_done", HOOK_RECORD_DONE},
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (slice_equal(text, slice_of(calls[i].text))) {
            *call = calls[i].call;
            return true;
        }
    }
    return false;
}

/// Whether the next field has this name, without taking it.
static bool next_is(const struct reader *reader, struct slice name) {
    return reader->rest.data && reader->rest.size > name.size &&
           slice_starts(reader->rest, name) && reader->rest.data[name.size] == '=';
}

static void read_tail(struct reader *reader, struct hook_request *hook) {
    struct slice pair;
    for (int i = 0; i < HOOK_TAIL_ARGUMENTS && reader->rest.data; i++) {
        if (!slice_next(&reader->rest, '&', &pair)) break;
        if (!slice_starts(pair, SLICE("t="))) continue;
        hook->ticket = decode(reader, slice_sub(pair, 2, pair.size));
        return;
    }
}

const char *hook_request_read(struct hook_request *hook, struct arena *arena, struct slice body) {
    struct reader reader = {.rest = body, .arena = arena};
    memset(hook, 0, sizeof *hook);
    if (body.size > HOOK_BODY_LIMIT) return "the body is too long";
    if (body.size == 0) return "the body is empty";

    hook->app = field(&reader, "app");
    hook->flashver = field(&reader, "flashver");
    field(&reader, "swfurl");
    hook->tcurl = field(&reader, "tcurl");
    field(&reader, "pageurl");
    hook->addr = field(&reader, "addr");
    bool connect = next_is(&reader, SLICE("epoch"));
    if (connect) {
        field(&reader, "epoch");
    } else {
        hook->client = number(&reader, "clientid");
    }
    struct slice call = field(&reader, "call");
    if (reader.error) return reader.error;
    if (!call_of(call, &hook->call)) return "the call is unknown";
    if (connect != (hook->call == HOOK_CONNECT)) return "the call has another call's fields";
    if (!connect && hook->client == 0) return "the client has no number";

    switch (hook->call) {
    case HOOK_CONNECT:
        break;
    case HOOK_DISCONNECT:
        field(&reader, "app");
        break;
    case HOOK_PUBLISH:
        hook->name = field(&reader, "name");
        hook->type = field(&reader, "type");
        break;
    case HOOK_PLAY:
        hook->name = field(&reader, "name");
        number(&reader, "start");
        number(&reader, "duration");
        number(&reader, "reset");
        break;
    case HOOK_UPDATE_PUBLISH:
    case HOOK_UPDATE_PLAY:
        hook->time = number(&reader, "time");
        hook->timestamp = number(&reader, "timestamp");
        hook->name = field(&reader, "name");
        break;
    case HOOK_PUBLISH_DONE:
    case HOOK_PLAY_DONE:
    case HOOK_DONE:
        hook->name = field(&reader, "name");
        break;
    case HOOK_RECORD_DONE:
        hook->recorder = field(&reader, "recorder");
        hook->name = field(&reader, "name");
        hook->path = field(&reader, "path");
        break;
    }
    if (!reader.error) read_tail(&reader, hook);
    return reader.error;
}
