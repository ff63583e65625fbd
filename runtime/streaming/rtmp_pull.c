#include "streaming/rtmp_pull.h"
#include <errno.h>
#include <stdio.h>
#include "base/buffer.h"
#include "base/random.h"
#include "loop/socket.h"

enum { HANDSHAKE = 1536, SILENT_MS = 15000, BEGIN_MS = 8000 };

struct rtmp_pull {
    struct socket socket; // first
    struct loop *loop;
    struct rtmp_pull_events events;
    struct rtmp_reader reader;
    struct buffer greeting; ///< S0, S1, S2 until they are whole
    struct timer timer;     ///< silence
    char app[32], address[64];
    struct buffer name;
    uint64_t received, acknowledged;
    uint32_t window;
    bool greeted, playing;
    const char *reason;
};

static struct rtmp_pull *pull_of(struct socket *socket) {
    return container_of(socket, struct rtmp_pull, socket);
}

static void send_message(struct rtmp_pull *pull, unsigned chunk_stream, uint8_t type,
                         uint32_t stream, struct buffer *body) {
    struct buffer out = {0};
    rtmp_write(&out, chunk_stream, type, stream, buffer_slice(body));
    socket_write_slice(&pull->socket, buffer_slice(&out));
    buffer_free(&out);
    buffer_free(body);
}

static void put(struct buffer *out, uint32_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--) buffer_append_char(out, (char)(value >> (8 * i)));
}

static void end(struct rtmp_pull *pull, const char *reason) {
    if (!pull->reason) pull->reason = reason;
    socket_close_now(&pull->socket, 0);
}

static void send_connect(struct rtmp_pull *pull) {
    struct buffer body = {0};
    char url[128];
    snprintf(url, sizeof url, "rtmp://%s/%s", pull->address, pull->app);
    amf_text(&body, SLICE("connect"));
    amf_number(&body, 1);
    amf_object_begin(&body);
    amf_member(&body, "app");
    amf_text(&body, slice_of(pull->app));
    amf_member(&body, "flashVer");
    amf_text(&body, SLICE("Footlight"));
    amf_member(&body, "tcUrl");
    amf_text(&body, slice_of(url));
    amf_object_end(&body);
    send_message(pull, 3, RTMP_COMMAND, 0, &body);
}

static void send_create_stream(struct rtmp_pull *pull) {
    struct buffer body = {0};
    amf_text(&body, SLICE("createStream"));
    amf_number(&body, 2);
    amf_null(&body);
    send_message(pull, 3, RTMP_COMMAND, 0, &body);
}

static void send_play(struct rtmp_pull *pull, uint32_t stream) {
    struct buffer body = {0};
    amf_text(&body, SLICE("play"));
    amf_number(&body, 3);
    amf_null(&body);
    amf_text(&body, buffer_slice(&pull->name));
    amf_number(&body, -1000); // live only
    send_message(pull, 8, RTMP_COMMAND, stream, &body);
}

/// _result of connect (1) and createStream (2), _error, onStatus.
static bool on_command(struct rtmp_pull *pull, struct slice body) {
    struct slice rest = body, name, text;
    double number, transaction;
    if (!amf_take(&rest, NULL, &number, &name) || !amf_take(&rest, NULL, &transaction, &text)) {
        end(pull, "unreadable command");
        return false;
    }
    if (slice_equal(name, SLICE("_error"))) {
        end(pull, "refused");
        return false;
    }
    if (slice_equal(name, SLICE("_result"))) {
        if ((int)transaction == 1) {
            send_create_stream(pull);
        } else if ((int)transaction == 2) {
            if (!amf_take(&rest, NULL, &number, &text) || !amf_take(&rest, NULL, &number, &text) ||
                !(number >= 1 && number < 1e6)) {
                end(pull, "unreadable command");
                return false;
            }
            send_play(pull, (uint32_t)number);
        }
    } else if (slice_equal(name, SLICE("onStatus"))) {
        if (!amf_take(&rest, NULL, &number, &text) || !amf_take(&rest, "code", &number, &text)) {
            return true; // nginx-rtmp tells things that we need not know
        }
        if (slice_equal(text, SLICE("NetStream.Play.StreamNotFound")) ||
            slice_equal(text, SLICE("NetStream.Play.Stop")) ||
            slice_equal(text, SLICE("NetStream.Play.UnpublishNotify"))) {
            end(pull, "the stream ended");
            return false;
        }
    }
    return true;
}

