// runtime.geo: where an address is. country(address); inside(address, "10.0.0.0/8, ::1"); networks(text)
// says whether a list of networks reads. The file (geo.file) is read when Lua is loaded, and again when
// a reload finds it changed; all generations share what was read.
#include <sys/stat.h>

#include "base/log.h"
#include "http/geo.h"
#include "http/proxies.h"
#include "lua/generation.h"

static struct geo *ranges;
static struct timespec read_at; // the file's time of change
static bool tried;

static void look(const char *path) {
    struct stat about;
    if (!path) return;
    bool there = stat(path, &about) == 0;
    if (tried && (!there || (about.st_mtim.tv_sec == read_at.tv_sec &&
                             about.st_mtim.tv_nsec == read_at.tv_nsec))) {
        return;
    }
    tried = true;
    if (there) read_at = about.st_mtim;
    const char *why = "there is no such file";
    struct geo *fresh = there ? geo_read(path, &why) : NULL;
    if (!fresh) { // what was known stays
        log_error("geo.unreadable", LOG_TEXT("path", path), LOG_TEXT("why", why));
        return;
    }
    geo_free(ranges);
    ranges = fresh;
    log_info("geo.read", LOG_INT("ranges", (int64_t)geo_count(ranges)));
}

// geo.known() → whether countries are known here.
static int geo_known(lua_State *L) {
    lua_pushboolean(L, ranges != NULL);
    return 1;
}

static struct slice check_slice(lua_State *L, int index) {
    size_t size;
    const char *text = luaL_checklstring(L, index, &size);
    return slice_make(text, size);
}

static int geo_country_of(lua_State *L) {
    char country[3];
    if (ranges && geo_country(ranges, check_slice(L, 1), country)) {
        lua_pushstring(L, country);
    } else {
        lua_pushnil(L);
    }
    return 1;
}

static int geo_inside(lua_State *L) {
    struct http_proxies list = {0};
    struct slice address = check_slice(L, 1);
    http_proxies_parse(&list, luaL_checkstring(L, 2));
    lua_pushboolean(L, http_proxies_trust(&list, address));
    http_proxies_free(&list);
    return 1;
}

static int geo_networks(lua_State *L) {
    struct http_proxies list = {0};
    bool good = http_proxies_parse(&list, luaL_checkstring(L, 1)) && !list.unix_sockets;
    lua_pushboolean(L, good);
    lua_pushinteger(L, (lua_Integer)list.count);
    http_proxies_free(&list);
    return 2;
}

int lua_open_geo(lua_State *L) {
    look(settings_text(runtime_of(L)->settings, "geo.file", NULL));
    static const luaL_Reg functions[] = {{"known", geo_known},
                                         {"country", geo_country_of},
                                         {"inside", geo_inside},
                                         {"networks", geo_networks},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
