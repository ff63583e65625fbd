// runtime.file: files on a thread of the pool. Paths are below the run-time folder (<var>, where
// relative paths start) or, for reading only, below the root. ".." is refused.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/random.h"
#include "loop/work.h"
#include "lua/lua_file.h"
#include "lua/pending.h"
#include "lua/runtime.h"

enum {
    READ_DEFAULT = 16 * 1024 * 1024,
    READ_MOST = 256 * 1024 * 1024,
    LIST_MOST = 20000
};

enum operation { READ, WRITE, LIST, STAT, MKDIR, REMOVE, RENAME };

struct job {
    lua_pending handle;
    enum operation operation;
    char path[FILE_PATH_MOST], other[FILE_PATH_MOST];
    struct buffer data; // to write, or what was read; names of a folder, each with its NUL
    size_t most;
    struct stat info;
    int error;
};

// ---- on the thread --------------------------------------------------------------------------

static int read_file(struct job *job) {
    int fd = open(job->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno;
    int error = fstat(fd, &job->info) != 0 ? errno : 0;
    if (!error && !S_ISREG(job->info.st_mode)) error = S_ISDIR(job->info.st_mode) ? EISDIR : EINVAL;
    if (!error && (uint64_t)job->info.st_size > job->most) error = EFBIG;
    while (!error) {
        ssize_t n = read(fd, buffer_reserve(&job->data, 65536), 65536);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) error = errno;
        if (n <= 0) break;
        buffer_added(&job->data, (size_t)n);
        if (job->data.size > job->most) error = EFBIG;
    }
    close(fd);
    return error;
}

static int write_all(int fd, const struct buffer *data) {
    size_t done = 0;
    while (done < data->size) {
        ssize_t n = write(fd, data->data + done, data->size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        done += (size_t)n;
    }
    return 0;
}

// Readers see the old file or the new one, also after a crash.
static int write_file(struct job *job) {
    char temporary[FILE_PATH_MOST + 32];
    snprintf(temporary, sizeof temporary, "%s.%08x.tmp", job->path, random_fast());
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0) return errno;
    int error = write_all(fd, &job->data);
    if (!error && fsync(fd) != 0) error = errno;
    close(fd);
    if (!error && rename(temporary, job->path) != 0) error = errno;
    if (error) unlink(temporary);
    return error;
}

static int list_folder(struct job *job) {
    DIR *directory = opendir(job->path);
    if (!directory) return errno;
    struct dirent *entry;
    size_t count = 0;
    while ((entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (++count > LIST_MOST) {
            closedir(directory);
            return EFBIG;
        }
        buffer_append(&job->data, entry->d_name, strlen(entry->d_name) + 1);
    }
    closedir(directory);
    return 0;
}

static int make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int failed = mkdir(path, 0750) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES;
        *slash = '/';
        if (failed) return errno;
    }
    return mkdir(path, 0750) != 0 && errno != EEXIST ? errno : 0;
}

static void run(void *data) {
    struct job *job = data;
    switch (job->operation) {
    case READ:
        job->error = read_file(job);
        break;
    case WRITE:
        job->error = write_file(job);
        break;
    case LIST:
        job->error = list_folder(job);
        break;
    case STAT:
        job->error = lstat(job->path, &job->info) != 0 ? errno : 0;
        break;
    case MKDIR:
        job->error = make_folders(job->path);
        break;
    case REMOVE:
        job->error = remove(job->path) != 0 ? errno : 0;
        break;
    case RENAME:
        job->error = rename(job->path, job->other) != 0 ? errno : 0;
        break;
    }
}

// ---- on the loop ----------------------------------------------------------------------------

int lua_file_problem(lua_State *L, const char *path, int error) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, strerror(error));
    lua_pushstring(L, error == ENOENT ? "missing" : error == EEXIST ? "exists" : "failed");
    return 3;
}

static int push_result(lua_State *L, struct job *job) {
    if (job->error) {
        return lua_file_problem(L, job->path, job->error);
    }
    switch (job->operation) {
    case READ:
        lua_pushlstring(L, job->data.data ? job->data.data : "", job->data.size);
        return 1;
    case LIST: {
        lua_newtable(L);
        lua_Integer n = 0;
        for (size_t at = 0; at < job->data.size; at += strlen(job->data.data + at) + 1) {
            lua_pushstring(L, job->data.data + at);
            lua_rawseti(L, -2, ++n);
        }
        return 1;
    }
    case STAT:
        lua_createtable(L, 0, 3);
        lua_pushinteger(L, job->info.st_size);
        lua_setfield(L, -2, "size");
        lua_pushinteger(L, (lua_Integer)job->info.st_mtim.tv_sec * 1000 +
                               job->info.st_mtim.tv_nsec / 1000000);
        lua_setfield(L, -2, "modified"); // milliseconds
        lua_pushstring(L, S_ISREG(job->info.st_mode)   ? "file"
                          : S_ISDIR(job->info.st_mode) ? "folder"
                                                       : "other");
        lua_setfield(L, -2, "kind");
        return 1;
    default:
        lua_pushboolean(L, 1);
        return 1;
    }
}

