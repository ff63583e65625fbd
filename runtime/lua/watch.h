#ifndef FOOTLIGHT_LUA_WATCH_H
#define FOOTLIGHT_LUA_WATCH_H
#include "loop/loop.h"

/// Watches folders and everything below them (inotify, one watch a folder; new folders are picked
/// up). `changed` comes once for a burst of changes: WATCH_QUIET_MS after the last one, but at most
/// WATCH_MOST_MS after the first. Editors' backup and swap files do not count.
enum { WATCH_QUIET_MS = 40, WATCH_MOST_MS = 120 };

struct watch;
struct watch *watch_new(struct loop *loop, void (*changed)(void *context), void *context);
void watch_add(struct watch *watch,
               const char *folder);   ///< a folder that does not exist is ignored
void watch_free(struct watch *watch); ///< the handles close in the next tick
#endif
