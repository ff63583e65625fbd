// Lua's coroutine library for states that have a scheduler. The difference is in resume: when code
// inside a Lua coroutine waits (redis.call in a generator, say), the wait passes through the
// coroutine up to the scheduler, and the answer comes back down the same way. To Lua code it looks
// as if the call had blocked; a coroutine that waits so is "normal", not "suspended".
#include "lua/coroutine.h"
#include "lua/limits.h"

static lua_State *check_coroutine(lua_State *L, int index) {
    lua_State *co = lua_tothread(L, index);
    luaL_argexpected(L, co, index, "coroutine");
    return co;
}

static bool waits(lua_State *co) {
    return lua_anchor_of(co)->coroutine != NULL;
}

static const char *status_of(lua_State *L, lua_State *co) {
    if (L == co) return "running";
    lua_Debug frame;
    switch (lua_status(co)) {
    case LUA_YIELD:
        return waits(co) ? "normal" : "suspended";
    case LUA_OK:
        if (lua_getstack(co, 0, &frame)) return "normal";
        if (waits(co)) return "normal"; // the scheduler's own
        return lua_gettop(co) == 0 ? "dead" : "suspended";
    default:
        return "dead";
    }
}

static int resume_loop(lua_State *L, lua_State *co, int arguments, bool wrapped);

// [1] the coroutine; the context tells whether errors are raised (wrap) or returned (resume).
static int resume_again(lua_State *L, int status, lua_KContext wrapped) {
    (void)status;
    lua_State *co = lua_tothread(L, 1);
    struct lua_coroutine *root = lua_coroutine_current();
    lua_anchor_set(co, &root->anchor.host->anchor);
    return resume_loop(L, co, root->resume_on == co ? root->resume_values : 0, wrapped != 0);
}

static int resume_loop(lua_State *L, lua_State *co, int arguments, bool wrapped) {
    int results = 0;
    limits_running(co);
    int status = lua_resume(co, L, arguments, &results);
    limits_running(L);
    struct lua_coroutine *root = lua_coroutine_current();
    if (status == LUA_YIELD && root && root->suspending) {
        lua_anchor_set(co, &root->anchor);
        return lua_yieldk(L, 0, wrapped, resume_again);
    }
    if (status == LUA_OK || status == LUA_YIELD) {
        if (!lua_checkstack(L, results + 1)) {
            lua_pop(co, results);
            return luaL_error(L, "too many results to resume");
        }
        if (!wrapped) lua_pushboolean(L, 1);
        lua_xmove(co, L, results);
        return results + !wrapped;
    }
    if (wrapped) {
        lua_xmove(co, L, 1);
        lua_resetthread(co);
        if (lua_type(L, -1) == LUA_TSTRING) {
            luaL_where(L, 1);
            lua_insert(L, -2);
            lua_concat(L, 2);
        }
        return lua_error(L);
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

static int resume_checked(lua_State *L, int arguments, bool wrapped) {
    lua_State *co = lua_tothread(L, 1);
    const char *status = status_of(L, co);
    if (strcmp(status, "suspended") != 0) {
        const char *text = strcmp(status, "dead") == 0 ? "cannot resume dead coroutine"
                                                       : "cannot resume non-suspended coroutine";
        if (wrapped) return luaL_error(L, "%s", text);
        lua_pushboolean(L, 0);
        lua_pushstring(L, text);
        return 2;
    }
    if (!lua_checkstack(co, arguments)) return luaL_error(L, "too many arguments to resume");
    lua_xmove(L, co, arguments);
    return resume_loop(L, co, arguments, wrapped);
}

static int library_resume(lua_State *L) {
    check_coroutine(L, 1);
    return resume_checked(L, lua_gettop(L) - 1, false);
}

static int wrap_call(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    return resume_checked(L, lua_gettop(L) - 1, true);
}

static int library_create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_anchor_set(co, &lua_host_of(L)->anchor);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int library_wrap(lua_State *L) {
    library_create(L);
    lua_pushcclosure(L, wrap_call, 1);
    return 1;
}

static bool is_root(lua_State *L) {
    struct lua_coroutine *root = lua_coroutine_current();
    return !root || root->L == L;
}

static int library_yield(lua_State *L) {
    if (is_root(L)) return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

static int library_status(lua_State *L) {
    lua_pushstring(L, status_of(L, check_coroutine(L, 1)));
    return 1;
}

static int library_running(lua_State *L) {
    lua_pushthread(L);
    lua_pushboolean(L, is_root(L));
    return 2;
}

static int library_isyieldable(lua_State *L) {
    lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    lua_pushboolean(L, !is_root(co) && lua_isyieldable(co));
    return 1;
}

static int library_close(lua_State *L) {
    lua_State *co = check_coroutine(L, 1);
    const char *status = status_of(L, co);
    if (strcmp(status, "suspended") != 0 && strcmp(status, "dead") != 0) {
        return luaL_error(L, "cannot close a %s coroutine", status);
    }
    if (lua_resetthread(co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

void lua_coroutine_library(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"close", library_close},
        {"create", library_create},
        {"isyieldable", library_isyieldable},
        {"resume", library_resume},
        {"running", library_running},
        {"status", library_status},
        {"wrap", library_wrap},
        {"yield", library_yield},
        {NULL, NULL},
    };
    luaL_newlib(L, functions);
    lua_pushvalue(L, -1);
    lua_setglobal(L, "coroutine");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_insert(L, -2);
    lua_setfield(L, -2, "coroutine");
    lua_pop(L, 1);
}
