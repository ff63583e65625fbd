#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "loop/socket.h"
#include "streaming/internal.h"

// nginx's control and stat pages, by plain HTTP/1.0 on a connection for each question: they answer
// within two milliseconds, and a connection that is kept would have to be given up at each reload.

enum { CALL_MS = 3000, PAGE_LIMIT = 16 * 1024 * 1024, DROP_AGAIN_MS = 500, DROPS = 6 };

struct control_call {
    struct socket socket; // first: on_close frees the whole
    struct list link;
    struct streaming *streaming; ///< held
    struct buffer page;
    struct timer timer;
    bool too_long;
    void (*done)(struct streaming *streaming, int status, struct slice body, void *context);
    void *context;
};

static struct control_call *call_of(struct socket *socket) {
    return container_of(socket, struct control_call, socket);
}

static void on_connect(struct socket *socket) { (void)socket; }

static void on_data(struct socket *socket, const char *data, size_t size) {
    struct control_call *call = call_of(socket);
    if (call->page.size + size > PAGE_LIMIT) {
        socket_close_now(socket, -EMSGSIZE);
        return;
    }
    buffer_append(&call->page, data, size);
}

static void finish(struct control_call *call) {
    // "HTTP/1.1 200 OK\r\n…\r\n\r\nbody"
    struct slice page = buffer_slice(&call->page), body = {0};
    uint64_t status = 0;
    size_t end = slice_search(page, SLICE("\r\n\r\n"));
    if (end < page.size && slice_starts(page, SLICE("HTTP/1.")) &&
        slice_to_u64(slice_sub(page, 9, 3), &status)) {
        body = slice_sub(page, end + 4, page.size);
    }
    struct streaming *streaming = call->streaming;
    list_remove(&call->link);
    loop_timer_stop(streaming->loop, &call->timer);
    call->done(streaming, (int)status, body, call->context);
    buffer_free(&call->page);
    memory_free(call);
    streaming_release(streaming);
}

static void on_close(struct socket *socket, int error) {
    struct control_call *call = call_of(socket);
    if (error != 0) buffer_clear(&call->page, 0); // half a page is no page
    finish(call);
}

static const struct socket_events events = {
    .on_data = on_data, .on_close = on_close, .on_connect = on_connect};

static void on_timeout(struct timer *timer) {
    struct control_call *call = container_of(timer, struct control_call, timer);
    socket_close_now(&call->socket, -ETIMEDOUT);
}

/// A call that could not even begin: reported by the timer, never inside control_get.
static void on_failed(struct timer *timer) {
    finish(container_of(timer, struct control_call, timer));
}

void control_get(struct streaming *streaming, const char *url,
                 void (*done)(struct streaming *streaming, int status, struct slice body,
                              void *context),
                 void *context) {
    struct control_call *call = memory_zero(1, sizeof *call);
    call->streaming = streaming;
    call->done = done;
    call->context = context;
    streaming_hold(streaming);
    list_push_back(&streaming->calls, &call->link);
    timer_init(&call->timer, on_failed);

    struct slice rest = slice_of(url), host;
    uint64_t port = 80;
    char address[64];
    int status = -EINVAL;
    if (slice_starts(rest, SLICE("http://"))) {
        rest = slice_sub(rest, 7, rest.size);
        size_t slash = slice_find(rest, '/', 0), colon = slice_find(rest, ':', 0);
        host = slice_sub(rest, 0, colon < slash ? colon : slash);
        bool numbered = colon >= slash ||
                        slice_to_u64(slice_sub(rest, colon + 1, slash - colon - 1), &port);
        if (host.size > 0 && host.size < sizeof address && numbered && port < 65536) {
            memcpy(address, host.data, host.size);
            address[host.size] = '\0';
            status = socket_connect_tcp(streaming->loop, &call->socket, address, (int)port, &events);
            rest = slice_sub(rest, slash, rest.size);
        }
    }
    if (status != 0) {
        loop_timer_start(streaming->loop, &call->timer, 0);
        return;
    }
    call->timer.fire = on_timeout;
    loop_timer_start(streaming->loop, &call->timer, CALL_MS);
    struct buffer head = {0};
    buffer_append_text(&head, "GET ");
    buffer_append_slice(&head, rest);
    buffer_append_text(&head, " HTTP/1.0\r\nHost: ");
    buffer_append_slice(&head, host);
    buffer_append_text(&head, "\r\nConnection: close\r\n\r\n");
    socket_write_slice(&call->socket, buffer_slice(&head));
    buffer_free(&head);
}

void control_free(struct streaming *streaming) {
    list_each(&streaming->calls, node) {
        struct control_call *call = container_of(node, struct control_call, link);
        if (call->timer.fire == on_timeout) socket_close_now(&call->socket, -ECANCELED);
    }
}

static void on_dropped(struct streaming *streaming, int status, struct slice body, void *context) {
    struct session *session = context;
    if (!session->dead && session->state == SESSION_OPEN &&
        (status != 200 || slice_equal(slice_trim(body), SLICE("0")))) {
        // Not joined to its stream yet, or a session of a worker from before a reload, which this
        // page cannot see: its next update is refused. Until then try again.
        if (session->drops < DROPS) {
            loop_timer_start(streaming->loop, &session->timer, DROP_AGAIN_MS);
        } else {
            log_warn("streaming.undropped", LOG_TEXT("session", session->id),
                     LOG_INT("status", status));
        }
    }
    session_release(session);
}

void control_drop_url(const struct media_host *host, uint64_t client, char out[256]) {
    snprintf(out, 256, "%s/drop/client?clientid=%llu", host->control_url,
             (unsigned long long)client);
}

void control_drop(struct session *session) {
    struct streaming *streaming = session->streaming;
    char url[256];
    // The numbers of another boot belong to other clients by now.
    if (!session->host || strcmp(session->boot, session->host->boot) != 0) return;
    session->drops++;
    control_drop_url(session->host, session->client, url);
    session_hold(session);
    control_get(streaming, url, on_dropped, session);
}
