#include "redis/slot.h"

uint16_t redis_crc16(struct slice s) {
    uint16_t crc = 0;
    for (size_t i = 0; i < s.size; i++) {
        crc = (uint16_t)(crc ^ (uint16_t)((uint8_t)s.data[i] << 8));
        for (int bit = 0; bit < 8; bit++) {
            crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
        }
    }
    return crc;
}

unsigned redis_slot(struct slice key) {
    size_t open = slice_find(key, '{', 0);
    if (open < key.size) {
        size_t close = slice_find(key, '}', open + 1);
        if (close < key.size && close > open + 1) key = slice_sub(key, open + 1, close - open - 1);
    }
    return redis_crc16(key) % REDIS_SLOTS;
}

/// The number behind `*at`, which is moved behind its line end.
static size_t encoded_number(struct slice encoded, size_t *at) {
    size_t number = 0;
    for (; *at < encoded.size && encoded.data[*at] != '\r'; (*at)++) {
        number = number * 10 + (size_t)(encoded.data[*at] - '0');
    }
    *at += 2;
    return number;
}

struct slice redis_encoded_argument(struct slice encoded, size_t index) {
    size_t at = 1, count = encoded_number(encoded, &at);
    if (index >= count) return (struct slice){0};
    for (size_t i = 0;; i++) {
        at++; // $
        size_t size = encoded_number(encoded, &at);
        if (i == index) return slice_make(encoded.data + at, size);
        at += size + 2;
    }
}

struct rule {
    const char *command;
    signed char key; ///< index of the first key; of its count, if counted; 0: none
    bool counted;
};

/// What is no key as the first argument. Commands that are not here have a key there, if they have
/// an argument at all.
static const struct rule rules[] = {
    {"PING", 0, false},      {"PUBLISH", 0, false},   {"INFO", 0, false},
    {"TIME", 0, false},      {"SCRIPT", 0, false},    {"FUNCTION", 0, false},
    {"ECHO", 0, false},      {"CLUSTER", 0, false},   {"CONFIG", 0, false},
    {"CLIENT", 0, false},    {"COMMAND", 0, false},   {"DBSIZE", 0, false},
    {"FLUSHALL", 0, false},  {"FLUSHDB", 0, false},   {"KEYS", 0, false},
    {"SCAN", 0, false},      {"RANDOMKEY", 0, false}, {"PUBSUB", 0, false},
    {"ROLE", 0, false},      {"WAIT", 0, false},      {"LASTSAVE", 0, false},
    {"DEBUG", 0, false},     {"LATENCY", 0, false},   {"SLOWLOG", 0, false},
    {"OBJECT", 2, false},    {"MEMORY", 2, false},    {"XINFO", 2, false},
    {"XGROUP", 2, false},    {"BITOP", 2, false},     {"EVAL", 2, true},
    {"EVALSHA", 2, true},    {"EVAL_RO", 2, true},    {"EVALSHA_RO", 2, true},
    {"FCALL", 2, true},      {"FCALL_RO", 2, true},   {"ZUNION", 1, true},
    {"ZINTER", 1, true},     {"ZDIFF", 1, true},      {"ZINTERCARD", 1, true},
    {"SINTERCARD", 1, true}, {"LMPOP", 1, true},      {"ZMPOP", 1, true},
};

int redis_encoded_slot(struct slice encoded) {
    struct slice command = redis_encoded_argument(encoded, 0), key;
    size_t index = 1;
    if (slice_equal_fold(command, SLICE("XREAD")) ||
        slice_equal_fold(command, SLICE("XREADGROUP"))) {
        struct slice word;
        do {
            word = redis_encoded_argument(encoded, index++);
        } while (word.data && !slice_equal_fold(word, SLICE("STREAMS")));
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!slice_equal_fold(command, slice_of(rules[i].command))) continue;
        if (rules[i].key == 0) return -1;
        index = (size_t)rules[i].key;
        uint64_t keys;
        if (!rules[i].counted) break;
        if (!slice_to_u64(redis_encoded_argument(encoded, index++), &keys) || keys == 0) return -1;
        break;
    }
    key = redis_encoded_argument(encoded, index);
    return key.data ? (int)redis_slot(key) : -1;
}
