#include "lua_support.h"

static void a_reload_swaps_and_the_old_one_finishes(void **state) {
    (void)state;
    struct site site;
    struct answer old, now;
    site_begin(&site);
    site_load(&site, "local task = require 'runtime.task'\n"
                     "return { run = function() task.sleep(0.02) return 'one' end }");
    struct lua_generations *g = site.runtime.generations;
    site_call(&site, "run", NULL, &old);
    site_write(&site, "lua/site/init.lua", "return { run = function() return 'two' end }");
    assert_int_equal(lua_generations_reload(g), 0);
    assert_int_equal(lua_generations_number(g), 2);
    assert_string_equal(site_run(&site, "run", NULL, &now), "two");
    assert_int_equal(lua_generations_old(g), 1);
    assert_true(loop_run_until(&site.loop, &old.done, 2000));
    assert_string_equal(old.text, "one");
    bool never = false;
    loop_run_until(&site.loop, &never, 5); // the old state goes at the end of a tick
    assert_int_equal(lua_generations_old(g), 0);
    site_end(&site);
}

static void a_broken_edit_changes_nothing(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "return { run = function() return 'good' end }");
    struct lua_generations *g = site.runtime.generations;
    assert_null(lua_generations_error(g));
    site_write(&site, "lua/site/broken.lua", "local x = = 1");
    assert_int_equal(lua_generations_reload(g), -1);
    assert_has(lua_generations_error(g), "lua/site/broken.lua:1:");
    assert_string_equal(site_run(&site, "run", NULL, &answer), "good");
    assert_int_equal(lua_generations_number(g), 1);
    site_write(&site, "lua/site/broken.lua", "return {}");
    assert_int_equal(lua_generations_reload(g), 0);
    assert_null(lua_generations_error(g));
    site_end(&site);
}

static void the_entrys_check_can_refuse(void **state) {
    (void)state;
    struct site site;
    site_begin(&site);
    site_write(&site, "lua/site/init.lua",
               "return { check = function() error('two routes have one name') end }");
    site.runtime.generations = lua_generations_new(&site.runtime, "site");
    assert_int_equal(lua_generations_reload(site.runtime.generations), -1);
    assert_has(lua_generations_error(site.runtime.generations), "two routes have one name");
    site_end(&site);
}

static void bytecode_and_outside_modules_are_refused(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(
        &site,
        "return { run = function()\n"
        "  local f, why = load('\\27Lua')\n"
        "  local ok, more = pcall(require, '..secret')\n"
        "  return tostring(f) .. why .. tostring(ok) .. more .. tostring(io) .. tostring(os.exit)\n"
        "end }");
    site_run(&site, "run", NULL, &answer);
    assert_false(answer.failed);
    assert_has(answer.text, "attempt to load a binary chunk");
    assert_has(answer.text, "not a module name");
    assert_has(answer.text, "nilnil");
    site_end(&site);
}

static void a_missing_export_is_an_error(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "return { run = function() end }");
    assert_true(lua_generations_has(site.runtime.generations, "run"));
    assert_false(lua_generations_has(site.runtime.generations, "walk"));
    site_run(&site, "walk", NULL, &answer);
    assert_has(answer.text, "no export 'walk'");
    site_end(&site);
}

static void jobs_end_at_a_reload(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    struct lua_limits none = {0};
    site_begin(&site);
    site_load(&site, "local task = require 'runtime.task'\n"
                     "return { start = function()\n"
                     "  task.every(0.001, function() end)\n"
                     "  while true do task.sleep(0.5) end\n"
                     "end }");
    site_call(&site, "start", &none, &answer);
    assert_int_equal(lua_generations_reload(site.runtime.generations), 0);
    assert_true(loop_run_until(&site.loop, &answer.done, 1000));
    assert_has(answer.text, "cancelled: reload");
    bool never = false;
    loop_run_until(&site.loop, &never, 20);
    assert_int_equal(lua_generations_old(site.runtime.generations), 0);
    assert_int_equal(lua_generations_running(site.runtime.generations), 0);
    site_end(&site);
}

static void a_thousand_reloads_leave_nothing(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "local task = require 'runtime.task'\n"
                     "return { run = function() task.sleep(0) return 'x' end }");
    struct lua_generations *g = site.runtime.generations;
    size_t before = lua_generations_memory(g);
    for (int i = 0; i < 1000; i++) {
        site_call(&site, "run", NULL, &answer); // finishes on the generation before
        assert_int_equal(lua_generations_reload(g), 0);
        assert_true(loop_run_until(&site.loop, &answer.done, 1000));
        assert_false(answer.failed);
    }
    bool never = false;
    loop_run_until(&site.loop, &never, 5);
    assert_int_equal(lua_generations_old(g), 0);
    assert_in_range(lua_generations_memory(g), before / 2, before + before / 10);
    site_end(&site);
}

static bool reloaded;
static void on_reload(void *context, bool ok) {
    (void)context;
    reloaded = ok;
}

static void a_changed_file_is_live_and_a_new_folder_too(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "return { run = function() return 'one' end }");
    struct lua_generations *g = site.runtime.generations;
    lua_generations_on_reload(g, on_reload, NULL);
    lua_generations_watch(g);
    reloaded = false;
    site_write(&site, "lua/site/deep/er/word.lua", "return 'two'");
    assert_true(loop_run_until(&site.loop, &reloaded, 2000));
    reloaded = false;
    site_write(&site, "lua/site/init.lua",
               "local w = require 'site.deep.er.word' return { run = function() return w end }");
    assert_true(loop_run_until(&site.loop, &reloaded, 2000));
    assert_string_equal(site_run(&site, "run", NULL, &answer), "two");
    reloaded = false;
    site_write(&site, "lua/site/deep/er/word.lua", "return 'three'");
    assert_true(loop_run_until(&site.loop, &reloaded, 2000));
    assert_string_equal(site_run(&site, "run", NULL, &answer), "three");
    site_end(&site);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reload_swaps_and_the_old_one_finishes),
        cmocka_unit_test(a_broken_edit_changes_nothing),
        cmocka_unit_test(the_entrys_check_can_refuse),
        cmocka_unit_test(bytecode_and_outside_modules_are_refused),
        cmocka_unit_test(a_missing_export_is_an_error),
        cmocka_unit_test(jobs_end_at_a_reload),
        cmocka_unit_test(a_thousand_reloads_leave_nothing),
        cmocka_unit_test(a_changed_file_is_live_and_a_new_folder_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
