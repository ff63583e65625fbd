#include <stdlib.h>

#include "http/multipart.h"

/// Multipart forms: the same result in whatever pieces they come, and never more data than came.

struct seen {
    struct buffer log;
    size_t data;
};
static int on_part(void *context, const struct http_part *part) {
    struct seen *seen = context;
    buffer_printf(&seen->log, "[%zu|%zu|%zu]", part->name.size, part->filename.size, part->type.size);
    buffer_append_slice(&seen->log, part->name);
    buffer_append_slice(&seen->log, part->filename);
    if (memchr(part->filename.data ? part->filename.data : "", '/', part->filename.size)) abort();
    return 0;
}
static int on_data(void *context, struct slice data) {
    struct seen *seen = context;
    seen->data += data.size;
    buffer_append_slice(&seen->log, data);
    return 0;
}
static int on_part_end(void *context) {
    buffer_append_text(&((struct seen *)context)->log, "<end>");
    return 0;
}
static const struct http_multipart_events events = {on_part, on_data, on_part_end};

static int parse(struct slice type, struct slice body, size_t step, struct seen *seen) {
    struct http_multipart multipart;
    int status = 415;
    buffer_clear(&seen->log, SIZE_MAX);
    seen->data = 0;
    if (http_multipart_init(&multipart, type, 20, &events, seen)) {
        status = 0;
        for (size_t i = 0; !status && i < body.size; i += step)
            status = http_multipart_feed(&multipart, slice_sub(body, i, step));
        if (!status) status = http_multipart_finish(&multipart);
    }
    http_multipart_free(&multipart);
    if (seen->data > body.size) abort();
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct slice all = slice_make(bytes, size);
    size_t line = slice_find(all, '\n', 0);
    struct slice type = slice_sub(all, 0, line), body = slice_sub(all, line + 1, all.size);
    struct seen whole = {0}, pieces = {0};
    int status = parse(type, body, body.size ? body.size : 1, &whole);
    for (size_t step = 1; step < 30; step += 7) {
        int other = parse(type, body, step, &pieces);
        if (status == 0 || other == 0) { // a refusal may come earlier or later, an acceptance may not differ
            if (status != other) abort();
            if (!slice_equal(buffer_slice(&whole.log), buffer_slice(&pieces.log))) abort();
        }
    }
    buffer_free(&whole.log);
    buffer_free(&pieces.log);
    return 0;
}
