#include "streaming/rtmp_chunk.h"

enum { HEAD_LIMIT = 3 + 11 + 4, AMF_DEPTH = 8 };

static uint32_t big(const unsigned char *at, int bytes) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | at[i];
    return value;
}

static void put(struct buffer *out, uint32_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--) buffer_append_char(out, (char)(value >> (8 * i)));
}

void rtmp_reader_init(struct rtmp_reader *reader,
                      bool (*on_message)(void *context, const struct rtmp_message *message),
                      void *context) {
    memset(reader, 0, sizeof *reader);
    reader->chunk_size = 128;
    reader->on_message = on_message;
    reader->context = context;
}

void rtmp_reader_free(struct rtmp_reader *reader) {
    buffer_free(&reader->pending);
    for (int i = 0; i < RTMP_CHUNK_STREAMS; i++) buffer_free(&reader->streams[i].message);
}

static const char *finish(struct rtmp_reader *reader, struct rtmp_chunk_stream *stream, bool *go_on) {
    struct rtmp_message message = {
        .type = stream->type,
        .timestamp = stream->timestamp,
        .stream = stream->stream,
        .body = buffer_slice(&stream->message),
    };
    const unsigned char *body = (const unsigned char *)message.body.data;
    stream->open = false;
    if (message.type == RTMP_SET_CHUNK_SIZE) {
        if (message.body.size < 4) return "a chunk size is missing";
        uint32_t size = big(body, 4);
        if (size == 0 || size > RTMP_MESSAGE_LIMIT) return "the chunk size is out of bounds";
        reader->chunk_size = size;
    } else if (message.type == RTMP_ABORT && message.body.size >= 4) {
        uint32_t id = big(body, 4) - 2;
        if (id < RTMP_CHUNK_STREAMS) {
            reader->streams[id].open = false;
            if (&reader->streams[id] != stream) reader->streams[id].message.size = 0;
        }
    }
    *go_on = reader->on_message(reader->context, &message);
    // Keep what a usual frame needs, not what the largest one needed.
    buffer_clear(&stream->message, 64 * 1024);
    return NULL;
}

/// One chunk from the front of `data`. *used 0: it is not whole yet.
static const char *take_chunk(struct rtmp_reader *reader, struct slice data, size_t *used,
                              bool *go_on) {
    static const uint8_t head_sizes[] = {11, 7, 3, 0};
    const unsigned char *bytes = (const unsigned char *)data.data;
    *used = 0;
    if (data.size < 1) return NULL;
    unsigned format = bytes[0] >> 6, id = bytes[0] & 63;
    size_t at = 1;
    if (id == 0) {
        if (data.size < 2) return NULL;
        id = bytes[1] + 64u;
        at = 2;
    } else if (id == 1) {
        if (data.size < 3) return NULL;
        id = bytes[1] + 64u + bytes[2] * 256u;
        at = 3;
    }
    if (id < 2 || id - 2 >= RTMP_CHUNK_STREAMS) return "a chunk stream's number is out of bounds";
    struct rtmp_chunk_stream *stream = &reader->streams[id - 2];
    if (data.size < at + head_sizes[format]) return NULL;
    if (format != 0 && !stream->known) return "a chunk refers to one that never came";
    if (format != 3 && stream->open) return "a message begins within another";

    struct rtmp_chunk_stream next = *stream; // kept only if the chunk is whole
    const unsigned char *head = bytes + at;
    uint32_t time = 0;
    at += head_sizes[format];
    if (format <= 2) {
        time = big(head, 3);
        next.extended = time == 0xffffff;
    }
    if (format <= 1) {
        next.length = big(head + 3, 3);
        next.type = head[6];
        if (next.length > RTMP_MESSAGE_LIMIT) return "a message is too long";
    }
    if (format == 0) {
        next.stream = (uint32_t)head[7] | (uint32_t)head[8] << 8 | (uint32_t)head[9] << 16 |
                      (uint32_t)head[10] << 24;
    }
    if (next.extended) {
        if (data.size < at + 4) return NULL;
        if (format <= 2) time = big(bytes + at, 4);
        at += 4;
    }
    if (format == 0) {
        next.timestamp = time;
        next.delta = 0;
    } else if (format <= 2) {
        next.delta = time;
        next.timestamp += time;
    } else if (!stream->open) {
        next.timestamp += next.delta; // a whole message like the last
    }
    size_t part = next.length - (stream->open ? stream->message.size : 0);
    if (part > reader->chunk_size) part = reader->chunk_size;
    if (data.size < at + part) return NULL;

    next.known = next.open = true;
    if (!stream->open) next.message.size = 0;
    *stream = next;
    buffer_append(&stream->message, bytes + at, part);
    *used = at + part;
    return stream->message.size == stream->length ? finish(reader, stream, go_on) : NULL;
}

