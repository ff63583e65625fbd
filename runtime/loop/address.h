#ifndef FOOTLIGHT_LOOP_ADDRESS_H
#define FOOTLIGHT_LOOP_ADDRESS_H
#include <netinet/in.h>
#include <sys/socket.h>

/// An address of the internet, of either family.
union internet_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

/// Reads a numeric host ("127.0.0.1", "::1"; no names, no brackets). Returns the size of the
/// address, or 0 if `host` is none.
socklen_t internet_address_parse(union internet_address *address, const char *host, uint16_t port);
#endif
