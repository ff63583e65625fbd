#include <stdio.h>
#include "base/clock.h"
#include "base/escape.h"
#include "base/memory.h"
#include "base/random.h"
#include "http/response.h"
#include "sockjs/internal.h"

enum { YEAR = 31536000, ECHOED_HEADER_MAX = 1024, SESSION_ID_MAX = 256 };

static void on_free(struct deferred *deferred) {
    struct sockjs_endpoint *endpoint = container_of(deferred, struct sockjs_endpoint, free_later);
    void (*freed)(void *) = endpoint->freed;
    void *context = endpoint->freed_context;
    hash_free(&endpoint->polling);
    buffer_free(&endpoint->iframe);
    memory_free(endpoint);
    if (freed) freed(context);
}

static void write_iframe(struct sockjs_endpoint *endpoint) {
    struct buffer *page = &endpoint->iframe;
    buffer_append_text(page,
        "<!DOCTYPE html>\n<html>\n<head>\n"
        "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
        "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n"
        "  <script>\n    document.domain = document.domain;\n"
        "    _sockjs_onload = function(){SockJS.bootstrap_iframe();};\n  </script>\n"
        "  <script src=\"");
    escape_html(page, slice_of(endpoint->options.script_url));
    buffer_append_text(page,
        "\"></script>\n</head>\n<body>\n  <h2>Don't panic!</h2>\n"
        "  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>\n"
        "</body>\n</html>\n");
    // FNV-1a: the tag must be the same in every process, which the keyed hash_bytes() is not.
    uint64_t tag = 14695981039346656037u;
    for (size_t i = 0; i < page->size; i++)
        tag = (tag ^ (unsigned char)page->data[i]) * 1099511628211u;
    snprintf(endpoint->etag, sizeof endpoint->etag, "\"%016llx\"", (unsigned long long)tag);
}

#define DEFAULT(member, value)                                                                     \
    if (!endpoint->options.member) endpoint->options.member = (value)

struct sockjs_endpoint *sockjs_endpoint_new(struct loop *loop, const struct sockjs_options *options,
                                            const struct sockjs_handler *handler, void *context) {
    struct sockjs_endpoint *endpoint = memory_zero(1, sizeof *endpoint);
    endpoint->loop = loop;
    endpoint->options = *options;
    endpoint->handler = handler;
    endpoint->context = context;
    DEFAULT(script_url, "/assets/sockjs.min.js");
    DEFAULT(response_limit, 128 * 1024);
    DEFAULT(body_limit, 128 * 1024);
    DEFAULT(queue_limit, 256 * 1024);
    DEFAULT(session_limit, 10000);
    DEFAULT(heartbeat_ms, 25000);
    DEFAULT(disconnect_ms, 5000);
    list_init(&endpoint->sessions);
    deferred_init(&endpoint->free_later, on_free);
    write_iframe(endpoint);
    if (options->relay) sockjs_relay_add(options->relay, endpoint);
    return endpoint;
}

size_t sockjs_endpoint_sessions(const struct sockjs_endpoint *endpoint) { return endpoint->count; }

void sockjs_endpoint_refuse(struct sockjs_endpoint *endpoint, bool refusing) {
    endpoint->refusing = refusing;
}

void sockjs_endpoint_free(struct sockjs_endpoint *endpoint, void (*freed)(void *context),
                          void *context) {
    endpoint->refusing = endpoint->freeing = true;
    endpoint->freed = freed;
    endpoint->freed_context = context;
    list_each(&endpoint->sessions, node)
        sockjs_session_abort(container_of(node, struct sockjs_session, link));
    if (endpoint->count == 0) loop_defer(endpoint->loop, &endpoint->free_later);
}

// ---- headers ---------------------------------------------------------------------------------

static void header(struct http_request *request, const char *name, struct slice value) {
    http_response_header(request, slice_of(name), value);
}

static void not_cached(struct http_request *request) {
    header(request, "cache-control", SLICE("no-store, no-cache, must-revalidate, max-age=0"));
}

