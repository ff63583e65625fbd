#include "lua_support.h"

#include "lua/config_file.h"

static struct settings *load(struct site *site, const char *own, char error[512]) {
    site_write(site, "conf/development.lua", "return {}");
    site_write(site, "conf/test.lua",
               "return { site = { name = 'Test' }, log = { level = 'warn' } }");
    site_write(site, "own.lua", own);
    char path[128];
    snprintf(path, sizeof path, "%s/own.lua", site->root);
    return config_load(site->root, path, error, 512);
}

static const char base[] = "return { environment = 'development', var = 'var', site = { name = "
                           "'Base', url = 'http://x' },\n"
                           "redis = { main = { address = 'unix:${var}/r.sock' } },\n"
                           "secrets = { directory = '${var}/secrets' } }";

static void later_files_win_and_texts_are_expanded(void **state) {
    (void)state;
    struct site site;
    char error[512], expected[200];
    site_begin(&site);
    site_write(&site, "conf/footlight.conf.lua", base);
    site_write(&site, "var/secrets/token",
               "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n");
    site_write(&site, "var/secrets/db", "hush\n");
    struct settings *settings = load(&site,
                                     "return { environment = 'test', lua = { cpu_ms = 7 }, mariadb "
                                     "= { password = secret 'db' } }",
                                     error);
    if (!settings) fail_msg("%s", error);
    assert_string_equal(settings_text(settings, "site.name", ""), "Test");
    assert_string_equal(settings_text(settings, "site.url", ""), "http://x");
    assert_int_equal(settings_integer(settings, "lua.cpu_ms", 0), 7);
    snprintf(expected, sizeof expected, "unix:%s/var/r.sock", site.root);
    assert_string_equal(settings_text(settings, "redis.main.address", ""), expected);
    assert_string_equal(settings_text(settings, "mariadb.password", ""), "hush");
    assert_int_equal(strlen(settings_text(settings, "secrets.token", "")), 64);
    settings_free(settings);
    site_end(&site);
}

static void mistakes_are_named_with_file_and_key(void **state) {
    (void)state;
    static const struct {
        const char *own, *expected;
    } cases[] = {
        {"return { lua = { cpu_msec = 1 } }", "own.lua: there is no setting 'lua.cpu_msec'"},
        {"return { lua = { cpu_ms = -1 } }", "lua.cpu_ms should be a whole number from 0"},
        {"return { lua = { cpu_ms = 1.5 } }", "lua.cpu_ms is not a whole number"},
        {"return { redis = { main = { address = 'nowhere' } } }",
         "redis.main.address should be an address"},
        {"return { log = { level = 'loud' } }", "log.level should be one of debug|info|warn|error"},
        {"return { secrets = { seal = 'short' } }", "secrets.seal should be 64 hex digits"},
        {"return { mariadb = { password = secret 'absent' } }", "the secret 'absent' is not in"},
        {"return 7", "does not return a table"},
        {"return {", "own.lua:1:"},
        {"while true do end", "runs for too long"},
        {"return { site = { name = os.getenv 'HOME' } }", "global 'os'"},
        {"return { environment = 'staging' }", "environment should be one of"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct site site;
        char error[512];
        site_begin(&site);
        site_write(&site, "conf/footlight.conf.lua", base);
        assert_null(load(&site, cases[i].own, error));
        assert_has(error, cases[i].expected);
        site_end(&site);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_files_win_and_texts_are_expanded),
        cmocka_unit_test(mistakes_are_named_with_file_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
