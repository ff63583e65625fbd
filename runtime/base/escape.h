#ifndef FOOTLIGHT_BASE_ESCAPE_H
#define FOOTLIGHT_BASE_ESCAPE_H
#include "base/buffer.h"

/// & < > " ' become entities: right for element content and for quoted attribute values.
void escape_html(struct buffer *out, struct slice s);
/// The inside of a JSON string (no quotes). Also escapes < > & U+2028 U+2029, so the result may
/// stand inside <script>. Invalid UTF-8 becomes U+FFFD.
void escape_json(struct buffer *out, struct slice s);
/// Percent-encodes all but the unreserved characters of RFC 3986.
void escape_url(struct buffer *out, struct slice s);
/// Decodes %XX, and + to a space if `plus`. False on a malformed escape (out is then unspecified).
bool unescape_url(struct buffer *out, struct slice s, bool plus);
void escape_hex(struct buffer *out, struct slice s); ///< lower case
bool unescape_hex(struct buffer *out, struct slice s);
void escape_base64(struct buffer *out, struct slice s);     ///< with padding
void escape_base64url(struct buffer *out, struct slice s);  ///< without padding
/// Takes either alphabet, padding optional but right where present; false on anything else.
bool unescape_base64(struct buffer *out, struct slice s);
#endif
