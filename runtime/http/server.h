#ifndef FOOTLIGHT_HTTP_SERVER_H
#define FOOTLIGHT_HTTP_SERVER_H
#include "base/settings.h"
#include "http/request.h"
#include "http/response.h"

/// HTTP/1.1 on listening sockets. Strict: what architecture.md lists as ours to refuse is answered
/// 400 and the connection closed.
struct http_limits {
    size_t head_size;            ///< request line and headers together (16 KiB)
    unsigned header_count;       ///< (100)
    size_t target_size;          ///< (8 KiB)
    unsigned head_ms;            ///< from the first byte to the end of the headers (10 s)
    unsigned body_ms;            ///< longest silence inside a body (20 s)
    unsigned idle_ms;            ///< between requests (75 s)
    unsigned write_ms;           ///< longest wait for a peer that takes no output (30 s)
    unsigned pipeline;           ///< requests answered in a row before others get a turn (16); what
                                 ///< is read ahead of an answer is bounded by head_size
    unsigned per_address;        ///< connections of one client address, 0: no cap (200)
    unsigned connections;        ///< all connections of the server, 0: no cap (20,000)
    unsigned requests;           ///< per connection, 0: no cap
    size_t write_high;           ///< high-water mark of the output queue (256 KiB)
};
void http_limits_default(struct http_limits *limits);
/// Reads http.* of the settings over the defaults.
void http_limits_configure(struct http_limits *limits, const struct settings *settings);

struct http_server_options {
    struct http_limits limits;
    /// Addresses (comma-separated, IP or CIDR) whose X-Forwarded-For and -Proto count, or NULL.
    const char *trusted_proxies;
    bool one_request;  ///< close after each answer (nginx-rtmp hooks)
    bool access_log;   ///< one http.request log line each
    bool compress;     ///< gzip or brotli for text answers of http_respond, where the client can
    const char *name;  ///< for logs and metrics
    void (*on_request)(void *context, struct http_request *request);
    void *context;
};

struct http_server;
struct http_server *http_server_new(struct loop *loop, const struct http_server_options *options);
int http_server_listen(struct http_server *server, int fd); ///< takes a listening fd; 0 or -errno
/// Serves a connected socket, as if it had been accepted; takes the fd. 0 or -errno.
int http_server_accept(struct http_server *server, int fd);
/// Stops accepting. Busy connections close after their response with Connection: close; so do idle ones
/// that ask within half a second (a request may be on its way), the others then.
/// `drained` is called when none is left.
void http_server_drain(struct http_server *server, void (*drained)(void *context), void *context);
size_t http_server_connections(const struct http_server *server);
void http_server_free(struct http_server *server); ///< closes what is left at once
#endif
