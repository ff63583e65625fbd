#ifndef FOOTLIGHT_SOCKJS_JSON_H
#define FOOTLIGHT_SOCKJS_JSON_H
#include "base/buffer.h"

/// Reads JSON (RFC 8259) in place, without building anything: values are slices of the text. Made
/// for messages of a few hundred bytes of which a few members are wanted. The text must be valid
/// UTF-8; everything else about it is checked by json_parse, and only parsed values may be walked.
enum json_kind {
    JSON_NONE, ///< broken, or absent
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};
struct json_value {
    enum json_kind kind;
    struct slice raw; ///< as it stands in the text, without space around it
};

/// One value and nothing behind it; JSON_NONE if it is broken or nested deeper than `depth`.
struct json_value json_parse(struct slice text, unsigned depth);

struct json_walk {
    const char *at, *end;
    bool object;
};
struct json_walk json_begin(struct json_value array_or_object);
/// The next element; `key` (raw, with its quotes) is set for objects and may be NULL for arrays.
bool json_next(struct json_walk *walk, struct slice *key, struct json_value *value);
/// A member by name; of two with one name the last, as in JavaScript. Names written with escapes
/// are not found: no client of ours writes them so.
struct json_value json_member(struct json_value object, const char *name);
/// Appends a string's text. A lone surrogate becomes U+FFFD. False if the value is not a string.
bool json_string(struct json_value value, struct buffer *out);
/// A whole number without exponent or fraction that fits; false otherwise.
bool json_integer(struct json_value value, int64_t *out);
#endif
