#ifndef FOOTLIGHT_LUA_CONFIG_FILE_H
#define FOOTLIGHT_LUA_CONFIG_FILE_H
#include "base/settings.h"
#include <stddef.h>

/// Reads the configuration: conf/footlight.conf.lua, then conf/<environment>.lua, then the site's
/// own file (site_file, NULL or "": none). Each is a Lua chunk that returns a table of tables and
/// is run in a state of its own that has tonumber, tostring, string, math, `root`, env("NAME" [,
/// default]) and secret("name"), and nothing else. Later files win, key by key. Texts may hold
/// ${root} and ${var}. Keys, kinds and ranges are those of config_schema.c: a key that is not there
/// is an error. NULL and a sentence with the file and the key in `error` when something is wrong.
struct settings *config_load(const char *root, const char *site_file, char *error, size_t size);

/// One key that the schema knows. A '*' stands for one part of the key.
struct config_key {
    const char *key;
    enum config_kind {
        CONFIG_TEXT,
        CONFIG_PATH,    ///< made absolute below the root
        CONFIG_INTEGER, ///< low to high
        CONFIG_BOOLEAN,
        CONFIG_CHOICE,  ///< one of the words in `choices`, separated by '|'
        CONFIG_ADDRESS, ///< "unix:/path", "host:port" or "[v6]:port"
        CONFIG_URL,     ///< scheme://…
        CONFIG_SECRET,  ///< 64 hex digits
    } kind;
    int64_t low, high;
    const char *choices;
};
extern const struct config_key config_schema[]; ///< ends with a NULL key
const struct config_key *config_key_find(const char *key);
/// NULL if the value fits the key, else what it should be.
const char *config_key_check(const struct config_key *key, const char *value);
#endif
