#include "http/proxies.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/memory.h"

static bool parse_address(struct slice text, uint8_t out[16]) {
    char name[INET6_ADDRSTRLEN + 1];
    if (text.size == 0 || text.size >= sizeof name) return false;
    memcpy(name, text.data, text.size);
    name[text.size] = 0;
    memset(out, 0, 16);
    out[10] = out[11] = 0xff;
    return inet_pton(AF_INET, name, out + 12) == 1 || inet_pton(AF_INET6, name, out) == 1;
}

bool http_proxies_parse(struct http_proxies *proxies, const char *text) {
    struct slice rest = slice_of(text), part;
    bool good = true;
    while (rest.data && slice_next(&rest, ',', &part)) {
        part = slice_trim(part);
        if (part.size == 0) continue;
        if (slice_equal(part, SLICE("unix"))) {
            proxies->unix_sockets = true;
            continue;
        }
        size_t slash = slice_find(part, '/', 0);
        struct http_network network = {.bits = 128};
        struct slice address = slice_sub(part, 0, slash);
        bool v4 = slice_find(address, ':', 0) == address.size;
        uint64_t bits = v4 ? 32 : 128;
        if (!parse_address(address, network.address) ||
            (slash < part.size && !slice_to_u64(slice_sub(part, slash + 1, part.size), &bits)) ||
            bits > (v4 ? 32 : 128)) {
            good = false;
            continue;
        }
        network.bits = (unsigned)bits + (v4 ? 96 : 0);
        proxies->networks = memory_resize(proxies->networks,
                                          (proxies->count + 1) * sizeof *proxies->networks);
        proxies->networks[proxies->count++] = network;
    }
    return good;
}

void http_proxies_free(struct http_proxies *proxies) {
    memory_free(proxies->networks);
    *proxies = (struct http_proxies){0};
}

static bool inside(const struct http_network *network, const uint8_t address[16]) {
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    if (memcmp(network->address, address, whole) != 0) return false;
    if (rest == 0) return true;
    return ((network->address[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

bool http_proxies_trust(const struct http_proxies *proxies, struct slice address) {
    uint8_t bytes[16];
    if (slice_equal(address, SLICE("unix"))) return proxies->unix_sockets;
    if (proxies->count == 0 || !parse_address(address, bytes)) return false;
    for (size_t i = 0; i < proxies->count; i++)
        if (inside(&proxies->networks[i], bytes)) return true;
    return false;
}

void http_proxies_apply(const struct http_proxies *proxies, struct http_request *request) {
    uint8_t bytes[16];
    request->secure = slice_equal_fold(http_request_header(request, "x-forwarded-proto"),
                                       SLICE("https"));
    struct slice list = http_request_header(request, "x-forwarded-for");
    while (list.size) {
        size_t start = list.size;
        while (start > 0 && list.data[start - 1] != ',') start--;
        struct slice last = slice_trim(slice_sub(list, start, list.size));
        if (!parse_address(last, bytes)) return; // what stands left of it is anybody's invention
        snprintf(request->remote, sizeof request->remote, "%.*s", SLICE_FORMAT(last));
        if (!http_proxies_trust(proxies, last)) return;
        list = slice_sub(list, 0, start ? start - 1 : 0);
    }
}
