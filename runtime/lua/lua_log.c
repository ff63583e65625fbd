// runtime.log: log.info("order.paid", { order = 7, amount = 1000 }). The event is a dotted name
// that never varies; what varies goes into fields. The request id of the running coroutine is
// added.
#include "base/log.h"
#include "lua/coroutine.h"

enum { FIELDS_MOST = 24, VALUE_MOST = 16 * 1024 };

static bool is_event(const char *event) {
    size_t size = strspn(event, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    return size > 0 && size < 80 && event[size] == '\0';
}

static int write_event(lua_State *L) {
    enum log_level level = (enum log_level)lua_tointeger(L, lua_upvalueindex(1));
    const char *event = luaL_checkstring(L, 1);
    luaL_argcheck(L, is_event(event), 1, "an event is a dotted name in lower case");
    struct log_field fields[FIELDS_MOST + 2] = {{0}};
    size_t count = 1;
    struct lua_coroutine *co = lua_coroutine_of(L);
    if (co && co->request_id[0]) fields[count++] = LOG_TEXT("request", co->request_id);
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lua_settop(L, 2);
        lua_pushnil(L);
        while (lua_next(L, 2)) {
            luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, 2, "names of fields are texts");
            luaL_argcheck(L, count < FIELDS_MOST + 2, 2, "too many fields");
            const char *name = lua_tostring(L, -2);
            switch (lua_type(L, -1)) {
            case LUA_TBOOLEAN:
                fields[count++] = LOG_BOOL(name, lua_toboolean(L, -1));
                break;
            case LUA_TNUMBER:
                if (lua_isinteger(L, -1)) {
                    fields[count++] = LOG_INT(name, lua_tointeger(L, -1));
                    break;
                } // fall through
            default: {
                size_t size;
                const char *text = luaL_tolstring(L, -1, &size);
                fields[count++] =
                    LOG_SLICE(name, slice_make(text, size < VALUE_MOST ? size : VALUE_MOST));
                // The text stays on the stack below the key while the fields point at it.
                lua_insert(L, 3);
                luaL_checkstack(L, 4, "log");
            }
            }
            lua_pop(L, 1);
        }
    }
    log_write(level, event, fields, count);
    return 0;
}

int lua_open_log(lua_State *L) {
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {{"debug", LOG_DEBUG_LEVEL},
                  {"info", LOG_INFO_LEVEL},
                  {"warn", LOG_WARN_LEVEL},
                  {"error", LOG_ERROR_LEVEL}};
    lua_createtable(L, 0, 4);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        lua_pushinteger(L, levels[i].level);
        lua_pushcclosure(L, write_event, 1);
        lua_setfield(L, -2, levels[i].name);
    }
    return 1;
}
