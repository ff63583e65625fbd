#include "streaming/ticket.h"
#include <sodium.h>
#include "base/escape.h"
#include "base/random.h"

// version 1 | policy 1 | limit 4 | free 4 | minimum 4 | increment 2 | off 2 | expires 4 | account 8 |
// rate 8 | show 8 | nonce 12 | slug | MAC 16
enum { VERSION = 3, NONCE = 12, MAC = 16, HEAD = 1 + 1 + 4 + 4 + 4 + 2 + 2 + 4 + 8 + 8 + 8 + NONCE };
_Static_assert((HEAD + SLUG_LIMIT + MAC + 2) / 3 * 4 <= TICKET_TEXT_LIMIT, "tickets fit their limit");

static const char *const names[] = {"preview", "free", "paid", "internal",
                                    "private", "group", "spy", "ticket"};
enum { LAST_POLICY = TICKET_TICKET };

const char *ticket_policy_name(enum ticket_policy policy) { return names[policy]; }

bool ticket_policy_of(struct slice name, enum ticket_policy *policy) {
    for (int i = 0; i <= LAST_POLICY; i++) {
        if (slice_equal(name, slice_of(names[i]))) {
            *policy = (enum ticket_policy)i;
            return true;
        }
    }
    return false;
}

static unsigned char *put(unsigned char *at, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--) *at++ = (unsigned char)(value >> (8 * i));
    return at;
}

static uint64_t take(const unsigned char **at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | *(*at)++;
    return value;
}

static void nonce_text(const unsigned char nonce[NONCE], char out[TICKET_NONCE_TEXT + 1]) {
    sodium_bin2base64(out, TICKET_NONCE_TEXT + 1, nonce, NONCE,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool ticket_make(struct buffer *out, struct ticket *ticket,
                 const unsigned char key[TICKET_KEY_SIZE]) {
    struct slice slug = slice_of(ticket->slug);
    if (ticket->account < 0 || ticket->rate < 0 || ticket->expires < 0 ||
        ticket->expires > UINT32_MAX || ticket->off_bp >= 10000 || !slug_valid(slug)) {
        return false;
    }
    unsigned char bytes[HEAD + SLUG_LIMIT + MAC], *at = bytes;
    at = put(at, VERSION, 1);
    at = put(at, ticket->policy, 1);
    at = put(at, ticket->limit, 4);
    at = put(at, ticket->free, 4);
    at = put(at, ticket->minimum, 4);
    at = put(at, ticket->increment, 2);
    at = put(at, ticket->off_bp, 2);
    at = put(at, (uint64_t)ticket->expires, 4);
    at = put(at, (uint64_t)ticket->account, 8);
    at = put(at, (uint64_t)ticket->rate, 8);
    at = put(at, ticket->show, 8);
    random_bytes(at, NONCE);
    nonce_text(at, ticket->nonce);
    at += NONCE;
    memcpy(at, slug.data, slug.size);
    at += slug.size;
    crypto_generichash(at, MAC, bytes, (size_t)(at - bytes), key, TICKET_KEY_SIZE);
    at += MAC;
    escape_base64url(out, slice_make(bytes, (size_t)(at - bytes)));
    return true;
}

const char *ticket_read(struct ticket *ticket, struct slice text,
                        const unsigned char key[TICKET_KEY_SIZE], int64_t now) {
    unsigned char bytes[TICKET_TEXT_LIMIT], mac[MAC];
    size_t size = 0;
    const char *end = NULL;
    memset(ticket, 0, sizeof *ticket);
    // The strict decoder: one ticket has one text, so a text can stand for its ticket in a table.
    if (text.size == 0 || text.size > TICKET_TEXT_LIMIT ||
        sodium_base642bin(bytes, sizeof bytes, text.data, text.size, NULL, &size, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        end != text.data + text.size || size < HEAD + 1 + MAC ||
        size > HEAD + SLUG_LIMIT + MAC || bytes[0] != VERSION || bytes[1] > LAST_POLICY) {
        return "malformed";
    }
    crypto_generichash(mac, MAC, bytes, size - MAC, key, TICKET_KEY_SIZE);
    if (sodium_memcmp(mac, bytes + size - MAC, MAC) != 0) return "forged";

    const unsigned char *at = bytes + 1;
    ticket->policy = (enum ticket_policy)take(&at, 1);
    ticket->limit = (uint32_t)take(&at, 4);
    ticket->free = (uint32_t)take(&at, 4);
    ticket->minimum = (uint32_t)take(&at, 4);
    ticket->increment = (uint16_t)take(&at, 2);
    ticket->off_bp = (uint16_t)take(&at, 2);
    ticket->expires = (int64_t)take(&at, 4);
    ticket->account = (int64_t)take(&at, 8);
    ticket->rate = (int64_t)take(&at, 8);
    ticket->show = take(&at, 8);
    nonce_text(at, ticket->nonce);
    at += NONCE;
    size_t slug = size - HEAD - MAC;
    memcpy(ticket->slug, at, slug);
    ticket->slug[slug] = '\0';
    if (!slug_valid(slice_make(ticket->slug, slug))) return "malformed";
    return now > ticket->expires ? "expired" : NULL;
}
