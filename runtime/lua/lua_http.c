#include "lua/lua_http.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/query.h"
#include "lua/coroutine.h"
#include "lua/lua_request.h"
#include "lua/lua_template.h"
#include "lua/lua_websocket.h"

enum { STALE_UPLOAD_S = 24 * 3600, STREAM_CPU_MS = 5000 };

/// One to a process in practice; a list because tests make several runtimes.
static struct known {
    struct known *next;
    struct lua_http http;
} *known;

/// Files that a crash left behind.
static void remove_stale_uploads(const struct runtime *runtime) {
    char folder[512], path[1024];
    const char *var = settings_text(runtime->settings, "var", "var");
    snprintf(folder, sizeof folder, "%s/tmp", var);
    (void)mkdir(var, 0755);
    (void)mkdir(folder, 0700);
    DIR *listing = opendir(folder);
    if (!listing) return;
    for (struct dirent *entry; (entry = readdir(listing));) {
        struct stat info;
        if (strncmp(entry->d_name, "upload-", 7) != 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (stat(path, &info) == 0 && info.st_mtim.tv_sec < clock_wall_s() - STALE_UPLOAD_S) unlink(path);
    }
    closedir(listing);
}

struct lua_http *lua_http_of(struct runtime *runtime) {
    for (struct known *k = known; k; k = k->next)
        if (k->http.runtime == runtime) return &k->http;
    struct known *k = memory_zero(1, sizeof *k);
    k->http.runtime = runtime;
    k->http.write_high = 256 * 1024;
    list_init(&k->http.websockets);
    k->next = known;
    known = k;
    remove_stale_uploads(runtime);
    return &k->http;
}

void lua_http_detach(struct runtime *runtime) {
    for (struct known **at = &known; *at; at = &(*at)->next) {
        struct known *k = *at;
        if (k->http.runtime != runtime) continue;
        *at = k->next;
        lua_websocket_abort(&k->http);
        http_assets_free(k->http.assets);
        http_server_free(k->http.inside);
        memory_free(k);
        return;
    }
}

void lua_http_drain(struct runtime *runtime) {
    lua_websocket_drain(lua_http_of(runtime));
}

struct http_assets *lua_http_assets(struct runtime *runtime) {
    struct lua_http *http = lua_http_of(runtime);
    if (!http->assets) {
        char public[1024], deploy[1024];
        snprintf(public, sizeof public, "%s/public", runtime->root);
        snprintf(deploy, sizeof deploy, "%s/deploy", settings_text(runtime->settings, "var", "var"));
        const char *paths[] = {public, deploy};
        struct http_roots roots = {paths, 2};
        http->assets = http_assets_new(runtime->loop, &roots, runtime->development ? 100 : 5000);
    }
    return http->assets;
}

// ---- sending --------------------------------------------------------------------------------

/// The answer is out (or nobody is there to take it): the exchange forgets the request.
static void exchange_over(struct lua_exchange *exchange) {
    exchange->body = (struct slice){0};
    lua_form_free(exchange->form);
    exchange->form = NULL;
    lua_exchange_end(exchange);
}

static void send_plain(struct lua_exchange *exchange, int status, const char *text) {
    struct http_request *request = exchange->request;
    http_response_clear(request);
    http_response_header(request, SLICE("Cache-Control"), SLICE("no-store"));
    if (text) http_respond(request, status, "text/plain; charset=utf-8", slice_of(text));
    else http_respond_status(request, status);
    exchange_over(exchange);
}

/// The page of last resort: the framework makes the pretty ones.
static void send_error(struct lua_exchange *exchange, int status, const char *error) {
    struct http_request *request = exchange->request;
    log_error("http.handler_failed", LOG_TEXT("request", request->id), LOG_SLICE("path", request->path),
              LOG_INT("status", status), LOG_TEXT("error", error));
    const char *text =
        exchange->http->runtime->development
            ? arena_printf(&request->arena, "%d %s (request %s)\n\n%s\n", status,
                           http_status_text(status), request->id, error)
            : arena_printf(&request->arena, "%d %s\nrequest %s\n", status, http_status_text(status),
                           request->id);
    send_plain(exchange, status, text);
}

/// Adds one header; the value is at the top. False: refused.
static bool add_header(lua_State *co, struct http_request *request, struct slice name) {
    size_t size;
    if (lua_type(co, -1) != LUA_TSTRING && lua_type(co, -1) != LUA_TNUMBER) return false;
    lua_pushvalue(co, -1); // tolstring changes a number in place
    const char *text = lua_tolstring(co, -1, &size);
    bool good = http_response_header(request, name, slice_make(text, size));
    lua_pop(co, 1);
    return good;
}

/// Adds response.headers; [index] is the response. NULL, or what is wrong.
static const char *add_headers(lua_State *co, int index, struct http_request *request) {
    const char *wrong = NULL;
    lua_pushliteral(co, "headers");
    lua_rawget(co, index);
    if (lua_istable(co, -1)) {
        lua_pushnil(co);
        while (!wrong && lua_next(co, -2)) { // [-2] name, [-1] value or list
            if (lua_type(co, -2) != LUA_TSTRING) {
                wrong = "a header's name is no string";
                lua_pop(co, 2);
                break;
            }
            struct slice name = slice_of(lua_tostring(co, -2));
            bool good = true;
            if (lua_istable(co, -1)) {
                for (lua_Integer i = 1; good && lua_rawgeti(co, -1, i) != LUA_TNIL; i++) {
                    good = add_header(co, request, name);
                    lua_pop(co, 1);
                }
                if (good) lua_pop(co, 1);
            } else {
                good = add_header(co, request, name);
            }
            if (!good) {
                wrong = arena_printf(&request->arena, "the header '%.*s' may not be set, or not to this",
                                     SLICE_FORMAT(name));
                lua_pop(co, 2);
                break;
            }
            lua_pop(co, 1);
        }
    } else if (!lua_isnil(co, -1)) {
        wrong = "response.headers is no table";
    }
    lua_pop(co, 1);
    return wrong;
}

static void stream_start(struct lua_exchange *exchange, lua_State *co, int status, lua_Number seconds);

static void send_file(struct lua_exchange *exchange, const char *path) {
    struct http_request *request = exchange->request;
    if (path[0] != '/')
        path = arena_printf(&request->arena, "%s/%s", exchange->http->runtime->root, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        send_plain(exchange, 404, NULL);
        return;
    }
    // A Content-Type among the response's headers has been taken already and wins over NULL.
    http_respond_file(request, fd, http_response_has_type(request)
                                       ? NULL
                                       : http_static_type(slice_of(path)),
                      NULL);
    exchange_over(exchange);
}

static void send_body(struct lua_exchange *exchange, int status, struct slice body) {
    struct http_request *request = exchange->request;
    const char *type = http_response_has_type(request) ? NULL : "text/html; charset=utf-8";
    http_respond(request, status, body.size ? type : NULL, body);
    exchange_over(exchange);
}

/// Sends the response at the top of co.
static void send_response(struct lua_exchange *exchange, lua_State *co) {
    struct http_request *request = exchange->request;
    int index = lua_gettop(co);
    size_t size;
    struct buffer *page = template_buffer_test(co, index);
    if (page || lua_type(co, index) == LUA_TSTRING) {
        const char *text = page ? NULL : lua_tolstring(co, index, &size);
        send_body(exchange, 200, page ? buffer_slice(page) : slice_make(text, size));
        return;
    }
    if (!lua_istable(co, index)) {
        send_error(exchange, 500, lua_isnil(co, index) ? "the handler returned no response"
                                                       : "the handler returned something else than a response");
        return;
    }
    lua_pushliteral(co, "websocket");
    bool websocket = lua_rawget(co, index) == LUA_TSTRING;
    lua_pop(co, 1);
    if (websocket) {
        lua_websocket_accept(exchange, co, index);
        exchange_over(exchange);
        return;
    }
    lua_pushliteral(co, "status");
    lua_rawget(co, index);
    lua_Integer status = lua_isinteger(co, -1) ? lua_tointeger(co, -1) : lua_isnil(co, -1) ? 200 : 0;
    lua_pop(co, 1);
    const char *wrong = status < 200 || status > 599 ? "response.status is no status"
                                                     : add_headers(co, index, request);
    if (wrong) {
        send_error(exchange, 500, wrong);
        return;
    }
    lua_pushliteral(co, "file");
    if (lua_rawget(co, index) == LUA_TSTRING) {
        send_file(exchange, lua_tostring(co, -1));
        return;
    }
    lua_pop(co, 1);
    lua_pushliteral(co, "deadline");
    lua_rawget(co, index);
    lua_Number seconds = lua_isnumber(co, -1) ? lua_tonumber(co, -1) : 0;
    lua_pop(co, 1);
    lua_pushliteral(co, "body");
    lua_rawget(co, index);
    page = template_buffer_test(co, -1);
    if (page) {
        send_body(exchange, (int)status, buffer_slice(page));
    } else if (lua_isfunction(co, -1)) {
        stream_start(exchange, co, (int)status, seconds);
    } else if (lua_type(co, -1) == LUA_TSTRING) {
        const char *text = lua_tolstring(co, -1, &size);
        send_body(exchange, (int)status, slice_make(text, size));
    } else if (lua_isnil(co, -1)) {
        if (status >= 400) send_plain(exchange, (int)status, NULL);
        else send_body(exchange, (int)status, SLICE(""));
    } else {
        send_error(exchange, 500, "response.body is neither string, buffer nor function");
    }
}

// ---- streamed bodies ------------------------------------------------------------------------

static void on_drain(struct http_request *request) {
    struct lua_exchange *exchange = request->data;
    lua_State *co = lua_pending_take(exchange->waiting);
    exchange->waiting = 0;
    if (co) lua_pending_resume(co, 0);
}

static int write_then(lua_State *L, int values, bool failed) {
    (void)values;
    if (failed) return lua_pending_throw(L);
    lua_pushboolean(L, 1);
    return 1;
}

/// write(data): sends a piece of a streamed body; waits while the client is behind.
static int stream_write(lua_State *L) { // upvalue 1: req
    size_t size = 0;
    struct buffer *page = template_buffer_test(L, 1);
    const char *text = page ? page->data : luaL_checklstring(L, 1, &size);
    if (page) size = page->size;
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_replace(L, 1); // [1] req
    struct lua_exchange *exchange = lua_request_check(L);
    if (exchange->gone) return luaL_error(L, "the client has left");
    struct lua_coroutine *co = lua_coroutine_current();
    if (co) co->cpu_ms = co->grown = 0; // limits are from one piece to the next: events may go on for days
    size_t queued = http_response_write(exchange->request, slice_make(text, size));
    if (queued <= exchange->http->write_high) {
        lua_pushboolean(L, 1);
        return 1;
    }
    exchange->waiting = lua_pending_begin(L, "write", NULL, NULL);
    http_response_on_drain(exchange->request, on_drain);
    return lua_pending_yield_then(L, exchange->waiting, write_then);
}

/// trailer(name, value): a header behind a streamed body; false if the client takes none.
static int stream_trailer(lua_State *L) { // upvalue 1: req
    size_t name_size, value_size;
    const char *name = luaL_checklstring(L, 1, &name_size);
    const char *value = luaL_checklstring(L, 2, &value_size);
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1); // [1] req
    struct lua_exchange *exchange = lua_request_check(L);
    lua_pushboolean(L, http_response_trailer(exchange->request, slice_make(name, name_size),
                                             slice_make(value, value_size)));
    return 1;
}

