// process.start: a child that is talked with. Its output waits in the pipe until it is read, and
// what is written to it makes the writer wait, so neither side can flood the other.
#include <signal.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "lua/lua_process.h"

#define CHILD "runtime.process.child"
enum {
    LIMIT_DEFAULT_S = 3600,
    OUTPUT_HIGH = 256 * 1024, ///< read ahead; beyond it the child waits
    ERRORS_MOST = 64 * 1024,  ///< of the error output its end is kept
    INPUT_HIGH = 256 * 1024,
};

/// Lives until the child has ended and its userdata was collected.
struct talk {
    struct child *child; ///< NULL once it has ended
    struct buffer output, errors;
    lua_pending reading, writing, waiting;
    int status;
    bool ended, timed_out, paused, collected;
};

struct userdata {
    struct talk *talk;
};

static void talk_free(struct talk *talk) {
    buffer_free(&talk->output);
    buffer_free(&talk->errors);
    memory_free(talk);
}

static void wake(lua_pending *handle) {
    lua_State *co = lua_pending_take(*handle);
    *handle = 0;
    if (co) lua_pending_resume(co, 0);
}

static void on_output(void *context, int stream, struct slice data) {
    struct talk *talk = context;
    if (stream == 2) {
        buffer_append_slice(&talk->errors, data);
        if (talk->errors.size > ERRORS_MOST)
            buffer_consume(&talk->errors, talk->errors.size - ERRORS_MOST);
        return;
    }
    if (talk->collected) return; // nobody will ask: read away, so that its end is noticed
    buffer_append_slice(&talk->output, data);
    if (talk->output.size >= OUTPUT_HIGH && !talk->paused) {
        talk->paused = true;
        child_pause(talk->child, true);
    }
    wake(&talk->reading);
}

static void on_drain(void *context) {
    wake(&((struct talk *)context)->writing);
}

static void on_exit_status(void *context, int status, bool timed_out) {
    struct talk *talk = context;
    process_children--;
    talk->child = NULL;
    talk->ended = true;
    talk->status = status;
    talk->timed_out = timed_out;
    if (talk->collected) {
        talk_free(talk);
        return;
    }
    // Each of these may let the userdata go; it is freed with the last of them.
    lua_pending handles[] = {talk->reading, talk->writing, talk->waiting};
    talk->reading = talk->writing = talk->waiting = 0;
    for (size_t i = 0; i < 3; i++) wake(&handles[i]);
}

static struct talk *check(lua_State *L) {
    struct userdata *userdata = luaL_checkudata(L, 1, CHILD);
    if (!userdata->talk) luaL_error(L, "the child is closed");
    return userdata->talk;
}

static void kill_child(struct talk *talk, int number) {
    if (!talk->child) return;
    child_kill(talk->child, number);
    if (talk->paused) child_pause(talk->child, talk->paused = false);
}

/// Begins a wait of at most `seconds` (negative: no limit) that `then` continues.
static int await(lua_State *L, lua_pending *slot, const char *what, lua_Number seconds,
                 int (*then)(lua_State *L, int values, bool failed)) {
    if (*slot) return luaL_error(L, "%s: another coroutine waits for that already", what);
    *slot = lua_pending_begin(L, what, NULL, NULL);
    if (seconds >= 0) lua_pending_after(*slot, (uint64_t)(seconds * 1000));
    return lua_pending_yield_then(L, *slot, then);
}

static lua_Number seconds_of(lua_State *L, int index) {
    lua_Number seconds = luaL_optnumber(L, index, -1);
    luaL_argcheck(L, seconds < 1e6, index, "too long");
    return seconds;
}

static int give_output(lua_State *L, struct talk *talk) {
    lua_pushlstring(L, talk->output.data, talk->output.size);
    buffer_clear(&talk->output, OUTPUT_HIGH);
    if (talk->paused && talk->child) child_pause(talk->child, talk->paused = false);
    return 1;
}

static int read_then(lua_State *L, int values, bool failed) { // [1] child
    struct talk *talk = check(L);
    talk->reading = 0;
    if (failed) return lua_pending_throw(L);
    if (talk->output.size) return give_output(L, talk);
    lua_pushnil(L);
    lua_pushstring(L, values ? "timeout" : "closed");
    return 2;
}

/// child:read([seconds]) → what it has said, or nil and "timeout" or "closed"
static int child_read(lua_State *L) {
    struct talk *talk = check(L);
    lua_Number seconds = seconds_of(L, 2);
    lua_settop(L, 1);
    if (talk->output.size || talk->ended) return read_then(L, 0, false);
    return await(L, &talk->reading, "child:read", seconds, read_then);
}

