// runtime.metrics: local orders = metrics.counter("footlight_site_orders_total", "Orders made"),
// then orders:add(1). One metric for each name and set of labels, for the life of the process: a
// reload finds the old one. Labels are a table; their values must come from a small fixed set.
#include <math.h>

#include "base/metrics.h"
#include "lua/runtime.h"

#define METRIC "runtime.metric"

enum { LABELS_MOST = 8, LABEL_SIZE_MOST = 100, METRICS_MOST = 2000 };

struct metric_box {
    struct metric *metric;
    bool counter;
};

static bool is_name(const char *name) {
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return size > 0 && size < 120 && name[size] == '\0' && !(name[0] >= '0' && name[0] <= '9');
}

// Appends to the luaL_Buffer the labels of the table at `index`, sorted by name.
static const char *push_labels(lua_State *L, int index) {
    if (lua_isnoneornil(L, index)) return NULL;
    luaL_checktype(L, index, LUA_TTABLE);
    const char *names[LABELS_MOST];
    int count = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING && is_name(lua_tostring(L, -2)), index,
                      "a label's name is a word in lower case");
        luaL_argcheck(L, count < LABELS_MOST, index, "too many labels");
        int at = count++;
        for (; at > 0 && strcmp(names[at - 1], lua_tostring(L, -2)) > 0; at--)
            names[at] = names[at - 1];
        names[at] = lua_tostring(L, -2);
        lua_pop(L, 1);
    }
    if (count == 0) return NULL;
    lua_pushliteral(L, "");
    for (int i = 0; i < count; i++) {
        lua_getfield(L, index, names[i]);
        size_t size;
        const char *value = luaL_tolstring(L, -1, &size);
        luaL_argcheck(L, size <= LABEL_SIZE_MOST && !strpbrk(value, "\"\\\n"), index,
                      "bad label value");
        lua_remove(L, -2);
        lua_pushfstring(L, "%s%s=\"%s\"", i ? "," : "", names[i], value);
        lua_remove(L, -2);
        lua_concat(L, 2);
    }
    return lua_tostring(L, -1);
}

static int new_metric(lua_State *L) {
    static int made;
    int kind = (int)lua_tointeger(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 1), *help = luaL_checkstring(L, 2);
    luaL_argcheck(L, is_name(name), 1, "not a metric's name");
    lua_settop(L, 3);
    const char *labels = push_labels(L, 3);
    if (++made > METRICS_MOST * 100)
        return luaL_error(L, "too many metrics: keep what counter() returns");
    struct metric_box *box = lua_newuserdatauv(L, sizeof *box, 0);
    box->counter = kind == 0;
    box->metric = kind == 0   ? metrics_counter(name, help, labels)
                  : kind == 1 ? metrics_gauge(name, help, labels)
                              : metrics_histogram(name, help, labels);
    luaL_setmetatable(L, METRIC);
    return 1;
}

static int add(lua_State *L) {
    struct metric_box *box = luaL_checkudata(L, 1, METRIC);
    lua_Integer amount = luaL_optinteger(L, 2, 1);
    luaL_argcheck(L, !box->counter || amount >= 0, 2, "a counter only grows");
    metric_add(box->metric, amount);
    return 0;
}

static int set(lua_State *L) {
    struct metric_box *box = luaL_checkudata(L, 1, METRIC);
    if (box->counter) return luaL_error(L, "a counter cannot be set");
    metric_set(box->metric, luaL_checkinteger(L, 2));
    return 0;
}

static int observe(lua_State *L) { // seconds
    struct metric_box *box = luaL_checkudata(L, 1, METRIC);
    double seconds = luaL_checknumber(L, 2);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, 2, "seconds out of range");
    metric_observe_us(box->metric, (uint64_t)llround(seconds * 1e6));
    return 0;
}

static int value(lua_State *L) {
    struct metric_box *box = luaL_checkudata(L, 1, METRIC);
    lua_pushinteger(L, (lua_Integer)metric_value(box->metric));
    return 1;
}

int lua_open_metrics(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"add", add}, {"set", set}, {"observe", observe}, {"value", value}, {NULL, NULL}};
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    luaL_newmetatable(L, METRIC);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    lua_createtable(L, 0, 3);
    for (int i = 0; i < 3; i++) {
        lua_pushinteger(L, i);
        lua_pushcclosure(L, new_metric, 1);
        lua_setfield(L, -2, kinds[i]);
    }
    return 1;
}
