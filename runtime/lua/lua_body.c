#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/utf8.h"
#include "http/multipart.h"
#include "lua/lua_request.h"

/// Bodies: req:body, req:json and req:form. Each reads the body once; asking again gives the same.

enum {
    BODY_LIMIT = 1024 * 1024,
    FORM_LIMIT = 1024 * 1024,
    FILES_LIMIT = 10,
    FILE_LIMIT = 10 * 1024 * 1024,
    FIELDS_LIMIT = 200,
    UPLOAD_LIMIT = 32 * 1024 * 1024,
};

/// A multipart form while it arrives: fields in memory, files on disk. Lua tables are made of it
/// when all is there.
struct form_item {
    struct form_item *next;
    char *name, *filename, *type, *path; ///< path: of a file, NULL for a field
    struct buffer value;
    uint64_t size;
    int fd;
};
struct lua_form {
    struct http_multipart multipart;
    struct form_item *first, *last;
    char folder[512];
    size_t fields_size, files, most_size, most_files;
    uint64_t most_file;
    int status;
    bool broken_disk;
};

// ---- whole bodies ---------------------------------------------------------------------------

const char *lua_body_reason(int status) {
    switch (status) {
    case 408: return "the body came too slowly";
    case 413: return "the body is too large";
    case 415: return "the body is of another type";
    case 499: return "the client has left";
    default: return "the body is malformed";
    }
}

static void body_done(struct http_request *request, struct slice body, int error) {
    struct lua_exchange *exchange = request->data;
    exchange->body_state = error ? LUA_BODY_GONE : LUA_BODY_HERE;
    exchange->body_error = error;
    exchange->body = body; // stays with the request
    lua_State *co = lua_pending_take(exchange->waiting);
    exchange->waiting = 0;
    if (co) lua_pending_resume(co, 0);
}

static int body_then(lua_State *L, int values, bool failed);

/// Calls `then(L, 0, false)` once the body is there; `then` finds it in the exchange.
static int body_await(lua_State *L, struct lua_exchange *exchange, size_t limit, const char *what,
                      int (*then)(lua_State *L, int values, bool failed)) {
    if (exchange->body_state == LUA_BODY_READING)
        return luaL_error(L, "the body of the request is being read already");
    if (exchange->body_state != LUA_BODY_UNREAD) return then(L, 0, false);
    exchange->waiting = lua_pending_begin(L, what, NULL, NULL);
    exchange->body_state = LUA_BODY_READING;
    http_request_read_all(exchange->request, limit, body_done);
    return lua_pending_yield_then(L, exchange->waiting, then);
}

/// The exchange with its body, or raises what became of it.
static struct lua_exchange *body_check(lua_State *L, bool failed) {
    if (failed) lua_pending_throw(L);
    struct lua_exchange *exchange = lua_request_check(L);
    if (exchange->body_error)
        lua_request_raise(L, exchange->body_error, lua_body_reason(exchange->body_error));
    return exchange;
}

static int body_then(lua_State *L, int values, bool failed) {
    (void)values;
    struct lua_exchange *exchange = body_check(L, failed);
    lua_pushlstring(L, exchange->body.data ? exchange->body.data : "", exchange->body.size);
    return 1;
}

static size_t body_limit(lua_State *L, size_t otherwise) {
    lua_Integer limit = luaL_optinteger(L, 2, (lua_Integer)otherwise);
    luaL_argcheck(L, limit >= 0, 2, "a limit is not negative");
    return (size_t)limit;
}

int lua_request_body(lua_State *L) {
    struct lua_exchange *exchange = lua_request_check(L);
    size_t limit = body_limit(L, BODY_LIMIT);
    lua_settop(L, 1);
    return body_await(L, exchange, limit, "req:body", body_then);
}

static bool type_is(struct http_request *request, const char *wanted) {
    struct slice type = http_request_header(request, "content-type");
    return slice_equal_fold(slice_trim(slice_sub(type, 0, slice_find(type, ';', 0))),
                            slice_of(wanted));
}

static int json_then(lua_State *L, int values, bool failed) {
    (void)values;
    struct lua_exchange *exchange = body_check(L, failed);
    if (!utf8_valid(exchange->body)) lua_request_raise(L, 400, "text is not UTF-8");
    lua_settop(L, 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "runtime.json");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "decode");
    lua_pushlstring(L, exchange->body.data ? exchange->body.data : "", exchange->body.size);
    // json.decode returns nil and a reason; a raise is as good.
    if (lua_pcall(L, 1, 2, 0) != LUA_OK || (lua_isnil(L, -2) && lua_isstring(L, -1))) {
        const char *reason = lua_tostring(L, -1);
        lua_pushfstring(L, "malformed JSON: %s", reason ? reason : "?");
        return lua_request_raise(L, 400, lua_tostring(L, -1));
    }
    lua_pop(L, 1);
    return 1;
}

