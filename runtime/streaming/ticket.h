#ifndef FOOTLIGHT_STREAMING_TICKET_H
#define FOOTLIGHT_STREAMING_TICKET_H
#include "base/buffer.h"
#include "streaming/hook_request.h"

/// Leave to watch one stream in one session: who, what, at what price, for how long. The text is at
/// most 160 characters of the URL-safe alphabet, because nginx-rtmp cuts name and arguments
/// together at 255. It is signed, not encrypted. Whether it was used or revoked stands in Redis
/// under its nonce.
enum ticket_policy {
    TICKET_PREVIEW,  ///< a guest's look, limited in time
    TICKET_FREE,
    TICKET_PAID,
    TICKET_INTERNAL, ///< our own pull from nginx; accepted from this host only
    TICKET_PRIVATE,  ///< the four that belong to a show, and are good while it runs
    TICKET_GROUP,
    TICKET_SPY,
    TICKET_TICKET,
};

enum {
    TICKET_TEXT_LIMIT = 160,
    TICKET_NONCE_TEXT = 16, ///< 12 bytes in base64url
    TICKET_KEY_SIZE = 32,
};

struct ticket {
    int64_t account; ///< 0: a guest
    int64_t rate;    ///< micro-credits a minute, 0: free
    uint32_t limit;  ///< seconds, 0: none
    uint32_t free;   ///< seconds at the start that are not charged (a show's are paid otherwise)
    uint32_t minimum;   ///< micro-credits that a session costs at least, once it is charged at all
    uint16_t increment; ///< seconds that are rounded up to; 0 and 1: by the second
    uint16_t off_bp;    ///< off the rate, in basis points below 10000
    enum ticket_policy policy;
    uint64_t show;   ///< the private, group or ticket show that it belongs to; 0: the public room
    int64_t expires; ///< seconds since 1970; to begin watching, not to go on
    char nonce[TICKET_NONCE_TEXT + 1]; ///< made by ticket_make
    char slug[SLUG_LIMIT + 1];
};

/// Chooses a nonce and appends the text. False if a field is out of its bounds (negative amounts, a
/// slug that is none): nothing is appended then.
bool ticket_make(struct buffer *out, struct ticket *ticket,
                 const unsigned char key[TICKET_KEY_SIZE]);

/// Reads a text that anybody may have sent. NULL and *ticket filled, or why not: "malformed",
/// "forged", "expired".
const char *ticket_read(struct ticket *ticket, struct slice text,
                        const unsigned char key[TICKET_KEY_SIZE], int64_t now);

const char *ticket_policy_name(enum ticket_policy policy);
bool ticket_policy_of(struct slice name, enum ticket_policy *policy);
#endif
