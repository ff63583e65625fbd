// runtime.crypto: passwords by Argon2id, on a thread of the pool. A semaphore in front of it is not
// needed: the pool has four threads, and the memory of four hashes is bounded.
#include <sodium.h>
#include <stdio.h>

#include "base/memory.h"
#include "loop/work.h"
#include "lua/lua_crypto.h"
#include "lua/pending.h"

enum { PASSWORD_MOST = 1024, WAITING_MOST = 256 };

struct job {
    lua_pending handle;
    bool verify, fine, outdated;
    unsigned long long operations;
    size_t memory;
    size_t size;
    char hash[crypto_pwhash_STRBYTES];
    char password[PASSWORD_MOST];
};

static unsigned waiting; // more would only queue for longer than anybody waits

static void run(void *data) {
    struct job *job = data;
    if (job->verify) {
        job->fine = crypto_pwhash_str_verify(job->hash, job->password, job->size) == 0;
        job->outdated =
            crypto_pwhash_str_needs_rehash(job->hash, job->operations, job->memory) != 0;
    } else {
        job->fine = crypto_pwhash_str_alg(job->hash, job->password, job->size, job->operations,
                                          job->memory, crypto_pwhash_ALG_ARGON2ID13) == 0;
    }
    sodium_memzero(job->password, sizeof job->password);
}

static void done(void *data) {
    struct job *job = data;
    waiting--;
    lua_State *co = lua_pending_take(job->handle);
    if (co && job->verify) {
        lua_pushboolean(co, job->fine);
        lua_pushboolean(co, job->fine && job->outdated);
        memory_free(job);
        lua_pending_resume(co, 2);
    } else if (co && job->fine) {
        lua_pushstring(co, job->hash);
        memory_free(job);
        lua_pending_resume(co, 1);
    } else {
        memory_free(job);
        if (co) lua_pending_fail(co, "out of memory for a password hash");
    }
}

static int submit(lua_State *L, const char *hash, int password_index) {
    size_t size, hash_size = hash ? strlen(hash) : 0;
    const char *password = luaL_checklstring(L, password_index, &size);
    luaL_argcheck(L, size <= PASSWORD_MOST, password_index, "password too long");
    luaL_argcheck(L, hash_size < crypto_pwhash_STRBYTES, 1, "not a password hash");
    if (waiting >= WAITING_MOST) return luaL_error(L, "too many passwords are being checked");
    const struct settings *settings = runtime_of(L)->settings;
    lua_pending handle = lua_pending_begin(L, "crypto.password", NULL, NULL);
    struct job *job = memory_zero(1, sizeof *job);
    job->handle = handle;
    job->verify = hash != NULL;
    job->operations = (unsigned long long)settings_integer(settings, "crypto.argon2_operations", 2);
    job->memory = (size_t)settings_integer(settings, "crypto.argon2_memory", 64 * 1024 * 1024);
    if (hash) memcpy(job->hash, hash, hash_size);
    memcpy(job->password, password, size);
    job->size = size;
    waiting++;
    work_submit(runtime_of(L)->loop, run, done, job);
    return lua_pending_yield(L, handle);
}

// password_hash(password): a text that holds everything needed to check it.
static int password_hash(lua_State *L) {
    return submit(L, NULL, 1);
}

// password_verify(hash, password): whether it is right, and whether it should be hashed anew.
static int password_verify(lua_State *L) {
    return submit(L, luaL_checkstring(L, 1), 2);
}

void crypto_open_password(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"password_hash", password_hash}, {"password_verify", password_verify}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
