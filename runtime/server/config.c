#include "server/config.h"

#include "base/log.h"
#include "base/memory.h"
#include "lua/config_file.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool config_is_root(const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/conf/footlight.conf.lua", folder);
    return access(path, R_OK) == 0;
}

static char *config_find_root(const char *root) {
    if (!root) root = getenv("FOOTLIGHT_ROOT");
    if (root) return memory_copy_string(root);
    char folder[64] = ".";
    for (int up = 0; up < 12; up++) {
        if (config_is_root(folder)) return memory_copy_string(folder);
        strcat(folder, "/..");
    }
    return NULL;
}

bool config_open(struct config *config, const char *root, const char *site) {
    *config = (struct config){0};
    config->root = config_find_root(root);
    if (!config->root || !config_is_root(config->root)) {
        fprintf(stderr,
                "footlight: %s has no conf/footlight.conf.lua; name the folder with --root\n",
                config->root ? config->root : "no folder above this one");
        config_close(config);
        return false;
    }
    if (!site) site = getenv("FOOTLIGHT_SITE");
    if (site && *site) config->site = memory_copy_string(site);
    char error[1024];
    config->settings = config_load(config->root, config->site, error, sizeof error);
    if (!config->settings) {
        fprintf(stderr, "footlight: %s\n", error);
        config_close(config);
        return false;
    }
    return true;
}

void config_close(struct config *config) {
    memory_free(config->root);
    memory_free(config->site);
    settings_free(config->settings);
    *config = (struct config){0};
}

struct settings *config_reload(const struct config *config, char *error, size_t size) {
    return config_load(config->root, config->site, error, size);
}