static bool on_message(void *context, const struct rtmp_message *message) {
    struct rtmp_pull *pull = context;
    const unsigned char *bytes = (const unsigned char *)message->body.data;
    struct buffer body = {0};
    switch (message->type) {
    case RTMP_WINDOW_SIZE:
        if (message->body.size >= 4) {
            pull->window = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
                           (uint32_t)bytes[2] << 8 | bytes[3];
        }
        break;
    case RTMP_USER_CONTROL:
        if (message->body.size >= 6 && bytes[0] == 0 && bytes[1] == 6) { // ping: answer with 7
            put(&body, 7, 2);
            buffer_append_slice(&body, slice_sub(message->body, 2, 4));
            send_message(pull, 2, RTMP_USER_CONTROL, 0, &body);
        }
        break;
    case RTMP_COMMAND:
        return on_command(pull, message->body);
    case RTMP_AUDIO:
    case RTMP_VIDEO:
    case RTMP_DATA:
        pull->playing = true;
        pull->events.on_media(pull->events.context, message);
        break;
    default:
        break;
    }
    return !pull->reason;
}

static void on_data(struct socket *socket, const char *data, size_t size) {
    struct rtmp_pull *pull = pull_of(socket);
    pull->received += size;
    if (!pull->greeted) {
        buffer_append(&pull->greeting, data, size);
        if (pull->greeting.size < 1 + 2 * HANDSHAKE) return;
        if (pull->greeting.data[0] != 3) {
            end(pull, "another protocol");
            return;
        }
        socket_write(&pull->socket, pull->greeting.data + 1, HANDSHAKE); // C2 is S1
        send_connect(pull);
        pull->greeted = true;
        buffer_consume(&pull->greeting, 1 + 2 * HANDSHAKE);
        const char *error =
            rtmp_reader_feed(&pull->reader, pull->greeting.data, pull->greeting.size);
        buffer_free(&pull->greeting);
        if (error) end(pull, error);
        return;
    }
    const char *error = rtmp_reader_feed(&pull->reader, data, size);
    if (error) {
        end(pull, error);
        return;
    }
    if (pull->reason) return;
    if (pull->playing) loop_timer_start(pull->loop, &pull->timer, SILENT_MS);
    if (pull->window > 0 && pull->received - pull->acknowledged >= pull->window / 2) {
        struct buffer body = {0};
        pull->acknowledged = pull->received;
        put(&body, (uint32_t)pull->received, 4);
        send_message(pull, 2, RTMP_ACKNOWLEDGE, 0, &body);
    }
}

static void on_connect(struct socket *socket) {
    char hello[1 + HANDSHAKE] = {3};
    random_bytes(hello + 9, HANDSHAKE - 8); // time and version are zero: the plain handshake
    socket_write(socket, hello, sizeof hello);
}

static void finish(struct rtmp_pull *pull) {
    loop_timer_stop(pull->loop, &pull->timer);
    pull->events.on_end(pull->events.context, pull->reason ? pull->reason : "closed");
    rtmp_reader_free(&pull->reader);
    buffer_free(&pull->greeting);
    buffer_free(&pull->name);
    memory_free(pull);
}

static void on_close(struct socket *socket, int error) {
    struct rtmp_pull *pull = pull_of(socket);
    if (error && !pull->reason) pull->reason = "connection lost";
    finish(pull);
}

static const struct socket_events events = {
    .on_data = on_data, .on_close = on_close, .on_connect = on_connect};

static void on_silence(struct timer *timer) {
    end(container_of(timer, struct rtmp_pull, timer), "silent");
}

static void on_failed(struct timer *timer) {
    finish(container_of(timer, struct rtmp_pull, timer));
}

struct rtmp_pull *rtmp_pull_start(struct loop *loop, const char *address, const char *app,
                                  struct slice name, const struct rtmp_pull_events *callbacks) {
    struct rtmp_pull *pull = memory_zero(1, sizeof *pull);
    pull->loop = loop;
    pull->events = *callbacks;
    rtmp_reader_init(&pull->reader, on_message, pull);
    snprintf(pull->app, sizeof pull->app, "%s", app);
    snprintf(pull->address, sizeof pull->address, "%s", address);
    buffer_append_slice(&pull->name, name);

    char host[64];
    struct slice whole = slice_of(pull->address);
    size_t colon = slice_find(whole, ':', 0);
    uint64_t port = 0;
    memcpy(host, whole.data, colon);
    host[colon] = '\0';
    if (!slice_to_u64(slice_sub(whole, colon + 1, whole.size), &port) || port == 0 ||
        port > 65535 || socket_connect_tcp(loop, &pull->socket, host, (int)port, &events) != 0) {
        pull->reason = "no connection";
        timer_init(&pull->timer, on_failed);
        loop_timer_start(loop, &pull->timer, 0);
        return pull;
    }
    timer_init(&pull->timer, on_silence);
    loop_timer_start(loop, &pull->timer, BEGIN_MS);
    return pull;
}

void rtmp_pull_stop(struct rtmp_pull *pull) {
    if (!pull->reason) pull->reason = "stopped";
    if (pull->timer.fire == on_silence) socket_close_now(&pull->socket, 0);
}
