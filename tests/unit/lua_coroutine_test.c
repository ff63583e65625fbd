#include "lua_support.h"

static void values_come_back_at_once_when_nothing_waits(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "return { hello = function() return 'hi' end }");
    site_call(&site, "hello", NULL, &answer);
    assert_true(answer.done);
    assert_string_equal(answer.text, "hi");
    site_end(&site);
}

static void a_wait_passes_through_coroutines_of_lua(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "local task = require 'runtime.task'\n"
                     "return { run = function()\n"
                     "  local out = {}\n"
                     "  for n in coroutine.wrap(function()\n"
                     "    for i = 1, 3 do task.sleep(0.001) coroutine.yield(i) end\n"
                     "  end) do out[#out + 1] = n end\n"
                     "  return table.concat(out, ' ')\n"
                     "end }");
    assert_string_equal(site_run(&site, "run", NULL, &answer), "1 2 3");
    site_end(&site);
}

static void an_error_has_message_place_and_stack(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "local function deep() error('broken') end\n"
                     "return { run = function() local x = deep() return x end }");
    site_run(&site, "run", NULL, &answer);
    assert_true(answer.failed);
    assert_has(answer.text, "lua/site/init.lua:1: broken");
    assert_has(answer.text, "lua/site/init.lua:2: in function");
    site_end(&site);
}

static void a_failed_task_tells_where_it_was_spawned(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "local task = require 'runtime.task'\n"
                     "return { run = function()\n"
                     "  task.spawn(function() error('alone') end)\n"
                     "  task.sleep(0.01)\n"
                     "end }");
    site_run(&site, "run", NULL, &answer);
    assert_false(answer.failed);
    assert_has(site.log, "lua.task_failed");
    assert_has(site.log, "lua/site/init.lua:3: alone");
    assert_has(site.log, "spawned at");
    site_end(&site);
}

static void cancellation_is_sticky_and_closes_variables(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "local task = require 'runtime.task'\n"
                     "local log = require 'runtime.log'\n"
                     "return { run = function()\n"
                     "  local thing <close> = setmetatable({}, { __close = function() "
                     "log.info('thing.closed') end })\n"
                     "  pcall(task.sleep, 60)\n"
                     "  log.info('swallowed.once')\n"
                     "  task.sleep(60)\n"
                     "  log.info('never.here')\n"
                     "end }");
    lua_run run = site_call(&site, "run", NULL, &answer);
    assert_int_not_equal(run, 0);
    lua_cancel(site.runtime.generations, run, "the client left");
    assert_false(answer.done); // not inside the call
    assert_true(loop_run_until(&site.loop, &answer.done, 1000));
    assert_true(answer.failed);
    assert_has(answer.text, "cancelled: the client left");
    assert_has(site.log, "swallowed.once");
    assert_has(site.log, "thing.closed");
    assert_null(strstr(site.log, "never.here"));
    lua_cancel(site.runtime.generations, run, "again"); // a stale handle does nothing
    site_end(&site);
}

// A handler that waits, and closes a variable by this code when it is cancelled: what came of it.
static void cancel_while_closing(struct site *site, const char *closing, struct answer *answer) {
    char code[512];
    snprintf(code, sizeof code,
             "local task, log = require 'runtime.task', require 'runtime.log'\n"
             "return { run = function()\n"
             "  local thing <close> = setmetatable({}, { __close = function() %s end })\n"
             "  task.sleep(60)\n"
             "end }",
             closing);
    site_load(site, code);
    lua_run run = site_call(site, "run", NULL, answer);
    lua_cancel(site->runtime.generations, run, "the client left");
    assert_true(loop_run_until(&site->loop, &answer->done, 10000));
    assert_true(answer->failed);
}

static void a_variable_may_compute_while_it_is_closed(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    // Several ticks of the computing clock long.
    cancel_while_closing(&site,
                         "local enough = os.clock() + 0.03 while os.clock() < enough do end "
                         "log.info('thing.closed')",
                         &answer);
    assert_has(answer.text, "cancelled: the client left");
    assert_has(site.log, "thing.closed");
    site_end(&site);
}

static void closing_a_variable_comes_to_an_end(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    cancel_while_closing(&site, "while true do pcall(task.sleep, 1) end", &answer);
    site_end(&site);
}

static void waiting_where_it_cannot_be_done_is_a_clear_error(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "local task = require 'runtime.task'\n"
                     "return { run = function()\n"
                     "  table.sort({ 2, 1 }, function(a, b) task.sleep(1) return a < b end)\n"
                     "end }");
    site_run(&site, "run", NULL, &answer);
    assert_has(answer.text, "task.sleep would wait, which cannot be done here");
    site_end(&site);
}

static void errors_and_results_survive_waits_in_pcall(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site,
              "local task = require 'runtime.task'\n"
              "return { run = function()\n"
              "  local ok, why = pcall(function() task.sleep(0.001) error('late', 0) end)\n"
              "  local t = task.spawn(function(a, b) task.sleep(0.001) return a + b end, 1, 2)\n"
              "  return tostring(ok) .. why .. t:wait()\n"
              "end }");
    assert_string_equal(site_run(&site, "run", NULL, &answer), "falselate3");
    site_end(&site);
}

static void freeing_cancels_what_runs(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "local task = require 'runtime.task'\n"
                     "return { run = function() while true do pcall(task.sleep, 60) end end }");
    struct lua_limits limits = {0, 50, 0};
    site_call(&site, "run", &limits, &answer);
    assert_false(answer.done);
    site_end(&site);
    assert_true(answer.done);
    assert_true(answer.failed);
}

static void many_tasks_end_and_nothing_is_left(void **state) {
    (void)state;
    struct site site;
    struct answer answer;
    site_begin(&site);
    site_load(&site, "local task = require 'runtime.task'\n"
                     "return { run = function()\n"
                     "  local list = {}\n"
                     "  for i = 1, 2000 do list[i] = task.spawn(function() task.sleep(i % 7 / "
                     "1000) return i end) end\n"
                     "  local sum = 0\n"
                     "  for _, n in ipairs(task.wait_all(list)) do sum = sum + n end\n"
                     "  return sum\n"
                     "end }");
    assert_string_equal(site_run(&site, "run", NULL, &answer), "2001000");
    assert_int_equal(lua_generations_running(site.runtime.generations), 0);
    assert_int_equal(lua_pending_count(), 0);
    site_end(&site);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_at_once_when_nothing_waits),
        cmocka_unit_test(a_wait_passes_through_coroutines_of_lua),
        cmocka_unit_test(an_error_has_message_place_and_stack),
        cmocka_unit_test(a_failed_task_tells_where_it_was_spawned),
        cmocka_unit_test(cancellation_is_sticky_and_closes_variables),
        cmocka_unit_test(a_variable_may_compute_while_it_is_closed),
        cmocka_unit_test(closing_a_variable_comes_to_an_end),
        cmocka_unit_test(waiting_where_it_cannot_be_done_is_a_clear_error),
        cmocka_unit_test(errors_and_results_survive_waits_in_pcall),
        cmocka_unit_test(freeing_cancels_what_runs),
        cmocka_unit_test(many_tasks_end_and_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