static void cached(struct http_request *request) {
    char expires[CLOCK_HTTP_DATE_SIZE];
    clock_http_date(clock_wall_s() + YEAR, expires);
    header(request, "cache-control", SLICE("public, max-age=31536000"));
    header(request, "expires", slice_of(expires));
}

static void add_cookie(struct sockjs_endpoint *endpoint, struct http_request *request) {
    if (!endpoint->options.cookie) return;
    // Load balancers key on it. Echoed back if it is set already, and if it is what such cookies
    // are made of; anything else could carry attributes or further headers along.
    struct slice value = http_request_cookie(request, "JSESSIONID");
    bool plain = value.size > 0 && value.size <= 128;
    for (size_t i = 0; plain && i < value.size; i++) {
        char c = value.data[i];
        plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '.' || c == '_' || c == '-' || c == '!';
    }
    if (!plain) value = SLICE("dummy");
    char *cookie = arena_printf(&request->arena, "JSESSIONID=%.*s; path=/", SLICE_FORMAT(value));
    header(request, "set-cookie", slice_of(cookie));
}

void sockjs_add_headers(struct sockjs_endpoint *endpoint, struct http_request *request) {
    not_cached(request);
    header(request, "x-content-type-options", SLICE("nosniff"));
    header(request, "x-accel-buffering", SLICE("no")); // nginx: pass streamed frames on at once
    add_cookie(endpoint, request);
}

void sockjs_add_cors(struct sockjs_endpoint *endpoint, struct http_request *request) {
    (void)endpoint;
    struct slice origin = http_request_header(request, "origin");
    if (origin.size == 0 || slice_equal(origin, SLICE("null"))) origin = SLICE("*");
    else header(request, "vary", SLICE("Origin"));
    header(request, "access-control-allow-origin", origin);
    header(request, "access-control-allow-credentials", SLICE("true"));
    struct slice wanted = http_request_header(request, "access-control-request-headers");
    if (wanted.size > 0 && wanted.size <= ECHOED_HEADER_MAX)
        header(request, "access-control-allow-headers", wanted);
}

bool sockjs_origin_allowed(const struct sockjs_endpoint *endpoint,
                           const struct http_request *request) {
    struct slice origin = http_request_header(request, "origin");
    struct slice list = slice_of(endpoint->options.origins), one;
    if (!origin.data || slice_equal(list, SLICE("*"))) return true; // not a browser, or anyone may
    size_t scheme = slice_search(origin, SLICE("://"));
    if (scheme < origin.size &&
        slice_equal_fold(slice_sub(origin, scheme + 3, origin.size), request->host))
        return true;
    while (slice_next(&list, ',', &one))
        if (slice_equal_fold(slice_trim(one), origin)) return true;
    return false;
}

void sockjs_answer_options(struct sockjs_endpoint *endpoint, struct http_request *request,
                           const char *methods) {
    if (!sockjs_origin_allowed(endpoint, request)) {
        http_respond_status(request, 403);
        return;
    }
    cached(request);
    add_cookie(endpoint, request);
    sockjs_add_cors(endpoint, request);
    header(request, "access-control-allow-methods", slice_of(methods));
    header(request, "access-control-max-age", SLICE("31536000"));
    http_respond(request, 204, NULL, (struct slice){0});
}

void sockjs_refuse_method(struct http_request *request, const char *allowed) {
    header(request, "allow", slice_of(allowed));
    http_respond(request, 405, NULL, (struct slice){0});
}

// ---- pages -----------------------------------------------------------------------------------

static bool only_get(struct http_request *request) {
    if (slice_equal(request->method, SLICE("GET"))) return true;
    sockjs_refuse_method(request, "GET");
    return false;
}

