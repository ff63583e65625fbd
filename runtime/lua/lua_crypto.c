// runtime.crypto: digests, MACs, random tokens and sealed boxes by libsodium. Keys that the
// configuration holds are used by name ("token", "cookie", "seal" …) and never shown to Lua.
#include "lua/lua_crypto.h"

#include <sodium.h>

#include "base/escape.h"
#include "base/random.h"

enum { TOKEN_BYTES_MOST = 1024, DATA_MOST = 16 * 1024 * 1024 };

void crypto_named_key(lua_State *L, const char *name, unsigned char key[CRYPTO_KEY_SIZE]) {
    const char *setting = lua_pushfstring(L, "secrets.%s", name);
    const char *hex = settings_text(runtime_of(L)->settings, setting, NULL);
    size_t size = 0;
    if (!hex) luaL_error(L, "the secret '%s' is not configured", name);
    if (sodium_hex2bin(key, CRYPTO_KEY_SIZE, hex, strlen(hex), NULL, &size, NULL) != 0 ||
        size != CRYPTO_KEY_SIZE || strlen(hex) != 2 * CRYPTO_KEY_SIZE) {
        luaL_error(L, "the secret '%s' is not 64 hex digits", name);
    }
    lua_pop(L, 1);
}

static struct slice check_slice(lua_State *L, int index) {
    size_t size;
    const char *data = luaL_checklstring(L, index, &size);
    return slice_make(data, size);
}

static const unsigned char *bytes_of(struct slice s) {
    return (const unsigned char *)s.data;
}

static int push_buffer(lua_State *L, struct buffer *buffer) {
    lua_pushlstring(L, buffer->data ? buffer->data : "", buffer->size);
    buffer_free(buffer);
    return 1;
}

// random_bytes(n): raw.
static int random_raw(lua_State *L) {
    lua_Integer size = luaL_checkinteger(L, 1);
    luaL_argcheck(L, size > 0 && size <= TOKEN_BYTES_MOST, 1, "1 to 1024 bytes");
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, (size_t)size);
    random_bytes(out, (size_t)size);
    luaL_pushresultsize(&b, (size_t)size);
    return 1;
}

// random_token([bytes = 24]): base64url text.
static int random_token(lua_State *L) {
    lua_Integer size = luaL_optinteger(L, 1, 24);
    luaL_argcheck(L, size >= 8 && size <= TOKEN_BYTES_MOST, 1, "8 to 1024 bytes");
    char raw[TOKEN_BYTES_MOST];
    random_bytes(raw, (size_t)size);
    struct buffer text = {0};
    escape_base64url(&text, slice_make(raw, (size_t)size));
    return push_buffer(L, &text);
}

// random_below(n): a uniform integer in 0 .. n-1.
static int random_integer(lua_State *L) {
    lua_Integer limit = luaL_checkinteger(L, 1);
    luaL_argcheck(L, limit > 0, 1, "must be more than 0");
    lua_pushinteger(L, (lua_Integer)random_below((uint64_t)limit));
    return 1;
}

static int sha256(lua_State *L) {
    struct slice data = check_slice(L, 1);
    unsigned char out[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(out, bytes_of(data), data.size);
    lua_pushlstring(L, (char *)out, sizeof out);
    return 1;
}

// hmac_sha256(key, data): raw. sign(name, data): the same with a configured key.
static int hmac(lua_State *L) {
    bool named = lua_toboolean(L, lua_upvalueindex(1));
    struct slice data = check_slice(L, 2), key = check_slice(L, 1);
    unsigned char out[crypto_auth_hmacsha256_BYTES], secret[CRYPTO_KEY_SIZE];
    if (named) {
        crypto_named_key(L, key.data, secret);
        key = slice_make(secret, sizeof secret);
    }
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, bytes_of(key), key.size);
    crypto_auth_hmacsha256_update(&state, bytes_of(data), data.size);
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(secret, sizeof secret);
    lua_pushlstring(L, (char *)out, sizeof out);
    return 1;
}

// equal(a, b): takes the same time wherever they differ.
static int equal(lua_State *L) {
    struct slice a = check_slice(L, 1), b = check_slice(L, 2);
    lua_pushboolean(L, a.size == b.size && sodium_memcmp(a.data, b.data, a.size) == 0);
    return 1;
}

