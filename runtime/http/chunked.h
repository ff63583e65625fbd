#ifndef FOOTLIGHT_HTTP_CHUNKED_H
#define FOOTLIGHT_HTTP_CHUNKED_H
#include "base/buffer.h"

/// The chunked transfer coding, read strictly: CRLF only, hexadecimal sizes of at most 15 digits,
/// no space around them, chunk extensions of printable bytes up to a limit for the whole body, and
/// trailers that are header lines of their own right. All zero is the start.
enum { HTTP_EXTENSION_LIMIT = 1024, HTTP_TRAILER_LIMIT = 4096, HTTP_TRAILER_COUNT = 32 };

struct http_chunked {
    uint64_t left; ///< of the chunk being read; the size while its digits are read
    uint16_t extension, line, trailer_count;
    uint8_t state, digits;
    struct buffer trailer; ///< raw trailer lines, for http_chunked_trailer
};

enum http_chunked_result {
    HTTP_CHUNKED_MORE, ///< all input is used, more is needed
    HTTP_CHUNKED_PART, ///< *part holds body bytes; call again with the rest
    HTTP_CHUNKED_END,  ///< the body is complete; what is behind *used belongs to the next request
    HTTP_CHUNKED_BAD,
};
enum http_chunked_result http_chunked_read(struct http_chunked *chunked, struct slice input,
                                           size_t *used, struct slice *part);
/// Walks the trailers of a complete body: *rest starts as buffer_slice(&chunked->trailer).
bool http_chunked_trailer(struct slice *rest, struct slice *name, struct slice *value);
void http_chunked_free(struct http_chunked *chunked);
#endif
