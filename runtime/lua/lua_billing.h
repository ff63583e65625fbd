#ifndef FOOTLIGHT_LUA_BILLING_H
#define FOOTLIGHT_LUA_BILLING_H
#include "billing/wallet.h"
#include "lua/runtime.h"

/// Between the files of runtime.billing.
struct billing *lua_billing_of(lua_State *L); ///< raises where this service has none
const char *lua_billing_reason(const char *error);
/// A whole number in field `name` of the table at 1; 0 when it is absent and may be.
int64_t lua_billing_integer(lua_State *L, const char *name, bool optional);
/// The text of a field; it stays on the stack, so that it stays valid.
struct slice lua_billing_text(lua_State *L, const char *name, const char *otherwise);
struct billing_operation lua_billing_operation(lua_State *L, const char *type);
/// Resume the coroutine with the wallet; strict: whatever goes wrong is raised.
void lua_billing_done(void *context, const struct billing_result *result);
void lua_billing_done_strict(void *context, const struct billing_result *result);
/// lua_billing_more.c: adds its functions to the table on the top.
void lua_billing_add_corrections(lua_State *L);
#endif
