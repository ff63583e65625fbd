#ifndef FOOTLIGHT_LUA_CRYPTO_H
#define FOOTLIGHT_LUA_CRYPTO_H
#include "lua/runtime.h"

/// What the files of runtime.crypto share.
enum { CRYPTO_KEY_SIZE = 32 };
/// The 32 bytes of secrets.<name>; raises when it is not set. Wipe the copy after use.
void crypto_named_key(lua_State *L, const char *name, unsigned char key[CRYPTO_KEY_SIZE]);
void crypto_open_password(lua_State *L); ///< lua_password.c: adds to [-1]
void crypto_open_token(lua_State *L);    ///< lua_token.c: adds JWT and TOTP to [-1]
#endif
