#ifndef FOOTLIGHT_REALTIME_ROOM_H
#define FOOTLIGHT_REALTIME_ROOM_H
#include "base/slice.h"
#include "redis/client.h"

/// What a room has decided about who may write, kept in the main Redis for each channel C; the site
/// sets it by runtime.realtime (lua_realtime_room.c), the service obeys.
///   rt:mode:C    hash  slow (seconds between messages of one account), followers, tippers, links (1: on)
///   rt:slow:C:N  string  the account N must wait while this lives
///   rt:mute:C    hash  account → until (ms; 0: for good): may not write
///   rt:ban:C     hash  account → until: may not write nor listen
///   rt:role:C    hash  account → model or moderator, in this room: above its modes, and shown as that
///   rt:follow:C  set   accounts that follow
///   rt:tip:C     zset  accounts by the time of their last tip (ms); it counts for a day
enum { ROOM_TIP_MS = 24 * 3600 * 1000 };

struct room_sender {
    int64_t account, issued; ///< issued: of the token, in seconds
    bool staff;
};
struct room_standing {
    struct slice word; ///< ok, closed, banned, muted, slow, followers, tippers; empty: Redis failed
    struct slice role; ///< in this room; or empty
    bool links;        ///< may be written
};
typedef void room_standing_fn(void *context, const struct room_standing *standing);

/// One round trip. `done` is called later, always.
void room_ask(struct redis_client *redis, const char *channel, const struct room_sender *sender,
              room_standing_fn *done, void *context);

/// Tells whether the account is banned from the channel. False if Redis fails: writing is asked anew.
typedef void room_banned_fn(void *context, bool banned);
void room_ask_banned(struct redis_client *redis, const char *channel, int64_t account,
                     room_banned_fn *done, void *context);
#endif
