#ifndef FOOTLIGHT_HTTP_EXCHANGE_H
#define FOOTLIGHT_HTTP_EXCHANGE_H
#include "base/hash.h"
#include "base/metrics.h"
#include "http/chunked.h"
#include "http/parser.h"
#include "http/proxies.h"
#include "loop/listener.h"

/// What the files of this folder share, and nobody else includes: the server, its connections, and
/// the exchange (request, body, response) that a connection is busy with.

struct http_body {
    uint64_t left;     ///< of a body with a length
    uint64_t received; ///< decoded bytes handed on
    uint64_t limit;
    uint64_t began_ms, began_at; ///< when, and at how many bytes, reading last began
    struct http_chunked chunked;
    struct buffer collected;
    void (*on_all)(struct http_request *request, struct slice body, int error);
    bool (*on_part)(struct http_request *request, struct slice part, bool last, int error);
    int error; ///< to be told to the reader
    bool complete, reading, paused, told, expects_continue;
};

struct http_response {
    struct buffer headers; ///< added by the handler, ready to send
    struct slice type;     ///< a Content-Type given by http_response_header
    uint64_t promised, sent;
    void (*drained)(struct http_request *request);
    int status;
    bool begun, ended, chunked, close, no_body, has_encoding;
};

struct http_exchange {
    struct http_request request; ///< first: an http_request * of ours is an http_exchange *
    struct http_body body;
    struct http_response response;
    struct http_server *server;
    struct deferred deferred;
    void (*gone)(struct http_request *request);
    struct http_exchange *next_free;
    unsigned holds; ///< callbacks running on it
    bool upgraded, finished, want_drain;
};

enum http_connection_state {
    HTTP_IDLE,     ///< between requests
    HTTP_HEAD,     ///< some bytes of a head have arrived
    HTTP_BUSY,     ///< an exchange is being read or answered
    HTTP_LINGER,   ///< the last answer is out; input is thrown away until the peer closes
    HTTP_UPGRADED, ///< the socket has another owner
};

struct http_address {
    size_t connections;
    struct slice key;
};

struct http_connection {
    struct socket socket;
    struct http_server *server;
    struct list link;
    struct http_address *address;
    struct http_exchange *exchange;
    void *upgrade_data;
    struct http_cursor *cursor; ///< the input being consumed right now
    struct buffer input;        ///< bytes that wait: part of a head, or read ahead
    struct timer timer;
    struct deferred deferred;
    struct http_scan scan;
    uint64_t written, written_seen;
    uint32_t requests, lingered;
    uint8_t state;
    bool half_closed, continued, proxied;
    char peer[SOCKET_ADDRESS_SIZE];
};

/// Input while it is consumed: the loop's shared buffer or connection->input.
struct http_cursor {
    const char *data;
    size_t size, used;
};

struct http_server {
    struct loop *loop;
    struct http_server_options options;
    char *name;
    struct http_proxies proxies;
    struct list connections;
    struct list listeners;
    size_t connection_count;
    struct hash addresses;
    struct http_exchange *free;
    size_t free_count;
    struct buffer scratch; ///< response heads are put together here
    size_t references;
    bool draining, closing;
    void (*drained)(void *context);
    void *drained_context;
    struct deferred drain_deferred;
    int64_t date_second;
    char date[32];
    uint64_t next_id;
    char id_prefix[9];
    struct metric *requests[6], *refused, *seconds, *open, *accepted;
};

static inline struct http_exchange *http_exchange_of(const struct http_request *request) {
    return (struct http_exchange *)(void *)request;
}

struct http_exchange *http_exchange_new(struct http_server *server, struct http_connection *connection);
void http_exchange_hold(struct http_exchange *exchange);
void http_exchange_unhold(struct http_exchange *exchange);
/// The answer is complete (or nobody waits for it): logs, and lets go of the connection.
void http_exchange_finish(struct http_exchange *exchange);
/// The peer has left: tells the body's reader (499), then the gone callback.
void http_exchange_lose(struct http_exchange *exchange);
/// Hands body bytes from the cursor to the reader; false if it cannot go on for now.
bool http_exchange_read_body(struct http_exchange *exchange, struct http_cursor *cursor);

int http_connection_open(struct http_server *server, int fd);
void http_connection_continue(struct http_connection *connection); ///< soon, not inside the call
void http_connection_body_wanted(struct http_connection *connection);
/// After the end of an answer: on to the next request, or close.
void http_connection_answered(struct http_connection *connection, bool close);
void http_connection_shut(struct http_connection *connection); ///< closing, after what is queued
void http_connection_write(struct http_connection *connection, const void *data, size_t size);

void http_server_unref(struct http_server *server);
void http_server_connection_gone(struct http_server *server, struct http_connection *connection);
void http_server_release_address(struct http_server *server, struct http_connection *connection);
const char *http_server_date(struct http_server *server);
/// Answers an error of the protocol itself; the connection closes after it.
void http_response_refuse(struct http_request *request, int status, const char *reason);
#endif
