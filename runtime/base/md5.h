#ifndef FOOTLIGHT_BASE_MD5_H
#define FOOTLIGHT_BASE_MD5_H
#include <stddef.h>
#include <stdint.h>

/// MD5 (RFC 1321), for two protocols that prescribe it: nginx' secure_link, and the handshake of the
/// WebSocket draft of 2010. It is broken as a hash for security.
enum { MD5_SIZE = 16 };
void md5(unsigned char out[MD5_SIZE], const void *data, size_t size);
#endif
