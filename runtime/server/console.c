#include "server/console.h"

#include "base/escape.h"
#include "base/log.h"
#include "base/memory.h"
#include "loop/listener.h"
#include "lua/generation.h"
#include "server/link.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SESSIONS = 8 };

struct console {
    struct runtime *runtime;
    struct listener listener;
    struct list sessions;
    unsigned count;
    uint64_t next;
    dev_t device;
    ino_t inode; ///< of our socket: a successor may have put its own in the place
    char path[108];
};

/// One client. It lives as long as its link or its running line, whichever is longer.
struct session {
    struct list node;
    struct link link;
    struct console *console; ///< NULL once that is freed
    uint64_t number;
    lua_run run;
    struct slice line; ///< valid while its coroutine is being started
    bool busy, gone;
};

void console_path(const struct settings *settings, const char *service, unsigned instance,
                  char *out, size_t size) {
    snprintf(out, size, "%s/run/console-%s-%u.sock", settings_text(settings, "var", "var"), service,
             instance);
}

static void session_send_error(struct session *session, const char *error) {
    struct buffer out = {0};
    buffer_append_text(&out, "{\"error\":\"");
    escape_json(&out, slice_sub(slice_of(error), 0, 16 * 1024));
    buffer_append_text(&out, "\"}");
    link_send(&session->link, buffer_slice(&out));
    buffer_free(&out);
}

static int session_push(lua_State *co, void *context) {
    struct session *session = context;
    char label[32];
    snprintf(label, sizeof label, "console-%llu", (unsigned long long)session->number);
    lua_generations_label(co, label);
    lua_pushinteger(co, (lua_Integer)session->number);
    lua_pushlstring(co, session->line.data ? session->line.data : "", session->line.size);
    return 2;
}

static void session_done(void *context, lua_State *co, int results, const char *error) {
    struct session *session = context;
    session->busy = false;
    session->run = 0;
    if (session->gone) {
        memory_free(session);
        return;
    }
    size_t size = 0;
    const char *answer = !error && results > 0 ? lua_tolstring(co, -results, &size) : NULL;
    if (error)
        session_send_error(session, error);
    else if (!answer || size >= LINK_LINE)
        session_send_error(session, "the console gave no answer");
    else
        link_send(&session->link, slice_make(answer, size));
}

static void session_call(struct session *session, const char *export, struct slice line) {
    struct runtime *runtime = session->console->runtime;
    unsigned limit = (unsigned)settings_integer(runtime->settings, "console.deadline_ms", 10000);
    // Computing gives way to others every few milliseconds, so it may last as long as waiting.
    struct lua_limits limits = {
        .deadline_ms = limit,
        .cpu_ms = limit,
        .memory = (size_t)settings_integer(runtime->settings, "lua.memory", 64 * 1024 * 1024),
    };
    session->line = line;
    session->busy = true;
    lua_run run = lua_generations_call(runtime->generations, export, &limits, session_push,
                                       session_done, session);
    session->line = (struct slice){0};
    if (run) session->run = run;
}

static void session_on_line(struct link *link, struct slice line) {
    struct session *session = container_of(link, struct session, link);
    if (!session->console) return;
    if (session->busy)
        session_send_error(session, "the line before still runs");
    else
        session_call(session, "footlight.console:answer", line);
}

static void ignore_done(void *context, lua_State *co, int results, const char *error) {
    (void)context;
    (void)co;
    (void)results;
    (void)error; // nothing is loaded any more, or was not yet: then nothing was kept either
}

static void session_on_gone(struct link *link) {
    struct session *session = container_of(link, struct session, link);
    struct console *console = session->console;
    if (console) {
        struct lua_generations *generations = console->runtime->generations;
        list_remove(&session->node);
        console->count--;
        static const struct lua_limits brief = {.deadline_ms = 1000, .cpu_ms = 100};
        lua_generations_call(generations, "footlight.console:forget", &brief, session_push,
                             ignore_done, session);
        session->gone = true;
        if (session->busy) {
            lua_cancel(generations, session->run, "the console has left"); // session_done frees it
            return;
        }
    }
    session->gone = true;
    if (!session->busy) memory_free(session);
}

static void console_on_accept(struct listener *listener, int fd) {
    struct console *console = container_of(listener, struct console, listener);
    if (console->count >= SESSIONS) {
        close(fd);
        return;
    }
    struct session *session = memory_zero(1, sizeof *session);
    session->console = console;
    session->number = ++console->next;
    session->link.on_line = session_on_line;
    session->link.on_gone = session_on_gone;
    if (link_open(console->runtime->loop, &session->link, fd) < 0) {
        memory_free(session);
        return;
    }
    console->count++;
    list_push_back(&console->sessions, &session->node);
}

struct console *console_new(struct runtime *runtime, unsigned instance) {
    if (!settings_boolean(runtime->settings, "console.enabled", true)) return NULL;
    struct console *console = memory_zero(1, sizeof *console);
    console->runtime = runtime;
    list_init(&console->sessions);
    console_path(runtime->settings, runtime->service, instance, console->path,
                 sizeof console->path);
    char address[128];
    snprintf(address, sizeof address, "unix:%s", console->path);
    unlink(console->path); // the latest process of this number is the one to talk to
    mode_t old = umask(0177);
    int fd = listener_open(address, 8);
    umask(old);
    struct stat info;
    if (fd < 0 || stat(console->path, &info) != 0) {
        log_warn("console.none", LOG_TEXT("path", console->path),
                 LOG_TEXT("error", strerror(fd < 0 ? -fd : ENOENT)));
        if (fd >= 0) close(fd);
        memory_free(console);
        return NULL;
    }
    console->device = info.st_dev;
    console->inode = info.st_ino;
    listener_start(runtime->loop, &console->listener, fd, console_on_accept);
    return console;
}

static void console_on_closed(struct listener *listener) {
    memory_free(container_of(listener, struct console, listener));
}

void console_free(struct console *console) {
    if (!console) return;
    struct stat info;
    if (stat(console->path, &info) == 0 && info.st_ino == console->inode &&
        info.st_dev == console->device)
        unlink(console->path);
    list_each(&console->sessions, node) {
        struct session *session = container_of(node, struct session, node);
        list_remove(&session->node);
        session->console = NULL;
        socket_close_now(&session->link.socket, 0);
    }
    listener_stop(&console->listener, false, console_on_closed);
}
