#ifndef FOOTLIGHT_STREAMING_LINK_H
#define FOOTLIGHT_STREAMING_LINK_H
#include "base/buffer.h"

/// Links to segments that nginx checks by itself (ngx_http_secure_link_module):
/// secure_link_md5 "$secure_link_expires$uri SECRET". The module knows MD5 only. It signs
/// links to encrypted pieces of media for a minute or two; nothing else may rest on it.

/// Appends `path?e=EXPIRES&s=SIGNATURE`.
void link_sign(struct buffer *out, struct slice path, int64_t expires, const char *secret);
#endif
