#ifndef FOOTLIGHT_HTTP_REQUEST_H
#define FOOTLIGHT_HTTP_REQUEST_H
#include "base/arena.h"
#include "base/buffer.h"
#include "loop/socket.h"

/// One request, on its own arena, from the end of its headers to the end of its response. All
/// slices point into the arena and live as long as the request. http_server hands it to the
/// handler; the handler answers now or later (response.h), exactly once.
struct http_header {
    struct slice name, value; ///< name in lower case
};

struct http_request {
    struct http_connection *connection;
    struct loop *loop;
    struct arena arena;
    struct slice method; ///< upper case, as sent
    struct slice target; ///< the request target as sent (origin form)
    struct slice path;   ///< without the query; not decoded; starts with '/'
    struct slice query;  ///< behind '?', or empty
    struct slice host;
    struct http_header *headers;
    size_t header_count;
    uint64_t content_length; ///< 0 if there is no body; UINT64_MAX if chunked
    bool http10, keep_alive, upgrade, has_body;
    bool fin_ends; ///< the handler sets it where a FIN before the answer means that the client left (long polls)
    char remote[SOCKET_ADDRESS_SIZE]; ///< the client's address; from X-Forwarded-For if a trusted proxy sent it
    bool secure;                      ///< X-Forwarded-Proto: https from a trusted proxy
    struct slice log_path;            ///< what the access log shows; set it where the path holds a secret
    char id[24];                      ///< the request id in logs and the X-Request-Id header
    uint64_t started_ns;
    struct http_body *body;         ///< see http_request_read_*
    struct http_response *response; ///< see response.h
    void *data;                     ///< the handler's
};

/// The first header of that (lower-case) name; data is NULL if there is none. Headers that may
/// repeat and are lists were joined by ", " when the request was read.
struct slice http_request_header(const struct http_request *request, const char *name);
/// The decoded value of a query parameter; data is NULL if it is absent. Twice is an error of the
/// caller's input: `*repeated` (may be NULL) tells.
struct slice http_request_query(struct http_request *request, const char *name, bool *repeated);
struct slice http_request_cookie(struct http_request *request, const char *name);

/// A trailer of a chunked body that has been read to its end; data is NULL if there is none.
struct slice http_request_trailer(const struct http_request *request, const char *name);

/// Collects the body, at most `limit` bytes, then calls done with it (in the arena). error is 0, or
/// the status to answer with: 400 (broken chunking), 408 (too slow), 413 (too large), or 499 (the
/// client left: no answer possible). Not called inside this call. One reader per request.
void http_request_read_all(struct http_request *request, size_t limit,
                           void (*done)(struct http_request *request, struct slice body, int error));
/// Streams the body: on_part gets pieces (size 0 at the end, error as above). on_part returns false
/// to pause; http_request_resume continues.
void http_request_read_parts(struct http_request *request, uint64_t limit,
                             bool (*on_part)(struct http_request *request, struct slice part,
                                             bool last, int error));
void http_request_resume(struct http_request *request);

/// Called once if the client goes away before the response is complete; after it, response calls
/// are ignored, and the request is freed once http_respond/http_response_end was called on it.
void http_request_on_gone(struct http_request *request, void (*gone)(struct http_request *request));

/// Takes the socket away from HTTP, e.g. for a WebSocket (after writing the 101 by itself with
/// socket_write). `early` is what the client already sent behind the request head; copy it. The
/// request stays valid until http_request_release. The new owner sets socket->events and frees
/// the memory in on_close through http_upgrade_free(socket).
struct socket *http_request_upgrade(struct http_request *request, const struct socket_events *events,
                                    void *data, struct slice *early);
void http_request_release(struct http_request *request);
void *http_upgrade_data(struct socket *socket); ///< the data given to http_request_upgrade
void http_upgrade_free(struct socket *socket);
#endif
