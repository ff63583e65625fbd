#ifndef FOOTLIGHT_LUA_LUA_FILE_H
#define FOOTLIGHT_LUA_LUA_FILE_H
#include <lua.h>
#include <stdbool.h>

/// Shared by lua_file.c and lua_file_stream.c.
enum { FILE_PATH_MOST = 1024 };

/// The path at `index`, whole: below the run-time folder or, where nothing is changed, below the root.
/// Raises for all others.
void lua_file_path(lua_State *L, int index, bool change, char out[FILE_PATH_MOST]);
/// Pushes nil, a message and "missing", "exists" or "failed". 3.
int lua_file_problem(lua_State *L, const char *path, int error);

int lua_file_open(lua_State *L);   // open(path)
int lua_file_create(lua_State *L); // create(path)
#endif
