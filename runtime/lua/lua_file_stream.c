// runtime.file: files that are read or written piece by piece, each on a thread of the pool.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/random.h"
#include "loop/work.h"
#include "lua/lua_file.h"
#include "lua/pending.h"
#include "lua/runtime.h"

#define READER "runtime.file.reader"
#define WRITER "runtime.file.writer"
enum { PIECE = 64 * 1024, PIECE_MOST = 16 * 1024 * 1024 };

/// An open file. A thread may be at work on it when its userdata goes: the last of both closes it.
struct file_stream {
    int fd;
    bool busy, closed;
    int64_t position;
    char path[FILE_PATH_MOST];
    char temporary[FILE_PATH_MOST + 32]; ///< of a writer, until it is finished
};

struct userdata {
    struct file_stream *stream;
};

enum operation { OPEN_READ, OPEN_WRITE, READ, WRITE, FINISH };

struct job {
    lua_pending handle;
    enum operation operation;
    struct file_stream *stream;
    struct buffer data;
    size_t most;
    int error;
};

// ---- on the thread --------------------------------------------------------------------------

static int open_file(struct file_stream *stream) {
    struct stat info;
    stream->fd = open(stream->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (stream->fd < 0) return errno;
    if (fstat(stream->fd, &info) != 0) return errno;
    return S_ISREG(info.st_mode) ? 0 : S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
}

static int create_file(struct file_stream *stream) {
    snprintf(stream->temporary, sizeof stream->temporary, "%s.%08x.tmp", stream->path,
             random_fast());
    stream->fd = open(stream->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (stream->fd >= 0) return 0;
    stream->temporary[0] = '\0';
    return errno;
}

static int read_piece(struct job *job) {
    struct file_stream *stream = job->stream;
    ssize_t n;
    do {
        n = pread(stream->fd, buffer_reserve(&job->data, job->most), job->most, stream->position);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return errno;
    buffer_added(&job->data, (size_t)n);
    stream->position += n;
    return 0;
}

static int write_piece(struct job *job) {
    for (size_t done = 0; done < job->data.size;) {
        ssize_t n = write(job->stream->fd, job->data.data + done, job->data.size - done);
        if (n < 0 && errno != EINTR) return errno;
        if (n > 0) done += (size_t)n;
    }
    return 0;
}

// Readers see the old file or the new one, also after a crash.
static int finish_file(struct file_stream *stream) {
    if (fsync(stream->fd) != 0 || rename(stream->temporary, stream->path) != 0) return errno;
    stream->temporary[0] = '\0';
    return 0;
}

static void run(void *data) {
    struct job *job = data;
    switch (job->operation) {
    case OPEN_READ:
        job->error = open_file(job->stream);
        break;
    case OPEN_WRITE:
        job->error = create_file(job->stream);
        break;
    case READ:
        job->error = read_piece(job);
        break;
    case WRITE:
        job->error = write_piece(job);
        break;
    case FINISH:
        job->error = finish_file(job->stream);
        break;
    }
}

// ---- on the loop ----------------------------------------------------------------------------

static void stream_free(struct file_stream *stream) {
    if (stream->fd >= 0) close(stream->fd);
    if (stream->temporary[0]) unlink(stream->temporary);
    memory_free(stream);
}

static void done(void *data) {
    struct job *job = data;
    struct file_stream *stream = job->stream;
    stream->busy = false;
    lua_State *co = lua_pending_take(job->handle);
    if (co) {
        lua_pushinteger(co, job->error);
        lua_pushlstring(co, job->data.data ? job->data.data : "", job->data.size);
    }
    buffer_free(&job->data);
    memory_free(job);
    if (stream->closed) stream_free(stream);
    if (co) lua_pending_resume(co, 2);
}

static struct file_stream *check(lua_State *L, const char *kind) {
    struct userdata *userdata = luaL_checkudata(L, 1, kind);
    if (!userdata->stream) luaL_error(L, "the file is closed");
    if (userdata->stream->busy) luaL_error(L, "another coroutine is at work on the file");
    return userdata->stream;
}

static int submit(lua_State *L, struct file_stream *stream, enum operation operation, size_t most,
                  struct slice data, int (*then)(lua_State *L, int values, bool failed)) {
    lua_pending handle = lua_pending_begin(L, "file", NULL, NULL);
    struct job *job = memory_zero(1, sizeof *job);
    job->handle = handle;
    job->operation = operation;
    job->stream = stream;
    job->most = most;
    buffer_append_slice(&job->data, data);
    stream->busy = true;
    work_submit(runtime_of(L)->loop, run, done, job);
    return lua_pending_yield_then(L, handle, then);
}

/// [-2] errno, [-1] data: true and nothing, or nil, a message and its kind.
static int settled(lua_State *L, struct file_stream *stream) {
    lua_Integer error = lua_tointeger(L, -2);
    if (error) return lua_file_problem(L, stream->path, (int)error);
    lua_pushboolean(L, 1);
    return 1;
}

static int stream_close(lua_State *L) {
    struct userdata *userdata = lua_touserdata(L, 1);
    struct file_stream *stream = userdata->stream;
    userdata->stream = NULL;
    if (!stream) return 0;
    stream->closed = true;
    if (!stream->busy) stream_free(stream);
    return 0;
}
static int reader_close(lua_State *L) {
    luaL_checkudata(L, 1, READER);
    return stream_close(L);
}
static int writer_close(lua_State *L) {
    luaL_checkudata(L, 1, WRITER);
    return stream_close(L);
}

static int read_then(lua_State *L, int values, bool failed) { // [1] reader
    (void)values;
    if (failed) return lua_pending_throw(L);
    struct userdata *userdata = lua_touserdata(L, 1);
    if (!userdata->stream) return luaL_error(L, "the file is closed");
    if (lua_tointeger(L, -2)) return settled(L, userdata->stream);
    if (lua_rawlen(L, -1) == 0) lua_pushnil(L);
    return 1;
}

/// reader:read([bytes]) → the next piece, nil at the end; nil, a message and a kind when it fails
static int reader_read(lua_State *L) {
    struct file_stream *stream = check(L, READER);
    lua_Integer most = luaL_optinteger(L, 2, PIECE);
    luaL_argcheck(L, most > 0 && most <= PIECE_MOST, 2, "out of range");
    lua_settop(L, 1);
    return submit(L, stream, READ, (size_t)most, SLICE(""), read_then);
}

/// reader:seek(offset): the next piece begins there
static int reader_seek(lua_State *L) {
    struct file_stream *stream = check(L, READER);
    lua_Integer offset = luaL_checkinteger(L, 2);
    luaL_argcheck(L, offset >= 0, 2, "before the beginning");
    stream->position = offset;
    return 0;
}

static int writer_then(lua_State *L, int values, bool failed) { // [1] writer
    (void)values;
    if (failed) return lua_pending_throw(L);
    struct userdata *userdata = lua_touserdata(L, 1);
    if (!userdata->stream) return luaL_error(L, "the file is closed");
    return settled(L, userdata->stream);
}

/// writer:write(text) → true, or nil, a message and a kind
static int writer_write(lua_State *L) {
    struct file_stream *stream = check(L, WRITER);
    size_t size;
    const char *text = luaL_checklstring(L, 2, &size);
    if (!stream->temporary[0]) return luaL_error(L, "the file is finished");
    return submit(L, stream, WRITE, 0, slice_make(text, size), writer_then);
}

/// writer:finish(): the file gets its name, and is there whole
static int writer_finish(lua_State *L) {
    struct file_stream *stream = check(L, WRITER);
    lua_settop(L, 1);
    if (!stream->temporary[0]) return luaL_error(L, "the file is finished");
    return submit(L, stream, FINISH, 0, SLICE(""), writer_then);
}

static void push_metatable(lua_State *L, const char *name, const luaL_Reg *methods,
                           lua_CFunction close) {
    if (!luaL_newmetatable(L, name)) return;
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, close);
    lua_setfield(L, -2, "__close");
}

static int open_then(lua_State *L, int values, bool failed) { // [1] path, [2] userdata
    (void)values;
    if (failed) return lua_pending_throw(L);
    struct userdata *userdata = lua_touserdata(L, 2);
    if (lua_tointeger(L, -2)) {
        int count = settled(L, userdata->stream);
        stream_free(userdata->stream);
        userdata->stream = NULL;
        return count;
    }
    lua_settop(L, 2);
    return 1;
}

static int open_stream(lua_State *L, enum operation operation) {
    static const luaL_Reg reader[] = {
        {"read", reader_read}, {"seek", reader_seek}, {"close", reader_close}, {NULL, NULL}};
    static const luaL_Reg writer[] = {
        {"write", writer_write}, {"finish", writer_finish}, {"close", writer_close}, {NULL, NULL}};
    char path[FILE_PATH_MOST];
    bool write = operation == OPEN_WRITE;
    lua_file_path(L, 1, write, path);
    lua_settop(L, 1);
    struct userdata *userdata = lua_newuserdatauv(L, sizeof *userdata, 0);
    userdata->stream = NULL;
    push_metatable(L, write ? WRITER : READER, write ? writer : reader,
                   write ? writer_close : reader_close);
    lua_setmetatable(L, -2);
    // Raises now, before there is anything to lose, if the coroutine may not wait.
    lua_pending_drop(lua_pending_begin(L, "file", NULL, NULL));
    struct file_stream *stream = memory_zero(1, sizeof *stream);
    stream->fd = -1;
    memcpy(stream->path, path, sizeof stream->path);
    userdata->stream = stream;
    return submit(L, stream, operation, 0, SLICE(""), open_then);
}

int lua_file_open(lua_State *L) {
    return open_stream(L, OPEN_READ);
}
int lua_file_create(lua_State *L) {
    return open_stream(L, OPEN_WRITE);
}
