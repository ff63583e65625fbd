#include "http/multipart.h"

#include "base/utf8.h"
#include "http/parser.h"

enum { PREAMBLE, AFTER_DELIMITER, PART_HEAD, PART_DATA, EPILOGUE, FAILED };

/// Takes `text` up to the closing quote (past the opening one) off *rest. Browsers write a quote as
/// %22 and leave backslashes alone; curl writes \". Both are read.
static bool take_quoted(struct slice *rest, struct buffer *out) {
    for (size_t i = 0; i < rest->size; i++) {
        char c = rest->data[i];
        if (c == '"') {
            *rest = slice_sub(*rest, i + 1, rest->size);
            return true;
        }
        if (c == '\\' && i + 1 < rest->size && (rest->data[i + 1] == '"' || rest->data[i + 1] == '\\'))
            c = rest->data[++i];
        buffer_append_char(out, c);
    }
    return false;
}

bool http_header_parameter(struct slice value, const char *name, struct buffer *out) {
    struct slice rest = slice_sub(value, slice_find(value, ';', 0), value.size);
    struct buffer skipped = {0};
    bool found = false, good = true;
    while (good && rest.size && rest.data[0] == ';') {
        rest = slice_trim(slice_sub(rest, 1, rest.size));
        size_t equals = slice_find(rest, '=', 0);
        struct slice key = slice_sub(rest, 0, equals);
        if (equals == rest.size || !http_is_token(key)) break;
        struct buffer *to = &skipped;
        if (slice_equal_fold(key, slice_of(name))) {
            if (found) good = false; // twice: nobody can say which one counts
            found = true;
            to = out;
        }
        buffer_clear(to, SIZE_MAX);
        rest = slice_sub(rest, equals + 1, rest.size);
        if (rest.size && rest.data[0] == '"') {
            rest = slice_sub(rest, 1, rest.size);
            good = good && take_quoted(&rest, to);
        } else {
            size_t end = slice_find(rest, ';', 0);
            struct slice plain = slice_trim(slice_sub(rest, 0, end));
            good = good && http_is_token(plain);
            buffer_append_slice(to, plain);
            rest = slice_sub(rest, end, rest.size);
        }
        rest = slice_trim(rest);
    }
    buffer_free(&skipped);
    return good && found;
}

bool http_multipart_init(struct http_multipart *multipart, struct slice content_type,
                         size_t most_parts, const struct http_multipart_events *events,
                         void *context) {
    *multipart = (struct http_multipart){.events = events, .context = context, .most_parts = most_parts};
    struct slice kind = slice_trim(slice_sub(content_type, 0, slice_find(content_type, ';', 0)));
    struct buffer boundary = {0};
    bool good = slice_equal_fold(kind, SLICE("multipart/form-data")) &&
                http_header_parameter(content_type, "boundary", &boundary) && boundary.size > 0 &&
                boundary.size <= HTTP_BOUNDARY_LIMIT;
    for (size_t i = 0; good && i < boundary.size; i++)
        good = boundary.data[i] >= ' ' && boundary.data[i] < 127;
    if (good) {
        memcpy(multipart->delimiter, "\r\n--", 4);
        memcpy(multipart->delimiter + 4, boundary.data, boundary.size);
        multipart->delimiter_size = boundary.size + 4;
        buffer_append(&multipart->hold, "\r\n", 2); // the first delimiter may stand at the very start
    }
    buffer_free(&boundary);
    return good;
}

static struct slice last_component(struct slice path) {
    size_t start = path.size;
    while (start > 0 && path.data[start - 1] != '/' && path.data[start - 1] != '\\') start--;
    return slice_sub(path, start, path.size);
}

static bool text_good(struct slice text) {
    for (size_t i = 0; i < text.size; i++)
        if ((unsigned char)text.data[i] < 32 || text.data[i] == 127) return false;
    return utf8_valid(text);
}

