#ifndef FOOTLIGHT_TESTS_LUA_SUPPORT_H
#define FOOTLIGHT_TESTS_LUA_SUPPORT_H
// A root folder of its own for each test, with the Lua files that the test writes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/memory.h"
#include "lua/generation.h"
#include "lua/pending.h"

struct site {
    char root[64];
    struct loop loop;
    struct runtime runtime;
    char log[65536]; // what was logged, for asserting
};

static void site_on_log(void *context, enum log_level level, struct slice line) {
    struct site *site = context;
    (void)level;
    size_t used = strlen(site->log);
    if (used + line.size < sizeof site->log) memcpy(site->log + used, line.data, line.size);
}

__attribute__((unused)) static void site_write(struct site *site, const char *path,
                                               const char *text) {
    char full[512];
    snprintf(full, sizeof full, "%s/%s", site->root, path);
    for (char *slash = strchr(full + strlen(site->root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

__attribute__((unused)) static void site_begin(struct site *site) {
    memset(site, 0, sizeof *site);
    strcpy(site->root, "/tmp/footlight-lua-XXXXXX");
    assert_non_null(mkdtemp(site->root));
    assert_int_equal(loop_init(&site->loop), 0);
    site->runtime = (struct runtime){
        .loop = &site->loop, .service = "web", .root = site->root, .settings = settings_new()};
    settings_set(site->runtime.settings, "var", site->root);
    log_set_sink(site_on_log, site);
}

__attribute__((unused)) static void site_end(struct site *site) {
    lua_generations_free(site->runtime.generations);
    assert_int_equal(loop_close(&site->loop), 0);
    settings_free(site->runtime.settings);
    log_set_sink(NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", site->root);
    assert_int_equal(system(command), 0);
    assert_int_equal(lua_pending_count(), 0);
}

__attribute__((unused)) static void site_load(struct site *site, const char *code) {
    site_write(site, "lua/site/init.lua", code);
    site->runtime.generations = lua_generations_new(&site->runtime, "site");
    if (lua_generations_reload(site->runtime.generations) != 0) {
        fail_msg("%s", lua_generations_error(site->runtime.generations));
    }
}

struct answer {
    bool done;
    char text[4096]; // the first result, or the error
    bool failed;
};

__attribute__((unused)) static void site_on_answer(void *context, lua_State *co, int results,
                                                   const char *error) {
    struct answer *answer = context;
    assert_false(answer->done); // exactly once
    answer->done = true;
    answer->failed = error != NULL;
    const char *text = error;
    if (!error && results > 0) text = lua_tostring(co, -results);
    snprintf(answer->text, sizeof answer->text, "%s", text ? text : "");
}

__attribute__((unused)) static lua_run site_call(struct site *site, const char *export,
                                                 const struct lua_limits *limits,
                                                 struct answer *answer) {
    memset(answer, 0, sizeof *answer);
    return lua_generations_call(site->runtime.generations, export, limits, NULL, site_on_answer,
                                answer);
}

/// Calls an export and waits for its end; the text of its first result.
__attribute__((unused)) static const char *site_run(struct site *site, const char *export,
                                                    const struct lua_limits *limits,
                                                    struct answer *answer) {
    site_call(site, export, limits, answer);
    if (!answer->done) assert_true(loop_run_until(&site->loop, &answer->done, 10000));
    return answer->text;
}

#define assert_has(text, part)                                                                     \
    do {                                                                                           \
        if (!strstr((text), (part))) fail_msg("\"%s\" is not in: %s", (part), (text));             \
    } while (0)
#endif
