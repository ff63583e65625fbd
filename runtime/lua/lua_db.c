// runtime.db: MariaDB for handlers (lua/types/db.lua is the reference).
//
// A wait is a userdata at the bottom of the calling function's stack, so it lives as long as the
// coroutine waits: the pool's callback puts the outcome into it, and the continuation, which runs
// protected in the coroutine, turns that into Lua values.
#include <string.h>

#include "lua/lua_db.h"
#include "lua/pending.h"
#include "lua/runtime.h"
#include "mariadb/pool.h"

#define CONNECTION_TYPE "runtime.db.connection"
#define SESSION_TYPE "runtime.db.session"
#define WAIT_TYPE "runtime.db.wait"
#define ERROR_TYPE "runtime.db.error"

enum { PARAMETERS_MOST = 60000, LIMIT_MOST_MS = 24 * 3600 * 1000 };

struct db_connection {
    struct mariadb_pool *pool;
    bool owned; ///< made by db.open: closed with it
};
struct db_session {
    struct mariadb_session *session; ///< NULL: released
};
enum db_shape { SHAPE_ROWS, SHAPE_ONE, SHAPE_EXEC, SHAPE_SESSION };
struct db_wait {
    struct mariadb_pool *pool;
    uint64_t request;
    lua_pending pending;
    enum db_shape shape;
    struct mariadb_result *result;
    struct mariadb_session *session;
    struct mariadb_error *error; ///< apart: it is half a KiB, and most waits end well
};

static char null_key; // its address is db.null

// ---------------------------------------------------------------- errors

static const char *const kinds[] = {"",     "sql",     "unavailable", "busy",
                                    "timeout", "lost", "limit"};

// [-1] the error table
static void push_error(lua_State *L, const struct mariadb_error *error) {
    lua_createtable(L, 0, 6);
    lua_pushstring(L, kinds[error->kind]);
    lua_setfield(L, -2, "kind");
    lua_pushinteger(L, error->code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, error->sqlstate);
    lua_setfield(L, -2, "sqlstate");
    lua_pushstring(L, error->message);
    lua_setfield(L, -2, "message");
    lua_pushboolean(L, error->kind == MARIADB_SQL && (error->code == 1062 || error->code == 1586));
    lua_setfield(L, -2, "duplicate");
    lua_pushboolean(L, mariadb_error_retryable(error));
    lua_setfield(L, -2, "retryable");
    luaL_setmetatable(L, ERROR_TYPE);
}

static int error_text(lua_State *L) {
    lua_getfield(L, 1, "kind");
    lua_getfield(L, 1, "code");
    lua_getfield(L, 1, "message");
    const char *kind = lua_tostring(L, -3);
    if (kind && strcmp(kind, "sql") == 0)
        lua_pushfstring(L, "db: %s (%d)", lua_tostring(L, -1), (int)lua_tointeger(L, -2));
    else
        lua_pushfstring(L, "db: %s", lua_tostring(L, -1));
    return 1;
}

// ---------------------------------------------------------------- values

static void push_cell(lua_State *L, const struct mariadb_cell *cell) {
    switch (cell->type) {
    case MARIADB_NULL: lua_pushlightuserdata(L, &null_key); break;
    case MARIADB_INTEGER: lua_pushinteger(L, cell->integer); break;
    case MARIADB_REAL: lua_pushnumber(L, cell->real); break;
    case MARIADB_TEXT: lua_pushlstring(L, cell->text.data, cell->text.size); break;
    }
}

/// A row as a table by names. NULL is left out, so that `row.x or default` and `if row.x` do what
/// they say; db.null is for writing.
// [names .. names+columns) the column names as strings; pushes the row
static void push_row(lua_State *L, int names, const struct mariadb_result *result, size_t row) {
    lua_createtable(L, 0, (int)result->columns);
    const struct mariadb_cell *cells = result->values + row * result->columns;
    for (size_t i = 0; i < result->columns; i++) {
        if (cells[i].type == MARIADB_NULL) continue;
        lua_rawgeti(L, names, (lua_Integer)i + 1);
        push_cell(L, &cells[i]);
        lua_rawset(L, -3);
    }
}

