#ifndef FOOTLIGHT_REALTIME_SCRIPT_H
#define FOOTLIGHT_REALTIME_SCRIPT_H
#include "redis/client.h"

/// A Redis script, called by its hash, and by its text when the server does not know it (any more).
/// Scripts rather than functions here, because any process may publish, with no word beforehand.
struct realtime_script {
    const char *text;
    char hash[41]; ///< filled at the first call
};
enum { REALTIME_SCRIPT_ARGUMENTS = 16 };
/// Like redis_call; `keys` of the arguments come first and are keys.
void realtime_script_call(struct redis_client *client, struct realtime_script *script, size_t keys,
                          const struct slice *arguments, size_t count, redis_reply_fn *done,
                          void *context);
#endif
