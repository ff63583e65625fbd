#ifndef FOOTLIGHT_SOCKJS_SESSION_H
#define FOOTLIGHT_SOCKJS_SESSION_H
#include "sockjs/message.h"

/// One client, whatever carries it: a raw WebSocket, a SockJS WebSocket, or a SockJS session that
/// hops from one HTTP request to the next. Its owner cannot tell them apart, and need not.
struct sockjs_session;

struct sockjs_handler {
    /// A client has come. `remote` is its address, valid inside the call. The owner may set the
    /// session's data, send and close in here.
    void (*on_open)(void *context, struct sockjs_session *session, const char *remote);
    /// A message: UTF-8 unless `binary`, which only raw WebSockets can send.
    void (*on_message)(struct sockjs_session *session, struct slice message, bool binary);
    /// The last call, exactly one, never inside a call on the session. `code` as in websocket_events;
    /// 1002 when an HTTP client broke off a request, 1006 when it stayed away.
    void (*on_close)(struct sockjs_session *session, int code, struct slice reason);
};

void *sockjs_session_data(const struct sockjs_session *session);
void sockjs_session_set_data(struct sockjs_session *session, void *data);

/// Sends; shares the message. Ignored once the session is closing. A client that lets too much
/// pile up is cut off (on_close follows).
void sockjs_session_send(struct sockjs_session *session, struct sockjs_message *message);
/// Sends several, at once where nothing is queued. Only where nothing else goes to this session now.
void sockjs_session_send_bundle(struct sockjs_session *session, struct sockjs_bundle *bundle);
void sockjs_session_send_text(struct sockjs_session *session, struct slice text);
/// For echoing what came; binary is for raw WebSockets only.
void sockjs_session_send_binary(struct sockjs_session *session, struct slice bytes);
/// Closes after what was sent: 1000, or 3000 to 4999.
void sockjs_session_close(struct sockjs_session *session, int code, const char *reason);
void sockjs_session_abort(struct sockjs_session *session); ///< drops what is queued
bool sockjs_session_closing(const struct sockjs_session *session);
/// Bytes that wait for this client.
size_t sockjs_session_queued(const struct sockjs_session *session);
/// "websocket" (raw), "sockjs-websocket", "xhr_streaming" …: for metrics.
const char *sockjs_session_transport(const struct sockjs_session *session);
#endif