static int part_begin(struct http_multipart *multipart, struct slice head) {
    struct buffer name = {0}, filename = {0};
    struct http_part part = {.type = SLICE("")};
    struct slice line;
    bool named = false;
    int status = 400;
    if (++multipart->parts > multipart->most_parts) return 413;
    while (head.data && slice_next(&head, '\n', &line)) {
        if (line.size && line.data[line.size - 1] == '\r') line.size--;
        size_t colon = slice_find(line, ':', 0);
        struct slice key = slice_sub(line, 0, colon);
        struct slice value = slice_trim(slice_sub(line, colon + 1, line.size));
        if (line.size == 0) continue;
        if (colon == line.size || !http_is_token(key)) goto out;
        if (slice_equal_fold(key, SLICE("content-type"))) {
            if (!text_good(value)) goto out;
            part.type = value;
        }
        if (!slice_equal_fold(key, SLICE("content-disposition"))) continue;
        struct slice kind = slice_trim(slice_sub(value, 0, slice_find(value, ';', 0)));
        if (named || !slice_equal_fold(kind, SLICE("form-data")) ||
            !http_header_parameter(value, "name", &name))
            goto out;
        named = true;
        part.name = buffer_slice(&name);
        if (http_header_parameter(value, "filename", &filename))
            part.filename = last_component(filename.size ? buffer_slice(&filename) : SLICE(""));
    }
    if (!named || !text_good(part.name) || !text_good(part.filename)) goto out;
    status = multipart->events->on_part(multipart->context, &part);
out:
    buffer_free(&name);
    buffer_free(&filename);
    return status;
}

/// One step over the bytes that are held. 1: go on, 0: more is needed, else minus a status.
static int multipart_step(struct http_multipart *multipart) {
    struct buffer *hold = &multipart->hold;
    struct slice all = buffer_slice(hold);
    struct slice delimiter = slice_make(multipart->delimiter, multipart->delimiter_size);
    size_t at, keep = delimiter.size - 1;
    int status;
    switch (multipart->state) {
    case PREAMBLE:
    case PART_DATA:
        at = slice_search(all, delimiter);
        bool found = at < all.size;
        if (!found) at = all.size > keep ? all.size - keep : 0;
        if (multipart->state == PART_DATA && at) {
            status = multipart->events->on_data(multipart->context, slice_sub(all, 0, at));
            if (status) return -status;
        } else if (multipart->state == PREAMBLE) {
            multipart->skipped += at;
            if (multipart->skipped > HTTP_PREAMBLE_LIMIT) return -400;
        }
        if (found && multipart->state == PART_DATA) {
            status = multipart->events->on_part_end(multipart->context);
            if (status) return -status;
        }
        buffer_consume(hold, found ? at + delimiter.size : at);
        if (found) multipart->state = AFTER_DELIMITER;
        return found;
    case AFTER_DELIMITER:
        if (all.size < 2) return 0;
        if (all.data[0] == '-' && all.data[1] == '-') {
            multipart->state = EPILOGUE;
            return 1;
        }
        if (all.data[0] != '\r' || all.data[1] != '\n') return -400;
        // Keep the CR LF: a head without lines is then an empty line too.
        multipart->state = PART_HEAD;
        return 1;
    case PART_HEAD:
        at = slice_search(all, SLICE("\r\n\r\n"));
        if (at >= all.size) return all.size > HTTP_PART_HEAD_LIMIT ? -400 : 0;
        if (at > HTTP_PART_HEAD_LIMIT) return -400;
        status = part_begin(multipart, slice_sub(all, 0, at));
        if (status) return -status;
        buffer_consume(hold, at + 2); // the last CR LF may begin the delimiter of an empty part
        multipart->state = PART_DATA;
        // The data begins behind it.
        all = buffer_slice(hold);
        if (all.size >= delimiter.size && memcmp(all.data, delimiter.data, delimiter.size) == 0)
            return 1;
        if (all.size < delimiter.size && memcmp(all.data, delimiter.data, all.size) == 0) {
            multipart->state = PART_HEAD + 100;
            return 0;
        }
        buffer_consume(hold, 2);
        return 1;
    case PART_HEAD + 100: // undecided whether an empty part ends here
        if (memcmp(all.data, delimiter.data, all.size < delimiter.size ? all.size : delimiter.size) == 0) {
            if (all.size < delimiter.size) return 0;
        } else {
            buffer_consume(hold, 2);
        }
        multipart->state = PART_DATA;
        return 1;
    case EPILOGUE:
        buffer_clear(hold, 0);
        return 0;
    default:
        return -400;
    }
}

int http_multipart_feed(struct http_multipart *multipart, struct slice data) {
    buffer_append_slice(&multipart->hold, data);
    int result;
    while ((result = multipart_step(multipart)) > 0) {}
    if (result < 0) multipart->state = FAILED;
    return -result;
}

int http_multipart_finish(struct http_multipart *multipart) {
    return multipart->state == EPILOGUE ? 0 : 400;
}

void http_multipart_free(struct http_multipart *multipart) { buffer_free(&multipart->hold); }
