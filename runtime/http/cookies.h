#ifndef FOOTLIGHT_HTTP_COOKIES_H
#define FOOTLIGHT_HTTP_COOKIES_H
#include "base/slice.h"

/// Walks a Cookie header (RFC 6265, 4.2.1): *rest starts as its value; false at the end. Pairs whose
/// name is no token or whose value holds bytes that no cookie may hold are skipped; quotes around a
/// value are taken off.
bool http_cookie_next(struct slice *rest, struct slice *name, struct slice *value);
#endif