const char *rtmp_reader_feed(struct rtmp_reader *reader, const char *data, size_t size) {
    // Chunks are read where they lie unless one was cut by the end of the last read.
    bool kept = reader->pending.size > 0;
    if (kept) buffer_append(&reader->pending, data, size);
    struct slice rest = kept ? buffer_slice(&reader->pending) : slice_make(data, size);
    size_t total = rest.size, used = 0;
    const char *error = NULL;
    bool go_on = true;
    while (go_on && !error && rest.size > 0) {
        error = take_chunk(reader, rest, &used, &go_on);
        if (used == 0) break;
        rest = slice_sub(rest, used, rest.size);
    }
    if (error || !go_on) return error;
    if (rest.size > reader->chunk_size + HEAD_LIMIT) return "a chunk does not end";
    if (kept) {
        buffer_consume(&reader->pending, total - rest.size);
    } else if (rest.size > 0) {
        buffer_append_slice(&reader->pending, rest);
    }
    return NULL;
}

void rtmp_write(struct buffer *out, unsigned chunk_stream, uint8_t type, uint32_t stream,
                struct slice body) {
    buffer_append_char(out, (char)(chunk_stream & 63));
    put(out, 0, 3);
    put(out, (uint32_t)body.size, 3);
    buffer_append_char(out, (char)type);
    for (int i = 0; i < 4; i++) buffer_append_char(out, (char)(stream >> (8 * i)));
    for (size_t at = 0; at < body.size; at += 128) {
        if (at > 0) buffer_append_char(out, (char)(0xc0 | (chunk_stream & 63)));
        buffer_append_slice(out, slice_sub(body, at, 128));
    }
}

void amf_number(struct buffer *out, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    buffer_append_char(out, 0);
    put(out, (uint32_t)(bits >> 32), 4);
    put(out, (uint32_t)bits, 4);
}

void amf_text(struct buffer *out, struct slice text) {
    buffer_append_char(out, 2);
    put(out, (uint32_t)text.size, 2);
    buffer_append_slice(out, text);
}

void amf_null(struct buffer *out) { buffer_append_char(out, 5); }
void amf_object_begin(struct buffer *out) { buffer_append_char(out, 3); }

void amf_member(struct buffer *out, const char *name) {
    put(out, (uint32_t)strlen(name), 2);
    buffer_append_text(out, name);
}

void amf_object_end(struct buffer *out) { put(out, 9, 3); }

static bool take(struct slice *rest, size_t size, struct slice *part) {
    if (rest->size < size) return false;
    *part = slice_sub(*rest, 0, size);
    *rest = slice_make(rest->data + size, rest->size - size);
    return true;
}

static bool take_sized(struct slice *rest, int bytes, struct slice *part) {
    struct slice size;
    return take(rest, (size_t)bytes, &size) &&
           take(rest, big((const unsigned char *)size.data, bytes), part);
}

static bool take_value(struct slice *rest, const char *wanted, double *number, struct slice *text,
                       int depth) {
    struct slice part, name;
    *number = 0;
    *text = (struct slice){0};
    if (depth == AMF_DEPTH || !take(rest, 1, &part)) return false;
    switch (part.data[0]) {
    case 0: { // number
        if (!take(rest, 8, &part)) return false;
        uint64_t bits = (uint64_t)big((const unsigned char *)part.data, 4) << 32 |
                        big((const unsigned char *)part.data + 4, 4);
        memcpy(number, &bits, sizeof bits);
        return true;
    }
    case 1: // boolean
        return take(rest, 1, &part);
    case 2: // text
        return take_sized(rest, 2, text);
    case 5: // null, undefined
    case 6:
        return true;
    case 12: // long text
        return take_sized(rest, 4, text);
    case 11: // date
        return take(rest, 10, &part);
    case 8: // named array: as an object, behind a count
        if (!take(rest, 4, &part)) return false;
        // fall through
    case 3: { // object
        struct slice found = {0}, inner;
        double ignored;
        while (take_sized(rest, 2, &name)) {
            if (name.size == 0) {
                *text = found;
                return take(rest, 1, &part) && part.data[0] == 9;
            }
            if (!take_value(rest, NULL, &ignored, &inner, depth + 1)) return false;
            if (wanted && slice_equal(name, slice_of(wanted))) found = inner;
        }
        return false;
    }
    case 10: { // list
        struct slice inner;
        double ignored;
        if (!take(rest, 4, &part)) return false;
        uint32_t count = big((const unsigned char *)part.data, 4);
        for (uint32_t i = 0; i < count; i++) {
            if (!take_value(rest, NULL, &ignored, &inner, depth + 1)) return false;
        }
        return true;
    }
    default:
        return false;
    }
}

bool amf_take(struct slice *rest, const char *wanted, double *number, struct slice *text) {
    return take_value(rest, wanted, number, text, 0);
}
