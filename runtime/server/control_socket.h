#ifndef FOOTLIGHT_SERVER_CONTROL_SOCKET_H
#define FOOTLIGHT_SERVER_CONTROL_SOCKET_H
#include "server/process.h"

/// The supervisor's control socket, <var>/run/footlight.sock (mode 0600): one line in ("status" or
/// "reload"), one line of JSON out:
///   {"version":…,"pid":…,"uptime_s":…,"services":[{"service":"web","instance":1,"address":…,
///    "pid":…,"running":true,"restarts":0,"report":{…}|null}, …]}
/// A service's report is what server/service.c sends: generation, error, connections …
struct control_socket;
struct control_socket *
control_socket_new(struct loop *loop, const struct config *config,
                   struct list *processes); ///< NULL with a logged reason on failure
void control_socket_answered(
    struct control_socket *control); ///< a process answered (process.on_answer)
void control_socket_free(struct control_socket *control);

void control_socket_path(const struct settings *settings, char *out, size_t size);
/// The client's side, for commands: blocks, at most half a minute (a reload may take its time).
/// 0 and the line in `answer`, or -errno.
int control_socket_ask(const struct settings *settings, const char *question,
                       struct buffer *answer);
#endif
