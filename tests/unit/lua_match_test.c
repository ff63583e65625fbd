// Our matcher against Lua's own: the same answers for whatever pattern and text, errors for the same.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lualib.h>
#include <string.h>

#include "lua/lua_match.h"

static const char helpers[] =
    "local stock = {}\n"
    "for _, name in ipairs { 'find', 'match', 'gmatch', 'gsub' } do stock[name] = string[name] end\n"
    "local function gather(from, text, pattern, init)\n"
    "  local all = {}\n"
    "  for a, b in from.gmatch(text, pattern, init) do\n"
    "    all[#all + 1] = tostring(a) .. '|' .. tostring(b)\n"
    "    if #all > 100 then break end\n"
    "  end\n"
    "  return table.concat(all, ';')\n"
    "end\n"
    "local function texts(ok, ...)\n"
    "  if not ok then return 'error' end\n"
    "  local all = { tostring(select('#', ...)) }\n"
    "  for i = 1, select('#', ...) do\n"
    "    local value = (select(i, ...))\n"
    "    all[i + 1] = type(value) .. ':' .. tostring(value)\n"
    "  end\n"
    "  return table.concat(all, ',')\n"
    "end\n"
    "function same(what, ...)\n"
    "  local theirs, ours\n"
    "  if what == 'gmatch' then\n"
    "    theirs, ours = texts(pcall(gather, stock, ...)), texts(pcall(gather, string, ...))\n"
    "  else\n"
    "    theirs, ours = texts(pcall(stock[what], ...)), texts(pcall(string[what], ...))\n"
    "  end\n"
    "  if theirs ~= ours then\n"
    "    local said = {}\n"
    "    for i = 1, select('#', ...) do said[i] = ('%q'):format(tostring((select(i, ...)))) end\n"
    "    error(what .. '(' .. table.concat(said, ', ') .. '): ' .. theirs .. ' but ' .. ours, 0)\n"
    "  end\n"
    "end\n";

static int setup(void **state) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    assert_int_equal(luaL_dostring(L, helpers), LUA_OK);
    lua_match_library(L);
    *state = L;
    return 0;
}

static int teardown(void **state) {
    lua_close(*state);
    return 0;
}

static void run(lua_State *L, const char *code) {
    if (luaL_dostring(L, code) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
    lua_settop(L, 0);
}

static void patterns_at_random_give_the_same(void **state) {
    run(*state, "local pieces = { 'a', 'b', 'ab', '.', '%a', '%D', '%s', '%w', '%p', '%z', '[ab]', '[^a]', '[a-c]', '[%w_]',\n"
                "  '[]]', '[^]a]', '[a-]', '(', ')', '()', '(a)', '(.)', '%1', '%2', '*', '+', '-', '?', '^', '$', '%b()',\n"
                "  '%bab', '%f[a]', '%f[%W]', '%%', '%', '[', '[a', '\\0', '1', ' ', '%b', '%f' }\n"
                "local letters = { 'a', 'b', 'c', '(', ')', ' ', '1', '_', ']', '\\0', 'ab', 'é', '%', '-' }\n"
                "local seed = 20261124\n"
                "local function random(n)\n"
                "  seed = (seed * 1103515245 + 12345) % 2147483648\n"
                "  return seed // 65536 % n + 1\n"
                "end\n"
                "local function some(from, most)\n"
                "  local all = {}\n"
                "  for i = 1, random(most + 1) - 1 do all[i] = from[random(#from)] end\n"
                "  return table.concat(all)\n"
                "end\n"
                "local replacements = { '', 'x', '%0', '<%1>', '%2%%', '%', 5, { a = 'A', b = false, ab = 7 },\n"
                "  function(a, b) return b end, function() end, function() return {} end, true }\n"
                "for _ = 1, 60000 do\n"
                "  local text, pattern, init = some(letters, 9), some(pieces, 6), random(14) - 7\n"
                "  same('find', text, pattern)\n"
                "  same('find', text, pattern, init, random(4) == 1)\n"
                "  same('match', text, pattern, init)\n"
                "  same('gmatch', text, pattern, init)\n"
                "  same('gsub', text, pattern, replacements[random(#replacements)])\n"
                "  same('gsub', text, pattern, replacements[random(#replacements)], random(4) - 1)\n"
                "end\n");
}

static void the_edges_give_the_same(void **state) {
    run(*state, "same('find', '', '')\n"
                "same('find', 'abc', '', 4)\n"
                "same('find', 'abc', '', 5)\n"
                "same('find', 'abc', 'c', math.mininteger)\n"
                "same('find', 'abc', 'c', math.maxinteger)\n"
                "same('match', 'abc', ('(.)'):rep(3))\n"
                "same('match', ('a'):rep(40), ('(a)'):rep(33))\n"
                "same('match', ('a'):rep(32), ('(a)'):rep(32))\n"
                "same('match', ('x'):rep(300), ('x?'):rep(300))\n"
                "same('match', ('x'):rep(100), ('x?'):rep(100))\n"
                "same('gsub', 'hello world', '(o)', '<%1%0>')\n"
                "same('gsub', 'abc', '()', '%1')\n"
                "same('gsub', 'abc', '%w', '%9')\n"
                "same('gsub', 12, '%d', 3)\n"
                "same('gsub', 'abc', 'b')\n"
                "same('gsub', nil, 'b', '')\n"
                "same('gsub', 'abc', 'b', 'x', 'many')\n"
                "same('gsub', 'abc', '^a', 'x')\n"
                "same('gsub', 'aaa', '^a', 'x')\n"
                "same('gmatch', 'aaa', '^a')\n"
                "same('gmatch', 'key=value, k=v', '(%w+)=(%w+)')\n"
                "for c = 0, 255 do\n"
                "  for _, class in ipairs { 'a', 'c', 'd', 'g', 'l', 'p', 's', 'u', 'w', 'x' } do\n"
                "    same('find', string.char(c), '%' .. class)\n"
                "    same('find', string.char(c), '[%' .. class:upper() .. ']')\n"
                "  end\n"
                "end\n");
}

static void long_lists_are_sorted(void **state) {
    run(*state, "local list, texts = {}, {}\n"
                "for i = 1, 20000 do list[i] = i * 7919 % 20011 texts[i] = ('%05d'):format(list[i]) end\n"
                "table.sort(list)\n"
                "table.sort(texts)\n"
                "for i = 2, 20000 do assert(list[i - 1] <= list[i] and texts[i - 1] <= texts[i]) end\n"
                "table.sort(list, function(a, b) return a > b end)\n"
                "for i = 2, 20000 do assert(list[i - 1] >= list[i]) end\n"
                "list[10000] = 'text'\n"
                "assert(not pcall(table.sort, list))\n"
                "assert(not pcall(table.sort, 5))\n"
                "assert(not pcall(table.sort, {}, 5))\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(patterns_at_random_give_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(the_edges_give_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(long_lists_are_sorted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
