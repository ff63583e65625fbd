#ifndef FOOTLIGHT_STREAMING_INGEST_TOKEN_H
#define FOOTLIGHT_STREAMING_INGEST_TOKEN_H
#include "streaming/ticket.h"

/// Leave to broadcast from the browser: whose studio asked for it, until when it may begin. Signed
/// with the key of the playback tickets under another purpose, so neither passes for the other.
///
/// The text is "<slug>.<base64url>": nginx sends all of a model's connections to one media process
/// by the part before the dot, so a reconnection finds what it replaces.
struct ingest_token {
    int64_t account, model;
    int64_t expires; ///< seconds since 1970; to begin, not to go on
    char nonce[TICKET_NONCE_TEXT + 1]; ///< made by ingest_token_make
    char slug[SLUG_LIMIT + 1];
};

/// Chooses a nonce and appends the text. False, and nothing appended, if a field is out of bounds.
bool ingest_token_make(struct buffer *out, struct ingest_token *token,
                       const unsigned char key[TICKET_KEY_SIZE]);
/// Reads a text that anybody may have sent. NULL and *token filled, or why not: "malformed",
/// "forged", "expired" (filled all the same).
const char *ingest_token_read(struct ingest_token *token, struct slice text,
                              const unsigned char key[TICKET_KEY_SIZE], int64_t now);

/// The name that a one-time publish begins with: no stream key has a dot.
#define PUBLISH_ONCE "once."
#endif