int lua_request_json(lua_State *L) {
    struct lua_exchange *exchange = lua_request_check(L);
    size_t limit = body_limit(L, BODY_LIMIT);
    // Only what a page of another origin cannot send without asking first (CORS).
    if (!type_is(exchange->request, "application/json"))
        return lua_request_raise(L, 415, "the body is not application/json");
    lua_settop(L, 1);
    return body_await(L, exchange, limit, "req:json", json_then);
}

// ---- multipart ------------------------------------------------------------------------------

static int form_on_part(void *context, const struct http_part *part) {
    struct lua_form *form = context;
    struct form_item *item = memory_zero(1, sizeof *item);
    item->fd = -1;
    if (form->last) form->last->next = item;
    else form->first = item;
    form->last = item;
    struct buffer text = {0};
    buffer_append_slice(&text, part->name);
    item->name = memory_copy_string(buffer_text(&text));
    if (part->filename.data) {
        buffer_clear(&text, SIZE_MAX);
        buffer_append_slice(&text, part->filename);
        item->filename = memory_copy_string(buffer_text(&text));
        buffer_clear(&text, SIZE_MAX);
        buffer_append_slice(&text, part->type);
        item->type = memory_copy_string(buffer_text(&text));
    }
    buffer_free(&text);
    // A file input left empty is sent as a part without a name and content: no file.
    if (!part->filename.data || part->filename.size == 0) return 0;
    if (++form->files > form->most_files) return 413;
    char path[600];
    snprintf(path, sizeof path, "%s/upload-XXXXXX", form->folder);
    item->fd = mkostemp(path, O_CLOEXEC);
    if (item->fd < 0) {
        log_error("http.upload", LOG_TEXT("folder", form->folder), LOG_TEXT("error", strerror(errno)));
        return 500;
    }
    item->path = memory_copy_string(path);
    return 0;
}

static int form_on_data(void *context, struct slice data) {
    struct lua_form *form = context;
    struct form_item *item = form->last;
    item->size += data.size;
    if (!item->path) {
        form->fields_size += data.size;
        if (form->fields_size > form->most_size) return 413;
        buffer_append_slice(&item->value, data);
        return 0;
    }
    if (item->size > form->most_file) return 413;
    while (data.size) {
        ssize_t n = write(item->fd, data.data, data.size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            log_error("http.upload", LOG_TEXT("path", item->path), LOG_TEXT("error", strerror(errno)));
            return errno == ENOSPC ? 507 : 500;
        }
        data = slice_sub(data, (size_t)n, data.size);
    }
    return 0;
}

static int form_on_part_end(void *context) {
    struct form_item *item = ((struct lua_form *)context)->last;
    if (item->fd >= 0) close(item->fd);
    item->fd = -1;
    return 0;
}

static const struct http_multipart_events form_events = {form_on_part, form_on_data, form_on_part_end};

void lua_form_free(struct lua_form *form) {
    if (!form) return;
    for (struct form_item *item = form->first, *next; item; item = next) {
        next = item->next;
        if (item->fd >= 0) close(item->fd);
        if (item->path) unlink(item->path); // a handler that keeps a file has moved it away
        memory_free(item->name);
        memory_free(item->filename);
        memory_free(item->type);
        memory_free(item->path);
        buffer_free(&item->value);
        memory_free(item);
    }
    http_multipart_free(&form->multipart);
    memory_free(form);
}

static bool form_body_part(struct http_request *request, struct slice part, bool last, int error) {
    struct lua_exchange *exchange = request->data;
    struct lua_form *form = exchange->form;
    if (!last && !error) {
        if (!form->status) form->status = http_multipart_feed(&form->multipart, part);
        // After a failure the rest is read and forgotten only as far as it has come: answering
        // closes the connection.
        if (!form->status) return true;
    } else if (error) {
        form->status = error;
    } else if (!form->status) {
        form->status = http_multipart_finish(&form->multipart);
    }
    exchange->body_state = LUA_BODY_GONE;
    exchange->body_error = form->status;
    lua_State *co = lua_pending_take(exchange->waiting);
    exchange->waiting = 0;
    if (co) lua_pending_resume(co, 0);
    return false;
}

