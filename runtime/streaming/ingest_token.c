#include "streaming/ingest_token.h"
#include <sodium.h>
#include "base/escape.h"
#include "base/random.h"

// slug '.' base64url of: version 1 | purpose 1 | expires 4 | account 8 | model 8 | nonce 12 | MAC 16.
// The MAC covers all of that before it, and the slug. A ticket's second byte is its policy, a small
// number; the purpose is none of them.
enum { VERSION = 1, PURPOSE = 0x80, NONCE = 12, MAC = 16, HEAD = 1 + 1 + 4 + 8 + 8 + NONCE };

static unsigned char *put(unsigned char *at, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--) *at++ = (unsigned char)(value >> (8 * i));
    return at;
}

static uint64_t take(const unsigned char **at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | *(*at)++;
    return value;
}

static void sign(unsigned char mac[MAC], const unsigned char head[HEAD], struct slice slug,
                 const unsigned char key[TICKET_KEY_SIZE]) {
    unsigned char text[HEAD + SLUG_LIMIT];
    memcpy(text, head, HEAD);
    memcpy(text + HEAD, slug.data, slug.size);
    crypto_generichash(mac, MAC, text, HEAD + slug.size, key, TICKET_KEY_SIZE);
}

static void nonce_text(const unsigned char nonce[NONCE], char out[TICKET_NONCE_TEXT + 1]) {
    sodium_bin2base64(out, TICKET_NONCE_TEXT + 1, nonce, NONCE,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool ingest_token_make(struct buffer *out, struct ingest_token *token,
                       const unsigned char key[TICKET_KEY_SIZE]) {
    struct slice slug = slice_of(token->slug);
    if (token->account <= 0 || token->model <= 0 || token->expires < 0 ||
        token->expires > UINT32_MAX || !slug_valid(slug)) {
        return false;
    }
    unsigned char bytes[HEAD + MAC], *at = bytes;
    at = put(at, VERSION, 1);
    at = put(at, PURPOSE, 1);
    at = put(at, (uint64_t)token->expires, 4);
    at = put(at, (uint64_t)token->account, 8);
    at = put(at, (uint64_t)token->model, 8);
    random_bytes(at, NONCE);
    nonce_text(at, token->nonce);
    sign(bytes + HEAD, bytes, slug, key);
    buffer_append_slice(out, slug);
    buffer_append_char(out, '.');
    escape_base64url(out, slice_make(bytes, sizeof bytes));
    return true;
}

const char *ingest_token_read(struct ingest_token *token, struct slice text,
                              const unsigned char key[TICKET_KEY_SIZE], int64_t now) {
    unsigned char bytes[HEAD + MAC], mac[MAC];
    size_t size = 0, dot = slice_find(text, '.', 0);
    const char *end = NULL;
    memset(token, 0, sizeof *token);
    if (text.size > TICKET_TEXT_LIMIT || dot >= text.size) return "malformed";
    struct slice slug = slice_sub(text, 0, dot), rest = slice_sub(text, dot + 1, text.size);
    // The strict decoder, as for tickets: one token has one text.
    if (!slug_valid(slug) ||
        sodium_base642bin(bytes, sizeof bytes, rest.data, rest.size, NULL, &size, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        end != rest.data + rest.size || size != sizeof bytes || bytes[0] != VERSION ||
        bytes[1] != PURPOSE) {
        return "malformed";
    }
    sign(mac, bytes, slug, key);
    if (sodium_memcmp(mac, bytes + HEAD, MAC) != 0) return "forged";

    const unsigned char *at = bytes + 2;
    token->expires = (int64_t)take(&at, 4);
    token->account = (int64_t)take(&at, 8);
    token->model = (int64_t)take(&at, 8);
    nonce_text(at, token->nonce);
    memcpy(token->slug, slug.data, slug.size);
    return now > token->expires ? "expired" : NULL;
}
