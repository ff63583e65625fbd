#ifndef FOOTLIGHT_LUA_TEMPLATE_H
#define FOOTLIGHT_LUA_TEMPLATE_H
#include "base/buffer.h"
#include "lua/runtime.h"

/// What templates are compiled to: calls that append to a C buffer, each one escaping for the place
/// where its value stands. lua/footlight/view.lua is the compiler and knows the places; here is only
/// how each of them is written.
///
/// A buffer is a userdata with this metatable whose first member is a struct buffer. It is also what
/// "safe" means: appended to element content, the content of a buffer is not escaped again.
#define TEMPLATE_BUFFER "runtime.buffer"
struct template_buffer {
    struct buffer buffer;
};
/// A page beyond this is a loop that forgot to end; the render raises.
#define TEMPLATE_LIMIT ((size_t)16 << 20)

/// Pushes a new empty buffer; it belongs to the state's collector.
struct buffer *template_buffer_push(lua_State *L);
/// The buffer at that index, or NULL if something else stands there.
struct buffer *template_buffer_test(lua_State *L, int index);

/// A whole URL as the start of an attribute value: "about:invalid" unless it is relative or of a
/// scheme that cannot run script (http, https, mailto, tel, rtmp, rtmps, ws, wss).
void template_append_url(struct buffer *out, struct slice s);
/// A part of a URL behind its beginning: bytes that may not stand in a URL are percent-encoded,
/// reserved ones and existing %XX stay, & and ' become entities.
void template_append_url_part(struct buffer *out, struct slice s);
/// Markup that is safe as element content, made safe for a quoted attribute too: entities stay.
void template_append_safe_attribute(struct buffer *out, struct slice s);
/// Makes JSON of the value at index for the inside of <script>: no < > & ' ` U+2028 U+2029 stays as
/// it is. Raises for functions, cycles (by depth) and other values that JSON does not know.
void template_append_json(lua_State *L, struct buffer *out, int index);
#endif
