#ifndef FOOTLIGHT_STREAMING_HOOK_REQUEST_H
#define FOOTLIGHT_STREAMING_HOOK_REQUEST_H
#include "base/arena.h"
#include "base/slice.h"

/// What nginx-rtmp says in one callback. It writes its own fields first, percent-encoded, in an
/// order that is fixed for each call, and then the player's arguments as the player sent them:
///
///     app=live&…&clientid=7&call=play&name=luna&start=0&duration=0&reset=0&t=TICKET&clientid=1
///
/// So nothing here is looked up by name. The fields are read in that order and must be there; all
/// behind them is the tail, out of which only the ticket is taken. An argument that calls itself
/// `clientid` or `name` therefore stays an argument.
enum hook_call {
    HOOK_CONNECT,
    HOOK_DISCONNECT,
    HOOK_PUBLISH,
    HOOK_PLAY,
    HOOK_UPDATE_PUBLISH,
    HOOK_UPDATE_PLAY,
    HOOK_PUBLISH_DONE,
    HOOK_PLAY_DONE,
    HOOK_DONE,
    HOOK_RECORD_DONE,
};

struct hook_request {
    enum hook_call call;
    struct slice app, flashver, tcurl, addr; ///< decoded; what the client says about itself
    struct slice name;                       ///< stream name as the client asked for it
    struct slice type;                       ///< publish: live, record or append
    struct slice recorder, path;             ///< record_done
    uint64_t client;    ///< unique while this nginx runs; 0 in connect, which has none
    uint64_t time;      ///< updates: seconds since the publish or play request
    uint64_t timestamp; ///< updates: media time in ms
    struct slice ticket; ///< argument `t` of the tail (the first one), decoded; empty if absent
};

enum {
    HOOK_BODY_LIMIT = 8 * 1024, ///< nginx's own buffers end far below
    HOOK_FIELD_LIMIT = 1024,    ///< one decoded value
    HOOK_TAIL_ARGUMENTS = 32,   ///< arguments of the tail that are looked at
};

/// Reads a body. Everything points into the arena. NULL if it is well formed, else a static text
/// that says what is wrong with it.
const char *hook_request_read(struct hook_request *hook, struct arena *arena, struct slice body);

/// 1 to 40 of [a-z0-9-], beginning and ending with a letter or digit: safe as a file name, a URL
/// part and a stream name. Slugs come from our own pages; names from players must pass this too.
enum { SLUG_LIMIT = 40 };
bool slug_valid(struct slice slug);
#endif
