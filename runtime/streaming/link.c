#include "streaming/link.h"
#include "base/escape.h"
#include "base/md5.h"

void link_sign(struct buffer *out, struct slice path, int64_t expires, const char *secret) {
    struct buffer text = {0};
    unsigned char digest[MD5_SIZE];
    buffer_append_i64(&text, expires);
    buffer_append_slice(&text, path);
    buffer_append_char(&text, ' ');
    buffer_append_text(&text, secret);
    md5(digest, text.data, text.size);
    buffer_free(&text);

    buffer_append_slice(out, path);
    buffer_append_text(out, "?e=");
    buffer_append_i64(out, expires);
    buffer_append_text(out, "&s=");
    escape_base64url(out, slice_make(digest, sizeof digest));
}