static void stream_done(void *context, lua_State *co, int results, const char *error) {
    struct lua_exchange *exchange = context;
    (void)co;
    (void)results;
    exchange->stream = 0;
    if (error && !exchange->gone)
        log_error("http.stream_failed", LOG_TEXT("request", exchange->request->id),
                  LOG_TEXT("error", error));
    // The status is out; a cut connection is the only way left to say that something is missing.
    if (error) http_response_abort(exchange->request);
    else http_response_end(exchange->request);
    exchange_over(exchange);
}

/// Runs the function at the top of `from` in a coroutine of the same state: a reload between answer
/// and body does not matter.
static void stream_start(struct lua_exchange *exchange, lua_State *from, int status, lua_Number seconds) {
    struct lua_host *host = lua_host_of(from);
    struct settings *settings = exchange->http->runtime->settings;
    struct lua_limits limits = {
        .deadline_ms = seconds > 0 && seconds < 1e6 ? (unsigned)(seconds * 1000) : 0,
        .cpu_ms = STREAM_CPU_MS,
        .memory = (size_t)settings_integer(settings, "lua.memory", 64 * 1024 * 1024),
    };
    struct lua_coroutine *co = lua_coroutine_new(host, &limits);
    if (!co) {
        send_error(exchange, 503, "too many coroutines: the service is busy");
        return;
    }
    co->done = stream_done;
    co->context = exchange;
    exchange->stream = co->run;
    lua_generations_label(co->L, exchange->request->id);
    lua_pushvalue(from, -1);
    lua_xmove(from, co->L, 1);
    lua_request_push(co->L, exchange);
    lua_pushvalue(co->L, -1);
    lua_pushcclosure(co->L, stream_write, 1); // [-2] req
    lua_insert(co->L, -2);
    lua_pushcclosure(co->L, stream_trailer, 1);
    const char *type = http_response_has_type(exchange->request) ? NULL : "text/plain; charset=utf-8";
    http_response_begin(exchange->request, status, type, UINT64_MAX);
    lua_coroutine_start(co, 2, true);
}

