#include "server/command.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>
#include "base/log.h"
#include "base/memory.h"
#include "lua/generation.h"
#include "server/assembly.h"

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

int command_run(struct config *config, const char *name, char **arguments, int count,
                bool *known) {
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
