#include "streaming/order.h"

// Orders are ours, but they arrive by a network: what does not read exactly is refused whole.

struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *c) {
    while (c->at < c->end && strchr(" \t\r\n", *c->at) && *c->at) c->at++;
}

static bool accept(struct cursor *c, char wanted) {
    skip_space(c);
    if (c->at == c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

/// A string without escapes but \" \\ and \/; no order needs others.
static bool read_string(struct cursor *c, char *out, size_t room) {
    size_t size = 0;
    if (!accept(c, '"')) return false;
    while (c->at < c->end && *c->at != '"') {
        char letter = *c->at++;
        if ((unsigned char)letter < 0x20) return false;
        if (letter == '\\') {
            if (c->at == c->end || !strchr("\"\\/", *c->at) || !*c->at) return false;
            letter = *c->at++;
        }
        if (size + 1 >= room) return false;
        out[size++] = letter;
    }
    if (c->at == c->end) return false;
    c->at++;
    out[size] = '\0';
    return true;
}

/// A number, true, false or null, as text.
static bool read_word(struct cursor *c, struct slice *word) {
    skip_space(c);
    const char *start = c->at;
    while (c->at < c->end && ((*c->at >= '0' && *c->at <= '9') || (*c->at >= 'a' && *c->at <= 'z') ||
                              *c->at == '-' || *c->at == '.')) {
        c->at++;
    }
    *word = slice_make(start, (size_t)(c->at - start));
    return word->size > 0;
}

static bool read_member(struct cursor *c, struct order *order) {
    char name[32], other[256];
    if (!read_string(c, name, sizeof name) || !accept(c, ':')) return false;
    skip_space(c);
    const struct {
        const char *name;
        char *place;
        size_t room;
    } texts[] = {
        {"do", order->verb, sizeof order->verb},       {"sid", order->sid, sizeof order->sid},
        {"slug", order->slug, sizeof order->slug},     {"nonce", order->nonce, sizeof order->nonce},
        {"who", order->who, sizeof order->who},        {"host", order->host, sizeof order->host},
        {"reason", order->reason, sizeof order->reason},
    };
    if (c->at < c->end && *c->at == '"') {
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            if (strcmp(name, texts[i].name) == 0) return read_string(c, texts[i].place, texts[i].room);
        }
        return read_string(c, other, sizeof other);
    }
    struct slice word;
    if (!read_word(c, &word)) return false;
    if (strcmp(name, "account") == 0) return slice_to_i64(word, &order->account);
    if (strcmp(name, "show") == 0) return slice_to_i64(word, &order->show) && order->show >= 0;
    return true;
}

const char *order_read(struct order *order, struct slice json) {
    struct cursor c = {json.data, json.data + json.size};
    memset(order, 0, sizeof *order);
    if (json.size == 0 || json.size > 2048) return "an order has 1 to 2048 bytes";
    if (!accept(&c, '{')) return "an order is a JSON object";
    if (!accept(&c, '}')) {
        do {
            if (!read_member(&c, order)) return "an order's members are short texts and integers";
        } while (accept(&c, ','));
        if (!accept(&c, '}')) return "an order is a JSON object";
    }
    skip_space(&c);
    if (c.at != c.end) return "an order is one JSON object";
    return order->verb[0] ? NULL : "an order says what to do";
}