// ---- requests -------------------------------------------------------------------------------

static int push_request(lua_State *co, void *context) {
    struct lua_exchange *exchange = context;
    lua_generations_label(co, exchange->request->id);
    lua_request_push(co, exchange);
    return 1;
}

/// The status for a run that failed; raised values with a status are answers.
static void send_failure(struct lua_exchange *exchange, lua_State *co, const char *error) {
    if (!co) {
        const char *load = lua_generations_error(exchange->http->runtime->generations);
        send_error(exchange, 503, load ? load : error);
        return;
    }
    enum lua_fate fate = lua_coroutine_of(co)->fate;
    if (fate == LUA_FATE_DEADLINE) {
        send_error(exchange, 504, error);
    } else if (fate == LUA_FATE_CANCELLED) {
        if (exchange->gone) send_plain(exchange, 503, NULL);
        else send_error(exchange, 503, error);
    } else if (lua_istable(co, -1)) {
        lua_pushliteral(co, "status");
        bool answer = lua_rawget(co, -2) == LUA_TNUMBER;
        lua_pop(co, 1);
        if (answer) send_response(exchange, co);
        else send_error(exchange, 500, error);
    } else {
        send_error(exchange, 500, error);
    }
}

static void on_done(void *context, lua_State *co, int results, const char *error) {
    struct lua_exchange *exchange = context;
    exchange->run = 0;
    if (error) {
        send_failure(exchange, co, error);
        return;
    }
    if (results == 0) lua_pushnil(co);
    else if (results > 1) lua_pop(co, results - 1); // the first result is the response
    send_response(exchange, co);
}

