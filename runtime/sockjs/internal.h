#ifndef FOOTLIGHT_SOCKJS_INTERNAL_H
#define FOOTLIGHT_SOCKJS_INTERNAL_H
#include "base/hash.h"
#include "sockjs/endpoint.h"

/// Shared by the files of this folder only.
struct sockjs_endpoint {
    struct loop *loop;
    struct sockjs_options options;
    const struct sockjs_handler *handler;
    void *context;
    struct hash polling; ///< HTTP sessions by their id
    struct list sessions;
    size_t count;
    struct buffer iframe;
    char etag[24];
    bool refusing, freeing;
    void (*freed)(void *context);
    void *freed_context;
    struct deferred free_later;
};

enum sockjs_kind { SOCKJS_RAW, SOCKJS_WEBSOCKET, SOCKJS_POLLING };

struct sockjs_session {
    struct list link;
    struct sockjs_endpoint *endpoint;
    void *data;
    struct websocket *ws; ///< NULL for SOCKJS_POLLING, which is a struct polling (polling.c)
    uint8_t kind;
};

void sockjs_session_enter(struct sockjs_endpoint *endpoint, struct sockjs_session *session);
void sockjs_session_leave(struct sockjs_session *session);
void sockjs_websocket_serve(struct sockjs_endpoint *endpoint, struct http_request *request,
                            bool raw);
/// Delivers a payload: an array of strings, or one string. False if it is neither, or broken; then
/// nothing was delivered.
bool sockjs_deliver(struct sockjs_session *session, struct slice payload);

/// `name` is the path's last part. False if no HTTP transport is called so.
bool sockjs_polling_serve(struct sockjs_endpoint *endpoint, struct http_request *request,
                          struct slice id, struct slice name);
void sockjs_polling_send(struct sockjs_session *session, struct sockjs_message *message);
void sockjs_polling_close(struct sockjs_session *session, int code, const char *reason);
void sockjs_polling_abort(struct sockjs_session *session);
bool sockjs_polling_closing(const struct sockjs_session *session);
size_t sockjs_polling_queued(const struct sockjs_session *session);
const char *sockjs_polling_transport(const struct sockjs_session *session);

/// Headers that every session URL's answers carry.
void sockjs_add_headers(struct sockjs_endpoint *endpoint, struct http_request *request);
void sockjs_add_cors(struct sockjs_endpoint *endpoint, struct http_request *request);
bool sockjs_origin_allowed(const struct sockjs_endpoint *endpoint,
                           const struct http_request *request);
void sockjs_answer_options(struct sockjs_endpoint *endpoint, struct http_request *request,
                           const char *methods);
void sockjs_refuse_method(struct http_request *request, const char *allowed);
/// c[code,"reason"]
void sockjs_close_frame(struct buffer *out, int code, struct slice reason);
#endif
