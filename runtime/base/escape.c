#include "base/escape.h"

#include "base/utf8.h"

static const char hex_digits[] = "0123456789abcdef";

static const bool html_special[256] = {
    ['&'] = true, ['<'] = true, ['>'] = true, ['"'] = true, ['\''] = true};

void escape_html(struct buffer *out, struct slice s) {
    size_t from = 0;
    for (size_t i = 0; i < s.size; i++) {
        if (!html_special[(unsigned char)s.data[i]]) continue;
        const char *entity;
        switch (s.data[i]) {
        case '&': entity = "&amp;"; break;
        case '<': entity = "&lt;"; break;
        case '>': entity = "&gt;"; break;
        case '"': entity = "&quot;"; break;
        case '\'': entity = "&#39;"; break;
        default: continue;
        }
        buffer_append(out, s.data + from, i - from);
        buffer_append_text(out, entity);
        from = i + 1;
    }
    if (from < s.size) buffer_append(out, s.data + from, s.size - from);
}

// The number of bytes of the valid UTF-8 sequence at s.data[i], or 0.
static size_t utf8_sequence(struct slice s, size_t i) {
    unsigned char c = (unsigned char)s.data[i];
    size_t size = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (size > s.size - i) return 0;
    return utf8_valid(slice_make(s.data + i, size)) ? size : 0;
}

void escape_json(struct buffer *out, struct slice s) {
    size_t from = 0;
    for (size_t i = 0; i < s.size;) {
        unsigned char c = (unsigned char)s.data[i];
        size_t size = 1;
        char escaped[8];
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' &&
            c != 0x7f) {
            i++;
            continue;
        }
        if (c >= 0x80) {
            size = utf8_sequence(s, i);
            bool separator = size == 3 && c == 0xe2 && (unsigned char)s.data[i + 1] == 0x80 &&
                             ((unsigned char)s.data[i + 2] & 0xfe) == 0xa8;
            if (size && !separator) {
                i += size;
                continue;
            }
            if (size)
                memcpy(escaped, (unsigned char)s.data[i + 2] == 0xa8 ? "\\u2028" : "\\u2029", 7);
            else
                memcpy(escaped, "\\ufffd", 7), size = 1;
        } else {
            const char *brief = c == '"'    ? "\\\""
                                : c == '\\' ? "\\\\"
                                : c == '\n' ? "\\n"
                                : c == '\r' ? "\\r"
                                : c == '\t' ? "\\t"
                                            : NULL;
            if (brief) {
                memcpy(escaped, brief, 3);
            } else {
                memcpy(escaped, "\\u00", 4);
                escaped[4] = hex_digits[c >> 4];
                escaped[5] = hex_digits[c & 15];
                escaped[6] = '\0';
            }
        }
        buffer_append(out, s.data + from, i - from);
        buffer_append_text(out, escaped);
        i += size;
        from = i;
    }
    if (from < s.size) buffer_append(out, s.data + from, s.size - from);
}

void escape_url(struct buffer *out, struct slice s) {
    for (size_t i = 0; i < s.size; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '-' || c == '.' || c == '_' || c == '~') {
            buffer_append_char(out, (char)c);
        } else {
            char code[3] = {'%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]};
            buffer_append(out, code, 3);
        }
    }
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool unescape_url(struct buffer *out, struct slice s, bool plus) {
    for (size_t i = 0; i < s.size; i++) {
        char c = s.data[i];
        if (c == '%') {
            if (s.size - i < 3) return false;
            int high = hex_value(s.data[i + 1]), low = hex_value(s.data[i + 2]);
            if (high < 0 || low < 0) return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        buffer_append_char(out, c);
    }
    return true;
}

void escape_hex(struct buffer *out, struct slice s) {
    char *to = buffer_reserve(out, s.size * 2);
    for (size_t i = 0; i < s.size; i++) {
        to[2 * i] = hex_digits[(unsigned char)s.data[i] >> 4];
        to[2 * i + 1] = hex_digits[(unsigned char)s.data[i] & 15];
    }
    buffer_added(out, s.size * 2);
}

bool unescape_hex(struct buffer *out, struct slice s) {
    if (s.size % 2) return false;
    for (size_t i = 0; i < s.size; i += 2) {
        int high = hex_value(s.data[i]), low = hex_value(s.data[i + 1]);
        if (high < 0 || low < 0) return false;
        buffer_append_char(out, (char)(high << 4 | low));
    }
    return true;
}

static void base64_append(struct buffer *out, struct slice s, const char *alphabet, bool pad) {
    for (size_t i = 0; i < s.size; i += 3) {
        size_t left = s.size - i;
        uint32_t group = (uint32_t)(unsigned char)s.data[i] << 16;
        if (left > 1) group |= (uint32_t)(unsigned char)s.data[i + 1] << 8;
        if (left > 2) group |= (unsigned char)s.data[i + 2];
        char four[4] = {alphabet[group >> 18], alphabet[group >> 12 & 63],
                        left > 1 ? alphabet[group >> 6 & 63] : '=',
                        left > 2 ? alphabet[group & 63] : '='};
        buffer_append(out, four, pad || left > 2 ? 4 : left + 1);
    }
}

void escape_base64(struct buffer *out, struct slice s) {
    base64_append(out, s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", true);
}

void escape_base64url(struct buffer *out, struct slice s) {
    base64_append(out, s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
                  false);
}

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    if (c == '/' || c == '_') return 63;
    return -1;
}

bool unescape_base64(struct buffer *out, struct slice s) {
    size_t padding = 0;
    while (padding < 2 && s.size && s.data[s.size - 1] == '=') s.size--, padding++;
    size_t tail = s.size % 4;
    if (tail == 1 || (padding && (tail + padding) != 4)) return false;
    uint32_t group = 0;
    size_t i;
    for (i = 0; i < s.size; i++) {
        int value = base64_value(s.data[i]);
        if (value < 0) return false;
        group = group << 6 | (uint32_t)value;
        if (i % 4 == 3) {
            char three[3] = {(char)(group >> 16), (char)(group >> 8), (char)group};
            buffer_append(out, three, 3);
            group = 0;
        }
    }
    // Bits that are left over must be zero: one text for one value.
    if (tail == 2) {
        if (group & 15) return false;
        buffer_append_char(out, (char)(group >> 4));
    } else if (tail == 3) {
        if (group & 3) return false;
        buffer_append_char(out, (char)(group >> 10));
        buffer_append_char(out, (char)(group >> 2));
    }
    return true;
}
