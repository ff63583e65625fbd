#include "base/log.h"
#include "server/command.h"
#include "server/config.h"
#include "server/service.h"
#include "server/supervisor.h"
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "Usage: footlight [--root FOLDER] [--site FILE] COMMAND [ARGUMENT …]\n"
    "\n"
    "  serve [SERVICE …]   run the site: web, realtime, hooks, media and jobs, or those named\n"
    "  help                the other commands, one line each\n"
    "  COMMAND --help      what one command takes\n"
    "  --version\n"
    "\n"
    "The folder is the one that holds conf/footlight.conf.lua (default: found from here upwards,\n"
    "or FOOTLIGHT_ROOT); the site file holds this site's own settings (or FOOTLIGHT_SITE).\n";

static int fail(const char *message, const char *what) {
    fprintf(stderr, "footlight: %s%s\nTry 'footlight --help'.\n", message, what);
    return 2;
}

static enum log_level main_log_level(const struct settings *settings) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const char *name = settings_text(settings, "log.level", "info");
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) return (enum log_level)i;
    return LOG_INFO_LEVEL;
}

static int main_serve(struct config *config, char **all, char **services, int count) {
    const char *chosen[16];
    size_t chosen_count = 0;
    for (size_t i = 0; supervisor_services[i]; i++) {
        bool wanted = count == 0;
        for (int j = 0; j < count; j++)
            if (strcmp(services[j], supervisor_services[i]) == 0) wanted = true;
        if (wanted) chosen[chosen_count++] = supervisor_services[i];
    }
    for (int j = 0; j < count; j++) {
        bool known = false;
        for (size_t i = 0; i < chosen_count; i++)
            if (strcmp(services[j], chosen[i]) == 0) known = true;
        if (!known) return fail("there is no service ", services[j]);
    }
    return supervisor_run(config, all, chosen, chosen_count);
}

int main(int count, char **arguments) {
    static const struct option options[] = {{"root", required_argument, NULL, 'r'},
                                            {"site", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {0}};
    const char *root = NULL, *site = NULL;
    int option;
    // '+': the first word that is no option is the command; what follows is the command's.
    while ((option = getopt_long(count, arguments, "+h", options, NULL)) != -1) {
        switch (option) {
        case 'r':
            root = optarg;
            break;
        case 's':
            site = *optarg ? optarg : NULL;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        case 'v':
            puts("footlight " FOOTLIGHT_VERSION);
            return 0;
        default:
            return fail("that option is unknown", "");
        }
    }
    const char *name = optind < count ? arguments[optind] : "help";
    char **rest = arguments + (optind < count ? optind + 1 : count);
    int rest_count = optind < count ? count - optind - 1 : 0;

    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0) return fail("libsodium cannot start", "");
    struct config config;
    if (!config_open(&config, root, site)) return 78;
    int status;
    if (strcmp(name, "serve") == 0) {
        log_configure(main_log_level(config.settings), "supervisor");
        status = main_serve(&config, arguments, rest, rest_count);
    } else if (strcmp(name, "service") == 0 && rest_count == 2) {
        log_configure(main_log_level(config.settings), rest[0]);
        status = service_run(&config, rest[0], (unsigned)atoi(rest[1]));
    } else if (strcmp(name, "help") == 0) {
        command_list(&config);
        status = 0;
    } else {
        // Commands speak to a person, and say themselves what they could not do.
        log_configure(getenv("FOOTLIGHT_DEBUG") ? LOG_DEBUG_LEVEL : LOG_ERROR_LEVEL, name);
        bool known;
        status = command_run(&config, name, rest, rest_count, &known);
        if (!known) status = fail("there is no command ", name);
    }
    config_close(&config);
    return status;
}
