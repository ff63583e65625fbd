#ifndef FOOTLIGHT_REDIS_SLOT_H
#define FOOTLIGHT_REDIS_SLOT_H
#include "base/slice.h"

/// Which slot of a Redis Cluster a command belongs to.
enum { REDIS_SLOTS = 16384 };

uint16_t redis_crc16(struct slice s); ///< CRC-16/XMODEM
/// Only what stands in the first non-empty pair of braces counts, if there is one.
unsigned redis_slot(struct slice key);

/// Argument `index` of an encoded command (RESP, as redis_encode writes it); data is NULL if there
/// are not so many.
struct slice redis_encoded_argument(struct slice encoded, size_t index);
/// The slot of the first key of an encoded command; -1 if it has none and may go to any node.
int redis_encoded_slot(struct slice encoded);
#endif
