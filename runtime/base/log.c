#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/escape.h"

static enum log_level lowest = LOG_INFO_LEVEL;
static const char *service;
static void (*sink)(void *context, enum log_level level, struct slice line);
static void *sink_context;
static bool gathering;
static size_t gather_most; // what one write may carry
static struct buffer gathered;

enum { GATHER_FILE = 64 * 1024 };

void log_configure(enum log_level level, const char *name) {
    lowest = level;
    service = name;
}

void log_set_sink(void (*function)(void *, enum log_level, struct slice), void *context) {
    sink = function;
    sink_context = context;
}

static void log_append_field(struct buffer *line, const struct log_field *field) {
    buffer_append_text(line, ",\"");
    buffer_append_text(line, field->name);
    buffer_append_text(line, "\":");
    switch (field->kind) {
    case LOG_FIELD_INTEGER: buffer_append_i64(line, field->integer); break;
    case LOG_FIELD_BOOLEAN: buffer_append_text(line, field->integer ? "true" : "false"); break;
    case LOG_FIELD_JSON: buffer_append_slice(line, field->text); break;
    case LOG_FIELD_TEXT:
        buffer_append_char(line, '"');
        escape_json(line, field->text);
        buffer_append_char(line, '"');
        break;
    }
}

// If the log cannot be written there is nobody to tell.
static void write_lines(struct slice lines) {
    while (lines.size) {
        ssize_t n = write(STDERR_FILENO, lines.data, lines.size);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        lines = slice_sub(lines, (size_t)n, lines.size);
    }
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count) {
    if (level < lowest) return;
    static const char *const names[] = {"debug", "info", "warn", "error"};
    static struct buffer line; // one thread, one line at a time
    char now[CLOCK_ISO_SIZE];
    clock_iso(clock_wall_us(), now);
    line.size = 0;
    // Not printf: every request writes a line.
    buffer_append_text(&line, "{\"time\":\"");
    buffer_append_text(&line, now);
    buffer_append_text(&line, "\",\"level\":\"");
    buffer_append_text(&line, names[level]);
    if (service) buffer_append_text(&line, "\",\"service\":\"");
    if (service) buffer_append_text(&line, service);
    buffer_append_text(&line, "\",\"event\":\"");
    buffer_append_text(&line, event);
    buffer_append_char(&line, '"');
    for (size_t i = 1; i < count; i++) log_append_field(&line, &fields[i]);
    buffer_append_text(&line, "}\n");
    if (sink) {
        sink(sink_context, level, buffer_slice(&line));
        return;
    }
    // Whole lines in one write, so that lines of several processes do not mix.
    if (gathering && level < LOG_WARN_LEVEL && line.size < gather_most) {
        if (gathered.size + line.size > gather_most) log_flush();
        buffer_append_slice(&gathered, buffer_slice(&line));
        return;
    }
    log_flush();
    write_lines(buffer_slice(&line));
}

void log_flush(void) {
    if (gathered.size == 0) return;
    write_lines(buffer_slice(&gathered));
    gathered.size = 0;
}

void log_gather(bool on) {
    static bool registered;
    struct stat info;
    log_flush();
    gathering = on;
    // Through a pipe that several processes write to, only so much arrives in one piece.
    gather_most = fstat(STDERR_FILENO, &info) == 0 && S_ISREG(info.st_mode) ? GATHER_FILE : PIPE_BUF;
    if (!registered) atexit(log_flush);
    registered = true;
}
