#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "lua/runtime.h"
#include "lua/state.h"

/// runtime.supervisor, for commands: the running site is asked over its sockets. Everything here
/// blocks: a command has nothing else to do.

enum { ANSWER_MOST = 1024 * 1024, ANSWER_MS_MOST = 3700 * 1000 };
static const char console_type[] = "runtime.Console";

// ask(question) → the supervisor's answer (JSON text), or nil and the reason.
static int supervisor_ask(lua_State *L) {
    static const char *const questions[] = {"status", "reload", NULL};
    const char *question = questions[luaL_checkoption(L, 1, NULL, questions)];
    struct runtime *runtime = runtime_of(L);
    if (!runtime->ask_supervisor)
        return luaL_error(L, "runtime.supervisor is not available in the %s service",
                          runtime->service);
    struct buffer answer = {0};
    int error = runtime->ask_supervisor(runtime->settings, question, &answer);
    if (error)
        lua_pushnil(L), lua_pushstring(L, strerror(-error));
    else
        lua_pushlstring(L, answer.data, answer.size), lua_pushnil(L);
    buffer_free(&answer);
    return 2;
}

// --- a console -----------------------------------------------------------------------------------

struct console {
    int fd;
};

static int console_fail(lua_State *L, int error) {
    lua_pushnil(L);
    lua_pushstring(L, error ? strerror(error) : "the service has closed the connection");
    return 2;
}

static int console_close(lua_State *L) {
    struct console *console = luaL_checkudata(L, 1, console_type);
    if (console->fd >= 0) close(console->fd);
    console->fd = -1;
    return 0;
}

// Writes the line. 0 or an errno.
static int console_write(int fd, const char *text, size_t size) {
    while (size > 0) {
        ssize_t n = send(fd, text, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        text += n;
        size -= (size_t)n;
    }
    return 0;
}

// Reads up to a newline. 0, an errno, or -1 at the end of the stream.
static int console_read(int fd, struct buffer *out, int limit_ms) {
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int ready = poll(&wait, 1, limit_ms);
        if (ready == 0) return ETIMEDOUT;
        if (ready < 0 && errno == EINTR) continue;
        if (ready < 0) return errno;
        ssize_t n = read(fd, buffer_reserve(out, 65536), 65536);
        if (n < 0) return errno;
        if (n == 0) return -1;
        buffer_added(out, (size_t)n);
        if (out->data[out->size - 1] == '\n') {
            out->size--;
            return 0;
        }
        if (out->size > ANSWER_MOST) return EMSGSIZE;
    }
}

// console:ask(line, milliseconds) → the answer, or nil and the reason.
static int console_ask(lua_State *L) {
    struct console *console = luaL_checkudata(L, 1, console_type);
    size_t size;
    const char *line = luaL_checklstring(L, 2, &size);
    lua_Integer limit = luaL_checkinteger(L, 3);
    luaL_argcheck(L, memchr(line, '\n', size) == NULL, 2, "one line");
    luaL_argcheck(L, limit > 0 && limit <= ANSWER_MS_MOST, 3, "1 to 3,700,000 milliseconds");
    if (console->fd < 0) return console_fail(L, 0);
    int error = console_write(console->fd, line, size);
    if (!error) error = console_write(console->fd, "\n", 1);
    struct buffer answer = {0};
    if (!error) error = console_read(console->fd, &answer, (int)limit);
    if (!error) lua_pushlstring(L, answer.data, answer.size);
    buffer_free(&answer);
    return error ? console_fail(L, error < 0 ? 0 : error) : 1;
}

// console(service, instance) → a connection to that process, or nil and the reason.
static int supervisor_console(lua_State *L) {
    const char *service = luaL_checkstring(L, 1);
    lua_Integer instance = luaL_optinteger(L, 2, 1);
    struct runtime *runtime = runtime_of(L);
    if (!lua_host_trusted(runtime))
        return luaL_error(L, "runtime.supervisor is not available in the %s service",
                          runtime->service);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = snprintf(address.sun_path, sizeof address.sun_path, "%s/run/console-%s-%d.sock",
                        settings_text(runtime->settings, "var", "var"), service, (int)instance);
    if (size < 0 || (size_t)size >= sizeof address.sun_path) return console_fail(L, ENAMETOOLONG);
    struct console *console = lua_newuserdatauv(L, sizeof *console, 0);
    console->fd = -1;
    luaL_setmetatable(L, console_type);
    console->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (console->fd < 0) return console_fail(L, errno);
    if (connect(console->fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(console->fd);
        console->fd = -1;
        return console_fail(L, error);
    }
    return 1;
}

int lua_open_supervisor(lua_State *L) {
    static const luaL_Reg methods[] = {{"ask", console_ask}, {"close", console_close},
                                       {NULL, NULL}};
    if (luaL_newmetatable(L, console_type)) {
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, console_close);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, console_close);
        lua_setfield(L, -2, "__close");
    }
    lua_pop(L, 1);
    static const luaL_Reg functions[] = {{"ask", supervisor_ask},
                                         {"console", supervisor_console},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
