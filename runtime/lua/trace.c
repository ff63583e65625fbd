#include "lua/trace.h"

#include <string.h>

#include "base/memory.h"
#include "lua/limits.h"

void trace_stack(struct buffer *out, lua_State *L, int level, int most) {
    lua_Debug frame;
    for (int n = 0; lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "Slnt", &frame);
        if (strcmp(frame.what, "C") == 0 && !frame.name) continue; // the scheduler's own frames
        if (n++ == most) {
            buffer_append_text(out, "  …\n");
            return;
        }
        if (frame.currentline > 0) {
            buffer_printf(out, "  %s:%d: in ", frame.short_src, frame.currentline);
        } else {
            buffer_printf(out, "  %s: in ", frame.short_src);
        }
        if (strcmp(frame.what, "main") == 0) {
            buffer_append_text(out, "main chunk\n");
        } else if (frame.name) {
            buffer_printf(out, "%s '%s'\n", *frame.namewhat ? frame.namewhat : "function",
                          frame.name);
        } else {
            buffer_printf(out, "function <%s:%d>\n", frame.short_src, frame.linedefined);
        }
        if (frame.istailcall) buffer_append_text(out, "  (tail calls)\n");
    }
}

char *trace_origin(lua_State *L, const struct lua_coroutine *spawner) {
    struct buffer text = {0};
    trace_stack(&text, L, 1, 6);
    if (spawner && spawner->origin && text.size < TRACE_ORIGIN_MOST) {
        buffer_append_text(&text, "spawned at\n");
        buffer_append_text(&text, spawner->origin);
    }
    if (text.size > TRACE_ORIGIN_MOST) text.size = TRACE_ORIGIN_MOST;
    char *copy = memory_copy_string(buffer_text(&text));
    buffer_free(&text);
    return copy;
}

int trace_handler(lua_State *L) {
    struct lua_coroutine *co = lua_coroutine_of(L);
    if (co) {
        struct buffer text = {0};
        trace_stack(&text, L, 1, TRACE_LEVELS);
        memory_free(co->trace);
        co->trace = memory_copy_string(buffer_text(&text));
        buffer_free(&text);
    }
    return 1;
}

void trace_message(struct buffer *out, lua_State *L, int index) {
    index = lua_absindex(L, index);
    if (lua_type(L, index) == LUA_TTABLE) {
        lua_pushliteral(L, "message");
        if (lua_rawget(L, index) == LUA_TSTRING) {
            buffer_append_text(out, lua_tostring(L, -1));
            lua_pop(L, 1);
            return;
        }
        lua_pop(L, 1);
    }
    // A __tostring of Lua code could raise or wait; nobody protects us here, so it is not called.
    switch (lua_type(L, index)) {
    case LUA_TSTRING: {
        size_t size;
        const char *text = lua_tolstring(L, index, &size);
        buffer_append(out, text, size);
        break;
    }
    case LUA_TNUMBER:
        lua_pushvalue(L, index);
        buffer_append_text(out, lua_tostring(L, -1));
        lua_pop(L, 1);
        break;
    default:
        buffer_printf(out, "(error value is a %s)", luaL_typename(L, index));
    }
}

void trace_describe(struct buffer *out, lua_State *L, int index, const struct lua_coroutine *co) {
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
    if (text && strcmp(text, "not enough memory") == 0 && co->anchor.host->refused) {
        char size[24];
        limits_size_text(co->limits.memory, size);
        buffer_printf(out, "memory limit of %s reached", size);
    } else {
        trace_message(out, L, index);
    }
    if (co->trace && *co->trace) {
        buffer_append_text(out, "\nstack:\n");
        buffer_append_text(out, co->trace);
    }
    if (co->origin && *co->origin) {
        if (out->data[out->size - 1] != '\n') buffer_append_char(out, '\n');
        buffer_append_text(out, "spawned at\n");
        buffer_append_text(out, co->origin);
    }
    while (out->size > 0 && out->data[out->size - 1] == '\n') out->size--;
}
