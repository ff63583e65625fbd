#ifndef FOOTLIGHT_BASE_LOG_H
#define FOOTLIGHT_BASE_LOG_H
#include "base/buffer.h"

/// Structured logs: one JSON object a line on standard error,
///   {"time":"…Z","level":"info","service":"web","event":"http.request","status":200,…}
/// The event is a dotted name that never varies; what varies goes into fields. Never log passwords,
/// tokens, stream keys, tickets, documents or card data.
enum log_level { LOG_DEBUG_LEVEL, LOG_INFO_LEVEL, LOG_WARN_LEVEL, LOG_ERROR_LEVEL };

struct log_field {
    const char *name;
    enum { LOG_FIELD_TEXT, LOG_FIELD_INTEGER, LOG_FIELD_BOOLEAN, LOG_FIELD_JSON } kind;
    struct slice text;
    int64_t integer;
};
#define LOG_SLICE(n, v) ((struct log_field){(n), LOG_FIELD_TEXT, (v), 0})
#define LOG_TEXT(n, v) ((struct log_field){(n), LOG_FIELD_TEXT, slice_of(v), 0})
#define LOG_INT(n, v) ((struct log_field){(n), LOG_FIELD_INTEGER, {0}, (int64_t)(v)})
#define LOG_BOOL(n, v) ((struct log_field){(n), LOG_FIELD_BOOLEAN, {0}, (v)})
#define LOG_JSON(n, v) ((struct log_field){(n), LOG_FIELD_JSON, (v), 0}) ///< already valid JSON

/// log_info("redis.connected", LOG_TEXT("name", "money"), LOG_INT("attempt", 3));
#define log_event(level, event, ...)                                                               \
    log_write((level), (event), (struct log_field[]){{0}, ##__VA_ARGS__},                          \
              sizeof((struct log_field[]){{0}, ##__VA_ARGS__}) / sizeof(struct log_field))
#define log_debug(event, ...) log_event(LOG_DEBUG_LEVEL, event, ##__VA_ARGS__)
#define log_info(event, ...) log_event(LOG_INFO_LEVEL, event, ##__VA_ARGS__)
#define log_warn(event, ...) log_event(LOG_WARN_LEVEL, event, ##__VA_ARGS__)
#define log_error(event, ...) log_event(LOG_ERROR_LEVEL, event, ##__VA_ARGS__)

/// fields[0] is ignored (it lets the macro take no fields at all).
void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count);
void log_configure(enum log_level lowest, const char *service);
/// Gathers lines below warn in place of a write for each; the loop calls log_flush at the end of its
/// ticks. A warning or an error goes out at once, behind what was gathered before it.
void log_gather(bool on);
void log_flush(void);
/// Tests and the supervisor's pipe: gets each finished line (with its newline) in place of stderr.
/// NULL goes back to stderr.
void log_set_sink(void (*sink)(void *context, enum log_level level, struct slice line),
                  void *context);
#endif
