#ifndef FOOTLIGHT_HTTP_RESPONSE_H
#define FOOTLIGHT_HTTP_RESPONSE_H
#include "http/request.h"

/// Answers in one step; Content-Length, Date, Connection and the server's own headers are added.
/// `type` may be NULL (no body then). Headers set before with http_response_header are sent too.
void http_respond(struct http_request *request, int status, const char *type, struct slice body);
/// As above with a plain-text body of the form "404 Not Found\n".
void http_respond_status(struct http_request *request, int status);

/// Adds a header to the response that will be sent. Names and values with CR, LF or NUL are refused
/// (false): nothing that a handler passes on can split a response.
bool http_response_header(struct http_request *request, struct slice name, struct slice value);

/// Forgets the headers added so far, e.g. to answer with an error instead.
void http_response_clear(struct http_request *request);
bool http_response_has_type(const struct http_request *request); ///< a Content-Type was added

/// In pieces: begin (length UINT64_MAX if unknown: chunked on 1.1, until close on 1.0), any number
/// of writes, end. write returns the bytes still queued on the socket; over the high-water mark
/// hold back until on_drain.
void http_response_begin(struct http_request *request, int status, const char *type,
                         uint64_t length);
size_t http_response_write(struct http_request *request, struct slice data);
size_t http_response_write_chunk(struct http_request *request, struct chunk *chunk);
void http_response_on_drain(struct http_request *request,
                            void (*drained)(struct http_request *request));
void http_response_end(struct http_request *request);
/// A header that goes behind the body of a chunked response that has begun, if the client takes such
/// (TE: trailers). False if it does not, or if the header may not stand there or has a value that no
/// header has.
bool http_response_trailer(struct http_request *request, struct slice name, struct slice value);
/// Ends abruptly (the length promised cannot be kept): closes the connection.
void http_response_abort(struct http_request *request);

/// Sends (part of) an open file with conditional and range handling; takes the fd.
void http_respond_file(struct http_request *request, int fd, const char *type,
                       const char *cache_control);
const char *http_status_text(int status);
#endif
