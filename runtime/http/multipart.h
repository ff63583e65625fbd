#ifndef FOOTLIGHT_HTTP_MULTIPART_H
#define FOOTLIGHT_HTTP_MULTIPART_H
#include "base/buffer.h"

/// multipart/form-data (RFC 7578), parsed as it arrives. Holds no more than one part head or the
/// length of the delimiter; what to do with the data, and how much of it is too much, is the
/// caller's.
struct http_part {
    struct slice name;     ///< of the field
    struct slice filename; ///< last component only; data is NULL if the part is no file
    struct slice type;     ///< Content-Type, or empty
};
struct http_multipart_events {
    /// Each returns 0 to go on, or the status to fail with (e.g. 413).
    int (*on_part)(void *context, const struct http_part *part);
    int (*on_data)(void *context, struct slice data);
    int (*on_part_end)(void *context);
};
enum { HTTP_PART_HEAD_LIMIT = 4096, HTTP_PREAMBLE_LIMIT = 1024, HTTP_BOUNDARY_LIMIT = 70 };

struct http_multipart {
    const struct http_multipart_events *events;
    void *context;
    struct buffer hold;
    size_t parts, most_parts, skipped;
    unsigned state;
    char delimiter[HTTP_BOUNDARY_LIMIT + 5]; ///< CR LF - - boundary
    size_t delimiter_size;
};

/// False if the Content-Type is not multipart/form-data with a good boundary.
bool http_multipart_init(struct http_multipart *multipart, struct slice content_type,
                         size_t most_parts, const struct http_multipart_events *events,
                         void *context);
/// 0, or the status to answer with: 400 malformed, 413 too many parts, or an event's. After that,
/// only free may be called.
int http_multipart_feed(struct http_multipart *multipart, struct slice data);
int http_multipart_finish(struct http_multipart *multipart); ///< 0, or 400 if the end is missing
void http_multipart_free(struct http_multipart *multipart);
/// A parameter of a header value such as `form-data; name="x"`: unquoted into `out`. False if absent
/// or malformed.
bool http_header_parameter(struct slice value, const char *name, struct buffer *out);
#endif
