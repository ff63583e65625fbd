#include "base/escape.h"
#include "websocket/handshake.h"
#include "websocket/sha1.h"

static bool list_has(struct slice list, struct slice word) {
    struct slice part;
    while (slice_next(&list, ',', &part))
        if (slice_equal_fold(slice_trim(part), word)) return true;
    return false;
}

static bool window_bits(struct slice value, uint64_t *bits) {
    if (value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"')
        value = slice_sub(value, 1, value.size - 2);
    if (value.size == 0 || value.data[0] == '0') return false;
    return slice_to_u64(value, bits) && *bits >= 8 && *bits <= 15;
}

/// The window that the offer leaves us, in bits; 0 if it cannot be taken.
static unsigned offer_window(struct slice offer) {
    struct slice part;
    unsigned window = 15;
    if (!slice_next(&offer, ';', &part) ||
        !slice_equal_fold(slice_trim(part), SLICE("permessage-deflate")))
        return 0;
    unsigned seen = 0;
    while (slice_next(&offer, ';', &part)) {
        part = slice_trim(part);
        size_t equals = slice_find(part, '=', 0);
        struct slice name = slice_trim(slice_sub(part, 0, equals));
        bool valued = equals < part.size;
        struct slice value = slice_trim(slice_sub(part, equals + 1, part.size));
        uint64_t bits = 15;
        unsigned flag;
        if (slice_equal_fold(name, SLICE("server_no_context_takeover")) && !valued) {
            flag = 1;
        } else if (slice_equal_fold(name, SLICE("client_no_context_takeover")) && !valued) {
            flag = 2;
        } else if (slice_equal_fold(name, SLICE("client_max_window_bits"))) {
            if (valued && !window_bits(value, &bits)) return 0;
            flag = 4; // we inflate with the largest window, so any of the client's will do
        } else if (slice_equal_fold(name, SLICE("server_max_window_bits"))) {
            if (!valued || !window_bits(value, &bits)) return 0;
            window = (unsigned)bits;
            flag = 8;
        } else {
            return 0;
        }
        if (seen & flag) return 0; // RFC 7692, 7.1: a parameter twice makes the offer invalid
        seen |= flag;
    }
    return window;
}

unsigned websocket_handshake_window(struct slice extensions) {
    struct slice offer;
    unsigned smaller = 0;
    while (slice_next(&extensions, ',', &offer)) {
        unsigned window = offer_window(slice_trim(offer));
        if (window == WEBSOCKET_WINDOW) return window;
        if (smaller == 0) smaller = window;
    }
    return smaller;
}

static void refuse(struct websocket_handshake *result, int status, const char *problem) {
    result->status = status;
    result->problem = problem;
}

void websocket_handshake_check(const struct http_request *request, bool deflate,
                               const char *protocols, struct websocket_handshake *result) {
    *result = (struct websocket_handshake){.status = 101};
    if (!slice_equal(request->method, SLICE("GET"))) {
        refuse(result, 405, "");
        return;
    }
    // The two sentences are those of the SockJS reference, which its protocol tests look for.
    if (!list_has(http_request_header(request, "upgrade"), SLICE("websocket"))) {
        refuse(result, 400, "Can \"Upgrade\" only to \"WebSocket\".\n");
        return;
    }
    if (!list_has(http_request_header(request, "connection"), SLICE("upgrade"))) {
        refuse(result, 400, "\"Connection\" must be \"Upgrade\".\n");
        return;
    }
    if (request->http10 || request->has_body) {
        refuse(result, 400, "A WebSocket handshake is an HTTP/1.1 GET without a body.\n");
        return;
    }
    // 7 and 8 are drafts with the same frames and handshake, which the SockJS protocol asks for.
    struct slice version = http_request_header(request, "sec-websocket-version");
    if (!slice_equal(version, SLICE("13")) && !slice_equal(version, SLICE("8")) &&
        !slice_equal(version, SLICE("7"))) {
        refuse(result, 426, "Sec-WebSocket-Version must be 13.\n");
        return;
    }
    struct buffer key = {0};
    bool good = unescape_base64(&key, http_request_header(request, "sec-websocket-key")) &&
                key.size == 16;
    buffer_free(&key);
    if (!good) {
        refuse(result, 400, "Sec-WebSocket-Key must be 16 bytes in base64.\n");
        return;
    }
    if (deflate)
        result->window = websocket_handshake_window(
            http_request_header(request, "sec-websocket-extensions"));
    struct slice ours = slice_of(protocols), protocol;
    struct slice theirs = http_request_header(request, "sec-websocket-protocol");
    while (theirs.size > 0 && slice_next(&ours, ',', &protocol))
        if (list_has(theirs, slice_trim(protocol))) {
            result->protocol = slice_trim(protocol);
            break;
        }
}

void websocket_handshake_accept(struct slice key, struct buffer *out) {
    struct buffer text = {0};
    buffer_append_slice(&text, key);
    buffer_append_text(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    uint8_t digest[SHA1_SIZE];
    sha1(buffer_slice(&text), digest);
    escape_base64(out, slice_make(digest, sizeof digest));
    buffer_free(&text);
}

void websocket_handshake_answer(const struct http_request *request,
                                const struct websocket_handshake *result, struct buffer *out) {
    buffer_append_text(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Accept: ");
    websocket_handshake_accept(http_request_header(request, "sec-websocket-key"), out);
    if (result->window)
        buffer_append_text(out, "\r\nSec-WebSocket-Extensions: permessage-deflate; "
                                "server_no_context_takeover; client_no_context_takeover");
    if (result->window && result->window < WEBSOCKET_WINDOW)
        buffer_printf(out, "; server_max_window_bits=%u", result->window);
    if (result->protocol.size > 0) {
        buffer_append_text(out, "\r\nSec-WebSocket-Protocol: ");
        buffer_append_slice(out, result->protocol);
    }
    buffer_append_text(out, "\r\n\r\n");
}