/// Adds a value under a name as lua_push_urlencoded does: [fields] at `fields`, value on top.
static void add_value(lua_State *L, int fields, const char *name) {
    int kind = lua_getfield(L, fields, name); // [-2] value, [-1] before
    if (kind == LUA_TNIL) {
        lua_pop(L, 1);
        lua_setfield(L, fields, name);
        return;
    }
    if (kind != LUA_TTABLE) {
        lua_createtable(L, 2, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, fields, name);
    }
    lua_insert(L, -2); // [-2] list, [-1] value
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

static void push_file(lua_State *L, const struct form_item *item) {
    lua_createtable(L, 0, 5);
    lua_pushstring(L, item->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, item->filename);
    lua_setfield(L, -2, "filename");
    lua_pushstring(L, item->type);
    lua_setfield(L, -2, "type");
    lua_pushstring(L, item->path);
    lua_setfield(L, -2, "path");
    lua_pushinteger(L, (lua_Integer)item->size);
    lua_setfield(L, -2, "size");
}

static int multipart_then(lua_State *L, int values, bool failed) {
    (void)values;
    struct lua_exchange *exchange = body_check(L, failed);
    lua_settop(L, 1);
    lua_newtable(L); // [2] fields
    lua_newtable(L); // [3] files
    for (struct form_item *item = exchange->form->first; item; item = item->next) {
        if (item->path) {
            push_file(L, item);
            lua_rawseti(L, 3, (lua_Integer)lua_rawlen(L, 3) + 1);
        } else if (!item->filename) {
            struct slice value = buffer_slice(&item->value);
            if (!utf8_valid(value) || (value.size && memchr(value.data, 0, value.size)))
                lua_request_raise(L, 400, "text is not UTF-8");
            lua_pushlstring(L, value.data ? value.data : "", value.size);
            add_value(L, 2, item->name);
        }
    }
    return 2;
}

static int urlencoded_then(lua_State *L, int values, bool failed) {
    (void)values;
    struct lua_exchange *exchange = body_check(L, failed);
    lua_settop(L, 1);
    lua_push_urlencoded(L, &exchange->request->arena, exchange->body);
    lua_newtable(L);
    return 2;
}

static lua_Integer limit_field(lua_State *L, const char *name, lua_Integer otherwise) {
    if (!lua_istable(L, 2)) return otherwise;
    lua_getfield(L, 2, name);
    lua_Integer value = luaL_optinteger(L, -1, otherwise);
    lua_pop(L, 1);
    if (value < 0) luaL_error(L, "the limit '%s' is negative", name);
    return value;
}

/// req:form{ size = of all fields, file = of one file, files = count, total = of the body,
/// fields = count } → fields, files
int lua_request_form(lua_State *L) {
    struct lua_exchange *exchange = lua_request_check(L);
    struct http_request *request = exchange->request;
    lua_Integer size = limit_field(L, "size", FORM_LIMIT);
    if (type_is(request, "application/x-www-form-urlencoded") || !request->has_body) {
        lua_settop(L, 1);
        return body_await(L, exchange, (size_t)size, "req:form", urlencoded_then);
    }
    if (exchange->form && exchange->body_state == LUA_BODY_GONE) return multipart_then(L, 0, false);
    if (exchange->body_state != LUA_BODY_UNREAD)
        return luaL_error(L, "the body of the request has been read otherwise");
    lua_Integer files = limit_field(L, "files", FILES_LIMIT);
    lua_Integer file = limit_field(L, "file", FILE_LIMIT);
    lua_Integer fields = limit_field(L, "fields", FIELDS_LIMIT);
    lua_Integer total = limit_field(L, "total", UPLOAD_LIMIT);
    struct lua_form *form = memory_zero(1, sizeof *form);
    if (!http_multipart_init(&form->multipart, http_request_header(request, "content-type"),
                             (size_t)(files + fields), &form_events, form)) {
        memory_free(form);
        return lua_request_raise(L, 415, "the body is no form");
    }
    form->most_size = (size_t)size;
    form->most_files = (size_t)files;
    form->most_file = (uint64_t)file;
    snprintf(form->folder, sizeof form->folder, "%s/tmp",
             settings_text(exchange->http->runtime->settings, "var", "var"));
    exchange->form = form; // freed with the exchange, whatever happens
    exchange->waiting = lua_pending_begin(L, "req:form", NULL, NULL);
    exchange->body_state = LUA_BODY_READING;
    http_request_read_parts(request, (uint64_t)total, form_body_part);
    lua_settop(L, 1);
    return lua_pending_yield_then(L, exchange->waiting, multipart_then);
}
