#ifndef FOOTLIGHT_SOCKJS_INTERNAL_H
#define FOOTLIGHT_SOCKJS_INTERNAL_H
#include "base/hash.h"
#include "sockjs/endpoint.h"
#include "sockjs/relay.h"

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

// transports.c
enum { SOCKJS_CALLBACK_MAX = 32, SOCKJS_HIGH_WATER = 64 * 1024 };
struct sockjs_transport {
    const char *name, *type;
    bool post, streaming, callback;
    void (*prelude)(struct buffer *out, const char *callback);
    void (*format)(struct buffer *out, const char *callback, struct slice frame);
};
const struct sockjs_transport *sockjs_transport_find(struct slice name); ///< or NULL

/// The request that carries a session's frames: one of ours, or one that another instance holds
/// (relay.c). It ends, and is freed, with respond, end or abort; or when its client leaves.
struct sockjs_receiver {
    const struct sockjs_transport *transport;
    struct sockjs_session *session; ///< NULL: none, e.g. because there is a receiver already
    struct http_request *request;   ///< ours, or NULL
    struct sockjs_relay *relay;     ///< of another instance's
    char *key;                      ///< its node and number there, as in the relay's table
    size_t unread;                  ///< bytes on their way to it
    bool awaits_drain;
    char callback[SOCKJS_CALLBACK_MAX + 1];
};
struct sockjs_receiver *sockjs_receiver_new(struct http_request *request,
                                            const struct sockjs_transport *transport,
                                            const char *callback);
void sockjs_receiver_begin(struct sockjs_receiver *receiver); ///< streaming only
void sockjs_receiver_respond(struct sockjs_receiver *receiver, struct slice bytes);
size_t sockjs_receiver_write(struct sockjs_receiver *receiver, struct slice bytes);
void sockjs_receiver_await_drain(struct sockjs_receiver *receiver);
void sockjs_receiver_end(struct sockjs_receiver *receiver);
void sockjs_receiver_abort(struct sockjs_receiver *receiver);

// polling.c
/// `name` is the path's last part. False if no HTTP transport is called so.
bool sockjs_polling_serve(struct sockjs_endpoint *endpoint, struct http_request *request,
                          struct slice id, struct slice name);
void sockjs_polling_send(struct sockjs_session *session, struct sockjs_message *message);
void sockjs_polling_close(struct sockjs_session *session, int code, const char *reason);
void sockjs_polling_abort(struct sockjs_session *session);
bool sockjs_polling_closing(const struct sockjs_session *session);
size_t sockjs_polling_queued(const struct sockjs_session *session);
const char *sockjs_polling_transport(const struct sockjs_session *session);
bool sockjs_polling_knows(const struct sockjs_endpoint *endpoint, struct slice id);
bool sockjs_polling_refuses(const struct sockjs_endpoint *endpoint); ///< a new session
void sockjs_polling_refuse(struct http_request *request);
/// Makes the session if there is none.
void sockjs_polling_attach(struct sockjs_endpoint *endpoint, struct slice id,
                           struct sockjs_receiver *receiver, const char *remote);
void sockjs_polling_drained(struct sockjs_session *session); ///< its receiver has
void sockjs_polling_gone(struct sockjs_session *session);    ///< its receiver is
enum sockjs_body { SOCKJS_BODY_XHR, SOCKJS_BODY_JSONP, SOCKJS_BODY_FORM };
enum sockjs_taken {
    SOCKJS_TAKEN, SOCKJS_TAKEN_JSONP, SOCKJS_EMPTY, SOCKJS_BROKEN, SOCKJS_NO_SESSION
};
enum sockjs_taken sockjs_polling_take(struct sockjs_endpoint *endpoint, struct slice id,
                                      enum sockjs_body form, struct slice body);
void sockjs_polling_answer(struct http_request *request, enum sockjs_taken taken);

// relay.c
/// For requests of a session that is not here: finds where it is, and begins it here if it is
/// nowhere (receive) or answers 404 (take).
void sockjs_relay_receive(struct sockjs_endpoint *endpoint, struct http_request *request,
                          struct slice id, const struct sockjs_transport *transport,
                          const char *callback);
void sockjs_relay_take(struct sockjs_endpoint *endpoint, struct http_request *request,
                       struct slice id, enum sockjs_body form, struct slice body);
void sockjs_relay_keep(struct sockjs_endpoint *endpoint, struct slice id);
void sockjs_relay_release(struct sockjs_endpoint *endpoint, struct slice id);
void sockjs_relay_add(struct sockjs_relay *relay, struct sockjs_endpoint *endpoint);
/// What the other instance is to do with its request: "write", "end" and so on.
void sockjs_relay_tell(struct sockjs_receiver *receiver, const char *what, struct slice bytes);
void sockjs_relay_forget(struct sockjs_receiver *receiver);

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