static void serve_info(struct sockjs_endpoint *endpoint, struct http_request *request) {
    if (slice_equal(request->method, SLICE("OPTIONS"))) {
        sockjs_answer_options(endpoint, request, "OPTIONS, GET");
        return;
    }
    if (!slice_equal(request->method, SLICE("GET"))) {
        sockjs_refuse_method(request, "OPTIONS, GET");
        return;
    }
    not_cached(request);
    if (sockjs_origin_allowed(endpoint, request)) sockjs_add_cors(endpoint, request);
    uint32_t entropy;
    random_bytes(&entropy, sizeof entropy);
    struct buffer info = {0};
    buffer_printf(&info, "{\"websocket\":%s,\"origins\":[\"*:*\"],\"cookie_needed\":%s,\"entropy\":%u",
                  endpoint->options.websocket_off ? "false" : "true",
                  endpoint->options.cookie ? "true" : "false", entropy);
    if (endpoint->options.base_url) {
        buffer_append_text(&info, ",\"base_url\":");
        sockjs_quote(&info, slice_of(endpoint->options.base_url));
    }
    buffer_append_char(&info, '}');
    http_respond(request, 200, "application/json; charset=UTF-8", buffer_slice(&info));
    buffer_free(&info);
}

static void serve_iframe(struct sockjs_endpoint *endpoint, struct http_request *request) {
    if (!only_get(request)) return;
    cached(request);
    header(request, "etag", slice_of(endpoint->etag));
    if (slice_equal(http_request_header(request, "if-none-match"), slice_of(endpoint->etag)))
        http_respond(request, 304, NULL, (struct slice){0});
    else
        http_respond(request, 200, "text/html; charset=UTF-8", buffer_slice(&endpoint->iframe));
}

/// /iframe.html, and /iframe-VERSION.html of letters, digits, dots and dashes.
static bool is_iframe(struct slice rest) {
    if (slice_equal(rest, SLICE("/iframe.html"))) return true;
    return slice_starts(rest, SLICE("/iframe-")) && slice_ends(rest, SLICE(".html")) &&
           slice_find(rest, '/', 1) == rest.size;
}

static bool part_valid(struct slice part) {
    return part.size > 0 && part.size <= SESSION_ID_MAX && slice_find(part, '.', 0) == part.size;
}

static bool serve_session(struct sockjs_endpoint *endpoint, struct http_request *request,
                          struct slice rest) {
    struct slice empty, server, id, name, more;
    if (!slice_next(&rest, '/', &empty) || empty.size > 0) return false;
    if (!slice_next(&rest, '/', &server) || !slice_next(&rest, '/', &id) ||
        !slice_next(&rest, '/', &name) || slice_next(&rest, '/', &more))
        return false;
    if (!part_valid(server) || !part_valid(id)) return false;
    if (slice_equal(name, SLICE("websocket"))) {
        sockjs_websocket_serve(endpoint, request, false);
        return true;
    }
    return sockjs_polling_serve(endpoint, request, id, name);
}

bool sockjs_endpoint_serve(struct sockjs_endpoint *endpoint, struct http_request *request) {
    struct slice prefix = slice_of(endpoint->options.prefix);
    if (!slice_starts(request->path, prefix)) return false;
    struct slice rest = slice_sub(request->path, prefix.size, request->path.size);
    if (rest.size > 0 && rest.data[0] != '/') return false;
    if (rest.size <= 1) {
        if (only_get(request))
            http_respond(request, 200, "text/plain; charset=UTF-8", SLICE("Welcome to SockJS!\n"));
    } else if (slice_equal(rest, SLICE("/info"))) {
        serve_info(endpoint, request);
    } else if (is_iframe(rest)) {
        serve_iframe(endpoint, request);
    } else if (slice_equal(rest, SLICE("/websocket"))) {
        sockjs_websocket_serve(endpoint, request, true);
    } else if (!serve_session(endpoint, request, rest)) {
        http_respond_status(request, 404);
    }
    return true;
}

void sockjs_endpoint_serve_raw(struct sockjs_endpoint *endpoint, struct http_request *request) {
    sockjs_websocket_serve(endpoint, request, true);
}
