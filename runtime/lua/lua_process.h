#ifndef FOOTLIGHT_LUA_LUA_PROCESS_H
#define FOOTLIGHT_LUA_LUA_PROCESS_H
#include "loop/child.h"
#include "lua/pending.h"
#include "lua/runtime.h"

/// Shared by lua_process.c and lua_child.c.
enum { PROCESS_WORDS = 256 };
struct process_words {
    const char *arguments[PROCESS_WORDS], *environment[PROCESS_WORDS];
};
extern unsigned process_children; ///< that run now

/// Reads the table at index 1 (the only value from then on, with what it holds above it): words, limit,
/// directory, environment. Raises what is wrong, also when too many children run.
void process_read_options(lua_State *L, struct process_words *words, struct child_options *options,
                          lua_Integer limit);
int process_cannot_start(lua_State *L, const char *program, int error); ///< nil and the reason
int process_start_lua(lua_State *L);       // process.start{…}
void process_child_metatable(lua_State *L); ///< makes it
#endif
