#ifndef FOOTLIGHT_WEBSOCKET_SHA1_H
#define FOOTLIGHT_WEBSOCKET_SHA1_H
#include "base/slice.h"

/// SHA-1 (FIPS 180-4), which the WebSocket handshake is built on. It is broken as a hash for
/// security; here it only proves that the server speaks the protocol. libsodium rightly has none.
enum { SHA1_SIZE = 20 };
void sha1(struct slice s, uint8_t out[SHA1_SIZE]);
#endif
