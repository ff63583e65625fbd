#ifndef FOOTLIGHT_LUA_LUA_STREAMING_H
#define FOOTLIGHT_LUA_LUA_STREAMING_H
#include "lua/runtime.h"

struct streaming;

/// Lets the exports `on_publish` and `on_play` of the current generation decide, where they are
/// defined. Call once, after the first generation was loaded.
void lua_streaming_attach(struct runtime *runtime, struct streaming *streaming);
#endif
