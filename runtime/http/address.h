#ifndef FOOTLIGHT_HTTP_ADDRESS_H
#define FOOTLIGHT_HTTP_ADDRESS_H
#include <stdbool.h>
#include <sys/socket.h>

/// True only for addresses of the public internet: not loopback, private, link-local, shared,
/// documentation, multicast or reserved ones, nor IPv6 forms that carry such an IPv4 address. What
/// a URL from a user may lead to.
bool address_public(const struct sockaddr *address);
#endif