static void on_gone(struct http_request *request) {
    struct lua_exchange *exchange = request->data;
    struct lua_generations *generations = exchange->http->runtime->generations;
    exchange->gone = true;
    if (exchange->run) lua_cancel(generations, exchange->run, "the client has left");
    else if (exchange->stream) lua_cancel(generations, exchange->stream, "the client has left");
}

/// A file of public/ itself, such as /robots.txt or /favicon.ico.
static bool serve_root_file(struct lua_http *http, struct http_request *request, struct slice path) {
    struct slice name = slice_sub(path, 1, path.size);
    if (name.size == 0 || slice_find(name, '/', 0) != name.size || slice_find(name, '.', 0) == name.size)
        return false;
    const char *root = arena_printf(&request->arena, "%s/public", http->runtime->root);
    struct http_roots roots = {&root, 1};
    return http_static_serve(request, &roots, arena_copy(&request->arena, name), "public, max-age=600");
}

static void handle(struct lua_http *http, struct http_request *request) {
    struct slice path;
    if (!http_path_decode(&request->arena, request->path, &path)) {
        http_respond_status(request, 400);
        return;
    }
    if (slice_starts(path, SLICE("/assets/")) &&
        http_assets_serve(lua_http_assets(http->runtime), request, path))
        return;
    if (serve_root_file(http, request, path)) return;
    struct lua_exchange *exchange = lua_exchange_new();
    exchange->http = http;
    exchange->request = request;
    exchange->path = path;
    exchange->references++; // this call's: on_done may come inside it
    request->data = exchange;
    http_request_on_gone(request, on_gone);
    uint64_t run = lua_generations_call(http->runtime->generations, "on_request", NULL, push_request,
                                        on_done, exchange);
    if (exchange->request && !exchange->stream) exchange->run = run;
    lua_exchange_unref(exchange);
}

void lua_http_on_request(struct runtime *runtime, struct http_request *request) {
    handle(lua_http_of(runtime), request);
}

static void on_request(void *context, struct http_request *request) { handle(context, request); }

void lua_http_attach(struct runtime *runtime, struct http_server_options *options) {
    struct lua_http *http = lua_http_of(runtime);
    http->write_high = options->limits.write_high;
    options->on_request = on_request;
    options->context = http;
    lua_http_assets(runtime);
}

// ---- the module -----------------------------------------------------------------------------

static int asset(lua_State *L) { // asset(path) → URL, found
    const char *path = luaL_checkstring(L, 1);
    struct buffer url = {0};
    bool found = http_assets_url(lua_http_assets(runtime_of(L)), path, &url);
    lua_pushlstring(L, url.data, url.size);
    buffer_free(&url);
    lua_pushboolean(L, found);
    return 2;
}

static int status_text(lua_State *L) {
    lua_pushstring(L, http_status_text((int)luaL_checkinteger(L, 1)));
    return 1;
}

int lua_open_request(lua_State *L) {
    static const luaL_Reg functions[] = {{"asset", asset}, {"connect", lua_stream_connect}, {"dispatch", lua_dispatch},
                                         {"status_text", status_text}, {NULL, NULL}};
    lua_request_metatable(L);
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_request_methods(L);
    lua_setfield(L, -2, "methods");
    return 1;
}
