#include <sodium.h>
#include "base/escape.h"
#include "base/utf8.h"
#include "realtime/channel_name.h"
#include "realtime/token.h"
#include "sockjs/json.h"

enum { SKEW = 30, CAPS_MAX = 64 };

static void sign(struct slice text, const uint8_t key[REALTIME_KEY_SIZE],
                 uint8_t mac[crypto_auth_hmacsha256_BYTES]) {
    _Static_assert(REALTIME_KEY_SIZE == crypto_auth_hmacsha256_KEYBYTES, "HS256 with 32 bytes");
    crypto_auth_hmacsha256(mac, (const unsigned char *)text.data, text.size, key);
}

void realtime_token_sign(struct buffer *out, struct slice payload,
                         const uint8_t key[REALTIME_KEY_SIZE]) {
    size_t start = out->size;
    escape_base64url(out, SLICE("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"));
    buffer_append_char(out, '.');
    escape_base64url(out, payload);
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    sign(slice_make(out->data + start, out->size - start), key, mac);
    buffer_append_char(out, '.');
    escape_base64url(out, slice_make(mac, sizeof mac));
}

static bool read_object(struct slice part, struct buffer *text, struct json_value *value) {
    if (!unescape_base64(text, part) || !utf8_valid(buffer_slice(text))) return false;
    *value = json_parse(buffer_slice(text), 4);
    return value->kind == JSON_OBJECT;
}

/// Copies a string member if it is there and fits; false if it is there and does not.
static bool copy_text(struct json_value object, const char *name, char *out, size_t room) {
    struct json_value value = json_member(object, name);
    out[0] = 0;
    if (value.kind == JSON_NONE || value.kind == JSON_NULL) return true;
    struct buffer text = {0};
    bool good = json_string(value, &text) && text.size < room &&
                slice_find(buffer_slice(&text), 0, 0) == text.size;
    if (good && text.size > 0) memcpy(out, text.data, text.size);
    if (good) out[text.size] = 0;
    buffer_free(&text);
    return good;
}

static bool read_caps(struct json_value list, struct buffer *out) {
    if (list.kind == JSON_NONE || list.kind == JSON_NULL) return true;
    if (list.kind != JSON_ARRAY) return false;
    struct json_walk walk = json_begin(list);
    struct json_value item;
    unsigned count = 0;
    while (json_next(&walk, NULL, &item)) {
        size_t start = out->size;
        if (++count > CAPS_MAX || !json_string(item, out)) return false;
        if (slice_find(buffer_slice(out), '\n', start) < out->size) return false;
        buffer_append_char(out, '\n');
    }
    return true;
}

static bool read_claims(struct json_value payload, struct realtime_claims *claims) {
    char subject[24];
    uint64_t account;
    if (!copy_text(payload, "sub", subject, sizeof subject) ||
        !slice_to_u64(slice_of(subject), &account) || account > INT64_MAX)
        return false;
    claims->account = (int64_t)account;
    return json_integer(json_member(payload, "iat"), &claims->issued) &&
           json_integer(json_member(payload, "exp"), &claims->expires) &&
           copy_text(payload, "name", claims->name, sizeof claims->name) &&
           copy_text(payload, "role", claims->role, sizeof claims->role) &&
           copy_text(payload, "ses", claims->session, sizeof claims->session) &&
           read_caps(json_member(payload, "caps"), &claims->caps);
}

const char *realtime_token_read(struct slice token, const uint8_t key[REALTIME_KEY_SIZE],
                                int64_t now, struct realtime_claims *claims) {
    *claims = (struct realtime_claims){0};
    if (token.size == 0 || token.size > REALTIME_TOKEN_MAX) return "malformed";
    struct slice rest = token, head, body, mac, more;
    if (!slice_next(&rest, '.', &head) || !slice_next(&rest, '.', &body) ||
        !slice_next(&rest, '.', &mac) || slice_next(&rest, '.', &more))
        return "malformed";
    const char *problem = "malformed";
    struct buffer text = {0}, given = {0};
    struct json_value value;
    if (!read_object(head, &text, &value) ||
        !slice_equal(json_member(value, "alg").raw, SLICE("\"HS256\"")))
        goto out;
    uint8_t wanted[crypto_auth_hmacsha256_BYTES];
    sign(slice_make(token.data, head.size + 1 + body.size), key, wanted);
    problem = "signature";
    if (!unescape_base64(&given, mac) || given.size != sizeof wanted ||
        sodium_memcmp(given.data, wanted, sizeof wanted) != 0)
        goto out;
    problem = "malformed";
    buffer_clear(&text, SIZE_MAX);
    if (!read_object(body, &text, &value) || !read_claims(value, claims)) goto out;
    problem = NULL;
    if (claims->expires + SKEW <= now) problem = "expired";
    else if (claims->issued - SKEW > now) problem = "early";
out:
    buffer_free(&text);
    buffer_free(&given);
    if (problem) realtime_claims_free(claims);
    return problem;
}

void realtime_claims_free(struct realtime_claims *claims) { buffer_free(&claims->caps); }

bool realtime_claims_cover(const struct realtime_claims *claims, struct slice channel) {
    struct slice rest = buffer_slice(&claims->caps), line;
    while (slice_next(&rest, '\n', &line))
        if (line.size > 0 && realtime_cap_covers(line, channel)) return true;
    return false;
}

bool realtime_key_read(const char *hex, uint8_t key[REALTIME_KEY_SIZE]) {
    struct buffer bytes = {0};
    bool good = hex && unescape_hex(&bytes, slice_of(hex)) && bytes.size == REALTIME_KEY_SIZE;
    if (good) memcpy(key, bytes.data, REALTIME_KEY_SIZE);
    buffer_free(&bytes);
    return good;
}
