#ifndef FOOTLIGHT_HTTP_GEO_H
#define FOOTLIGHT_HTTP_GEO_H
#include "base/slice.h"

/// Which country an address is in, from a file of ranges as the usual providers give them away: lines
/// of `first,last,CC` or `network/bits,CC`, IPv4 and IPv6 mixed, quoted or not. Other lines are skipped.
struct geo;

/// NULL and the reason (static text) if the file cannot be read or holds no range.
struct geo *geo_read(const char *path, const char **why);
void geo_free(struct geo *geo);
size_t geo_count(const struct geo *geo);
/// The two letters of the country into `out`; false if the address is none, or in no range.
bool geo_country(const struct geo *geo, struct slice address, char out[3]);
#endif