// seal(text [, name = "seal"]): secretbox under a configured key with a random nonce, base64url.
static int seal(lua_State *L) {
    struct slice data = check_slice(L, 1);
    luaL_argcheck(L, data.size <= DATA_MOST, 1, "too large");
    unsigned char key[CRYPTO_KEY_SIZE], nonce[crypto_secretbox_NONCEBYTES];
    crypto_named_key(L, luaL_optstring(L, 2, "seal"), key);
    randombytes_buf(nonce, sizeof nonce);
    struct buffer box = {0}, text = {0};
    buffer_append(&box, nonce, sizeof nonce);
    size_t size = data.size + crypto_secretbox_MACBYTES;
    crypto_secretbox_easy((unsigned char *)buffer_reserve(&box, size), bytes_of(data), data.size,
                          nonce, key);
    buffer_added(&box, size);
    escape_base64url(&text, buffer_slice(&box));
    buffer_free(&box);
    sodium_memzero(key, sizeof key);
    return push_buffer(L, &text);
}

// unseal(box [, name]): the text, or nil and "not a box of ours".
static int unseal(lua_State *L) {
    struct slice data = check_slice(L, 1);
    luaL_argcheck(L, data.size <= 2 * DATA_MOST, 1, "too large");
    unsigned char key[CRYPTO_KEY_SIZE];
    crypto_named_key(L, luaL_optstring(L, 2, "seal"), key);
    struct buffer box = {0}, text = {0};
    bool fine = unescape_base64(&box, data) &&
                box.size >= crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;
    if (fine) {
        const unsigned char *nonce = (const unsigned char *)box.data;
        size_t size = box.size - crypto_secretbox_NONCEBYTES;
        fine =
            crypto_secretbox_open_easy((unsigned char *)buffer_reserve(&text, size),
                                       nonce + crypto_secretbox_NONCEBYTES, size, nonce, key) == 0;
        if (fine) buffer_added(&text, size - crypto_secretbox_MACBYTES);
    }
    sodium_memzero(key, sizeof key);
    buffer_free(&box);
    if (fine) return push_buffer(L, &text);
    buffer_free(&text);
    luaL_pushfail(L);
    lua_pushliteral(L, "not a box of ours");
    return 2;
}

static int encode(lua_State *L, void (*write)(struct buffer *, struct slice)) {
    struct slice data = check_slice(L, 1);
    struct buffer text = {0};
    write(&text, data);
    return push_buffer(L, &text);
}

static int decode(lua_State *L, bool (*read)(struct buffer *, struct slice), const char *name) {
    struct slice text = check_slice(L, 1);
    struct buffer data = {0};
    if (read(&data, text)) return push_buffer(L, &data);
    buffer_free(&data);
    luaL_pushfail(L);
    lua_pushfstring(L, "not %s", name);
    return 2;
}

static int to_hex(lua_State *L) {
    return encode(L, escape_hex);
}
static int from_hex(lua_State *L) {
    return decode(L, unescape_hex, "hexadecimal");
}
static int to_base64(lua_State *L) {
    return encode(L, escape_base64);
}
static int to_base64url(lua_State *L) {
    return encode(L, escape_base64url);
}
static int from_base64(lua_State *L) {
    return decode(L, unescape_base64, "base64");
}

int lua_open_crypto(lua_State *L) {
    static const luaL_Reg functions[] = {{"random_bytes", random_raw},
                                         {"random_token", random_token},
                                         {"random_below", random_integer},
                                         {"sha256", sha256},
                                         {"equal", equal},
                                         {"seal", seal},
                                         {"unseal", unseal},
                                         {"hex", to_hex},
                                         {"unhex", from_hex},
                                         {"base64", to_base64},
                                         {"base64url", to_base64url},
                                         {"unbase64", from_base64},
                                         {NULL, NULL}};
    if (sodium_init() < 0) return luaL_error(L, "libsodium cannot start");
    luaL_newlib(L, functions);
    lua_pushboolean(L, 0);
    lua_pushcclosure(L, hmac, 1);
    lua_setfield(L, -2, "hmac_sha256");
    lua_pushboolean(L, 1);
    lua_pushcclosure(L, hmac, 1);
    lua_setfield(L, -2, "sign");
    crypto_open_password(L);
    crypto_open_token(L);
    return 1;
}