static void done(void *data) {
    struct job *job = data;
    lua_State *co = lua_pending_take(job->handle);
    int values = co ? push_result(co, job) : 0;
    buffer_free(&job->data);
    memory_free(job);
    if (co) lua_pending_resume(co, values);
}

static bool below(const char *path, const char *folder) {
    size_t size = strlen(folder);
    while (size > 1 && folder[size - 1] == '/') size--;
    return strncmp(path, folder, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

static bool climbs(const char *path) {
    for (const char *at = path; (at = strstr(at, "..")); at += 2) {
        if ((at == path || at[-1] == '/') && (at[2] == '/' || at[2] == '\0')) return true;
    }
    return false;
}

void lua_file_path(lua_State *L, int index, bool change, char out[FILE_PATH_MOST]) {
    size_t size;
    const char *path = luaL_checklstring(L, index, &size);
    const struct runtime *runtime = runtime_of(L);
    const char *var = settings_text(runtime->settings, "var", "var");
    luaL_argcheck(L, size > 0 && size < FILE_PATH_MOST / 2 && strlen(path) == size, index, "not a path");
    if (climbs(path)) luaL_argerror(L, index, "'..' is not allowed in paths");
    bool allowed = below(path, var) || (!change && below(path, runtime->root));
    if (!allowed && *path == '/') luaL_argerror(L, index, "path outside of the run-time folder");
    int written = snprintf(out, FILE_PATH_MOST, "%s%s%s", allowed ? "" : var, allowed ? "" : "/", path);
    luaL_argcheck(L, written < FILE_PATH_MOST, index, "path too long");
}

static struct job *new_job(lua_State *L, enum operation operation, bool change) {
    struct job start = {.operation = operation};
    lua_file_path(L, 1, change, start.path);
    if (operation == RENAME) lua_file_path(L, 2, true, start.other);
    start.handle = lua_pending_begin(L, "file", NULL, NULL);
    struct job *job = memory_alloc(sizeof *job);
    *job = start;
    return job;
}

static int submit(lua_State *L, struct job *job) {
    lua_pending handle = job->handle;
    work_submit(runtime_of(L)->loop, run, done, job);
    return lua_pending_yield(L, handle);
}

// All return what they say, or nil, a message and one of "missing", "exists", "failed".

// read(path [, most bytes])
static int file_read(lua_State *L) {
    lua_Integer most = luaL_optinteger(L, 2, READ_DEFAULT);
    luaL_argcheck(L, most >= 0 && most <= READ_MOST, 2, "out of range");
    struct job *job = new_job(L, READ, false);
    job->most = (size_t)most;
    return submit(L, job);
}

// write(path, data): atomically.
static int file_write(lua_State *L) {
    size_t size;
    const char *data = luaL_checklstring(L, 2, &size);
    struct job *job = new_job(L, WRITE, true);
    buffer_append(&job->data, data, size);
    return submit(L, job);
}

static int file_list(lua_State *L) {
    return submit(L, new_job(L, LIST, false));
}
static int file_stat(lua_State *L) {
    return submit(L, new_job(L, STAT, false));
}
static int file_mkdir(lua_State *L) {
    return submit(L, new_job(L, MKDIR, true));
}
static int file_remove(lua_State *L) {
    return submit(L, new_job(L, REMOVE, true));
}
static int file_rename(lua_State *L) {
    return submit(L, new_job(L, RENAME, true));
}

// temp([suffix]): a path below <var>/tmp that nobody uses.
static int file_temp(lua_State *L) {
    const char *suffix = luaL_optstring(L, 1, "");
    luaL_argcheck(L, strlen(suffix) < 40 && !strchr(suffix, '/'), 1, "not a suffix");
    char word[40];
    uint64_t bits[2];
    random_bytes(bits, sizeof bits);
    snprintf(word, sizeof word, "%016llx%016llx", (unsigned long long)bits[0],
             (unsigned long long)bits[1]);
    lua_pushfstring(L, "%s/tmp/%s%s", settings_text(runtime_of(L)->settings, "var", "var"), word,
                    suffix);
    return 1;
}

int lua_open_file(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"read", file_read},     {"write", file_write}, {"list", file_list},
        {"stat", file_stat},     {"mkdir", file_mkdir}, {"remove", file_remove},
        {"rename", file_rename}, {"temp", file_temp},
        {"open", lua_file_open}, {"create", lua_file_create}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
