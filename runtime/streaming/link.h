#ifndef FOOTLIGHT_STREAMING_LINK_H
#define FOOTLIGHT_STREAMING_LINK_H
#include "base/buffer.h"

/// Links to segments that nginx checks by itself (ngx_http_secure_link_module):
/// secure_link_md5 "$secure_link_expires$uri SECRET". The module knows MD5 only, and libsodium does
/// not have it, hence the digest here (RFC 1321). It signs links to encrypted pieces of media for a
/// minute or two; nothing else may rest on it.
enum { MD5_SIZE = 16 };
void md5(unsigned char out[MD5_SIZE], const void *data, size_t size);

/// Appends `path?e=EXPIRES&s=SIGNATURE`.
void link_sign(struct buffer *out, struct slice path, int64_t expires, const char *secret);
#endif
