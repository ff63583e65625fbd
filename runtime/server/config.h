#ifndef FOOTLIGHT_SERVER_CONFIG_H
#define FOOTLIGHT_SERVER_CONFIG_H
#include "base/settings.h"

/// Where the program finds its files: --root, else FOOTLIGHT_ROOT, else the nearest folder above
/// the current one that holds conf/footlight.conf.lua. Relative paths stay relative, so that the
/// services also work where they may not walk the path from the top.
struct config {
    char *root;
    char *site; ///< the site's own settings file (--site, FOOTLIGHT_SITE), or NULL
    struct settings *settings;
};

/// Loads everything. On failure prints one sentence to standard error and returns false.
bool config_open(struct config *config, const char *root, const char *site);
void config_close(struct config *config);
/// Reads the files again into a new table; the old one stays as it is when they are wrong.
struct settings *config_reload(const struct config *config, char *error, size_t size);
#endif
