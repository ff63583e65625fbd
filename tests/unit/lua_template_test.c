// The escaping of templates: what may stand in a page is decided here, byte by byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include "lua/lua_template.h"

static int setup(void **state) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    assert_int_equal(lua_open_template(L), 1);
    lua_setglobal(L, "template");
    *state = L;
    return 0;
}

static int teardown(void **state) {
    lua_close(*state);
    return 0;
}

// Runs Lua code; the text that it returns, or fails the test.
static const char *run(lua_State *L, const char *code) {
    lua_settop(L, 0);
    if (luaL_dostring(L, code) != LUA_OK) fail_msg("%s: %s", code, lua_tostring(L, -1));
    return lua_tostring(L, -1);
}

// The message of code that must raise.
static const char *raised(lua_State *L, const char *code) {
    lua_settop(L, 0);
    if (luaL_dostring(L, code) == LUA_OK) fail_msg("%s: did not raise", code);
    return lua_tostring(L, -1);
}

static void append(void (*write)(struct buffer *, struct slice), struct slice in, const char *out) {
    struct buffer buffer = {0};
    write(&buffer, in);
    assert_string_equal(buffer_text(&buffer), out);
    buffer_free(&buffer);
}

static void urls_that_run_script_are_refused(void **state) {
    (void)state;
    static const char *const refused[] = {
        "javascript:alert(1)", "JAVASCRIPT:x", " \t\njavascript:x", "\x01javascript:x", "java\tscript:x",
        "java\nscript:x",      "data:text/html,x", "vbscript:x",    "blob:x",           "file:///etc/passwd",
        "x:y",                 ":x",               "javascript&colon;:x",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        append(template_append_url, slice_of(refused[i]), "about:invalid");
    // An entity is none any more.
    append(template_append_url, SLICE("&#106;avascript:x"), "&amp;#106;avascript:x");
}

static void urls_that_lead_somewhere_are_kept(void **state) {
    (void)state;
    static const char *const kept[] = {"",           "/",          "/a:b",    "a/b:c", "?x:y", "#a:b",
                                       "http://a/",  "HTTPS://a/", "mailto:a@b", "tel:+1", "rtmp://a/b",
                                       "wss://a/b",  "//a/b",      "a%20b"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        append(template_append_url, slice_of(kept[i]), kept[i]);
}

static void urls_never_end_their_attribute(void **state) {
    (void)state;
    append(template_append_url, SLICE("/a\"b'c<d>e&f`g h\\i"), "/a%22b&#39;c%3Cd%3Ee&amp;f%60g%20h%5Ci");
    append(template_append_url_part, SLICE("\xc3\xbc\n\x7f"), "%C3%BC%0A%7F");
    append(template_append_url_part, slice_make("a\0b", 3), "a%00b");
    // Every byte: nothing that HTML or the URL could trip over comes through.
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        struct buffer out = {0};
        template_append_url_part(&out, slice_make(&byte, 1));
        for (size_t i = 0; i < out.size; i++) {
            assert_true((unsigned char)out.data[i] > 0x20 && (unsigned char)out.data[i] < 0x7f);
            assert_null(memchr("\"'<>`\\", out.data[i], 6));
        }
        buffer_free(&out);
    }
}

static void safe_markup_stays_inside_an_attribute(void **state) {
    (void)state;
    append(template_append_safe_attribute, SLICE("a &amp; <b c=\"d\" e='f'>"),
           "a &amp; &lt;b c=&#34;d&#34; e=&#39;f&#39;&gt;");
}

static void html_escapes_text_and_keeps_markup(void **state) {
    lua_State *L = *state;
    assert_string_equal(run(L, "local o = template.buffer() template.html(o, '<a b=\"c\" d=\\'e\\'>&') "
                               "return tostring(o)"),
                        "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;");
    assert_string_equal(run(L, "local o = template.buffer() template.html(o, template.safe('<b>')) "
                               "template.html(o, 12) template.html(o, nil) template.html(o, true) "
                               "return tostring(o)"),
                        "<b>12true");
    assert_string_equal(run(L, "return tostring(template.safe('<b>') .. '<i>' .. template.safe('</b>'))"),
                        "<b>&lt;i&gt;</b>");
}

static void json_is_safe_inside_a_script(void **state) {
    lua_State *L = *state;
    assert_string_equal(
        run(L, "return template.to_json { '</script><!--', \"'`&\", '\\u{2028}\\u{2029}\\0\\n\"\\\\' }"),
        "[\"\\u003c/script\\u003e\\u003c!--\",\"\\u0027\\u0060\\u0026\",\"\\u2028\\u2029\\u0000\\n\\\"\\\\\"]");
    assert_string_equal(run(L, "return template.to_json { 1, 1.5, true, 0/0, 1/0, -7 }"),
                        "[1,1.5,true,null,null,-7]");
    assert_string_equal(run(L, "return template.to_json { a = { b = { 'c' } } }"), "{\"a\":{\"b\":[\"c\"]}}");
    assert_string_equal(run(L, "return template.to_json(setmetatable({}, { __jsontype = 'array' }))"), "[]");
    assert_string_equal(run(L, "return template.to_json('\\xff')"), "\"\\ufffd\"");
}

static void json_refuses_what_it_cannot_say(void **state) {
    lua_State *L = *state;
    assert_non_null(strstr(raised(L, "return template.to_json(print)"), "no function"));
    assert_non_null(strstr(raised(L, "local t = {} t[1] = t return template.to_json(t)"), "nested deeper"));
    assert_non_null(strstr(raised(L, "return template.to_json { [{}] = 1 }"), "no key of type table"));
}

static void output_has_a_limit(void **state) {
    lua_State *L = *state;
    assert_non_null(strstr(raised(L, "local o, s = template.buffer(), ('x'):rep(1 << 20) "
                                     "for i = 1, 20 do template.raw(o, s) end"),
                           "larger than 16 MiB"));
    assert_non_null(strstr(raised(L, "local o = template.buffer() template.raw(o, 'x') "
                                     "template.html(o, o)"),
                           "to itself"));
}

static void only_text_is_printed(void **state) {
    lua_State *L = *state;
    assert_non_null(strstr(raised(L, "template.html(template.buffer(), {})"), "cannot print a table"));
    assert_non_null(strstr(raised(L, "template.html(template.buffer(), print)"), "cannot print a function"));
    assert_non_null(strstr(raised(L, "template.html('x', 'y')"), TEMPLATE_BUFFER));
    assert_non_null(strstr(raised(L, "template.html(io.stdout, 'y')"), TEMPLATE_BUFFER));
    assert_string_equal(run(L, "local o = template.buffer() "
                               "template.html(o, setmetatable({}, { __tostring = function() return '<x>' end })) "
                               "return tostring(o)"),
                        "&lt;x&gt;");
}

static void a_buffer_of_c_is_one_of_lua(void **state) {
    lua_State *L = *state;
    lua_settop(L, 0);
    struct buffer *made = template_buffer_push(L);
    buffer_append_text(made, "<p>");
    assert_ptr_equal(template_buffer_test(L, -1), made);
    lua_setglobal(L, "page");
    assert_string_equal(run(L, "template.raw(page, '</p>') return tostring(page)"), "<p></p>");
    lua_pushliteral(L, "text");
    assert_null(template_buffer_test(L, -1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_that_run_script_are_refused),
        cmocka_unit_test(urls_that_lead_somewhere_are_kept),
        cmocka_unit_test(urls_never_end_their_attribute),
        cmocka_unit_test(safe_markup_stays_inside_an_attribute),
        cmocka_unit_test(html_escapes_text_and_keeps_markup),
        cmocka_unit_test(json_is_safe_inside_a_script),
        cmocka_unit_test(json_refuses_what_it_cannot_say),
        cmocka_unit_test(output_has_a_limit),
        cmocka_unit_test(only_text_is_printed),
        cmocka_unit_test(a_buffer_of_c_is_one_of_lua),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
