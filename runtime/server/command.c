#include "server/command.h"

#include "base/log.h"
#include "base/memory.h"
#include "lua/generation.h"
#include "server/assembly.h"
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct command {
    struct loop loop;
    struct assembly assembly;
    char **arguments;
    int count;
    int status;
    bool done;
};

static int command_push(lua_State *co, void *context) {
    struct command *command = context;
    lua_createtable(co, command->count, 0);
    for (int i = 0; i < command->count; i++) {
        lua_pushstring(co, command->arguments[i]);
        lua_rawseti(co, -2, i + 1);
    }
    return 1;
}

static void command_done(void *context, lua_State *co, int results, const char *error) {
    struct command *command = context;
    command->done = true;
    if (error) {
        fprintf(stderr, "footlight: %s\n", error);
        command->status = 1;
    } else if (results > 0 && lua_isinteger(co, -results)) {
        command->status = (int)(lua_tointeger(co, -results) & 255);
    }
}

static bool command_exists(const struct config *config, const char *name) {
    for (const char *p = name; *p; p++)
        if (!islower((unsigned char)*p) && *p != '_') return false;
    char path[4096];
    snprintf(path, sizeof path, "%s/lua/commands/%s.lua", config->root, name);
    return *name && access(path, R_OK) == 0;
}

static int command_is_file(const struct dirent *entry) {
    size_t size = strlen(entry->d_name);
    return size > 4 && islower((unsigned char)entry->d_name[0]) &&
           strcmp(entry->d_name + size - 4, ".lua") == 0;
}

// The text of the first `summary = "…"` in the file, or "".
static void command_summary(const char *path, char *out, size_t size) {
    static const char key[] = "summary = \"";
    char line[1024];
    *out = '\0';
    FILE *file = fopen(path, "r");
    if (!file) return;
    while (!*out && fgets(line, sizeof line, file)) {
        char *start = strstr(line, key);
        char *end = start ? strrchr(start + sizeof key - 1, '"') : NULL;
        if (end && end > start)
            snprintf(out, size, "%.*s", (int)(end - start - (int)sizeof key + 1),
                     start + sizeof key - 1);
    }
    fclose(file);
}

void command_list(const struct config *config) {
    char path[4096], summary[200];
    struct dirent **entries;
    snprintf(path, sizeof path, "%s/lua/commands", config->root);
    int count = scandir(path, &entries, command_is_file, alphasort);
    puts("Usage: footlight [--root FOLDER] [--site FILE] COMMAND [ARGUMENT …]\n");
    printf("  %-12s %s\n", "serve", "run the site: all services, or those named");
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/lua/commands/%s", config->root, entries[i]->d_name);
        command_summary(path, summary, sizeof summary);
        printf("  %-12.*s %s\n", (int)strlen(entries[i]->d_name) - 4, entries[i]->d_name, summary);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    puts("\n'footlight COMMAND --help' tells what a command takes.");
}

int command_run(struct config *config, const char *name, char **arguments, int count, bool *known) {
    *known = command_exists(config, name);
    if (!*known) return 2;
    struct command *command = memory_zero(1, sizeof *command);
    command->arguments = arguments;
    command->count = count;
    if (loop_init(&command->loop)) return 1;
    char entry[128];
    snprintf(entry, sizeof entry, "commands.%s", name);
    const struct service_kind *kind =
        service_kind_find(strcmp(name, "test") == 0 ? "test" : "command");
    if (!assembly_open(&command->assembly, &command->loop, config, kind, entry)) return 78;
    struct lua_generations *generations = command->assembly.runtime.generations;
    if (lua_generations_number(generations) == 0) {
        fprintf(stderr, "footlight %s: %s\n", name, lua_generations_error(generations));
        command->status = 1;
    } else {
        static const struct lua_limits none = {0};
        lua_generations_call(generations, "run", &none, command_push, command_done, command);
        if (!command->done) loop_run_until(&command->loop, &command->done, UINT64_MAX / 2);
    }
    fflush(stdout);
    int status = command->status;
    assembly_close(&command->assembly);
    loop_close(&command->loop);
    memory_free(command);
    return status;
}
