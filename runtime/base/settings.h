#ifndef FOOTLIGHT_BASE_SETTINGS_H
#define FOOTLIGHT_BASE_SETTINGS_H
#include "base/slice.h"

/// The configuration as a flat table of dotted keys ("redis.money.socket", "services.web.count",
/// list items as "proxies.1"). runtime/lua/config_file.c fills it from conf/*.lua; everything else
/// only reads. Getters return the default for an absent key; a value of the wrong kind was already
/// refused when the file was read, where the schema knows the key.
struct settings;

struct settings *settings_new(void);
void settings_free(struct settings *settings);
void settings_set(struct settings *settings, const char *key, const char *value);
const char *settings_text(const struct settings *settings, const char *key, const char *otherwise);
int64_t settings_integer(const struct settings *settings, const char *key, int64_t otherwise);
bool settings_boolean(const struct settings *settings, const char *key, bool otherwise);
/// Walks all keys in order of their names; false at the end.
bool settings_next(const struct settings *settings, size_t *cursor, const char **key,
                   const char **value);
#endif