static void push_names(lua_State *L, const struct mariadb_result *result) {
    lua_createtable(L, (int)result->columns, 0);
    for (size_t i = 0; i < result->columns; i++) {
        lua_pushlstring(L, result->names[i].data, result->names[i].size);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static int push_result(lua_State *L, enum db_shape shape, const struct mariadb_result *result) {
    if (shape == SHAPE_EXEC) {
        lua_pushinteger(L, (lua_Integer)result->affected);
        lua_pushinteger(L, (lua_Integer)result->insert_id);
        return 2;
    }
    push_names(L, result);
    int names = lua_gettop(L);
    if (shape == SHAPE_ONE) {
        if (result->rows == 0) {
            lua_pushnil(L);
        } else if (result->rows > 1) {
            return luaL_error(L, "db.one: the statement gave %d rows", (int)result->rows);
        } else {
            push_row(L, names, result, 0);
        }
        return 1;
    }
    lua_createtable(L, (int)result->rows, 0);
    for (size_t i = 0; i < result->rows; i++) {
        push_row(L, names, result, i);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

// ---------------------------------------------------------------- waiting

static void clear_wait(struct db_wait *wait) {
    mariadb_result_free(wait->result);
    wait->result = NULL;
    if (wait->session) mariadb_session_release(wait->session, false);
    wait->session = NULL;
    memory_free(wait->error);
    wait->error = NULL;
}

static void note_error(struct db_wait *wait, const struct mariadb_error *error) {
    if (!error) return;
    wait->error = memory_alloc(sizeof *error);
    *wait->error = *error;
}

static int wait_gc(lua_State *L) {
    clear_wait(lua_touserdata(L, 1));
    return 0;
}

static void on_cancel(void *data) {
    struct db_wait *wait = data;
    mariadb_pool_cancel(wait->pool, wait->request);
}

static void come_back(struct db_wait *wait) {
    lua_State *co = lua_pending_take(wait->pending);
    if (co) lua_pending_resume(co, 0);
}

static void on_done(void *context, const struct mariadb_result *result,
                    const struct mariadb_error *error) {
    struct db_wait *wait = context;
    if (result) wait->result = mariadb_result_take(result);
    note_error(wait, error);
    come_back(wait);
}

static void on_session(void *context, struct mariadb_session *session,
                       const struct mariadb_error *error) {
    struct db_wait *wait = context;
    wait->session = session;
    note_error(wait, error);
    come_back(wait);
}

// [1] wait
static int go_on(lua_State *L, int values, bool failed) {
    struct db_wait *wait = lua_touserdata(L, 1);
    (void)values;
    if (failed) return lua_pending_throw(L);
    if (wait->error) {
        push_error(L, wait->error);
        return lua_pending_throw(L);
    }
    if (wait->shape == SHAPE_SESSION) {
        struct db_session *session = lua_newuserdatauv(L, sizeof *session, 0);
        session->session = wait->session;
        wait->session = NULL;
        luaL_setmetatable(L, SESSION_TYPE);
        return 1;
    }
    int count = push_result(L, wait->shape, wait->result);
    clear_wait(wait);
    return count;
}

/// A wait at the bottom of the stack, in place of what identified the connection.
static struct db_wait *new_wait(lua_State *L, struct mariadb_pool *pool, enum db_shape shape) {
    struct db_wait *wait = lua_newuserdatauv(L, sizeof *wait, 1);
    *wait = (struct db_wait){.pool = pool, .shape = shape};
    luaL_setmetatable(L, WAIT_TYPE);
    // Keeps a connection of one's own alive as long as it is waited for.
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_replace(L, 1);
    return wait;
}

// ---------------------------------------------------------------- statements

static bool read_value(lua_State *L, int index, struct mariadb_cell *cell) {
    switch (lua_type(L, index)) {
    case LUA_TNIL: cell->type = MARIADB_NULL; return true;
    case LUA_TLIGHTUSERDATA:
        cell->type = MARIADB_NULL; // db.null, and json.null, which is a light userdata as well
        return lua_touserdata(L, index) == &null_key || lua_touserdata(L, index) == NULL;
    case LUA_TBOOLEAN:
        cell->type = MARIADB_INTEGER;
        cell->integer = lua_toboolean(L, index);
        return true;
    case LUA_TNUMBER:
        if (lua_isinteger(L, index)) {
            cell->type = MARIADB_INTEGER;
            cell->integer = lua_tointeger(L, index);
        } else {
            cell->type = MARIADB_REAL;
            cell->real = lua_tonumber(L, index);
        }
        return true;
    case LUA_TSTRING:
        cell->type = MARIADB_TEXT;
        cell->text.data = lua_tolstring(L, index, &cell->text.size);
        return true;
    default: return false;
    }
}

/// The arguments after the statement: any number, each a value. A nil is NULL; trailing ones count.
// [1] connection, [2] sql, [3 …] values
static struct mariadb_cell *read_values(lua_State *L, size_t *count) {
    int top = lua_gettop(L);
    *count = top > 2 ? (size_t)(top - 2) : 0;
    if (*count > PARAMETERS_MOST) luaL_error(L, "too many values for one statement");
    if (*count == 0) return NULL;
    // A userdata, so that it goes when an argument is refused; the core copies what is in it.
    struct mariadb_cell *cells = lua_newuserdatauv(L, *count * sizeof *cells, 0);
    for (size_t i = 0; i < *count; i++) {
        if (!read_value(L, (int)i + 3, &cells[i]))
            luaL_error(L, "value %d of the statement is a %s", (int)i + 1,
                       luaL_typename(L, (int)i + 3));
    }
    return cells;
}

static void check_open(lua_State *L, const struct db_connection *connection) {
    if (connection->pool) return;
    if (connection->owned) luaL_error(L, "the connection is closed");
    luaL_error(L, "runtime.db is not available in the %s service", runtime_of(L)->service);
}

// [1] connection or session, [2] sql, [3 …] values
static int run(lua_State *L, enum db_shape shape) {
    struct db_session *session = luaL_testudata(L, 1, SESSION_TYPE);
    struct db_connection *connection = session ? NULL : luaL_checkudata(L, 1, CONNECTION_TYPE);
    struct slice sql;
    sql.data = luaL_checklstring(L, 2, &sql.size);
    if (session && !session->session) return luaL_error(L, "the transaction is over");
    if (connection) check_open(L, connection);
    size_t count;
    struct mariadb_cell *cells = read_values(L, &count);
    struct mariadb_pool *pool = connection ? connection->pool : NULL;
    if (session) pool = mariadb_session_pool(session->session);
    if (!pool) return luaL_error(L, "the connection is closed");
    struct db_wait *wait = new_wait(L, pool, shape);
    wait->pending = lua_pending_begin(L, "db", on_cancel, wait);
    struct mariadb_limits limits = {.milliseconds = lua_pending_left(L, LIMIT_MOST_MS)};
    wait->request =
        session ? mariadb_session_query(session->session, sql, cells, count, &limits, on_done, wait)
                : mariadb_query(pool, sql, cells, count, &limits, on_done, wait);
    return lua_pending_yield_then(L, wait->pending, go_on);
}

static int db_rows(lua_State *L) { return run(L, SHAPE_ROWS); }
static int db_one(lua_State *L) { return run(L, SHAPE_ONE); }
static int db_exec(lua_State *L) { return run(L, SHAPE_EXEC); }

// ---------------------------------------------------------------- streams

#define STREAM_TYPE "runtime.db.stream"

enum { BATCH = 200, STREAM_SECONDS = 3600 };

/// A result that is read while it comes: at most two batches are held, the one that is being gone
/// through and the next.
struct db_stream {
    struct mariadb_pool *pool;
    uint64_t request; ///< 0: over, or never begun
    lua_pending waiting;
    struct mariadb_result *current, *next;
    size_t row; ///< of current
    bool named, ended;
    struct mariadb_error error;
};

static void stream_came(struct db_stream *stream) {
    lua_State *co = stream->waiting ? lua_pending_take(stream->waiting) : NULL;
    stream->waiting = 0;
    if (co) lua_pending_resume(co, 0);
}

static void on_stream_rows(void *context, const struct mariadb_result *rows) {
    struct db_stream *stream = context;
    stream->next = mariadb_result_take(rows);
    stream_came(stream);
}

static void on_stream_done(void *context, const struct mariadb_result *result,
                           const struct mariadb_error *error) {
    struct db_stream *stream = context;
    stream->request = 0;
    stream->ended = true;
    if (result) stream->next = mariadb_result_take(result);
    if (error) stream->error = *error;
    stream_came(stream);
}

static int stream_close(lua_State *L) {
    struct db_stream *stream = luaL_checkudata(L, 1, STREAM_TYPE);
    if (stream->request) mariadb_pool_cancel(stream->pool, stream->request);
    stream->request = 0;
    stream->ended = true;
    mariadb_result_free(stream->current);
    mariadb_result_free(stream->next);
    stream->current = stream->next = NULL;
    return 0;
}

static void on_stream_cancel(void *data) { ((struct db_stream *)data)->waiting = 0; }

// [1] stream
static int stream_next(lua_State *L);

static int stream_go_on(lua_State *L, int values, bool failed) {
    if (failed) return lua_pending_throw(L);
    lua_pop(L, values);
    return stream_next(L);
}

static int stream_next(lua_State *L) {
    struct db_stream *stream = luaL_checkudata(L, 1, STREAM_TYPE);
    lua_settop(L, 1);
    while (!stream->current || stream->row == stream->current->rows) {
        mariadb_result_free(stream->current);
        stream->current = stream->next;
        stream->next = NULL;
        stream->row = 0;
        if (stream->current) {
            if (stream->request) mariadb_stream_next(stream->pool, stream->request);
            continue;
        }
        if (stream->error.kind) {
            push_error(L, &stream->error);
            return lua_pending_throw(L);
        }
        if (stream->ended) return 0;
        stream->waiting = lua_pending_begin(L, "db.each", on_stream_cancel, stream);
        return lua_pending_yield_then(L, stream->waiting, stream_go_on);
    }
    if (!stream->named) {
        push_names(L, stream->current);
        lua_setiuservalue(L, 1, 1);
        stream->named = true;
    }
    lua_getiuservalue(L, 1, 1);
    push_row(L, 2, stream->current, stream->row++);
    return 1;
}

/// each(sql, …): for row in db.each("SELECT …", …) do … end. Any number of rows in little memory, on
/// a connection of its own until the loop ends.
// [1] connection, [2] sql, [3 …] values
static int db_each(lua_State *L) {
    struct db_connection *connection = luaL_checkudata(L, 1, CONNECTION_TYPE);
    check_open(L, connection);
    luaL_checktype(L, 2, LUA_TSTRING);
    size_t count;
    struct mariadb_cell *cells = read_values(L, &count);
    // Going through the rows may take longer than any one statement should.
    lua_pushfstring(L, "SET STATEMENT max_statement_time = %d FOR %s", STREAM_SECONDS,
                    lua_tostring(L, 2));
    struct slice sql;
    sql.data = lua_tolstring(L, -1, &sql.size);
    struct db_stream *stream = lua_newuserdatauv(L, sizeof *stream, 1);
    *stream = (struct db_stream){.pool = connection->pool};
    luaL_setmetatable(L, STREAM_TYPE);
    stream->request = mariadb_stream(connection->pool, sql, cells, count, NULL, BATCH,
                                     on_stream_rows, on_stream_done, stream);
    lua_pushcfunction(L, stream_next);
    lua_insert(L, -2);
    lua_pushnil(L);
    lua_pushvalue(L, -2);
    return 4;
}

// ---------------------------------------------------------------- sessions

// [1] connection
static int db_acquire(lua_State *L) {
    struct db_connection *connection = luaL_checkudata(L, 1, CONNECTION_TYPE);
    check_open(L, connection);
    struct db_wait *wait = new_wait(L, connection->pool, SHAPE_SESSION);
    wait->pending = lua_pending_begin(L, "db.transaction", on_cancel, wait);
    wait->request = mariadb_acquire(wait->pool, lua_pending_left(L, LIMIT_MOST_MS), on_session, wait);
    return lua_pending_yield_then(L, wait->pending, go_on);
}

/// Waits for nothing, so it works in a coroutine that was cancelled, and in a collector.
static int session_release(lua_State *L) {
    struct db_session *session = luaL_checkudata(L, 1, SESSION_TYPE);
    if (session->session) mariadb_session_release(session->session, lua_isboolean(L, 2) && lua_toboolean(L, 2));
    session->session = NULL;
    return 0;
}

// __close gets the error as its second argument, which is no reason to discard the connection.
static int session_close(lua_State *L) {
    lua_settop(L, 1);
    return session_release(L);
}

// [1] session
static int session_discard(lua_State *L) {
    lua_settop(L, 1);
    lua_pushboolean(L, true);
    return session_release(L);
}

// ---------------------------------------------------------------- connections

static int connection_close(lua_State *L) {
    struct db_connection *connection = luaL_checkudata(L, 1, CONNECTION_TYPE);
    if (connection->owned && connection->pool) mariadb_pool_free(connection->pool);
    if (connection->owned) connection->pool = NULL;
    return 0;
}

static const char *option_text(lua_State *L, int table, const char *name, const char *otherwise) {
    if (lua_getfield(L, table, name) == LUA_TNIL) return otherwise; // left on the stack on purpose
    return luaL_checkstring(L, -1);
}

/// db.open{user =, password =, database =, name =, limit_ms =}: connections of one's own to the
/// server of the settings, for commands and tests. `database = false`: none is selected.
// [upvalue 1] what makes of a connection what people call
static int db_open(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    if (strcmp(runtime->service, "command") != 0 && strcmp(runtime->service, "test") != 0)
        return luaL_error(L, "db.open is for commands and tests");
    luaL_checktype(L, 1, LUA_TTABLE);
    const struct settings *settings = runtime->settings;
    const char *host = settings_text(settings, "mariadb.host", NULL);
    struct mariadb_options options = {
        .name = option_text(L, 1, "name", "own"),
        .socket = host ? NULL : settings_text(settings, "mariadb.socket", NULL),
        .host = host,
        .port = (unsigned)settings_integer(settings, "mariadb.port", 3306),
        .user = option_text(L, 1, "user", settings_text(settings, "mariadb.user", NULL)),
        .size = 4,
    };
    // Somebody else's name does not go with our password.
    bool same = lua_getfield(L, 1, "user") == LUA_TNIL;
    options.password = option_text(
        L, 1, "password", same ? settings_text(settings, "mariadb.password", NULL) : NULL);
    if (lua_getfield(L, 1, "database") != LUA_TBOOLEAN)
        options.database =
            option_text(L, 1, "database", settings_text(settings, "mariadb.database", NULL));
    lua_getfield(L, 1, "limit_ms");
    options.query_ms = (unsigned)luaL_optinteger(L, -1, 10000);
    struct db_connection *connection = lua_newuserdatauv(L, sizeof *connection, 0);
    *connection = (struct db_connection){NULL, true};
    luaL_setmetatable(L, CONNECTION_TYPE);
    connection->pool = mariadb_pool_new(runtime->loop, &options);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    return 1;
}

static int db_ready(lua_State *L) {
    struct db_connection *connection = luaL_checkudata(L, 1, CONNECTION_TYPE);
    lua_pushboolean(L, connection->pool && mariadb_pool_ready(connection->pool));
    return 1;
}

static void make_type(lua_State *L, const char *name, const luaL_Reg *meta) {
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, meta, 0);
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
}

static void push_pool(lua_State *L, struct mariadb_pool *pool) {
    struct db_connection *connection = lua_newuserdatauv(L, sizeof *connection, 0);
    *connection = (struct db_connection){pool, false};
    luaL_setmetatable(L, CONNECTION_TYPE);
}

int lua_open_db(lua_State *L) {
    lua_settop(L, 0);
    make_type(L, WAIT_TYPE, (luaL_Reg[]){{"__gc", wait_gc}, {NULL, NULL}});
    make_type(L, ERROR_TYPE, (luaL_Reg[]){{"__tostring", error_text}, {NULL, NULL}});
    make_type(L, SESSION_TYPE,
              (luaL_Reg[]){{"__gc", session_close}, {"__close", session_close}, {NULL, NULL}});
    make_type(L, STREAM_TYPE,
              (luaL_Reg[]){{"__gc", stream_close}, {"__close", stream_close}, {NULL, NULL}});
    make_type(L, CONNECTION_TYPE, (luaL_Reg[]){{"__gc", connection_close}, {NULL, NULL}});
    lua_settop(L, 0);
    if (luaL_loadbufferx(L, calls, sizeof calls - 1, "=runtime.db", "t")) return lua_error(L);
    static const lua_CFunction given[] = {db_rows,  db_one,           db_exec,    db_each,
                                          db_ready, connection_close, db_acquire, session_discard};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) lua_pushcfunction(L, given[i]);
    lua_call(L, (int)(sizeof given / sizeof *given), 2); // [1] wrap, [2] reader
    struct runtime *runtime = runtime_of(L);
    push_pool(L, runtime->db); // [3] main
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 3);
    lua_call(L, 1, 1); // [4] the module
    lua_pushvalue(L, 2);
    push_pool(L, runtime->db_replica ? runtime->db_replica : runtime->db);
    lua_pushvalue(L, 3);
    lua_call(L, 2, 1);
    lua_setfield(L, 4, "replica");
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, db_open, 1);
    lua_setfield(L, -2, "open");
    lua_pushlightuserdata(L, &null_key);
    lua_setfield(L, -2, "null");
    return 1;
}
