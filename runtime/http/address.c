#include "http/address.h"

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

static bool public_v4(uint32_t a) {
    static const struct {
        uint32_t network;
        unsigned bits;
    } kept[] = {
        {0x00000000, 8},  {0x0a000000, 8},  {0x64400000, 10}, {0x7f000000, 8},  {0xa9fe0000, 16},
        {0xac100000, 12}, {0xc0000000, 24}, {0xc0000200, 24}, {0xc0586300, 24}, {0xc0a80000, 16},
        {0xc6120000, 15}, {0xc6336400, 24}, {0xcb007100, 24}, {0xe0000000, 4},  {0xf0000000, 4},
    };
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if ((a ^ kept[i].network) >> (32 - kept[i].bits) == 0) return false;
    return true;
}

static uint32_t v4_at(const uint8_t *b) {
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool public_v6(const uint8_t b[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(b, mapped, 12) == 0) return public_v4(v4_at(b + 12));
    if (memcmp(b, nat64, 12) == 0) return public_v4(v4_at(b + 12));
    if (b[0] == 0x20 && b[1] == 0x02) return public_v4(v4_at(b + 2)); // 6to4
    if (b[0] == 0x20 && b[1] == 0x01 && b[2] < 0x02) return false;    // Teredo and protocol use
    if (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0x0d && b[3] == 0xb8) return false;
    return (b[0] & 0xe0) == 0x20; // 2000::/3 is all that has been given out
}

bool address_public(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        return public_v4(ntohl(v4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        return public_v6(v6.sin6_addr.s6_addr);
    }
    return false;
}
