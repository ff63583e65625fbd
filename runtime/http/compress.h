#ifndef FOOTLIGHT_HTTP_COMPRESS_H
#define FOOTLIGHT_HTTP_COMPRESS_H
#include "base/buffer.h"

/// Content codings that we can make, best first.
enum http_coding { HTTP_IDENTITY, HTTP_GZIP, HTTP_BROTLI };

/// The best coding that an Accept-Encoding header allows (RFC 9110, 12.5.3: qualities, "*").
enum http_coding http_coding_choose(struct slice accept);
bool http_coding_allows(struct slice accept, enum http_coding coding);
const char *http_coding_name(enum http_coding coding); ///< "gzip", "br", NULL for identity
/// Text, JSON, scripts, XML and SVG; not what is already packed.
bool http_type_compresses(struct slice type);
/// Appends the packed body. False (nothing appended) if it did not get smaller.
bool http_compress(struct buffer *out, enum http_coding coding, struct slice body);
#endif
