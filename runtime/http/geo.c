#include "http/geo.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

enum { LINE_LIMIT = 512, RANGES_MOST = 8 * 1024 * 1024 };

struct range {
    uint8_t first[16], last[16]; // IPv4 as ::ffff:a.b.c.d
    char country[2];
};

struct geo {
    struct range *ranges; // by `first`
    size_t count, room;
};

static bool read_address(struct slice text, uint8_t out[16], bool *v4) {
    char name[INET6_ADDRSTRLEN + 1];
    if (text.size == 0 || text.size >= sizeof name) return false;
    memcpy(name, text.data, text.size);
    name[text.size] = 0;
    memset(out, 0, 16);
    out[10] = out[11] = 0xff;
    *v4 = inet_pton(AF_INET, name, out + 12) == 1;
    return *v4 || inet_pton(AF_INET6, name, out) == 1;
}

static struct slice unquoted(struct slice field) {
    field = slice_trim(field);
    if (field.size >= 2 && field.data[0] == '"' && field.data[field.size - 1] == '"') {
        return slice_sub(field, 1, field.size - 2);
    }
    return field;
}

static bool read_network(struct slice text, struct range *range) {
    size_t slash = slice_find(text, '/', 0);
    bool v4;
    uint64_t bits = 0;
    if (slash == text.size || !read_address(slice_sub(text, 0, slash), range->first, &v4) ||
        !slice_to_u64(slice_sub(text, slash + 1, text.size), &bits) || bits > (v4 ? 32 : 128)) {
        return false;
    }
    bits += v4 ? 96 : 0;
    for (unsigned i = 0; i < 16; i++) {
        unsigned kept = bits >= 8 * (i + 1) ? 8 : bits > 8 * i ? (unsigned)bits - 8 * i : 0;
        uint8_t mask = (uint8_t)(0xff << (8 - kept));
        range->first[i] &= mask;
        range->last[i] = (uint8_t)(range->first[i] | (uint8_t)~mask);
    }
    return true;
}

static bool read_line(struct slice line, struct range *range) {
    struct slice fields[3] = {{0}}, rest = line;
    unsigned count = 0;
    bool v4, also;
    while (count < 3 && rest.data && slice_next(&rest, ',', &fields[count])) {
        fields[count] = unquoted(fields[count]);
        count++;
    }
    if (count < 2) return false;
    bool network = slice_find(fields[0], '/', 0) < fields[0].size;
    struct slice country = fields[network ? 1 : 2];
    if (country.size != 2) return false;
    for (unsigned i = 0; i < 2; i++) {
        char letter = country.data[i];
        if (letter >= 'a' && letter <= 'z') letter = (char)(letter - 32);
        if (letter < 'A' || letter > 'Z') return false;
        range->country[i] = letter;
    }
    if (network) return read_network(fields[0], range);
    return read_address(fields[0], range->first, &v4) && read_address(fields[1], range->last, &also) &&
           v4 == also && memcmp(range->first, range->last, 16) <= 0;
}

static int by_first(const void *a, const void *b) {
    return memcmp(((const struct range *)a)->first, ((const struct range *)b)->first, 16);
}

struct geo *geo_read(const char *path, const char **why) {
    FILE *file = fopen(path, "re");
    if (!file) {
        *why = "the file cannot be opened";
        return NULL;
    }
    struct geo *geo = memory_zero(1, sizeof *geo);
    char line[LINE_LIMIT];
    while (geo->count < RANGES_MOST && fgets(line, sizeof line, file)) {
        struct range range = {0};
        line[strcspn(line, "\r\n")] = 0;
        if (!read_line(slice_of(line), &range)) continue;
        if (geo->count == geo->room) {
            geo->room = geo->room ? geo->room * 2 : 1024;
            geo->ranges = memory_resize(geo->ranges, geo->room * sizeof *geo->ranges);
        }
        geo->ranges[geo->count++] = range;
    }
    bool failed = ferror(file) != 0;
    fclose(file);
    if (failed || geo->count == 0) {
        *why = failed ? "the file cannot be read" : "the file holds no ranges";
        geo_free(geo);
        return NULL;
    }
    qsort(geo->ranges, geo->count, sizeof *geo->ranges, by_first);
    return geo;
}

void geo_free(struct geo *geo) {
    if (!geo) return;
    memory_free(geo->ranges);
    memory_free(geo);
}

size_t geo_count(const struct geo *geo) {
    return geo->count;
}

bool geo_country(const struct geo *geo, struct slice address, char out[3]) {
    uint8_t bytes[16];
    bool v4;
    if (!read_address(address, bytes, &v4)) return false;
    size_t low = 0, high = geo->count; // the last range that begins at or before it
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(geo->ranges[middle].first, bytes, 16) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0 || memcmp(geo->ranges[low - 1].last, bytes, 16) < 0) return false;
    memcpy(out, geo->ranges[low - 1].country, 2);
    out[2] = 0;
    return true;
}
