#include "base/log.h"

#include <errno.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/escape.h"

static enum log_level lowest = LOG_INFO_LEVEL;
static const char *service;
static void (*sink)(void *context, enum log_level level, struct slice line);
static void *sink_context;

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
    // One write a line, so that lines of several processes do not mix. If the log cannot be
    // written there is nobody to tell.
    size_t done = 0;
    while (done < line.size) {
        ssize_t n = write(STDERR_FILENO, line.data + done, line.size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
    }
}
