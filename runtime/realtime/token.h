#ifndef FOOTLIGHT_REALTIME_TOKEN_H
#define FOOTLIGHT_REALTIME_TOKEN_H
#include "base/buffer.h"

/// Who a client is: a JSON Web Token (RFC 7519) signed with HS256, issued by `web` and checked here
/// without asking anybody. No other algorithm is taken, whatever the header says.
enum { REALTIME_KEY_SIZE = 32, REALTIME_TOKEN_MAX = 2048, REALTIME_NAME_MAX = 64 };

struct realtime_claims {
    int64_t account; ///< 0: a guest
    int64_t issued, expires; ///< seconds
    char name[REALTIME_NAME_MAX + 1];
    char role[16];
    char session[48];   ///< of the site's session, for signing out one device; may be empty
    struct buffer caps; ///< patterns, one a line; free with realtime_claims_free
};

/// Signs a payload (a JSON object).
void realtime_token_sign(struct buffer *out, struct slice payload,
                         const uint8_t key[REALTIME_KEY_SIZE]);
/// NULL if the token is good, else what is wrong with it: "malformed", "signature", "expired" or
/// "early". `now` in seconds; clocks may differ by 30 s.
const char *realtime_token_read(struct slice token, const uint8_t key[REALTIME_KEY_SIZE],
                                int64_t now, struct realtime_claims *claims);
void realtime_claims_free(struct realtime_claims *claims);
bool realtime_claims_cover(const struct realtime_claims *claims, struct slice channel);
/// 64 hex digits.
bool realtime_key_read(const char *hex, uint8_t key[REALTIME_KEY_SIZE]);
#endif
