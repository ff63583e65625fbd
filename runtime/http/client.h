#ifndef FOOTLIGHT_HTTP_CLIENT_H
#define FOOTLIGHT_HTTP_CLIENT_H
#include "base/buffer.h"
#include "loop/loop.h"

/// Outgoing HTTP by libcurl's multi interface on the loop, mail by smtp.h. Connections are pooled; guarded
/// and unguarded requests never share one, since only a new connection's address can be checked.
struct http_client;
struct http_client *http_client_new(struct loop *loop);
/// Unfinished requests are dropped; their callbacks do not come.
void http_client_free(struct http_client *client);

struct http_client_header {
    struct slice name, value;
};
struct http_client_request {
    const char *url;    ///< http or https; for mail smtp or smtps
    const char *method; ///< NULL: GET, or POST with a body
    const struct http_client_header *headers;
    size_t header_count;
    struct slice body;
    unsigned timeout_ms; ///< for the whole (10 s)
    size_t max;          ///< largest answer (1 MiB)
    unsigned redirects;  ///< followed (0)
    bool guard;          ///< refuse addresses that are not public, after resolution, redirects too
    // Mail: `from` makes it one. Body is the whole message.
    const char *from;
    const char *const *to;
    size_t to_count;
    const char *username, *password;
};
struct http_client_response {
    const char *error; ///< NULL, or why there is no answer: "timeout: …", "refused: …", …
    int status;        ///< of HTTP, or the last SMTP reply
    struct slice headers; ///< raw header lines of the final answer
    struct slice body;
};
/// `done` comes once, never inside this call; what the response holds is valid inside it. Everything
/// in the request is copied. Returns a handle for cancel, or 0 with done never called when the
/// request itself is wrong (*error says how) or too many are under way.
typedef uint64_t http_client_handle;
http_client_handle http_client_send(struct http_client *client,
                                    const struct http_client_request *request,
                                    void (*done)(void *context,
                                                 const struct http_client_response *response),
                                    void *context, const char **error);
void http_client_cancel(struct http_client *client, http_client_handle handle);
size_t http_client_running(const struct http_client *client);
#endif
