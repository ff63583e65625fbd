#include "lua_support.h"

static void check_fails(const char *body, struct lua_limits limits, const char *expected) {
    struct site site;
    struct answer answer, other;
    char code[1024];
    site_begin(&site);
    snprintf(code, sizeof code,
             "local task = require 'runtime.task'\nreturn { bad = function()\n%s\nend,\n"
             "good = function() task.sleep(0.001) return 'fine' end }",
             body);
    site_load(&site, code);
    site_run(&site, "bad", &limits, &answer);
    assert_true(answer.failed);
    assert_has(answer.text, expected);
    assert_has(answer.text, "lua/site/init.lua:3");
    assert_string_equal(site_run(&site, "good", NULL, &other),
                        "fine"); // the state is as good as before
    site_end(&site);
}

static void an_endless_loop_fails_alone(void **state) {
    (void)state;
    check_fails("while true do end", (struct lua_limits){0, 50, 0},
                "computing limit of 50 ms reached");
}

static void an_endless_loop_of_pcalls_fails_too(void **state) {
    (void)state;
    check_fails("while true do pcall(function() while true do pcall(error) end end) end",
                (struct lua_limits){0, 50, 0}, "computing limit of 50 ms reached");
}

static void a_slow_comparator_fails(void **state) {
    (void)state;
    check_fails("local t = {} for i = 1, 9 do t[i] = i end table.sort(t, function(a, b) while true "
                "do end end)",
                (struct lua_limits){0, 5000, 0}, "where it cannot give way");
}

static void a_pattern_that_backtracks_without_end_fails(void **state) {
    (void)state;
    check_fails("local s = ('a'):rep(3000) return s:find(('a*'):rep(20) .. 'b')",
                (struct lua_limits){0, 5000, 0}, "where it cannot give way");
    check_fails("return (('x'):rep(200000):gsub('.-.-.-y', ''))",
                (struct lua_limits){0, 10, 0}, "computing limit of 10 ms reached");
}

static void sorting_a_long_list_of_texts_fails(void **state) {
    (void)state;
    check_fails("local t, p = {}, ('x'):rep(2000) for i = 1, 20000 do t[i] = p .. i * 7919 % 20011 end table.sort(t)",
                (struct lua_limits){0, 5000, 0}, "where it cannot give way");
}

static void a_loop_in_a_coroutine_of_lua_fails(void **state) {
    (void)state;
    check_fails("local c = coroutine.create(function() while true do end end) while true do "
                "coroutine.resume(c) end",
                (struct lua_limits){0, 50, 0}, "computing limit of 50 ms reached");
}

static void allocating_for_ever_fails(void **state) {
    (void)state;
    check_fails("local t = {} while true do t[#t + 1] = { 'x', #t } end",
                (struct lua_limits){0, 0, 4 << 20}, "memory limit of 4 MiB reached");
}

static void one_giant_text_fails(void **state) {
    (void)state;
    check_fails("local s = ('x'):rep(1 << 30) return s", (struct lua_limits){0, 0, 4 << 20},
                "memory limit of 4 MiB reached");
}

static void a_deadline_ends_a_wait(void **state) {
    (void)state;
    check_fails("task.sleep(60)", (struct lua_limits){20, 0, 0}, "deadline exceeded");
}

static void a_deadline_ends_a_loop(void **state) {
    (void)state;
    check_fails("while true do end", (struct lua_limits){50, 0, 0}, "deadline exceeded");
}

static void garbage_does_not_count(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    struct lua_limits limits = {0, 0, 4 << 20};
    site_begin(&site);
    site_load(&site, "return { run = function() local s = '' for i = 1, 3000 do s = "
                     "('x'):rep(20000) .. i end return #s end }");
    assert_string_equal(site_run(&site, "run", &limits, &answer), "20004");
    site_end(&site);
}

static void others_run_while_one_computes(void **state) {
    (void)state;
    struct site site;
    struct answer slow, quick;
    site_begin(&site);
    site_load(&site, "local task = require 'runtime.task'\n"
                     "return { slow = function() for i = 1, 1e12 do end end,\n"
                     "quick = function() task.sleep(0.001) return 'done' end }");
    struct lua_limits limits = {0, 2000, 0};
    site_call(&site, "slow", &limits, &slow);
    assert_false(slow.done); // sliced, not finished
    assert_string_equal(site_run(&site, "quick", NULL, &quick), "done");
    assert_false(slow.done);
    site_end(&site);
}

static void modules_cannot_wait_while_they_load(void **state) {
    (void)state;
    struct site site;
    site_begin(&site);
    site_load(&site, "return {}");
    site_write(&site, "lua/site/init.lua",
               "local task = require 'runtime.task' task.sleep(1) return {}");
    assert_int_equal(lua_generations_reload(site.runtime.generations), -1);
    assert_has(lua_generations_error(site.runtime.generations), "cannot do while modules load");
    site_end(&site);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_endless_loop_fails_alone),
        cmocka_unit_test(an_endless_loop_of_pcalls_fails_too),
        cmocka_unit_test(a_slow_comparator_fails),
        cmocka_unit_test(a_pattern_that_backtracks_without_end_fails),
        cmocka_unit_test(sorting_a_long_list_of_texts_fails),
        cmocka_unit_test(a_loop_in_a_coroutine_of_lua_fails),
        cmocka_unit_test(allocating_for_ever_fails),
        cmocka_unit_test(one_giant_text_fails),
        cmocka_unit_test(a_deadline_ends_a_wait),
        cmocka_unit_test(a_deadline_ends_a_loop),
        cmocka_unit_test(garbage_does_not_count),
        cmocka_unit_test(others_run_while_one_computes),
        cmocka_unit_test(modules_cannot_wait_while_they_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
