// WebSockets of Lua handlers across reloads: the connection and its state stay, the code changes.
#include "lua_support.h"
#include "websocket_support.h"

#include "lua/lua_http.h"

#define HEAD HANDSHAKE("/") "\r\n"

static const char code[] =
    "local VERSION = %d\n"
    "local site = {}\n"
    "function site.on_request(req) return { websocket = '0' } end\n"
    "function site.on_websocket(socket)\n"
    "  local open, resumed = socket:is()\n"
    "  local _ <close> = setmetatable({}, { __close = function()\n"
    "    socket:state(tostring(math.tointeger(socket:state()) + 1))\n"
    "  end })\n"
    "  if resumed then socket:send('resumed ' .. VERSION .. ' ' .. socket:state()) end\n"
    "  while true do\n"
    "    local message = socket:receive()\n"
    "    if not message then return end\n"
    "    if message == 'fail' then error('on purpose') end\n"
    "    socket:send(VERSION .. ' ' .. message)\n"
    "  end\n"
    "end\n"
    "return site\n";

static struct site site;
static struct http_server *server;

static void write_version(int version) {
    char text[2048];
    snprintf(text, sizeof text, code, version);
    site_write(&site, "lua/site/init.lua", text);
}

static void reload(int version) {
    write_version(version);
    assert_int_equal(lua_generations_reload(site.runtime.generations), 0);
}

static int set_up(void **state) {
    (void)state;
    site_begin(&site);
    write_version(1);
    site.runtime.generations = lua_generations_new(&site.runtime, "site");
    assert_int_equal(lua_generations_reload(site.runtime.generations), 0);
    struct http_server_options options = {.name = "test"};
    http_limits_default(&options.limits);
    lua_http_attach(&site.runtime, &options);
    server = http_server_new(&site.loop, &options);
    return 0;
}

// As server/service.c ends.
static void stop(void) {
    if (!server) return;
    http_server_free(server);
    server = NULL;
    lua_generations_free(site.runtime.generations);
    site.runtime.generations = NULL;
    lua_http_detach(&site.runtime);
}

static int tear_down(void **state) {
    (void)state;
    stop();
    for (int i = 0; i < 4; i++) uv_run(&site.loop.uv, UV_RUN_NOWAIT);
    site_end(&site);
    return 0;
}

static struct peer *open_socket(void) {
    struct peer *peer = peer_open(&site.loop, server);
    peer_send(peer, SLICE(HEAD));
    wait_head(&site.loop, peer);
    return peer;
}

static void a_connection_survives_a_reload_with_its_state(void **state) {
    (void)state;
    struct peer *peer = open_socket();
    send_text(peer, "a");
    expect_frame(&site.loop, peer, WEBSOCKET_TEXT, "1 a");
    reload(2);
    expect_frame(&site.loop, peer, WEBSOCKET_TEXT, "resumed 2 1");
    send_text(peer, "b");
    expect_frame(&site.loop, peer, WEBSOCKET_TEXT, "2 b");
    peer_close(&site.loop, peer);
}

static void what_arrives_during_a_reload_is_not_lost(void **state) {
    (void)state;
    struct peer *peer = open_socket();
    send_text(peer, "a");
    expect_frame(&site.loop, peer, WEBSOCKET_TEXT, "1 a");
    for (int i = 2; i < 60; i++) {
        char text[32], wanted[48];
        snprintf(text, sizeof text, "m%d", i);
        send_text(peer, text);
        socket_flush(&peer->socket);
        reload(i); // before the loop has read it
        snprintf(wanted, sizeof wanted, "resumed %d %d", i, i - 1);
        expect_frame(&site.loop, peer, WEBSOCKET_TEXT, wanted);
        snprintf(wanted, sizeof wanted, "%d m%d", i, i);
        expect_frame(&site.loop, peer, WEBSOCKET_TEXT, wanted);
    }
    wait_for(&site.loop, lua_generations_old(site.runtime.generations) == 0);
    peer_close(&site.loop, peer);
}

static void a_reload_that_fails_changes_nothing(void **state) {
    (void)state;
    struct peer *peer = open_socket();
    send_text(peer, "a");
    expect_frame(&site.loop, peer, WEBSOCKET_TEXT, "1 a");
    site_write(&site, "lua/site/init.lua", "this is no Lua");
    assert_int_equal(lua_generations_reload(site.runtime.generations), -1);
    send_text(peer, "b");
    expect_frame(&site.loop, peer, WEBSOCKET_TEXT, "1 b");
    peer_close(&site.loop, peer);
}

static void a_handler_that_fails_closes_its_connection_only(void **state) {
    (void)state;
    struct peer *one = open_socket(), *two = open_socket();
    send_text(one, "fail");
    expect_close(&site.loop, one, 1011);
    assert_has(site.log, "websocket.handler_failed");
    assert_has(site.log, "on purpose");
    send_text(two, "b");
    expect_frame(&site.loop, two, WEBSOCKET_TEXT, "1 b");
    peer_close(&site.loop, one);
    peer_close(&site.loop, two);
    wait_for(&site.loop, lua_generations_running(site.runtime.generations) == 0);
}

static void draining_says_goodbye(void **state) {
    (void)state;
    struct peer *peer = open_socket();
    send_text(peer, "a");
    expect_frame(&site.loop, peer, WEBSOCKET_TEXT, "1 a");
    lua_http_drain(&site.runtime);
    expect_close(&site.loop, peer, 1001);
    send_frame(peer, 0x80 | WEBSOCKET_CLOSE, SLICE("\x03\xe9"));
    wait_for(&site.loop, http_server_connections(server) == 0);
    peer_close(&site.loop, peer);
}

static void the_end_of_the_service_leaves_nothing_behind(void **state) {
    (void)state;
    struct peer *peer = open_socket();
    send_text(peer, "a");
    expect_frame(&site.loop, peer, WEBSOCKET_TEXT, "1 a");
    reload(2); // and what waits to be bound
    stop();
    wait_for(&site.loop, peer->ended);
    peer_close(&site.loop, peer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_connection_survives_a_reload_with_its_state, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_arrives_during_a_reload_is_not_lost, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_reload_that_fails_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_handler_that_fails_closes_its_connection_only, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(draining_says_goodbye, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_of_the_service_leaves_nothing_behind, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
