#ifndef FOOTLIGHT_STREAMING_ORDER_H
#define FOOTLIGHT_STREAMING_ORDER_H
#include "base/slice.h"

/// An order on ctl:hooks or ctl:media, one flat JSON object:
///   {"do":"cut","sid":"w:…","reason":"ban"}      one viewing session
///   {"do":"revoke","nonce":"…"}                  a ticket, and the session that began with it
///   {"do":"kick","account":7,"reason":"…"}       all that an account watches or broadcasts
///   {"do":"drop","slug":"luna","who":"viewers"}  a stream: "viewers", "publisher" or (absent) both
///   {"do":"show","slug":"luna","show":9}         it is for the tickets of show 9 alone; 0: public
///   {"do":"end","slug":"luna"}                   its publisher has left: web viewers are done
///   {"do":"warm","slug":"luna","host":"main"}    it went live there: media pulls it at once
///   {"do":"refused","slug":"luna","reason":"…"}  hooks let her browser's publisher not in
struct order {
    char verb[16], sid[112], slug[48], nonce[24], who[16], host[16], reason[64];
    int64_t account; ///< 0 if absent
    int64_t show;
};

/// NULL, or what is wrong. Strings longer than their place are refused, unknown members ignored.
const char *order_read(struct order *order, struct slice json);
#endif
