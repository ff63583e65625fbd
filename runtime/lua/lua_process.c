// runtime.process: child processes with limits. No shell: a list of arguments is a list of
// arguments. Those that are talked with are in lua_child.c.
#include <signal.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "lua/lua_process.h"

enum { OUTPUT_MOST = 4 * 1024 * 1024, LIMIT_DEFAULT_S = 30, CHILDREN_MOST = 64 };

struct running {
    lua_pending handle;
    struct child *child;
    struct buffer output, errors;
    size_t most;
    bool overflow;
};

unsigned process_children;

static void on_output(void *context, int stream, struct slice data) {
    struct running *running = context;
    struct buffer *out = stream == 1 ? &running->output : &running->errors;
    if (out->size + data.size > running->most) {
        running->overflow = true;
        child_kill(running->child, SIGKILL);
        return;
    }
    buffer_append_slice(out, data);
}

static void push_text(lua_State *L, const char *field, const struct buffer *text) {
    lua_pushlstring(L, text->data ? text->data : "", text->size);
    lua_setfield(L, -2, field);
}

static void on_exit_status(void *context, int status, bool timed_out) {
    struct running *running = context;
    process_children--;
    lua_State *co = lua_pending_take(running->handle);
    if (co) {
        lua_createtable(co, 0, 4);
        lua_pushinteger(co, status);
        lua_setfield(co, -2, "status");
        push_text(co, "output", &running->output);
        push_text(co, "errors", &running->errors);
        lua_pushboolean(co, timed_out);
        lua_setfield(co, -2, "timed_out");
        lua_pushboolean(co, running->overflow);
        lua_setfield(co, -2, "overflow");
    }
    buffer_free(&running->output);
    buffer_free(&running->errors);
    memory_free(running);
    if (co) lua_pending_resume(co, 1);
}

static void on_cancel(void *data) {
    struct running *running = data;
    child_kill(running->child, SIGKILL);
}

static lua_Integer option_integer(lua_State *L, const char *name, lua_Integer otherwise) {
    lua_getfield(L, 1, name);
    lua_Integer value = luaL_optinteger(L, -1, otherwise);
    lua_pop(L, 1);
    return value;
}

// Fills list from the table at `index` (texts); they stay alive in the table.
static void read_list(lua_State *L, int index, const char **list) {
    lua_Integer count = (lua_Integer)lua_rawlen(L, index);
    if (count >= PROCESS_WORDS) luaL_error(L, "too many arguments");
    for (lua_Integer i = 1; i <= count; i++) {
        size_t size;
        lua_rawgeti(L, index, i);
        if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "argument %d is not a text", (int)i);
        list[i - 1] = lua_tolstring(L, -1, &size);
        if (strlen(list[i - 1]) != size) luaL_error(L, "argument %d holds a NUL", (int)i);
        lua_pop(L, 1);
    }
    list[count] = NULL;
}

void process_read_options(lua_State *L, struct process_words *words, struct child_options *options,
                          lua_Integer limit) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    read_list(L, 1, words->arguments);
    luaL_argcheck(L, words->arguments[0], 1, "no program");
    options->arguments = words->arguments;
    limit = option_integer(L, "limit", limit);
    luaL_argcheck(L, limit > 0 && limit <= 86400, 1, "limit out of range");
    options->limit_ms = (uint64_t)limit * 1000;
    if (lua_getfield(L, 1, "directory") != LUA_TNIL) options->directory = luaL_checkstring(L, -1);
    if (lua_getfield(L, 1, "environment") != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TTABLE);
        read_list(L, lua_gettop(L), words->environment);
        options->environment = words->environment;
    }
    if (process_children >= CHILDREN_MOST) luaL_error(L, "too many child processes");
}

int process_cannot_start(lua_State *L, const char *program, int error) {
    luaL_pushfail(L);
    lua_pushfstring(L, "%s: %s", program, uv_strerror(error));
    return 2;
}

// run{ "ffmpeg", "-v", "error", …, input = text, limit = seconds, output_most = bytes,
//      directory = path, environment = { "K=V", … } }
// → { status, output, errors, timed_out, overflow }; nil and the reason when it cannot be started.
static int run(lua_State *L) {
    struct process_words words;
    struct child_options options = {.on_output = on_output, .on_exit = on_exit_status};
    process_read_options(L, &words, &options, LIMIT_DEFAULT_S);
    lua_Integer most = option_integer(L, "output_most", OUTPUT_MOST);
    luaL_argcheck(L, most >= 0 && most <= 64 * 1024 * 1024, 1, "output_most out of range");
    size_t input_size = 0;
    const char *input = NULL;
    if (lua_getfield(L, 1, "input") != LUA_TNIL) input = luaL_checklstring(L, -1, &input_size);
    options.pipe_input = input != NULL;
    // Raises now, before there is a child to lose, if the coroutine may not wait.
    lua_pending_drop(lua_pending_begin(L, "process.run", NULL, NULL));
    struct running *running = memory_zero(1, sizeof *running);
    options.context = running;
    running->most = (size_t)most;
    int error = child_spawn(runtime_of(L)->loop, &options, &running->child);
    if (error) {
        memory_free(running);
        return process_cannot_start(L, words.arguments[0], error);
    }
    process_children++;
    if (input) {
        child_write(running->child, slice_make(input, input_size));
        child_end_input(running->child);
    }
    running->handle = lua_pending_begin(L, "process.run", on_cancel, running);
    return lua_pending_yield(L, running->handle);
}

int lua_open_process(lua_State *L) {
    static const luaL_Reg functions[] = {{"run", run}, {"start", process_start_lua}, {NULL, NULL}};
    process_child_metatable(L);
    luaL_newlib(L, functions);
    return 1;
}
