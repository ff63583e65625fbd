#include "base/memory.h"
#include "sockjs/internal.h"

/// What the HTTP transports look like on the wire.

static void prelude_xhr(struct buffer *out, const char *callback) {
    (void)callback;
    memset(buffer_reserve(out, 2048), 'h', 2048); // some browsers hold back the first 2 KiB
    buffer_added(out, 2048);
    buffer_append_char(out, '\n');
}

static void prelude_eventsource(struct buffer *out, const char *callback) {
    (void)callback;
    buffer_append_text(out, "\r\n"); // Opera needs it
}

static void prelude_htmlfile(struct buffer *out, const char *callback) {
    buffer_append_text(out,
        "<!doctype html>\n<html><head>\n"
        "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n"
        "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n"
        "</head><body><h2>Don't panic!</h2>\n  <script>\n"
        "    document.domain = document.domain;\n    var c = parent.");
    buffer_append_text(out, callback);
    buffer_append_text(out, ";\n    c.start();\n    function p(d) {c.message(d);};\n"
                            "    window.onload = function() {c.stop();};\n  </script>");
    while (out->size < 1024) buffer_append_char(out, ' '); // browsers render nothing before
    buffer_append_text(out, "\r\n\r\n");
}

static void format_xhr(struct buffer *out, const char *callback, struct slice frame) {
    (void)callback;
    buffer_append_slice(out, frame);
    buffer_append_char(out, '\n');
}

static void format_eventsource(struct buffer *out, const char *callback, struct slice frame) {
    (void)callback;
    buffer_append_text(out, "data: ");
    buffer_append_slice(out, frame);
    buffer_append_text(out, "\r\n\r\n");
}

static void format_htmlfile(struct buffer *out, const char *callback, struct slice frame) {
    (void)callback;
    buffer_append_text(out, "<script>\np(");
    sockjs_quote_script(out, frame); // the reference forgets </script> inside a message
    buffer_append_text(out, ");\n</script>\r\n");
}

static void format_jsonp(struct buffer *out, const char *callback, struct slice frame) {
    buffer_append_text(out, callback);
    buffer_append_char(out, '(');
    sockjs_quote_script(out, frame);
    buffer_append_text(out, ");\r\n");
}

#define JAVASCRIPT "application/javascript; charset=UTF-8"
static const struct sockjs_transport transports[] = {
    {"xhr", JAVASCRIPT, true, false, false, NULL, format_xhr},
    {"xhr_streaming", JAVASCRIPT, true, true, false, prelude_xhr, format_xhr},
    {"eventsource", "text/event-stream; charset=UTF-8", false, true, false, prelude_eventsource,
     format_eventsource},
    {"htmlfile", "text/html; charset=UTF-8", false, true, true, prelude_htmlfile,
     format_htmlfile},
    {"jsonp", JAVASCRIPT, false, false, true, NULL, format_jsonp},
};

const struct sockjs_transport *sockjs_transport_find(struct slice name) {
    for (size_t i = 0; i < sizeof transports / sizeof *transports; i++)
        if (slice_equal(name, slice_of(transports[i].name))) return &transports[i];
    return NULL;
}
