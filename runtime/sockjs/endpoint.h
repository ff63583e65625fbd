#ifndef FOOTLIGHT_SOCKJS_ENDPOINT_H
#define FOOTLIGHT_SOCKJS_ENDPOINT_H
#include "http/request.h"
#include "sockjs/session.h"
#include "websocket/connection.h"

struct sockjs_relay;

/// SockJS 0.3.3 under one path prefix: greeting, info, iframe, all transports, raw WebSocket.
/// Zero members take the default in brackets. Texts must outlive the endpoint.
struct sockjs_options {
    const char *prefix;       ///< "/realtime/sockjs", no slash at the end
    const char *script_url;   ///< sockjs-client for the iframe page ("/assets/sockjs.min.js")
    const char *origins;      ///< allowed besides the own host, comma-separated; "*": any
    const char *base_url;     ///< where /info sends clients to, or NULL (sticky routing)
    size_t response_limit;    ///< a streaming response ends after so many bytes (128 KiB)
    size_t body_limit;        ///< of an xhr_send (128 KiB)
    size_t queue_limit;       ///< bytes that may wait for one client (256 KiB)
    size_t session_limit;     ///< HTTP sessions at a time (10,000)
    unsigned heartbeat_ms;    ///< (25 s)
    unsigned disconnect_ms;   ///< an HTTP session without a request for so long is over (5 s)
    bool websocket_off, cookie;
    struct websocket_options websocket;
    struct sockjs_relay *relay; ///< to the instances that other sessions live on (relay.h), or NULL
};

struct sockjs_endpoint;
struct sockjs_endpoint *sockjs_endpoint_new(struct loop *loop, const struct sockjs_options *options,
                                            const struct sockjs_handler *handler, void *context);
/// Serves the request if its path lies under the prefix; false if it does not.
bool sockjs_endpoint_serve(struct sockjs_endpoint *endpoint, struct http_request *request);
/// Serves a raw WebSocket at a path of the caller's.
void sockjs_endpoint_serve_raw(struct sockjs_endpoint *endpoint, struct http_request *request);
size_t sockjs_endpoint_sessions(const struct sockjs_endpoint *endpoint); ///< all transports
/// While refusing, new sessions are answered 503; those that exist go on.
void sockjs_endpoint_refuse(struct sockjs_endpoint *endpoint, bool refusing);
/// Aborts every session; on_close of each comes from the loop, and `freed` after the last. No
/// request may be served afterwards.
void sockjs_endpoint_free(struct sockjs_endpoint *endpoint, void (*freed)(void *context),
                          void *context);
#endif
