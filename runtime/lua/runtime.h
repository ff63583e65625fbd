#ifndef FOOTLIGHT_LUA_RUNTIME_H
#define FOOTLIGHT_LUA_RUNTIME_H
#include "base/buffer.h"
#include "base/settings.h"
#include "loop/loop.h"
#include "lua/raise.h"

/// What the bindings of one process can reach. A NULL member means that this service does not have
/// it; the binding then raises "… is not available in the <service> service". server/service.c
/// fills it before the first generation is loaded; everything in it outlives every Lua state.
struct runtime {
    struct loop *loop;
    const char *service;   ///< "web", "realtime", "hooks", "media", "jobs", "command", "test"
    const char *root;      ///< the folder that holds lua/, templates/, public/, migrations/
    bool development;      ///< error pages, reload on change
    struct settings *settings;
    struct redis_client *redis_main, *redis_money;
    struct redis_subscriber *subscriber; ///< on the main instance
    struct mariadb_pool *db, *db_replica; ///< the latter NULL where no replica is set
    struct billing *billing;
    struct hub *hub;             ///< realtime: local channels; others publish through Redis only
    struct streaming *streaming; ///< hooks and media
    struct http_client *http;
    struct lua_generations *generations; ///< generation.h
    /// Asks the running site's supervisor ("status" or "reload"); blocks. 0 and a line of JSON, or
    /// -errno. For commands; NULL elsewhere.
    int (*ask_supervisor)(const struct settings *settings, const char *question,
                          struct buffer *answer);
};

/// The runtime that a Lua state belongs to (kept in its extra space; shared by its coroutines).
struct runtime *runtime_of(lua_State *L);

/// Every binding file defines one opener and nothing else that is public; bindings.c lists them and
/// preloads each as "runtime.<name>" (int luaopen-like: leaves the module table on the stack).
int lua_open_task(lua_State *L);      // lua_task.c
int lua_open_log(lua_State *L);       // lua_log.c
int lua_open_metrics(lua_State *L);   // lua_metrics.c
int lua_open_config(lua_State *L);    // lua_config.c
int lua_open_json(lua_State *L);      // lua_json.c (lua-cjson, set up)
int lua_open_crypto(lua_State *L);    // lua_crypto.c
int lua_open_process(lua_State *L);   // lua_process.c
int lua_open_file(lua_State *L);      // lua_file.c
int lua_open_cache(lua_State *L);     // lua_cache.c
int lua_open_geo(lua_State *L);       // lua_geo.c: which country an address is in
int lua_open_text(lua_State *L);      // lua_text.c: utf-8, normalisation, escaping, hashing names
int lua_open_request(lua_State *L);   // lua_http.c: the request object
int lua_open_http(lua_State *L);      // lua_client.c: outgoing HTTP and SMTP
int lua_open_redis(lua_State *L);     // lua_redis.c
int lua_open_db(lua_State *L);        // lua_db.c
int lua_open_billing(lua_State *L);   // lua_billing.c
int lua_open_realtime(lua_State *L);  // lua_realtime.c
int lua_open_streaming(lua_State *L); // lua_streaming.c
int lua_open_template(lua_State *L);  // lua_template.c
int lua_open_supervisor(lua_State *L); // lua_supervisor.c
int lua_open_testing(lua_State *L); // lua_testing.c, for the test service
#endif
