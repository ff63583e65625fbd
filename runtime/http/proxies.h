#ifndef FOOTLIGHT_HTTP_PROXIES_H
#define FOOTLIGHT_HTTP_PROXIES_H
#include "http/request.h"

/// Networks of proxies in front of us whose forwarding headers are believed.
struct http_network {
    uint8_t address[16]; ///< IPv4 as ::ffff:a.b.c.d
    unsigned bits;
};
struct http_proxies {
    struct http_network *networks;
    size_t count;
    bool unix_sockets;
};

/// "127.0.0.1, 10.0.0.0/8, ::1, unix". False if an entry is not an address; the good ones are kept.
bool http_proxies_parse(struct http_proxies *proxies, const char *text);
void http_proxies_free(struct http_proxies *proxies);
bool http_proxies_trust(const struct http_proxies *proxies, struct slice address);
/// Sets request->remote and ->secure from what a trusted peer forwarded: the last address of
/// X-Forwarded-For that is not itself a trusted proxy.
void http_proxies_apply(const struct http_proxies *proxies, struct http_request *request);
#endif
