#ifndef FOOTLIGHT_SERVER_CONSOLE_H
#define FOOTLIGHT_SERVER_CONSOLE_H
#include "lua/runtime.h"

/// The console of one service process, <var>/run/console-<service>-<instance>.sock (mode 0600):
/// `footlight console` sends a line, a JSON object with Lua source in it, and gets one line back.
/// Both are made and read by lua/footlight/console.lua; here are the socket, the limits of a line
/// (console.deadline_ms) and the cancellation when the client leaves. Each line runs in a coroutine
/// of the current generation, beside everything else that the process does.
struct console;
/// NULL, with a line in the log, if the socket cannot be had: a service lives without a console.
struct console *console_new(struct runtime *runtime, unsigned instance);
/// Cuts its clients off. Lines that still run are told when the generations are freed.
void console_free(struct console *console);

void console_path(const struct settings *settings, const char *service, unsigned instance,
                  char *out, size_t size);
#endif
