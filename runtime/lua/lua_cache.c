// runtime.cache: a bounded cache for the whole process, which outlives reloads. It keeps texts (the
// values are encoded by runtime.json), so that no state holds on to another's tables. Least
// recently used values go first; each has an expiry.
#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/memory.h"
#include "lua/runtime.h"

enum { BYTES_MOST = 32 * 1024 * 1024, VALUE_MOST = 1024 * 1024, KEY_MOST = 512 };

struct entry {
    struct list link; // most recently used first
    uint64_t expires; // monotonic milliseconds
    size_t key_size, size;
    char data[]; // key, value
};

static struct hash entries;
static struct list order;
static size_t bytes;

static void drop(struct entry *entry) {
    hash_remove(&entries, slice_make(entry->data, entry->key_size));
    list_remove(&entry->link);
    bytes -= sizeof *entry + entry->key_size + entry->size;
    memory_free(entry);
}

static struct slice check_key(lua_State *L) {
    size_t size;
    const char *key = luaL_checklstring(L, 1, &size);
    luaL_argcheck(L, size > 0 && size <= KEY_MOST, 1, "a key of 1 to 512 bytes");
    return slice_make(key, size);
}

static uint64_t now_ms(void) {
    return clock_monotonic_ns() / 1000000;
}

static struct entry *find(struct slice key) {
    struct entry *entry = hash_get(&entries, key);
    if (!entry) return NULL;
    if (entry->expires <= now_ms()) {
        drop(entry);
        return NULL;
    }
    list_remove(&entry->link);
    list_push_front(&order, &entry->link);
    return entry;
}

// get(key): the value, or nil.
static int get(lua_State *L) {
    struct entry *entry = find(check_key(L));
    if (!entry) return 0;
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_pushlstring(L, entry->data + entry->key_size, entry->size);
    lua_call(L, 1, 1);
    return 1;
}

// set(key, value [, seconds = 60])
static int set(lua_State *L) {
    struct slice key = check_key(L);
    luaL_checkany(L, 2);
    double seconds = luaL_optnumber(L, 3, 60);
    luaL_argcheck(L, seconds > 0 && seconds <= 86400 * 30, 3, "seconds out of range");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    size_t size;
    const char *text = lua_tolstring(L, -1, &size);
    luaL_argcheck(L, size <= VALUE_MOST, 2, "too large for the cache");
    struct entry *before = hash_get(&entries, key);
    if (before) drop(before);
    size_t whole = sizeof(struct entry) + key.size + size;
    while (bytes + whole > BYTES_MOST) drop(container_of(order.previous, struct entry, link));
    struct entry *entry = memory_alloc(whole);
    entry->expires = now_ms() + (uint64_t)(seconds * 1000);
    entry->key_size = key.size;
    entry->size = size;
    memcpy(entry->data, key.data, key.size);
    memcpy(entry->data + key.size, text, size);
    hash_put(&entries, key, entry);
    list_push_front(&order, &entry->link);
    bytes += whole;
    return 0;
}

static int delete (lua_State *L) {
    struct entry *entry = hash_get(&entries, check_key(L));
    if (entry) drop(entry);
    return 0;
}

// clear([prefix])
static int clear(lua_State *L) {
    size_t size;
    const char *prefix = luaL_optlstring(L, 1, "", &size);
    list_each(&order, node) {
        struct entry *entry = container_of(node, struct entry, link);
        if (slice_starts(slice_make(entry->data, entry->key_size), slice_make(prefix, size)))
            drop(entry);
    }
    return 0;
}

// fetch(key, seconds, fn): the cached value, or fn's (not cached when it is nil). fn may wait.
static int fetch_after(lua_State *L, int status, lua_KContext context) {
    (void)status, (void)context;
    if (lua_isnil(L, -1)) return 1;
    lua_pushvalue(L, lua_upvalueindex(3)); // set
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 4);
    lua_pushvalue(L, 2);
    lua_call(L, 3, 0);
    return 1;
}

static int fetch(lua_State *L) {
    luaL_checknumber(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    lua_settop(L, 3);
    if (get(L)) return 1;
    lua_pushvalue(L, 3);
    lua_callk(L, 0, 1, 0, fetch_after);
    return fetch_after(L, LUA_OK, 0);
}

int lua_open_cache(lua_State *L) {
    static const luaL_Reg functions[] = {{"get", get}, {"set", set}, {NULL, NULL}};
    static const luaL_Reg plain[] = {{"delete", delete}, {"clear", clear}, {NULL, NULL}};
    if (!order.next) list_init(&order);
    lua_createtable(L, 0, 5);
    luaL_setfuncs(L, plain, 0);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "runtime.json");
    lua_call(L, 1, 1); // module, json
    lua_getfield(L, -1, "encode");
    lua_getfield(L, -2, "decode");
    lua_remove(L, -3); // module, encode, decode
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -3);
    luaL_setfuncs(L, functions, 2);
    lua_pop(L, 1); // module, encode, decode
    lua_getfield(L, -3, "set");
    lua_pushcclosure(L, fetch, 3);
    lua_setfield(L, -2, "fetch");
    return 1;
}
