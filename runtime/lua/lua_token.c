// runtime.crypto: signed tokens (JWT with HS256 and nothing else) and one-time codes (RFC 6238).
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/escape.h"
#include "lua/lua_crypto.h"
#include "websocket/sha1.h"

enum { TOKEN_MOST = 8192, TOTP_STEP = 30, SHA1_BLOCK = 64 };

// base64url of {"alg":"HS256","typ":"JWT"}; a verifier that compares the header as text cannot be
// talked into another algorithm.
static const char header[] = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

static void mac(struct buffer *out, struct slice text, const unsigned char key[CRYPTO_KEY_SIZE]) {
    unsigned char digest[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256(digest, (const unsigned char *)text.data, text.size, key);
    escape_base64url(out, slice_make(digest, sizeof digest));
}

// jwt_sign(claims, secret name): the token.
static int jwt_sign(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    unsigned char key[CRYPTO_KEY_SIZE];
    lua_pushvalue(L, lua_upvalueindex(1)); // json.encode
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    size_t size;
    const char *claims = lua_tolstring(L, -1, &size);
    luaL_argcheck(L, size <= TOKEN_MOST / 2, 1, "too many claims");
    crypto_named_key(L, luaL_checkstring(L, 2), key);
    struct buffer token = {0}, signature = {0};
    buffer_append_text(&token, header);
    buffer_append_char(&token, '.');
    escape_base64url(&token, slice_make(claims, size));
    mac(&signature, buffer_slice(&token), key);
    sodium_memzero(key, sizeof key);
    buffer_append_char(&token, '.');
    buffer_append_slice(&token, buffer_slice(&signature));
    buffer_free(&signature);
    lua_pushlstring(L, token.data, token.size);
    buffer_free(&token);
    return 1;
}

static int refuse(lua_State *L, const char *reason) {
    luaL_pushfail(L);
    lua_pushstring(L, reason);
    return 2;
}

// jwt_verify(token, secret name): the claims, or nil and why not. exp and nbf are checked.
static int jwt_verify(lua_State *L) {
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    unsigned char key[CRYPTO_KEY_SIZE];
    crypto_named_key(L, luaL_checkstring(L, 2), key);
    struct slice rest = slice_make(text, size), head, body, signature;
    bool fine = size <= TOKEN_MOST && slice_next(&rest, '.', &head) &&
                slice_next(&rest, '.', &body) && slice_next(&rest, '.', &signature) &&
                !slice_next(&rest, '.', &rest) && slice_equal(head, slice_of(header));
    struct buffer expected = {0}, claims = {0};
    if (fine) {
        mac(&expected, slice_make(text, head.size + 1 + body.size), key);
        fine = signature.size == expected.size &&
               sodium_memcmp(signature.data, expected.data, expected.size) == 0 &&
               unescape_base64(&claims, body);
    }
    sodium_memzero(key, sizeof key);
    buffer_free(&expected);
    if (!fine) {
        buffer_free(&claims);
        return refuse(L, "not a token of ours");
    }
    lua_pushvalue(L, lua_upvalueindex(2)); // json.decode
    lua_pushlstring(L, claims.data ? claims.data : "", claims.size);
    buffer_free(&claims);
    lua_call(L, 1, 1);
    if (!lua_istable(L, -1)) return refuse(L, "not a token of ours");
    lua_Integer now = (lua_Integer)clock_wall_s();
    if (lua_getfield(L, -1, "exp") != LUA_TNIL && lua_tointeger(L, -1) <= now)
        return refuse(L, "expired");
    if (lua_getfield(L, -2, "nbf") != LUA_TNIL && lua_tointeger(L, -1) > now)
        return refuse(L, "not valid yet");
    lua_pop(L, 2);
    return 1;
}

static void hmac_sha1(struct slice key, struct slice data, uint8_t out[SHA1_SIZE]) {
    uint8_t block[SHA1_BLOCK] = {0}, inner[SHA1_BLOCK + 8], outer[SHA1_BLOCK + SHA1_SIZE];
    if (key.size > SHA1_BLOCK) {
        sha1(key, block);
    } else {
        memcpy(block, key.data, key.size);
    }
    for (int i = 0; i < SHA1_BLOCK; i++) {
        inner[i] = block[i] ^ 0x36;
        outer[i] = block[i] ^ 0x5c;
    }
    memcpy(inner + SHA1_BLOCK, data.data, data.size);
    sha1(slice_make(inner, SHA1_BLOCK + data.size), outer + SHA1_BLOCK);
    sha1(slice_make(outer, sizeof outer), out);
    sodium_memzero(block, sizeof block);
}

static void one_time_code(struct slice key, uint64_t step, char out[8]) {
    uint8_t counter[8], digest[SHA1_SIZE];
    for (int i = 7; i >= 0; i--, step >>= 8) counter[i] = (uint8_t)step;
    hmac_sha1(key, slice_make(counter, sizeof counter), digest);
    int at = digest[SHA1_SIZE - 1] & 15;
    uint32_t number = ((uint32_t)(digest[at] & 0x7f) << 24) | ((uint32_t)digest[at + 1] << 16) |
                      ((uint32_t)digest[at + 2] << 8) | digest[at + 3];
    snprintf(out, 8, "%06u", number % 1000000);
}

static struct slice check_totp_key(lua_State *L) {
    size_t size;
    const char *key = luaL_checklstring(L, 1, &size);
    luaL_argcheck(L, size >= 10 && size <= 64, 1, "a key of 10 to 64 bytes");
    return slice_make(key, size);
}

// totp(key [, time]): the six digits of that second.
static int totp(lua_State *L) {
    struct slice key = check_totp_key(L);
    char code[8];
    one_time_code(key, (uint64_t)luaL_optinteger(L, 2, (lua_Integer)clock_wall_s()) / TOTP_STEP,
                  code);
    lua_pushstring(L, code);
    return 1;
}

// totp_verify(key, code [, after]): the step that it belongs to (one before and one after now are
// allowed), or nil. Keep the step and pass it as `after`: a code is good once.
static int totp_verify(lua_State *L) {
    struct slice key = check_totp_key(L);
    const char *code = luaL_checkstring(L, 2);
    lua_Integer after = luaL_optinteger(L, 3, -1), now = (lua_Integer)clock_wall_s() / TOTP_STEP;
    for (lua_Integer step = now - 1; strlen(code) == 6 && step <= now + 1; step++) {
        char expected[8];
        one_time_code(key, (uint64_t)step, expected);
        if (step > after && sodium_memcmp(expected, code, 6) == 0) {
            lua_pushinteger(L, step);
            return 1;
        }
    }
    luaL_pushfail(L);
    return 1;
}

// base32(data): how authenticator apps want their keys.
static int base32(lua_State *L) {
    size_t size;
    const unsigned char *data = (const unsigned char *)luaL_checklstring(L, 1, &size);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < size; i++) {
        bits = (bits << 8 | data[i]) & 0xfff;
        for (count += 8; count >= 5; count -= 5) {
            luaL_addchar(&b, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[bits >> (count - 5) & 31]);
        }
    }
    if (count > 0) luaL_addchar(&b, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[bits << (5 - count) & 31]);
    luaL_pushresult(&b);
    return 1;
}

void crypto_open_token(lua_State *L) { // [-1] the module
    static const luaL_Reg functions[] = {
        {"jwt_sign", jwt_sign}, {"jwt_verify", jwt_verify}, {NULL, NULL}};
    static const luaL_Reg plain[] = {
        {"totp", totp}, {"totp_verify", totp_verify}, {"base32", base32}, {NULL, NULL}};
    luaL_setfuncs(L, plain, 0);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "runtime.json");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "encode");
    lua_getfield(L, -2, "decode");
    lua_remove(L, -3);
    luaL_setfuncs(L, functions, 2);
}