static int write_then(lua_State *L, int values, bool failed) {
    struct talk *talk = check(L);
    (void)values;
    talk->writing = 0;
    if (failed) return lua_pending_throw(L);
    lua_pushboolean(L, !talk->ended);
    return 1;
}

/// child:write(text) → true, or false when it has ended
static int child_write_lua(lua_State *L) {
    struct talk *talk = check(L);
    size_t size;
    const char *text = luaL_checklstring(L, 2, &size);
    size_t queued = talk->child ? child_write(talk->child, slice_make(text, size)) : 0;
    lua_settop(L, 1);
    if (queued <= INPUT_HIGH) return write_then(L, 0, false);
    return await(L, &talk->writing, "child:write", -1, write_then);
}

static int child_close_input(lua_State *L) {
    struct talk *talk = check(L);
    if (talk->child) child_end_input(talk->child);
    return 0;
}

static int child_kill_lua(lua_State *L) {
    struct talk *talk = check(L);
    lua_Integer number = luaL_optinteger(L, 2, SIGTERM);
    luaL_argcheck(L, number > 0 && number < 65, 2, "no signal");
    kill_child(talk, (int)number);
    return 0;
}

static int wait_then(lua_State *L, int values, bool failed) {
    struct talk *talk = check(L);
    talk->waiting = 0;
    if (failed) return lua_pending_throw(L);
    if (values) {
        lua_pushnil(L);
        lua_pushliteral(L, "timeout");
        return 2;
    }
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, talk->status);
    lua_setfield(L, -2, "status");
    lua_pushlstring(L, talk->output.data ? talk->output.data : "", talk->output.size);
    lua_setfield(L, -2, "output");
    lua_pushlstring(L, talk->errors.data ? talk->errors.data : "", talk->errors.size);
    lua_setfield(L, -2, "errors");
    lua_pushboolean(L, talk->timed_out);
    lua_setfield(L, -2, "timed_out");
    return 1;
}

/// child:wait([seconds]) → { status, output (not read before), errors (their end), timed_out }, or
/// nil and "timeout"
static int child_wait(lua_State *L) {
    struct talk *talk = check(L);
    lua_Number seconds = seconds_of(L, 2);
    lua_settop(L, 1);
    if (talk->ended) return wait_then(L, 0, false);
    return await(L, &talk->waiting, "child:wait", seconds, wait_then);
}

/// child:pid() → integer, or nil when it has ended
static int child_pid_lua(lua_State *L) {
    struct talk *talk = check(L);
    if (talk->child)
        lua_pushinteger(L, child_pid(talk->child));
    else
        lua_pushnil(L);
    return 1;
}

/// child:close(), to-be-closed and collected: it is killed if it still runs.
static int child_close_lua(lua_State *L) {
    struct userdata *userdata = luaL_checkudata(L, 1, CHILD);
    struct talk *talk = userdata->talk;
    userdata->talk = NULL;
    if (!talk) return 0;
    lua_pending_drop(talk->reading);
    lua_pending_drop(talk->writing);
    lua_pending_drop(talk->waiting);
    if (talk->ended) {
        talk_free(talk);
        return 0;
    }
    talk->collected = true;
    kill_child(talk, SIGKILL);
    return 0;
}

void process_child_metatable(lua_State *L) {
    static const luaL_Reg methods[] = {{"read", child_read},
                                       {"write", child_write_lua},
                                       {"close_input", child_close_input},
                                       {"wait", child_wait},
                                       {"kill", child_kill_lua},
                                       {"pid", child_pid_lua},
                                       {"close", child_close_lua},
                                       {NULL, NULL}};
    luaL_newmetatable(L, CHILD);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, child_close_lua);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, child_close_lua);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
}

// start{ "ffmpeg", …, limit = seconds, directory = path, environment = { "K=V", … } } → child, or
// nil and the reason when it cannot be started
int process_start_lua(lua_State *L) {
    struct process_words words;
    struct child_options options = {.pipe_input = true,
                                    .on_output = on_output,
                                    .on_drain = on_drain,
                                    .on_exit = on_exit_status};
    process_read_options(L, &words, &options, LIMIT_DEFAULT_S);
    struct userdata *userdata = lua_newuserdatauv(L, sizeof *userdata, 0);
    userdata->talk = NULL;
    luaL_setmetatable(L, CHILD);
    struct talk *talk = memory_zero(1, sizeof *talk);
    options.context = talk;
    int error = child_spawn(runtime_of(L)->loop, &options, &talk->child);
    if (error) {
        memory_free(talk);
        return process_cannot_start(L, words.arguments[0], error);
    }
    process_children++;
    userdata->talk = talk;
    return 1;
}
